"""What was said before is said again from memory, by the real pool with the tone backend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.harness import Answer, ask, read_answer, running_server, say, tone_bytes, tone_config
from voice_server.core.settings import BackendConfig

pytestmark = pytest.mark.anyio

GREETING = "Hello, how can I help you?"
LONG = "This sentence is so long that a slow engine takes a while to say all of it, and others wait meanwhile."


def remembering(**options: Any) -> BackendConfig:
    return replace(tone_config(**options), cache_mib=4)


def speakers(answer: Answer) -> list[str]:
    return [told["worker"] for told in answer.of_type("generating")]


async def test_the_second_time_a_sentence_comes_from_memory(tone_python: Path) -> None:
    async with running_server(remembering(), tone_python) as server:
        first, second = [await ask(server.ws, {"token": GREETING, "done": True}) for _ in range(2)]
    assert speakers(first) == ["tone-0"]
    assert speakers(second) == ["memory"]
    assert first.audio == second.audio == tone_bytes(GREETING)
    assert second.messages[-1] == {"type": "done"}


async def test_another_voice_or_option_is_rendered_anew(tone_python: Path) -> None:
    async with running_server(remembering(), tone_python) as server:
        await ask(server.ws, {"token": GREETING, "done": True})
        low = await ask(server.ws, {"voice": "low", "token": GREETING, "done": True})
        fast = await ask(server.ws, {"opts": {"speed": 2.0}, "token": GREETING, "done": True})
    assert speakers(low) == speakers(fast) == ["tone-0"]
    assert low.audio == tone_bytes(GREETING, voice="low")


async def test_nothing_is_remembered_unless_it_is_configured(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answers = [await ask(server.ws, {"token": GREETING, "done": True}) for _ in range(2)]
    assert [speakers(answer) for answer in answers] == [["tone-0"], ["tone-0"]]


async def test_what_is_remembered_needs_no_free_worker(tone_python: Path) -> None:
    async with running_server(remembering(speed_rtf=0.2), tone_python) as server:
        await ask(server.ws, {"token": GREETING, "done": True})
        async with websockets.connect(f"{server.ws}/stream-tokens") as busy:
            await say(busy, {"token": LONG, "done": True})
            await read_answer(busy, until="generating")
            again = await ask(server.ws, {"token": GREETING, "done": True})
            rest = await read_answer(busy)
    assert speakers(again) == ["memory"]
    assert rest.messages[-1] == {"type": "done"}


async def test_a_sentence_that_is_said_twice_in_a_row_is_rendered_once(tone_python: Path) -> None:
    async with running_server(remembering(), tone_python) as server:
        answer = await ask(server.ws, {"token": f"{LONG} {LONG}", "done": True})
    assert speakers(answer) == ["tone-0", "memory"]


async def test_repeats_keep_their_place_in_an_answer(tone_python: Path) -> None:
    texts = [GREETING, LONG, GREETING, LONG]
    async with running_server(remembering(), tone_python) as server:
        answer = await ask(server.ws, {"token": " ".join(texts), "done": True})
    assert answer.audio == b"".join(tone_bytes(text) for text in texts)
    assert speakers(answer)[2:] == ["memory", "memory"]
