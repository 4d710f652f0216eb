"""How voice agents use a text-to-speech service: livekit by its streams, pipecat by the frames of a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from tests.harness import TIMEOUT_S, eventually

RATE = 24_000


async def livekit_stream(tts: Any, text: str) -> tuple[bytes, list[Any]]:
    """The audio, and the timed words. livekit ends a segment with 10 ms of silence."""
    async with tts.stream() as stream:
        for word in text.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        frames = [event.frame async for event in stream]
    words = [word for frame in frames for word in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])]
    return b"".join(bytes(frame.data) for frame in frames), words


class Ear(FrameProcessor):
    """Behind pipecat's service: what a listener would get."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        await self.push_frame(frame, direction)

    def of(self, kind: type[Frame]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def audio(self) -> bytes:
        return b"".join(frame.audio for frame in self.of(TTSAudioRawFrame))

    @property
    def words(self) -> list[str]:
        return " ".join(frame.text for frame in self.of(TTSTextFrame)).split()

    def seconds_to(self, word: str) -> float:
        """From the first word of the answer."""
        frames = self.of(TTSTextFrame)
        found = next(frame for frame in frames if word in frame.text)
        return float(found.pts - frames[0].pts) / 1e9


def _turn(text: str) -> Iterator[Frame]:
    yield LLMFullResponseStartFrame()
    yield from (LLMTextFrame(f"{word} ") for word in text.split())
    yield LLMFullResponseEndFrame()


class Agent:
    """A running pipeline."""

    def __init__(self, worker: PipelineWorker, ear: Ear) -> None:
        self.ear = ear
        self._worker = worker

    async def speak(self, text: str) -> None:
        """Forgets what was heard before, and waits for the end of the answer."""
        self.ear.frames.clear()
        await self._worker.queue_frames(list(_turn(text)))
        await eventually(lambda: bool(self.ear.of(TTSStoppedFrame)), "the answer ends")

    async def interrupt(self, text: str) -> None:
        """As soon as the first audio of `text` is heard."""
        self.ear.frames.clear()
        await self._worker.queue_frames(list(_turn(text)))
        await eventually(lambda: bool(self.ear.audio), "the answer is heard")
        await self._worker.queue_frame(InterruptionFrame())
        await eventually(lambda: bool(self.ear.of(InterruptionFrame)), "the interruption has gone through")


@asynccontextmanager
async def pipecat_agent(service: FrameProcessor) -> AsyncIterator[Agent]:
    ear, started = Ear(), asyncio.Event()
    params = PipelineParams(audio_out_sample_rate=RATE)
    worker = PipelineWorker(Pipeline([service, ear]), params=params, cancel_on_idle_timeout=False, enable_rtvi=False)

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker: Any, frame: Any) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    await asyncio.wait_for(started.wait(), TIMEOUT_S)
    try:
        yield Agent(worker, ear)
    finally:  # also after a failure: a pipeline cannot be cancelled from outside, its test would hang
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, TIMEOUT_S)
