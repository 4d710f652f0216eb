"""The options of a backend: drawn for every type, and sent as they were chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.browsing import PageServer, page_server, say, until_quiet

ENGINE = """
from voice_server.backends.tone import ToneBackend


class Anything(ToneBackend):
    def render(self, text, voice, **options):
        return super().render(text, voice)
"""
OPTS: dict[str, dict[str, Any]] = {
    "speed": {"type": "float", "min": 0.25, "max": 4.0, "default": 1.0, "help": "pace, 1.0 is normal"},
    "steps": {"type": "int", "min": 2, "max": 50, "default": 10},
    "seed": {"type": "int", "min": 0, "max": 4294967295},
    "normalize": {"type": "bool", "default": False},
    "style": {"type": "choice", "choices": ["calm", "lively"], "default": "calm"},
    "design": {"type": "str", "max": 200},
}


@pytest.fixture(scope="module")
def all_types(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A server of two backends; the first has an option of each type."""
    folder = tmp_path_factory.mktemp("options")
    (folder / "anything.py").write_text(ENGINE)
    backends = {
        "every": {"adapter": "anything.py:Anything", "opts": OPTS},
        "other": {"adapter": "anything.py:Anything", "opts": {"speed": OPTS["speed"]}},
    }
    (folder / "backends.yaml").write_text(json.dumps({"backends": backends}))
    flags = ("--config", str(folder / "backends.yaml"), "--backend", "every", "--backend", "other")
    with page_server(folder, *flags, ready=("every", "other")) as running:
        yield running


@pytest.fixture
def sent(page: Page) -> list[dict[str, Any]]:
    """The options of each answer that was asked for."""
    options: list[dict[str, Any]] = []

    def on_frame(frame: str | bytes) -> None:
        message = json.loads(frame)
        if "opts" in message:
            options.append(message["opts"])

    page.on("websocket", lambda socket: socket.on("framesent", on_frame))
    return options


def _open(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    page.locator("summary", has_text="Options").click()


def _option(page: Page, name: str) -> Locator:
    return page.locator(f"[data-option={name}]")


def _say(page: Page) -> None:
    say(page, "So be it.")
    until_quiet(page)


def test_every_type_has_its_own_control(all_types: PageServer, page: Page) -> None:
    _open(page, all_types)
    kinds = {
        name: _option(page, name).locator("input, select").evaluate_all("all => all.map(it => it.type)")
        for name in OPTS
    }
    assert kinds == {
        "speed": ["range", "number"],
        "steps": ["range", "number"],
        "seed": ["number"],  # nobody hits one of four thousand million with a slider
        "normalize": ["checkbox"],
        "style": ["select-one"],
        "design": ["text"],
    }
    expect(_option(page, "speed")).to_contain_text("pace, 1.0 is normal")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("")


def test_only_what_was_changed_is_sent(all_types: PageServer, page: Page, sent: list[dict[str, Any]]) -> None:
    _open(page, all_types)
    _say(page)
    _option(page, "speed").get_by_role("slider").fill("2.5")
    page.locator("#option-seed").fill("7")
    page.locator("#option-normalize").check()
    page.locator("#option-style").select_option("lively")
    page.locator("#option-design").fill("calm elderly man")
    _say(page)
    assert sent == [{}, {"speed": 2.5, "seed": 7, "normalize": True, "style": "lively", "design": "calm elderly man"}]
    expect(page.locator("summary", has_text="Options")).to_contain_text("5 changed")


def test_a_reset_is_the_default_again(all_types: PageServer, page: Page, sent: list[dict[str, Any]]) -> None:
    _open(page, all_types)
    page.locator("#option-steps").fill("20")
    page.locator("#option-steps").press("Tab")
    page.locator("#option-normalize").check()
    _option(page, "steps").get_by_role("button", name="Reset steps").click()
    expect(page.locator("#option-steps")).to_have_value("10")
    _say(page)
    page.get_by_role("button", name="Reset all options").click()
    expect(page.locator("#option-normalize")).not_to_be_checked()
    _say(page)
    assert sent == [{"normalize": True}, {}]


@pytest.mark.parametrize(("typed", "kept"), [("9", "4"), ("-1", "0.25"), ("", "1")])
def test_a_number_that_does_not_fit_becomes_the_nearest_that_does(
    all_types: PageServer, page: Page, typed: str, kept: str
) -> None:
    _open(page, all_types)
    page.locator("#option-speed").fill(typed)
    page.locator("#option-speed").press("Tab")
    expect(page.locator("#option-speed")).to_have_value(kept)


def test_changes_are_kept_for_each_backend(all_types: PageServer, page: Page) -> None:
    _open(page, all_types)
    _option(page, "speed").get_by_role("slider").fill("2")
    page.reload()
    expect(page.locator("#option-speed")).to_have_value("2")
    page.get_by_label("Backend").select_option("other")
    expect(page.locator("#option-speed")).to_have_value("1")
    expect(_option(page, "seed")).to_have_count(0)
    page.get_by_label("Backend").select_option("every")
    expect(page.locator("#option-speed")).to_have_value("2")
