"""A file dropped into voice_samples/ of a running server is a voice, for a backend that clones."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import (
    FAST,
    FAST_WORKER,
    ask,
    cloned_tone_bytes,
    eventually,
    hum_wav,
    running_server,
    tone_bytes,
    tone_config,
    voice_store,
)
from voice_server.assembly import watch_voices
from voice_server.core.settings import BackendConfig
from voice_server.voices import VoiceStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

ADAPTERS = Path(__file__).parents[1] / "cloner.py"


def _config(engine: str = "Cloner") -> BackendConfig:
    """An engine whose own voice is silence, and means it."""
    adapter = f"{ADAPTERS}:{engine}"
    named = replace(tone_config(), name="cloner", adapter=adapter, opts={}, aliases={}, limits=FAST_WORKER)
    return replace(named, voice="default", guard=False)


def _dropped(folder: Path, name: str, pitch_hz: float = 200.0, about: str = "") -> VoiceStore:
    """A folder with one sample, looked at."""
    (folder / f"{name}.wav").write_bytes(hum_wav(pitch_hz=pitch_hz))
    if about:
        (folder / f"{name}.json").write_text(about)
    store = voice_store(folder)
    store.scan()
    return store


def _clean_pcm(store: VoiceStore, name: str) -> bytes:
    return store.samples[name].path.read_bytes()[44:]


async def test_a_dropped_file_is_a_voice_within_two_seconds_and_gone_when_removed(
    tone_python: Path, tmp_path: Path
) -> None:
    store = voice_store(tmp_path)
    watching = asyncio.create_task(watch_voices(store, FAST.voices.scan_s))
    async with running_server(_config(), tone_python, voices=store) as server:
        assert server.backend.voices == ["silence"]
        (tmp_path / "ada.wav").write_bytes(hum_wav())
        await eventually(lambda: server.backend.voices == ["silence", "ada"], "the voice appears", 2.0)
        answer = await ask(server.ws, {"voice": "ada", "token": "Two words.", "done": True})
        assert answer.audio == _clean_pcm(store, "ada") * 2
        (tmp_path / "ada.wav").unlink()
        await eventually(lambda: server.backend.voices == ["silence"], "the voice vanishes", 2.0)
        assert (await ask(server.ws, {"voice": "ada"}, {"done": True})).codes == ["unknown_voice"]
    watching.cancel()


async def test_a_backend_that_cannot_clone_has_only_its_own_voices(tone_python: Path, tmp_path: Path) -> None:
    store = _dropped(tmp_path, "ada", about='{"aliases": ["countess"], "default_of": ["cloner"]}')
    async with running_server(_config("Speaker"), tone_python, voices=store) as server:
        assert server.backend.voices == ["silence"]
        assert (await ask(server.ws, {"done": True})).messages[0]["voice"] == "silence"
        assert (await ask(server.ws, {"voice": "countess"}, {"done": True})).codes == ["unknown_voice"]


async def test_the_tone_backend_speaks_in_the_pitch_of_a_sample(tone_python: Path, tmp_path: Path) -> None:
    store = _dropped(tmp_path, "ada", pitch_hz=330.0)
    async with running_server(tone_config(), tone_python, voices=store) as server:
        answer = await ask(server.ws, {"voice": "ada", "token": "Two words.", "done": True})
    assert answer.audio == cloned_tone_bytes(store.samples["ada"], "Two words.")
    assert answer.audio != tone_bytes("Two words.")


async def test_an_alias_of_a_sample_is_its_voice(tone_python: Path, tmp_path: Path) -> None:
    store = _dropped(tmp_path, "ada", about='{"aliases": ["countess"]}')
    async with running_server(_config(), tone_python, voices=store) as server:
        answer = await ask(server.ws, {"voice": "countess", "token": "Word.", "done": True})
    assert answer.audio == _clean_pcm(store, "ada")


async def test_the_configuration_has_an_alias_before_a_sample_and_the_operator_is_told(
    tone_python: Path, tmp_path: Path
) -> None:
    store = _dropped(tmp_path, "ada", about='{"aliases": ["alloy"]}')
    config = replace(_config(), aliases={"alloy": "silence"})
    async with running_server(config, tone_python, voices=store) as server:
        assert (await ask(server.ws, {"voice": "alloy"}, {"done": True})).messages[0]["voice"] == "silence"
        assert "means silence for the backend cloner" in server.backend.voice_problems["ada.json"]


async def test_a_sample_that_is_the_default_of_a_backend_goes_before_the_configured_voice(
    tone_python: Path, tmp_path: Path
) -> None:
    _dropped(tmp_path, "default")
    store = _dropped(tmp_path, "ada", pitch_hz=300.0, about='{"default_of": ["cloner"]}')
    async with running_server(_config(), tone_python, voices=store) as server:
        assert (await ask(server.ws, {"token": "Word.", "done": True})).audio == _clean_pcm(store, "ada")


async def test_a_sentence_that_the_engine_cut_is_marked(tone_python: Path) -> None:
    async with running_server(_config(), tone_python) as server:
        answer = await ask(server.ws, {"token": "One two three four five six. Short one.", "done": True})
    ends = [told for told in answer.of_type("sentence") if told["event"] == "end"]
    assert [end.get("truncated", False) for end in ends] == [True, False]


async def test_the_configured_voice_is_used_when_it_is_there(tone_python: Path, tmp_path: Path) -> None:
    store = _dropped(tmp_path, "default")
    async with running_server(_config(), tone_python, voices=store) as server:
        assert (await ask(server.ws, {"token": "Word.", "done": True})).audio == _clean_pcm(store, "default")
    async with running_server(_config(), tone_python) as server:
        assert (await ask(server.ws, {"done": True})).messages[0]["voice"] == "silence"
