from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio.onset import AudibleOnset
from voice_server.core.audio.pcm import AUDIBLE


def audio_of(*samples: int) -> bytes:
    return np.array(samples, "<i2").tobytes()


def test_the_onset_is_the_number_of_samples_before_the_first_audible_one() -> None:
    onset = AudibleOnset()
    onset.push(audio_of(0, AUDIBLE, -AUDIBLE, -AUDIBLE - 1, 0))
    assert onset.samples == 3


def test_audio_that_begins_audibly_has_its_onset_at_once() -> None:
    onset = AudibleOnset()
    onset.push(audio_of(AUDIBLE + 1))
    assert onset.samples == 0


def test_there_is_no_onset_while_all_is_silent() -> None:
    onset = AudibleOnset()
    onset.push(audio_of(0, AUDIBLE))
    assert onset.samples is None


def test_the_chunk_with_the_onset_says_so_and_no_other_one_does() -> None:
    onset = AudibleOnset()
    assert [onset.push(audio_of(sample)) for sample in (0, 32767, 0, -32768)] == [False, True, False, False]


@given(silence=st.integers(0, 300), cuts=st.lists(st.integers(0, 600), max_size=8))
def test_the_onset_does_not_depend_on_how_the_audio_was_cut(silence: int, cuts: list[int]) -> None:
    whole = audio_of(*[0] * silence, *[1000] * 100, *[0] * 100)
    places = [0, *(2 * cut for cut in sorted(cuts)), len(whole)]
    onset = AudibleOnset()
    for begin, end in pairwise(places):
        onset.push(whole[begin:end])
    assert onset.samples == silence
