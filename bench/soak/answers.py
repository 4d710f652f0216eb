"""Whether an answer kept the promises: pure judgement of what a client got.

An answer is right if its audio is exact, byte by byte; or if it was cancelled, or ended or lost a sentence by an error
that says so, and what was heard until then is the beginning of what was owed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

# What killed and stopped workers explain. Any other error is one that the client did not deserve.
EXPLAINED = frozenset({"sentence_failed", "poisoned", "overloaded", "backend_unavailable"})
_FOREIGN = {
    "GENERATION_FAILED": "sentence_failed",
    "QUEUE_FULL": "overloaded",
    "MODEL_NOT_LOADED": "backend_unavailable",
}
_NO_REASON = (None, 1000, 1005, 1006)  # close codes that say nothing of an error
EXACT, CANCELLED, CUT = "exact", "cancelled", "connection cut"


@dataclass(frozen=True, slots=True)
class Answer:
    door: str
    outcome: str  # EXACT, CANCELLED, CUT, or the code of an error
    wrong: str = ""  # which promise was broken
    first_audio_s: float | None = None  # from its first sentence
    gap_s: float = 0.0  # silence that somebody who listens without a buffer heard
    returns: int = 0  # of its client, whose line broke


@dataclass(slots=True)
class Heard:
    """All that came for one answer of `/stream-tokens`: messages as they came, audio by the sentence it came in."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    audio: dict[int, bytes] = field(default_factory=dict)
    stray_bytes: int = 0  # audio outside of any sentence
    close_code: int | None = None
    current: int | None = None  # the sentence that is being heard

    def take(self, message: str | bytes) -> dict[str, Any]:
        """The message; {} for audio."""
        if isinstance(message, bytes):
            self._take_audio(message)
            return {}
        told: dict[str, Any] = json.loads(message)
        self.messages.append(told)
        if told["type"] == "sentence" and told["event"] in ("start", "end"):
            self.current = told["index"] if told["event"] == "start" else None
        return told

    def _take_audio(self, pcm: bytes) -> None:
        if self.current is None:
            self.stray_bytes += len(pcm)
        else:
            self.audio[self.current] = self.audio.get(self.current, b"") + pcm

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [told for told in self.messages if told["type"] == "error"]

    @property
    def texts(self) -> dict[int, str]:
        return {told["index"]: told["text"] for told in self._sentence_events("accepted")}

    @property
    def starts(self) -> list[int]:
        return [told["index"] for told in self._sentence_events("start")]

    def _sentence_events(self, event: str) -> Iterable[dict[str, Any]]:
        return (told for told in self.messages if told["type"] == "sentence" and told["event"] == event)


def judge(heard: Heard, text: str, owed: Callable[[str], bytes]) -> tuple[str, str]:
    """The outcome, and what is wrong with it: "" where nothing is."""
    ends = [told["type"] for told in heard.messages if told["type"] in ("done", "cancelled")]
    codes = [told["code"] for told in heard.errors]
    outcome = codes[-1] if codes else CANCELLED if ends == ["cancelled"] else EXACT
    complaints = _about_its_end(heard, ends, codes) or _about_its_text(heard, text, ends) or _about_audio(heard, owed)
    return outcome, complaints


def _about_its_end(heard: Heard, ends: Sequence[str], codes: Sequence[str]) -> str:
    if strange := [code for code in codes if code not in EXPLAINED]:
        return f"an error that nothing explains: {strange[0]}"
    if len(ends) > 1:
        return f"ended more than once: {', '.join(ends)}"
    if not ends and not codes:
        return f"no word about its end; closed with {heard.close_code}"
    failed = [told["sentence"] for told in heard.errors if "sentence" in told]
    if len(failed) != len(set(failed)):
        return "a sentence failed twice"
    if len(codes) - len(failed) != (0 if ends else 1):
        return f"not exactly one word about its end: {', '.join([*codes, *ends])}; closed with {heard.close_code}"
    if not ends and (heard.messages[-1] is not heard.errors[-1] or heard.close_code in _NO_REASON):
        return f"the error {codes[-1]} did not end it; closed with {heard.close_code}"
    return ""


def _about_its_text(heard: Heard, text: str, ends: Sequence[str]) -> str:
    if ends == ["done"] and " ".join(heard.texts.values()).split() != text.split():
        return "its sentences are not the text that was said"
    if heard.starts != sorted(set(heard.starts)):
        return f"sentences out of order: {heard.starts}"
    return ""


def _about_audio(heard: Heard, owed: Callable[[str], bytes]) -> str:
    if heard.stray_bytes:
        return f"{heard.stray_bytes} bytes of audio outside of a sentence"
    is_whole = heard.messages[-1]["type"] == "done"
    failed = {told.get("sentence") for told in heard.errors}
    for index, sentence in heard.texts.items():
        got, wanted = heard.audio.get(index, b""), owed(sentence)
        if not wanted.startswith(got):
            return f"sentence {index}: wrong audio from byte {common_prefix(got, wanted)} on, of {len(wanted)}"
        if is_whole and index not in failed and len(got) < len(wanted):
            return f"sentence {index}: {len(wanted) - len(got)} bytes are missing"
    return ""


def judge_sound(audio: bytes, owed: Sequence[bytes], errors: Sequence[str], *, was_cut: bool) -> tuple[str, str]:
    """The same of a door that tells nothing of sentences: its audio, and the codes of its errors."""
    codes = [_FOREIGN.get(code, code) for code in errors]
    outcome = codes[-1] if codes else CUT if was_cut else EXACT
    if strange := [code for code in codes if code not in EXPLAINED]:
        return outcome, f"an error that nothing explains: {strange[0]}"
    whole = b"".join(owed)
    if outcome == EXACT and audio != whole:
        return outcome, f"wrong audio from byte {common_prefix(audio, whole)} on: {len(audio)} of {len(whole)} bytes"
    if outcome != EXACT and not is_made_of(audio, owed):
        return outcome, "what was heard is not the beginning of what was owed"
    return outcome, ""


def is_made_of(audio: bytes, owed: Iterable[bytes]) -> bool:
    """Whether it is the beginnings of these sentences, one after the other."""
    rest = audio
    for sentence in owed:
        rest = rest[common_prefix(rest, sentence) :]
    return not rest


def common_prefix(one: bytes, other: bytes) -> int:
    """How many bytes they begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


class Ear:
    """Somebody who listens from the first chunk on and buffers nothing."""

    def __init__(self, rate: int) -> None:
        self.gap_s = 0.0
        self._bytes_per_s = 2 * rate
        self._runs_out_at: float | None = None

    def hear(self, pcm_bytes: int, now: float) -> None:
        if self._runs_out_at is not None:
            self.gap_s += max(0.0, now - self._runs_out_at)
        self._runs_out_at = max(now, self._runs_out_at or now) + pcm_bytes / self._bytes_per_s
