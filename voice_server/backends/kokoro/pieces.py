"""Long sentences in pieces: the model says a text at once, so the first piece decides when something is heard.

Cut is the phoneme string, not the text: pronunciation and the readings of numbers have seen the whole sentence. Each
piece may be twice as long as all that is spoken before it, which keeps an engine of twice real time ahead of its
listener; and none is so long that a cancel would wait for seconds.
"""

from __future__ import annotations

import re
from typing import List

_WHOLE = 60  # phonemes, about 4 s: shorter sentences stay whole
_LEAST = 20  # of a piece: shorter ones sound like a word of their own
_GROWTH = 2
_MOST = 150  # about 10 s of audio, 3 s of work
_CLAUSE = re.compile(r"(?<=[,;:.!?—…])\s+")
_PAUSE_S = {",": 0.12, ";": 0.18, ":": 0.18, "—": 0.18}  # behind a piece, as the model itself makes it
_FULL_STOP_S = 0.3


def cut(phonemes: str) -> List[str]:
    """The pieces, each to be spoken at once. All of the string but blanks is in them."""
    if len(phonemes) <= _WHOLE:
        return [phonemes]
    pieces: List[str] = []
    piece, spoken = "", 0
    clauses = [part for clause in _CLAUSE.split(phonemes.strip()) for part in _bounded(clause)]
    for number, clause in enumerate(clauses):
        longest = min(_MOST, max(_LEAST, _GROWTH * spoken))
        is_rest_short = sum(map(len, clauses[number:])) < _LEAST
        longer = f"{piece} {clause}".strip()
        if len(piece) >= _LEAST and len(longer) > longest and not is_rest_short:
            pieces.append(piece)
            spoken += len(piece) + 1
            piece = clause
        else:
            piece = longer
    return [*pieces, piece]


def pause_s(piece: str) -> float:
    """The silence between a piece and the next."""
    mark = piece[-1:]
    if mark in _PAUSE_S:
        return _PAUSE_S[mark]
    return _FULL_STOP_S if mark in ".!?…" else 0.0


def _bounded(clause: str) -> List[str]:
    """A clause without marks for very long, cut at blanks, or anywhere where there are none."""
    parts = []
    while len(clause) > _MOST:
        blank = clause.rfind(" ", _MOST // 2, _MOST)
        end = blank if blank > 0 else _MOST
        parts.append(clause[:end])
        clause = clause[end:].strip()
    return [*parts, clause]
