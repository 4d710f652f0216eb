"""What cutting text into sentences costs: `python bench/splitter.py` prints a table and one JSON line."""

from __future__ import annotations

import json
import time

from voice_server.core.text.sentences import SentenceSplitter

PROSE = (
    "Hello there. I went to see Dr. Smith at 5 p.m. as the pain, etc. was bad! He said: “That's 3.14 times worse.” "
    "See https://example.com/a.b?q=1 for more... or not?\n1. First of all, rest.\n2. Drink water, e.g. from Evian. "
)
HOSTILE = {
    "dots": ".",
    "list markers": "1. ",
    "abbreviations": "etc. We ",
    "initials": "A. ",
    "quotes": '"',
    "closing quotes": 'a." ',
    "brackets": "[(",
    "references": "a.[1",
    "combining": "\u0301",
    "joiners": "\U0001f468\u200d",
    "NUL": "\0",
    "placeholders": "∯ ȸ ♨ ☉ etc. We ",
    "spaces": " ",
    "newlines": "\n",
    "no stop": "word ",
    "no space": "x",
}


def repeat(pattern: str, chars: int) -> str:
    return (pattern * (chars // len(pattern) + 1))[:chars]


def feed(text: str) -> tuple[float, float]:
    """Push text in tokens of one character; return total and worst single push, in ms."""
    splitter = SentenceSplitter()
    worst = 0.0
    started = time.perf_counter()
    for character in text:
        before = time.perf_counter()
        splitter.push(character)
        worst = max(worst, time.perf_counter() - before)
    splitter.flush()
    return (time.perf_counter() - started) * 1e3, worst * 1e3


def best_of(runs: int, text: str) -> tuple[float, float]:
    """The least total and least worst push: the machine's other work only ever adds."""
    totals, worsts = zip(*(feed(text) for _ in range(runs)), strict=True)
    return min(totals), min(worsts)


def main() -> None:
    best_of(1, repeat(PROSE, 4_000))  # pysbd compiles its expressions on first use
    total_ms, worst_ms = best_of(5, repeat(PROSE, 4_000))
    megabyte_ms, _ = feed(repeat(PROSE, 1_000_000))
    print(f"{'text, tokens of one character':32}{'chars':>10}{'total ms':>10}{'worst push ms':>15}")
    print(f"{'prose':32}{4_000:10}{total_ms:10.1f}{worst_ms:15.2f}")
    print(f"{'prose':32}{1_000_000:10}{megabyte_ms:10.1f}{'':>15}")
    hostile_worst_ms = 0.0
    for name, pattern in HOSTILE.items():
        hostile_ms, push_ms = best_of(2, repeat(pattern, 20_000))
        hostile_worst_ms = max(hostile_worst_ms, push_ms)
        print(f"{name:32}{20_000:10}{hostile_ms:10.1f}{push_ms:15.2f}")
    result = {
        "bench": "splitter",
        "total_ms_4000_chars": round(total_ms, 2),
        "ratio_1mb": round(megabyte_ms / total_ms, 1),
        "worst_push_ms": round(worst_ms, 3),
        "worst_push_hostile_ms": round(hostile_worst_ms, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
