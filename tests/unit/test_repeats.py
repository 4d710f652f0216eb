from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.audio.repeats import RepeatKey, Repeats
from voice_server.core.limits import RepeatLimits

ENTRY = RepeatLimits().entry_bytes
PCM = (b"ab" * 1000, b"cd" * 1000)
ROOM = 4 * (2 * ENTRY + sum(map(len, PCM)))  # a sentence may take a quarter


def key(text: str = "Hello.", voice: str = "heart", sample: dict[str, str] | None = None, **options: Any) -> RepeatKey:
    return RepeatKey.of(text, voice, options, sample or {})


def test_a_sentence_comes_back_in_its_own_chunks() -> None:
    repeats = Repeats(ROOM)
    assert repeats.keep(key(), iter(PCM), truncated=True)
    found = repeats.find(key())
    assert found is not None
    assert (found.pcm, found.truncated) == (PCM, True)


def test_the_order_of_options_does_not_matter() -> None:
    repeats = Repeats(ROOM)
    repeats.keep(key(speed=1.0, seed=3), PCM, truncated=False)
    assert repeats.find(key(seed=3, speed=1.0))


@pytest.mark.parametrize(
    "other",
    [
        key("Hello", speed=1),
        key(voice="emma", speed=1),
        key(speed=2),
        key(speed=1.0),
        key(speed=True),
        key(speed="1"),
        key(),
        key(speed=1, sample={"path": "a.wav"}),
    ],
)
def test_whatever_else_was_asked_for_is_not_found(other: RepeatKey) -> None:
    repeats = Repeats(ROOM)
    repeats.keep(key(speed=1), PCM, truncated=False)
    assert repeats.find(other) is None


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    one = Repeats(ROOM)
    one.keep(key("a"), PCM, truncated=False)
    repeats = Repeats(2 * one.bytes, RepeatLimits(largest_share=1.0))
    repeats.keep(key("a"), PCM, truncated=False)
    repeats.keep(key("b"), PCM, truncated=False)
    repeats.find(key("a"))
    repeats.keep(key("c"), PCM, truncated=False)
    assert [bool(repeats.find(key(text))) for text in "abc"] == [True, False, True]


def test_a_sentence_that_would_take_more_than_its_share_is_not_kept() -> None:
    repeats = Repeats(4 * ENTRY)
    assert not repeats.keep(key(), PCM, truncated=False)
    assert (len(repeats), repeats.bytes) == (0, 0)


def test_a_cache_without_room_keeps_nothing() -> None:
    assert not Repeats(0).keep(key(""), [], truncated=False)


def test_a_sentence_kept_twice_takes_its_room_once() -> None:
    repeats = Repeats(ROOM)
    repeats.keep(key(), PCM, truncated=False)
    once = repeats.bytes
    repeats.keep(key(), PCM, truncated=False)
    assert (len(repeats), repeats.bytes) == (1, once)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6_000), st.booleans()), max_size=60))
def test_it_never_takes_more_than_its_bytes_and_counts_them_right(asked: list[tuple[int, int, bool]]) -> None:
    repeats = Repeats(20_000)
    for text, size, is_kept in asked:
        if is_kept:
            repeats.keep(key(str(text)), [bytes(size)], truncated=False)
        else:
            repeats.find(key(str(text)))
        assert repeats.bytes <= 20_000
        assert repeats.bytes >= len(repeats) * ENTRY
