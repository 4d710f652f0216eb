from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.cost import costs_less
from voice_server.core.scheduling.places import Places

ANN, BOB, EVE = "ann", "bob", "eve"


def line(*clients: str) -> Places:
    """The streams 1, 2, ... of these clients, in the order they came."""
    made = Places()
    for stream, client in enumerate(clients, 1):
        made.take(stream, client)
    return made


def test_nobody_goes_while_there_is_room() -> None:
    assert line(EVE, EVE, EVE).loser(9, BOB, 4) is None


def test_in_a_full_line_the_latest_of_the_client_that_has_the_most_goes() -> None:
    assert line(EVE, EVE, BOB, EVE).loser(9, ANN, 4) == 4


def test_who_fills_the_line_is_refused_himself() -> None:
    assert line(EVE, EVE, EVE, ANN).loser(9, EVE, 4) == 9


def test_a_client_takes_no_place_of_one_that_would_have_fewer_then() -> None:
    assert line(EVE, EVE, BOB).loser(9, BOB, 3) == 9


def test_a_line_of_one_place_is_first_come_first_served() -> None:
    assert line(EVE).loser(9, BOB, 1) == 9


def test_where_nobody_may_wait_everyone_is_refused() -> None:
    assert line().loser(9, BOB, 0) == 9


def drained(places: Places, inside: dict[str, int]) -> list[int]:
    """In which order they are served, where whoever is inside stays there."""
    return [places.pop(inside) for _ in range(len(places))]


def test_clients_are_served_in_turns() -> None:
    assert drained(line(EVE, EVE, EVE, BOB, ANN, BOB), {}) == [1, 4, 5, 2, 6, 3]


def test_who_has_fewer_inside_goes_before_who_came_earlier() -> None:
    assert drained(line(EVE, EVE, BOB, ANN), {EVE: 2, BOB: 1}) == [4, 3, 1, 2]


def test_who_has_left_has_no_place_and_may_leave_again() -> None:
    places = line(EVE, BOB)
    places.leave(1)
    places.leave(1)
    assert (len(places), 1 in places, 2 in places) == (1, False, True)


class Waiting:
    """A line of streams by the rule, written down in the order they came."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.places = Places()
        self.inside: list[tuple[int, str]] = []
        self.came = 0

    @property
    def counts(self) -> Counter[str]:
        return Counter(client for _, client in self.inside)

    def come(self, client: str) -> int | None:
        self.came += 1
        loser = self.places.loser(self.came, client, self.room)
        if loser is not None and loser != self.came:
            self.leave(loser)
        if loser != self.came:
            self.places.take(self.came, client)
            self.inside.append((self.came, client))
        return loser

    def leave(self, stream: int) -> None:
        self.places.leave(stream)
        self.inside = [one for one in self.inside if one[0] != stream]


CLIENTS = st.sampled_from([*"aaaa", *"bb", *"cdefgh"])
STEPS = st.lists(st.tuples(CLIENTS, st.none() | st.integers(0, 7)), max_size=80)


@given(st.integers(1, 8), STEPS)
def test_no_client_keeps_another_one_out_and_order_within_a_client_is_kept(
    room: int, steps: list[tuple[str, int | None]]
) -> None:
    waiting = Waiting(room)
    for client, leaving in steps:
        before, streams = waiting.counts, list(waiting.inside)
        loser = waiting.come(client)
        most = max(before.values(), default=0)
        if loser == waiting.came:
            assert before.total() == room
            assert most <= before[client] + 1, "refused, though somebody has more than a place more"
        elif loser is not None:
            (robbed,) = (other for stream, other in streams if stream == loser)
            assert before[robbed] == most
            assert waiting.counts[robbed] >= waiting.counts[client], "who lost a place has fewer than who took it"
            assert loser == max(stream for stream, other in streams if other == robbed)
        assert len(waiting.places) == len(waiting.inside) <= room
        if leaving is not None and leaving < len(waiting.inside):
            waiting.leave(waiting.inside[leaving][0])


@given(st.integers(2, 8), st.lists(st.just("eve"), min_size=8, max_size=30), st.integers(1, 8))
def test_whoever_comes_after_one_that_filled_the_line_gets_half_of_it(room: int, filled: list[str], many: int) -> None:
    waiting = Waiting(room)
    for client in [*filled, *["bob"] * many]:
        waiting.come(client)
    assert waiting.counts["bob"] == min(many, room // 2)


@given(st.lists(CLIENTS, min_size=1, max_size=40))
def test_who_waits_with_one_stream_is_sent_away_by_nobody(clients: list[str]) -> None:
    waiting = Waiting(8)
    for client in clients:
        before = dict(waiting.inside)
        loser = waiting.come(client)
        if loser in before:
            assert list(before.values()).count(before[loser]) > 1


def test_a_refusal_costs_no_look_at_each_stream_that_waits() -> None:
    short, long = line(*[EVE] * 100), line(*[EVE] * 10_000)

    def ask(places: Places) -> None:
        for _ in range(2000):
            places.loser(0, BOB, 100)

    assert costs_less(lambda: ask(long), 10, lambda: ask(short))
