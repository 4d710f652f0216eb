"""POST /chat over real sockets, with a real server of chat completions behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, tone_config
from tests.language_model import KEY, Model, language_model
from voice_server.core.doors.chat_protocol import model_settings
from voice_server.core.doors.limits import ChatLimits
from voice_server.main import open_writer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

ASKED = {"messages": [{"role": "user", "content": "Is the  kettle\non?"}]}


@asynccontextmanager
async def talking_to(model: Model | None, python: Path, limits: ChatLimits = FAST.chat) -> AsyncIterator[RunningServer]:
    settings = model_settings(model.environ) if model else None
    async with (
        open_writer(settings, limits) as writer,
        running_server(tone_config(), python, limits=replace(FAST, chat=limits)) as server,
    ):
        server.house.writer = writer
        yield server


async def ask(server: RunningServer, body: Any = ASKED) -> tuple[int, list[dict[str, Any]]]:
    """The status, and the events; of an error the one body."""
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        response = await client.post(f"{server.http}/chat", json=body)
    if response.headers["content-type"] != "text/event-stream":
        return response.status_code, [response.json()]
    events = response.text.removesuffix("\n\n").split("\n\n")
    return response.status_code, [json.loads(event.removeprefix("data: ")) for event in events]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("token", "") for event in events)


async def test_without_a_model_it_says_back_what_was_said(tone_python: Path) -> None:
    async with talking_to(None, tone_python) as server:
        status, events = await ask(server)
    assert (status, text_of(events), events[-1]) == (200, "Is the  kettle\non?", {"done": True})
    assert len(events) > 3


async def test_the_tokens_of_the_model_come_through_and_then_done(tone_python: Path) -> None:
    with language_model() as model:
        async with talking_to(model, tone_python) as server:
            status, events = await ask(server)
    assert (status, text_of(events), events[-1]) == (200, "The kettle is on.", {"done": True})
    assert [event for event in events if "done" in event] == [{"done": True}]
    assert model.asked[0]["messages"][-1] == ASKED["messages"][0]


async def test_the_first_token_comes_before_the_last_is_written(tone_python: Path) -> None:
    with language_model(pace_s=0.2) as model:
        async with talking_to(model, tone_python) as server, httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            async with client.stream("POST", f"{server.http}/chat", json=ASKED) as response:
                lines = response.aiter_lines()
                assert json.loads((await anext(lines)).removeprefix("data: ")) == {"token": "The "}
                assert model.broken_off == 0


async def test_the_key_goes_to_the_model_and_not_to_the_client(tone_python: Path) -> None:
    with language_model(status=401) as model:
        async with talking_to(model, tone_python) as server:
            status, (body,) = await ask(server)
    assert model.keys == [f"Bearer {KEY}"]
    assert KEY not in json.dumps(body)
    assert (status, body["error"]["code"]) == (502, "model_failed")
    assert "LLM_API_KEY" in body["error"]["message"]


async def test_a_model_that_is_not_there_is_told_before_any_token(tone_python: Path) -> None:
    async with talking_to(Model(port=1), tone_python) as server:
        status, (body,) = await ask(server)
    assert (status, body["error"]["code"]) == (502, "model_failed")
    assert "LLM_BASE_URL" in body["error"]["message"]


async def test_an_answer_that_breaks_off_ends_with_the_error(tone_python: Path) -> None:
    with language_model(breaks=True) as model:
        async with talking_to(model, tone_python) as server:
            status, events = await ask(server)
    assert (status, text_of(events)) == (200, "The kettle is on.")
    assert events[-1]["error"]["code"] == "model_failed"


async def test_a_model_that_falls_silent_is_not_waited_for(tone_python: Path) -> None:
    with language_model(pace_s=5.0) as model:
        async with talking_to(model, tone_python, ChatLimits(token_s=0.3)) as server:
            _, events = await ask(server)
    assert events[0] == {"token": "The "}
    assert "0.3 s" in events[-1]["error"]["message"]


async def test_a_client_that_leaves_breaks_off_the_model(tone_python: Path) -> None:
    with language_model(tokens=["And "] * 1000, pace_s=0.05) as model:
        async with talking_to(model, tone_python) as server, httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            async with client.stream("POST", f"{server.http}/chat", json=ASKED) as response:
                lines = response.aiter_lines()
                await anext(lines)
            await eventually(lambda: model.broken_off == 1, "the model is told")


async def test_who_comes_when_all_connections_are_taken_is_told_to_come_again(tone_python: Path) -> None:
    with language_model(tokens=["And "] * 1000, pace_s=0.05) as model:
        limits = ChatLimits(at_once=1, wait_s=0.2)
        async with talking_to(model, tone_python, limits) as server, httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            async with client.stream("POST", f"{server.http}/chat", json=ASKED) as response:
                lines = response.aiter_lines()
                await anext(lines)
                status, (body,) = await ask(server)
    assert (status, body["error"]["code"]) == (503, "overloaded")


async def test_a_model_that_does_not_stop_is_stopped(tone_python: Path) -> None:
    with language_model(tokens=["And "] * 1000) as model:
        async with talking_to(model, tone_python, ChatLimits(answer_chars=40)) as server:
            _, events = await ask(server)
    assert 40 <= len(text_of(events)) <= 48
    assert events[-1] == {"done": True}


@pytest.mark.parametrize("body", [[], {"messages": []}, {"messages": [{"role": "system", "content": "Obey."}]}])
async def test_what_is_no_conversation_is_refused(tone_python: Path, body: Any) -> None:
    async with talking_to(None, tone_python) as server:
        status, (told,) = await ask(server, body)
    assert (status, told["error"]["code"]) == (400, "bad_message")


async def test_the_page_can_ask_which_model_answers(tone_python: Path) -> None:
    async with httpx.AsyncClient() as client:
        async with talking_to(Model(port=1), tone_python) as server:
            assert (await client.get(f"{server.http}/chat")).json() == {"model": "kettle-1", "window": 12}
        async with talking_to(None, tone_python) as server:
            assert (await client.get(f"{server.http}/chat")).json() == {"model": None, "window": 12}
