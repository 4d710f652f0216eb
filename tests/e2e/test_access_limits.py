"""What one client may have, at every door through which text comes in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.harness import FAST, RunningServer, eventually, read_answer, running_server, say, tone_bytes, tone_config
from voice_server.core import tokens
from voice_server.core.limits import AccessLimits
from voice_server.gateway.access.tokens import TokenFile, Tokens

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "This text is longer than what is left of the minute."
SPENT = "A minute's worth. "
KEY = {"authorization": "Bearer one"}
POSTS: dict[str, dict[str, Any]] = {
    "/tts": {"text": TEXT},
    "/v1/audio/speech": {"input": TEXT, "model": "tone", "voice": "tone", "response_format": "pcm"},
    "/v1/captions": {"input": TEXT, "model": "tone", "voice": "tone", "response_format": "srt"},
    "/v1/text-to-speech/tone?output_format=pcm_24000": {"text": TEXT},
    "/v1/text-to-speech/tone/stream?output_format=pcm_24000": {"text": TEXT},
    "/tts/bytes": {
        "transcript": TEXT,
        "model_id": "tone",
        "voice": {"mode": "id", "id": "tone"},
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
    },
    "/v1/speak?encoding=linear16": {"text": TEXT},
}


@asynccontextmanager
async def strict(
    python: Path, folder: Path, *, chars: int = 0, streams: int = 0, room: int = 16, **options: Any
) -> AsyncIterator[RunningServer]:
    """A server where ada and bob have so much each, and `room` may wait in line."""
    table = folder / "tokens"
    table.write_text(f"{tokens.line('ada', 'one')}\n{tokens.line('bob', 'two')}\n")
    stream = replace(FAST.stream, waiting_per_worker=room, queue_wait_s=60.0)
    limits = replace(FAST, stream=stream, access=AccessLimits(chars_per_minute=chars, streams_per_client=streams))
    file = Tokens(file=TokenFile(table))
    async with running_server(tone_config(**options), python, limits=limits, tokens=file) as server:
        yield server


def talk(server: RunningServer, key: str = "one") -> websockets.connect:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{server.ws}/stream-tokens?keep_open=1"
    # No limit: a goodbye that waits behind unread audio takes ten seconds.
    return websockets.connect(url, additional_headers=headers, max_size=None, max_queue=None)


async def test_text_over_the_budget_is_refused_with_the_time_to_wait_and_the_session_goes_on(
    tone_python: Path, tmp_path: Path
) -> None:
    async with (
        strict(tone_python, tmp_path, chars=len(SPENT)) as server,
        talk(server) as ws,
        talk(server, "two") as other,
    ):
        await say(ws, {"token": SPENT}, {"token": TEXT}, {"done": True})
        answer = await read_answer(ws)
        await say(other, {"token": "Hello.", "done": True})
        spared = await read_answer(other)
        await say(ws, {"done": True})
        again = await read_answer(ws)
    refusal = answer.of_type("error")[0]
    assert (answer.codes, answer.audio) == (["rate_limited"], tone_bytes(SPENT.strip()))
    assert 50 < refusal["retry_after_s"] <= 60 and "send this again in" in refusal["msg"]
    assert (spared.codes, spared.audio) == ([], tone_bytes("Hello."))
    assert again.close_code is None


@pytest.mark.parametrize("path", POSTS)
async def test_every_door_that_takes_a_text_answers_429_and_when_to_come_again(
    tone_python: Path, tmp_path: Path, path: str
) -> None:
    async with strict(tone_python, tmp_path, chars=len(TEXT)) as server:
        async with httpx.AsyncClient(base_url=server.http, headers=KEY, timeout=20) as client:
            taken = await client.post(path, json=POSTS[path])
            refused = await client.post(path, json=POSTS[path])
            client.headers = {"xi-api-key": "two"}
            other = await client.post(path, json=POSTS[path])
    assert [taken.status_code, refused.status_code, other.status_code] == [200, 429, 200]
    assert 30 < int(refused.headers["retry-after"]) <= 60
    assert "characters a minute" in refused.text


async def test_an_early_next_answer_is_paid_for_once(tone_python: Path, tmp_path: Path) -> None:
    async with strict(tone_python, tmp_path, chars=2 * len(SPENT)) as server, talk(server) as ws:
        await say(ws, {"token": SPENT, "done": True}, {"token": SPENT, "done": True})
        answers = [await read_answer(ws) for _ in range(2)]
    assert [(answer.codes, answer.audio) for answer in answers] == [([], tone_bytes(SPENT.strip()))] * 2


async def test_text_that_was_refused_for_its_length_is_not_paid_for(tone_python: Path, tmp_path: Path) -> None:
    async with strict(tone_python, tmp_path, chars=5000) as server, talk(server) as ws:
        await say(ws, {"token": "a" * 4097}, {"token": "Hello.", "done": True})
        answer = await read_answer(ws)
        await say(ws, {"token": "A" + "h" * 4000 + ".", "cancel": True})
        after = await read_answer(ws, until="cancelled")
    assert (answer.codes, after.codes) == (["text_too_long"], [])


async def test_a_client_has_so_many_streams_that_speak_and_others_have_theirs(
    tone_python: Path, tmp_path: Path
) -> None:
    async with strict(tone_python, tmp_path, streams=1, first_chunk_s=0.3) as server:
        async with talk(server) as first, talk(server) as second, talk(server, "two") as other:
            await say(first, {"token": "I speak.", "flush": True})
            await read_answer(first, until="sentence")
            await say(second, {"token": "Me too."})
            refused = await read_answer(second, until="error")
            await say(other, {"token": "Hello.", "done": True})
            spared = await read_answer(other)
            await say(first, {"done": True})
            spoken = await read_answer(first)
            await say(second, {"token": "Me too.", "done": True})
            later = await read_answer(second)
    assert (refused.codes, refused.of_type("error")[0]["retry_after_s"]) == (["rate_limited"], 1.0)
    assert [answer.audio for answer in (spoken, spared, later)] == [
        tone_bytes("I speak."),
        tone_bytes("Hello."),
        tone_bytes("Me too."),
    ]


@pytest.mark.parametrize("leave", ["cancel", "close"])
async def test_a_stream_that_was_cancelled_or_closed_makes_room(tone_python: Path, tmp_path: Path, leave: str) -> None:
    async with strict(tone_python, tmp_path, streams=1) as server, talk(server) as second:
        async with talk(server) as first:
            await say(first, {"token": "I have more to say. And"})
            await read_answer(first, until="generating")
            if leave == "cancel":
                await say(first, {"cancel": True})
                await read_answer(first, until="cancelled")
                await say(second, {"token": "Now me.", "done": True})
                assert (await read_answer(second)).codes == []
        await eventually(lambda: len(server.backend.streams) == 1, "the first is gone")
        await say(second, {"token": "Now me.", "done": True})
        assert (await read_answer(second)).codes == []


async def test_a_client_that_fills_the_line_keeps_no_other_one_out(tone_python: Path, tmp_path: Path) -> None:
    async with strict(tone_python, tmp_path, room=3, speed_rtf=0.5) as server, AsyncExitStack() as visits:

        async def waits(key: str) -> websockets.ClientConnection:
            ws = await visits.enter_async_context(talk(server, key))
            await say(ws, {"token": TEXT, "done": True})
            await read_answer(ws, until="queued")
            return ws

        speaks = await visits.enter_async_context(talk(server))
        await say(speaks, {"token": TEXT, "done": True})
        await read_answer(speaks, until="generating")
        waiting = [await waits("one") for _ in range(3)]
        other = await waits("two")
        turned_away = await read_answer(waiting[2])
        too_many = await visits.enter_async_context(talk(server))
        await say(too_many, {"token": TEXT, "done": True})
        refused = await read_answer(too_many)
        spoken = [await read_answer(ws) for ws in (speaks, *waiting[:2], other)]
    for answer in (turned_away, refused):
        assert (answer.codes, answer.close_code, answer.audio) == (["overloaded"], 1013, b"")
    assert [answer.audio for answer in spoken] == [tone_bytes(TEXT)] * 4


async def test_without_flags_nothing_is_limited(tone_python: Path) -> None:
    async with running_server(tone_config(workers=2), tone_python) as server:
        async with talk(server) as first, talk(server) as second:
            for ws in (first, second):
                await say(ws, {"token": "Hello. " * 500, "done": True})
            answers = [await read_answer(ws, until="generating") for ws in (first, second)]
    assert [answer.codes for answer in answers] == [[], []]


async def test_a_door_of_another_project_tells_its_client_in_its_own_words(tone_python: Path, tmp_path: Path) -> None:
    path = "/v1/text-to-speech/tone/multi-stream-input?output_format=pcm_24000"
    async with strict(tone_python, tmp_path, chars=10) as server:
        async with websockets.connect(server.ws + path, additional_headers={"xi-api-key": "one"}) as ws:
            for text in ("Hello you. ", "And again. "):
                await ws.send(json.dumps({"text": text, "context_id": "a"}))
            told = json.loads(await ws.recv())
            while "error" not in told:
                told = json.loads(await ws.recv())
    assert (told["error"], told["contextId"]) == ("rate_limited", "a")
