from __future__ import annotations

import asyncio
import io
import os
import pty
import signal
import termios

import pytest

from voice_server.terminal.keyboard import ctrl_c_sets, no_echo

WAIT_S = 5.0


def echoes(fd: int) -> bool:
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


def test_the_first_ctrl_c_sets_the_event_and_the_second_goes_through() -> None:
    async def test() -> None:
        before, event = signal.getsignal(signal.SIGINT), asyncio.Event()
        with ctrl_c_sets(event):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.wait_for(event.wait(), WAIT_S)
            assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(test())


def test_ctrl_c_is_as_before_when_the_speech_is_over() -> None:
    async def test() -> None:
        before = signal.getsignal(signal.SIGINT)
        with ctrl_c_sets(asyncio.Event()):
            assert signal.getsignal(signal.SIGINT) is not before
        assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(test())


def test_keys_are_not_drawn_until_the_speech_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, screen = pty.openpty()
    with os.fdopen(keyboard), os.fdopen(screen) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        seen = [echoes(screen)]
        with no_echo():
            seen.append(echoes(screen))
        seen.append(echoes(screen))
    assert seen == [True, False, True]


def test_a_pipe_has_no_echo_to_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("line"))
    with no_echo():
        assert input() == "line"
