"""WS `/tts` as clients of the VoxCPM TTS server know it: what is spoken, and how it is stopped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.voxcpm_tts_client import AUDIO, LONG, Heard, ask, cancel, hear, hear_one, tts, visit
from tests.harness import (
    TIMEOUT_S,
    eventually,
    tone_bytes,
    tone_config,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


async def test_a_text_is_streamed_in_frames_that_say_the_true_rate(tone_python: Path) -> None:
    heard = await ask(tone_python, tts("a", mode="streaming"))
    assert heard.audio == AUDIO
    assert {(frame.kind, frame.told["sample_rate"]) for frame in heard.frames} == {(0x01, 24000)}
    assert [frame.told["sequence"] for frame in heard.frames] == list(range(len(heard.frames)))
    samples = len(AUDIO) // 2
    result = {"duration": samples / 24000, "sample_rate": 24000, "samples": samples, "chunks": len(heard.frames)}
    assert heard.last == {"type": "complete", "request_id": "a", "result": result}
    told = [(message["state"], message["progress"]) for message in heard.messages[:-1]]
    assert told[:3] == [("queued", 0.0), ("processing", 0.0), ("generating", 0.1)]


@pytest.mark.parametrize("rate", [16000, 48000])
async def test_b4_every_frame_tells_the_rate_of_the_engine(tone_python: Path, rate: int) -> None:
    heard = await ask(tone_python, tts("a"), config=tone_config(sample_rate=rate))
    assert {frame.told["sample_rate"] for frame in heard.frames} == {rate}
    assert heard.last["result"]["sample_rate"] == rate


async def test_b24_the_last_frame_and_no_other_is_final(tone_python: Path) -> None:
    frames = (await ask(tone_python, tts("a"))).frames
    assert [frame.told["is_final"] for frame in frames] == [False] * (len(frames) - 1) + [True]


async def test_a_whole_text_comes_as_one_frame(tone_python: Path) -> None:
    heard = await ask(tone_python, tts("a", mode="non_streaming"))
    assert [(frame.kind, frame.pcm) for frame in heard.frames] == [(0x02, AUDIO)]
    assert heard.frames[0].told["duration"] == heard.last["result"]["duration"] == len(AUDIO) / 48000
    assert [(m["state"], m["progress"]) for m in heard.messages[-3:-1]] == [("generating", 0.5), ("encoding", 0.9)]


async def test_b13_a_text_is_streamed_when_no_mode_is_named(tone_python: Path) -> None:
    assert {frame.kind for frame in (await ask(tone_python, tts("a"))).frames} == {0x01}


async def test_b1_requests_at_once_are_all_answered_each_with_its_own_audio(tone_python: Path) -> None:
    texts = {f"r{number}": f"This is the text with the number {number}." for number in range(6)}
    async with visit(tone_python, tone_config(workers=2)) as (_, ws):
        for name, text in texts.items():
            await ws.send(tts(name, text, mode="streaming" if name < "r3" else "non_streaming"))
        heard = await hear(ws, ends=6)
    assert {name: one.audio for name, one in heard.items()} == {n: tone_bytes(text) for n, text in texts.items()}
    assert {one.last["type"] for one in heard.values()} == {"complete"}


async def test_b3_cancelling_ends_a_request_once_and_without_more_audio(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(speed_rtf=1.0)) as (server, ws):
        await ws.send(tts("a", LONG))
        heard = {"a": Heard()}
        while not heard["a"].frames:
            await hear_one(ws, heard)
        await ws.send(cancel("a"))
        await hear(ws, heard)
        assert heard["a"].last == {"type": "complete", "request_id": "a", "result": {"cancelled": True}}
        assert len(heard["a"].audio) < len(tone_bytes(LONG)) / 2
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the engine stopped", 2.0)
        await ws.send(cancel("a"))
        told = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
        assert told["error"]["code"] == "REQUEST_NOT_FOUND"


async def test_cancelling_one_request_leaves_the_others_alone(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(workers=2, speed_rtf=0.3)) as (_, ws):
        for message in (tts("a", LONG), tts("b"), cancel("a")):
            await ws.send(message)
        heard = await hear(ws, ends=2)
    assert heard["a"].last["result"] == {"cancelled": True}
    assert heard["b"].audio == AUDIO


async def test_an_id_is_free_again_after_its_request_is_over(tone_python: Path) -> None:
    async with visit(tone_python) as (_, ws):
        for _ in range(2):
            await ws.send(tts("a"))
            assert (await hear(ws))["a"].audio == AUDIO
