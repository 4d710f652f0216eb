"""Files of an answer: the samples that were sent, in a format that other programs read, under a name that is safe."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
import soundfile
from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, until_quiet, until_state
from tests.page.seeing import QUICK, Seen

HEADER_BYTES = 44


@pytest.fixture
def seen(page: Page, server: PageServer) -> Seen:
    return Seen(page, server)


def _download(seen: Seen, format_name: str) -> tuple[str, bytes]:
    with seen.page.expect_download() as waiting:
        seen.page.locator(f'#downloads [data-format="{format_name}"]').click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_the_wav_holds_the_samples_that_the_server_sent(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    name, data = _download(seen, "wav")
    assert data[HEADER_BYTES:] == seen.pcm
    assert struct.unpack("<I", data[40:44])[0] == len(seen.pcm)
    assert soundfile.info(io.BytesIO(data)).samplerate == 24000
    assert name.startswith("the-harbour-is-quiet-tonight") and name.endswith(".wav")


def test_the_mp3_lasts_as_long_to_the_sample(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    name, data = _download(seen, "mp3")
    info = soundfile.info(io.BytesIO(data))
    assert (info.format, info.frames) == ("MP3", len(seen.pcm) // 2)
    assert name.endswith(".mp3")


def test_there_is_no_file_before_the_answer_is_whole(seen: Seen) -> None:
    buttons = seen.page.locator("#downloads button")
    for button in buttons.all():
        expect(button).to_be_disabled()
    seen.say(pace=10)
    until_state(seen.page, "speaking")
    for button in buttons.all():
        expect(button).to_be_disabled()
    until_quiet(seen.page)
    for button in buttons.all():
        expect(button).to_be_enabled()


def test_an_mp3_that_the_server_refuses_is_explained_and_can_be_asked_for_again(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    body = '{"error": {"code": "audio_too_long", "message": "at most 20 minutes", "field": null}}'
    seen.page.route("**/convert?*", lambda route: route.fulfill(status=413, content_type="application/json", body=body))
    seen.page.locator('#downloads [data-format="mp3"]').click()
    expect(seen.page.locator("#problems")).to_contain_text("Download the WAV instead")
    seen.page.unroute("**/convert?*")
    assert _download(seen, "mp3")[1]


@pytest.mark.parametrize(
    ("text", "voice", "expected"),
    [
        ("Hello there. How are you?", "heart", "hello-there-how-are-you.heart.wav"),
        ("../../etc/passwd\0 CON", "a/b:c", "etc-passwd-con.a-b-c.wav"),
        ("…!?", "", "speech.wav"),
        ("今天天气很好。", "小雅", "今天天气很好.小雅.wav"),
        ("word " * 50, "tone", "word-word-word-word-word-word-word-word-word.tone.wav"),
    ],
)
def test_a_file_is_named_after_what_it_says(seen: Seen, text: str, voice: str, expected: str) -> None:
    made = "async (take) => (await import('./page/speak/download.js')).fileName(take, 'wav')"
    assert seen.page.evaluate(made, {"text": text, "voice": voice}) == expected
