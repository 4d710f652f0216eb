"""The services that livekit and pipecat have for Cartesia."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest

from tests.compat.agents import RATE, livekit_stream, pipecat_agent
from tests.compat.audio import Sound, assert_lasts, assert_says, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.harness import TIMEOUT_S, tone_bytes

pytestmark = pytest.mark.anyio

SENTENCES = ("The train to the coast leaves at noon.", "We should buy our tickets before breakfast.")
TEXT = " ".join(SENTENCES)
SPEECH = tone_bytes(*SENTENCES)
SECONDS = len(SPEECH) / 2 / RATE
FIRST_S = len(tone_bytes(SENTENCES[0])) / 2 / RATE
LIVEKIT, PIPECAT = "livekit-plugins-cartesia", "pipecat-ai"


# livekit


@asynccontextmanager
async def _livekit(server: CompatServer) -> AsyncIterator[Any]:
    """With the voice that the plugin itself names: one of Cartesia's."""
    from livekit.plugins import cartesia

    async with aiohttp.ClientSession() as session:
        tts = cartesia.TTS(api_key=server.token, base_url=server.http, http_session=session, sample_rate=RATE)
        yield tts
        await tts.aclose()


async def test_livekit_streams_with_the_times_of_words(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version(LIVEKIT), "stream, word timings"):
        async with _livekit(server) as tts:
            audio, words = await livekit_stream(tts, TEXT)
        assert audio.startswith(SPEECH)
        assert_lasts(from_pcm(audio, RATE), SECONDS)
        assert "".join(words).split() == TEXT.split()
        starts = {str(word).strip(): word.start_time for word in words if word.strip()}
        assert list(starts.values()) == sorted(starts.values())
        assert starts["We"] == pytest.approx(FIRST_S, abs=0.002)
        assert words[-1].end_time == pytest.approx(SECONDS, abs=0.002)


async def test_livekit_speaks_a_second_turn(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version(LIVEKIT), "a second turn, and one that was interrupted"):
        async with _livekit(server) as tts:
            await livekit_stream(tts, TEXT)
            async with tts.stream() as interrupted:
                interrupted.push_text(" ".join([TEXT] * 20))
                await anext(aiter(interrupted))
            audio, _ = await asyncio.wait_for(livekit_stream(tts, SENTENCES[1]), TIMEOUT_S)
        assert audio.startswith(tone_bytes(SENTENCES[1]))


async def test_livekit_synthesizes(server: CompatServer, report: Report) -> None:
    with report(LIVEKIT, version(LIVEKIT), "synthesize (POST /tts/bytes)"):
        async with _livekit(server) as tts:
            frame = await tts.synthesize(TEXT).collect()
        assert_lasts(from_pcm(bytes(frame.data), frame.sample_rate), SECONDS)


# pipecat


def _pipecat(server: CompatServer, backend: str = "tone", **options: Any) -> Any:
    from pipecat.services.cartesia.tts import CartesiaTTSService

    settings = CartesiaTTSService.Settings(voice="71a7ad14-091c-4e8e-a314-022ece01c121")
    url = f"{server.ws}/tts/websocket?backend={backend}"
    return CartesiaTTSService(api_key=server.token, url=url, settings=settings, **options)


async def test_pipecat_gets_audio_and_words_in_order(server: CompatServer, report: Report) -> None:
    with report(PIPECAT, version(PIPECAT), "CartesiaTTSService: audio, words and their times"):
        async with pipecat_agent(_pipecat(server)) as agent:
            await agent.speak(TEXT)
            assert agent.ear.audio == SPEECH
            assert agent.ear.words == TEXT.split()
            assert agent.ear.seconds_to("We") == pytest.approx(FIRST_S, abs=0.01)


async def test_pipecat_sends_tokens(server: CompatServer, report: Report) -> None:
    from pipecat.services.tts_service import TextAggregationMode

    with report(PIPECAT, version(PIPECAT), "CartesiaTTSService: token by token"):
        service = _pipecat(server, text_aggregation_mode=TextAggregationMode.TOKEN)
        async with pipecat_agent(service) as agent:
            await agent.speak(TEXT)
            assert agent.ear.audio == SPEECH
            assert agent.ear.words == TEXT.split()


async def test_pipecat_is_interrupted_and_speaks_on(server: CompatServer, report: Report) -> None:
    with report(PIPECAT, version(PIPECAT), "CartesiaTTSService: interruption, then a second turn"):
        async with pipecat_agent(_pipecat(server)) as agent:
            await agent.interrupt(" ".join([TEXT] * 20))
            await agent.speak(SENTENCES[1])
            assert agent.ear.audio == tone_bytes(SENTENCES[1])
            assert agent.ear.words == SENTENCES[1].split()


async def test_pipecat_says_the_last_word(server: CompatServer, report: Report, hear: Callable[[Sound], str]) -> None:
    with report(PIPECAT, version(PIPECAT), "CartesiaTTSService: real speech, to its last word"):
        async with pipecat_agent(_pipecat(server, "hibari")) as agent:
            await agent.speak(TEXT)
            assert_says(hear(from_pcm(agent.ear.audio, RATE)), TEXT)


async def test_pipecat_speaks_over_http(server: CompatServer, report: Report) -> None:
    from pipecat.services.cartesia.tts import CartesiaHttpTTSService

    with report(PIPECAT, version(PIPECAT), "CartesiaHttpTTSService"):
        async with aiohttp.ClientSession() as session:
            settings = CartesiaHttpTTSService.Settings(voice="low")
            service = CartesiaHttpTTSService(
                api_key=server.token, base_url=server.http, aiohttp_session=session, settings=settings
            )
            async with pipecat_agent(service) as agent:
                await agent.speak(SENTENCES[0])
                assert agent.ear.audio == tone_bytes(SENTENCES[0], voice="low")
