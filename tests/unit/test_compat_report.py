from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat.report import PAGE, ROWS, Report, Row, RowFile, from_json, merge, page, to_json

WORKS = Row("a client", "says hello", "1.0", "works", "test_a.py", 0.5)
FAILS = Row("a client", "says hello", "1.0", "fails: TimeoutError", "test_a.py", 9.0)
OTHER = Row("other", "says goodbye", "2.0", "works", "test_b.py", 0.1)
GONE = Row("a client", "said something once", "0.9", "works", "test_a.py", 0.1)


def test_the_page_is_what_the_rows_make_and_nothing_written_by_hand() -> None:
    assert PAGE.read_text() == page(from_json(ROWS.read_text()))


def test_rows_stand_in_one_order_whatever_order_they_came_in() -> None:
    assert page([OTHER, WORKS]) == page([WORKS, OTHER])
    assert to_json([OTHER, WORKS]) == to_json([WORKS, OTHER])


def test_rows_survive_being_written_and_read() -> None:
    assert from_json(to_json([WORKS, OTHER])) == [WORKS, OTHER]


def test_what_a_test_file_said_before_is_forgotten_when_it_runs_again() -> None:
    assert sorted(merge([GONE, OTHER], [WORKS])) == [WORKS, OTHER]


@pytest.mark.parametrize("seen", [[WORKS, FAILS], [FAILS, WORKS]])
def test_who_fails_once_fails(seen: list[Row]) -> None:
    assert merge([], seen) == [FAILS]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert "this \\| that" in page([Row("a", "this | that", "1", "works", "t", 0.0)])


def test_a_block_that_ends_is_noted_as_working(tmp_path: Path) -> None:
    with Report(RowFile(tmp_path / "rows.json"), "test_a.py")("a client", "1.0", "says hello"):
        pass
    (row,) = from_json((tmp_path / "rows.json").read_text())
    assert (row.client, row.version, row.what, row.result, row.test) == (
        "a client",
        "1.0",
        "says hello",
        "works",
        "test_a.py",
    )


def test_a_block_that_raises_is_noted_as_failing_and_fails_its_test(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        with Report(RowFile(tmp_path / "rows.json"), "test_a.py")("a client", "1.0", "divides"):
            raise ZeroDivisionError
    (row,) = from_json((tmp_path / "rows.json").read_text())
    assert row.result == "fails: ZeroDivisionError"
