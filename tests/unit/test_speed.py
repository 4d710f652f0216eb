from __future__ import annotations

import pytest

from voice_server.core.scheduling.speed import Mean, Ratio, SpeechRate, WorkerSpeed

NOW = 1000.0


def worked(*messages: tuple[float, float], speed: WorkerSpeed | None = None) -> WorkerSpeed:
    """A worker that was busy from NOW on and gave (after so many seconds of work, so much audio)."""
    made, now = speed or WorkerSpeed(), NOW
    made.busy(now)
    for took_s, audio_s in messages:
        now += took_s
        made.gave(audio_s, now, None)
    return made


def test_nothing_is_believed_of_a_speed_before_half_a_second_of_audio() -> None:
    assert worked((0.1, 0.4)).real_time_factor is None
    assert worked((0.1, 0.4), (0.1, 0.4)).real_time_factor == pytest.approx(0.25)


def test_the_real_time_factor_is_work_over_audio_whatever_the_chunks() -> None:
    assert worked((0.5, 1.0), (0.1, 1.0)).real_time_factor == pytest.approx(0.3, rel=0.03)


def test_the_end_of_a_render_is_work_too() -> None:
    assert worked((0.2, 1.0), (0.3, 0.0)).real_time_factor == pytest.approx(0.5)


def test_time_in_which_a_worker_had_nothing_to_do_is_no_work() -> None:
    speed = worked((0.2, 1.0))
    speed.busy(NOW + 60.0)
    speed.gave(1.0, NOW + 60.2, None)
    assert speed.real_time_factor == pytest.approx(0.2)


def test_an_engine_that_slows_down_is_noticed_within_a_minute_of_audio() -> None:
    speed = worked(*[(0.1, 1.0)] * 100)
    for second in range(60):
        speed.gave(1.0, NOW + 10.0 + 0.5 * (second + 1), None)
    assert speed.real_time_factor == pytest.approx(0.5, rel=0.1)


def test_the_first_chunk_is_measured_from_the_start_of_its_render() -> None:
    speed = WorkerSpeed()
    speed.busy(NOW)
    speed.gave(0.1, NOW + 0.4, 0.4)
    assert speed.first_chunk_s == 0.4
    assert speed.step_s == 0.0  # a first chunk says nothing of a step


def test_a_step_is_the_time_between_two_messages_with_audio() -> None:
    assert worked((0.1, 0.5), (0.1, 0.5), (9.0, 0.0)).step_s == pytest.approx(0.1)


def test_what_is_left_of_a_step_shrinks_to_nothing() -> None:
    speed = worked((0.2, 1.0), (0.2, 1.0))
    assert speed.until_free_s(NOW + 0.45) == pytest.approx(0.15)
    assert speed.until_free_s(NOW + 9.0) == 0.0


def test_a_mean_starts_with_what_is_seen_first_and_follows_slowly() -> None:
    mean = Mean()
    assert mean.value is None
    mean.add(1.0)
    mean.add(2.0)
    assert mean.value == pytest.approx(1.2)


def test_a_render_that_is_nearly_silent_does_not_skew_a_ratio() -> None:
    ratio = Ratio()
    ratio.add(150.0, 10.0)
    ratio.add(15.0, 0.01)
    assert ratio.value == pytest.approx(15.0, rel=0.11)


def test_the_length_of_speech_is_guessed_until_it_was_heard() -> None:
    rate = SpeechRate(15.0)
    assert rate.seconds("ann", 30) == 2.0
    rate.add("ann", 100, 10.0)
    assert rate.seconds("ann", 30) == pytest.approx(3.0)


def test_each_voice_has_its_own_rate_of_speech_and_a_new_one_that_of_all() -> None:
    rate = SpeechRate(15.0)
    rate.add("ann", 100, 10.0)
    rate.add("bob", 200, 10.0)
    assert rate.seconds("ann", 30) == pytest.approx(3.0)
    assert rate.seconds("bob", 30) == pytest.approx(1.5)
    assert rate.seconds("new", 30) == pytest.approx(2.0, rel=0.2)


def test_the_memory_for_voices_is_bounded() -> None:
    rate = SpeechRate(15.0)
    for number in range(1000):
        rate.add(f"voice {number}", 100, 10.0)
    assert len(rate._voices) <= 256
    assert rate.seconds("voice 0", 30) == pytest.approx(3.0)
