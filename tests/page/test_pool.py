"""The pool in the page, while real clients are spoken to: who renders what, who waits, and a server that is gone."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, Watch, page_server, tone_config
from tests.page.crowd import crowd

LISTENERS = 5  # more than two seats at 0.4 of real time can carry


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """One worker with two seats that can carry few listeners, and one worker that never gets up."""
    folder = tmp_path_factory.mktemp("busy")
    config = tone_config(
        folder,
        tone={"workers": 1, "options": {"speed_rtf": 0.4, "capacity": 2}},
        dead={"workers": 1, "options": {"load_fault": "raise"}},
    )
    flags = ("--config", str(config), "--backend", "tone", "--backend", "dead")
    with page_server(folder, *flags, ready=("tone",)) as server:
        yield server


@pytest.fixture
def listeners(busy: PageServer) -> Iterator[None]:
    with crowd(busy.process.port, LISTENERS, "tone"):
        yield


@pytest.mark.usefixtures("listeners")
def test_a_worker_shows_which_sentence_of_which_stream_it_renders(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    worker = page.get_by_role("listitem").filter(has=page.get_by_text("tone-0", exact=True))
    expect(worker).to_contain_text("ready")
    expect(worker.get_by_role("listitem").first).to_have_text(
        re.compile(r"Stream \d+, sentence \d+[\d.]+ s · (due in|late by) [\d.]+ s")
    )


@pytest.mark.usefixtures("listeners")
def test_a_worker_shows_its_measured_speed(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    speed = page.locator("[data-key='tone-0'] [data-figure='speed'] dd")
    expect(speed).to_have_text(re.compile(r"^0\.[3-9]\d$"))


@pytest.mark.usefixtures("listeners")
def test_who_is_not_let_in_has_a_place_in_line(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    waiting = page.get_by_role("list", name="Streams of tone").get_by_role("listitem").filter(has_text="not let in yet")
    expect(waiting.first).to_contain_text(re.compile(r"place 1 in line, about [\d.]+ s"))
    expect(waiting.first).to_contain_text("waiting")


@pytest.mark.usefixtures("listeners")
def test_a_stream_shows_what_was_heard_and_what_lies_ahead(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    streams = page.get_by_role("list", name="Streams of tone")
    expect(streams.get_by_role("listitem")).to_have_count(LISTENERS)
    expect(streams.get_by_role("img", name=re.compile(r"[1-9]\d*\.\d s heard, [\d.]+ s ahead")).first).to_be_visible()
    expect(streams.get_by_text(re.compile(r"runs out in [\d.]+ s")).first).to_be_visible()


def test_a_worker_that_cannot_start_is_told_from_one_that_can(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    card = page.locator("[data-key='dead-0']")
    expect(card).to_contain_text(re.compile("restarting|broken"))
    expect(page.locator("[data-key='tone-0'] .lamp")).to_have_attribute("data-state", "ready")


@pytest.mark.usefixtures("listeners")
def test_an_update_leaves_elements_and_focus_where_they_are(page: Page, busy: PageServer) -> None:
    page.goto(busy.url)
    row = page.get_by_role("list", name="Streams of tone").get_by_role("listitem").first
    expect(row).to_be_visible()
    page.locator("#pool summary").focus()
    kept = row.element_handle()
    heard = row.get_by_role("img").get_attribute("aria-label") or ""
    expect(row.get_by_role("img")).not_to_have_attribute("aria-label", heard)
    assert kept and page.evaluate("row => row.isConnected", kept)
    expect(page.locator("#pool summary")).to_be_focused()


def test_a_pool_that_is_folded_asks_the_server_for_nothing(page: Page, busy: PageServer) -> None:
    page.clock.install()
    page.goto(busy.url)
    page.locator("#pool").scroll_into_view_if_needed()
    expect(page.locator("[data-key='tone-0']")).to_be_visible()
    page.locator("#pool summary").click()
    expect(page.locator("[data-key='tone-0']")).to_be_hidden()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10_000)
    assert [url for url in asked if url.endswith("/status")] == []
    with page.expect_request("**/status"):
        page.locator("#pool summary").click()


def test_a_server_that_is_gone_is_said_to_be_away(
    page: Page, watch: Watch, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    watch.allow("ERR_CONNECTION_REFUSED")
    config = tone_config(tmp_path, tone={"workers": 1})
    server = serve("--config", config, "--backend", "tone", ready=("tone",))
    page.goto(server.url)
    expect(page.locator("[data-key='tone-0']")).to_be_visible()
    server.process.send(signal.SIGKILL)
    expect(page.locator("#pool").get_by_role("status")).to_contain_text("The server does not answer.")
    expect(page.locator("[data-key='tone-0']")).to_be_visible()
