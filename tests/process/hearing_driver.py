"""What the tests of hearings share: a pool that listens, beeps to be heard, and a client that notes what it is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.harness import FAST, FAST_WORKER, TIMEOUT_S, eventually
from voice_server.assembly import build_hearing_pool, worker_specs
from voice_server.core.limits import Limits, WorkerLimits
from voice_server.core.settings import BackendConfig
from voice_server.core.text.hearing import AudioDropped, HearingDone, HearingEvent, HearingProblem, TextHeard
from voice_server.logs import Request, current
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Guardian
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser

RATE = 16_000


def beeps(*pitches_hz: int, rate: int = RATE, seconds: float = 0.2, pause_s: float = 0.3) -> bytes:
    """PCM s16le: each beep, and a pause after it."""
    times = np.arange(int(seconds * rate)) / rate
    pause = np.zeros(int(pause_s * rate))
    sound = [part for hz in pitches_hz for part in (0.5 * np.sin(2 * np.pi * hz * times), pause)]
    pcm: bytes = (np.concatenate(sound) * 32767).astype("<i2").tobytes()
    return pcm


def words(*pitches_hz: int) -> str:
    return " ".join(f"{hz}hz" for hz in pitches_hz)


class Client:
    """Notes all that it is told."""

    def __init__(
        self, recogniser: Recogniser, limits: Limits = FAST, rate: int = RATE, *, name: str = "", **options: Any
    ) -> None:
        self.texts: list[TextHeard] = []
        self.dropped: AudioDropped | None = None
        self.last: HearingDone | HearingProblem | None = None
        asking = current.set(Request(client=lambda: name))
        self.hearing = Hearing(recogniser, limits, HearingSettings(rate, options), self._tell)
        current.reset(asking)

    def _tell(self, event: HearingEvent) -> None:
        assert self.last is None, "nothing comes after the last event"
        if isinstance(event, TextHeard):
            self.texts.append(event)
        elif isinstance(event, AudioDropped):
            self.dropped = event
        else:
            self.last = event

    async def end(self) -> HearingDone | HearingProblem:
        await eventually(lambda: self.last is not None, "the hearing has ended")
        assert self.last is not None
        return self.last

    async def say(self, pcm: bytes, *, piece_bytes: int = 3200) -> HearingDone | HearingProblem:
        """All of it, 100 ms at a time, to the end."""
        for at in range(0, len(pcm), piece_bytes):
            self.hearing.hear(pcm[at : at + piece_bytes])
            await asyncio.sleep(0)
        self.hearing.finish()
        return await self.end()


def pitch_config(*, workers: int = 1, limits: WorkerLimits = FAST_WORKER, **options: Any) -> BackendConfig:
    return BackendConfig(
        name="pitch",
        adapter="voice_server.backends.pitch:PitchRecogniser",
        workers=workers,
        options=options,
        limits=limits,
    )


@asynccontextmanager
async def listening(python: Path, config: BackendConfig, limits: Limits = FAST) -> AsyncIterator[Recogniser]:
    """A recogniser with real worker processes."""
    limits = replace(limits, worker=config.limits)
    outfit = Outfit(tuple(worker_specs(config, python, 0, [])), config.bounds(0))
    pool, guardian = build_hearing_pool(config, outfit, limits), Guardian()
    pool.start(guardian, asyncio.Semaphore(4), random.random)
    try:
        await asyncio.wait_for(pool.until_ready(), TIMEOUT_S)
        await eventually(lambda: all(slot.state in ("ready", "spare") for slot in pool.slots), "all workers are ready")
        yield Recogniser(config, pool)
    finally:
        await pool.stop()
        guardian.close()
