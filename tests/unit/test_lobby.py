from __future__ import annotations

from voice_server.core.scheduling.lobby import Lobby

ANN, BOB, EVE = "ann", "bob", "eve"


def lobby(*clients: str) -> Lobby:
    """The streams 1, 2, ... of these clients, in the order they came."""
    made = Lobby()
    for stream, client in enumerate(clients, 1):
        made.come(stream, client)
    return made


def test_of_equals_the_one_who_came_first_is_next() -> None:
    assert lobby(ANN, BOB).next == 1


def test_the_client_with_the_fewest_inside_goes_first() -> None:
    made = lobby(EVE, EVE, EVE, BOB)
    made.enter(1, EVE)
    assert made.next == 4


def test_an_answer_that_ended_counts_no_more() -> None:
    made = lobby(EVE, EVE, BOB)
    made.enter(1, EVE)
    made.leave(EVE)
    assert made.next == 2


def test_who_enters_or_gives_up_waits_no_more() -> None:
    made = lobby(ANN, BOB)
    made.enter(1, ANN)
    made.give_up(2)
    assert len(made) == 0
    assert 1 not in made
    assert 2 not in made


def test_giving_up_without_having_come_changes_nothing() -> None:
    made = lobby(ANN)
    made.give_up(7)
    assert made.next == 1


def test_all_stand_in_the_order_in_which_they_would_be_let_in() -> None:
    made = lobby(EVE, EVE, BOB, ANN)
    made.enter(1, EVE)
    assert made.order == [3, 4, 2]
