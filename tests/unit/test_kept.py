from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio.kept import KeptAudio

RATE = 100  # Hz: a sample lasts 10 ms


def pcm(first: int, samples: int) -> bytes:
    return b"".join((first + number).to_bytes(2, "little") for number in range(samples))


def test_what_was_settled_is_forgotten_to_the_sample() -> None:
    kept = KeptAudio(RATE, 1000)
    kept.push(pcm(0, 10))
    kept.push(pcm(10, 10))
    kept.settle(0.13)
    assert b"".join(kept.pieces) == pcm(13, 7)
    assert kept.begin_s == 0.13


def test_settling_the_past_again_changes_nothing() -> None:
    kept = KeptAudio(RATE, 1000)
    kept.push(pcm(0, 10))
    kept.settle(0.05)
    kept.settle(0.02)
    assert b"".join(kept.pieces) == pcm(5, 5)


def test_what_is_beyond_its_bound_is_lost_and_that_is_known() -> None:
    kept = KeptAudio(RATE, 30)
    kept.push(pcm(0, 10))
    kept.push(pcm(10, 10))
    assert not kept.is_whole
    assert b"".join(kept.pieces) == pcm(10, 10)
    assert kept.begin_s == 0.1


def test_it_is_whole_again_once_what_was_lost_is_settled() -> None:
    kept = KeptAudio(RATE, 30)
    kept.push(pcm(0, 10))
    kept.push(pcm(10, 10))
    kept.settle(0.12)
    assert kept.is_whole


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 40)), max_size=30))
def test_the_kept_audio_is_always_what_was_pushed_last(steps: list[tuple[int, int]]) -> None:
    kept, pushed = KeptAudio(RATE, 40), b""
    for samples, settled in steps:
        piece = pcm(len(pushed) // 2, samples)
        pushed += piece
        kept.push(piece)
        kept.settle(min(settled, len(pushed) // 2) / RATE)
        assert b"".join(kept.pieces) == pushed[kept.begin_bytes :]
        assert len(pushed) - kept.begin_bytes <= 40
