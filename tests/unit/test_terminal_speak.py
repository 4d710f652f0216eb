from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.unit.scripted_session import READY, Reply, ScriptedSession, one_second
from voice_server.core.errors import VoiceError
from voice_server.core.limits import TerminalLimits
from voice_server.terminal.answer import Answer
from voice_server.terminal.speak import Conversation
from voice_server.terminal.view import PlainScreen

WAIT_S = 5.0


class Recorder:
    """A sink that remembers. An endless one goes on playing until it is stopped."""

    def __init__(self, *, is_endless: bool = False, fails: bool = False) -> None:
        self.heard = b""
        self.calls: list[str] = []
        self._fails = fails
        self._silent = asyncio.Event()
        if not is_endless:
            self._silent.set()

    def write(self, pcm: bytes, sample_rate: int) -> None:
        if self._fails:
            raise VoiceError("the device is gone")
        self.heard += pcm

    def stop(self) -> None:
        self.calls.append("stop")
        self._silent.set()

    async def finish(self) -> None:
        await self._silent.wait()
        self.calls.append("finish")

    def close(self) -> None:
        self.calls.append("close")


class Talk:
    """One conversation with a scripted server."""

    def __init__(self, reply: Callable[[dict[str, Any]], list[Reply]], sink: Recorder, greeting: Reply = READY) -> None:
        self.session = ScriptedSession(reply, greeting)
        self.answer = Answer()
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.interrupted = asyncio.Event()
        self._conversation = Conversation(
            self.session,
            self.answer,
            PlainScreen(self.out, self.err),
            [sink],
            limits=TerminalLimits(unspoken_chars=20),
        )

    async def say(self, *tokens: str, delay_s: float = 0.0, **options: object) -> None:
        await asyncio.wait_for(
            self._conversation.run(tokens, options=options, delay_s=delay_s, interrupted=self.interrupted), WAIT_S
        )


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_options_come_first_and_done_comes_last() -> None:
    async def test() -> None:
        talk = Talk(one_second, Recorder())
        await talk.say("Hel", "lo.", speed=1.5)
        assert talk.session.sent == [{"opts": {"speed": 1.5}}, {"token": "Hel"}, {"token": "lo."}, {"done": True}]

    run(test)


def test_nothing_is_sent_before_the_server_is_ready() -> None:
    async def test() -> None:
        talk = Talk(one_second, Recorder(), greeting={"type": "queued", "position": 1, "reason": "loading"})
        running = asyncio.create_task(talk.say("Hello."))
        await until(lambda: "in line" in talk.out.getvalue())
        assert talk.session.sent == []
        running.cancel()

    run(test)


def test_all_audio_reaches_the_sink_which_is_finished_and_closed() -> None:
    async def test() -> None:
        sink = Recorder()
        await Talk(one_second, sink).say("Hello.")
        assert (sink.heard, sink.calls) == (bytes(48000), ["finish", "close"])

    run(test)


def test_the_summary_comes_after_the_last_sound() -> None:
    async def test() -> None:
        talk = Talk(one_second, Recorder())
        await talk.say("Hello.")
        assert talk.out.getvalue().splitlines()[-1].startswith("done  audio 1.00 s")

    run(test)


def test_an_interrupt_stops_the_tokens_cancels_and_waits_for_the_reply() -> None:
    async def test() -> None:
        sink = Recorder()
        talk = Talk(lambda message: [{"type": "done"}, {"type": "cancelled"}] if "cancel" in message else [], sink)
        running = asyncio.create_task(talk.say(*"abcdef", delay_s=0.01))
        await until(lambda: bool(talk.session.sent))
        talk.interrupted.set()
        await running
        assert talk.session.sent[-1] == {"cancel": True}
        assert {"done": True} not in talk.session.sent
        assert sink.calls[0] == "stop"

    run(test)


def test_audio_that_crosses_the_cancel_is_not_heard() -> None:
    async def test() -> None:
        sink = Recorder()
        talk = Talk(lambda message: [bytes(480), {"type": "cancelled"}] if "cancel" in message else [], sink)
        running = asyncio.create_task(talk.say("Hello."))
        await until(lambda: talk.session.sent[-1:] == [{"done": True}])
        talk.interrupted.set()
        await running
        assert sink.heard == b""

    run(test)


def test_an_interrupt_while_the_rest_is_playing_sends_nothing() -> None:
    async def test() -> None:
        sink = Recorder(is_endless=True)
        talk = Talk(one_second, sink)
        running = asyncio.create_task(talk.say("Hello."))
        await until(lambda: talk.answer.over)
        talk.interrupted.set()
        await running
        assert {"cancel": True} not in talk.session.sent
        assert sink.calls == ["stop", "finish", "close"]

    run(test)


def test_a_long_text_waits_until_the_server_has_spoken_some_of_it() -> None:
    async def test() -> None:
        talk = Talk(lambda message: [], Recorder())
        running = asyncio.create_task(talk.say("One and twenty chars.", "Two."))
        await until(lambda: talk.session.text != "")
        for event in ("accepted", "end"):
            assert talk.session.text == "One and twenty chars."
            talk.session.say({"type": "sentence", "event": event, "index": 0, "text": "One and twenty chars."})
        await until(lambda: talk.session.text == "One and twenty chars.Two.")
        running.cancel()

    run(test)


def test_a_lost_connection_ends_the_conversation() -> None:
    async def test() -> None:
        talk = Talk(lambda message: [None], Recorder())
        await talk.say("Hello.", " How are you?", delay_s=0.01)
        assert talk.err.getvalue().startswith("error closed: ")

    run(test)


def test_a_sink_that_fails_ends_the_conversation_and_is_closed() -> None:
    async def test() -> None:
        sink = Recorder(fails=True)
        with pytest.raises(VoiceError, match="the device is gone"):
            await Talk(one_second, sink).say("Hello.")
        assert sink.calls == ["close"]

    run(test)


def test_no_task_outlives_the_conversation() -> None:
    async def test() -> None:
        await Talk(one_second, Recorder()).say("Hello.")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test)
