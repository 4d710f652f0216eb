"""ElevenLabs' own SDK, and the services that livekit and pipecat have for it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.plugins import elevenlabs as livekit_elevenlabs
from pipecat.services.elevenlabs.tts import ElevenLabsHttpTTSService, ElevenLabsTTSService

from tests.compat.agents import pipecat_agent
from tests.compat.audio import Sound, assert_lasts, assert_says, decode, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.harness import TIMEOUT_S, eventually, tone_bytes

VOICES = ["tone", "low", "high", "default"]  # the last is the sample that ships, which tone imitates
SENTENCES = ("The train to the coast leaves at noon.", "We should buy our tickets before breakfast.")
TEXT = " ".join(SENTENCES)
WORDS = TEXT.split()
RATE = 24_000
SPEECH = tone_bytes(*SENTENCES)
SECONDS = len(SPEECH) / 2 / RATE
FIRST_S = len(tone_bytes(SENTENCES[0])) / 2 / RATE
SDK, LIVEKIT, PIPECAT = "elevenlabs SDK", "livekit-plugins-elevenlabs", "pipecat-ai"

Hear = Callable[[Sound], str]


# The SDK


@pytest.fixture
def client(server: CompatServer) -> ElevenLabs:
    return ElevenLabs(base_url=server.http, api_key=server.token)


@pytest.fixture
def sdk(report: Report) -> Callable[[str], Any]:
    return lambda what: report(SDK, version("elevenlabs"), what)


def test_convert_gives_every_sample(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("convert, pcm"):
        parts = client.text_to_speech.convert("tone", text=TEXT, output_format="pcm_24000")
        assert b"".join(parts) == SPEECH


def test_convert_gives_mp3_unless_asked_otherwise(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("convert, mp3"):
        sound = decode(b"".join(client.text_to_speech.convert("tone", text=TEXT)))
        assert sound.rate == 44_100
        assert_lasts(sound, SECONDS, "mp3")


def test_stream_says_real_words(client: ElevenLabs, sdk: Callable[[str], Any], hear: Hear) -> None:
    with sdk("stream, mp3, hibari"):
        parts = client.text_to_speech.stream("heart", text=TEXT, model_id="hibari", output_format="mp3_44100_128")
        assert_says(hear(decode(b"".join(parts))), TEXT)


def test_convert_with_timestamps_has_a_time_for_each_character(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("convert_with_timestamps"):
        answer = client.text_to_speech.convert_with_timestamps("tone", text=TEXT, output_format="pcm_24000")
        assert base64.b64decode(answer.audio_base_64) == SPEECH
        assert answer.alignment
        assert "".join(answer.alignment.characters) == TEXT + " "
        starts = answer.alignment.character_start_times_seconds
        assert starts == sorted(starts)
        assert starts[len(SENTENCES[0]) + 1] == pytest.approx(FIRST_S, abs=0.001)
        assert answer.alignment.character_end_times_seconds[-1] == pytest.approx(SECONDS, abs=0.001)


def test_stream_with_timestamps(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("stream_with_timestamps"):
        chunks = list(client.text_to_speech.stream_with_timestamps("tone", text=TEXT, output_format="pcm_24000"))
        assert b"".join(base64.b64decode(chunk.audio_base_64) for chunk in chunks) == SPEECH
        told = [chunk.alignment for chunk in chunks if chunk.alignment]
        assert ["".join(alignment.characters).strip() for alignment in told] == list(SENTENCES)


def test_convert_realtime_speaks_what_comes_in_pieces(
    server: CompatServer, client: ElevenLabs, sdk: Callable[[str], Any]
) -> None:
    with sdk("convert_realtime, with _ws_base_url set to ws://"):
        client.text_to_speech._ws_base_url = server.ws  # it insists on wss otherwise
        parts = client.text_to_speech.convert_realtime(
            "tone", text=(f"{word} " for word in WORDS), model_id="tone", output_format="pcm_24000"
        )
        assert b"".join(parts) == SPEECH


def test_the_sdk_lists_the_voices(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("voices.get_all, voices.search, voices.get"):
        assert [voice.voice_id for voice in client.voices.get_all().voices] == VOICES
        assert client.voices.search().total_count == len(VOICES)
        assert client.voices.get("low").name == "low"


def test_an_unknown_voice_is_an_api_error(client: ElevenLabs, sdk: Callable[[str], Any]) -> None:
    with sdk("errors"):
        with pytest.raises(ApiError) as caught:
            list(client.text_to_speech.convert("JBFqnCBsd6RMkjVDRZzb", text=TEXT))
        assert caught.value.status_code == 404
        assert caught.value.body["detail"]["status"] == "voice_not_found"


# livekit


@asynccontextmanager
async def _livekit(server: CompatServer, encoding: Any) -> AsyncIterator[livekit_elevenlabs.TTS]:
    async with aiohttp.ClientSession() as session:
        tts = livekit_elevenlabs.TTS(
            voice_id="tone",
            model="tone",
            api_key=server.token,
            base_url=f"{server.http}/v1",
            encoding=encoding,
            http_session=session,
        )
        yield tts
        await tts.aclose()


async def _livekit_stream(tts: livekit_elevenlabs.TTS, text: str) -> tuple[bytes, list[Any]]:
    """The audio, and the timed words."""
    async with tts.stream() as stream:
        for word in text.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        frames = [event.frame async for event in stream]
    words = [word for frame in frames for word in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])]
    return b"".join(bytes(frame.data) for frame in frames), words


@pytest.mark.anyio
async def test_livekit_streams_with_the_times_of_words(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version("livekit-plugins-elevenlabs"), "stream, pcm, word timings"):
        async with _livekit(server, "pcm_24000") as tts:
            audio, words = await _livekit_stream(tts, TEXT)
        assert_lasts(from_pcm(audio, RATE), SECONDS)
        assert audio.startswith(SPEECH)  # livekit ends a segment with 10 ms of silence
        assert "".join(words).split() == WORDS
        starts = {str(word).strip(): word.start_time for word in words if word.strip()}
        assert list(starts.values()) == sorted(starts.values())
        assert starts["We"] == pytest.approx(FIRST_S, abs=0.002)
        assert words[-1].end_time == pytest.approx(SECONDS, abs=0.002)


@pytest.mark.anyio
async def test_livekit_speaks_a_second_turn_on_the_same_socket(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version("livekit-plugins-elevenlabs"), "a second turn, and one that was interrupted"):
        async with _livekit(server, "pcm_24000") as tts:
            await _livekit_stream(tts, TEXT)
            async with tts.stream() as interrupted:
                interrupted.push_text(TEXT * 20)
                await anext(aiter(interrupted))
            audio, _ = await asyncio.wait_for(_livekit_stream(tts, SENTENCES[1]), TIMEOUT_S)
        assert audio.startswith(tone_bytes(SENTENCES[1]))


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["mp3_22050_32", "pcm_24000"])
async def test_livekit_synthesizes(server: CompatServer, report: Report, encoding: str) -> None:
    with report(LIVEKIT, version("livekit-plugins-elevenlabs"), f"synthesize, {encoding.split('_')[0]}"):
        async with _livekit(server, encoding) as tts:
            frame = await tts.synthesize(TEXT).collect()
        assert_lasts(from_pcm(bytes(frame.data), frame.sample_rate), SECONDS, encoding.split("_")[0])


@pytest.mark.anyio
async def test_livekit_lists_the_voices(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version("livekit-plugins-elevenlabs"), "list_voices"):
        async with _livekit(server, "pcm_24000") as tts:
            assert [voice.id for voice in await tts.list_voices()] == VOICES


# pipecat


def _websocket_service(server: CompatServer) -> ElevenLabsTTSService:
    settings = ElevenLabsTTSService.Settings(voice="tone", model="tone")
    return ElevenLabsTTSService(api_key=server.token, url=server.ws, settings=settings)


@pytest.mark.anyio
async def test_pipecat_gets_audio_and_words_in_order(server: CompatServer, report: Report) -> None:
    with report(PIPECAT, version("pipecat-ai"), "ElevenLabsTTSService: audio, words and their times"):
        async with pipecat_agent(_websocket_service(server)) as agent:
            await agent.speak(TEXT)
        assert agent.ear.audio == SPEECH
        assert agent.ear.words == WORDS
        assert agent.ear.seconds_to("We") == pytest.approx(FIRST_S, abs=0.01)


@pytest.mark.anyio
async def test_pipecat_is_interrupted_and_speaks_a_second_turn(server: CompatServer, report: Report) -> None:
    with report(PIPECAT, version("pipecat-ai"), "ElevenLabsTTSService: interruption, then a second turn"):
        async with pipecat_agent(_websocket_service(server)) as agent:
            await agent.interrupt(" ".join([TEXT] * 20))
            await agent.speak(SENTENCES[1])
        assert agent.ear.audio == tone_bytes(SENTENCES[1])
        assert agent.ear.words == SENTENCES[1].split()


@pytest.mark.anyio
async def test_pipecat_speaks_over_http(server: CompatServer, report: Report) -> None:
    with report(PIPECAT, version("pipecat-ai"), "ElevenLabsHttpTTSService: audio and words"):
        async with aiohttp.ClientSession() as session:
            service = ElevenLabsHttpTTSService(
                api_key=server.token,
                aiohttp_session=session,
                base_url=server.http,
                settings=ElevenLabsHttpTTSService.Settings(voice="tone", model="tone"),
            )
            async with pipecat_agent(service) as agent:
                await agent.speak(TEXT)
                await eventually(lambda: len(agent.ear.words) >= len(WORDS), "all words are told")
        assert agent.ear.audio == SPEECH
        assert agent.ear.words == WORDS
