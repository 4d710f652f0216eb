"""How much one client may have: characters in a minute, and streams that speak at once.

Promises: over any time a client gets the characters of that time and one minute's more at most; a text that is longer
than a minute's is taken when the minute is full, and is paid for afterwards; who is refused is told the time after
which the same text is taken; clients do not touch each other; memory is bounded, however many clients there are.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from voice_server.core.errors import RateLimited
from voice_server.core.limits import AccessLimits

_MINUTE_S = 60.0
_ROUNDING = 0.001  # of a character: who waited as long as we said is not refused for it
_OTHERS = ""  # who share what is left when too many clients are known; no client has that name


@dataclass(slots=True)
class _Purse:
    """What is left of a minute's characters: below 0 after a text longer than a minute's."""

    left: float
    at: float

    def refill(self, per_minute: int, now: float) -> None:
        self.left = min(float(per_minute), self.left + (now - self.at) * per_minute / _MINUTE_S)
        self.at = now


class Budgets:
    """Of all clients of a server. 0 characters, or 0 streams, is as many as they like."""

    def __init__(self, limits: AccessLimits) -> None:
        self._limits = limits
        self._purses: dict[str, _Purse] = {}
        self._speaking: Counter[str] = Counter()

    def spend(self, client: str, chars: int, now: float) -> None:
        """Raises RateLimited; nothing is spent then."""
        per_minute = self._limits.chars_per_minute
        if not (per_minute and chars):
            return
        purse = self._purse(client, now)
        lacking = min(chars, per_minute) - purse.left
        if lacking > _ROUNDING:
            raise _too_much(per_minute, lacking * _MINUTE_S / per_minute)
        purse.left -= chars

    def check_room(self, client: str) -> None:
        """Whether one more stream may speak. Raises RateLimited."""
        most = self._limits.streams_per_client
        if most and self._speaking[client] >= most:
            raise RateLimited(
                f"{most} streams of yours speak already; wait until one is done, or cancel it",
                retry_after_s=self._limits.retry_s,
            )

    def begin(self, client: str) -> None:
        """A stream of this client speaks; `end` it."""
        self._speaking[client] += 1

    def end(self, client: str) -> None:
        self._speaking[client] -= 1
        if not self._speaking[client]:
            del self._speaking[client]

    @property
    def clients(self) -> int:
        """Of which anything is remembered."""
        return len(self._purses.keys() | self._speaking.keys())

    def _purse(self, client: str, now: float) -> _Purse:
        if client not in self._purses and len(self._purses) >= self._limits.clients:
            self._forget_the_full(now)
            client = client if len(self._purses) < self._limits.clients else _OTHERS
        purse = self._purses.setdefault(client, _Purse(self._limits.chars_per_minute, now))
        purse.refill(self._limits.chars_per_minute, now)
        return purse

    def _forget_the_full(self, now: float) -> None:
        """Who has a whole minute again is as good as new."""
        for client, purse in list(self._purses.items()):
            purse.refill(self._limits.chars_per_minute, now)
            if purse.left >= self._limits.chars_per_minute:
                del self._purses[client]


class Allowance:
    """One stream's part of its client's budget."""

    def __init__(self, budgets: Budgets, client: str) -> None:
        self._budgets = budgets
        self._client = client
        self._is_speaking = False

    def take(self, chars: int, now: float) -> None:
        """Text of an answer comes, perhaps its first. Raises RateLimited; nothing is taken then."""
        if not self._is_speaking:
            self._budgets.check_room(self._client)
        self._budgets.spend(self._client, chars, now)
        self.begin()

    def begin(self) -> None:
        """An answer begins, unless it has already; it was paid for."""
        if not self._is_speaking:
            self._is_speaking = True
            self._budgets.begin(self._client)

    def end(self) -> None:
        """The answer is over, if there was one."""
        if self._is_speaking:
            self._is_speaking = False
            self._budgets.end(self._client)


def _too_much(per_minute: int, wait_s: float) -> RateLimited:
    told = f"you may send {per_minute} characters a minute; send this again in {math.ceil(wait_s)} s"
    return RateLimited(told, retry_after_s=wait_s)
