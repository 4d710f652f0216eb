"""`from voice_server import Voice`, in a program with an event loop; the engines are real worker processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.harness import hum_wav, tone_bytes
from tests.process.embedding_desk import write_config
from tests.process.hearing_driver import beeps, words
from voice_server import Voice, VoiceError
from voice_server.core.audio.floats import to_pcm

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks", "tone_python")]

TEXT = ("Hello there.", "How are you?")
LONG = "This sentence takes its time, so that somebody can interrupt it before it has come to its far away end."
SOON_S = 3.0  # the long sentence takes 6 s


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


async def code_of(awaitable: Any) -> str:
    with pytest.raises(VoiceError) as caught:
        await awaitable
    return caught.value.code


async def collect(chunks: AsyncGenerator[Any, None]) -> bytes:
    return b"".join([to_pcm(chunk) async for chunk in chunks])


async def said(*tokens: str) -> AsyncGenerator[str, None]:
    for token in tokens:
        yield token


async def test_a_text_is_an_array_of_floats() -> None:
    async with Voice("tone") as voice:
        audio = await voice.generate(" ".join(TEXT), voice="low", speed=2.0)
        assert audio.dtype == np.float32
        assert (audio.ndim, voice.sample_rate) == (1, 24_000)
        assert to_pcm(audio) == tone_bytes(*TEXT, voice="low", speed=2.0)


async def test_a_stream_is_the_same_audio_piece_by_piece() -> None:
    async with Voice("tone") as voice:
        chunks = [chunk async for chunk in voice.stream(" ".join(TEXT))]
    assert len(chunks) >= len(TEXT)  # what came while nobody looked is one piece
    assert all(len(chunk) and chunk.dtype == np.float32 for chunk in chunks)
    assert to_pcm(np.concatenate(chunks)) == tone_bytes(*TEXT)


async def test_audio_comes_while_tokens_are_still_being_written() -> None:
    heard = asyncio.Event()

    async def tokens() -> AsyncGenerator[str, None]:
        yield TEXT[0] + " "
        yield TEXT[1][:5]
        await heard.wait()
        yield TEXT[1][5:]

    audio = b""
    async with Voice("tone") as voice:
        async for chunk in voice.stream_tokens(tokens()):
            heard.set()
            audio += to_pcm(chunk)
    assert audio == tone_bytes(*TEXT)


async def test_closing_an_answer_frees_the_engine_and_closes_the_tokens(config: Path) -> None:
    is_closed = asyncio.Event()

    async def tokens() -> AsyncGenerator[str, None]:
        try:
            yield LONG
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    async with Voice("slow", config=config) as voice:
        async with aclosing(voice.stream_tokens(tokens())) as answer:
            first = await anext(answer)
        assert len(first)
        assert is_closed.is_set()
        began = time.monotonic()
        await voice.generate("Hi.")
        assert time.monotonic() - began < SOON_S


async def test_an_error_of_the_tokens_comes_after_the_words_before_it() -> None:
    async def tokens() -> AsyncGenerator[str, None]:
        yield TEXT[0]
        raise ConnectionError("the model is gone")

    audio = b""
    async with Voice("tone") as voice:
        with pytest.raises(ConnectionError):
            async for chunk in voice.stream_tokens(tokens()):
                audio += to_pcm(chunk)
    assert audio == tone_bytes(TEXT[0])


async def test_a_text_longer_than_may_wait_at_once_is_spoken_to_its_end() -> None:
    sentences = [f"This is sentence number {number} of a long story that goes on." for number in range(640)]
    async with Voice("tone") as voice:
        audio = await voice.generate(" ".join(sentences), speed=4.0)
    assert len(audio) == len(tone_bytes(*sentences, speed=4.0)) / 2


async def test_tokens_are_asked_for_as_there_is_room_for_them(config: Path) -> None:
    taken = 0

    async def endless() -> AsyncGenerator[str, None]:
        nonlocal taken
        while True:
            taken += 1
            yield LONG + " "
            await asyncio.sleep(0)

    async with Voice("slow", config=config) as voice, aclosing(voice.stream_tokens(endless())) as answer:
        async for _ in answer:
            break
    assert 10 < taken < 400


async def test_a_sentence_that_fails_is_left_out_and_its_error_comes_last(config: Path) -> None:
    audio = b""
    async with Voice("odd", config=config) as voice:
        with pytest.raises(VoiceError) as caught:
            async for chunk in voice.stream("This is good. This one is bad. This is good again."):
                audio += to_pcm(chunk)
    assert caught.value.code == "sentence_failed"
    assert len(audio) == 2 * 3200


async def test_half_an_answer_is_none(config: Path) -> None:
    async with Voice("odd", config=config) as voice:
        assert await code_of(voice.generate("This is good. This one is bad.")) == "sentence_failed"


async def test_a_broken_request_is_told_by_its_code() -> None:
    async with Voice("tone") as voice:
        codes = [
            await code_of(voice.generate(" ")),
            await code_of(voice.generate("Hi.", voice="nobody")),
            await code_of(voice.generate("Hi.", speed=99.0)),
            await code_of(voice.generate("Hi.", loudness=1)),
        ]
        assert codes == ["empty_text", "unknown_voice", "bad_option", "bad_option"]
        assert len(await voice.generate("Hi."))


async def test_a_model_that_says_nothing_is_silence_and_no_error() -> None:
    async with Voice("tone") as voice:
        assert await collect(voice.stream_tokens(said())) == b""


async def test_several_answers_at_once_do_not_mix() -> None:
    async with Voice("tone") as voice:
        both = await asyncio.gather(voice.generate(TEXT[0]), voice.generate(TEXT[1]))
    assert [to_pcm(audio) for audio in both] == [tone_bytes(text) for text in TEXT]


async def test_info_tells_what_is_known(tmp_path: Path) -> None:
    voice = Voice("tone", samples=tmp_path)
    assert voice.info.status == "stopped"
    async with voice:
        assert (voice.info.status, voice.info.sample_rate) == ("loading", None)
        await voice.await_ready()
        info = voice.info
    assert (info.status, info.backend, info.device, info.sample_rate) == ("ready", "tone", "cpu", 24_000)
    assert (info.voices, info.languages, info.options) == (["tone", "low", "high"], ["en"], ["speed", "fault"])


async def test_stop_ends_who_still_reads(config: Path) -> None:
    voice = Voice("slow", config=config)
    await voice.start()
    answer = voice.stream(LONG)
    await anext(answer)
    await voice.stop()
    assert await code_of(collect(answer)) == "going_away"
    assert await code_of(voice.generate("Hi.")) == "not_running"


async def test_a_voice_can_be_started_again() -> None:
    voice = Voice("tone")
    for _ in range(2):
        async with voice:
            assert len(await voice.generate("Hi."))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"backend": "nobody"}, "unknown_backend"),
        ({"backend": "pitch"}, "unknown_backend"),
        ({"backend": "tone", "listen": "odd"}, "unknown_backend"),
        ({"backend": None}, "unknown_backend"),
        ({"backend": "tone", "config": "nothing.yaml"}, "cannot_start"),
    ],
)
async def test_what_cannot_start_says_why(config: Path, arguments: dict[str, Any], code: str) -> None:
    assert await code_of(Voice(**{"config": config, **arguments}).start()) == code


async def test_an_engine_that_cannot_load_is_an_error_with_its_reason(config: Path) -> None:
    async with Voice("broken", config=config) as voice:
        with pytest.raises(VoiceError, match="broken-0: failed") as caught:
            await voice.generate("Hi.")
        assert (caught.value.code, voice.info.status) == ("backend_unavailable", "failed")


async def test_waiting_for_an_engine_has_a_limit_where_one_is_asked_for() -> None:
    async with Voice("tone") as voice:
        assert await code_of(voice.await_ready(timeout_s=0.0)) == "backend_unavailable"


async def test_a_recording_in_the_folder_is_a_voice(tmp_path: Path) -> None:
    (tmp_path / "anna.wav").write_bytes(hum_wav())
    async with Voice("tone", samples=tmp_path) as voice:
        await voice.await_ready()
        assert voice.info.voices == ["tone", "low", "high", "anna"]
        assert to_pcm(await voice.generate("Hi.", voice="anna")) != tone_bytes("Hi.")


async def test_a_lora_adapter_changes_what_is_spoken_from_then_on(config: Path) -> None:
    levels = []
    async with Voice("odd", config=config) as voice:
        levels.append(float((await voice.generate("Hi."))[0]))
        await voice.load_lora("calm")
        assert voice.info.lora == "calm"
        levels.append(float((await voice.generate("Hi."))[0]))
        await voice.unload_lora()
        levels.append(float((await voice.generate("Hi."))[0]))
        assert await code_of(voice.load_lora("nobody")) == "unknown_lora"
    assert levels == pytest.approx([0.125, 0.25, 0.125], abs=1e-4)


async def test_audio_becomes_text(config: Path) -> None:
    async with Voice(None, listen="pitch", config=config) as voice:
        heard = np.frombuffer(beeps(440, 880), np.int16)
        assert await voice.transcribe(heard, 16_000) == words(440, 880)
        assert await voice.transcribe(np.zeros(0, np.float32), 16_000) == ""
        assert await code_of(voice.generate("Hi.")) == "not_running"


async def test_who_only_speaks_does_not_listen() -> None:
    async with Voice("tone") as voice:
        assert await code_of(voice.transcribe(np.zeros(100, np.float32))) == "not_running"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
async def test_audio_is_saved_by_the_ending_of_its_name(tmp_path: Path, suffix: str) -> None:
    async with Voice("tone") as voice:
        audio = await voice.generate(TEXT[0])
        voice.save(audio, tmp_path / f"hello.{suffix}")
    samples, rate = soundfile.read(tmp_path / f"hello.{suffix}", dtype="float32")
    assert rate == 24_000
    assert len(samples) == pytest.approx(len(audio), rel=0.2)
    if suffix in ("wav", "flac"):
        assert to_pcm(samples) == to_pcm(audio)


@pytest.mark.parametrize("name", ["hello.txt", "nowhere/hello.wav"])
async def test_what_cannot_be_saved_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(VoiceError) as caught:
        Voice("tone").save(np.zeros(10, np.float32), tmp_path / name, 24_000)
    assert caught.value.code == "cannot_write"


async def test_progress_is_told_in_words() -> None:
    told: list[str] = []
    async with Voice("tone", on_progress=told.append):
        pass
    assert told[-1] == "loading tone: It was asked for."
