"""Joins streams to workers: asks the scheduler who is next, sends the render, carries its news back.

A sentence that waits has not been turned into a request yet: its voice and options are asked for at the moment a worker
is free, so that a client may still change them. Retrying a lost render is the sentence's own decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from voice_server.core.audio import pcm as audio
from voice_server.core.audio.repeats import Repeat, RepeatKey, Repeats
from voice_server.core.charges import Charges
from voice_server.core.errors import BackendUnavailable, VoiceError
from voice_server.core.limits import StreamLimits
from voice_server.core.scaling import Load
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.schedule import Scheduler
from voice_server.core.scheduling.snapshot import Place, PoolSnapshot
from voice_server.pool.worker import Ending, Worker
from voice_server.wire.messages import Cancelled, Done, Failed, Ready, Render, Text


@dataclass(frozen=True, slots=True)
class RenderRequest:
    text: str
    voice: str
    options: dict[str, Any]
    sample: dict[str, str] = field(default_factory=dict)  # of a voice to be cloned

    @property
    def key(self) -> RepeatKey:
        return RepeatKey.of(self.text, self.voice, self.options, self.sample)


class RenderSink(Protocol):
    """One sentence, as the dispatcher sees it. Each attempt ends with exactly one of the last four."""

    @property
    def chars(self) -> int: ...

    def request(self) -> RenderRequest: ...

    def on_started(self, worker: str, ready: Ready) -> None: ...

    def on_audio(self, pcm: bytes) -> None: ...

    def on_done(self, done: Done) -> bool:
        """Whether it was good enough to be said again."""

    def on_failed(self, failed: Failed) -> None: ...

    def on_lost(self, reason: str, pardon: Callable[[], None]) -> None:
        """`pardon` is for when it turns out that the text has killed the worker."""

    def on_refused(self, error: VoiceError) -> None: ...


@dataclass(frozen=True, slots=True)
class _Render:
    worker: Worker
    stream: int
    sink: RenderSink
    key: RepeatKey | None  # None: not to be kept
    pcm: list[bytes] = field(default_factory=list)


class Dispatcher:
    """The streams and workers of one backend. Implements WorkerOwner. `repeat_bytes`: memory for what is said again."""

    def __init__(self, limits: StreamLimits, *, fifo: bool = False, repeat_bytes: int = 0) -> None:
        self._scheduler = Scheduler(limits, fifo=fifo)
        self._repeats = Repeats(repeat_bytes) if repeat_bytes else None
        self._ready: Ready | None = None  # of the latest worker
        self._limits = limits
        self.charges = Charges(limits.poisonous_sentences, limits.poisoned_s)
        self._loop = asyncio.get_running_loop()
        self._workers: dict[str, Worker] = {}
        self._sinks: dict[tuple[int, int], RenderSink] = {}  # of waiting sentences
        self._renders: dict[int, _Render] = {}  # open ones that somebody still wants
        self._next_stream = 1
        self._refusal: Callable[[], BackendUnavailable] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # Streams

    def open_stream(self, *, live: bool, client: str = "") -> int:
        """`client` is who opened it: those of one client stand behind each other in line."""
        stream, self._next_stream = self._next_stream, self._next_stream + 1
        self._scheduler.open_stream(stream, live=live, client=client)
        return stream

    def close_stream(self, stream: int) -> None:
        self.clear(stream)
        self._scheduler.close_stream(stream)

    def submit(self, stream: int, sentence: int, sink: RenderSink) -> None:
        self._sinks[stream, sentence] = sink
        self._scheduler.submit(stream, sentence, sink.chars, self._loop.time())
        self._pump()
        if self._sinks.get((stream, sentence)) is sink and self._scheduler.waiting(stream) == 1:
            self._skip_line(stream, sentence, sink)

    def retry(self, stream: int, sentence: int, sink: RenderSink, avoid: str = "") -> None:
        """Render a sentence again, before its successors; by another worker than `avoid`, if one is free."""
        self._sinks[stream, sentence] = sink
        self._scheduler.retry(stream, sentence, sink.chars, self._loop.time(), avoid)
        self._pump()

    def finish(self, stream: int) -> None:
        """No more text will come in this answer."""
        self._scheduler.finish(stream)

    def clear(self, stream: int) -> None:
        """Drop everything of a stream; its engines are told to let go. No sink of it hears anything any more."""
        self._scheduler.clear(stream)
        for render_id in [render_id for render_id, render in self._renders.items() if render.stream == stream]:
            self._cancel(render_id)  # also one that died but was not told so yet
        self._sinks = {key: sink for key, sink in self._sinks.items() if key[0] != stream}

    def stop_render(self, stream: int, sink: RenderSink) -> None:
        """Close the open render of one sentence, which has heard enough."""
        for render_id, render in list(self._renders.items()):
            if render.stream == stream and render.sink is sink:
                self._scheduler.stopped(render_id, self._loop.time())
                self._cancel(render_id)

    def delivered(self, stream: int, audio_s: float, undelivered_s: float) -> None:
        """The client's socket took `audio_s`; `undelivered_s` of what was rendered for it is left."""
        self._scheduler.delivered(stream, audio_s, undelivered_s, self._loop.time())
        self._correct(stream)
        if audio_s and self._sinks:  # without audio a sentence has ended, or is lost, and the next is started then
            self._pump()

    def place(self, stream: int) -> Place | None:
        """Where it stands in the line; None when nothing of it waits."""
        return self._scheduler.place(stream, self._loop.time())

    def load(self) -> Load:
        return self._scheduler.load(self._loop.time())

    def snapshot(self) -> PoolSnapshot:
        return self._scheduler.snapshot(self._loop.time())

    def waiting(self, stream: int) -> int:
        return self._scheduler.waiting(stream)

    def loser(self, stream: int, room: int) -> int | None:
        """The stream that gives up its place in line if this one says more; None: there is room for both."""
        return self._scheduler.loser(stream, room)

    @property
    def place_free_in_s(self) -> float | None:
        return self._scheduler.place_free_in_s(self._loop.time())

    @property
    def has_workers(self) -> bool:
        return bool(self._workers)

    @property
    def has_idle_worker(self) -> bool:
        return self._scheduler.has_idle_worker

    def refuse(self, reason: Callable[[], BackendUnavailable] | None) -> None:
        """No worker will come soon: tell everyone who waits, and everyone who comes. None: they are welcome again."""
        self._refusal = reason
        self._pump()

    def retire(self, worker: Worker) -> None:
        """It gets no more renders; those it has open go on."""
        self._scheduler.worker_gone(worker.name)
        self._workers.pop(worker.name, None)

    def forget(self, repeat_bytes: int) -> None:
        """What was said before may sound otherwise now. `repeat_bytes` of what comes is kept."""
        self._repeats = Repeats(repeat_bytes) if repeat_bytes else None

    # WorkerOwner

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        self._refusal = None
        self._ready = ready
        self._workers[worker.name] = worker
        self._scheduler.worker_ready(worker.name, ready.capacity)
        self._pump()

    def on_capacity(self, worker: Worker, capacity: int) -> None:
        self._scheduler.worker_holds(worker.name, capacity)

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        if render := self._renders.get(render_id):
            assert worker.ready is not None
            audio_s = audio.duration_s(len(pcm), worker.ready.sample_rate)
            self._scheduler.rendered(render_id, audio_s, self._loop.time())
            if render.key:
                render.pcm.append(pcm)
            render.sink.on_audio(pcm)

    def on_text(self, worker: Worker, text: Text) -> None:
        raise AssertionError("the conversation lets no worker that speaks say text")

    def on_end(self, worker: Worker, ending: Ending) -> None:
        self._scheduler.released(ending.render_id, self._loop.time(), complete=isinstance(ending, Done))
        if render := self._renders.pop(ending.render_id, None):
            match ending:
                case Done():
                    if render.sink.on_done(ending):
                        self._keep(render, ending)
                case Failed():
                    render.sink.on_failed(ending)
                case Cancelled():
                    raise AssertionError("nobody wants a cancelled render")
        self._pump()

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        for render_id in renders:
            self._scheduler.released(render_id, self._loop.time())
        self._scheduler.worker_gone(worker.name)
        self._workers.pop(worker.name, None)
        for render_id in sorted(renders):
            if render := self._renders.pop(render_id, None):
                render.sink.on_lost(reason, worker.pardon)
        self._pump()

    # Inside

    def _pump(self) -> None:
        now = self._loop.time()
        for assignment in self._scheduler.assign(now):
            self._start(assignment)
        if self._refusal and not self._workers:
            self._refuse_waiting(self._refusal())
        if self._sinks and self._timer is None:
            self._timer = self._loop.call_later(self._limits.look_s, self._look_again)

    def _look_again(self) -> None:
        """Time alone may let somebody in, or make a sentence urgent enough for a seat beside others."""
        self._timer = None
        if self._workers:
            self._pump()

    def _start(self, assignment: Assignment) -> None:
        worker = self._workers[assignment.worker]
        sink = self._sinks.pop((assignment.stream, assignment.sentence))
        request = sink.request()
        if repeat := self._recall(request):
            self._scheduler.released(assignment.render_id, self._loop.time())
            self._say_again(assignment.stream, assignment.sentence, sink, repeat)
            return
        key = request.key if self._repeats is not None and worker.ready and worker.ready.deterministic else None
        self._renders[assignment.render_id] = _Render(worker, assignment.stream, sink, key)
        self._scheduler.speaks(assignment.render_id, request.voice)
        worker.render(
            Render(
                assignment.render_id,
                request.text,
                request.voice,
                request.options,
                due_in_s=assignment.deadline - self._loop.time(),
                sample=dict(request.sample),
                pace=assignment.pace,
            )
        )
        assert worker.ready is not None
        sink.on_started(worker.name, worker.ready)

    # What was said before

    def _recall(self, request: RenderRequest) -> Repeat | None:
        return self._repeats.find(request.key) if self._repeats is not None else None

    def _keep(self, render: _Render, done: Done) -> None:
        if self._repeats is not None and render.key:
            self._repeats.keep(render.key, render.pcm, done.truncated)

    def _skip_line(self, stream: int, sentence: int, sink: RenderSink) -> None:
        """All workers are taken, but nobody is needed for what was said before."""
        repeat = self._recall(sink.request())
        if repeat and self._ready and self._scheduler.skip(stream):
            del self._sinks[stream, sentence]
            self._say_again(stream, sentence, sink, repeat)

    def _say_again(self, stream: int, sentence: int, sink: RenderSink, repeat: Repeat) -> None:
        assert self._ready is not None
        audio_s = audio.duration_s(sum(map(len, repeat.pcm)), self._ready.sample_rate)
        self._scheduler.repeated(stream, sentence, audio_s)
        sink.on_started("memory", self._ready)
        for pcm in repeat.pcm:
            sink.on_audio(pcm)
        sink.on_done(Done(0, len(repeat.pcm), repeat.truncated))

    def _correct(self, stream: int) -> None:
        """Tell the workers that step between renders which deadlines have moved otherwise than they think."""
        now = self._loop.time()
        for render_id, due_at in self._scheduler.corrections(stream, now):
            render = self._renders.get(render_id)  # one that was stopped keeps its seat until the engine lets go
            if render and render.worker.ready and render.worker.ready.capacity > 1:
                render.worker.deadline(render_id, due_at - now)

    def _cancel(self, render_id: int) -> None:
        if render := self._renders.pop(render_id, None):
            render.worker.cancel(render_id)

    def _refuse_waiting(self, error: BackendUnavailable) -> None:
        waiting, self._sinks = self._sinks, {}
        for stream, _ in waiting:
            self._scheduler.clear(stream)
        for sink in waiting.values():
            sink.on_refused(error)
