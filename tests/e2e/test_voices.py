"""A file dropped into voice_samples/ of a running server is a voice, for a backend that clones."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, FAST_WORKER, ask, eventually, running_server, tone_config
from voice_server.core.audio.pcm import wav_header
from voice_server.core.settings import BackendConfig
from voice_server.main import watch_voices
from voice_server.voices import VoiceStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PCM = b"\x10\x20" * 24_000
CLONER = f"{Path(__file__).parents[1] / 'cloner.py'}:Cloner"


def _config() -> BackendConfig:
    """An engine whose own voice is silence, and means it."""
    named = replace(tone_config(), name="cloner", adapter=CLONER, opts={}, aliases={}, limits=FAST_WORKER)
    return replace(named, voice="default", guard=False)


async def test_a_dropped_file_is_a_voice_within_two_seconds_and_gone_when_removed(
    tone_python: Path, tmp_path: Path
) -> None:
    store = VoiceStore(tmp_path, FAST.voices)
    watching = asyncio.create_task(watch_voices(store, FAST.voices.scan_s))
    async with running_server(_config(), tone_python, voices=store) as server:
        assert server.backend.voices == ["silence"]
        (tmp_path / "ada.wav").write_bytes(wav_header(24_000, len(PCM)) + PCM)
        await eventually(lambda: server.backend.voices == ["silence", "ada"], "the voice appears", 2.0)
        answer = await ask(server.ws, {"voice": "ada", "token": "Two words.", "done": True})
        assert answer.audio == PCM * 2
        (tmp_path / "ada.wav").unlink()
        await eventually(lambda: server.backend.voices == ["silence"], "the voice vanishes", 2.0)
        assert (await ask(server.ws, {"voice": "ada"}, {"done": True})).codes == ["unknown_voice"]
    watching.cancel()


async def test_a_backend_that_cannot_clone_has_only_its_own_voices(tone_python: Path, tmp_path: Path) -> None:
    (tmp_path / "ada.wav").write_bytes(wav_header(24_000, len(PCM)) + PCM)
    store = VoiceStore(tmp_path, FAST.voices)
    store.scan()
    async with running_server(tone_config(), tone_python, voices=store) as server:
        assert server.backend.voices == ["tone", "low", "high"]


async def test_a_sentence_that_the_engine_cut_is_marked(tone_python: Path) -> None:
    async with running_server(_config(), tone_python) as server:
        answer = await ask(server.ws, {"token": "One two three four five six. Short one.", "done": True})
    ends = [told for told in answer.of_type("sentence") if told["event"] == "end"]
    assert [end.get("truncated", False) for end in ends] == [True, False]


async def test_the_default_voice_is_used_when_it_is_there(tone_python: Path, tmp_path: Path) -> None:
    (tmp_path / "default.wav").write_bytes(wav_header(24_000, len(PCM)) + PCM)
    store = VoiceStore(tmp_path, FAST.voices)
    store.scan()
    async with running_server(_config(), tone_python, voices=store) as server:
        assert (await ask(server.ws, {"token": "Word.", "done": True})).audio == PCM
    async with running_server(_config(), tone_python) as server:
        assert (await ask(server.ws, {"done": True})).messages[0]["voice"] == "silence"
