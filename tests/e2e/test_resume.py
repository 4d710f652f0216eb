"""A client of `/stream-tokens` that loses its socket comes back and gets the rest, exactly."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets

from tests.fault_proxy import fault_proxy
from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, tone_bytes, tone_config
from voice_server.core.limits import Limits, ResumeLimits
from voice_server.core.tokens import line
from voice_server.gateway.access.tokens import TokenFile, Tokens

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = ("Hello there.", "How are you today?", "This one is the last of three.")
ANSWER: list[dict[str, Any]] = [{"token": f"{sentence} "} for sentence in SENTENCES] + [{"done": True}]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing the socket resets the connection


@dataclass
class Listener:
    """Counts what it gets, remembers what it said, and knows how to come back."""

    server: RunningServer
    query: dict[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    got: list[bytes | str] = field(default_factory=list)  # in order, without `ready`
    said: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None
    key: str = ""  # of the server
    ws: websockets.ClientConnection = field(init=False)

    @property
    def audio(self) -> bytes:
        return b"".join(one for one in self.got if isinstance(one, bytes))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.got if isinstance(one, str)]

    @property
    def place(self) -> dict[str, Any]:
        return {"token": self.ready["resume"], "bytes": len(self.audio), "messages": len(self.messages)}

    async def come(self) -> None:
        await self._connect({**self.query, "resume": "1"})

    async def come_back(self, **other: Any) -> None:
        """With the place in the address; `other` replaces parts of it."""
        place = {**self.place, **other}
        token = place.pop("token")
        await self._connect({"resume": token, **{key: str(value) for key, value in place.items() if value is not None}})
        for message in self.said[self.ready.get("received", len(self.said)) :]:
            await self.ws.send(json.dumps(message))

    async def come_back_by_message(self) -> None:
        place = self.place
        await self._connect({})
        await self.ws.send(json.dumps({"resume": place}))
        self.ready = json.loads(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))

    async def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.said.append(message)
            await self.ws.send(json.dumps(message))

    async def read(self, items: int) -> None:
        for _ in range(items):
            self.got.append(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))

    async def read_audio(self, audio_bytes: int) -> None:
        while len(self.audio) < audio_bytes:
            await self.read(1)

    async def read_until(self, kind: str) -> None:
        await self.read(1)
        while not self.has_just_read(kind):
            await self.read(1)

    def has_just_read(self, kind: str) -> bool:
        return bool(self.got) and isinstance(self.got[-1], str) and json.loads(self.got[-1])["type"] == kind

    async def read_all(self) -> None:
        try:
            while True:
                await self.read(1)
        except websockets.ConnectionClosed:
            self.close_code = self.ws.close_code

    def lose(self) -> None:
        """The network resets the connection; what was on its way is gone."""
        self.ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.ws.transport.abort()

    async def _connect(self, query: dict[str, str]) -> None:
        """With a small window: what a client does not read stays with the server."""
        url, own = f"{self.server.ws}/stream-tokens?{urlencode(query)}", socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.server.port))
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else None
        self.ws = await websockets.connect(url, sock=own, max_size=None, additional_headers=headers)
        self.ready = json.loads(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))


def limits_of(**resume: Any) -> Limits:
    return replace(FAST, resume=ResumeLimits(**resume))


@asynccontextmanager
async def listener(
    python: Path, *, limits: Limits = FAST, query: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Listener]:
    async with running_server(tone_config(**options), python, limits=limits) as server:
        client = Listener(server, query or {})
        await client.come()
        yield client
        client.ws.transport.abort()


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


# Who holds the stream


async def test_the_newest_socket_takes_over_from_one_that_still_seems_alive(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        first = client.ws
        await client.come_back()
        told = [json.loads(await asyncio.wait_for(first.recv(), TIMEOUT_S))]
        await asyncio.wait_for(first.wait_closed(), TIMEOUT_S)
        await client.say(*ANSWER)
        await client.read_until("done")
    assert [one["code"] for one in told] == ["resumed_elsewhere"]
    assert first.close_code == 4001
    assert client.audio == tone_bytes(*SENTENCES)


async def test_a_client_whose_network_swallows_everything_comes_back_on_another_socket(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.1), tone_python) as server, fault_proxy(server.port) as proxy:
        client = Listener(replace(server, port=proxy.port))
        await client.come()
        await client.say(*ANSWER)
        await client.read_audio(2)
        proxy.blackhole()
        client.server = server
        await client.come_back()
        await client.read_all()
        assert len(server.house.guests) == 0  # the server is done with the dead socket, which nobody closed
    assert client.audio == tone_bytes(*SENTENCES)


async def test_of_many_sockets_that_come_at_once_the_newest_gets_the_stream(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        first, others = client.ws, [replace(client) for _ in range(8)]
        await asyncio.gather(*(other.come_back() for other in others))
        await client.come_back()
        await client.read_until("done")
        assert {other.ready.get("code", "resumed_elsewhere") for other in others} == {"resumed_elsewhere"}
        for ws in (first, *(other.ws for other in others)):
            ws.transport.abort()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_a_stream_may_be_resumed_only_by_who_asked_for_it(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            ready = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
            assert len(server.house.tethers) == 0
    assert not any(key.startswith("resume") for key in ready)


async def test_only_who_shows_the_same_key_may_come_back(tone_python: Path, tmp_path: Path) -> None:
    table = tmp_path / "tokens"
    table.write_text(f"{line('ada', 'key of ada')}\n{line('bob', 'key of bob')}\n")
    async with running_server(tone_config(), tone_python, tokens=Tokens(file=TokenFile(table))) as server:
        client = Listener(server, {"keep_open": "1"}, key="key of ada")
        await client.come()
        await client.say(*ANSWER)
        await client.read_audio(2)
        other = replace(client, key="key of bob")
        await other.come_back()
        assert other.ready["code"] == "cannot_resume"
        client.lose()
        await client.come_back()
        await client.read_until("done")
        other.ws.transport.abort()
        client.ws.transport.abort()
    assert client.audio == tone_bytes(*SENTENCES)


# Ends


@pytest.mark.parametrize(
    "wrong",
    [{"token": "x" * 22}, {"bytes": 10_000_000}, {"messages": 10_000}],
    ids=["token", "bytes", "messages"],
)
async def test_a_place_that_is_not_there_is_refused_and_the_right_one_still_taken(
    tone_python: Path, wrong: dict[str, Any]
) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        client.lose()
        lost = replace(client)
        await lost.come_back(**wrong)
        assert (lost.ready["type"], lost.ready["code"]) == ("error", "cannot_resume")
        await asyncio.wait_for(lost.ws.wait_closed(), TIMEOUT_S)
        assert lost.ws.close_code == 1008
        await client.come_back()
        await client.read_all()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_who_comes_too_late_is_told_so(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(wait_s=0.2)) as client:
        client.lose()
        await eventually(lambda: len(client.server.house.tethers) == 0, "nobody waits for the client")
        await client.come_back(bytes=0)
        assert client.ready["code"] == "cannot_resume"


async def test_a_worker_is_free_when_nobody_came_back_in_time(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(wait_s=0.3), speed_rtf=1.0) as client:
        await client.say({"token": "A sentence that is spoken for a long time, since it has so many words. " * 3})
        await client.read_until("generating")
        dispatcher = client.server.backend.pool.dispatcher
        client.lose()
        await eventually(lambda: len(client.server.house.tethers) == 0, "nobody waits for the client")
        await eventually(lambda: dispatcher.has_idle_worker, "the worker is free")


async def test_nobody_waits_for_a_client_that_said_goodbye(tone_python: Path) -> None:
    async with listener(tone_python, speed_rtf=1.0) as client:
        await client.say({"token": SENTENCES[0], "flush": True})
        await client.read_until("generating")
        await client.ws.close()
        await eventually(lambda: len(client.server.house.tethers) == 0, "the stream is over")


async def test_what_is_kept_of_an_answer_is_bounded(tone_python: Path) -> None:
    kept_bytes = len(tone_bytes(SENTENCES[-1])) // 2
    async with listener(tone_python, limits=limits_of(kept_bytes=kept_bytes), query={"keep_open": "1"}) as client:
        early = replace(client)
        await client.say(*ANSWER)
        await client.read_until("done")
        [tether] = client.server.house.tethers
        assert 0 < tether.tape.kept_bytes <= kept_bytes
        client.lose()
        await early.come_back(bytes=0, messages=0)
        assert early.ready["code"] == "cannot_resume"
        await client.come_back()
    assert client.ready["resumed_at"] == len(tone_bytes(*SENTENCES))


async def test_an_absent_client_costs_no_more_than_a_slow_one(tone_python: Path) -> None:
    """What is rendered for it is bounded by what may be made ahead."""
    limits = replace(FAST, stream=replace(FAST.stream, ahead_s=1.0))
    async with listener(tone_python, limits=limits) as client:
        for number in range(40):
            await client.say({"token": f"Sentence number {number} of a long answer. "})
        await client.read_audio(2)
        client.lose()
        [tether] = client.server.house.tethers
        dispatcher = client.server.backend.pool.dispatcher
        await eventually(lambda: dispatcher.has_idle_worker, "the worker has nothing to do")
        longest_s = 0.06 * len("Sentence number 39 of a long answer.")
        assert tether.dialogue.outbox.waiting_bytes <= 48_000 * (limits.stream.ahead_s + longest_s)
        client.said.append({"done": True})
        await client.come_back()
        await client.read_all()
    assert client.audio == tone_bytes(*(f"Sentence number {number} of a long answer." for number in range(40)))


async def test_a_client_has_so_many_streams_that_wait_and_does_without_on_the_next(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(streams_per_client=1)) as client:
        async with websockets.connect(f"{client.server.ws}/stream-tokens?resume=1") as ws:
            ready = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    assert "resume" in client.ready
    assert "resume" not in ready


async def test_a_house_that_closes_waits_for_nobody(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER[:-1])
        await client.read_audio(2)
        house = client.server.house
        client.lose()
        house.drain()
        await eventually(lambda: len(house.tethers) == 0, "the stream is over")
