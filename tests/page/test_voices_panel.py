"""The list of voices: search, hear, choose, delete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.browsing import PageServer, say, until_quiet


@pytest.fixture
def own(serve: Callable[..., PageServer]) -> PageServer:
    """A server whose voices may be changed."""
    return serve("--backend", "tone", ready=("tone",))


def _names(page: Page) -> Locator:
    return page.locator("#voices .voice-name")


def test_voices_stand_in_groups_with_the_default_marked(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    group = page.get_by_role("group", name="Of the engine")
    expect(group.locator(".voice-name")).to_have_text(["tone", "low", "high"])
    expect(group.locator("h3")).to_contain_text("3")
    expect(page.get_by_role("group", name="Yours").locator(".voice-name")).to_have_text(["default"])
    expect(page.locator("[data-voice=tone]")).to_contain_text("default")
    expect(page.get_by_role("radio", name="tone", exact=True)).to_be_checked()


def test_a_search_narrows_the_list(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_label("Search voices").fill("HIG")
    expect(_names(page)).to_have_text(["high"])
    page.get_by_label("Search voices").fill("morning light")  # words of the sample
    expect(_names(page)).to_have_text(["default"])
    page.get_by_label("Search voices").fill("nobody")
    expect(page.locator("#voices")).to_contain_text("No voice is called that.")


def test_the_chosen_voice_speaks_also_after_a_reload(server: PageServer, page: Page) -> None:
    voices: list[Any] = []
    page.on("websocket", lambda it: it.on("framesent", lambda frame: voices.append(json.loads(frame).get("voice"))))
    page.goto(server.url)
    page.get_by_role("radio", name="low", exact=True).check()
    page.reload()
    expect(page.get_by_role("radio", name="low", exact=True)).to_be_checked()
    say(page, "Deep.")
    until_quiet(page)
    assert [voice for voice in voices if voice] == ["low"]


def test_each_backend_keeps_its_own_choice(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("radio", name="high").check()
    page.get_by_label("Backend").select_option("hibari")
    expect(page.get_by_role("radio", name="heart")).to_be_checked()
    page.get_by_label("Backend").select_option("tone")
    expect(page.get_by_role("radio", name="high")).to_be_checked()


def test_a_backend_that_cannot_clone_says_who_can(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_label("Backend").select_option("hibari")
    expect(page.locator("#voices")).to_contain_text("hibari cannot clone voices. tone speaks yours")
    page.get_by_label("Backend").select_option("tone")
    expect(page.locator("#voices")).not_to_contain_text("cannot clone")


def test_a_preview_sounds_and_another_takes_its_place(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Hear low").click()
    expect(page.get_by_role("button", name="Stop low")).to_have_attribute("data-state", "playing")
    page.get_by_role("button", name="Hear high").click()
    expect(page.get_by_role("button", name="Stop high")).to_have_attribute("data-state", "playing")
    expect(page.get_by_role("button", name="Hear low")).to_be_visible()
    page.get_by_role("button", name="Stop high").click()
    expect(page.get_by_role("button", name="Hear high")).to_be_visible()


def test_a_preview_is_silent_when_something_is_said(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Hear low").click()
    expect(page.get_by_role("button", name="Stop low")).to_have_attribute("data-state", "playing")
    say(page, "Now I speak.")
    expect(page.get_by_role("button", name="Hear low")).to_be_visible()


def test_a_voice_is_deleted_after_a_question(own: PageServer, page: Page) -> None:
    page.goto(own.url)
    page.get_by_role("button", name="Delete default").click()
    question = page.get_by_role("dialog", name="Delete the voice default?")
    question.get_by_role("button", name="Cancel").click()
    expect(page.locator("[data-voice=default]")).to_be_visible()
    page.get_by_role("button", name="Delete default").click()
    question.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-voice=default]")).to_have_count(0)
    assert not list((own.folder / "voice_samples").glob("default.*"))


def test_a_voice_that_was_dropped_into_the_folder_is_found(own: PageServer, page: Page) -> None:
    page.goto(own.url)
    expect(page.locator("[data-voice=default]")).to_be_visible()
    folder = own.folder / "voice_samples"
    sound = next(path for path in folder.glob("default.*") if path.suffix not in (".txt", ".json", ".md"))
    shutil.move(sound, folder / f"newcomer{sound.suffix}")
    page.wait_for_function("async () => (await voicePage.api.get('voices')).voices.includes('newcomer')")
    page.get_by_role("button", name="Look for new voices").click()
    expect(page.locator("[data-voice=newcomer]")).to_be_visible()
