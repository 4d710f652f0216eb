from __future__ import annotations

import numpy as np
import pytest

from voice_server.backends.voxcpm.endings import Ending, EndWatch, spoken_limit_s

RATE = 16000


def chunk(level: float, seconds: float = 0.1) -> np.ndarray:
    return np.full(int(RATE * seconds), level, np.float32)


def heard(watch: EndWatch, level: float, seconds: float) -> Ending | None:
    """The verdict after so many seconds, which must be the first one."""
    verdicts = [watch.hear(chunk(level)) for _ in range(round(seconds * 10))]
    assert not any(verdicts[:-1])
    return verdicts[-1]


def test_a_pause_within_a_sentence_is_no_end():
    watch = EndWatch(RATE, 10.0)
    assert [heard(watch, level, seconds) for level, seconds in [(0.2, 1), (0.0, 1.4), (0.2, 1)]] == [None] * 3


def test_a_long_silence_after_speech_is_the_end():
    watch = EndWatch(RATE, 10.0)
    assert heard(watch, 0.2, 1) is None
    assert heard(watch, 0.0, 1.5) is Ending.SILENCE


def test_the_noise_of_a_recording_is_silence_beside_a_loud_voice():
    watch = EndWatch(RATE, 10.0)
    assert heard(watch, 0.5, 1) is None
    assert heard(watch, 0.005, 1.5) is Ending.SILENCE


def test_a_quiet_voice_is_no_silence():
    assert heard(EndWatch(RATE, 10.0), 0.005, 5) is None


def test_a_sentence_may_begin_late_but_not_never():
    assert heard(EndWatch(RATE, 10.0), 0.0, 4.0) is Ending.SILENCE


def test_more_speech_than_the_text_has_is_babble():
    assert heard(EndWatch(RATE, 3.0), 0.2, 3.0) is Ending.BABBLE


def test_pauses_do_not_count_as_speech():
    watch = EndWatch(RATE, 2.5)
    for _ in range(2):
        assert heard(watch, 0.2, 1) is None
        assert heard(watch, 0.0, 1) is None


def test_what_was_asked_for_is_not_cut():
    watch = EndWatch(RATE, 1.0, at_least_s=4.0)
    assert heard(watch, 0.2, 3.9) is None
    assert heard(watch, 0.2, 0.1) is Ending.BABBLE


@pytest.mark.parametrize(("tokens", "most_s"), [(1, 5), (20, 15), (100, 60)])
def test_the_limit_leaves_room_for_a_slow_speaker_and_grows_with_the_text(tokens, most_s):
    assert 0.4 * tokens < spoken_limit_s(tokens) < most_s
