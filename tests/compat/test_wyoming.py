"""Home Assistant's own client library for Wyoming."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.compat.audio import Sound, assert_lasts, assert_says, from_pcm
from tests.compat.report import Report
from tests.e2e.wyoming_client import wyoming as wyoming_door
from tests.harness import FAST, running_server, tone_bytes, tone_config
from voice_server.config import load_config

pytestmark = pytest.mark.anyio

TEXT = "The train to the coast leaves at noon. We should buy our tickets before breakfast."
TONES = ("Hello there.", "How are you today?")


@pytest.fixture
async def tone_port(tone_python: Path) -> AsyncIterator[int]:
    async with running_server(tone_config(), tone_python) as server, wyoming_door(server) as port:
        yield port


def _note(report: Report, what: str):
    return report("wyoming AsyncTcpClient", version("wyoming"), what)


async def _listen(client, last: type) -> Sound:
    """What Home Assistant does with the events of an answer."""
    from wyoming.audio import AudioChunk, AudioStart

    pcm, rate = b"", 0
    while event := await client.read_event():
        if last.is_type(event.type):
            return from_pcm(pcm, rate)
        if AudioStart.is_type(event.type):
            rate = AudioStart.from_event(event).rate
        elif AudioChunk.is_type(event.type):
            pcm += AudioChunk.from_event(event).audio
    raise AssertionError("the connection ended before the answer")


async def test_describe(tone_port: int, report: Report) -> None:
    from wyoming.client import AsyncTcpClient
    from wyoming.info import Describe, Info

    with _note(report, "describe"):
        async with AsyncTcpClient("127.0.0.1", tone_port) as client:
            await client.write_event(Describe().event())
            info = Info.from_event(await client.read_event())
        (program,) = info.tts
        assert program.supports_synthesize_streaming
        assert (program.voices[0].name, program.voices[0].languages) == ("tone", ["en"])


async def test_synthesize(tone_port: int, report: Report) -> None:
    from wyoming.audio import AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.tts import Synthesize, SynthesizeVoice

    with _note(report, "synthesize, two on one connection"):
        async with AsyncTcpClient("127.0.0.1", tone_port) as client:
            for voice in ("low", "high"):
                await client.write_event(Synthesize(" ".join(TONES), SynthesizeVoice(name=voice)).event())
                sound = await _listen(client, AudioStop)
                assert_lasts(sound, len(tone_bytes(*TONES, voice=voice)) / 48000)


async def test_streaming_synthesize(tone_port: int, report: Report) -> None:
    from wyoming.client import AsyncTcpClient
    from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeStopped

    with _note(report, "synthesize-start, -chunk, -stop, as Home Assistant sends them"):
        async with AsyncTcpClient("127.0.0.1", tone_port) as client:
            await client.write_event(SynthesizeStart().event())
            for word in " ".join(TONES).split(" "):
                await client.write_event(SynthesizeChunk(word + " ").event())
            await client.write_event(Synthesize(" ".join(TONES)).event())
            await client.write_event(SynthesizeStop().event())
            sound = await _listen(client, SynthesizeStopped)
        assert_lasts(sound, len(tone_bytes(*TONES)) / 48000)


async def test_an_unknown_voice(tone_port: int, report: Report) -> None:
    from wyoming.client import AsyncTcpClient
    from wyoming.error import Error
    from wyoming.tts import Synthesize, SynthesizeVoice

    with _note(report, "an unknown voice is an error, then the end"):
        async with AsyncTcpClient("127.0.0.1", tone_port) as client:
            await client.write_event(Synthesize("Hello.", SynthesizeVoice(name="nobody")).event())
            assert Error.from_event(await client.read_event()).code == "unknown_voice"
            assert await client.read_event() is None


async def test_speech(hibari_python: Path, report: Report, hear: Callable[[Sound], str]) -> None:
    from wyoming.audio import AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.tts import Synthesize

    config = load_config(None).backends["hibari"]
    with _note(report, "synthesize real speech, to its last word"):
        async with running_server(config, hibari_python, limits=FAST) as server, wyoming_door(server) as port:
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Synthesize(TEXT).event())
                assert_says(hear(await _listen(client, AudioStop)), TEXT)
