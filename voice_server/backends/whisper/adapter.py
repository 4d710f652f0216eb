"""What the worker host sees of faster-whisper: hearings, each a stretch of audio that is turned into text bit by bit.

Speech is cut into utterances at its pauses. The one that goes on is read again as often as a second of new audio came,
and what two readings agree on is told as certain; when it is over, so is all of it. So a piece of work is one window of
at most 25 s and whatever new audio there is for the detector, however long the hearing lasts. When the worker is
behind, several seconds have come at the next piece of work, and there are fewer readings, not later ones.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, List, Optional

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.whisper import weights
from voice_server.backends.whisper.agreement import Agreement, Word, sentences, text_of
from voice_server.backends.whisper.engine import AUTO, Engine
from voice_server.backends.whisper.segments import (
    CUT_WITHIN,
    FRAME,
    LONGEST,
    RATE,
    Segmenter,
    Utterance,
    frames,
    quietest,
)
from voice_server.backends.whisper.vad import VoiceDetector
from voice_server.worker.adapter import BackendError, Heard

Samples = NDArray[np.float32]

_READ_AGAIN = frames(1.0)  # of new audio
_SETTLE = frames(5.0)  # of silence, after which the gateway is told that nobody needs it any more
_SLACK = RATE // 10  # samples by which a word's times may be wrong
_WARM_UP_S = 1.0


class WhisperRecogniser:
    """`model`: tiny.en or base, whose weights come with packages; a folder; or a name that faster-whisper knows.

    `language`: a code or auto, for hearings that name none.
    """

    sample_rate = RATE

    def __init__(
        self,
        device: str = "cpu",
        *,
        model: str = "base",
        language: str = AUTO,
        capacity: int = 4,
        progress: Callable[[str], None] = print,
    ) -> None:
        folder = weights.locate(model, progress)
        progress("reading weights")
        self._engine = Engine(folder, device)
        self._language = self._known("bad_config", language)
        self.capacity = capacity
        self._engine.read(np.zeros(int(RATE * _WARM_UP_S), dtype=np.float32), [], AUTO, "", "")

    @staticmethod
    def fetch(options: dict[str, Any], report: weights.Report) -> None:
        """Have the weights here ahead of the first start."""
        weights.locate(str(options.get("model", "base")), report)

    def languages(self) -> List[str]:
        return list(self._engine.languages)

    def listen(self, *, language: str = "", prompt: str = "", partials: bool = True) -> WhisperHearing:
        spoken = self._known("bad_option", language) if language else self._language
        return WhisperHearing(self._engine, spoken, prompt, partials)

    def _known(self, code: str, language: str) -> str:
        if language != AUTO and language not in self._engine.languages:
            known = ", ".join([AUTO, *self._engine.languages])
            raise BackendError(code, f"no language {language!r}: this model knows {known}")
        return language


class WhisperHearing:
    def __init__(self, engine: Engine, language: str, prompt: str, partials: bool) -> None:
        self._engine = engine
        self._language = language
        self._spoken = ""  # the language that was last detected
        self._prompt = prompt
        self._partials = partials
        self._detector = VoiceDetector(engine.vad_session)
        self._segmenter = Segmenter()
        self._waiting: List[Samples] = []  # not a whole frame yet, or not looked at
        self._likelihoods: Deque[float] = deque()  # of frames that the segmenter was not told of yet
        self._audio: Samples = np.zeros(0, dtype=np.float32)  # whole frames, from `_begin`
        self._begin = 0  # frames that were forgotten
        self._agreement = Agreement()
        self._read_until = 0  # frames, of the open utterance
        self._settled_told = 0  # frames
        self._news: Deque[Heard] = deque()
        self._is_finished = False

    def hear(self, samples: Samples) -> None:
        self._waiting.append(samples)

    def finish(self) -> None:
        self._is_finished = True

    def work(self) -> Optional[Heard]:
        """At most one reading of one window."""
        if not self._news:
            self._detect()
            self._read()
        if not self._news:
            self._settle()
        if not self._news:
            return None
        self._settled_told = frames(self._news[0].settled_s)
        return self._news.popleft()

    # Inside

    def _detect(self) -> None:
        """Whole frames only; at the end the last one is filled up with silence."""
        new = np.concatenate([*self._waiting, np.zeros(0, dtype=np.float32)])
        if self._is_finished:
            new = np.pad(new, (0, -len(new) % FRAME))
        whole = len(new) // FRAME * FRAME
        self._waiting = [new[whole:]]
        if whole:
            self._audio = np.concatenate([self._audio, new[:whole]])
            self._likelihoods.extend(self._detector.likelihoods(new[:whole]))

    def _read(self) -> None:
        """The utterance that ended, or the one that goes on if there is enough new of it."""
        while self._likelihoods:
            if ended := self._segmenter.push(self._likelihoods.popleft()):
                self._conclude(ended)
                return
            if (opened := self._segmenter.open) and opened.end - opened.begin >= LONGEST:
                self._cut(opened)
                return
        opened = self._segmenter.open
        if self._is_finished and (ended := self._segmenter.end()):
            self._conclude(ended)
        elif opened and self._partials and opened.end - max(self._read_until, opened.begin) >= _READ_AGAIN:
            self._read_until = opened.end
            self._tell(opened, self._agreement.read(self._words(opened)))

    def _cut(self, opened: Utterance) -> None:
        """Where it is quietest, behind what is certain."""
        samples = self._samples(opened)
        certain = self._agreement.certain
        low = max(len(samples) - CUT_WITHIN * FRAME, int(certain[-1].end_s * RATE) if certain else 0)
        at = opened.begin + max(1, quietest(samples, low, len(samples)) // FRAME)
        if ended := self._segmenter.cut(at):
            self._conclude(ended)

    def _conclude(self, ended: Utterance) -> None:
        self._tell(ended, self._agreement.finish(self._words(ended)), is_over=True)
        self._agreement = Agreement()
        self._read_until = ended.end
        self._forget()

    def _words(self, utterance: Utterance) -> List[Word]:
        """Those behind the certain ones."""
        samples, certain = self._samples(utterance), self._agreement.tokens
        language = self._spoken if certain and self._language == AUTO else self._language
        reading = self._engine.read(samples, certain, language, self._spoken, self._prompt)
        self._spoken = reading.language
        return reading.words

    def _samples(self, utterance: Utterance) -> Samples:
        return self._audio[(utterance.begin - self._begin) * FRAME : (utterance.end - self._begin) * FRAME]

    def _tell(self, utterance: Utterance, words: List[Word], is_over: bool = False) -> None:
        """A sentence at a time, so that each has its times."""
        begin_s, left = _seconds(utterance.begin), list(words) + self._agreement.open
        for piece in sentences(words):
            left = left[len(piece) :]
            settled_s = begin_s + self._boundary_s(utterance, piece[-1], left)
            start_s, end_s = begin_s + piece[0].start_s, begin_s + piece[-1].end_s
            self._news.append(Heard(text_of(piece), start_s, end_s, settled_s, text_of(left)))
        if is_over:
            last = self._news.pop() if self._news else _nothing(utterance.end)
            self._news.append(Heard(last.text, last.start_s, last.end_s, _seconds(utterance.end)))
        elif not self._news:
            certain = self._agreement.certain
            settled_s = begin_s + self._boundary_s(utterance, certain[-1], left) if certain else begin_s
            self._news.append(Heard("", begin_s, begin_s, settled_s, text_of(left)))

    def _boundary_s(self, utterance: Utterance, word: Word, left: List[Word]) -> float:
        """Where this word ends and the next one begins: what a reading says of it is true to a tenth of a second."""
        high_s = left[0].start_s if left else word.end_s
        low, high = int(word.end_s * RATE) - _SLACK, int(high_s * RATE) + _SLACK
        return quietest(self._samples(utterance), low, high) / RATE

    def _settle(self) -> None:
        settled = self._segmenter.settled
        if settled - self._settled_told >= _SETTLE and self._segmenter.open is None:
            self._news.append(_nothing(settled))
            self._forget()

    def _forget(self) -> None:
        gone = self._segmenter.settled - self._begin
        self._audio, self._begin = self._audio[gone * FRAME :].copy(), self._begin + gone


def _seconds(at: int) -> float:
    return at * FRAME / RATE


def _nothing(at: int) -> Heard:
    return Heard("", _seconds(at), _seconds(at), _seconds(at))
