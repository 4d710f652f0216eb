"""The soak's judges: a run passes only if everything was looked at, and each broken promise fails it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.soak.answers import CANCELLED, CUT, EXACT, Answer, Ear, Heard, is_made_of, judge, judge_sound
from bench.soak.journal import Journal, Sample
from bench.soak.schedule import DEADLY, KINDS, REHEARSAL, schedule
from bench.soak.verdict import Ending, judge_run, report
from bench.soak.visitors import code_of

HELLO, BYE = "Hello there.", "Goodbye to you."


def owed(sentence: str) -> bytes:
    return sentence.encode() * 4


def sentence(event: str, index: int, text: str = "") -> dict[str, Any]:
    return {"type": "sentence", "event": event, "index": index, "text": text}


def error(code: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "code": code, **more}


def heard(*messages: dict[str, Any] | bytes, close_code: int | None = None) -> Heard:
    """Two sentences were accepted; then came these."""
    got = Heard(close_code=close_code)
    for message in (sentence("accepted", 0, HELLO), sentence("accepted", 1, BYE), *messages):
        got.take(message if isinstance(message, bytes) else json.dumps(message))
    return got


def spoken(index: int, pcm: bytes) -> list[dict[str, Any] | bytes]:
    return [sentence("start", index), pcm, sentence("end", index)]


DONE: dict[str, Any] = {"type": "done"}
FIRST, SECOND = spoken(0, owed(HELLO)), spoken(1, owed(BYE))


def judged(got: Heard) -> tuple[str, str]:
    return judge(got, f"{HELLO} {BYE}", owed)


def test_an_answer_is_exact_when_every_byte_came_and_then_done() -> None:
    assert judged(heard(*FIRST, *SECOND, DONE)) == (EXACT, "")


@pytest.mark.parametrize(
    ("got", "complaint"),
    [
        (heard(*spoken(0, b"h" + owed(HELLO)[1:]), *SECOND, DONE), "sentence 0: wrong audio from byte 0"),
        (heard(*spoken(0, owed(HELLO) * 2), *SECOND, DONE), "sentence 0: wrong audio from byte 48"),
        (heard(*FIRST, *spoken(1, owed(BYE)[:-2]), DONE), "sentence 1: 2 bytes are missing"),
        (heard(*FIRST, DONE), "sentence 1: 60 bytes are missing"),
        (heard(*SECOND, *FIRST, DONE), "out of order"),
        (heard(*FIRST, b"xx", *SECOND, DONE), "2 bytes of audio outside of a sentence"),
        (heard(*FIRST, *SECOND, DONE, DONE), "ended more than once"),
        (heard(*FIRST, *SECOND, close_code=1000), "no word about its end"),
        (heard(*FIRST, *SECOND, DONE, error("poisoned")), "not exactly one word about its end"),
        (heard(*FIRST, error("internal_error"), close_code=1011), "an error that nothing explains"),
        (heard(error("overloaded"), *FIRST, close_code=1013), "the error overloaded did not end it"),
        (heard(error("overloaded"), close_code=1006), "the error overloaded did not end it"),
        (heard(error("overloaded"), error("poisoned"), close_code=1011), "not exactly one word about its end"),
        (heard(*FIRST, error("sentence_failed", sentence=1), close_code=1000), "not exactly one word about its end"),
        (heard(*[error("sentence_failed", sentence=0)] * 2, *SECOND, DONE), "a sentence failed twice"),
        (heard(*spoken(0, b"x"), {"type": "cancelled"}), "sentence 0: wrong audio from byte 0"),
    ],
)
def test_an_answer_is_wrong_when_it_breaks_a_promise(got: Heard, complaint: str) -> None:
    assert complaint in judged(got)[1]


def test_an_answer_is_wrong_when_its_sentences_are_not_what_was_said() -> None:
    assert judge(heard(*FIRST, *SECOND, DONE), f"{HELLO} And {BYE}", owed)[1] == (
        "its sentences are not the text that was said"
    )


def test_a_sentence_may_be_lost_by_an_error_that_names_it() -> None:
    half = spoken(0, owed(HELLO)[:10])
    assert judged(heard(*half, error("sentence_failed", sentence=0), *SECOND, DONE)) == ("sentence_failed", "")


def test_an_answer_may_end_by_one_clear_error() -> None:
    assert judged(heard(*FIRST, error("poisoned"), close_code=1011)) == ("poisoned", "")


def test_a_cancelled_answer_is_the_beginning_of_what_was_owed() -> None:
    assert judged(heard(*spoken(0, owed(HELLO)[:10]), {"type": "cancelled"})) == (CANCELLED, "")


BOTH = [owed(HELLO), owed(BYE)]


@pytest.mark.parametrize(
    ("audio", "errors", "was_cut", "outcome", "is_right"),
    [
        (owed(HELLO) + owed(BYE), [], False, EXACT, True),
        (owed(HELLO) + owed(BYE)[:-1], [], False, EXACT, False),
        (owed(BYE) + owed(HELLO), [], False, EXACT, False),
        (owed(HELLO)[:9], [], True, CUT, True),
        (b"x" + owed(HELLO)[:9], [], True, CUT, False),
        (owed(HELLO)[:9] + owed(BYE), ["GENERATION_FAILED"], False, "sentence_failed", True),
        (b"", ["internal_error"], False, "internal_error", False),
    ],
)
def test_a_sound_is_judged_by_its_bytes_and_its_errors(
    audio: bytes, errors: list[str], was_cut: bool, outcome: str, is_right: bool
) -> None:
    told, wrong = judge_sound(audio, BOTH, errors, was_cut=was_cut)
    assert (told, not wrong) == (outcome, is_right)


def test_beginnings_of_sentences_are_told_from_any_other_bytes() -> None:
    assert is_made_of(owed(HELLO)[:5] + owed(BYE)[:7], BOTH)
    assert not is_made_of(owed(BYE)[:7] + owed(HELLO)[:5], BOTH)


@pytest.mark.parametrize(
    "told",
    [
        {"code": "overloaded"},
        {"error": {"code": "overloaded", "message": "…"}},
        {"error_code": "overloaded", "message": "…"},
        {"type": "Warning", "code": "overloaded"},
        {"error": "overloaded", "message": "…"},
        {"detail": {"status": "…", "code": "overloaded"}},
    ],
)
def test_the_code_of_an_error_is_found_in_the_words_of_every_door(told: dict[str, Any]) -> None:
    assert code_of(told) == "overloaded"
    assert code_of({"type": "chunk", "data": "", "error": None}) == ""


def test_an_ear_hears_the_silence_between_chunks_that_came_too_late() -> None:
    ear = Ear(24_000)
    ear.hear(48_000, now=10.0)  # a second
    ear.hear(48_000, now=10.5)
    ear.hear(48_000, now=12.25)
    ear.hear(48_000, now=13.0)
    assert ear.gap_s == pytest.approx(0.25)


# The run


def good_journal() -> Journal:
    answers = [Answer("WS", EXACT, first_audio_s=0.1, returns=1), Answer("WS", EXACT), Answer("WS", CANCELLED)]
    samples = [Sample(float(second), 100.0 + second % 7, 30, 3) for second in range(1800)]
    return Journal(answers, Counter(dict.fromkeys(KINDS, 2)), samples=samples)


AT_REST = Sample(0.0, 100.0, 30, 3)
GOOD = Ending(True, len(DEADLY) * 2, AT_REST, AT_REST, zombies=0, exit_code=0, orphans=0)


def failed_checks(journal: Journal, ending: Ending = GOOD) -> list[str]:
    return [check.what for check in judge_run("a run", journal, ending).checks if not check.holds]


def test_a_run_in_which_all_held_passes_and_says_so() -> None:
    verdict = judge_run("a run", good_journal(), GOOD)
    assert verdict.holds
    assert report(verdict).startswith("a run: **passed**")
    assert json.loads(report(verdict).splitlines()[-1])["answers"] == {EXACT: 2, CANCELLED: 1}


def test_a_run_in_which_nothing_happened_fails() -> None:
    assert failed_checks(Journal())[:2] == ["every answer exact, or ended by one clear error", "most answers exact"]


def test_one_wrong_answer_fails_the_run_and_is_shown() -> None:
    journal = good_journal()
    journal.answers.append(Answer("WS", EXACT, "wrong audio from byte 7 on"))
    verdict = judge_run("a run", journal, GOOD)
    assert not verdict.holds
    assert "- WS: wrong audio from byte 7 on" in report(verdict)


def test_a_run_that_mostly_apologises_fails() -> None:
    journal = good_journal()
    journal.answers += [Answer("WS", "overloaded")] * 3
    assert failed_checks(journal) == ["most answers exact"]


def test_what_an_attacker_was_owed_and_did_not_get_fails_the_run() -> None:
    journal = good_journal()
    journal.complain("slow client", "not cut off within 90 s")
    assert failed_checks(journal) == ["clients and attackers got what they were owed"]


@pytest.mark.parametrize(
    ("mib_per_10_min", "holds"), [(0.0, True), (0.8, True), (1.2, False), (50.0, False), (-5, True)]
)
def test_memory_that_grows_by_more_than_a_mebibyte_in_ten_minutes_fails_the_run(
    mib_per_10_min: float, holds: bool
) -> None:
    journal = good_journal()
    journal.samples = [one._replace(rss_mib=one.rss_mib + one.at_s / 600 * mib_per_10_min) for one in journal.samples]
    assert failed_checks(journal) == ([] if holds else ["memory grew by little"])


def test_what_memory_does_while_it_warms_up_does_not_count() -> None:
    journal = good_journal()
    journal.samples = [one._replace(rss_mib=min(one.at_s, 59.0)) for one in journal.samples]
    assert failed_checks(journal) == []


def test_a_run_that_is_too_short_to_tell_of_memory_does_not_pass() -> None:
    journal = good_journal()
    del journal.samples[100:]
    assert failed_checks(journal) == ["memory grew by little"]


@pytest.mark.parametrize(("mib_per_min", "holds"), [(1.5, True), (2.5, False)])
def test_a_short_run_may_have_a_peak_but_no_fast_leak(mib_per_min: float, holds: bool) -> None:
    journal = good_journal()
    del journal.samples[180:]
    journal.samples = [one._replace(rss_mib=100 + one.at_s / 60 * mib_per_min) for one in journal.samples]
    assert failed_checks(journal) == ([] if holds else ["memory grew by little"])


def test_a_run_in_which_no_line_broke_fails() -> None:
    journal = good_journal()
    journal.answers[0] = replace(journal.answers[0], returns=0)
    assert failed_checks(journal) == ["lines that broke were taken up again"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda good: replace(good, is_at_rest=False), "all workers back, no stream left"),
        (lambda good: replace(good, after=AT_REST._replace(fds=31)), "file descriptors flat"),
        (lambda good: replace(good, after=AT_REST._replace(threads=40)), "threads bounded"),
        (lambda good: replace(good, deaths=good.deaths + 1), "workers die of faults only"),
        (lambda good: replace(good, deaths=0), "workers die of faults only"),
        (lambda good: replace(good, zombies=1), "no zombie, no orphan"),
        (lambda good: replace(good, orphans=1), "no zombie, no orphan"),
        (lambda good: replace(good, exit_code=-9), "it stops when asked"),
        (lambda good: replace(good, grave_lines=["ERROR …"]), "no error in its log"),
    ],
)
def test_what_is_left_behind_fails_the_run(change: Callable[[Ending], Ending], what: str) -> None:
    assert failed_checks(good_journal(), change(GOOD)) == [what]


# The schedule


def test_the_schedule_is_a_function_of_the_seed() -> None:
    assert schedule(7, 1800, 2) == schedule(7, 1800, 2)
    assert schedule(7, 1800, 2) != schedule(8, 1800, 2)


def test_every_kind_of_fault_strikes_about_as_often_as_any_other() -> None:
    faults = schedule(7, 1800, 2)[len(REHEARSAL) :]
    assert [fault.at_s for fault in faults[:3]] == [2, 4, 6]
    counts = Counter(fault.kind for fault in faults)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 1
