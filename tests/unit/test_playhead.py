from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio.playhead import Playhead


def played(*chunks: tuple[float, float]) -> Playhead:
    """A playhead started at 0 that got (arrival, duration)."""
    playhead = Playhead()
    playhead.start(0.0)
    for now, duration_s in chunks:
        playhead.arrive(duration_s, now)
    return playhead


def test_first_audio_is_counted_from_the_first_token() -> None:
    playhead = Playhead()
    playhead.start(10.0)
    playhead.start(11.0)
    playhead.arrive(1.0, 12.5)
    assert playhead.first_audio_s == 2.5


def test_without_audio_nothing_is_measured() -> None:
    playhead = played()
    assert (playhead.first_audio_s, playhead.real_time_factor) == (None, None)


def test_audio_that_comes_in_time_leaves_no_gap() -> None:
    assert played((1.0, 2.0), (2.9, 1.0), (3.5, 1.0)).gaps == []


def test_audio_that_comes_late_leaves_a_gap_as_long_as_the_silence() -> None:
    assert played((1.0, 2.0), (3.5, 1.0)).gaps == [0.5]


def test_a_silence_too_short_to_hear_is_no_gap() -> None:
    assert played((1.0, 2.0), (3.004, 1.0)).gaps == []


def test_a_listener_has_heard_what_had_time_to_play() -> None:
    playhead = played((1.0, 2.0), (1.5, 2.0))
    assert [playhead.heard_s(now) for now in (1.0, 2.0, 5.0, 9.0)] == [0.0, 1.0, 4.0, 4.0]


def test_a_gap_delays_what_is_heard_after_it() -> None:
    assert played((0.0, 1.0), (3.0, 1.0)).heard_s(3.5) == 1.5


def test_the_real_time_factor_is_the_wait_for_each_second_of_audio() -> None:
    assert played((1.0, 2.0), (2.0, 2.0)).real_time_factor == 0.5


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 5)), min_size=1))
def test_playing_time_is_first_audio_then_audio_and_gaps(steps: list[tuple[float, float]]) -> None:
    playhead = Playhead(shortest_gap_s=0.0)
    now = 0.0
    for wait_s, duration_s in steps:
        now += wait_s
        playhead.arrive(duration_s, now)
    assert playhead.first_at is not None
    assert playhead.runs_out_at - playhead.first_at == pytest.approx(playhead.received_s + sum(playhead.gaps))


def test_a_pardoned_silence_is_no_gap() -> None:
    playhead = played((1.0, 1.0))
    playhead.pardon(5.0)
    playhead.arrive(1.0, 5.0)
    assert (playhead.gaps, playhead.runs_out_at) == ([], 6.0)


def test_nobody_is_silent_before_the_first_audio() -> None:
    playhead = played()
    assert playhead.silence_s(3.0) == 0.0
    playhead.arrive(1.0, 3.0)
    assert [playhead.silence_s(now) for now in (3.0, 4.0, 4.5)] == [0.0, 0.0, 0.5]


def test_what_has_come_and_was_not_heard_is_ahead() -> None:
    playhead = played((1.0, 2.0))
    assert [playhead.ahead_s(now) for now in (1.0, 2.5, 9.0)] == [2.0, 0.5, 0.0]
