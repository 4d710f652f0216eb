"""W18: whatever happens to a slot, in whatever order, there is exactly one replacement and nobody waits for ever.

Supervisor, worker, channel and policies are the real ones, over real sockets. Only the operating system is played, so
that it can do what it does rarely: a process that dies while it is born, is killed late, or speaks while it is buried.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.process.virtual_time import VirtualTimeLoop
from voice_server.core.limits import WorkerLimits
from voice_server.core.restart import RestartPolicy
from voice_server.pool.process import Command, Exit
from voice_server.pool.supervisor import Supervisor, WorkerSpec
from voice_server.pool.worker import Ending, Worker
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import (
    PROTOCOL_VERSION,
    Audio,
    Cancel,
    Cancelled,
    Done,
    Hello,
    Load,
    LoadFailed,
    Message,
    Ping,
    Pong,
    Progress,
    Ready,
    Render,
    Stop,
    Text,
)

LIMITS = WorkerLimits()
READY = Ready(24_000, 1, ["a"])
BAD_CONFIG = 78  # sysexits.h
LONG_S = 3600.0  # more than all delays, deadlines and probes together


class PlayedProcess:
    """What the kernel shows of a worker. It obeys as a good worker does, unless it is `mute`."""

    def __init__(self, world: World, on_exit: Callable[[Exit], None]) -> None:
        self.pid, self.host = len(world.processes) + 1, ""
        self.socket, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self._world = world
        self._on_exit = on_exit
        self._decoder = FrameDecoder()
        self.has_exited = False
        self.is_mute = world.are_mute
        self._dies_in_s = world.dies_in_s
        world.loop.add_reader(self._theirs, self._read)
        world.processes.append(self)

    def say(self, *messages: Message) -> None:
        self.write(b"".join(map(encode, messages)))

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the gateway has hung up
            self._theirs.send(data)

    def hang_up(self) -> None:
        if self._theirs.fileno() >= 0:
            self._world.loop.remove_reader(self._theirs)
            self._theirs.close()

    def kill(self) -> None:
        self._world.loop.call_later(self._dies_in_s, self.exit, -9)

    def dump_stack(self) -> None:
        """It has none."""

    def exit(self, returncode: int) -> None:
        if not self.has_exited:
            self.has_exited = True
            self.hang_up()
            self._on_exit(Exit(returncode))

    def _read(self) -> None:
        try:
            data = self._theirs.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._world.loop.remove_reader(self._theirs)
        for message in self._decoder.feed(data):
            if not self.is_mute:
                self._obey(message)

    def _obey(self, message: Message) -> None:
        match message:
            case Load():
                self.say(Hello(PROTOCOL_VERSION, self.pid, "3.11"), Progress("loading"), self._world.handshake)
            case Ping(nonce):
                self.say(Pong(nonce))
            case Cancel(render_id):
                self.say(Cancelled(render_id))
            case Stop():
                self.exit(0)


class World:
    """Implements SlotOwner and Launcher, and says what the next processes are like."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self.loop = loop
        self.processes: list[PlayedProcess] = []
        self.are_mute = True
        self.dies_in_s = 0.0
        self.spawns_fail = False
        self.births_take_s = 0.0  # on another machine they may take long
        self.handshake = READY
        self.ready: list[Worker] = []
        self.lost: list[Worker] = []
        self.ends: dict[int, int] = {}  # of each render: ended, or lost with its worker

    async def launch(
        self, command: Command, on_log: Any, on_exit: Callable[[Exit], None], on_stage: Callable[[str], None]
    ) -> PlayedProcess:
        on_stage("waits for its mother")
        await asyncio.sleep(self.births_take_s)
        if self.spawns_fail:
            raise OSError(11, "Resource temporarily unavailable")
        return PlayedProcess(self, on_exit)

    @property
    def alive(self) -> list[PlayedProcess]:
        return [process for process in self.processes if not process.has_exited]

    def on_slot_changed(self) -> None:
        """Looked at by the invariants."""

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        assert worker not in self.ready and worker not in self.lost
        self.ready.append(worker)

    def on_capacity(self, worker: Worker, capacity: int) -> None:
        raise AssertionError("no memory runs out here")

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        assert worker not in self.lost and self.ends[render_id] == 0

    def on_text(self, worker: Worker, text: Text) -> None:
        raise AssertionError("nobody listens here")

    def on_end(self, worker: Worker, ending: Ending) -> None:
        assert worker not in self.lost
        self.ends[ending.render_id] += 1

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        assert worker not in self.lost
        self.lost.append(worker)
        for render_id in renders:
            self.ends[render_id] += 1


class Slot(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.world = World(self.loop)
        self.renders = 0
        self.is_closed = False
        self.is_hopeless = False  # a process said that another one would fail as well
        spec = WorkerSpec("slot-0", Command((), {}), Load("", "cpu", {}, ""), LIMITS)
        self.supervisor = self.loop.run_until_complete(self._started(spec))

    async def _started(self, spec: WorkerSpec) -> Supervisor:
        policy = RestartPolicy(LIMITS, lambda: 0.5)
        supervisor = Supervisor(spec.name, spec, self.world, policy, self.world, asyncio.Semaphore(1))
        supervisor.start()
        await asyncio.sleep(0)
        return supervisor

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @property
    def process(self) -> PlayedProcess | None:
        return self.world.alive[-1] if self.world.alive else None

    # What may happen

    @rule(
        mute=st.booleans(),
        dies_in_s=st.sampled_from([0.0, 0.0, 0.3]),
        spawns_fail=st.booleans(),
        births_take_s=st.sampled_from([0.0, 0.0, 30.0]),
    )
    def next_process_is(self, mute: bool, dies_in_s: float, spawns_fail: bool, births_take_s: float) -> None:
        self.world.are_mute, self.world.dies_in_s, self.world.spawns_fail = mute, dies_in_s, spawns_fail
        self.world.births_take_s = births_take_s

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.05, 1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @precondition(lambda self: self.process)
    @rule(
        message=st.sampled_from(
            [
                Hello(PROTOCOL_VERSION, 1, "3.11"),
                Progress("loading"),
                READY,
                LoadFailed("the network is down", retryable=True),
                LoadFailed("no such option", retryable=False),
                Pong(1),
                Audio(1, 0, b"\0\0"),
                Done(1, 1),
            ]
        )
    )
    def it_says(self, message: Message) -> None:
        assert self.process
        self.is_hopeless |= isinstance(message, LoadFailed) and not message.retryable
        self.process.say(message)

    @precondition(lambda self: self.process)
    @rule(returncode=st.sampled_from([-9, -11, 0, 1, BAD_CONFIG]))
    def it_dies(self, returncode: int) -> None:
        assert self.process
        self.is_hopeless |= returncode == BAD_CONFIG
        self.process.exit(returncode)

    @precondition(lambda self: self.process)
    @rule()
    def it_hangs_up(self) -> None:
        assert self.process
        self.process.hang_up()

    @precondition(lambda self: self.process)
    @rule(data=st.binary(max_size=12))
    def it_babbles(self, data: bytes) -> None:
        assert self.process
        self.process.write(data)

    @precondition(lambda self: self.supervisor.worker)
    @rule()
    def a_sentence_comes(self) -> None:
        assert self.supervisor.worker
        if not self.supervisor.worker.open_renders:
            self.renders += 1
            self.world.ends[self.renders] = 0
            self.supervisor.worker.render(Render(self.renders, "Hi.", "a"))

    @precondition(lambda self: self.supervisor.worker)
    @rule()
    def it_is_cancelled(self) -> None:
        assert self.supervisor.worker
        self.supervisor.worker.cancel(self.renders)

    @precondition(lambda self: self.supervisor.worker)
    @rule()
    def it_is_condemned(self) -> None:
        assert self.supervisor.worker
        self.supervisor.worker.condemn("is not trusted any more", "engine")

    @rule()
    def it_is_stopped(self) -> None:
        self.is_closed = True
        self.loop.run_until_complete(self._closed_by_two())

    async def _closed_by_two(self) -> None:
        await asyncio.gather(self.supervisor.close(), self.supervisor.close())

    # What must hold

    @invariant()
    def there_is_one_process_at_most(self) -> None:
        assert len(self.world.alive) <= 1

    @invariant()
    def a_slot_that_says_ready_has_a_worker(self) -> None:
        if self.supervisor.worker:
            assert self.supervisor.worker in self.world.ready and self.supervisor.worker not in self.world.lost

    @invariant()
    def every_render_ends_once_at_most(self) -> None:
        assert all(ends <= 1 for ends in self.world.ends.values())

    def teardown(self) -> None:
        try:
            self._must_recover()
            self._must_end()
        finally:
            self.loop.close()

    def _must_recover(self) -> None:
        """With good processes from now on it speaks again, unless it was stopped."""
        self.world.are_mute, self.world.dies_in_s, self.world.spawns_fail = False, 0.0, False
        self.pass_time(LONG_S)
        state = self.supervisor.status.state
        assert state == ("stopped" if self.is_closed else "ready") or (state == "failed" and self.is_hopeless)
        assert len(self.world.alive) == (state == "ready")

    def _must_end(self) -> None:
        self.loop.run_until_complete(self.supervisor.close())
        assert not self.world.alive
        assert self.supervisor.status.state in ("stopped", "failed")
        assert all(ends == 1 for ends in self.world.ends.values())
        assert not asyncio.all_tasks(self.loop)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("lives", [300, pytest.param(2000, marks=pytest.mark.release)])
def test_w18_many_lives_of_a_slot_leave_one_worker_and_nobody_who_waits(lives: int) -> None:
    seen = settings(max_examples=lives, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Slot, settings=seen)


def test_w18_who_is_stopped_while_a_process_is_born_does_not_wait_for_its_end() -> None:
    slot = Slot()
    slot.world.births_take_s = LONG_S
    assert slot.process
    slot.process.exit(-9)
    slot.pass_time(LIMITS.backoff_max_s)
    assert slot.process is None
    slot.it_is_stopped()
    slot.teardown()
