"""Whether a run passed: pure judgement of its journal, and the report.

Promises: nothing is called right that was not looked at: a run without answers, faults or samples fails, and so
does one of under two minutes, which is too short to tell anything of memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.soak.answers import CANCELLED, CUT, EXACT, Answer
from bench.soak.journal import Journal, Sample
from bench.soak.schedule import DEADLY

WARM_UP_S = 60.0  # of a run, in which memory may grow: pools of threads, caches, arenas
RSS_MIB, RSS_PER_S = 1.0, 600.0  # the growth that is allowed, in so much time
RSS_SHORT_MIB = 4.0  # the same of a shorter run, which cannot tell a slow leak from the peak of a crowd
THREADS = 16  # that may come: the loop's own pool for what blocks
GAP_S = 0.01  # shorter silence is jitter
SHOWN = 10  # complaints
RSS_SHOWN_S = 30  # between two samples of memory in the JSON line


@dataclass(frozen=True, slots=True)
class Ending:
    """What was seen when all clients had left."""

    is_at_rest: bool  # all workers ready, no stream, no render
    deaths: int  # of workers
    before: Sample  # the first client
    after: Sample  # the last one
    zombies: int
    exit_code: int
    orphans: int
    grave_lines: Sequence[str] = ()  # of its log
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    seen: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    title: str
    journal: Journal
    ending: Ending
    checks: list[Check] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def judge_run(title: str, journal: Journal, ending: Ending) -> Verdict:
    wrong = [answer for answer in journal.answers if answer.wrong]
    deadly = sum(journal.struck[kind] for kind in DEADLY)
    returns = sum(answer.returns for answer in journal.answers)
    checks = [
        Check(
            "every answer exact, or ended by one clear error",
            f"{len(wrong)} wrong",
            bool(journal.answers) and not wrong,
        ),
        Check("most answers exact", f"{_share(journal.answers):.1%}", _share(journal.answers) > 0.5),
        Check(
            "clients and attackers got what they were owed",
            f"{len(journal.complaints)} did not",
            not journal.complaints,
        ),
        Check("lines that broke were taken up again", f"{returns} times", returns > 0),
        _check_memory(journal.samples),
        Check(
            "file descriptors flat", f"{ending.before.fds} → {ending.after.fds}", ending.after.fds == ending.before.fds
        ),
        _check_threads(ending),
        Check("all workers back, no stream left", "yes" if ending.is_at_rest else "no", ending.is_at_rest),
        Check(
            "workers die of faults only", f"{ending.deaths} deaths, {deadly} deadly faults", 0 < ending.deaths <= deadly
        ),
        Check("no zombie, no orphan", f"{ending.zombies}, {ending.orphans}", not ending.zombies and not ending.orphans),
        Check("it stops when asked", f"exit code {ending.exit_code}", ending.exit_code == 0),
        Check("no error in its log", f"{len(ending.grave_lines)} lines", not ending.grave_lines),
    ]
    return Verdict(title, journal, ending, checks)


def _share(answers: Sequence[Answer]) -> float:
    return sum(answer.outcome == EXACT and not answer.wrong for answer in answers) / max(1, len(answers))


def _check_memory(samples: Sequence[Sample]) -> Check:
    """Growth by least squares: what is left when the ups and downs of single streams cancel out."""
    warm = [sample for sample in samples if sample.at_s >= WARM_UP_S]
    span_s = warm[-1].at_s - warm[0].at_s if warm else 0.0
    if span_s < WARM_UP_S:
        return Check("memory grew by little", f"too short to tell: {span_s:.0f} s behind the warm-up", holds=False)
    slope = slope_mib_per_s(warm)
    allowed_mib = RSS_MIB * span_s / RSS_PER_S if span_s >= RSS_PER_S else RSS_SHORT_MIB
    seen = (
        f"{slope * RSS_PER_S:+.2f} MiB per 10 min, {slope * span_s:+.2f} of {allowed_mib:.1f} in {span_s / 60:.1f} min"
    )
    return Check("memory grew by little", seen, slope * span_s < allowed_mib)


def _check_threads(ending: Ending) -> Check:
    seen = f"{ending.before.threads} → {ending.after.threads}"
    return Check("threads bounded", seen, ending.after.threads <= ending.before.threads + THREADS)


def slope_mib_per_s(samples: Sequence[Sample]) -> float:
    times = np.array([sample.at_s for sample in samples])
    return float(np.polyfit(times - times.mean(), [sample.rss_mib for sample in samples], 1)[0])


# The report


def report(verdict: Verdict) -> str:
    """In Markdown, with the run as a line of JSON at its end."""
    journal = verdict.journal
    parts = [
        f"{verdict.title}: **{'passed' if verdict.holds else 'FAILED'}**",
        table(["", "seen", ""], [[one.what, one.seen, "yes" if one.holds else "**NO**"] for one in verdict.checks]),
        _answers(journal.answers),
        table(["fault", "times"], [[kind, str(count)] for kind, count in sorted(journal.struck.items())]),
        _listening(journal.answers),
        *_complaints(verdict),
        json.dumps(as_json(verdict)),
    ]
    return "\n\n".join(part for part in parts if part)


def _answers(answers: Sequence[Answer]) -> str:
    clear = sorted({answer.outcome for answer in answers if not answer.wrong} - {EXACT, CANCELLED, CUT})
    outcomes = [EXACT, CANCELLED, *clear, CUT, "wrong"]
    counts = {door: Counter(_outcome(one) for one in answers if one.door == door) for door in _doors(answers)}
    rows = [[door, *(str(counted[outcome] or "") for outcome in outcomes)] for door, counted in counts.items()]
    total = sum(counts.values(), Counter[str]())
    return table(["door", *outcomes], [*rows, ["all", *(str(total[outcome]) for outcome in outcomes)]])


def _outcome(answer: Answer) -> str:
    return "wrong" if answer.wrong else answer.outcome


def _doors(answers: Sequence[Answer]) -> list[str]:
    return sorted({answer.door for answer in answers})


def _listening(answers: Sequence[Answer]) -> str:
    told = figures(answers)
    return (
        f"First audio on `/stream-tokens`: p50 {told['first_audio_p50_ms']:.0f} ms, "
        f"p95 {told['first_audio_p95_ms']:.0f} ms. Without a gap: {told['gap_free']:.1%} of the answers heard."
    )


def figures(answers: Sequence[Answer]) -> dict[str, float]:
    heard = [answer for answer in answers if answer.first_audio_s is not None]
    first_ms = [1000 * (answer.first_audio_s or 0.0) for answer in heard] or [0.0]
    p50, p95 = np.percentile(first_ms, [50, 95])
    gap_free = sum(answer.gap_s < GAP_S for answer in heard) / max(1, len(heard))
    return {"first_audio_p50_ms": float(p50), "first_audio_p95_ms": float(p95), "gap_free": gap_free}


def _complaints(verdict: Verdict) -> Iterable[str]:
    wrong = [f"{answer.door}: {answer.wrong}" for answer in verdict.journal.answers if answer.wrong]
    for complaints in (wrong, verdict.journal.complaints, list(verdict.ending.grave_lines)):
        yield "\n".join(f"- {complaint}" for complaint in complaints[:SHOWN])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def as_json(verdict: Verdict) -> dict[str, Any]:
    outcomes = Counter(_outcome(answer) for answer in verdict.journal.answers)
    told = {key: round(value, 3) for key, value in figures(verdict.journal.answers).items()}
    seen = {check.what: check.seen for check in verdict.checks}
    more = {"missed": dict(verdict.journal.missed), "warnings": verdict.ending.warnings}
    return {
        "bench": "soak",
        "holds": verdict.holds,
        "answers": dict(outcomes),
        "faults": dict(verdict.journal.struck),
        **told,
        **more,
        "rss_mib": [round(sample.rss_mib, 1) for sample in verdict.journal.samples[::RSS_SHOWN_S]],
        "checks": seen,
    }
