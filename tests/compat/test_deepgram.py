"""The clients of Deepgram's text to speech: its own SDK, livekit's plugin and pipecat's service."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

import pytest

from tests.compat.agents import livekit_stream, pipecat_agent
from tests.compat.audio import Sound, assert_lasts, assert_says, decode, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.harness import tone_bytes

pytestmark = pytest.mark.anyio

TEXT = "The train to the coast leaves at noon. We should buy our tickets before breakfast."
SENTENCES = ("Hello there.", "How are you today?")
TONES = " ".join(SENTENCES)
MODEL = "aura-2-thalia-en"  # clients must name one; here it is the default voice
RATE = 24000


def _seconds(*sentences: str) -> float:
    return len(tone_bytes(*sentences)) / 48000


# The SDK


def _sdk(server: CompatServer) -> Any:
    from deepgram import DeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    environment = DeepgramClientEnvironment(
        base=server.http, production=server.ws, agent=server.ws, agent_rest=server.http
    )
    return DeepgramClient(api_key=server.token, environment=environment)


def _note(report: Report, client: str, what: str) -> Any:
    package = {"deepgram-sdk": "deepgram-sdk", "livekit deepgram": "livekit-plugins-deepgram"}.get(client, "pipecat-ai")
    return report(client, version(package), what)


@pytest.mark.parametrize(
    ("asked", "format"),
    [
        ({}, "mp3"),
        ({"encoding": "linear16", "container": "wav"}, "wav"),
        ({"encoding": "mulaw", "container": "wav"}, "wav"),
        ({"encoding": "alaw", "container": "wav"}, "wav"),
        ({"encoding": "flac"}, "flac"),
        ({"encoding": "opus"}, "opus"),
        ({"encoding": "aac"}, "aac"),
    ],
)
def test_sdk_rest(server: CompatServer, report: Report, asked: dict[str, str], format: str) -> None:
    with _note(report, "deepgram-sdk", f"REST, {asked.get('encoding', 'default encoding')}"):
        file = b"".join(_sdk(server).speak.v1.audio.generate(text=TONES, model=MODEL, **asked))
        assert_lasts(decode(file), _seconds(*SENTENCES), format)


def test_sdk_rest_errors(server: CompatServer, report: Report) -> None:
    from deepgram.core.api_error import ApiError

    with _note(report, "deepgram-sdk", "REST, an error has a status and a code"):
        with pytest.raises(ApiError) as refused:
            b"".join(_sdk(server).speak.v1.audio.generate(text="", model=MODEL))
    assert refused.value.status_code == 400
    assert refused.value.body["err_code"] == "empty_text"


def _play(connection: Any, until: str) -> tuple[bytes, list[Any]]:
    """The audio and the messages up to one of type `until`."""
    audio, messages = b"", []
    while True:
        message = connection.recv()
        if isinstance(message, bytes):
            audio += message
            continue
        messages.append(message)
        if message.type == until:
            return audio, messages


def test_sdk_websocket(server: CompatServer, report: Report) -> None:
    from deepgram.speak.v1.types import SpeakV1Text

    with _note(report, "deepgram-sdk", "WebSocket: Speak, Flush, Clear, a second turn, Close"):
        speak = _sdk(server).speak.v1
        with speak.connect(model=MODEL, encoding="linear16", sample_rate=str(RATE)) as connection:
            connection.send_text(SpeakV1Text(text=TONES))
            connection.send_flush()
            audio, _ = _play(connection, "Flushed")
            assert audio == tone_bytes(*SENTENCES)
            connection.send_text(SpeakV1Text(text="This is never heard to its end. " * 20))
            connection.send_clear()
            _play(connection, "Cleared")
            connection.send_text(SpeakV1Text(text=SENTENCES[1]))
            connection.send_flush()
            audio, _ = _play(connection, "Flushed")
            assert audio == tone_bytes(SENTENCES[1])
            connection.send_close()


def test_sdk_websocket_that_closes_before_it_listens(server: CompatServer, report: Report) -> None:
    """As the examples of the SDK do."""
    from deepgram.core.events import EventType
    from deepgram.speak.v1.types import SpeakV1Text

    audio, closed = bytearray(), threading.Event()
    with _note(report, "deepgram-sdk", "WebSocket: Speak, Flush and Close first, then listening"):
        with _sdk(server).speak.v1.connect(model=MODEL, encoding="linear16", sample_rate=str(RATE)) as connection:
            connection.on(
                EventType.MESSAGE, lambda message: audio.extend(message if isinstance(message, bytes) else b"")
            )
            connection.on(EventType.CLOSE, lambda _: closed.set())
            connection.send_text(SpeakV1Text(text=TONES))
            connection.send_flush()
            connection.send_close()
            connection.start_listening()
        assert closed.is_set()
        assert bytes(audio) == tone_bytes(*SENTENCES)


# livekit


@pytest.fixture
async def livekit(server: CompatServer) -> AsyncIterator[Any]:
    import aiohttp
    from livekit.plugins import deepgram

    async with aiohttp.ClientSession() as session:
        tts = deepgram.TTS(
            model=MODEL,
            api_key=server.token,
            base_url=f"{server.http}/v1/speak",
            http_session=session,
            sample_rate=RATE,
        )
        yield tts
        await tts.aclose()


async def test_livekit_stream(livekit: Any, report: Report) -> None:
    with _note(report, "livekit deepgram", "stream, two turns on one socket"):
        for _ in range(2):
            audio, _ = await livekit_stream(livekit, TONES)
            assert audio.startswith(tone_bytes(*SENTENCES))
            assert_lasts(from_pcm(audio, RATE), _seconds(*SENTENCES))


async def test_livekit_synthesize(livekit: Any, report: Report) -> None:
    with _note(report, "livekit deepgram", "synthesize (REST)"):
        frame = await livekit.synthesize(TONES).collect()
        assert_lasts(from_pcm(bytes(frame.data), frame.sample_rate), _seconds(*SENTENCES))


# pipecat


LOST = "This is never heard to its end."


def _pipecat(server: CompatServer, backend: str = "tone") -> Any:
    from pipecat.services.deepgram.tts import DeepgramTTSService

    return DeepgramTTSService(
        api_key=server.token,
        base_url=server.ws,
        sample_rate=RATE,
        settings=DeepgramTTSService.Settings(voice=f"{MODEL}&backend={backend}"),
    )


async def test_pipecat_is_interrupted_and_speaks_on(server: CompatServer, report: Report) -> None:
    with _note(report, "pipecat DeepgramTTSService", "a turn, an interrupted turn, a turn on the same socket"):
        async with pipecat_agent(_pipecat(server)) as agent:
            await agent.speak(TONES)
            assert agent.ear.audio == tone_bytes(*SENTENCES)
            await agent.interrupt(f"{LOST} " * 20)
            await agent.speak(SENTENCES[1])
            heard, said = agent.ear.audio, tone_bytes(SENTENCES[1])
        # Deepgram's audio has no ids: pipecat takes what was on its way when it sent Clear for the next turn's.
        assert heard.endswith(said)
        late, lost = heard.removesuffix(said), tone_bytes(*[LOST] * 20)
        assert late in lost and len(late) < len(lost)


async def test_pipecat_says_the_last_word(server: CompatServer, report: Report, hear: Callable[[Sound], str]) -> None:
    with _note(report, "pipecat DeepgramTTSService", "real speech, to its last word"):
        async with pipecat_agent(_pipecat(server, "hibari")) as agent:
            await agent.speak(TEXT)
            assert_says(hear(from_pcm(agent.ear.audio, RATE)), TEXT)
