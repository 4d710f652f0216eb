"""What ties a stream to a client that may lose its socket and come back on another: docs/decisions/resume.md.

Promises: a tethered stream has one socket at most, the newest; it ends when its client says goodbye, when nobody came
for `wait_s`, or with the house; the number of them is limited, in all and for each client.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

from voice_server.core.audio.tape import Tape
from voice_server.core.errors import CannotResume, ResumedElsewhere
from voice_server.core.events import ResumeOffer
from voice_server.core.limits import ResumeLimits
from voice_server.stream.dialogue import Dialogue

_TOKEN_BYTES = 16
_UNKNOWN = "there is no such stream any more: start a new one"


def elsewhere() -> ResumedElsewhere:
    return ResumedElsewhere("you came back on a newer connection; this one is over")


def _nobody() -> None:
    """There is no socket to be told."""


class Tether:
    """Of one stream. `client` is who opened it, and `key_name` what it showed; its address may change meanwhile."""

    def __init__(self, dialogue: Dialogue, client: str, key_name: str, limits: ResumeLimits, among: Tethers) -> None:
        secret = secrets.token_urlsafe(_TOKEN_BYTES)
        self.token = f"{among.name}.{secret}" if among.name else secret
        self.dialogue = dialogue
        self.client = client
        self.key_name = key_name
        self.tape = Tape(limits)
        self.is_cut = False
        self._wait_s = limits.wait_s
        self._among = among
        self._socket = asyncio.Lock()  # held as long as there is one
        self._expel: Callable[[], None] = _nobody
        self._comers = 0
        self._timer: asyncio.TimerHandle | None = None

    def offer(self, resumed_at: int | None = None) -> ResumeOffer:
        return ResumeOffer(self.token, self._wait_s, resumed_at, self.dialogue.received)

    @contextlib.asynccontextmanager
    async def held(self, expel: Callable[[], None]) -> AsyncIterator[None]:
        """By one socket, until it is gone; `expel` is called when a newer one comes. After it the stream waits for its
        client, unless it was cut. Raises CannotResume and ResumedElsewhere."""
        self._comers += 1
        number = self._comers
        self._expel()  # the network often notices late that a socket is dead
        async with self._socket:
            self._begin(number)
            self._expel = expel
            try:
                yield
            finally:
                self._expel = _nobody
                if number == self._comers:
                    self._wait()

    def cut(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self._stop_waiting()
            self._among.forget(self)
            self.dialogue.stream.close()

    def cut_if_alone(self) -> None:
        if self.is_alone:
            self.cut()

    @property
    def is_alone(self) -> bool:
        """Its client is not there."""
        return not self._socket.locked()

    def _begin(self, number: int) -> None:
        if self.is_cut:
            raise CannotResume(_UNKNOWN)
        if number != self._comers:
            raise elsewhere()
        self._stop_waiting()

    def _wait(self) -> None:
        if self._among.is_closed:
            self.cut()
        if not self.is_cut:
            self._timer = asyncio.get_running_loop().call_later(self._wait_s, self.cut)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Tethers:
    """All of a house, by token. Its `name` begins each of them: so a balancer knows where their clients belong."""

    def __init__(self, limits: ResumeLimits, name: str = "") -> None:
        self.name = name
        self._limits = limits
        self._tied: dict[str, Tether] = {}
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._tied)

    def __iter__(self) -> Iterator[Tether]:
        return iter(self._tied.values())

    def tie(self, dialogue: Dialogue, client: str, key_name: str) -> Tether | None:
        """None when there are as many as may be: its client has to do without."""
        of_client = sum(tether.client == client for tether in self._tied.values())
        if len(self._tied) >= self._limits.streams or of_client >= self._limits.streams_per_client:
            return None
        tether = Tether(dialogue, client, key_name, self._limits, self)
        self._tied[tether.token] = tether
        return tether

    def find(self, token: str, key_name: str) -> Tether:
        """For who shows the same key as before. Raises CannotResume."""
        tether = self._tied.get(token)
        if tether is None or tether.key_name != key_name:
            raise CannotResume(_UNKNOWN)
        return tether

    def absent(self) -> int:
        """Clients that are waited for."""
        return sum(tether.is_alone for tether in self)

    def close(self) -> None:
        """The house closes: nobody is waited for."""
        self.is_closed = True
        for tether in list(self._tied.values()):
            tether.cut_if_alone()

    def forget(self, tether: Tether) -> None:
        del self._tied[tether.token]
