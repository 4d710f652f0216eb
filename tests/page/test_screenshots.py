"""The pictures of docs/ui are of the real page with real speech. They are written where DOCS_UI=1 asks for it."""

from __future__ import annotations

import io
import json
import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import Locator, Page, Playwright, expect

from tests.language_model import language_model
from tests.page.browsing import PHONE, PageServer, launch, say, tone_config, until_heard, until_quiet
from tests.page.crowd import crowd
from tests.server_process import HOME

LARGEST_BYTES = 300_000
COLOURS_SEEN = 32  # a page that shows nothing has fewer
DOCS = HOME / "docs" / "ui"
CROWD = 12  # four workers of this speed can serve eight
LOOK_MS = 6000  # so that there is a past to be drawn
ENGINE_MS = 120_000  # for Whisper, which is built and loaded first, and for a crowd on a busy machine
QUESTION = "What time does the first train leave tomorrow morning?"
REPLY = (
    "The first train leaves at seven minutes past six. It stops at the harbour, and you have to change there. "
    "Shall I wake you in time for it? "
)
EARLIER = ("Good morning.", "The kettle is on.")
ANSWER = (
    "A voice begins before the thought is finished. While you hear this sentence, the next one is being rendered. "
    "And the one after it has not been written yet. So there is nothing to wait for, and hardly anything to notice."
)
ANSWER_ZH = (
    "你好，晚上好，今天过得怎么样？你正在听这句话的时候，下一句已经在另一个进程里合成了。"
    "而再下一句，语言模型还没有写出来。所以你什么都不用等，也几乎感觉不到任何停顿。"
)


@pytest.fixture
def shoot(tmp_path: Path) -> Callable[[Page | Locator, str], None]:
    """Keeps a picture, small enough for the repository, after a look at it."""

    def keep(shown: Page | Locator, name: str) -> None:
        picture = Image.open(io.BytesIO(shown.screenshot(animations="allow"))).convert("RGB")
        folder = DOCS if os.environ.get("DOCS_UI") else tmp_path
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.png"
        picture.save(path, optimize=True)
        assert len(picture.getcolors(1 << 24) or []) > COLOURS_SEEN
        assert path.stat().st_size < LARGEST_BYTES

    return keep


def test_light_and_dark_in_the_middle_of_an_answer(page: Page, server: PageServer, shoot: Callable[..., None]) -> None:
    page.goto(server.url)
    speak_a_while(page, "hibari", *EARLIER, ANSWER)
    shoot(page, "light")
    page.emulate_media(color_scheme="dark")
    until_heard(page, 6)
    shoot(page, "dark")


def test_a_phone_in_the_middle_of_an_answer(
    new_page: Callable[..., Any], server: PageServer, shoot: Callable[..., None]
) -> None:
    page, _ = new_page(**PHONE)
    page.goto(server.url)
    speak_a_while(page, "hibari", ANSWER)
    shoot(page, "phone")


def test_chinese_in_the_middle_of_an_answer(
    new_page: Callable[..., Any], server: PageServer, shoot: Callable[..., None]
) -> None:
    page, _ = new_page(locale="zh-CN")
    page.goto(server.url)
    speak_a_while(page, "tone", "早上好。", ANSWER_ZH, seconds=2.0)
    shoot(page, "zh")


def test_the_voices_and_the_studio(page: Page, server: PageServer, shoot: Callable[..., None]) -> None:
    page.goto(server.url)
    page.locator("#voices").get_by_text("default", exact=True).first.wait_for()
    shoot(page.locator("#voices"), "voices")


def test_the_pool_under_load(
    page: Page, serve: Callable[..., PageServer], tmp_path: Path, shoot: Callable[..., None]
) -> None:
    page.set_viewport_size({"width": 1280, "height": 1080})  # the header stays at the top, and would cover some of it
    config = tone_config(tmp_path, tone={"workers": 4, "options": {"speed_rtf": 0.45}})
    busy = serve("--config", config, "--backend", "tone", ready=("tone",))
    with crowd(busy.process.port, CROWD, "tone"):
        page.goto(busy.url)
        page.locator("#pool").scroll_into_view_if_needed()
        page.locator(".pool-stream").nth(CROWD - 1).wait_for(timeout=ENGINE_MS)
        page.wait_for_timeout(LOOK_MS)
        shoot(page.locator("#pool"), "pool")


def test_a_talk_in_words(
    playwright: Playwright,
    new_page: Callable[..., Any],
    server: PageServer,
    serve: Callable[..., PageServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shoot: Callable[[Page | Locator, str], None],
) -> None:
    """The microphone hears hibari; Whisper writes it down, a model answers, hibari speaks the answer."""
    heard = tmp_path / "heard.wav"
    heard.write_bytes(heard_by_microphone(server, QUESTION))
    with language_model(tokens=re.findall(r"\S+\s*", REPLY), pace_s=0.05) as model:
        for name, value in model.environ.items():
            monkeypatch.setenv(name, value)
        talking = serve("--backend", "hibari", "--backend", "whisper-tiny", ready=("hibari",))
        page, _ = new_page(browser=launch(playwright, f"--use-file-for-fake-audio-capture={heard}"))
        page.goto(f"{talking.url}#talk")
        page.locator("#live-mic").click()
        expect(page.locator(".live-partial")).to_contain_text("train", timeout=ENGINE_MS)
        expect(page.locator("#live-draft")).to_have_value(re.compile("tomorrow morning"), timeout=ENGINE_MS)
        assert words(page.locator("#live-draft").input_value()) == words(QUESTION)
        until_heard(page, 3)
        assert words(model.asked[0]["messages"][-1]["content"]) == words(QUESTION)
        shoot(page, "talk")
        page.context.browser.close()


def heard_by_microphone(server: PageServer, text: str) -> bytes:
    """Speech between two silences: the file is heard from its beginning, and again after its end."""
    body = json.dumps({"model": "hibari", "input": text, "response_format": "wav"}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}v1/audio/speech", body)) as answer:
        speech, rate = soundfile.read(io.BytesIO(answer.read()), dtype="float32")
    file = io.BytesIO()
    samples = np.concatenate([np.zeros(2 * rate), speech, np.zeros(60 * rate)])
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def speak_a_while(page: Page, backend: str, *texts: str, seconds: float = 4.0) -> None:
    """All but the last to their end, so that there is some history, and so much of the last."""
    page.locator("#backend-picker select").select_option(backend)
    for text in texts[:-1]:
        say(page, text)
        until_quiet(page)
    say(page, texts[-1])
    until_heard(page, seconds)
