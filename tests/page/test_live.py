"""The tab Talk: what a person says becomes text, the text speech, and who speaks up is not talked over.

The microphone hears a file. `pitch` writes down how high its beeps are, so that every word is known beforehand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from tests.harness import wait_until
from tests.language_model import Model, language_model
from tests.page.browsing import PageServer, Watch, launch, page_server, until_quiet, until_state
from tests.page.late_text import LateText
from tests.page.recordings import beeps, wav
from tests.page.test_axe import serious
from tests.page.test_languages import english_in

Late = tuple[Page, LateText]

SAID = "440hz 880hz"
ONCE = beeps((0, 1.5), (440, 0.6), (0, 0.3), (880, 0.6), (0, 27.0))  # and then it is heard again
OFTEN = beeps((0, 3.0), (440, 0.6), (0, 3.0))
LONG = "This sentence takes a while to be spoken, so that there is time to speak up. " * 6
KEY = "s3cret"
# Clicked by the page itself: on a busy machine a second passes between what is seen from here and what is done.
STOP_AFTER_A_SECOND = """() => {
  const isTime = voicePage.conversation.player.heardS > 1;
  if (isTime) document.querySelector("#live-stop").click();
  return isTime;
}"""


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


@contextmanager
def talking(folder: Path, model: dict[str, str], token: str = "") -> Iterator[PageServer]:
    """Tone speaks, pitch listens, and `model` are the variables that say which language model answers."""
    adapters = "voice_server.backends"
    backends = {
        "tone": {"adapter": f"{adapters}.tone:ToneBackend"},
        "pitch": {"adapter": f"{adapters}.pitch:PitchRecogniser", "kind": "stt"},
    }
    config = folder / "backends.yaml"
    config.write_text(json.dumps({"backends": backends}))  # JSON is YAML
    with pytest.MonkeyPatch.context() as patch:
        for name, value in model.items():
            patch.setenv(name, value)
        flags = ("--config", str(config), "--backend", "tone", "--backend", "pitch")
        with page_server(folder, *flags, ready=("tone",), token=token) as it:
            yield it


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


def opened(page: Page, server: PageServer) -> Page:
    page.goto(f"{server.url}#talk")
    page.wait_for_function("() => window.voicePage?.backends.chosen")
    return page


def messages(page: Page) -> list[tuple[str, str]]:
    """Who said what, as it stands there."""
    found = page.locator(".live-message").evaluate_all(
        "all => all.map((item) => [item.dataset.role, item.querySelector('.live-words').textContent])"
    )
    return [(role, text) for role, text in found]


def write(page: Page, text: str) -> None:
    page.locator("#live-draft").fill(text)
    page.locator("#live-draft").press("Control+Enter")


def said_by_model(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


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


def test_half_a_thought_is_not_sent_while_the_rest_is_being_said(late: Late) -> None:
    page, text = late
    say_held(page)
    press(page)
    expect(page.locator('[data-lamp="you"]')).to_have_class(re.compile("is-on"))
    text.let_one_through()
    expect(page.locator("#live-draft")).to_have_value(re.compile("440hz"))
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


# A language model


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with language_model() as running:
        yield running


@pytest.fixture(scope="module")
def thinker(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with talking(tmp_path_factory.mktemp("thinker"), model.environ) as running:
        yield running


@pytest.fixture
def asking(page: Page, thinker: PageServer, model: Model) -> Page:
    model.tokens, model.pace_s, model.status, model.breaks = said_by_model("The kettle is on."), 0.0, 200, False
    model.asked.clear()
    opened(page, thinker)
    expect(page.locator("#live-send")).to_have_text("Ask kettle-1")
    return page


def test_a_model_s_answer_is_spoken_while_it_is_written(asking: Page, model: Model) -> None:
    model.tokens, model.pace_s = said_by_model("One moment please. " + "And then there is this. " * 8), 0.15
    write(asking, "What is the matter?")
    expect(asking.locator('[data-lamp="thinking"]')).to_have_class(re.compile("is-on"))
    until_state(asking, "speaking")
    expect(asking.locator('[data-lamp="thinking"]')).to_have_class(re.compile("is-on"))  # it still writes
    asking.wait_for_function("() => voicePage.conversation.take.state === 'complete'")
    assert messages(asking) == [("you", "What is the matter?"), ("voice", "".join(model.tokens))]
    expect(asking.locator('[data-lamp="thinking"]')).not_to_have_class(re.compile("is-on"))


def test_the_model_sees_what_was_said_before(asking: Page, model: Model) -> None:
    for text in ("First.", "Second."):
        write(asking, text)
        until_quiet(asking)
    told = [(message["role"], message["content"]) for message in model.asked[-1]["messages"][1:]]
    assert told == [("user", "First."), ("assistant", "The kettle is on."), ("user", "Second.")]


def test_a_model_that_is_interrupted_stops_and_knows_what_was_heard(asking: Page, model: Model) -> None:
    model.tokens, model.pace_s, before = (
        said_by_model("This is heard. " + "This is not. " * 700),
        0.05,
        model.broken_off,
    )
    write(asking, "Go on.")
    asking.wait_for_function(STOP_AFTER_A_SECOND)
    wait_until(lambda: model.broken_off > before, "the model is told")
    expect(asking.locator('.live-message[data-state="cut"] s')).not_to_be_empty()
    write(asking, "And now?")
    wait_until(lambda: len(model.asked) == 2, "it is asked again")
    heard = model.asked[-1]["messages"][2]["content"]
    assert heard.startswith("This is heard.")
    assert len(heard) < 60


def test_speak_it_leaves_the_model_out(asking: Page, model: Model) -> None:
    asking.locator("#live-draft").fill("Say just this.")
    asking.get_by_role("button", name="Speak it").click()
    until_state(asking, "speaking")
    assert messages(asking) == [("voice", "Say just this.")]
    assert model.asked == []


def test_a_model_that_fails_is_told_in_words(asking: Page, model: Model) -> None:
    model.status = 429
    write(asking, "Anyone?")
    expect(asking.locator(".toast[data-code=model_failed]")).to_contain_text("quota")
    expect(asking.locator('.live-message[data-role="voice"]')).to_have_attribute("data-state", "failed")
    model.status = 200
    write(asking, "And now?")
    until_state(asking, "speaking")


def test_a_model_that_could_not_be_asked_for_at_first_is_known_when_the_token_is_typed(
    page: Page, model: Model, tmp_path: Path
) -> None:
    with talking(tmp_path, model.environ, token=KEY) as server:
        dialog = page.get_by_role("dialog", name="This server asks for a token")
        with page.expect_response("**/chat") as refused:
            page.goto(f"{server.url}#talk")
            dialog.get_by_role("button", name="Cancel").click()
        assert refused.value.status == 401
        page.get_by_role("button", name="Reconnect").click()
        dialog.get_by_label("Token").fill(KEY)
        dialog.get_by_role("button", name="Open").click()
        expect(page.locator("#live-send")).to_have_text("Ask kettle-1")


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
