"""Real speech to text: what hibari says, faster-whisper writes down. Its weights come with a package."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.test_speech import word_error_rate
from tests.harness import FAST, FAST_WORKER, eventually
from tests.process.hearing_driver import Client, listening
from tests.process.worker_driver import Worker, loaded, started
from voice_server.config import load_config
from voice_server.core.text.hearing import HearingDone
from voice_server.stream.recogniser import Recogniser
from voice_server.wire.messages import LoadFailed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PATIENCE_S = 100.0  # with a busy machine
WHISPER = "voice_server.backends.whisper:WhisperRecogniser"
SPOKEN = 24_000  # Hz, hibari's
SENTENCES = (
    "The weather in London is cold and wet today.",
    "Please send the report to the whole team before noon.",
    "She plays the piano every evening after dinner.",
)
LONG = (
    "the committee which had been meeting since early in the morning finally agreed to publish the report about the"
    " river and the old bridge before the end of the month so that the people of the town could read it"
)

Say = Callable[..., bytes]


@pytest.fixture(scope="module")
def say(hibari_python: Path) -> Say:
    """PCM of sentences, with half a second of silence around each."""
    with loaded("voice_server.backends.hibari:HibariBackend", python=str(hibari_python)) as worker:
        spoken = {text: _render(worker, text) for text in (*SENTENCES, LONG)}
    return lambda *texts: _silence(0.5).join([b"", *(spoken[text] for text in texts), b""])


def _render(worker: Worker, text: str) -> bytes:
    worker.sock.settimeout(PATIENCE_S)
    return worker.render(text, "heart")[0]


def _silence(seconds: float) -> bytes:
    return bytes(2 * int(seconds * SPOKEN))


def _noise(seconds: float) -> bytes:
    noise = np.random.default_rng(0).standard_normal(int(seconds * SPOKEN)) * 0.1
    return (noise * 32767).astype("<i2").tobytes()


@asynccontextmanager
async def whisper(python: Path, **options: Any) -> AsyncIterator[Recogniser]:
    config = load_config(None).backends["whisper-tiny"]
    limits = replace(FAST_WORKER, load_s=PATIENCE_S, first_chunk_s=PATIENCE_S, chunk_gap_s=PATIENCE_S)
    async with listening(python, replace(config, limits=limits, options=config.options | options)) as recogniser:
        yield recogniser


async def feed(client: Client, pcm: bytes, seconds: int = 2) -> None:
    """A few seconds at a time, the next ones when the worker has heard them: whoever speaks to an idle worker."""
    for at in range(0, len(pcm), seconds * 2 * SPOKEN):
        client.hearing.hear(pcm[at : at + seconds * 2 * SPOKEN])
        await eventually(lambda: client.hearing.backlog_s < 0.1 or client.last is not None, "it was heard", PATIENCE_S)


async def end_of(client: Client) -> HearingDone:
    client.hearing.finish()
    await eventually(lambda: client.last is not None, "the hearing has ended", PATIENCE_S)
    assert isinstance(client.last, HearingDone), client.last
    return client.last


def speaker(recogniser: Recogniser, **options: Any) -> Client:
    return Client(recogniser, FAST, SPOKEN, **options)


async def test_speech_becomes_the_words_that_were_spoken_with_their_times(whisper_python: Path, say: Say) -> None:
    pcm = say(*SENTENCES)
    async with whisper(whisper_python) as recogniser:
        client = speaker(recogniser, partials=False)
        await feed(client, pcm)
        end = await end_of(client)
    assert word_error_rate(" ".join(SENTENCES), end.text) <= 0.15
    assert len(end.segments) == len(SENTENCES)
    for segment, (begin_s, end_s) in zip(end.segments, _spans(say), strict=True):
        assert segment.start_s == pytest.approx(begin_s, abs=0.3)
        assert segment.end_s == pytest.approx(end_s, abs=0.3)


def _spans(say: Say) -> list[tuple[float, float]]:
    """Of sound, in seconds."""
    spans, at_s = [], 0.5
    for sentence in SENTENCES:
        pcm = np.frombuffer(say(sentence), "<i2")[SPOKEN // 2 : -SPOKEN // 2]
        loud = np.flatnonzero(np.abs(pcm) > 300) / SPOKEN
        spans.append((at_s + float(loud[0]), at_s + float(loud[-1])))
        at_s += len(pcm) / SPOKEN + 0.5
    return spans


async def test_a_long_utterance_is_told_while_it_lasts_and_only_ever_grows(whisper_python: Path, say: Say) -> None:
    async with whisper(whisper_python) as recogniser:
        client = speaker(recogniser)
        await feed(client, say(LONG)[:-SPOKEN])
        told = [text.text for text in client.texts if text.text]
        end = await end_of(client)
    assert len(set(told)) >= 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise([*told, end.text]))
    assert word_error_rate(LONG, end.text) <= 0.15


@pytest.mark.parametrize("sound", [_silence, _noise])
async def test_what_is_no_speech_gives_no_text(whisper_python: Path, sound: Callable[[float], bytes]) -> None:
    async with whisper(whisper_python) as recogniser:
        client = speaker(recogniser)
        await feed(client, sound(12.0))
        end = await end_of(client)
    assert (end.text, client.texts) == ("", [])


async def test_speech_without_a_pause_is_cut_and_loses_no_word(whisper_python: Path, say: Say) -> None:
    pcm = say(LONG).strip(b"\0")
    pcm = pcm[: len(pcm) // 2 * 2]
    async with whisper(whisper_python) as recogniser:
        client = speaker(recogniser)
        await feed(client, pcm * 3, seconds=4)
        end = await end_of(client)
    assert word_error_rate(" ".join([LONG] * 3), end.text) <= 0.15


async def test_a_worker_that_dies_in_the_middle_costs_no_word(whisper_python: Path, say: Say) -> None:
    pcm = say(LONG, *SENTENCES)
    half = len(pcm) // 4 * 2
    async with whisper(whisper_python) as recogniser:
        client = speaker(recogniser)
        await feed(client, pcm[:half])
        told = client.texts[-1].text
        assert told
        os.kill(recogniser.pool.slots[0].pid, signal.SIGKILL)
        await feed(client, pcm[half:])
        end = await end_of(client)
        assert recogniser.pool.slots[0].restarts == 1
    assert end.text.startswith(told)
    assert word_error_rate(" ".join([LONG, *SENTENCES]), end.text) <= 0.15


def load_failure(python: Path, **options: Any) -> LoadFailed:
    with started(python=str(python)) as worker:
        worker.sock.settimeout(PATIENCE_S)
        answer = worker.load(WHISPER, **options)
        assert isinstance(answer, LoadFailed)
        return answer


def test_a_language_that_the_model_does_not_know_is_refused(whisper_python: Path) -> None:
    failure = load_failure(whisper_python, model="tiny.en", language="de")
    assert "knows auto, en" in failure.message
    assert not failure.retryable


def test_a_name_that_nobody_knows_is_refused_with_those_there_are(whisper_python: Path) -> None:
    assert "large-v3" in load_failure(whisper_python, model="enormous").message


def test_without_a_hub_it_is_told_which_models_need_none(whisper_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    failure = load_failure(whisper_python, model="small")
    assert "choose tiny.en or base" in failure.message
