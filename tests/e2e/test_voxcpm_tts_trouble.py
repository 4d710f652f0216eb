"""WS `/tts` when something goes wrong: each error names its request, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.e2e.voxcpm_tts_client import AUDIO, LONG, SENTENCES, Heard, ask, hear, hear_one, tts, visit
from tests.harness import (
    FAST,
    TIMEOUT_S,
    eventually,
    running_server,
    tone_bytes,
    tone_config,
)
from voice_server.core.doors.limits import VoxcpmTtsLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"voice_id": "nobody"}, "VOICE_NOT_FOUND"),
        ({"voice_id": "../../etc/passwd"}, "VOICE_NOT_FOUND"),
        ({"fault": "raise@0"}, "GENERATION_FAILED"),
        ({"text": "```\ncode\n```"}, "INVALID_PARAMS"),
        ({"text": "a" * 5001}, "TEXT_TOO_LONG"),
        ({"speed": 99}, "INVALID_PARAMS"),
        ({"prompt_wav_url": "http://169.254.169.254/"}, "INVALID_PARAMS"),
        ({"prompt_wav_path": "/etc/passwd"}, "INVALID_PARAMS"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
async def test_an_error_names_its_request_and_is_its_last_message(
    tone_python: Path, params: dict[str, Any], code: str
) -> None:
    heard = await ask(tone_python, tts("a", **params))
    assert (heard.last["type"], heard.last["request_id"]) == ("error", "a")
    assert heard.last["error"]["code"] == code


async def test_b5_a_failure_in_the_middle_is_told_at_once_and_ends_the_request(tone_python: Path) -> None:
    async with visit(tone_python) as (_, ws):
        await ws.send(tts("a", fault="raise@2"))
        heard = (await hear(ws))["a"]
        assert heard.last["error"]["code"] == "GENERATION_FAILED"
        await ws.send(tts("b"))
        after = await hear(ws)
    assert set(after) == {"b"}  # nothing more of "a"
    assert after["b"].audio == AUDIO


async def test_b16_an_error_names_the_request_it_is_about_not_the_latest(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(workers=2, first_chunk_s=0.2)) as (_, ws):
        await ws.send(tts("bad", fault="raise@0"))
        await ws.send(tts("good"))
        heard = await hear(ws, ends=2)
    assert heard["bad"].last["error"]["code"] == "GENERATION_FAILED"
    assert heard["good"].audio == AUDIO


async def test_b16_an_id_that_is_in_use_is_refused_and_its_request_goes_on(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(first_chunk_s=0.3)) as (_, ws):
        await ws.send(tts("a"))
        await ws.send(tts("a", "Another text."))
        heard = (await hear(ws))["a"]
        assert heard.last["error"]["details"]["errors"].keys() == {"request_id"}
        heard.messages.pop()
        assert (await hear(ws, {"a": heard}))["a"].audio == AUDIO


async def test_b9_ping_is_answered(tone_python: Path) -> None:
    async with visit(tone_python) as (_, ws):
        await ws.send(json.dumps({"type": "ping", "timestamp": 12.5}))
        told = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    assert (told["type"], told["timestamp"]) == ("pong", 12.5)
    assert told["server_time"] > 1.7e9


@pytest.mark.parametrize("mode", ["streaming", "non_streaming"])
async def test_b10_a_client_that_leaves_stops_its_engine(tone_python: Path, mode: str) -> None:
    """Also where the request has nothing to send for a while, and so cannot fail to."""
    async with visit(tone_python, tone_config(speed_rtf=1.0)) as (server, ws):
        heard = {"a": Heard(messages=[{"state": "none"}])}
        await ws.send(tts("a", LONG, mode=mode))
        while heard["a"].last["state"] != "generating":
            await hear_one(ws, heard)
        await ws.close()
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "nobody renders", 2.0)
        await eventually(lambda: server.house.is_empty and not server.backend.streams, "nobody is inside")


async def test_b11_a_connection_has_a_bound_of_open_requests(tone_python: Path) -> None:
    limits = replace(FAST, voxcpm_tts=VoxcpmTtsLimits(requests=2))
    async with visit(tone_python, tone_config(first_chunk_s=0.3), limits=limits) as (_, ws):
        for name in ("a", "b", "c"):
            await ws.send(tts(name))
        heard = await hear(ws, ends=3)
    assert heard["c"].last["error"]["code"] == "RATE_LIMITED"
    assert heard["a"].audio == heard["b"].audio == AUDIO


async def test_b11_a_full_line_is_told(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, waiting_per_worker=1))
    async with visit(tone_python, tone_config(speed_rtf=1.0), limits=limits) as (_, ws):
        for name in ("a", "b", "c", "d"):
            await ws.send(tts(name, LONG))
        heard = await hear(ws)
    assert [one.last["error"]["code"] for one in heard.values() if one.is_over] == ["QUEUE_FULL"]


async def test_b11_a_request_that_takes_too_long_ends(tone_python: Path) -> None:
    limits = replace(FAST, voxcpm_tts=VoxcpmTtsLimits(request_s=0.3))
    async with visit(tone_python, tone_config(speed_rtf=1.0), limits=limits) as (server, ws):
        await ws.send(tts("a", LONG))
        assert (await hear(ws))["a"].last["error"]["code"] == "TIMEOUT"
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the engine stopped", 2.0)


async def test_a_model_that_does_not_load_is_told(tone_python: Path) -> None:
    async with running_server(tone_config(load_fault="config"), tone_python, wait=False) as server:
        async with websockets.connect(f"{server.ws}/tts") as ws:
            await ws.send(tts("a"))
            assert (await hear(ws))["a"].last["error"]["code"] == "MODEL_NOT_LOADED"


async def test_a_request_waits_for_a_model_that_loads(tone_python: Path) -> None:
    async with running_server(tone_config(load_s=0.5), tone_python, wait=False) as server:
        async with websockets.connect(f"{server.ws}/tts") as ws:
            await ws.send(tts("a", voice_id="tone-tone"))
            heard = (await hear(ws))["a"]
    assert heard.audio == AUDIO
    assert any("the model is loading" in message.get("message", "") for message in heard.messages)


async def test_b18_a_message_that_is_none_is_refused_and_the_socket_goes_on(tone_python: Path) -> None:
    hostile = ["{", "[]", "5", '{"type": "ping", "timestamp": NaN}', "[" * 50_000, '"\\ud800"']
    async with visit(tone_python) as (_, ws):
        for message in hostile:
            await ws.send(message)
        await ws.send(b"audio")
        codes = [json.loads(await ws.recv())["error"]["code"] for _ in [*hostile, "the binary one"]]
        assert codes == ["INVALID_JSON"] * len(hostile) + ["UNSUPPORTED_FORMAT"]
        await ws.send(tts("a"))
        assert (await hear(ws))["a"].audio == AUDIO


async def test_b19_a_query_string_is_no_error(tone_python: Path) -> None:
    async with visit(tone_python, path="/tts?backend=tone&token=x") as (_, ws):
        await ws.send(tts("a"))
        assert (await hear(ws))["a"].audio == AUDIO


async def test_a_backend_that_is_not_there_closes_the_socket(tone_python: Path) -> None:
    async with visit(tone_python, path="/tts?backend=other") as (_, ws):
        assert json.loads(await ws.recv())["error"]["message"] == "this server runs tone"
        await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)


async def test_the_root_belongs_to_this_protocol_on_a_port_of_its_own_only(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        with pytest.raises(websockets.InvalidStatus):
            async with websockets.connect(server.ws):
                pass


async def test_voices_by_id_and_by_name_speak(tone_python: Path) -> None:
    async with visit(tone_python) as (_, ws):
        for voice in ("low", "tone-low"):
            await ws.send(tts("a", voice_id=voice))
            assert (await hear(ws))["a"].audio == tone_bytes(*SENTENCES, voice="low")


async def test_b8_a_parameter_without_effect_is_told_and_an_option_of_the_engine_has_one(tone_python: Path) -> None:
    heard = await ask(tone_python, tts("a", cfg_value=3, denoise=True, normalize=False, speed=2.0))
    assert heard.messages[0]["message"] == "accepted; without effect here: cfg_value, denoise"
    assert heard.audio == tone_bytes(*SENTENCES, speed=2.0)


async def test_draining_lets_requests_end_and_then_sends_the_client_away(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(first_chunk_s=0.3)) as (server, ws):
        await ws.send(tts("a"))
        await eventually(lambda: any(guest.is_busy for guest in server.house.guests), "it is taken")
        server.house.drain()
        assert (await hear(ws))["a"].audio == AUDIO
        await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
        assert ws.close_code == 1012


async def test_who_is_evicted_hears_why_for_each_request(tone_python: Path) -> None:
    async with visit(tone_python, tone_config(speed_rtf=1.0)) as (server, ws):
        await ws.send(tts("a", LONG))
        await ws.send(tts("b", LONG))
        await eventually(lambda: len(server.backend.streams) == 2, "both are taken")
        server.house.drain()
        server.house.evict()
        heard = await hear(ws, ends=2)
        assert {one.last["error"]["code"] for one in heard.values()} == {"INTERNAL_ERROR"}
        await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
        assert ws.close_code == 1012


async def test_b15_a_client_that_does_not_read_is_cut_off(tone_python: Path) -> None:
    kernel_waits = replace(FAST, stream=replace(FAST.stream, tcp_user_timeout_s=60.0))
    async with running_server(tone_config(), tone_python, limits=kernel_waits) as server:
        async with websockets.connect(f"{server.ws}/tts", max_queue=1, max_size=None) as ws:
            await ws.send(tts("a", LONG * 19))
            await eventually(lambda: bool(server.house.guests), "it is inside")
            await eventually(lambda: not server.house.guests, "it is cut off")
            ws.transport.abort()
        assert not server.backend.streams
