from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio import pcm
from voice_server.core.audio.pauses import SilenceTrim

RATE = 1_000
MARGIN = 20  # samples
QUIET, LOUD = pcm.AUDIBLE, pcm.AUDIBLE + 1
LONG = [QUIET] * 300

# Runs of silence and speech, with the edges of what is audible among their samples.
SPEECH = st.lists(
    st.tuples(st.sampled_from([0, 1, QUIET, -QUIET, LOUD, -LOUD, 32767, -32768]), st.integers(1, 50)), max_size=12
).map(lambda runs: [sample for sample, length in runs for _ in range(length)])


def audio_of(samples: list[int]) -> bytes:
    return np.array(samples, "<i2").tobytes()


def trimmed(*chunks: list[int]) -> list[int]:
    trim = SilenceTrim(RATE)
    out = b"".join(trim.push(audio_of(chunk)) for chunk in chunks)
    return np.frombuffer(out, "<i2").tolist()


def is_audible(sample: int) -> bool:
    return abs(sample) >= LOUD


@pytest.mark.parametrize("silence", [0, MARGIN - 1, MARGIN])
def test_silence_within_the_margin_stays(silence: int) -> None:
    said = [QUIET] * silence + [LOUD] * 5 + [-QUIET] * silence
    assert trimmed(said) == said


def test_of_longer_silence_around_a_sentence_the_margin_next_to_it_is_left() -> None:
    before, after = list(range(100)), list(range(100, 0, -1))
    assert trimmed([*before, LOUD, -LOUD, *after]) == [*before[-MARGIN:], LOUD, -LOUD, *after[:MARGIN]]


def test_silence_inside_a_sentence_stays_however_long_it_is() -> None:
    said = [LOUD, *LONG, -LOUD, *LONG, LOUD]
    assert trimmed(said) == said


def test_nothing_is_left_of_a_sentence_that_is_silent() -> None:
    assert trimmed(LONG, LONG) == []


@pytest.mark.parametrize("sample", [32767, -32768, LOUD, -LOUD])
def test_a_single_audible_sample_is_heard(sample: int) -> None:
    assert trimmed([0] * 50, [sample], [0] * 50) == [0] * MARGIN + [sample] + [0] * MARGIN


def test_speech_is_given_out_at_once_with_the_silence_that_was_held_before_it() -> None:
    trim = SilenceTrim(RATE)
    assert trim.push(audio_of([LOUD])) == audio_of([LOUD])
    assert trim.push(audio_of(LONG)) == audio_of(LONG[:MARGIN])
    assert trim.push(audio_of([LOUD, *LONG])) == audio_of([*LONG[MARGIN:], LOUD, *LONG[:MARGIN]])


@given(said=SPEECH, cuts=st.lists(st.integers(0, 600), max_size=10))
def test_the_result_does_not_depend_on_how_the_audio_was_cut(said: list[int], cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(said)]
    chunks = [said[begin:end] for begin, end in pairwise(places)]
    assert trimmed(*chunks) == trimmed(said)


@given(SPEECH)
def test_all_but_the_silence_at_both_ends_is_there_as_it_was(said: list[int]) -> None:
    audible = [place for place, sample in enumerate(said) if is_audible(sample)]
    begin, end = (max(0, audible[0] - MARGIN), audible[-1] + 1 + MARGIN) if audible else (0, 0)
    assert trimmed(said) == said[begin:end]


@given(SPEECH)
def test_nothing_is_held_back_while_there_is_something_to_hear(said: list[int]) -> None:
    trim, given_out = SilenceTrim(RATE), 0
    onset = next((place for place, sample in enumerate(said) if is_audible(sample)), 0)
    not_wanted = max(0, onset - MARGIN)
    for number, sample in enumerate(said):
        given_out += len(trim.push(audio_of([sample]))) // pcm.SAMPLE_BYTES
        if is_audible(sample):
            assert given_out == number + 1 - not_wanted
