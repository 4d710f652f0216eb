from __future__ import annotations

import pytest

from voice_server.core.scheduling.plan import RenderPlan
from voice_server.core.scheduling.seats import Seats

NOW = 1000.0
KEPT = 0.25


class Office:
    """Seats, and the renders that take them."""

    def __init__(self, *capacities: int) -> None:
        self.seats = Seats(KEPT)
        self.renders: dict[int, RenderPlan] = {}
        self._next = 0
        for number, capacity in enumerate(capacities):
            self.seats.add(f"w{number}", capacity)

    def take(self, worker: str, now: float = NOW, due_at: float = NOW) -> int:
        self._next += 1
        self.renders[self._next] = RenderPlan(self._next, 1, 0, 30, worker, due_at)
        self.seats.take(worker, self._next, now)
        return self._next

    def end(self, render_id: int, now: float, *, complete: bool = True) -> None:
        self.seats.release(render_id, now, complete=complete)
        del self.renders[render_id]

    def work(self, worker: str, rtf: float, now: float = NOW) -> None:
        """One render of 10 s in ten steps, then nothing."""
        render_id = self.take(worker, now)
        for _ in range(10):
            now += rtf
            self.seats.heard(render_id, 1.0, now)
        self.end(render_id, now)

    def choose(self, *, is_first: bool = False, beside: bool = True, now: float = NOW, avoid: str = "") -> str | None:
        return self.seats.choose(self.renders, now, is_first=is_first, beside_others=beside, avoid=avoid)


def test_without_workers_there_is_no_seat() -> None:
    assert Office().choose(is_first=True) is None


def test_an_idle_worker_goes_before_a_seat_beside_others() -> None:
    office = Office(8, 1)
    office.take("w0")
    assert office.choose() == "w1"
    assert office.choose(beside=False) == "w1"


def test_of_idle_workers_the_fastest_is_chosen() -> None:
    office = Office(1, 1)
    office.work("w0", rtf=0.5)
    office.work("w1", rtf=0.2)
    assert office.choose() == "w1"


def test_a_worker_is_avoided_where_another_one_is_free() -> None:
    office = Office(1, 1)
    office.work("w0", rtf=0.5)
    office.work("w1", rtf=0.2)
    assert office.choose(avoid="w1") == "w0"
    office.take("w0")
    assert office.choose(avoid="w1") == "w1"


def test_a_worker_is_avoided_among_seats_beside_others_too() -> None:
    office = Office(2, 2)
    office.take("w0")
    office.take("w1")
    office.take("w1")
    office.seats.add("w2", 3)
    office.take("w2")
    assert office.choose(is_first=True) in ("w0", "w2")
    assert office.choose(is_first=True, avoid="w0") == "w2"
    assert office.choose(is_first=True, avoid="w2") == "w0"


def test_what_is_not_needed_soon_finds_no_seat_beside_others() -> None:
    office = Office(8)
    office.take("w0")
    assert office.choose(beside=False) is None
    assert office.choose() == "w0"


def test_a_worker_of_one_seat_is_full_with_one_render() -> None:
    office = Office(1)
    office.take("w0")
    assert office.choose(is_first=True) is None


def test_the_last_seats_are_kept_for_first_sentences() -> None:
    office = Office(8)
    for _ in range(6):
        assert office.choose() == "w0"
        office.take("w0")
    assert office.choose() is None
    assert office.choose(is_first=True) == "w0"


def test_one_seat_of_a_small_worker_is_kept() -> None:
    office = Office(2)
    office.take("w0")
    assert office.choose() is None
    assert office.choose(is_first=True) == "w0"


def test_kept_seats_end_as_well() -> None:
    office = Office(2)
    office.take("w0")
    office.take("w0")
    assert office.choose(is_first=True) is None


def test_a_seat_is_free_again_when_the_engine_has_let_go() -> None:
    office = Office(1)
    render_id = office.take("w0")
    office.end(render_id, NOW + 1.0, complete=False)
    assert office.choose() == "w0"
    assert office.seats.has_idle


def test_what_can_wait_goes_where_fewest_sit() -> None:
    office = Office(8, 8)
    office.take("w0")
    office.take("w0")
    office.take("w1")
    assert office.choose() == "w1"


def test_a_first_sentence_goes_to_the_worker_that_frees_first() -> None:
    office = Office(8, 8)
    one, other = office.take("w0"), office.take("w1")
    for step in range(1, 11):
        office.seats.heard(one, 1.0, NOW + 0.5 * step)
        office.seats.heard(other, 1.0, NOW + 0.5 * step + (0.1 if step == 10 else 0.0))
    office.renders[one].due_at = office.renders[other].due_at = NOW + 60.0
    assert office.choose(is_first=True, now=NOW + 5.15) == "w0"  # w1 has only just begun its next step


def test_a_first_sentence_avoids_a_worker_on_which_more_is_overdue() -> None:
    office = Office(8, 8)
    for worker in ("w0", "w1"):
        render_id = office.take(worker)
        for step in range(1, 3):
            office.seats.heard(render_id, 1.0, NOW + 0.5 * step)
        office.renders[render_id].due_at = NOW + (0.0 if worker == "w0" else 60.0)
    assert office.choose(is_first=True, now=NOW + 1.0) == "w1"


def test_a_gone_worker_has_no_seats() -> None:
    office = Office(8)
    office.take("w0")
    office.seats.remove("w0")
    assert office.choose(is_first=True) is None
    assert office.seats.count == 0


def test_the_last_render_of_a_gone_worker_leaves_no_seat() -> None:
    office = Office(2)
    render = office.take("w0")
    office.seats.remove("w0")
    office.end(render, NOW + 1.0)
    assert office.choose(is_first=True) is None


def test_a_worker_that_comes_back_under_its_name_starts_with_all_its_seats() -> None:
    office = Office(1)
    office.end(office.take("w0"), NOW, complete=False)
    office.seats.remove("w0")
    office.seats.add("w0", 2)
    office.take("w0")
    assert office.choose(is_first=True) == "w0"


# Speed


def test_a_worker_that_steps_several_renders_is_as_fast_as_all_of_them_together() -> None:
    office = Office(4)
    renders, now = [office.take("w0") for _ in range(4)], NOW
    for _ in range(20):
        for render_id in renders:
            now += 0.02
            office.seats.heard(render_id, 0.1, now)
    (state,) = office.seats.states()
    assert state.rtf == pytest.approx(0.2)
    assert office.seats.supply(unmeasured=1.0) == pytest.approx(5.0)


def test_a_cancelled_render_does_not_slow_a_worker_down() -> None:
    office = Office(1)
    office.work("w0", rtf=0.2)
    office.end(office.take("w0", NOW + 10.0), NOW + 40.0, complete=False)
    assert office.seats.states()[0].rtf == pytest.approx(0.2)


def test_a_worker_that_was_not_measured_is_taken_for_so_much() -> None:
    office = Office(1, 1)
    assert not office.seats.is_measured
    office.work("w0", rtf=0.5)
    assert office.seats.is_measured
    assert office.seats.supply(unmeasured=4.0) == pytest.approx(2.0 + 4.0)


def test_audio_comes_in_whole_sentences_where_renders_are_not_stepped() -> None:
    office = Office(1)
    office.work("w0", rtf=0.3)
    assert office.seats.grain_s == pytest.approx(10.0)
    office.seats.add("w1", 4)
    assert office.seats.grain_s == 0.0


def test_work_is_shared_by_all_workers() -> None:
    office = Office(1, 1)
    office.work("w0", rtf=0.5)
    office.work("w1", rtf=0.5)
    assert office.seats.work_s(8.0) == pytest.approx(2.0)
    assert Office().seats.work_s(8.0) == 0.0


def test_the_wait_for_a_seat_is_until_enough_others_have_ended() -> None:
    office = Office(1, 1)
    for worker, rtf in (("w0", 0.5), ("w1", 0.25)):
        office.work(worker, rtf)
        office.take(worker, NOW + 10.0)
    assert [office.seats.wait_s(before, lambda _: 4.0) for before in (0, 1, 9)] == pytest.approx([1.0, 2.0, 2.0])


def test_nobody_knows_the_wait_before_anything_was_measured() -> None:
    office = Office(1)
    office.take("w0")
    assert office.seats.wait_s(0, lambda _: 4.0) is None


def test_a_worker_that_holds_less_keeps_its_renders_and_gets_no_more() -> None:
    office = Office(8)
    one, other = office.take("w0"), office.take("w0")
    office.seats.resize("w0", 1)
    assert office.choose(is_first=True) is None
    office.end(one, NOW)
    assert office.choose(is_first=True) is None
    office.end(other, NOW)
    assert office.choose() == "w0"
    assert [state.capacity for state in office.seats.states()] == [1]


def test_one_that_gets_no_more_renders_may_still_say_that_it_holds_less() -> None:
    office = Office(8)
    office.seats.remove("w0")
    office.seats.resize("w0", 1)
    assert office.seats.states() == []
