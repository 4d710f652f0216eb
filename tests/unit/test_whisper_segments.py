"""Where utterances begin and end. S is a frame of speech, s one of soft speech, and . one of silence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voice_server.backends.whisper.segments import RATE, Segmenter, Utterance, quietest

LIKELIHOODS = {"S": 0.9, "s": 0.4, ".": 0.05}


def listen(heard: str) -> tuple[Segmenter, list[Utterance]]:
    segmenter = Segmenter()
    ended = [segmenter.push(LIKELIHOODS[frame]) for frame in heard]
    return segmenter, [utterance for utterance in ended if utterance]


def utterances(heard: str) -> list[Utterance]:
    segmenter, ended = listen(heard)
    last = segmenter.end()
    return [*ended, last] if last else ended


def test_speech_between_two_pauses_is_an_utterance_with_a_little_silence() -> None:
    assert utterances("." * 20 + "S" * 10 + "." * 20) == [Utterance(11, 36)]


def test_a_short_pause_does_not_end_it() -> None:
    assert len(utterances("S" * 10 + "." * 15 + "S" * 10 + "." * 16)) == 1


def test_a_pause_of_half_a_second_does() -> None:
    assert len(utterances("S" * 10 + "." * 16 + "S" * 10 + "." * 16)) == 2


def test_soft_speech_goes_on_but_does_not_begin() -> None:
    assert utterances("s" * 40) == []
    assert utterances("S" * 10 + "s" * 40 + "." * 20) == [Utterance(0, 56)]


def test_a_click_is_no_utterance() -> None:
    segmenter, ended = listen("." * 20 + "SS" + "." * 5)
    assert (segmenter.open, ended) == (None, [])
    assert utterances("." * 20 + "SS" + "." * 20) == []


def test_an_open_utterance_reaches_to_the_latest_frame() -> None:
    assert listen("." * 20 + "S" * 10 + "..")[0].open == Utterance(11, 32)


def test_nothing_is_settled_that_an_utterance_still_needs() -> None:
    assert listen("." * 50)[0].settled == 41
    assert listen("." * 50 + "S" * 10)[0].settled == 41
    assert listen("S" * 10 + "." * 16)[0].settled == 17


def test_a_cut_ends_one_utterance_and_begins_the_next() -> None:
    segmenter, _ = listen("S" * 50)
    assert segmenter.cut(40) == Utterance(0, 40)
    assert segmenter.open == Utterance(40, 50)


def test_silence_behind_a_cut_is_no_utterance() -> None:
    segmenter, _ = listen("S" * 50 + "." * 10)
    segmenter.cut(55)
    assert segmenter.open is None
    assert segmenter.end() is None


def test_what_was_cut_off_is_not_heard_twice() -> None:
    segmenter, _ = listen("S" * 50 + "." * 14)
    segmenter.cut(62)
    for likelihood in [0.0] * 4 + [0.9] * 4:
        segmenter.push(likelihood)
    assert segmenter.open == Utterance(62, 72)


@given(st.text("Ss.|", max_size=300))
def test_utterances_follow_each_other_and_none_begins_before_what_was_settled(heard: str) -> None:
    """A cut, |, is where it hurts: amid the open utterance."""
    segmenter, end, settled = Segmenter(), 0, 0
    for frame in heard:
        if frame != "|":
            ended = segmenter.push(LIKELIHOODS[frame])
        elif opened := segmenter.open:
            ended = segmenter.cut((opened.begin + opened.end + 1) // 2)
        else:
            ended = None
        if ended:
            assert max(end, settled) <= ended.begin < ended.end <= segmenter.now
            end = ended.end
        assert settled <= segmenter.settled <= segmenter.now
        settled = segmenter.settled


def test_the_quietest_place_is_found() -> None:
    samples = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    samples[6000:7000] *= 0.1
    assert 6000 < quietest(samples, 0, RATE) < 7000
    assert 8000 < quietest(samples, 8000, RATE) < RATE


def test_a_range_that_is_too_short_to_choose_from_is_cut_in_the_middle() -> None:
    assert quietest(np.zeros(100, dtype=np.float32), 20, 60) == 40
