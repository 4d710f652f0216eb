"""WS /transcribe over real sockets; the engine is `pitch`, which writes down how high each beep was."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, say, tone_config
from tests.process.hearing_driver import RATE, beeps, listening, pitch_config, words
from voice_server.core.limits import Limits
from voice_server.core.options import OptionSpec
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TUNE = (440, 880, 1320, 660)
START = {"start": True, "sample_rate": RATE, "format": "s16le"}
STOP = {"stop": True}


@asynccontextmanager
async def server_with(
    python: Path, config: BackendConfig | None = None, limits: Limits = FAST, token: str = ""
) -> AsyncIterator[RunningServer]:
    async with listening(python, config or pitch_config(), limits) as recogniser:
        async with running_server(
            tone_config(), python, limits=limits, token=token, recognisers=[recogniser]
        ) as server:
            yield server


@asynccontextmanager
async def socket_of(server: RunningServer, query: str = "") -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(f"{server.ws}/transcribe{query}", max_size=None) as ws:
        assert (await hear(ws))["event"] == "ready"
        yield ws


async def hear(ws: websockets.ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    return told


async def hear_until(ws: websockets.ClientConnection, *last: str) -> list[dict[str, Any]]:
    """All messages up to one of these kinds."""
    told = [await hear(ws)]
    while kind_of(told[-1]) not in last:
        told.append(await hear(ws))
    return told


def kind_of(message: dict[str, Any]) -> str:
    return str(message.get("event") or message["type"])


def floats(pcm: bytes) -> bytes:
    return (np.frombuffer(pcm, dtype="<i2") / 32767).astype("<f4").tobytes()


def start(session_id: str = "one", **more: Any) -> dict[str, Any]:
    return {"cmd": "start_session", "session_id": session_id, **more}


def chunk(pcm: bytes, session_id: str = "one") -> dict[str, Any]:
    encoded = base64.b64encode(floats(pcm)).decode()
    return {"cmd": "audio_chunk", "session_id": session_id, "pcm_b64": encoded}


def stop(session_id: str = "one") -> dict[str, Any]:
    return {"cmd": "stop_session", "session_id": session_id}


def busy_seats(server: RunningServer) -> int:
    (recogniser,) = server.house.recognisers.values()
    return sum(slot.open_renders for slot in recogniser.pool.slots)


# The bare way


async def test_frames_become_text_while_they_come(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, START)
        assert await hear(ws) == {"type": "started", "backend": "pitch"}
        partials = []
        for hz in TUNE:
            await ws.send(beeps(hz))
            partials.append((await hear_until(ws, "partial"))[-1]["text"])
        await say(ws, STOP)
        final = (await hear_until(ws, "final"))[-1]
    assert partials == [words(*TUNE[:count]) for count in range(1, 5)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(partials))
    assert final["text"] == words(*TUNE)
    assert final["duration_s"] == pytest.approx(2.0)
    assert final["segments"][1] == {"text": "880hz", "start_s": 0.5, "end_s": 0.7}


@pytest.mark.parametrize("form", ["s16le", "f32le"])
@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_other_rates_and_formats_are_heard_as_well(tone_python: Path, rate: int, form: str) -> None:
    sound = beeps(*TUNE, rate=rate)
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, {"start": True, "sample_rate": rate, "format": form})
        sent = sound if form == "s16le" else floats(sound)
        for at in range(0, len(sent), 8_000):
            await ws.send(sent[at : at + 8_000])
        await say(ws, STOP)
        assert (await hear_until(ws, "final"))[-1]["text"] == words(*TUNE)


async def test_a_stop_at_once_is_answered_with_all_that_was_said(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, START)
        await ws.send(beeps(440, pause_s=0.0))
        await say(ws, STOP)
        assert (await hear_until(ws, "final"))[-1]["text"] == "440hz"
        await say(ws, START, STOP)
        assert (await hear_until(ws, "final"))[-1]["text"] == ""


async def test_a_language_that_the_engine_does_not_hear_is_refused(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, {**START, "language": "de"})
        refused = await hear(ws)
        assert (refused["type"], refused["code"], refused["field"]) == ("error", "bad_option", "language")
        await say(ws, {**START, "language": "en-GB"})
        assert (await hear(ws))["type"] == "started"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\0\0\0", "bad_message"),
        ("no json", "bad_message"),
        ('{"hello": 1}', "bad_message"),
        (json.dumps(START), "bad_message"),
    ],
    ids=["odd", "no json", "no command", "a second start"],
)
async def test_an_error_ends_the_hearing_and_the_next_one_may_start(
    tone_python: Path, sent: str | bytes, code: str
) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, START)
        await ws.send(sent)
        assert (await hear_until(ws, "error"))[-1]["code"] == code
        await eventually(lambda: busy_seats(server) == 0, "the worker is free")
        await say(ws, START)
        await ws.send(beeps(440))
        await say(ws, STOP)
        assert (await hear_until(ws, "final"))[-1]["text"] == "440hz"


@pytest.mark.parametrize("value", [np.nan, np.inf])
async def test_samples_that_are_no_numbers_are_refused(tone_python: Path, value: float) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, {**START, "format": "f32le"})
        await ws.send(np.array([0.0, value], dtype="<f4").tobytes())
        assert "no numbers" in (await hear_until(ws, "error"))[-1]["message"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"sample_rate": 1}, "unknown_format"),
        ({"format": "mp3"}, "unknown_format"),
        ({"start": False}, "bad_message"),
        ({"backend": "tone"}, "unknown_backend"),
        ({"opts": {"pitch": 1}}, "bad_option"),
    ],
)
async def test_a_start_that_cannot_be_is_refused(tone_python: Path, wrong: dict[str, Any], code: str) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, {**START, **wrong})
        assert (await hear(ws))["code"] == code


async def test_audio_before_a_start_is_an_error(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await ws.send(b"\0\0")
        assert (await hear(ws))["code"] == "unknown_session"


# In sessions


async def test_a_session_is_told_as_its_clients_know_it(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, start())
        assert await hear(ws) == {"event": "session_started", "session_id": "one"}
        await say(ws, chunk(beeps(440)), chunk(beeps(880)))
        partial = await hear(ws)
        assert (partial["event"], partial["session_id"]) == ("partial", "one")
        assert partial["chunk_count"] in (1, 2)
        await say(ws, stop())
        final = (await hear_until(ws, "final"))[-1]
    assert (final["session_id"], final["text"]) == ("one", words(440, 880))


async def test_sessions_of_one_socket_do_not_mix(tone_python: Path) -> None:
    finals: dict[str, str] = {}
    async with server_with(tone_python, pitch_config(capacity=2)) as server, socket_of(server) as ws:
        await say(ws, start("one"), start("two"))
        await say(ws, chunk(beeps(440), "one"), chunk(beeps(880), "two"), chunk(beeps(660), "one"))
        await say(ws, stop("two"), stop("one"))
        while len(finals) < 2:
            told = (await hear_until(ws, "final"))[-1]
            finals[told["session_id"]] = told["text"]
    assert finals == {"one": words(440, 660), "two": words(880)}


async def test_a_session_has_one_last_message_even_when_stop_comes_at_once(tone_python: Path) -> None:
    async with server_with(tone_python, pitch_config(work_s=0.2)) as server, socket_of(server) as ws:
        await say(ws, start(), *(chunk(beeps(hz)) for hz in TUNE), stop(), stop(), chunk(beeps(440)))
        told = await hear_until(ws, "final", "error")
        assert (told[-1]["event"], told[-1]["text"]) == ("final", words(*TUNE))
        await say(ws, stop())
        assert (await hear(ws))["message"] == "unknown session"


@pytest.mark.parametrize(
    ("sent", "message", "code"),
    [
        ("no json", "invalid json", "bad_message"),
        ("[1]", "invalid json", "bad_message"),
        ('{"cmd": "sing", "session_id": "one"}', "unknown cmd", "bad_message"),
        ('{"cmd": "start_session"}', "missing session_id", "bad_message"),
        ('{"cmd": "stop_session", "session_id": "two"}', "unknown session", "unknown_session"),
        ('{"cmd": "audio_chunk", "session_id": "two", "pcm_b64": ""}', "unknown session", "unknown_session"),
        ('{"cmd": "start_session", "session_id": "one"}', "the session is open already", "bad_message"),
    ],
)
async def test_an_error_that_names_another_session_or_none_does_not_end_this_one(
    tone_python: Path, sent: str, message: str, code: str
) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, start())
        await hear(ws)
        await ws.send(sent)
        told = await hear(ws)
        assert (told["event"], told["message"], told["code"]) == ("error", message, code)
        assert told.get("session_id") != "one"
        await say(ws, chunk(beeps(440)), stop())
        assert (await hear_until(ws, "final"))[-1]["text"] == "440hz"


@pytest.mark.parametrize(
    ("pcm_b64", "message"),
    [
        ("!", "invalid base64"),
        (base64.b64encode(b"123").decode(), "invalid audio"),
        (base64.b64encode(np.array([np.nan], dtype="<f4").tobytes()).decode(), "invalid audio"),
    ],
)
async def test_an_error_that_names_a_session_is_its_last_message(tone_python: Path, pcm_b64: str, message: str) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, start(), {"cmd": "audio_chunk", "session_id": "one", "pcm_b64": pcm_b64})
        told = (await hear_until(ws, "error"))[-1]
        assert (told["session_id"], told["code"]) == ("one", "bad_message")
        assert told["message"].startswith(message)
        await eventually(lambda: busy_seats(server) == 0, "the worker is free")
        await say(ws, stop())
        assert (await hear(ws))["message"] == "unknown session"


async def test_sessions_of_one_socket_are_so_many_at_most(tone_python: Path) -> None:
    limits = replace(FAST, transcribe=replace(FAST.transcribe, sessions=2))
    async with server_with(tone_python, limits=limits) as server, socket_of(server) as ws:
        await say(ws, start("one"), start("two"), start("three"))
        told = (await hear_until(ws, "error"))[-1]
        assert (told["session_id"], told["code"]) == ("three", "overloaded")
        await say(ws, stop("one"))
        await hear_until(ws, "final")
        await say(ws, start("three"))
        assert (await hear(ws))["event"] == "session_started"


async def test_what_the_worker_cannot_bear_is_told_as_overload(tone_python: Path) -> None:
    limits = replace(FAST, hearing=replace(FAST.hearing, backlog_s=1.0))
    async with server_with(tone_python, pitch_config(work_s=0.5), limits) as server, socket_of(server) as ws:
        await say(ws, start(), *(chunk(beeps(440)) for _ in range(6)), stop())
        told = await hear_until(ws, "final")
    overload = [message for message in told if message["event"] == "overload"][-1]
    assert (overload["session_id"], overload["policy"]) == ("one", "drop_newest")
    assert overload["dropped_count"] == 6 - len(told[-1]["text"].split())
    assert overload["queue_depth"] >= 1
    assert overload["dropped_s"] == pytest.approx(overload["dropped_count"] * 0.5)


async def test_audio_that_no_worker_survives_ends_its_session_only(tone_python: Path) -> None:
    config = replace(pitch_config(workers=2), opts={"fault": OptionSpec("str", default="")})
    async with server_with(tone_python, config) as server, socket_of(server) as ws:
        await say(ws, start("one", opts={"fault": "die"}), start("two"))
        await say(ws, chunk(beeps(440), "one"), chunk(beeps(880), "two"))
        failed = (await hear_until(ws, "error"))[-1]
        assert (failed["session_id"], failed["code"]) == ("one", "hearing_failed")
        assert failed["message"].startswith("partial transcribe failed")
        await say(ws, stop("two"))
        assert (await hear_until(ws, "final"))[-1]["text"] == "880hz"


# The socket


async def test_a_client_that_leaves_frees_its_seats(tone_python: Path) -> None:
    async with server_with(tone_python) as server:
        async with socket_of(server) as ws:
            await say(ws, start("one"), start("two"), START)
            await ws.send(beeps(440))
            await eventually(lambda: busy_seats(server) == 3, "all are heard")
        await eventually(lambda: busy_seats(server) == 0, "the worker is free")
        assert server.house.is_empty


async def test_an_idle_client_is_told_and_let_go_though_its_session_is_open(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    async with server_with(tone_python, limits=limits) as server, socket_of(server) as ws:
        await say(ws, start())
        assert (await hear_until(ws, "error"))[-1]["code"] == "idle_timeout"
        await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
        assert ws.close_code == 1008
        await eventually(lambda: busy_seats(server) == 0, "the worker is free")


async def test_at_a_shutdown_a_session_is_heard_to_its_end(tone_python: Path) -> None:
    async with server_with(tone_python) as server, socket_of(server) as ws:
        await say(ws, start(), chunk(beeps(440)))
        await hear_until(ws, "session_started")
        server.house.drain()
        await say(ws, stop())
        assert (await hear_until(ws, "final"))[-1]["text"] == "440hz"
        server.house.drain()
        assert (await hear(ws))["code"] == "going_away"
        await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
        assert ws.close_code == 1012


async def test_a_server_on_which_nobody_listens_says_so(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"{server.ws}/transcribe"):
                pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == "unknown_backend"


async def test_the_token_is_wanted_here_too(tone_python: Path) -> None:
    async with server_with(tone_python, token="secret") as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"{server.ws}/transcribe"):
                pass
        assert refused.value.response.status_code == 401
        async with socket_of(server, "?api_key=secret"):
            pass


async def test_a_client_that_does_not_read_is_cut_off(tone_python: Path) -> None:
    limits = replace(FAST, transcribe=replace(FAST.transcribe, unread=8), stream=replace(FAST.stream, send_s=0.3))
    async with server_with(tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/transcribe", max_queue=1) as ws:
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await ws.send("no json")
        await eventually(lambda: server.house.is_empty, "nobody is inside")
