"""VoxCPM as a client meets it: the real package in its own environment, behind the whole gateway, with tiny models."""

from __future__ import annotations

import asyncio
import os
import signal
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import websockets

from tests.conftest import LOAD_S
from tests.harness import (
    TIMEOUT_S,
    Answer,
    RunningServer,
    ask,
    eventually,
    read_answer,
    running_server,
    say,
    voice_store,
)
from tests.process.pool_driver import all_ready, first_audio, start_of_render
from voice_server.assembly import watch_voices
from voice_server.config import load_config
from voice_server.core.limits import Limits
from voice_server.core.settings import BackendConfig
from voice_server.voices import VoiceStore

pytestmark = pytest.mark.anyio

HELLO = "Hello there, how are you?"
TWO_SENTENCES = "The quick brown fox jumps over the lazy dog. It was not in a hurry at all that day."
SECOND = 2 * 24_000  # bytes
LONG = {"seed": 5, "min_len": 50}  # 8 s of audio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For the whole module, because its server is shared."""
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def voices(folder: Path) -> VoiceStore:
    return voice_store(folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def config(model: Path, cache: Path, workers: int) -> BackendConfig:
    backends = load_config(None).backends
    options = {"model": str(model), "loras": str(model / "loras")}
    env = {"VOICE_SERVER_CACHE": str(cache)}
    return replace(backends["voxcpm-cpu"], options=options, opts=backends["voxcpm"].opts, env=env, workers=workers)


@asynccontextmanager
async def speaking(python: Path, config: BackendConfig, voices: VoiceStore) -> AsyncIterator[RunningServer]:
    async with running_server(config, python, limits=Limits(), voices=voices, wait=False) as server:
        await all_ready(server.backend, without=0, timeout_s=LOAD_S)
        yield server


@pytest.fixture(scope="module")
async def server(
    anyio_backend: str, voxcpm_python: Path, voxcpm_models: Path, cache: Path, voices: VoiceStore
) -> AsyncIterator[RunningServer]:
    """VoxCPM2 with two workers, and a folder of voices that is watched."""
    watching = asyncio.create_task(watch_voices(voices, 0.1))
    async with speaking(voxcpm_python, config(voxcpm_models / "2", cache, 2), voices) as server:
        yield server
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


async def tell(server: RunningServer, text: str = HELLO, voice: str = "", **opts: Any) -> Answer:
    return await ask(server.ws, {"voice": voice, "opts": opts, "token": text, "done": True})


async def speak(server: RunningServer, text: str = HELLO, voice: str = "", **opts: Any) -> bytes:
    answer = await tell(server, text, voice, **opts)
    assert answer.codes == []
    return answer.audio


def copy(sample: Path, target: Path) -> None:
    """Another recording of the same sound: the very same one would be a duplicate."""
    sound, rate = soundfile.read(sample)
    loudness = 0.5 + zlib.crc32(target.stem.encode()) / 2**33
    with open(target.with_suffix(".new"), "wb") as file:
        soundfile.write(file, sound * loudness, rate, format="FLAC", subtype="PCM_24")
    target.with_suffix(".new").rename(target)


async def drop(server: RunningServer, folder: Path, sample: Path, name: str, words: str = "") -> None:
    """A sample as a user drops it, with its transcript if it has one."""
    if words:
        (folder / f"{name}.txt").write_text(words)
    copy(sample, folder / f"{name}.flac")
    await eventually(lambda: name in server.backend.voices, "the voice appears")


def ends(answer: Answer) -> list[dict[str, Any]]:
    return [told for told in answer.of_type("sentence") if told["event"] == "end"]


async def test_without_any_sample_it_speaks(server: RunningServer) -> None:
    audio = await speak(server, min_len=6)
    assert len(audio) == pytest.approx(8 * 0.16 * SECOND, abs=4)  # 8 steps of 160 ms, resampled


async def test_a_dropped_sample_is_imitated(server: RunningServer, folder: Path, sample: Path) -> None:
    await drop(server, folder, sample, "ada")
    cloned = await speak(server, voice="ada", seed=1)
    assert cloned == await speak(server, voice="ada", seed=1)
    assert cloned != await speak(server, seed=1)


async def test_the_words_of_a_sample_change_the_clone(server: RunningServer, folder: Path, sample: Path) -> None:
    await drop(server, folder, sample, "reader")
    wordless, key = await speak(server, voice="reader", seed=1), server.backend.store.samples["reader"].key
    (folder / "reader.txt").write_text("These are the words.")
    await eventually(lambda: server.backend.store.samples["reader"].key != key, "the words are seen")
    assert await speak(server, voice="reader", seed=1) != wordless


@pytest.mark.parametrize("arch", ["0.5b", "1.5"])
async def test_the_older_models_clone_with_the_words_only(
    voxcpm_python: Path, voxcpm_models: Path, cache: Path, tmp_path: Path, sample: Path, arch: str
) -> None:
    copy(sample, tmp_path / "wordless.flac")
    copy(sample, tmp_path / "worded.flac")
    (tmp_path / "worded.txt").write_text("These are the words.")
    store = voice_store(tmp_path)
    store.scan()
    async with speaking(voxcpm_python, config(voxcpm_models / arch, cache, 1), store) as server:
        assert await speak(server, voice="worded", seed=1) != await speak(server, seed=1)
        assert (await tell(server, voice="wordless")).codes == ["unknown_voice"]


async def test_a_stream_keeps_its_voice_on_both_workers(server: RunningServer) -> None:
    await all_ready(server.backend, without=0, timeout_s=LOAD_S)
    answer = await tell(server, f"{HELLO} {HELLO}", min_len=40)
    assert len({told["worker"] for told in answer.of_type("generating")}) == 2
    assert answer.sentences[0] == answer.sentences[1]


async def test_another_stream_has_another_voice(server: RunningServer) -> None:
    assert await speak(server) != await speak(server)


async def test_two_workers_say_what_one_says(
    server: RunningServer, voxcpm_python: Path, voxcpm_models: Path, cache: Path, voices: VoiceStore
) -> None:
    async with speaking(voxcpm_python, config(voxcpm_models / "2", cache, 1), voices) as alone:
        expected = await speak(alone, TWO_SENTENCES, seed=9)
    assert await speak(server, TWO_SENTENCES, seed=9) == expected


async def test_after_a_cancel_in_mid_sentence_the_same_text_is_what_it_always_was(server: RunningServer) -> None:
    expected = await speak(server, **LONG)
    async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1", max_size=None) as ws:
        for _ in range(2):  # so that each worker had one
            await say(ws, {"opts": LONG, "token": HELLO, "flush": True})
            await first_audio(ws, SECOND)
            await say(ws, {"cancel": True})
            await read_answer(ws, until="cancelled")
        await say(ws, {"token": HELLO, "done": True})
        assert (await read_answer(ws)).audio == expected


async def test_a_design_speaks_every_sentence_on_both_workers(server: RunningServer) -> None:
    answer = await tell(server, f"{HELLO} {HELLO}", design="calm elderly man", seed=3)
    assert answer.sentences[0] == answer.sentences[1] != await speak(server, seed=3)


async def test_a_description_before_an_answer_is_the_voice_of_all_its_sentences(server: RunningServer) -> None:
    answer = await tell(server, f"(calm elderly man) {TWO_SENTENCES}", seed=3)
    assert answer.audio == await speak(server, TWO_SENTENCES, seed=3, design="calm elderly man")
    assert answer.of_type("sentence")[0]["text"].startswith("(calm elderly man) The quick")


async def test_before_a_cloned_voice_a_description_is_how_it_speaks(
    server: RunningServer, folder: Path, sample: Path
) -> None:
    await drop(server, folder, sample, "whisperer")
    plain = await speak(server, voice="whisperer", seed=3)
    assert await speak(server, f"(whispering) {HELLO}", voice="whisperer", seed=3) != plain


async def test_a_client_s_own_design_goes_before_the_answer_s(server: RunningServer) -> None:
    told = await speak(server, f"(whispering) {HELLO}", seed=3, design="calm elderly man")
    assert told != await speak(server, HELLO, seed=3, design="whispering")


async def test_a_sample_called_default_speaks_unless_the_answer_brings_a_design(
    server: RunningServer, folder: Path, sample: Path
) -> None:
    designed = await speak(server, seed=3, design="calm elderly man")
    try:
        await drop(server, folder, sample, "default")
        cloned = await speak(server, voice="default", seed=3)
        assert await speak(server, seed=3) == cloned
        assert await speak(server, f"(calm elderly man) {HELLO}", seed=3) == designed != cloned
    finally:
        (folder / "default.flac").unlink()
        await eventually(lambda: "default" not in server.backend.voices, "the voice vanishes")


async def test_a_design_contradicts_a_voice_that_was_named(server: RunningServer, folder: Path, sample: Path) -> None:
    await drop(server, folder, sample, "named")
    assert (await tell(server, voice="named", design="calm elderly man")).codes == ["bad_option"]


async def test_an_adapter_comes_and_goes_and_leaves_the_base_as_it_was(server: RunningServer) -> None:
    base = await speak(server, seed=1)
    assert await speak(server, seed=1, lora="calm") != base
    assert await speak(server, seed=1) == base


async def test_a_sentence_that_hit_its_length_cap_is_marked(server: RunningServer) -> None:
    assert [end.get("truncated", False) for end in ends(await tell(server, max_len=4))] == [True]
    assert [end.get("truncated", False) for end in ends(await tell(server))] == [False]


@pytest.mark.parametrize(
    ("opts", "field"),
    [
        ({"cfg_value": 99.0}, "opts.cfg_value"),
        ({"inference_timesteps": 1}, "opts.inference_timesteps"),
        ({"seed": "one"}, "opts.seed"),
        ({"speed": 1.0}, "opts.speed"),
        ({"denoise": True}, None),  # only the engine knows what is wrong with these
        ({"lora": "nobody"}, None),
        ({"prompt_text": "No sample."}, None),
    ],
    ids=str,
)
async def test_an_option_that_cannot_be_obeyed_is_an_error_with_a_code(
    server: RunningServer, opts: dict[str, Any], field: str | None
) -> None:
    (error,) = (await tell(server, **opts)).of_type("error")
    assert (error["code"], error.get("field")) == ("bad_option", field)


async def test_a_voice_without_a_sample_is_unknown(server: RunningServer) -> None:
    assert (await tell(server, voice="nobody")).codes == ["unknown_voice"]


async def test_a_worker_killed_in_mid_sentence_is_not_heard(server: RunningServer) -> None:
    slow = {**LONG, "inference_timesteps": 25}  # there is time to kill it
    expected = await speak(server, **slow)
    async with websockets.connect(f"{server.ws}/stream-tokens", max_size=None) as ws:
        await say(ws, {"opts": slow, "token": HELLO, "done": True})
        pid = await start_of_render(ws, server)
        heard = await first_audio(ws, SECOND)
        os.kill(pid, signal.SIGKILL)
        rest = await asyncio.wait_for(read_answer(ws), TIMEOUT_S)
    assert heard + rest.audio == expected
    assert [told["exact"] for told in rest.of_type("resumed")] == [True]
