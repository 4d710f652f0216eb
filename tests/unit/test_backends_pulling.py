"""Engines that push, as iterators."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from voice_server.backends.pulling import NOTHING, Closed, Put, pulled


def chunk(value: float) -> np.ndarray:
    return np.full(4, value, np.float32)


def test_chunks_come_in_the_order_in_which_they_were_put() -> None:
    def call(put: Put) -> None:
        for value in range(3):
            put(chunk(value))

    assert [got[0] for got in pulled(call)] == [0, 1, 2]


def test_what_the_call_raises_is_raised_after_what_it_had_put() -> None:
    def call(put: Put) -> None:
        put(NOTHING)
        raise ValueError("no weights")

    chunks = pulled(call)
    assert len(next(chunks)) == 0
    with pytest.raises(ValueError, match="no weights"):
        next(chunks)


def test_closing_ends_the_call_at_its_next_put_and_waits_for_it() -> None:
    ended: list[type[BaseException]] = []
    may_go_on = threading.Event()

    def call(put: Put) -> None:
        put(NOTHING)
        may_go_on.wait(10.0)
        try:
            while True:
                put(NOTHING)
        except Closed:
            ended.append(Closed)
            raise

    chunks = pulled(call)
    next(chunks)
    threading.Timer(0.05, may_go_on.set).start()
    chunks.close()
    assert ended == [Closed]
