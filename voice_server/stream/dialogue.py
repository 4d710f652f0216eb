"""The client's side of `/stream-tokens`, without a socket: messages in, calls on the stream, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

from voice_server.core.doors import stream_tokens_protocol as protocol
from voice_server.core.doors.stream_tokens_protocol import Claim, ClientMessage
from voice_server.core.errors import BadMessage, VoiceError
from voice_server.core.events import AnswerDone, Event, Problem, StreamReady, Told
from voice_server.core.limits import Limits
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream


class Dialogue:
    """Errors in a message go to the outbox: the client is told, and the rest of the message counts.

    `on_claim` is called when the first message says that its client belongs to another stream; what it raises, but for
    a VoiceError, goes through `take`.
    """

    def __init__(self, stream: Stream, outbox: Outbox, limits: Limits, *, keep_open: bool, words: bool = False) -> None:
        self.keep_open = keep_open
        self.words = words  # the client wants to know when each word is heard
        self.received = 0  # messages of the client
        self.is_over = False  # the last event was sent
        self.on_claim: Callable[[Claim], None] | None = None
        self.stream = stream
        self.outbox = outbox
        self._teller = protocol.Teller()
        self._limits = limits
        self._done_said = False

    def take(self, text: str) -> None:
        """A message of the client."""
        self.received += 1
        try:
            said = protocol.decode(text, self._limits)
        except VoiceError as error:
            self.outbox.put(Problem(error))
            return
        self._apply(said)

    def tell(self, event: Event) -> str | bytes:
        """The message of an event that is sent now."""
        return event.message if isinstance(event, Told) else self._teller.tell(event, words=self.words)

    def is_last(self, event: Event) -> bool:
        """Whether the session ends with this event, which was sent."""
        self.is_over = self.is_over or self._ends(event)
        return self._ends(event) or (isinstance(event, StreamReady) and self.is_over and self.outbox.is_empty)

    def _ends(self, event: Event) -> bool:
        if isinstance(event, Told):
            return self._ends(event.event)
        if isinstance(event, Problem):
            return event.error.close_code is not None
        return isinstance(event, AnswerDone) and not self.keep_open

    def _apply(self, said: ClientMessage) -> None:
        """In the order of the protocol's table."""
        if said.resume is not None:
            self._try(lambda: self._claim(said.resume))
        if said.cancel:
            self._done_said = False
            self.stream.cancel()
        if said.voice is not None:
            self._try(lambda: self.stream.set_voice(said.voice or ""))
        if said.opts is not None:
            self._try(lambda: self.stream.set_options(said.opts or {}))
        if said.sample_rate is not None:
            self._try(lambda: self._set_rate(said.sample_rate))
        if said.keep_open is not None:
            self.keep_open = said.keep_open
        if said.words is not None:
            self.words = said.words
        if said.token or said.flush or said.done:
            self._try(lambda: self._speak(said))

    def _claim(self, claim: Claim | None) -> None:
        if claim is None or self.on_claim is None or self.received > 1:
            raise BadMessage("a client comes back with the first message of a new connection", field="resume")
        self.on_claim(claim)

    def _speak(self, said: ClientMessage) -> None:
        if self._done_said and not self.keep_open:
            raise BadMessage("the answer was done; set keep_open to speak another one", field="token")
        if said.token:
            self._try(lambda: self.stream.push(said.token or ""))
        if said.flush:
            self.stream.flush()
        if said.done:
            self._done_said = True
            self.stream.finish()

    def _set_rate(self, rate: int | str | None) -> None:
        self.stream.set_sample_rate(rate if isinstance(rate, int) else None)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except VoiceError as error:
            self.outbox.put(Problem(error))
