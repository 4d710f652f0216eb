from __future__ import annotations

from collections.abc import Callable

import pytest

from voice_server.core.errors import TextTooLong
from voice_server.core.limits import TextLimits
from voice_server.stream.later import Later, Mark


def later(pending_chars: int = 100) -> Later:
    return Later(TextLimits(pending_chars=pending_chars))


def said(kept: Later) -> list[str | Mark]:
    out: list[str | Mark] = []
    while kept:
        out.append(kept.pop())
    return out


def test_everything_comes_back_in_the_order_it_was_said() -> None:
    kept = later()
    kept.push("a")
    kept.mark(Mark.FLUSH)
    kept.push("b")
    kept.mark(Mark.DONE)
    assert said(kept) == ["a", Mark.FLUSH, "b", Mark.DONE]


@pytest.mark.parametrize("mark", Mark)
def test_a_mark_behind_nothing_means_nothing(mark: Mark) -> None:
    kept = later()
    assert not kept.mark(mark)
    assert not kept


def test_a_mark_behind_one_that_says_as_much_means_nothing() -> None:
    kept = later()
    kept.push("a")
    marks = (Mark.FLUSH, Mark.FLUSH, Mark.DONE, Mark.FLUSH, Mark.DONE)
    assert [kept.mark(mark) for mark in marks] == [True, False, True, False, False]
    assert said(kept) == ["a", Mark.FLUSH, Mark.DONE]


def test_text_beyond_the_limit_is_not_taken() -> None:
    kept = later(pending_chars=3)
    kept.push("ab")
    with pytest.raises(TextTooLong):
        kept.push("cd")
    assert said(kept) == ["ab"]


@pytest.mark.parametrize("make_room", [Later.pop, Later.clear])
def test_what_has_left_makes_room_for_more(make_room: Callable[[Later], object]) -> None:
    kept = later(pending_chars=3)
    kept.push("abc")
    make_room(kept)
    kept.push("def")
    assert said(kept) == ["def"]
