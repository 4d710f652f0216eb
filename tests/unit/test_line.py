from __future__ import annotations

from voice_server.core.scheduling.line import Line

A, B, C = 1, 2, 3


def line(**keys: float) -> tuple[Line, dict[int, float | None]]:
    """A line, and what is true of its streams now."""
    true_keys: dict[int, float | None] = {{"a": A, "b": B, "c": C}[name]: key for name, key in keys.items()}
    made = Line()
    for stream, key in true_keys.items():
        assert key is not None
        made.put(stream, key)
    return made, true_keys


def test_the_smallest_key_is_first() -> None:
    made, keys = line(a=5.0, b=2.0, c=8.0)
    assert made.head(keys.get) == B


def test_who_is_first_stays_in_line() -> None:
    made, keys = line(a=5.0)
    assert made.head(keys.get) == made.head(keys.get) == A
    assert A in made


def test_who_leaves_is_not_in_line_any_more() -> None:
    made, keys = line(a=5.0, b=2.0)
    made.leave(B)
    assert made.head(keys.get) == A
    assert B not in made
    assert len(made) == 1


def test_who_becomes_more_urgent_moves_to_the_front() -> None:
    made, keys = line(a=5.0, b=2.0)
    keys[A] = 1.0
    made.put(A, 1.0)
    assert made.head(keys.get) == A


def test_who_became_less_urgent_is_seen_to_at_the_head() -> None:
    made, keys = line(a=1.0, b=2.0)
    keys[A] = 3.0
    assert made.head(keys.get) == B
    made.leave(B)
    assert made.head(keys.get) == A


def test_a_later_key_does_not_move_anyone_back_before_its_turn() -> None:
    made, keys = line(a=1.0, b=2.0)
    made.put(A, 9.0)
    assert made.head(keys.get) == A


def test_who_has_no_key_any_more_leaves_on_the_way() -> None:
    made, keys = line(a=1.0, b=2.0)
    keys[A] = None
    assert made.head(keys.get) == B
    assert A not in made


def test_who_comes_back_has_one_place_only() -> None:
    made, keys = line(a=1.0)
    made.leave(A)
    made.put(A, 1.0)
    assert made.head(keys.get) == A
    made.leave(A)
    assert made.head(keys.get) is None


def test_an_empty_line_has_no_head() -> None:
    made, keys = line()
    assert made.head(keys.get) is None


def test_who_comes_and_goes_for_ever_leaves_nothing_behind() -> None:
    made, keys = line(a=5.0)
    for number in range(10_000):
        made.put(B, 2.0 + number)
        made.leave(B)
    assert len(made._heap) < 100
    assert made.head(keys.get) == A


def test_the_order_holds_whatever_came_and_went_meanwhile() -> None:
    made, keys = line(a=5.0, b=2.0, c=8.0)
    for number in range(1000):
        made.leave(B)
        keys[B], keys[C] = 9.0 - number % 7, 8.0 - number / 1000
        made.put(B, keys[B])
        made.put(C, keys[C])
    order = [made.head(keys.get)]
    for _ in range(3):
        made.leave(order[-1] or 0)
        order.append(made.head(keys.get))
    assert order == [B, A, C, None]
