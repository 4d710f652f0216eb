"""One worker from spawn to grave: a process, its channel, the rules of the wire, and the judge of its silence.

A worker tells its owner exactly once that it is lost, with every render that was open; from then on nothing of it is
heard. Its process may take a moment longer to end (`gone`), since it is asked for its stack first.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from voice_server.core.limits import WorkerLimits
from voice_server.core.restart import Condemn, LivenessPolicy, SendPing
from voice_server.pool.channel import Channel
from voice_server.pool.launcher import Launcher, Process
from voice_server.pool.process import Command, Exit
from voice_server.pool.worker_log import WorkerLog
from voice_server.wire.conversation import Conversation, Side
from voice_server.wire.messages import (
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Failed,
    Finish,
    GatewayMessage,
    Hear,
    Listen,
    Load,
    LoadFailed,
    Message,
    Ping,
    Progress,
    Ready,
    Render,
    Stop,
    Text,
    WireError,
    WorkerMessage,
)

_log = logging.getLogger(__name__)

_BAD_CONFIG = 78  # sysexits.h EX_CONFIG: another start would end the same way
_EXIT_FOLLOWS_S = 0.05  # between a closed socket and the exit that explains it: under 1 ms when measured

Ending = Done | Failed | Cancelled


class WorkerOwner(Protocol):
    """Who is told what happens to a worker. Called on the event loop, must not block."""

    def on_ready(self, worker: Worker, ready: Ready) -> None: ...

    def on_capacity(self, worker: Worker, capacity: int) -> None: ...

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None: ...

    def on_text(self, worker: Worker, text: Text) -> None: ...

    def on_end(self, worker: Worker, ending: Ending) -> None: ...

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None: ...


class WorkerKeeper(WorkerOwner, Protocol):
    """Who also decides whether there is to be another one."""

    def on_pardoned(self, worker: Worker) -> None: ...


class Worker:
    def __init__(self, name: str, load: Load, limits: WorkerLimits, owner: WorkerKeeper) -> None:
        self.name = name
        self.ready: Ready | None = None
        self.stage = "starting"  # of launch and loading, for people
        self.reason = ""  # why it was lost
        self.cause = ""  # the same as one of core.status.DEATHS; "" while it lives, and when it was stopped by us
        self.retryable = True  # False: another start would fail the same way
        self._load = load
        self._limits = limits
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._conversation = Conversation(Side.GATEWAY)
        self._liveness = LivenessPolicy(limits, self._loop.time())
        self._log = WorkerLog(name, limits)
        self._lost = False
        self._is_pardoned = False
        self._heard: dict[int, int] = {}  # pieces of audio that each listening render was told, and one for its finish
        self._process: Process | None = None
        self._channel: Channel | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._at_rest = asyncio.Event()
        self._at_rest.set()

    async def start(self, command: Command, launcher: Launcher) -> None:
        """Spawn the process and hand it its load. Raises OSError when there is nothing to execute."""
        self._process = await launcher.launch(command, self._on_log, self._on_exit, self._on_stage)
        self._channel = await Channel.open(self._process.socket, self, self._limits)
        self._say(self._load)
        self._arm()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def host(self) -> str:
        return self._process.host if self._process else ""

    def lives_in(self, process: Process) -> bool:
        return self._process is process

    @property
    def open_renders(self) -> int:
        return len(self._conversation.open_renders)

    async def gone(self) -> None:
        """Returns when the process has ended and was reaped."""
        await asyncio.shield(self._gone)

    async def at_rest(self) -> None:
        """Returns when nothing is open, or it is lost."""
        await self._at_rest.wait()

    def log_tail(self) -> str:
        return self._log.tail()

    # Commands

    def render(self, render: Render) -> None:
        self._at_rest.clear()
        self._liveness.opened(render.render_id, self._loop.time())
        self._say(render)
        self._arm()

    def listen(self, listen: Listen) -> None:
        self._at_rest.clear()
        self._heard[listen.render_id] = 0
        self._say(listen)

    def hear(self, render_id: int, pcm: bytes) -> None:
        """PCM s16le at the worker's rate, short enough for a control frame."""
        if render_id in self._heard:
            self._say(Hear(render_id, self._heard[render_id], pcm))
            self._heard[render_id] += 1
            self._owes(render_id)

    def finish(self, render_id: int) -> None:
        if render_id in self._heard:
            self._say(Finish(render_id))
            self._heard[render_id] += 1  # never reached by what it says it heard: it owes us the end
            self._owes(render_id)

    def _owes(self, render_id: int) -> None:
        self._liveness.opened(render_id, self._loop.time())
        self._arm()

    def cancel(self, render_id: int) -> None:
        if self._lost or render_id not in self._conversation.open_renders or self._conversation.is_cancelled(render_id):
            return
        self._liveness.cancelled(render_id, self._loop.time())
        self._heard.pop(render_id, None)
        self._say(Cancel(render_id))
        self._arm()

    def deadline(self, render_id: int, due_in_s: float) -> None:
        if not self._lost and render_id in self._conversation.open_renders:
            self._say(Deadline(render_id, due_in_s))

    async def stop(self) -> None:
        """Ask it to go, wait, then kill."""
        if not self._lost:
            self._say(Stop())
            self._disown("was stopped", "")
            if not self._channel:
                self.kill()
            if not self._process:  # nothing was born
                self._gone.set_result(None)
                return
            self._timer = self._loop.call_later(self._limits.stop_s, self._kill_after_dump)
        await self.gone()

    def condemn(self, reason: str, cause: str) -> None:
        """It cannot be trusted any more: lost at once, killed after it had time to write its stack."""
        if not self._lost:
            _log.warning("%s %s; replacing it", self.name, reason)
            self._disown(reason, cause)
            self._kill_after_dump()

    def pardon(self) -> None:
        """It was lost, and a text was to blame; several of its renders may say so."""
        if not self._is_pardoned:
            self._is_pardoned = True
            self._owner.on_pardoned(self)

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    # News from the process and the channel

    def on_message(self, message: Message) -> None:
        if self._lost:
            return
        try:
            wanted = self._conversation.worker_says(message)  # type: ignore[arg-type]  # checked by its table
        except WireError as broken:
            self.condemn(f"broke the protocol: {broken}", "protocol")
            return
        if wanted is not None:
            self._take(wanted)
        if not isinstance(message, Audio):  # audio only ever moves the next check further away
            self._arm()

    def on_channel_broken(self, reason: str) -> None:
        self.condemn(reason, "protocol")

    def on_channel_closed(self) -> None:
        """A dying process closes its socket a moment before its exit is seen; one that lives on is of no use."""
        self._loop.call_later(_EXIT_FOLLOWS_S, self.condemn, "closed its connection", "protocol")

    def _take(self, message: WorkerMessage) -> None:
        now = self._loop.time()
        match message:
            case Audio(render_id, _, pcm):
                self._liveness.audio(render_id, now)
                self._owner.on_audio(self, render_id, pcm)
            case Text(render_id):
                is_behind = message.heard < self._heard.get(render_id, 0)
                (self._liveness.audio if is_behind else self._liveness.rests)(render_id, now)
                self._owner.on_text(self, message)
            case Done(render_id) | Failed(render_id) | Cancelled(render_id):
                self._liveness.closed(render_id, now)
                self._heard.pop(render_id, None)
                if isinstance(message, Failed) and message.fatal:  # first, lest the retry be sent to it again
                    self.condemn(f"cannot go on: {message.message}", "engine")
                self._owner.on_end(self, message)
                if not self.open_renders:
                    self._at_rest.set()
            case Ready():
                self.ready = message
                self._liveness.loaded(now)
                self._owner.on_ready(self, message)
            case Capacity(capacity):
                assert self.ready is not None
                self.ready = replace(self.ready, capacity=capacity)  # for whoever puts it to work again
                self._liveness.heard(now)
                self._owner.on_capacity(self, capacity)
            case LoadFailed(text, retryable):
                self.retryable = retryable
                self._disown(text, "load")
                self._timer = self._loop.call_later(self._limits.stop_s, self._kill_after_dump)
            case Progress(text):
                self.stage = self.stage if self.ready else text
                self._liveness.heard(now)
            case _:
                self._liveness.heard(now)

    def _on_exit(self, exit: Exit) -> None:
        if exit.returncode == _BAD_CONFIG:
            self.retryable = False
        try:
            if not self._lost:
                self._disown(exit.reason, exit.cause)
        finally:  # whatever became of telling it: who waits for the end of the process gets on
            if self._channel:
                self._channel.close()
            self._stop_timer()
            self._gone.set_result(None)

    def _on_stage(self, text: str) -> None:
        self.stage = text

    def _on_log(self, data: bytes) -> None:
        self._log.feed(data, self._loop.time())

    def _disown(self, reason: str, cause: str) -> None:
        self._lost = True
        self._heard.clear()
        self.reason, self.cause = reason, cause
        self._stop_timer()
        self._owner.on_lost(self, self._conversation.open_renders, reason)
        self._at_rest.set()

    # Watching

    def _say(self, message: GatewayMessage) -> None:
        self._conversation.gateway_says(message)
        if self._channel:
            self._channel.send(message)

    def _arm(self) -> None:
        """One timer at a time; it re-reads the clock when it fires, so it need not move at each chunk."""
        if self._lost:
            return  # the timer now belongs to the kill
        check_at = self._liveness.next_check()
        if self._timer and self._timer.when() <= check_at:
            return
        self._stop_timer()
        self._timer = self._loop.call_at(check_at, self._check)

    def _check(self) -> None:
        self._timer = None
        match self._liveness.check(self._loop.time()):
            case SendPing(nonce):
                self._say(Ping(nonce))
            case Condemn(reason, cause):
                self.condemn(reason, cause)
        self._arm()

    def _kill_after_dump(self) -> None:
        if self._process:
            self._process.dump_stack()
            self._timer = self._loop.call_later(self._limits.dump_s, self._process.kill)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
