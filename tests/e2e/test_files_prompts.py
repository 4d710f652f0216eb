"""F6 through WS `/tts`: a recording by URL is the voice of an answer, where that is allowed."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from tests.e2e.voxcpm_tts_client import LONG, SENTENCES, Heard, cancel, hear, tts
from tests.harness import (
    FAST,
    RunningServer,
    cloned_tone_bytes,
    eventually,
    hum_wav,
    running_server,
    tone_bytes,
    tone_config,
    voice_store,
)
from tests.internet import HOST, answer, internet
from tests.process.test_studio import encoded, flac_that_says
from tests.server_process import server_process
from voice_server.core.addresses import FileUrl
from voice_server.core.doors.limits import PromptLimits
from voice_server.core.settings import BackendConfig
from voice_server.gateway.fetching import Fetcher
from voice_server.gateway.prompts import Prompts

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

URL = f"https://{HOST}/me.wav"
ADAPTERS = Path(__file__).parents[1] / "cloner.py"


@dataclass
class Shelf:
    """Files by URL, as Fetcher gives them; who asks is written down."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/me.wav": hum_wav(pitch_hz=330.0)})
    asked: list[str] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self, url: FileUrl) -> bytes:
        self.asked.append(url.target)
        await self.is_open.wait()
        return self.files[url.target]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the system's temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@asynccontextmanager
async def allowing(
    python: Path,
    fetch: Callable[[FileUrl], Awaitable[bytes]],
    limits: PromptLimits = PromptLimits(),  # noqa: B008  # frozen
    config: BackendConfig | None = None,
) -> AsyncIterator[RunningServer]:
    async with running_server(config or tone_config(), python, limits=replace(FAST, prompts=limits)) as server:
        prompts = server.house.prompts = Prompts(fetch, voice_store, limits)
        try:
            yield server
        finally:
            await prompts.close()


async def said(ws: websockets.ClientConnection, **params: Any) -> Heard:
    await ws.send(tts("a", **params))
    return (await hear(ws))["a"]


def problem(heard: Heard) -> tuple[str, list[str]]:
    error = heard.last["error"]
    return error["code"], list(error["details"].get("errors", {}))


def connected(server: RunningServer) -> Any:
    return websockets.connect(f"{server.ws}/tts", max_size=None)


def kept(folder: Path) -> list[str]:
    return os.listdir(folder)


def opened() -> Shelf:
    shelf = Shelf()
    shelf.is_open.set()
    return shelf


async def test_f6_urls_are_refused_until_the_operator_allows_them(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, connected(server) as ws:
        heard = await said(ws, prompt_wav_url=URL)
        assert problem(heard) == ("INVALID_PARAMS", ["prompt_wav_url"])
        assert "--allow-prompt-urls" in heard.last["error"]["message"]


async def test_f6_a_recording_by_url_is_the_voice_of_the_answer(tone_python: Path, temporary: Path) -> None:
    async with internet(answer(hum_wav(pitch_hz=330.0))) as net:
        fetch = Fetcher(PromptLimits(), net.resolve, net, net.tls).fetch
        async with allowing(tone_python, fetch) as server, connected(server) as ws:
            heard = await said(ws, prompt_wav_url=URL, prompt_text="Hum.")
    same = voice_store(temporary).add("same", hum_wav(pitch_hz=330.0), ".wav", "Hum.")
    assert heard.audio == cloned_tone_bytes(same, *SENTENCES)
    assert heard.messages[0]["message"] == "accepted"  # the words are of use


async def test_f6_a_connection_fetches_a_recording_once_and_takes_it_along(tone_python: Path, temporary: Path) -> None:
    shelf = opened()
    async with allowing(tone_python, shelf.fetch) as server:
        async with connected(server) as ws:
            await ws.send(tts("a", prompt_wav_url=URL))
            await ws.send(tts("b", prompt_wav_url=URL))
            heard = await hear(ws, ends=2)
            assert heard["a"].audio == heard["b"].audio != b""
            assert (await said(ws, prompt_wav_url=URL)).audio == heard["a"].audio
            assert shelf.asked == ["/me.wav"]
            assert len(kept(temporary)) == 1
        await eventually(lambda: not kept(temporary), "nothing is left of it")
        async with connected(server) as ws:
            await said(ws, prompt_wav_url=URL)
        assert shelf.asked == ["/me.wav"] * 2


async def test_f6_a_recording_by_url_is_nobody_elses_voice(tone_python: Path, temporary: Path) -> None:
    async with allowing(tone_python, opened().fetch) as server, connected(server) as ws, connected(server) as other:
        await said(ws, prompt_wav_url=URL)
        assert server.backend.voices == ["tone", "low", "high"]
        assert problem(await said(other, voice_id="prompt"))[0] == "VOICE_NOT_FOUND"


BOMB = encoded(np.zeros(24_000 * 3_600, dtype=np.int16), "FLAC")


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        (b"<!doctype html>", "not a sound"),
        (b"", "empty"),
        (BOMB, "it lasts 3600.00 s"),
        (flac_that_says(5 * 24_000, np.zeros(24_000 * 1_800, dtype=np.int16)), "it is silent"),
        (hum_wav(31.0, 8_000), "cut it to 30 s"),
    ],
    ids=["a page", "nothing", "a bomb", "a bomb that lies", "long"],
)
async def test_f6_what_was_fetched_is_judged_like_an_upload(
    tone_python: Path, temporary: Path, sound: bytes, told: str
) -> None:
    shelf = opened()
    shelf.files["/me.wav"] = sound
    async with allowing(tone_python, shelf.fetch) as server, connected(server) as ws:
        heard = await said(ws, prompt_wav_url=URL)
        assert problem(heard) == ("INVALID_PARAMS", ["prompt_wav_url"])
        assert told in heard.last["error"]["message"]
        assert kept(temporary) == []


async def test_f6_words_that_are_too_many_are_refused_by_their_own_name(tone_python: Path, temporary: Path) -> None:
    async with allowing(tone_python, opened().fetch) as server, connected(server) as ws:
        assert problem(await said(ws, prompt_wav_url=URL, prompt_text="a" * 1001))[1] == ["prompt_text"]


async def test_f6_nothing_is_fetched_for_an_engine_that_cannot_clone(tone_python: Path) -> None:
    shelf, engine = opened(), replace(tone_config(), adapter=f"{ADAPTERS}:Speaker", opts={}, aliases={}, voice="")
    async with allowing(tone_python, shelf.fetch, config=engine) as server, connected(server) as ws:
        assert problem(await said(ws, prompt_wav_url=URL)) == ("INVALID_PARAMS", ["prompt_wav_url"])
    assert shelf.asked == []


async def test_f6_who_cancels_or_leaves_waits_for_no_recording(tone_python: Path, temporary: Path) -> None:
    shelf = Shelf()
    async with allowing(tone_python, shelf.fetch) as server:
        async with connected(server) as ws:
            await ws.send(tts("a", prompt_wav_url=URL))
            await eventually(lambda: len(shelf.asked) == 1, "it is asked for")
            await ws.send(cancel("a"))
            assert (await hear(ws))["a"].last["result"] == {"cancelled": True}
            await ws.send(tts("b", prompt_wav_url=URL))
            await eventually(lambda: len(shelf.asked) == 2, "it is asked for again")
        await eventually(lambda: not server.house.guests, "nobody is inside")


async def test_f6_of_idle_recordings_only_so_many_are_kept(tone_python: Path, temporary: Path) -> None:
    shelf = opened()
    shelf.files["/other.wav"] = hum_wav(pitch_hz=220.0)
    async with allowing(tone_python, shelf.fetch, PromptLimits(kept=1)) as server, connected(server) as ws:
        for name in ("me", "other", "me"):
            await said(ws, prompt_wav_url=f"https://{HOST}/{name}.wav")
            assert len(kept(temporary)) == 1
    assert shelf.asked == ["/me.wav", "/other.wav", "/me.wav"]


async def test_f6_recordings_that_are_spoken_with_make_no_room(tone_python: Path, temporary: Path) -> None:
    shelf, slow = opened(), tone_config(speed_rtf=1.0)
    async with allowing(tone_python, shelf.fetch, PromptLimits(kept=1), slow) as server, connected(server) as ws:
        await ws.send(tts("a", LONG, prompt_wav_url=URL))
        await eventually(lambda: bool(server.backend.streams), "it speaks")
        await ws.send(tts("b", prompt_wav_url=f"https://{HOST}/other.wav"))
        heard = await hear(ws)
        assert heard["b"].last["error"]["code"] == "QUEUE_FULL"


async def test_f7_without_a_place_for_temporary_files_only_recordings_by_url_fail(
    tone_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    async with allowing(tone_python, opened().fetch) as server, connected(server) as ws:
        heard = await said(ws, prompt_wav_url=URL)
        assert heard.last["error"]["code"] == "INTERNAL_ERROR"
        assert "make room" in heard.last["error"]["message"]
        assert (await said(ws)).audio == tone_bytes(*SENTENCES)


async def test_f6_the_flag_of_a_real_server_allows_the_internet_and_no_more(tmp_path: Path) -> None:
    with server_process(tmp_path, "--allow-prompt-urls") as server:
        server.wait_ready()
        async with websockets.connect(f"{server.ws}/tts") as ws:
            told = {}
            for url in ("https://files.invalid/me.wav", "https://127.0.0.1/me.wav", "http://files.invalid/me.wav"):
                told[url] = (await said(ws, prompt_wav_url=url)).last["error"]["details"]["errors"]["prompt_wav_url"]
            assert (await said(ws)).audio == tone_bytes(*SENTENCES)
    nowhere, *others = told.values()
    assert "no address on the public internet" in nowhere
    assert all("https://HOST/PATH" in other for other in others)
