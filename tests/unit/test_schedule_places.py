"""What people are told of the line: places, how long they last, and a look at everything at once."""

from __future__ import annotations

from tests.unit.scheduler_desk import FILE, LONG, NOW, A, B, C, D, Desk, E
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.snapshot import Place, RenderState


def full_desk() -> tuple[Desk, Assignment]:
    """A fast worker, which speaks to A: 4 s of 10, of which 1 s was heard. A, B and C wait for it."""
    desk = Desk(1)
    desk.measure(0.05)
    desk.say(A, 0, 1, chars=LONG)
    render = desk.one()
    desk.say(B, now=NOW + 0.5)
    desk.say(C, now=NOW + 0.7)
    desk.scheduler.assign(NOW + 0.7)
    for _ in range(2):
        desk.hear(render, 2.0, NOW)
    return desk, render


def test_a_place_is_by_deadline_among_those_inside() -> None:
    desk, _ = full_desk()
    places = {stream: desk.scheduler.place(stream, NOW + 1.0) for stream in (A, B, C, FILE)}
    assert {stream: place and place.position for stream, place in places.items()} == {A: 3, B: 1, C: 2, FILE: None}


def first_in_line(desk: Desk, audio_s: float) -> Place:
    """Behind so much audio that the worker has still to make."""
    (worker,) = desk.scheduler.snapshot(NOW).workers
    assert worker.rtf
    return Place(1, audio_s * worker.rtf)


def test_the_wait_is_what_the_open_render_has_still_to_say_at_the_speed_of_its_worker() -> None:
    desk, render = full_desk()
    assert desk.scheduler.place(B, NOW + 1.0) == first_in_line(desk, 6.0)
    desk.hear(render, 5.5, NOW + 1.0)
    assert desk.scheduler.place(B, NOW + 1.0) == first_in_line(desk, 0.5)


def test_a_render_that_is_longer_than_it_looked_may_end_at_any_time() -> None:
    desk, render = full_desk()
    desk.hear(render, 16.0, NOW + 1.0)
    assert desk.scheduler.place(B, NOW + 1.0) == Place(1, 0.0)


def test_a_render_that_is_wanted_no_more_takes_no_time() -> None:
    desk, render = full_desk()
    desk.scheduler.stopped(render.render_id, NOW + 1.0)
    assert desk.scheduler.place(B, NOW + 1.0) == Place(1, 0.0)


def test_the_wait_follows_the_voice_that_speaks() -> None:
    desk = Desk(1)
    desk.measure(0.05)
    for stream, voice, audio_s in ((C, "slow", 20.0), (B, "quick", 5.0)):
        desk.say(stream, chars=LONG)
        render = desk.one()
        desk.scheduler.speaks(render.render_id, voice)
        desk.done(render, audio_s, NOW)
        desk.scheduler.clear(stream)
    desk.say(A, chars=LONG)
    desk.scheduler.speaks(desk.one().render_id, "slow")
    desk.say(B)
    desk.scheduler.assign(NOW)
    assert desk.scheduler.place(B, NOW) == first_in_line(desk, 20.0)


def test_a_look_at_everything_shows_who_waits_for_what() -> None:
    desk, render = full_desk()
    desk.scheduler.speaks(render.render_id, "low")
    seen = desk.scheduler.snapshot(NOW + 1.0)
    assert [(one.name, one.open) for one in seen.workers] == [("w0", [render.render_id])]
    assert seen.renders == [RenderState(render.render_id, A, 0, "w0", "low", 4.0, 3.0)]
    assert seen.deadline_misses == 0
    for stream in seen.streams:
        assert stream.place == desk.scheduler.place(stream.stream, NOW + 1.0)
    assert {one.stream: (one.waiting, one.rendered_s, one.ahead_s) for one in seen.streams if one.waiting} == {
        A: (1, 4.0, 3.0),
        B: (1, 0.0, 0.0),
        C: (1, 0.0, 0.0),
    }


# When somebody else may wait


def test_a_place_is_free_when_the_next_one_is_let_in() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    for stream in (A, B, C):
        desk.say(stream)
    desk.start()
    first = desk.scheduler.place(B, NOW)
    assert first
    assert first.eta_s
    assert desk.scheduler.place_free_in_s(NOW) == first.eta_s


def test_nobody_knows_when_a_place_is_free_before_anything_was_measured() -> None:
    desk = Desk(1)
    for stream in (A, B, C, D, E):
        desk.say(stream)
    desk.start()
    assert desk.scheduler.waiting_streams == 4
    assert desk.scheduler.place_free_in_s(NOW) is None


def test_where_all_are_let_in_a_place_is_free_with_the_next_seat() -> None:
    desk, _ = full_desk()
    assert desk.scheduler.place_free_in_s(NOW + 1.0) == first_in_line(desk, 6.0).eta_s


def test_only_who_begins_an_answer_needs_a_place() -> None:
    desk, _ = full_desk()
    assert desk.scheduler.waiting_streams == 2
    assert desk.scheduler.loser(D, 2) == D
    assert desk.scheduler.loser(D, 3) is None
    assert desk.scheduler.loser(A, 0) is None, "it speaks"
    assert desk.scheduler.loser(B, 0) is None, "it has one"


def test_the_latest_of_a_client_with_many_gives_its_place_to_who_has_none() -> None:
    desk = Desk(1)
    for stream in (11, 12, 13):
        desk.scheduler.open_stream(stream, live=True, client="greedy")
    for stream in (A, 11, 12, 13):
        desk.say(stream)
        desk.start()
    assert desk.scheduler.loser(B, 3) == 13
    desk.scheduler.clear(13)
    assert desk.scheduler.loser(B, 3) is None
