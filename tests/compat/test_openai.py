"""The OpenAI doors through OpenAI's own SDK, and through what livekit and pipecat build on it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from tests.compat.audio import Sound, assert_lasts, assert_says, decode, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.harness import (
    FAST,
    cloned_tone_bytes,
    hum_wav,
    running_server,
    tone_bytes,
    tone_config,
    voice_store,
)

TEXT = "The train to the coast leaves at noon. We should buy our tickets before breakfast."
SENTENCES = ("The train to the coast leaves at noon.", "We should buy our tickets before breakfast.")
SPOKEN = tone_bytes(*SENTENCES)
SPOKEN_S = len(SPOKEN) / 48_000
RATE = 24_000
FORMATS = ["mp3", "opus", "aac", "flac", "wav", "pcm"]
# Its decoder opens ffmpeg with `nobuffer`, which drops the first block of any FLAC, also of ffmpeg's own (96 ms there).
LIVEKIT_LOSES_S = {"flac": 0.048}
SDK = ("openai", version("openai"))


def client_of(server: CompatServer, **options: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.http}/v1", api_key=server.token, **options)  # type: ignore[arg-type]


def sound_of(data: bytes, name: str) -> Sound:
    return from_pcm(data, RATE) if name == "pcm" else decode(data)


# The SDK


@pytest.mark.parametrize("name", FORMATS)
def test_the_sdk_gets_all_of_the_audio(server: CompatServer, report: Report, name: str) -> None:
    with report(*SDK, f"speech as {name}"):
        with client_of(server) as client:
            answer = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format=name)
        assert_lasts(sound_of(answer.content, name), SPOKEN_S, name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_recogniser_reads_real_speech_to_its_last_word(
    server: CompatServer, report: Report, hear: Callable[[Sound], str], name: str
) -> None:
    with report(*SDK, f"real speech as {name}, read by a recogniser"):
        with client_of(server) as client:
            answer = client.audio.speech.create(model="hibari", voice="nova", input=TEXT, response_format=name)
        assert_says(hear(sound_of(answer.content, name)), TEXT)


def test_the_sdk_streams_a_response(server: CompatServer, report: Report) -> None:
    with report(*SDK, "with_streaming_response"):
        with client_of(server) as client:
            speech = client.audio.speech.with_streaming_response
            with speech.create(model="tone", voice="ash", input=TEXT, response_format="pcm") as answer:
                parts = list(answer.iter_bytes(4096))
        assert b"".join(parts) == SPOKEN


async def test_the_async_sdk_streams_a_response(server: CompatServer, report: Report, anyio_backend: str) -> None:
    with report(*SDK, "async with_streaming_response"):
        async with openai.AsyncOpenAI(base_url=f"{server.http}/v1", api_key=server.token) as client:
            speech = client.audio.speech.with_streaming_response
            async with speech.create(model="tone", voice="ash", input=TEXT, response_format="pcm") as answer:
                parts = [part async for part in answer.iter_bytes(4096)]
        assert b"".join(parts) == SPOKEN


def test_the_sdk_reads_server_sent_events(server: CompatServer, report: Report) -> None:
    with report(*SDK, "stream_format sse"):
        with client_of(server) as client:
            speech = client.audio.speech.with_streaming_response
            asked = {"model": "tone", "voice": "ash", "input": TEXT, "response_format": "pcm", "stream_format": "sse"}
            with speech.create(**asked) as answer:
                events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
        audio = [base64.b64decode(event["audio"]) for event in events if event["type"] == "speech.audio.delta"]
        assert b"".join(audio) == SPOKEN
        assert events[-1]["type"] == "speech.audio.done"


def test_the_sdk_passes_on_what_is_ours(server: CompatServer, report: Report) -> None:
    with report(*SDK, "extra_body: sample_rate, stream"):
        with client_of(server) as client:
            ours = {"sample_rate": 16_000, "stream": False}
            speech = client.audio.speech
            answer = speech.create(model="tone", voice="ash", input=TEXT, response_format="wav", extra_body=ours)
        sound = decode(answer.content)
        assert sound.rate == 16_000
        assert_lasts(sound, SPOKEN_S)


def test_the_sdk_lists_models(server: CompatServer, report: Report) -> None:
    with report(*SDK, "models"):
        with client_of(server) as client:
            assert {"tone", "hibari", "tts-1"} <= {model.id for model in client.models.list()}
            assert client.models.retrieve("hibari").id == "hibari"
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve("nothing")


async def test_the_sdk_makes_a_voice_speaks_in_it_and_deletes_it(
    tone_python: Path, tmp_path: Path, report: Report, anyio_backend: str
) -> None:
    with report(*SDK, "audio.voices: create, speak, delete"):
        async with running_server(tone_config(), tone_python, voices=voice_store(tmp_path)) as ours:
            async with openai.AsyncOpenAI(base_url=f"{ours.http}/v1", api_key="any") as client:
                voices, sound = client.audio.voices, ("me.wav", hum_wav(), "audio/wav")
                made = await voices.create(name="ada", audio_sample=sound, consent="cons_1234")
                assert (made.id, made.object, made.type) == ("ada", "audio.voice", "audio_sample")
                sample = ours.house.voices.samples["ada"]
                answer = await client.audio.speech.create(
                    model="tone", voice=made.id, input=TEXT, response_format="pcm"
                )
                assert answer.content == cloned_tone_bytes(sample, *SENTENCES)
                with pytest.raises(openai.ConflictError):
                    await voices.create(name="ada", audio_sample=("me.wav", hum_wav(3.0)), consent="cons_1234")
                gone = await voices.delete("ada")
                assert (gone.id, gone.deleted, gone.object) == ("ada", True, "audio.voice.deleted")
                with pytest.raises(openai.NotFoundError):
                    await voices.delete("ada")


def test_the_sdk_knows_our_errors(server: CompatServer, report: Report) -> None:
    with report(*SDK, "errors as its own classes"):
        with client_of(server) as client:
            speech = client.audio.speech
            with pytest.raises(openai.BadRequestError) as voice:
                speech.create(model="tone", voice="nobody", input=TEXT)
            with pytest.raises(openai.NotFoundError) as model:
                speech.create(model="whisper-1", voice="alloy", input=TEXT)
            with pytest.raises(openai.InternalServerError) as failure:
                speech.create(model="tone", voice="alloy", input=TEXT, extra_body={"opts": {"fault": "raise@0"}})
        assert (voice.value.code, voice.value.param) == ("unknown_voice", "voice")
        assert (model.value.code, model.value.param) == ("model_not_found", "model")
        assert failure.value.code == "sentence_failed"
        assert failure.value.request_id
        with openai.OpenAI(base_url=f"{server.http}/v1", api_key="wrong") as stranger:
            with pytest.raises(openai.AuthenticationError):
                stranger.models.list()


def test_the_sdk_notices_half_an_answer(server: CompatServer, report: Report) -> None:
    with report(*SDK, "an engine that fails midway"):
        with client_of(server) as client:
            speech, fault = client.audio.speech.with_streaming_response, {"opts": {"fault": "raise@3"}}
            asked = {"model": "tone", "voice": "ash", "input": TEXT, "response_format": "pcm", "extra_body": fault}
            with pytest.raises(Exception, match="incomplete"), speech.create(**asked) as answer:
                answer.read()


async def test_the_sdk_tries_again_when_a_backend_is_loading(
    tone_python: Path, report: Report, anyio_backend: str
) -> None:
    asked: list[httpx.Response] = []

    async def note(response: httpx.Response) -> None:
        asked.append(response)

    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.1))
    with report(*SDK, "retries after 503 with Retry-After"):
        async with running_server(tone_config(load_s=0.6), tone_python, limits=limits, wait=False) as ours:
            http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]})
            async with openai.AsyncOpenAI(base_url=f"{ours.http}/v1", api_key="any", http_client=http) as client:
                answer = await client.audio.speech.create(
                    model="tts-1", voice="alloy", input=TEXT, response_format="pcm"
                )
        assert answer.content == SPOKEN
        assert [response.status_code for response in asked] == [503, 200]


# livekit


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "wav", "pcm"])
@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"])  # it asks for events where the model is a new one
async def test_livekit_speaks(server: CompatServer, report: Report, anyio_backend: str, model: str, name: str) -> None:
    from livekit.plugins.openai import TTS

    how = "audio" if model == "tts-1" else "sse"
    lost = f" (its decoder drops the first {LIVEKIT_LOSES_S[name]:g} s)" if name in LIVEKIT_LOSES_S else ""
    with report("livekit-plugins-openai", version("livekit-plugins-openai"), f"synthesize, {name} by {how}{lost}"):
        tts = TTS(model=model, voice="ash", base_url=f"{server.http}/v1", api_key=server.token, response_format=name)
        try:
            async with tts.synthesize(TEXT) as stream:
                heard = [audio async for audio in stream]
        finally:
            await tts.aclose()
        samples = b"".join(bytes(audio.frame.data) for audio in heard)
        assert {audio.frame.sample_rate for audio in heard} == {RATE}
        assert all(audio.request_id for audio in heard)
        assert_lasts(from_pcm(samples, RATE), SPOKEN_S - LIVEKIT_LOSES_S.get(name, 0.0), name)


async def test_livekit_speaks_real_words(
    server: CompatServer, report: Report, anyio_backend: str, hear: Callable[[Sound], str]
) -> None:
    from livekit.plugins.openai import TTS

    with report("livekit-plugins-openai", version("livekit-plugins-openai"), "real speech, read by a recogniser"):
        tts = TTS(model="hibari", voice="ash", base_url=f"{server.http}/v1", api_key=server.token)
        try:
            frame = await tts.synthesize(TEXT).collect()
        finally:
            await tts.aclose()
        assert_says(hear(from_pcm(bytes(frame.data), frame.sample_rate)), TEXT)


# pipecat


async def _pipecat(server: CompatServer, model: str, text: str) -> tuple[list[object], list[object]]:
    from pipecat.frames.frames import TTSSpeakFrame
    from pipecat.pipeline.worker import PipelineParams
    from pipecat.services.openai.tts import OpenAITTSService
    from pipecat.tests.utils import run_test

    settings = OpenAITTSService.Settings(voice="alloy", model=model)
    params = PipelineParams(audio_out_sample_rate=RATE)
    async with (
        openai.DefaultAsyncHttpxClient() as http
    ):  # pipecat would leave its own to be closed by whichever test is next
        base_url, said = f"{server.http}/v1", [TTSSpeakFrame(text)]
        service = OpenAITTSService(api_key=server.token, base_url=base_url, http_client=http, settings=settings)
        down, up = await run_test(service, frames_to_send=said, pipeline_params=params, start_timeout=10.0)
    return list(down), list(up)


def _names(frames: list[object]) -> list[str]:
    return [type(frame).__name__ for frame in frames]


async def test_pipecat_speaks(server: CompatServer, report: Report, anyio_backend: str) -> None:
    with report("pipecat OpenAITTSService", version("pipecat-ai"), "one text"):
        down, up = await _pipecat(server, "gpt-4o-mini-tts", TEXT)
        names = _names(down)
        audio = b"".join(frame.audio for frame in down if type(frame).__name__ == "TTSAudioRawFrame")  # type: ignore[attr-defined]
        assert "ErrorFrame" not in _names(up)
        assert names.index("TTSStartedFrame") < names.index("TTSAudioRawFrame") < names.index("TTSStoppedFrame")
        assert np.array_equal(np.frombuffer(audio, "<i2"), np.frombuffer(SPOKEN, "<i2"))


async def test_pipecat_gets_an_error_and_an_end(server: CompatServer, report: Report, anyio_backend: str) -> None:
    with report("pipecat OpenAITTSService", version("pipecat-ai"), "a text with nothing to speak"):
        down, up = await _pipecat(server, "tone", "```\ncode\n```")
        assert "ErrorFrame" in _names(up)
        assert "TTSAudioRawFrame" not in _names(down)
