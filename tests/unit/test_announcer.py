from __future__ import annotations

from voice_server.terminal.announcer import stages

WAITS = "waits for a node with room: 1 GPU, 4 CPUs"


def test_workers_that_wait_for_the_same_are_told_in_one_line() -> None:
    assert stages({(WAITS, "big-1"), (WAITS, "big-0"), ("loading", "big-2")}) == [
        "big-2: loading",
        f"big-0, big-1: {WAITS}",
    ]


def test_of_many_workers_some_are_named_and_the_others_counted() -> None:
    assert stages({(WAITS, f"big-{number}") for number in range(9)}) == [f"big-0, big-1, big-2 and 6 more: {WAITS}"]


def test_a_worker_that_waits_for_its_turn_is_not_worth_a_line() -> None:
    assert stages({("", "big-0")}) == []
