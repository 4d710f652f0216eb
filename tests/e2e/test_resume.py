"""A client of `/stream-tokens` that loses its socket comes back and gets the rest, exactly."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.resume_client import ANSWER, SENTENCES, Listener, listener
from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


async def whole_answer(server: RunningServer, query: dict[str, str]) -> Listener:
    """Of a client that lost nothing."""
    return await lose_at(server, query, 0, times=0)


def marks(client: Listener) -> list[tuple[Any, ...]]:
    """All messages that do not depend on who waits for what."""
    told = [one for one in client.messages if one["type"] not in ("generating", "queued")]
    return [(one["type"], one.get("event"), one.get("index"), one.get("at_ms"), one.get("duration_ms")) for one in told]


def sentence_marks(client: Listener) -> list[tuple[Any, ...]]:
    return sorted(mark for mark in marks(client) if mark[0] == "sentence" and mark[1] != "accepted")


async def lose_at(server: RunningServer, query: dict[str, str], items: int, times: int = 1) -> Listener:
    """The socket stays open behind the answer: else the client's library says goodbye while we still read."""
    client = Listener(server, {**query, "keep_open": "1"})
    await client.come()
    await client.say(*ANSWER)
    while len(client.got) < items and not client.has_just_read("done"):
        await client.read(1)
    for _ in range(times):
        client.lose()
        await client.come_back()
    if not client.has_just_read("done"):
        await client.read_until("done")
    await client.ws.close()
    return client


async def test_an_answer_is_whole_wherever_its_socket_was_lost(tone_python: Path) -> None:
    """Before the first audio, within the marks, after the last audio, before `done`."""
    async with running_server(tone_config(chunk_ms=400), tone_python) as server:
        whole = await whole_answer(server, {})
        for items in range(len(whole.got)):
            client = await lose_at(server, {}, items)
            assert client.audio == whole.audio == tone_bytes(*SENTENCES), items
            assert sorted(map(repr, marks(client))) == sorted(map(repr, marks(whole))), items


@pytest.mark.parametrize("rate", ["16000", "44100", "native"])
async def test_it_is_whole_at_every_sample_rate(tone_python: Path, rate: str) -> None:
    query, chance = {"sample_rate": rate}, random.Random(rate)
    async with running_server(tone_config(chunk_ms=160, sample_rate=22050), tone_python) as server:
        whole = await whole_answer(server, query)
        for _ in range(20):
            client = await lose_at(server, query, chance.randrange(len(whole.got)))
            assert client.audio == whole.audio
            assert sentence_marks(client) == sentence_marks(whole)


async def test_an_answer_that_was_sent_to_its_end_waits_for_its_client_too(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        client.ws.transport.pause_reading()
        await client.say(*ANSWER)
        [tether] = client.server.house.tethers
        await eventually(lambda: tether.dialogue.is_over, "all is sent, and the server says goodbye")
        client.lose()
        await client.come_back()
        await client.read_all()
        assert (client.messages[-1], client.close_code) == ({"type": "done"}, 1000)
        await eventually(lambda: len(client.server.house.tethers) == 0, "the stream is over")
    assert client.audio == tone_bytes(*SENTENCES)


async def test_who_has_everything_and_comes_back_is_sent_home(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        client.ws.transport.pause_reading()
        await client.say(*ANSWER)
        [tether] = client.server.house.tethers
        await eventually(lambda: tether.dialogue.is_over, "all is sent, and the server says goodbye")
        client.lose()
        await client.come_back(bytes=tether.tape.audio_bytes, messages=tether.tape.messages)
        await client.read_all()
    assert (client.got, client.close_code) == ([], 1000)


async def test_a_client_may_lose_its_socket_again_and_again(tone_python: Path) -> None:
    async with listener(tone_python, chunk_ms=40, query={"keep_open": "1"}) as client:
        await client.say(*ANSWER)
        for step in range(1, 8):
            await client.read_audio(step * len(tone_bytes(*SENTENCES)) // 9)
            client.lose()
            await client.come_back()
        await client.read_until("done")
    assert client.audio == tone_bytes(*SENTENCES)
    assert [one["type"] for one in client.messages].count("done") == 1


async def test_a_client_that_counts_audio_only_gets_every_byte_once(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER)
        await client.read_audio(len(tone_bytes(SENTENCES[0])))
        client.lose()
        await client.come_back(messages=None)
        await client.read_all()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_the_greeting_says_where_the_audio_goes_on_and_what_of_the_client_arrived(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        first = client.ready
        await client.say(*ANSWER)
        await client.read_audio(2)
        had = len(client.audio)
        client.lose()
        await client.come_back()
    assert first["resume_s"] == FAST.resume.wait_s
    assert "resumed_at" not in first
    assert client.ready == {**first, "resumed_at": had, "received": len(ANSWER)}


async def test_a_client_may_come_back_with_its_first_message(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        client.lose()
        await client.come_back_by_message()
        await client.read_all()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_it_cannot_come_back_with_a_later_message(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say({}, {"resume": client.place})
        await client.read_until("error")
    assert (client.messages[-1]["code"], client.messages[-1]["field"]) == ("bad_message", "resume")


async def test_what_a_client_says_after_it_came_back_counts(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say(ANSWER[0])
        await client.read_until("generating")
        client.lose()
        await client.come_back()
        await client.say(*ANSWER[1:])
        await client.read_all()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_the_second_answer_of_a_socket_is_whole_too(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        await client.say(*ANSWER)
        await client.read_until("done")
        await client.say({"token": "And one more. "}, {"done": True})
        await client.read_until("generating")
        client.lose()
        await client.come_back()
        await client.read_until("done")
    assert client.audio == tone_bytes(*SENTENCES, "And one more.")


async def test_words_are_those_of_their_own_sentence(tone_python: Path) -> None:
    async with listener(tone_python, query={"words": "1"}) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        client.lose()
        await client.come_back()
        await client.read_all()
    ends = [one for one in client.messages if one.get("event") == "end"]
    assert [" ".join(word["word"] for word in end["words"]) for end in ends] == list(SENTENCES)


async def test_a_barge_in_after_coming_back_is_the_end_of_the_old_answer(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        await client.say(*ANSWER[:-1])
        await client.read_audio(2)
        client.lose()
        await client.come_back()
        await client.say({"cancel": True})
        await client.read_until("cancelled")
        had = len(client.audio)
        await client.say({"token": "Something else. "}, {"done": True})
        await client.read_until("sentence")
        client.lose()
        await client.come_back()
        await client.read_until("done")
    assert client.audio[had:] == tone_bytes("Something else.")


async def test_all_that_a_dead_network_may_hold_is_kept(tone_python: Path) -> None:
    """Two minutes of audio are ready before the server notices that nobody reads them."""
    sentences = [f"Sentence number {number} of an answer that is very long." for number in range(40)]
    limits = replace(FAST, stream=replace(FAST.stream, send_s=TIMEOUT_S, ahead_s=60.0))
    async with listener(tone_python, limits=limits) as client:
        client.ws.transport.pause_reading()
        await client.say({"token": " ".join(sentences)}, {"done": True})
        [tether] = client.server.house.tethers
        outbox = tether.dialogue.outbox
        await eventually(lambda: outbox.waiting_bytes > 1_000_000 or tether.dialogue.is_over, "the network is full")
        assert not tether.dialogue.is_over
        client.lose()
        await client.come_back()
        await client.read_all()
    assert client.audio == tone_bytes(*sentences)
