"""Runs the open renders of one adapter on the main thread, one chunk at a time, the most urgent one first.

An adapter that computes several renders at once is told of all of them, and asked for the chunks that came of it.
Most urgent is the one whose listener runs out first; every chunk moves that on, and the gateway says when it moved
otherwise. Between two chunks the gateway's commands are carried out, so a cancel costs at most the chunk being
computed. Whatever an engine raises ends its render, never the host.
"""

from __future__ import annotations

import inspect
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List

from voice_server.wire.messages import (
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Message,
    Progress,
    Render,
    Stop,
)
from voice_server.worker.adapter import TRUNCATED, Adapter, BackendError
from voice_server.worker.failures import render_failed
from voice_server.worker.pcm import duration_s, pieces, spoiled_samples, to_pcm

if TYPE_CHECKING:
    from voice_server.worker.link import Link


_GIVE_WAY_S = 0.25  # what a listener must have left, for a step of the slowest engines
_SHOW_LIFE_S = 1.0  # the gateway's patience is many times this
_SILENT_S = 300.0  # of work on one render without a sound; the longest sentence, said again in vain, takes less


@dataclass
class _Open:
    render_id: int
    chunks: Iterator[object]
    due_at: float  # monotonic seconds: when the listener needs its next audio
    pace: float  # by how many seconds each second of audio moves that on
    said: int = 0  # audio messages
    spoiled: int = 0  # samples that were no numbers
    silent_s: float = 0.0  # of work since its last audio; turns of others do not count


class Host:
    """Serves one loaded adapter; `default_voice` is spoken where a render names none."""

    def __init__(
        self, adapter: Adapter, default_voice: str, link: Link, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._adapter = adapter
        self._default_voice = default_voice
        self._link = link
        self._clock = clock
        self._open: Dict[int, _Open] = {}
        self._life_shown_at = 0.0
        self._capacity = capacity_of(adapter)

    def serve(self) -> None:
        """Render until the gateway says stop."""
        while self._obey_all():
            begun_at = self._clock()
            for render in self._worked_for(sorted(self._open.values(), key=lambda render: render.due_at)):
                self._step(render, begun_at)
            self._tell_capacity()
        for render in self._open.values():
            _close(render.chunks)

    def _obey_all(self) -> bool:
        """Carry out what was asked for; wait for it if no render is open. False after stop."""
        while not self._open or not self._link.commands.empty():
            command = self._link.commands.get()
            if isinstance(command, Stop):
                return False
            self._obey(command)
        return True

    def _obey(self, command: Message) -> None:
        if isinstance(command, Render):
            self._begin(command)
        elif isinstance(command, Cancel) and command.render_id in self._open:
            _close(self._open.pop(command.render_id).chunks)
            self._link.say(Cancelled(command.render_id))
        elif isinstance(command, Deadline) and command.render_id in self._open:
            self._open[command.render_id].due_at = self._clock() + command.due_in_s

    def _begin(self, command: Render) -> None:
        try:
            voice = command.voice or self._default_voice
            if command.sample:
                prepare(self._adapter, voice, command.sample)
            chunks = begin(self._adapter, command.text, voice, command.options)
        except Exception as error:
            self._fail(command.render_id, error)
        else:
            now = self._life_shown_at = self._clock()
            due_at = now + command.due_in_s
            self._open[command.render_id] = _Open(command.render_id, chunks, due_at, command.pace)

    def _worked_for(self, renders: List[_Open]) -> List[_Open]:
        """Those to take a chunk of, the most urgent one first."""
        step = getattr(self._adapter, "step", None)
        if step is None:
            return renders[:1]
        try:
            moved = {id(chunks) for chunks in step([render.chunks for render in renders])}
        except Exception as error:
            self._drop(renders[0], error)
            return []
        return [render for render in renders if id(render.chunks) in moved] or renders[:1]

    def _tell_capacity(self) -> None:
        """An adapter that found less memory than it took for granted has lowered it."""
        capacity = max(1, min(self._capacity, capacity_of(self._adapter)))
        if capacity < self._capacity:
            self._capacity = capacity
            self._link.say(Capacity(capacity))

    def _step(self, render: _Open, begun_at: float) -> None:
        try:
            chunk: Any = next(render.chunks)
            pcm = to_pcm(chunk)
            render.spoiled += spoiled_samples(chunk)
        except StopIteration as end:
            self._finish(render, truncated=end.value == TRUNCATED)
        except Exception as error:
            self._drop(render, error)
        else:
            if pcm:
                self._say_audio(render, pcm)
            else:
                self._show_life(render, begun_at)

    def _show_life(self, render: _Open, begun_at: float) -> None:
        """An empty chunk: the engine works on something that nobody hears. It gives way to whoever runs dry soon."""
        now = self._clock()
        render.silent_s += now - begun_at
        if render.silent_s >= _SILENT_S:
            self._drop(render, BackendError("render_failed", f"the engine gave no sound in {_SILENT_S:g} s of work"))
            return
        render.due_at = max(render.due_at, now + _GIVE_WAY_S)
        if now >= self._life_shown_at + _SHOW_LIFE_S:
            self._life_shown_at = now
            self._link.say(Progress(f"render {render.render_id} has nothing to say yet"))

    def _say_audio(self, render: _Open, pcm: bytes) -> None:
        render.due_at += render.pace * duration_s(pcm, self._adapter.sample_rate)
        render.silent_s = 0.0
        for piece in pieces(pcm):
            self._link.say(Audio(render.render_id, render.said, piece))
            render.said += 1

    def _finish(self, render: _Open, truncated: bool) -> None:
        del self._open[render.render_id]
        if render.said:
            self._link.say(Done(render.render_id, render.said, truncated, render.spoiled))
        else:
            self._fail(render.render_id, BackendError("empty_audio", "the engine gave no audio for this text"))

    def _drop(self, render: _Open, error: Exception) -> None:
        del self._open[render.render_id]
        _close(render.chunks)
        self._fail(render.render_id, error)

    def _fail(self, render_id: int, error: Exception) -> None:
        traceback.print_exception(type(error), error, error.__traceback__)
        self._link.say(render_failed(render_id, error))


def capacity_of(adapter: Adapter) -> int:
    """Renders that may be open at once."""
    return int(getattr(adapter, "capacity", 1))


def prepare(adapter: Adapter, voice: str, sample: Dict[str, Any]) -> None:
    """Have the adapter learn a voice from its sample. Raises BackendError if it cannot clone."""
    prepare_voice = getattr(adapter, "prepare_voice", None)
    if prepare_voice is None:
        raise BackendError("unknown_voice", "this backend has its own voices only: it cannot clone one from a sample")
    prepare_voice(voice, sample.get("path", ""), sample.get("transcript", ""))


def begin(adapter: Adapter, text: str, voice: str, options: Dict[str, Any]) -> Iterator[object]:
    """The chunks of a render. Raises BackendError for options that the adapter's `render` does not take."""
    try:
        inspect.signature(adapter.render).bind(text, voice, **options)
    except TypeError as wrong:
        raise BackendError("bad_option", str(wrong)) from wrong
    return iter(adapter.render(text, voice, **options))


def warm_up(adapter: Adapter, text: str, voice: str) -> None:
    """Render once for nobody: first calls are slow, and a broken engine is better found now."""
    if not sum(len(to_pcm(chunk)) for chunk in begin(adapter, text, voice, {})):
        raise RuntimeError("the warm-up gave no audio")


def _close(chunks: Iterator[object]) -> None:
    close = getattr(chunks, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        traceback.print_exc()  # an engine that fails at letting go has let go all the same
