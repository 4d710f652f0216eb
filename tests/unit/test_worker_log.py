from __future__ import annotations

import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cost import costs_less
from voice_server.core.limits import WorkerLimits
from voice_server.pool.worker_log import WorkerLog

LIMITS = WorkerLimits(log_bytes=200, log_lines_per_s=3, log_line_bytes=20)
NOW = 1000.0


class Lines(logging.Handler):
    """Keeps what reaches our log."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def logged(*feeds: tuple[bytes, float], limits: WorkerLimits = LIMITS) -> list[str]:
    """The lines in our log when a worker printed these bytes at these times."""
    logger, lines = logging.getLogger("voice_server.worker"), Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        log = WorkerLog("w0", limits)
        for data, now in feeds:
            log.feed(data, now)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)
    return lines.messages


def tail(*data: bytes, lines: int = 20) -> str:
    log = WorkerLog("w0", LIMITS)
    for part in data:
        log.feed(part, NOW)
    return log.tail(lines)


def test_each_line_is_logged_with_the_workers_name() -> None:
    assert logged((b"one\ntwo\n", NOW)) == ["w0: one", "w0: two"]


def test_a_line_may_come_in_pieces() -> None:
    assert logged((b"on", NOW), (b"e\ntw", NOW), (b"o", NOW), (b"\n", NOW)) == ["w0: one", "w0: two"]


def test_an_open_line_is_not_logged_yet() -> None:
    assert logged((b"one\ntwo", NOW)) == ["w0: one"]


def test_empty_lines_are_left_out() -> None:
    assert logged((b"\n  \none\n", NOW)) == ["w0: one"]


@pytest.mark.parametrize("pieces", [(b"x" * 90 + b"\n",), (b"x" * 15, b"x" * 15, b"x" * 60, b"\n")])
def test_a_long_line_is_cut(pieces: tuple[bytes, ...]) -> None:
    assert logged(*((piece, NOW) for piece in pieces)) == ["w0: " + "x" * 20]


def test_more_lines_than_allowed_are_counted_and_told_in_the_next_second() -> None:
    said = logged((b"1\n2\n3\n4\n5\n", NOW), (b"6\n7\n", NOW + 0.9), (b"8\n", NOW + 1.0))
    assert said == ["w0: 1", "w0: 2", "w0: 3", "w0: 4 more lines were not logged", "w0: 8"]


def test_lines_left_out_do_not_run_into_the_next_one() -> None:
    said = logged((b"1\n2\n3\nbegun, ", NOW), (b"ended\n", NOW), (b"next\n", NOW + 1.0))
    assert said == ["w0: 1", "w0: 2", "w0: 3", "w0: 1 more lines were not logged", "w0: next"]


@pytest.mark.parametrize("line", [b"\n", b"a\n"])
def test_a_flood_of_short_lines_costs_no_more_than_counting_them(line: bytes) -> None:
    data = line * (256 * 1024 // len(line))
    # splitting it costs 18 times as much at least
    assert costs_less(lambda: logged((data, NOW)), 5, lambda: (data.count(b"\n"), bytes(bytearray(data))))


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        (b"\xff\xfe", "w0: \\xff\\xfe"),
        (b"\x1b[31mred", "w0: \\x1b[31mred"),
        (b"10%\r20%", "w0: 10%\\x0d20%"),
        (b"windows\r", "w0: windows"),
        ("grün".encode(), "w0: grün"),
        (b"a\x00b", "w0: a\\x00b"),
    ],
)
def test_what_cannot_be_printed_is_escaped(printed: bytes, told: str) -> None:
    assert logged((printed + b"\n", NOW)) == [told]


def test_the_tail_holds_the_last_lines_also_an_open_one() -> None:
    assert tail(b"one\ntwo\nthr", b"ee", lines=2) == "two\nthree"


def test_the_tail_holds_lines_that_were_not_logged() -> None:
    assert tail(b"1\n2\n3\n4\n5\n").splitlines() == ["1", "2", "3", "4", "5"]


def test_the_tail_forgets_what_is_older_than_its_bytes() -> None:
    assert tail(b"old\n" * 100, b"x" * LIMITS.log_bytes) == "x" * LIMITS.log_bytes


@given(st.lists(st.tuples(st.binary(max_size=300), st.sampled_from([NOW, NOW + 1, NOW + 2])), max_size=20))
def test_any_bytes_give_few_short_printable_lines(feeds: list[tuple[bytes, float]]) -> None:
    feeds.sort(key=lambda fed: fed[1])
    said = logged(*feeds)
    assert len([line for line in said if not line.endswith("more lines were not logged")]) <= 3 * LIMITS.log_lines_per_s
    assert all(line.isprintable() and len(line) <= len("w0: ") + 4 * LIMITS.log_line_bytes for line in said)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_the_tail_is_printable_and_bounded(parts: list[bytes]) -> None:
    kept = tail(*parts)
    assert kept.replace("\n", "").isprintable()
    assert len(kept) <= 4 * LIMITS.log_bytes


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_where_the_bytes_are_cut_does_not_matter(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(places)]
    assert logged(*((piece, NOW) for piece in pieces)) == logged((data, NOW))
