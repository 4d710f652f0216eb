from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio.guard import OutputGuard
from voice_server.core.audio.pcm import AUDIBLE

RATE = 24_000
SPOKEN = "Hello there."  # ten letters: 0.1 s of sound at least
SPEECH = np.tile(np.array([9000, -9000], "<i2"), RATE // 2).tobytes()
SILENCE = bytes(RATE)  # half a second


def judged(*chunks: bytes, spoken: str = SPOKEN, spoiled: int = 0) -> str:
    guard = OutputGuard(spoken, RATE)
    for chunk in chunks:
        guard.push(chunk)
    return guard.fault(spoiled)


def cut(pcm: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(2 * (place % (len(pcm) // 2)) for place in places), len(pcm)]
    return [pcm[begin:end] for begin, end in pairwise(edges)]


def quiet(level: int) -> bytes:
    return np.full(RATE, level, "<i2").tobytes()


def clipped(share: float) -> bytes:
    samples = np.full(RATE, 9000, "<i2")
    samples[: int(share * RATE)] = 32767
    return samples.tobytes()


def test_speech_has_no_fault() -> None:
    assert judged(SILENCE, SPEECH, SILENCE) == ""


def test_silence_never_leaves_and_is_a_fault() -> None:
    guard = OutputGuard(SPOKEN, RATE)
    assert [guard.push(SILENCE), guard.push(quiet(AUDIBLE))] == [b"", b""]
    assert guard.fault(0) == "silence"


def test_one_step_louder_than_silence_is_heard() -> None:
    assert judged(quiet(AUDIBLE + 1)) == ""


def test_silence_before_the_first_sound_comes_with_it() -> None:
    guard = OutputGuard(SPOKEN, RATE)
    assert [guard.push(SILENCE), guard.push(SPEECH)] == [b"", SILENCE + SPEECH]


def test_silence_behind_a_sound_is_not_held_back() -> None:
    guard = OutputGuard(SPOKEN, RATE)
    assert [guard.push(SPEECH), guard.push(SILENCE)] == [SPEECH, SILENCE]


def test_a_click_is_too_short_for_a_sentence_however_much_silence_surrounds_it() -> None:
    click = SPEECH[: int(0.09 * RATE) * 2]
    assert "too short" in judged(SILENCE, click, SILENCE)
    assert "too short" in judged(SILENCE + click + SILENCE)


def test_the_shortest_word_may_be_short() -> None:
    assert judged(SPEECH[: int(0.05 * RATE) * 2], spoken="I!") == ""


def test_a_pause_within_the_sound_counts_as_sound() -> None:
    click = SPEECH[:200]
    assert judged(click, SILENCE, click) == ""


def test_samples_that_were_no_numbers_are_a_fault() -> None:
    assert "no numbers" in judged(SPEECH, spoiled=1)


@pytest.mark.parametrize(("share", "fault"), [(0.04, ""), (0.06, "clipped sound")])
def test_sound_that_is_clipped_for_too_long_is_a_fault(share: float, fault: str) -> None:
    assert judged(clipped(share)) == fault


def test_silence_does_not_make_clipped_sound_better() -> None:
    assert judged(SILENCE * 20, clipped(0.06), SILENCE * 20) == "clipped sound"


@given(
    st.lists(st.sampled_from([0, 50, 200, -9000, 32767, -32768]), min_size=1, max_size=60),
    st.lists(st.integers(0, 100), max_size=5),
)
def test_the_judgement_and_what_is_passed_on_do_not_depend_on_the_cuts(samples: list[int], places: list[int]) -> None:
    pcm = np.array(samples, "<i2").tobytes()
    whole, pieces = OutputGuard("a", 1000), OutputGuard("a", 1000)
    passed = b"".join([pieces.push(piece) for piece in cut(pcm, places)])
    assert passed == whole.push(pcm)
    assert passed in (b"", pcm)
    assert pieces.fault(0) == whole.fault(0)
