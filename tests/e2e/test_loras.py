"""The doors for LoRA adapters, and what they change: the streams that begin later, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.harness import RunningServer, ask, read_answer, running_server, say, tone_config
from voice_server.core.options import OptionSpec
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

# Its audio is constant, and each adapter has a level of its own.
ADAPTER = """
import numpy as np

class Levels:
    sample_rate = 24000

    def __init__(self, device, loras=""):
        pass

    def voices(self):
        return ["level"]

    def render(self, text, voice, lora=""):
        yield np.full(2400, {"": 0.0, "calm": 0.25, "wild": 0.5}[lora], np.float32)
"""
BASE, CALM = b"\0\0", b"\0\x20"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("calm", "wild"):
        (tmp_path / "loras" / name).mkdir(parents=True)
        (tmp_path / "loras" / name / "lora_config.json").write_text("{}")
        (tmp_path / "loras" / name / "lora_weights.safetensors").write_bytes(b"")
    return tmp_path / "loras"


@pytest.fixture
def config(tmp_path: Path, folder: Path) -> BackendConfig:
    adapter = tmp_path / "levels.py"
    adapter.write_text(ADAPTER)
    opts = {"lora": OptionSpec("str", max=64)}
    plain = replace(tone_config(loras=str(folder)), guard=False)  # its base level is 0, and it means it
    return replace(plain, name="levels", adapter=f"{adapter}:Levels", opts=opts, aliases={}, voice="")


@pytest.fixture
async def server(no_leaks: None, config: BackendConfig, tone_python: Path) -> AsyncIterator[RunningServer]:
    async with running_server(config, tone_python) as server:
        yield server


async def post(server: RunningServer, door: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.http}/loras/{door}", json=body)


async def get(server: RunningServer) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        return dict((await client.get(f"{server.http}/loras")).json())


async def level(server: RunningServer, **opts: str) -> bytes:
    """The first sample of an answer."""
    answer = await ask(server.ws, {"opts": opts, "token": "Hello.", "done": True})
    assert answer.codes == []
    return answer.audio[:2]


async def test_all_adapters_are_listed_and_what_is_missing_in_the_others(server: RunningServer, folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "wild" / "lora_weights.safetensors").unlink()
    assert await get(server) == {
        "loras": ["calm"],
        "failed": {"empty": "it has no lora_config.json", "wild": "it has no lora_weights.safetensors"},
        "default": "",
    }


async def test_a_loaded_adapter_is_the_default_until_it_is_unloaded(server: RunningServer) -> None:
    assert (await post(server, "load", {"name": "calm"})).json()["default"] == "calm"
    assert await level(server) == CALM
    assert (await post(server, "unload", {"name": "calm"})).json()["default"] == ""
    assert await level(server) == BASE


async def test_a_client_that_names_an_adapter_or_none_gets_that(server: RunningServer) -> None:
    await post(server, "load", {"name": "wild"})
    assert await level(server, lora="calm") == CALM
    assert await level(server, lora="") == BASE


async def test_a_stream_that_began_before_goes_on_as_it_was(server: RunningServer) -> None:
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await read_answer(ws, until="ready")
        await post(server, "load", {"name": "calm"})
        await say(ws, {"opts": {}, "token": "Hello.", "done": True})
        assert (await read_answer(ws)).audio[:2] == BASE


async def test_unloading_one_leaves_another_one_loaded(server: RunningServer) -> None:
    await post(server, "load", {"name": "calm"})
    assert (await post(server, "unload", {"name": "wild"})).json()["default"] == "calm"


@pytest.mark.parametrize("door", ["load", "unload"])
@pytest.mark.parametrize("name", ["nobody", "", "../loras/calm", "/etc", "empty"])
async def test_a_name_of_no_adapter_is_unknown(server: RunningServer, folder: Path, door: str, name: str) -> None:
    (folder / "empty").mkdir()
    answer = await post(server, door, {"name": name})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_lora")
    assert (await get(server))["default"] == ""


async def test_a_body_without_a_name_is_a_bad_message(server: RunningServer) -> None:
    answer = await post(server, "load", {"nome": "calm"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_message")


async def test_a_backend_without_adapters_has_an_empty_list(no_leaks: None, tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        assert await get(server) == {"loras": [], "failed": {}, "default": ""}
        assert (await post(server, "load", {"name": "calm"})).status_code == 404
