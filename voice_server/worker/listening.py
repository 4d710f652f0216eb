"""Runs the open hearings of one recogniser on the main thread, one piece of work at a time, in turn.

The one that waited longest for a piece of work comes first, so that a hearing with much to say holds nobody up for more
than one piece. Whatever an engine raises ends its hearing, never the host.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Dict

import numpy as np

from voice_server.wire.messages import Cancel, Cancelled, Done, Finish, Hear, Listen, Message, Stop, Text
from voice_server.worker.adapter import Heard, Hearing, Recogniser
from voice_server.worker.failures import render_failed

if TYPE_CHECKING:
    from voice_server.worker.link import Link

_FULL_SCALE = 32768.0
_TEXT_CHARS = 4096  # of one text, to fit into a control frame: what nobody says between two pieces of work


@dataclass
class _Open:
    render_id: int
    hearing: Hearing
    heard: int = 0  # pieces of audio
    has_work: bool = False
    is_finished: bool = False  # nothing more will be heard
    said: int = 0  # text messages
    done: int = 0  # pieces of audio that were worked on
    last: Heard = Heard("", 0.0, 0.0, 0.0)


class ListeningHost:
    """Serves one loaded recogniser."""

    def __init__(self, recogniser: Recogniser, link: Link) -> None:
        self._recogniser = recogniser
        self._link = link
        self._open: Dict[int, _Open] = {}  # in the order of their last piece of work

    def serve(self) -> None:
        """Listen until the gateway says stop."""
        while self._obey_all():
            render = next(one for one in self._open.values() if one.has_work)
            self._open[render.render_id] = self._open.pop(render.render_id)  # to the end of the line
            self._step(render)

    def _obey_all(self) -> bool:
        """Carry out what was asked for; wait for it if there is no work. False after stop."""
        while not self._link.commands.empty() or not any(one.has_work for one in self._open.values()):
            command = self._link.commands.get()
            if isinstance(command, Stop):
                return False
            self._obey(command)
        return True

    def _obey(self, command: Message) -> None:
        if isinstance(command, Listen):
            self._begin(command)
        elif isinstance(command, (Hear, Finish)) and command.render_id in self._open:
            self._hear(command, self._open[command.render_id])
        elif isinstance(command, Cancel) and command.render_id in self._open:
            del self._open[command.render_id]
            self._link.say(Cancelled(command.render_id))

    def _begin(self, command: Listen) -> None:
        try:
            hearing = self._recogniser.listen(**command.options)
        except Exception as error:
            self._fail(command.render_id, error)
        else:
            self._open[command.render_id] = _Open(command.render_id, hearing)

    def _hear(self, command: Message, render: _Open) -> None:
        try:
            if isinstance(command, Hear):
                render.heard += 1
                render.hearing.hear(np.frombuffer(command.pcm, dtype="<i2").astype(np.float32) / _FULL_SCALE)
            else:
                render.is_finished = True
                render.hearing.finish()
        except Exception as error:
            self._fail(render.render_id, error)
        else:
            render.has_work = True

    def _step(self, render: _Open) -> None:
        try:
            heard = render.hearing.work()
        except Exception as error:
            self._fail(render.render_id, error)
            return
        render.has_work = heard is not None
        if heard is not None:
            render.last = heard
            self._tell(render, heard)
        elif render.is_finished:
            del self._open[render.render_id]
            self._link.say(Done(render.render_id, render.said))
        elif render.done < render.heard:  # there may have been nothing to say: that it was heard is news as well
            render.done = render.heard
            self._tell(render, replace(render.last, text=""))

    def _tell(self, render: _Open, heard: Heard) -> None:
        text, tentative = _sayable(heard.text), _sayable(heard.tentative)
        times = heard.start_s, heard.end_s, heard.settled_s
        self._link.say(Text(render.render_id, render.said, render.done, text, *times, tentative))
        render.said += 1

    def _fail(self, render_id: int, error: Exception) -> None:
        self._open.pop(render_id, None)
        traceback.print_exception(type(error), error, error.__traceback__)
        self._link.say(render_failed(render_id, error))


def _sayable(text: str) -> str:
    """Without lone surrogates, which no frame can carry."""
    return text.encode("utf-8", "replace").decode()[:_TEXT_CHARS]
