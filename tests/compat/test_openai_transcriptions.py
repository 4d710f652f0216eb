"""POST /v1/audio/transcriptions through OpenAI's own SDK; what listens is `pitch`, which writes down beeps."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import openai
import pytest

from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.process.hearing_driver import RATE, beeps, words
from voice_server.core.audio.pcm import wav_header

SDK = ("openai", version("openai"))
TUNE = (440, 880, 1320)


def client_of(server: CompatServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.http}/v1", api_key=server.token, max_retries=0)


def tune() -> io.BytesIO:
    pcm = beeps(*TUNE)
    file = io.BytesIO(wav_header(RATE, len(pcm)) + pcm)
    file.name = "tune.wav"
    return file


@pytest.mark.parametrize(
    ("name", "text_of"),
    [
        ("json", lambda answer: answer.text),
        ("text", lambda answer: answer.strip()),
        ("verbose_json", lambda answer: "".join(segment.text for segment in answer.segments).strip()),
        ("srt", lambda answer: " ".join(block.split("\n")[2] for block in answer.strip().split("\n\n"))),
        ("vtt", lambda answer: " ".join(block.split("\n")[1] for block in answer.strip().split("\n\n")[1:])),
    ],
)
def test_the_sdk_gets_a_transcript(
    server: CompatServer, report: Report, name: str, text_of: Callable[[Any], str]
) -> None:
    with report(*SDK, f"transcription as {name}"):
        with client_of(server) as client:
            answer = client.audio.transcriptions.create(model="whisper-1", file=tune(), response_format=name)
        assert text_of(answer) == words(*TUNE)


def test_the_sdk_gets_the_times_of_words(server: CompatServer, report: Report) -> None:
    with report(*SDK, "transcription with word times"):
        with client_of(server) as client:
            answer = client.audio.transcriptions.create(
                model="pitch", file=tune(), response_format="verbose_json", timestamp_granularities=["word", "segment"]
            )
        assert [(word.word, word.start) for word in answer.words] == [("440hz", 0.0), ("880hz", 0.5), ("1320hz", 1.0)]
        assert answer.duration == pytest.approx(1.5)
        assert len(answer.segments) == 3


def test_the_sdk_reads_a_transcript_as_it_comes(server: CompatServer, report: Report) -> None:
    with report(*SDK, "transcription as a stream"):
        with client_of(server) as client:
            asked = {"model": "gpt-4o-transcribe", "file": tune(), "stream": True}
            events = list(client.audio.transcriptions.create(**asked))
        assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == words(*TUNE)
        assert (events[-1].type, events[-1].text) == ("transcript.text.done", words(*TUNE))


def test_the_sdk_raises_what_is_wrong(server: CompatServer, report: Report) -> None:
    with report(*SDK, "errors of transcriptions"):
        with client_of(server) as client:
            with pytest.raises(openai.BadRequestError) as noise:
                client.audio.transcriptions.create(model="whisper-1", file=("noise.wav", b"no sound"))
            with pytest.raises(openai.NotFoundError) as unknown:
                client.audio.transcriptions.create(model="tone", file=tune())
        assert (noise.value.code, noise.value.param) == ("unknown_format", "file")
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
