"""One look at a backend: what its slots, its scheduler or switchboard, and its streams each know, put together.

Costs nothing until somebody looks. No text of a client is in it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from voice_server.core.audio.listening import Listening, NoMeasures
from voice_server.core.scaling import Decision
from voice_server.core.scheduling.snapshot import RenderState, StreamState, WorkerState
from voice_server.core.status import (
    BackendStatus,
    DecisionStatus,
    RenderStatus,
    ScalingStatus,
    StreamStatus,
    WorkerStatus,
    stream_state,
)
from voice_server.pool.pool import Pool
from voice_server.pool.supervisor import SlotStatus
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.wire.messages import STT

_NOBODY = Listening(NoMeasures())


def look(backend: Backend | Recogniser) -> BackendStatus:
    return _look_listening(backend) if isinstance(backend, Recogniser) else _look_speaking(backend)


def _look_listening(recogniser: Recogniser) -> BackendStatus:
    pool = recogniser.pool
    seats = pool.ready.capacity if pool.ready else 0
    known = WorkerState(name="", capacity=seats, open=[], rtf=None, first_chunk_s=None)
    workers = tuple(_worker(slot, known if slot.state == "ready" else None, []) for slot in pool.slots)
    return BackendStatus(
        recogniser.name,
        0,
        workers,
        (),
        kind=STT,
        waiting=pool.dispatcher.waiting,
        deaths=dict(pool.deaths),
        scaling=_scaling(pool),
    )


def _look_speaking(backend: Backend) -> BackendStatus:
    pool = backend.pool.dispatcher.snapshot()
    known = {worker.name: worker for worker in pool.workers}
    renders = [_render(backend, render) for render in pool.renders]
    workers = (
        _worker(slot, known.get(slot.name), [told for name, told in renders if name == slot.name])
        for slot in backend.pool.slots
    )
    streams = (_stream(backend, stream) for stream in pool.streams)
    return BackendStatus(
        backend.name,
        pool.deadline_misses,
        tuple(workers),
        tuple(streams),
        deaths=dict(backend.pool.deaths),
        scaling=_scaling(backend.pool),
    )


def _scaling(pool: Pool[Any]) -> ScalingStatus:
    scaler = pool.scaler
    return ScalingStatus(
        workers=pool.crew.slots,
        min=pool.least,
        max=pool.size,
        wanted=scaler.wanted or pool.size,
        ups=scaler.decisions["up"],
        downs=scaler.decisions["down"],
        last=_decision(scaler.last),
    )


def _decision(last: Decision | None) -> DecisionStatus | None:
    if last is None:
        return None
    return DecisionStatus(last.before, last.after, last.reason, asyncio.get_running_loop().time() - last.at)


def _render(backend: Backend, render: RenderState) -> tuple[str, RenderStatus]:
    """With the name of its worker."""
    voice = backend.voice_name(render.voice)
    return render.worker, RenderStatus(render.stream, render.sentence, voice, render.audio_s, render.due_in_s)


def _worker(slot: SlotStatus, known: WorkerState | None, renders: list[RenderStatus]) -> WorkerStatus:
    return WorkerStatus(
        name=slot.name,
        state=slot.state,
        # In other states an engine's own words, or a client's.
        stage=slot.detail if slot.state in ("waiting", "loading") else "",
        pid=slot.pid,
        restarts=slot.restarts,
        capacity=known.capacity if known else 0,
        open_renders=slot.open_renders,
        real_time_factor=known.rtf if known else None,
        first_chunk_s=known.first_chunk_s if known else None,
        renders=tuple(renders),
        host=slot.host,
    )


def _stream(backend: Backend, plan: StreamState) -> StreamStatus:
    stream = backend.streams.get(plan.stream)
    now = asyncio.get_running_loop().time()
    listening = stream.listening if stream and plan.live else _NOBODY
    return StreamStatus(
        id=plan.stream,
        live=plan.live,
        client=plan.client,
        voice=stream.voice if stream else "",
        state=stream_state(ahead_s=plan.ahead_s, waiting=plan.waiting, open_renders=len(plan.open)),
        heard_s=listening.heard_s(now),
        ahead_s=plan.ahead_s,
        runs_out_in_s=listening.runs_out_in_s(now),
        waiting=plan.waiting,
        open_renders=len(plan.open),
        admitted=plan.admitted,
        position=plan.place.position if plan.place else 0,
        eta_s=plan.place.eta_s if plan.place else None,
    )
