"""What is known about one answer while it is spoken: the model behind every view.

Pure: fed with the tokens sent and the messages received, with `now` as an argument. It believes nothing it is told
about types, and lets no control character of the server through to the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from voice_server.core.audio.playhead import Playhead

Message = dict[str, Any] | bytes | None  # JSON, audio, or the end of the connection

SAMPLE_BYTES = 2


class State(str, Enum):
    WAITING = "waiting"
    RENDERING = "rendering"
    READY = "ready"  # all its audio is here; the listener is still at an earlier sentence
    PLAYING = "playing"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(slots=True)
class Sentence:
    index: int  # from 0
    text: str = ""
    worker: str = ""
    starts_s: float | None = None  # its place in the answer's audio
    ends_s: float | None = None
    failed: bool = False
    resumed: bool = False

    @property
    def duration_s(self) -> float | None:
        if self.starts_s is None or self.ends_s is None:
            return None
        return self.ends_s - self.starts_s


@dataclass(slots=True)
class Answer:
    listening: bool = False  # somebody hears it in real time; else what has arrived counts as heard
    backend: str = ""
    voice: str = ""
    sample_rate: int = 0  # Hz, as announced; 0 until then
    text: str = ""  # of the tokens sent
    sentences: dict[int, Sentence] = field(default_factory=dict)
    queued: str = ""  # why no worker has taken it yet
    faults: list[str] = field(default_factory=list)
    over: bool = False
    stopped: bool = False  # by the listener
    playhead: Playhead = field(default_factory=Playhead)
    cut_chars: int = 0  # of the text: up to here it is cut into sentences
    waiting_chars: dict[int, int] = field(default_factory=dict)  # of each sentence that is still to be spoken, in order

    def sent(self, token: str, now: float) -> None:
        self.playhead.start(now)
        self.text += _clean(token)

    def stop(self) -> None:
        self.stopped = True

    def receive(self, message: Message, now: float) -> None:
        if message is None:
            self._closed()
        elif isinstance(message, bytes):
            self.playhead.arrive(len(message) / SAMPLE_BYTES / max(1, self.sample_rate), now)
        elif (handler := _HANDLERS.get(str(message.get("type")))) is not None:
            handler(self, message)

    @property
    def unspoken_chars(self) -> int:
        return len(self.text) - self.cut_chars + sum(self.waiting_chars.values())

    @property
    def open_text(self) -> str:
        """The tokens that are no sentence yet."""
        return self.text[self.cut_chars :]

    def state_of(self, sentence: Sentence, now: float) -> State:
        heard_s = self.playhead.heard_s(now) if self.listening else self.playhead.received_s
        if sentence.failed:
            return State.FAILED
        if sentence.ends_s is not None and (heard_s >= sentence.ends_s or not sentence.duration_s):
            return State.DONE
        if self.stopped:
            return State.STOPPED
        if sentence.starts_s is not None and heard_s >= sentence.starts_s:
            return State.PLAYING
        if sentence.ends_s is not None:
            return State.READY
        return State.RENDERING if sentence.worker else State.WAITING

    def _closed(self) -> None:
        if not (self.over or self.stopped or self.faults):
            self.faults.append("closed: the connection ended before the answer was complete")
        self.over = True

    def _ready(self, message: dict[str, Any]) -> None:
        self.backend = _clean(message.get("backend"))
        self.voice = _clean(message.get("voice"))
        self._format(message)

    def _format(self, message: dict[str, Any]) -> None:
        self.sample_rate = _whole(message.get("sample_rate"))

    def _queued(self, message: dict[str, Any]) -> None:
        self.queued = f"in line, place {_whole(message.get('position'))} ({_clean(message.get('reason'))})"

    def _generating(self, message: dict[str, Any]) -> None:
        self.queued = ""
        self._sentence(message.get("index")).worker = _clean(message.get("worker"))

    def _resumed(self, message: dict[str, Any]) -> None:
        self._sentence(message.get("sentence")).resumed = True

    def _sentence_event(self, message: dict[str, Any]) -> None:
        sentence = self._sentence(message.get("index"))
        if not sentence.text:
            self._place(sentence, _clean(message.get("text")))
        if message.get("event") == "start":
            sentence.starts_s = self.playhead.received_s
        elif message.get("event") == "end":
            sentence.ends_s = self.playhead.received_s
            self._spoken_up_to(sentence)
        elif message.get("spoken") is False:
            sentence.ends_s = self.playhead.received_s
            self.waiting_chars.pop(sentence.index, None)  # those before it still wait

    def _error(self, message: dict[str, Any]) -> None:
        where = _clean(message.get("field"))
        if message.get("sentence") is not None:
            sentence = self._sentence(message["sentence"])
            sentence.failed = True
            self._spoken_up_to(sentence)
            where = f"sentence {sentence.index + 1}"
        fault = f"{_clean(message.get('code'))}: {_clean(message.get('msg'))}"
        self.faults.append(f"{fault} ({where})" if where else fault)

    def _end(self, message: dict[str, Any]) -> None:
        # A `done` that crosses our `cancel` on the wire is not the last word: `cancelled` still comes.
        self.over = not self.stopped or message.get("type") == "cancelled"

    def _sentence(self, index: object) -> Sentence:
        return self.sentences.setdefault(_whole(index), Sentence(_whole(index)))

    def _place(self, sentence: Sentence, text: str) -> None:
        found_at = self.text.find(text, self.cut_chars)
        text_end = self.cut_chars if found_at < 0 else found_at + len(text)
        self.waiting_chars[sentence.index] = text_end - self.cut_chars
        sentence.text = text
        self.cut_chars = text_end

    def _spoken_up_to(self, sentence: Sentence) -> None:
        """It is spoken, or has failed; one before it of which nothing was told was nothing but silence."""
        for index in [index for index in self.waiting_chars if index <= sentence.index]:
            del self.waiting_chars[index]


_HANDLERS = {
    "ready": Answer._ready,
    "format": Answer._format,
    "queued": Answer._queued,
    "generating": Answer._generating,
    "sentence": Answer._sentence_event,
    "resumed": Answer._resumed,
    "error": Answer._error,
    "cancelled": Answer._end,
    "done": Answer._end,
}


def _clean(value: object) -> str:
    """Text of the same length that cannot move the cursor, ring the bell or forge a line."""
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else " " for char in text)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
