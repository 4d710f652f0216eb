"""Making a voice in the page from a file, a drop or the microphone, and what it says of sounds that will not do."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from playwright.sync_api import Locator, Page, Playwright, Route, expect

from tests.page.browsing import PageServer, Watch, launch, page_server, say, until_quiet
from tests.page.recordings import spoken, wav

Pcm = npt.NDArray[np.int16]

DOOR = "/v1/audio/voices"
PLAYED = """async () => {
  const bytes = new Uint8Array(await (await voicePage.conversation.take.pcm()).arrayBuffer());
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}"""
DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: name.endsWith('.wav') ? 'audio/wav' : 'text/plain' }));
  window.dragged = dataTransfer;
}"""


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A server of its own: voices are made in it."""
    with page_server(tmp_path_factory.mktemp("maker"), "--backend", "tone", ready=("tone",)) as running:
        yield running


def choose(page: Page, name: str, sound: bytes, mime: str = "audio/wav") -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files({"name": name, "mimeType": mime, "buffer": sound})


def drag(page: Page, name: str, content: bytes, *events: str) -> None:
    page.evaluate(DROP, [name, base64.b64encode(content).decode()])
    for event in events:
        page.evaluate(
            "event => document.querySelector('#history').dispatchEvent("
            "new DragEvent(event, { dataTransfer: window.dragged, bubbles: true, cancelable: true }))",
            event,
        )


def until_looked_at(page: Page) -> None:
    """The picture and the verdict have come: they move what is below, and a click would miss it."""
    expect(page.locator(".studio-verdict")).not_to_have_attribute("data-verdict", "looking")


def make(page: Page, name: str) -> None:
    until_looked_at(page)
    page.get_by_label("Name of the voice").fill(name)
    page.get_by_label("I am this speaker").check()
    page.get_by_role("button", name="Make the voice").click()


def made(page: Page, name: str) -> Locator:
    """Waits until it is a voice and speaks."""
    expect(page.get_by_text(f"{name} is a voice now.")).to_be_visible()
    audio = page.locator(".studio-done audio")
    expect(audio).to_be_visible()
    return audio


def spoken_by_page(page: Page, text: str) -> Pcm:
    say(page, text)
    until_quiet(page)
    return np.frombuffer(base64.b64decode(page.evaluate(PLAYED)), "<i2")


def pitch_hz(samples: npt.NDArray[np.float64], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def test_a_chosen_file_becomes_the_voice_that_speaks(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    before = spoken_by_page(page, "The same words.")
    choose(page, "grand ma.wav", wav(spoken(pitch_hz=170)))
    expect(page.get_by_label("Name of the voice")).to_have_value("grand ma")
    make(page, "Grandma")
    made(page, "Grandma")
    expect(page.get_by_role("radio", name="Grandma")).to_be_checked()
    after = spoken_by_page(page, "The same words.")
    assert page.evaluate("voicePage.conversation.take.voice") == "Grandma"
    assert not np.array_equal(before, after)


def test_the_new_voice_says_a_sentence_at_once(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    choose(page, "b.wav", wav(spoken(pitch_hz=210)))
    make(page, "Speaks at once")
    audio = made(page, "Speaks at once")
    page.wait_for_function("audio => audio.currentTime > 0.1", arg=audio.element_handle())


def test_what_is_told_about_a_voice_is_kept_beside_it(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    choose(page, "c.wav", wav(spoken(pitch_hz=220)))
    page.get_by_label("What is said in it").fill("Guten Tag zusammen.")
    page.locator("#studio-language").select_option("de")
    page.get_by_label("Licence").select_option("CC0-1.0")
    make(page, "Told")
    made(page, "Told")
    voices = maker.process.get(DOOR)[1]["voices"]
    (told,) = [voice for voice in voices if voice["name"] == "Told"]
    assert (told["transcript"], told["language"], told["licence"]) == ("Guten Tag zusammen.", "de", "CC0-1.0")
    assert told["consent"].startswith("I am this speaker, or the speaker agreed")


def test_a_file_dropped_anywhere_becomes_a_voice(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    drag(page, "dropped.wav", wav(spoken(pitch_hz=240)), "dragenter", "dragover")
    expect(page.get_by_text("Drop it: it becomes a voice")).to_be_visible()
    drag(page, "dropped.wav", wav(spoken(pitch_hz=240)), "drop")
    expect(page.get_by_text("Drop it: it becomes a voice")).to_be_hidden()
    make(page, "Dropped")
    made(page, "Dropped")


def test_a_dropped_letter_is_said_to_be_no_sound(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    drag(page, "letter.txt", b"Dear all,", "dragenter", "drop")
    expect(page.locator("#problems")).to_contain_text("That is no sound file.")


@pytest.fixture
def page_with_microphone(
    new_page: Callable[..., tuple[Page, Watch]], playwright: Playwright, tmp_path: Path
) -> Iterator[Page]:
    """Its microphone hears a file again and again."""
    heard = tmp_path / "heard.wav"
    heard.write_bytes(wav(spoken(seconds=4, pitch_hz=300)))
    browser = launch(playwright, f"--use-file-for-fake-audio-capture={heard}")
    yield new_page(browser=browser, permissions=["microphone"])[0]
    browser.close()


def test_a_recording_from_the_microphone_becomes_a_voice(page_with_microphone: Page, maker: PageServer) -> None:
    page = page_with_microphone
    page.goto(maker.url)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_text("The harbour woke slowly")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".studio-time")).to_have_text(re.compile(r"^[3-9]\.\d s of 30\.0 s$"))
    page.locator(".studio-recording").get_by_role("button", name="Stop").click()
    expect(page.get_by_label("What is said in it")).to_have_value(re.compile("harbour woke slowly"))
    make(page, "Recorded")
    made(page, "Recorded")
    sample = page.request.get(f"{maker.url}v1/audio/voices/Recorded/sample").body()
    sound, rate = soundfile.read(io.BytesIO(sample))
    assert 2.9 < len(sound) / rate < 6
    assert pitch_hz(sound, rate) == pytest.approx(300, abs=3)


def test_a_recording_ends_by_itself_at_the_longest_that_the_server_takes(
    page_with_microphone: Page, maker: PageServer
) -> None:
    page = page_with_microphone
    page.route(f"**{DOOR}", lambda route: route.fulfill(json={"voices": [], "limits": {"sample_max_s": 2}}))
    page.goto(maker.url)
    choose(page, "first.wav", wav(spoken(seconds=1.5)))  # the page asks for the limits
    page.get_by_role("button", name="Use another").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".studio-review .chip")).to_have_text("2.0 s")


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("delete Navigator.prototype.mediaDevices", "https or on localhost"),  # as on a page without a secure context
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }",
            "blocked",
        ),
        (
            "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }",
            "Plug one in",
        ),
    ],
    ids=["insecure", "denied", "none"],
)
def test_without_a_microphone_the_page_says_what_to_do(page: Page, maker: PageServer, script: str, told: str) -> None:
    page.add_init_script(script)
    page.goto(maker.url)
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.locator(".studio-recording").get_by_role("alert")).to_contain_text(told)
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.get_by_role("button", name="Choose a file")).to_be_focused()


def test_the_page_says_how_good_a_sound_is(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    for sound, told in (
        (spoken(level=0.3), "Good level"),
        (spoken(level=0.005), "Rather quiet"),
        (np.clip(spoken(level=4.0), -1, 1), "clipped"),
        (spoken(seconds=2.0), "better voice with 5 to 15 seconds"),
        (spoken(level=0.0), "nothing to hear"),
        (spoken(seconds=0.4), "needs 1.0 s at least"),
    ):
        choose(page, "sound.wav", wav(sound))
        expect(page.locator(".studio-verdict")).to_contain_text(told)
        page.get_by_role("button", name="Use another").click()


def test_a_long_recording_is_cut_where_the_person_wishes_it(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    choose(page, "long.wav", wav(spoken(seconds=40, pitch_hz=130)))
    expect(page.locator(".studio-verdict")).to_have_text("This recording lasts 40.0 s; 30.0 s are the most.")
    page.get_by_role("button", name="Use its first 30.0 s").click()
    expect(page.locator(".studio-verdict")).to_contain_text("Good level")
    make(page, "Cut")
    made(page, "Cut")


def test_a_file_that_is_too_large_is_never_sent(page: Page, maker: PageServer) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if request.method == "POST" else None)
    page.route(f"**{DOOR}", lambda route: route.fulfill(json={"voices": [], "limits": {"sample_bytes": 2**18}}))
    page.goto(maker.url)
    choose(page, "large.wav", wav(spoken()))
    expect(page.locator(".studio-verdict")).to_contain_text("This file has 0.5 MiB")
    make(page, "Large")
    expect(page.locator(".studio-verdict")).to_contain_text("This file has 0.5 MiB")
    assert sent == []


def test_limits_that_come_late_count_all_the_same(page: Page, maker: PageServer) -> None:
    asked: list[Route] = []
    page.goto(maker.url)
    page.locator("#voices").get_by_text("default", exact=True).first.wait_for()
    page.route(f"**{DOOR}", lambda route: asked.append(route))  # a method of a list is no handler to it
    choose(page, "late.wav", wav(spoken()))
    expect(page.locator(".studio-verdict")).to_contain_text("Good level")
    asked[0].fulfill(json={"voices": [], "limits": {"sample_bytes": 2**18}})
    expect(page.locator(".studio-verdict")).to_contain_text("This file has 0.5 MiB")


def test_a_voice_needs_a_name_and_its_owners_consent(page: Page, maker: PageServer) -> None:
    page.goto(maker.url)
    choose(page, "d.wav", wav(spoken(pitch_hz=250)))
    until_looked_at(page)
    page.get_by_label("Name of the voice").fill("")
    page.get_by_role("button", name="Make the voice").click()
    expect(page.get_by_text("Give the voice a name.")).to_be_visible()
    expect(page.get_by_text("tick this if they agreed")).to_be_visible()
    expect(page.get_by_label("Name of the voice")).to_be_focused()
    expect(page.get_by_label("Name of the voice")).to_have_attribute("aria-invalid", "true")


def test_a_name_that_is_taken_is_said_at_the_name(page: Page, watch: Watch, maker: PageServer) -> None:
    watch.allow(f"409: {maker.url}v1/audio/voices")
    page.goto(maker.url)
    choose(page, "e.wav", wav(spoken(pitch_hz=260)))
    make(page, "low")  # the engine's own
    expect(page.locator("#studio-name-error")).to_contain_text("choose another name")
    page.get_by_label("Name of the voice").fill("not low")
    expect(page.locator("#studio-name-error")).to_be_empty()


def test_a_sound_that_the_server_refuses_says_why_and_what_would_be_right(
    page: Page, watch: Watch, maker: PageServer
) -> None:
    watch.allow(f"400: {maker.url}v1/audio/voices")
    page.goto(maker.url)
    choose(page, "video.wav", b"RIFF but nothing else")
    expect(page.locator(".studio-verdict")).to_contain_text("This browser cannot play it.")
    make(page, "No sound")
    expect(page.locator(".studio-verdict")).to_contain_text("save it as wav, mp3, flac or ogg")
