"""The tab Talk: what a person says becomes text, the text speech, and who speaks up is not talked over.

The microphone hears a file. `pitch` writes down how high its beeps are, so that every word is known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.page.browsing import PageServer, Watch, launch, until_quiet, until_state
from tests.page.late_text import LateText
from tests.page.recordings import beeps, wav
from tests.page.talk_tab import messages, opened, talking, write
from tests.page.test_axe import serious
from tests.page.test_languages import english_in

Late = tuple[Page, LateText]

SAID = "440hz 880hz"
ONCE = beeps((0, 1.5), (440, 0.6), (0, 0.3), (880, 0.6), (0, 27.0))  # and then it is heard again
OFTEN = beeps((0, 3.0), (440, 0.6), (0, 3.0))
LONG = "This sentence takes a while to be spoken, so that there is time to speak up. " * 6


@contextmanager
def hearing(playwright: Playwright, file: Path, sound: bytes) -> Iterator[Browser]:
    file.write_bytes(sound)
    browser = launch(playwright, f"--use-file-for-fake-audio-capture={file}")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def hears_once(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with hearing(playwright, tmp_path_factory.mktemp("once") / "heard.wav", wav(ONCE)) as browser:
        yield browser


@pytest.fixture(scope="module")
def hears_often(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with hearing(playwright, tmp_path_factory.mktemp("often") / "heard.wav", wav(OFTEN)) as browser:
        yield browser


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with talking(tmp_path_factory.mktemp("listener"), {}) as running:
        yield running


@pytest.fixture
def talk(new_page: Callable[..., tuple[Page, Watch]], hears_once: Browser, listener: PageServer) -> Page:
    return opened(new_page(browser=hears_once)[0], listener)


@pytest.fixture
def interrupted(new_page: Callable[..., tuple[Page, Watch]], hears_often: Browser, listener: PageServer) -> Page:
    """Its microphone hears somebody every few seconds."""
    return opened(new_page(browser=hears_often)[0], listener)


# Tabs


def test_the_address_names_the_tab_and_the_page_comes_back_to_it(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    page.wait_for_function("() => window.voicePage?.backends.chosen")
    expect(page.get_by_role("tab", name="Speak")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#talk")).to_be_hidden()
    page.get_by_role("tab", name="Talk").click()
    expect(page.locator("#speak")).to_be_hidden()
    assert page.url.endswith("#talk")
    page.goto(f"{server.url}?anew")
    page.wait_for_function("() => window.voicePage?.backends.chosen")
    expect(page.get_by_role("tab", name="Talk")).to_have_attribute("aria-selected", "true")
    page.goto(f"{server.url}#speak")
    expect(page.locator("#composer")).to_be_visible()


def test_arrows_go_through_the_tabs(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    page.get_by_role("tab", name="Speak").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Talk")).to_be_focused()
    expect(page.locator("#talk")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Speak")).to_be_focused()


def test_keys_belong_to_the_tab_that_is_shown(page: Page, server: PageServer) -> None:
    opened(page, server)
    page.locator("body").press("Control+Enter")
    expect(page.locator("#problems")).to_contain_text("There is nothing to say.")  # the draft is empty, the text is not
    assert page.evaluate("voicePage.conversation.take") is None


# Listening


def test_where_nobody_listens_the_page_says_how_to_start_one_and_still_speaks(page: Page, server: PageServer) -> None:
    opened(page, server)
    expect(page.locator(".live-none")).to_contain_text("--backend whisper-tiny")
    expect(page.locator("#live-mic")).to_be_disabled()
    write(page, "Hello there.")
    until_quiet(page)
    assert messages(page) == [("you", "Hello there."), ("voice", "Hello there.")]


def test_what_is_said_appears_is_sent_by_itself_and_comes_back_as_speech(talk: Page) -> None:
    talk.locator("#live-mic").click()
    expect(talk.locator('[data-lamp="you"]')).to_have_class(re.compile("is-on"))
    expect(talk.locator(".live-certain")).to_have_text("440hz")  # while it is still being said
    expect(talk.locator("#live-draft")).to_have_value(SAID)
    expect(talk.locator("#live-countdown")).to_have_text("Sent in 3 s")
    talk.wait_for_function("() => voicePage.conversation.take")
    until_quiet(talk)
    assert messages(talk) == [("you", SAID), ("voice", SAID)]
    assert talk.evaluate("voicePage.conversation.take.state") == "complete"
    expect(talk.locator("#live-draft")).to_have_value("")


def test_while_the_button_is_held_all_is_one_utterance_and_its_end_is_the_end(talk: Page) -> None:
    talk.locator("#live-mic").hover()
    talk.mouse.down()
    expect(talk.locator("#live-mic")).to_have_attribute("aria-pressed", "true")
    expect(talk.locator(".live-certain")).to_have_text(SAID)
    talk.wait_for_timeout(1500)  # longer than the silence that would end it
    expect(talk.locator("#live-draft")).to_have_value("")
    talk.mouse.up()
    expect(talk.locator("#live-mic")).to_have_attribute("aria-pressed", "false")
    expect(talk.locator("#live-draft")).to_have_value(SAID)


def test_the_keyboard_holds_the_button_too(talk: Page) -> None:
    talk.locator("#live-mic").focus()
    talk.keyboard.down("Space")
    expect(talk.locator(".live-certain")).to_have_text(re.compile("440hz"))
    talk.keyboard.up("Space")
    expect(talk.locator("#live-mic")).to_have_attribute("aria-pressed", "false")
    expect(talk.locator("#live-draft")).to_have_value(re.compile("440hz"))


def test_a_second_tap_lets_go_of_the_microphone(talk: Page) -> None:
    talk.locator("#live-mic").click()
    expect(talk.locator("#live-hint")).to_contain_text("Listening")
    talk.locator("#live-mic").click()
    expect(talk.locator("#live-mic")).to_have_attribute("aria-pressed", "false")
    expect(talk.locator("#live-hint")).to_contain_text("Hold to talk")


def test_who_changes_what_was_understood_sends_it_when_they_like(talk: Page) -> None:
    talk.locator("#live-mic").click()
    expect(talk.locator("#live-countdown")).to_have_text(re.compile("Sent in"))
    talk.locator("#live-draft").fill("Something else.")
    expect(talk.locator("#live-countdown")).to_have_text("")
    talk.wait_for_timeout(3500)  # longer than the countdown
    assert messages(talk) == []
    talk.get_by_role("button", name="Speak it").click()
    until_state(talk, "speaking")
    assert messages(talk)[0] == ("you", "Something else.")


def test_nothing_is_sent_by_itself_where_that_is_not_wanted(talk: Page) -> None:
    talk.get_by_label("Send by itself").uncheck()
    talk.locator("#live-mic").click()
    expect(talk.locator("#live-draft")).to_have_value(SAID)
    expect(talk.locator("#live-countdown")).to_have_text("")
    talk.reload()
    expect(talk.get_by_label("Send by itself")).not_to_be_checked()


def test_who_goes_to_the_other_tab_takes_nothing_along(talk: Page) -> None:
    talk.locator("#live-mic").click()
    expect(talk.locator("#live-hint")).to_contain_text("Listening")
    talk.get_by_role("tab", name="Speak").click()
    talk.get_by_role("tab", name="Talk").click()
    expect(talk.locator("#live-mic")).to_have_attribute("aria-pressed", "false")


def test_who_only_listens_cannot_be_chosen_to_speak(talk: Page) -> None:
    expect(talk.locator("#backend-picker option")).to_have_text(["tone"])


def test_a_microphone_that_is_refused_says_what_to_do(page: Page, listener: PageServer) -> None:
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }"
    )
    opened(page, listener).locator("#live-mic").click()
    expect(page.locator("#live-hint")).to_contain_text("blocked")
    expect(page.locator("#live-mic")).to_have_attribute("aria-pressed", "false")


# Text that comes late


@pytest.fixture
def late(new_page: Callable[..., tuple[Page, Watch]], hears_often: Browser, listener: PageServer) -> Late:
    page = new_page(browser=hears_often)[0]
    text = LateText(page)
    return opened(page, listener), text


def press(page: Page) -> None:
    """And hold: what is heard until the button is let go is one utterance, however long that takes."""
    page.locator("#live-mic").hover()
    page.mouse.down()
    expect(page.locator("#live-hint")).to_contain_text("Listening")


def say_held(page: Page) -> None:
    press(page)
    expect(page.locator(".live-certain")).to_contain_text("440hz")
    page.mouse.up()


def is_sent_soon(page: Page) -> bool:
    """Or was sent already."""
    return page.locator("#live-countdown").text_content() != "" or messages(page) != []


def understand_while_speaking(page: Page, text: LateText) -> None:
    """The text of one utterance comes while the next one is being said."""
    say_held(page)
    press(page)
    expect(page.locator('[data-lamp="you"]')).to_have_class(re.compile("is-on"))
    text.let_one_through()
    expect(page.locator("#live-draft")).to_have_value(re.compile("440hz"))


def test_half_a_thought_is_not_sent_while_the_rest_is_being_said(late: Late) -> None:
    page, text = late
    understand_while_speaking(page, text)
    assert not is_sent_soon(page)
    page.mouse.up()
    text.let_one_through()
    expect(page.locator("#live-draft")).to_have_value(re.compile("440hz 440hz"))
    expect(page.locator("#live-countdown")).to_have_text(re.compile("Sent in"))
    until_state(page, "speaking")
    assert messages(page)[0][1].startswith("440hz 440hz")


def test_what_was_understood_is_sent_when_there_is_no_more_to_write_down(late: Late) -> None:
    page, text = late
    say_held(page)
    press(page)
    page.wait_for_timeout(500)  # longer than a tap; nothing is said
    page.mouse.up()
    text.let_one_through()
    expect(page.locator("#live-draft")).to_have_value(re.compile("440hz"))
    assert not is_sent_soon(page)
    text.let_one_through()
    expect(page.locator("#live-countdown")).to_have_text(re.compile("Sent in"))


def test_what_was_understood_is_sent_though_what_was_said_next_went_wrong(late: Late) -> None:
    page, text = late
    understand_while_speaking(page, text)
    text.fail()
    expect(page.get_by_role("alert")).to_contain_text("no worker survived it")
    assert not is_sent_soon(page)
    page.mouse.up()
    expect(page.locator("#live-countdown")).to_have_text(re.compile("Sent in"))


def test_nothing_is_sent_from_a_tab_that_was_left(late: Late) -> None:
    page, text = late
    say_held(page)
    page.get_by_role("tab", name="Speak").click()
    text.let_one_through()
    expect(page.locator("#live-draft")).to_have_value(re.compile("440hz"))
    assert not is_sent_soon(page)
    page.get_by_role("tab", name="Talk").click()
    assert not is_sent_soon(page)


# Speaking up


def test_who_begins_to_speak_is_not_talked_over(interrupted: Page) -> None:
    interrupted.get_by_label("Send by itself").uncheck()
    interrupted.locator("#live-mic").click()
    write(interrupted, LONG)
    until_state(interrupted, "speaking")
    expect(interrupted.locator('.live-message[data-state="cut"]')).to_contain_text("Interrupted")
    assert interrupted.evaluate("voicePage.conversation.state") == "idle"
    expect(interrupted.locator(".live-message").last.locator("s")).to_contain_text("time to speak up")
    expect(interrupted.locator("#live-draft")).to_have_value("440hz")


def test_escape_is_silence(talk: Page) -> None:
    write(talk, LONG)
    until_state(talk, "speaking")
    talk.keyboard.press("Escape")
    until_state(talk, "idle")


# For everyone


def test_nothing_serious_is_found_in_a_talk(talk: Page) -> None:
    write(talk, "Hello there.")
    until_quiet(talk)
    assert serious(talk) == []


def test_a_reader_of_chinese_gets_a_talk_without_english(
    new_page: Callable[..., tuple[Page, Watch]], listener: PageServer
) -> None:
    page = opened(new_page(locale="zh-CN")[0], listener)
    write(page, "你好。")
    until_state(page, "speaking")
    assert english_in(page, listener) == set()


# The studio


def test_what_is_said_in_a_recording_is_proposed(page: Page, listener: PageServer) -> None:
    page.goto(listener.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    sound = beeps((0, 0.3), (440, 0.8), (0, 0.4), (880, 0.8))
    chooser.value.set_files({"name": "beeps.wav", "mimeType": "audio/wav", "buffer": wav(sound)})
    page.get_by_role("button", name="Propose").click()
    expect(page.get_by_label("What is said in it")).to_have_value(SAID)


def test_nothing_is_proposed_where_nobody_listens(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files({"name": "b.wav", "mimeType": "audio/wav", "buffer": wav(beeps((440, 2.0)))})
    expect(page.get_by_label("What is said in it")).to_be_visible()
    expect(page.locator("#studio-propose")).to_be_hidden()
