"""POST /v1/audio/transcriptions over real sockets; the engine is `pitch`, which writes down how high each beep was."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from tests.e2e.voice_desk import code_of
from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, tone_config
from tests.process.hearing_driver import beeps, listening, pitch_config, words
from tests.process.test_studio import flac_that_says
from voice_server.core.audio.pcm import wav_header
from voice_server.core.limits import Limits
from voice_server.core.options import OptionSpec
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PATH = "/v1/audio/transcriptions"
TUNE = (440, 880, 1320, 660)


def samples(*pitches_hz: int, rate: int = 24_000) -> NDArray[np.int16]:
    return np.frombuffer(beeps(*pitches_hz, rate=rate), dtype="<i2")


def sound(*pitches_hz: int, form: str = "WAV", rate: int = 16_000, channels: int = 1) -> bytes:
    mono = samples(*pitches_hz, rate=rate)
    file = io.BytesIO()
    soundfile.write(file, np.stack([mono] * channels, axis=1), rate, format=form)
    return file.getvalue()


@dataclass
class Desk:
    server: RunningServer
    client: httpx.AsyncClient

    async def send(self, content: bytes, name: str = "a.wav", **fields: Any) -> httpx.Response:
        return await self.client.post(PATH, data={"model": "whisper-1", **fields}, files={"file": (name, content)})

    @property
    def busy(self) -> int:
        (recogniser,) = self.server.house.recognisers.values()
        return sum(slot.open_renders for slot in recogniser.pool.slots)


@asynccontextmanager
async def desk(python: Path, config: BackendConfig | None = None, limits: Limits = FAST) -> AsyncIterator[Desk]:
    async with listening(python, config or pitch_config(), limits) as recogniser:
        async with running_server(tone_config(), python, limits=limits, recognisers=[recogniser]) as server:
            async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
                yield Desk(server, client)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
async def test_a_file_becomes_its_text(tone_python: Path, form: str) -> None:
    async with desk(tone_python) as at:
        answer = await at.send(sound(*TUNE, form=form), f"a.{form.lower()}")
    assert answer.status_code == 200
    assert answer.json()["text"] == words(*TUNE)
    assert answer.json()["usage"] == {"type": "duration", "seconds": pytest.approx(2.0, abs=0.15)}


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6)])
async def test_any_rate_and_any_number_of_channels_will_do(tone_python: Path, rate: int, channels: int) -> None:
    async with desk(tone_python) as at:
        answer = await at.send(sound(*TUNE, rate=rate, channels=channels))
    assert answer.json()["text"] == words(*TUNE)


async def test_a_long_file_loses_nothing_though_the_worker_is_slow(tone_python: Path) -> None:
    limits = replace(FAST, hearing=replace(FAST.hearing, backlog_s=4.0))
    async with desk(tone_python, pitch_config(work_s=0.01), limits) as at:
        answer = await at.send(sound(*TUNE * 10))
    assert answer.json()["text"] == words(*TUNE * 10)


async def test_plain_text_is_the_text_alone(tone_python: Path) -> None:
    async with desk(tone_python) as at:
        answer = await at.send(sound(*TUNE), response_format="text")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == words(*TUNE) + "\n"


async def test_subtitles_have_the_times_of_the_sounds(tone_python: Path) -> None:
    async with desk(tone_python) as at:
        srt = await at.send(sound(440, 880), response_format="srt")
        vtt = await at.send(sound(440, 880), response_format="vtt")
    first, second = "00:00:00{}000 --> 00:00:00{}200\n440hz\n\n", "00:00:00{}500 --> 00:00:00{}700\n880hz\n\n"
    assert srt.text == "1\n" + first.format(",", ",") + "2\n" + second.format(",", ",")
    assert vtt.text == "WEBVTT\n\n" + first.format(".", ".") + second.format(".", ".")
    assert vtt.headers["content-type"].startswith("text/vtt")


async def test_verbose_json_has_segments_and_words(tone_python: Path) -> None:
    async with desk(tone_python) as at:
        both = {"timestamp_granularities[]": ["word", "segment"]}
        told = (await at.send(sound(440, 880), response_format="verbose_json", **both)).json()
        plain = (await at.send(sound(440, 880), response_format="verbose_json")).json()
    assert (told["task"], told["language"], told["duration"]) == ("transcribe", "en", pytest.approx(1.0))
    assert [(one["id"], one["start"], one["end"], one["text"]) for one in told["segments"]] == [
        (0, 0.0, 0.2, " 440hz"),
        (1, 0.5, 0.7, " 880hz"),
    ]
    assert told["words"][1] == {"word": "880hz", "start": 0.5, "end": 0.7}
    assert "words" not in plain and len(plain["segments"]) == 2


async def test_a_stream_tells_the_text_while_it_is_heard(tone_python: Path) -> None:
    async with desk(tone_python, pitch_config(work_s=0.2)) as at:
        answer = await at.send(sound(*TUNE), stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    deltas = [event["delta"] for event in events if event["type"] == "transcript.text.delta"]
    assert len(deltas) >= 3
    assert "".join(deltas) == words(*TUNE)
    assert (events[-1]["type"], events[-1]["text"]) == ("transcript.text.done", words(*TUNE))


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "tone"}, 404, "model_not_found", "model"),
        ({"backend": "tone"}, 404, "model_not_found", "backend"),
        ({"response_format": "diarized_json"}, 400, "unknown_format", "response_format"),
        ({"temperature": "hot"}, 400, "bad_message", "temperature"),
        ({"temperature": "nan"}, 400, "bad_message", "temperature"),
        ({"language": "tlh"}, 400, "bad_option", "language"),
        ({"timestamp_granularities[]": "letter"}, 400, "bad_message", "timestamp_granularities"),
        ({"opts": "[]"}, 400, "bad_message", "opts"),
        ({"opts": '{"pitch": 1}'}, 400, "bad_option", "pitch"),
        ({"opts": '{"pitch": 1}', "stream": "true"}, 400, "bad_option", "pitch"),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    tone_python: Path, fields: dict[str, str], status: int, code: str, param: str
) -> None:
    async with desk(tone_python) as at:
        answer = await at.send(sound(440), **fields)
    assert code_of(answer) == (status, code)
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("stream", ["", "true"])
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"no sound", 400, "unknown_format"),
        (b"", 400, "unknown_format"),
        (sound(440, form="FLAC")[:60], 400, "unknown_format"),
        (bytes(2_000_000), 413, "audio_too_long"),
    ],
    ids=["noise", "empty", "cut off", "too large"],
)
async def test_a_file_is_judged(tone_python: Path, content: bytes, status: int, code: str, stream: str) -> None:
    limits = replace(FAST, transcriptions=replace(FAST.transcriptions, file_bytes=1_000_000))
    async with desk(tone_python, limits=limits) as at:
        answer = await at.send(content, stream=stream)
        assert code_of(answer) == (status, code)
        assert (await at.send(sound(440))).json()["text"] == "440hz"


async def test_a_file_that_lasts_too_long_is_refused_by_its_head(tone_python: Path) -> None:
    limits = replace(FAST, transcriptions=replace(FAST.transcriptions, longest_s=1.5))
    async with desk(tone_python, limits=limits) as at:
        assert code_of(await at.send(sound(*TUNE))) == (413, "audio_too_long")
        assert (await at.send(sound(440, 880))).json()["text"] == words(440, 880)


async def test_a_file_that_lasts_longer_than_its_head_says_is_refused_too(tone_python: Path) -> None:
    limits = replace(FAST, transcriptions=replace(FAST.transcriptions, longest_s=1.5))
    async with desk(tone_python, limits=limits) as at:
        assert code_of(await at.send(flac_that_says(0, samples(*TUNE)))) == (413, "audio_too_long")
        assert (await at.send(flac_that_says(0, samples(440, 880)))).json()["text"] == words(440, 880)


async def test_what_is_whole_of_a_damaged_file_is_heard(tone_python: Path) -> None:
    whole = sound(*TUNE * 4, form="FLAC")
    async with desk(tone_python) as at:
        answer = await at.send(whole[: len(whole) * 3 // 4])
    assert answer.json()["text"].startswith(words(*TUNE * 2))


async def test_silence_is_no_text(tone_python: Path) -> None:
    async with desk(tone_python) as at:
        assert (await at.send(wav_header(16_000, 32_000) + bytes(32_000))).json()["text"] == ""


@pytest.mark.parametrize("stream", ["", "true"])
async def test_a_client_that_leaves_stops_it(tone_python: Path, stream: str) -> None:
    async with desk(tone_python, pitch_config(work_s=0.5)) as at:
        sending = asyncio.create_task(at.send(sound(*TUNE * 30), stream=stream))
        await eventually(lambda: at.busy == 1, "it is heard")
        sending.cancel()
        await asyncio.wait([sending])
        await eventually(lambda: at.server.house.is_empty, "the request is over")
        decoders = [one for one in psutil.Process().children() if "decode" in one.cmdline()]
        assert not decoders
        assert at.server.house.transcriptions._value == FAST.transcriptions.at_once


@pytest.mark.parametrize("stream", ["", "true"])
async def test_audio_that_no_worker_survives_is_an_honest_error(tone_python: Path, stream: str) -> None:
    config = replace(pitch_config(workers=2), opts={"fault": OptionSpec("str", default="")})
    async with desk(tone_python, config) as at:
        answer = await at.send(sound(440), stream=stream, opts='{"fault": "die"}')
        assert code_of(answer) == (500, "hearing_failed")


async def test_so_many_are_heard_at_once_and_others_are_asked_to_come_again(tone_python: Path) -> None:
    few = replace(FAST.transcriptions, at_once=1, wait_s=0.1)
    async with desk(tone_python, pitch_config(work_s=0.3), replace(FAST, transcriptions=few)) as at:
        first = asyncio.create_task(at.send(sound(*TUNE)))
        await eventually(lambda: at.busy == 1, "it is heard")
        second = await at.send(sound(440))
        assert code_of(second) == (503, "overloaded")
        assert second.headers["retry-after"]
        assert (await first).json()["text"] == words(*TUNE)


async def test_a_server_on_which_nobody_listens_says_so(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
            answer = await client.post(PATH, data={"model": "whisper-1"}, files={"file": ("a.wav", sound(440))})
    assert code_of(answer) == (404, "model_not_found")


async def test_what_is_no_form_with_a_file_is_told_how_to_send_one(tone_python: Path) -> None:
    async with desk(tone_python) as at:
        for body in ({"json": {"model": "x"}}, {"data": {"model": "x"}}):
            answer = await at.client.post(PATH, **body)  # type: ignore[arg-type]
            assert code_of(answer) == (400, "bad_message")
            assert "multipart/form-data" in answer.json()["error"]["message"]
