"""WS `/tts` and its HTTP doors over real sockets. B1 … B24 are the mistakes of the server that its clients know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import websockets

from tests.harness import (
    FAST,
    NO_VOICES,
    TIMEOUT_S,
    RunningServer,
    eventually,
    running_server,
    tone_bytes,
    tone_config,
    voice_store,
)
from tests.unit.test_observe import scrape
from tests.unit.test_voxcpm_tts_protocol import Frame, read_frame
from voice_server.core.limits import Limits, VoxcpmTtsLimits
from voice_server.core.settings import BackendConfig
from voice_server.voices import VoiceStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = ("Hello there, dear listener.", "How are you today?")
TEXT = " ".join(SENTENCES)
AUDIO = tone_bytes(*SENTENCES)
LONG = "This sentence is spoken at the pace of a person, so that there is time to stop it. " * 3


@dataclass
class Heard:
    """What one request got, in order."""

    frames: list[Frame] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def audio(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames)

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    @property
    def is_over(self) -> bool:
        return bool(self.messages) and self.last["type"] in ("complete", "error")


def tts(name: str, text: str = TEXT, **params: Any) -> str:
    return json.dumps({"type": "tts_request", "request_id": name, "params": {"text": text, **params}})


def cancel(name: str) -> str:
    return json.dumps({"type": "cancel", "request_id": name})


async def hear(
    ws: websockets.ClientConnection, heard: dict[str, Heard] | None = None, ends: int = 1
) -> dict[str, Heard]:
    """By request, until so many of them are over."""
    heard = {} if heard is None else heard
    while sum(one.is_over for one in heard.values()) < ends:
        await hear_one(ws, heard)
    return heard


async def hear_one(ws: websockets.ClientConnection, heard: dict[str, Heard]) -> None:
    message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
    if isinstance(message, bytes):
        frame = read_frame(message)
        heard.setdefault(frame.told["request_id"], Heard()).frames.append(frame)
    else:
        told = json.loads(message)
        heard.setdefault(told["request_id"], Heard()).messages.append(told)


@asynccontextmanager
async def visit(
    python: Path,
    config: BackendConfig | None = None,
    *,
    path: str = "/tts",
    limits: Limits = FAST,
    voices: VoiceStore = NO_VOICES,
) -> AsyncIterator[tuple[RunningServer, websockets.ClientConnection]]:
    async with running_server(config or tone_config(), python, limits=limits, voices=voices) as server:
        async with websockets.connect(f"{server.ws}{path}", max_size=None) as ws:
            yield server, ws


async def ask(python: Path, *messages: str | bytes, config: BackendConfig | None = None) -> Heard:
    """The answer to the last message, which is for one request, or for none."""
    async with visit(python, config) as (_, ws):
        for message in messages:
            await ws.send(message)
        return next(iter((await hear(ws)).values()))


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


@pytest.fixture
def voices(tmp_path: Path, sample: Path) -> VoiceStore:
    data, rate = soundfile.read(sample)
    soundfile.write(tmp_path / "anna.wav", data, rate)
    soundfile.write(tmp_path / "bert.flac", data / 2, rate)
    (tmp_path / "anna.txt").write_text("These are my Words.")
    store = voice_store(tmp_path)
    store.scan()
    return store


@pytest.fixture
def cloner() -> BackendConfig:
    """An engine that clones samples and has a voice of its own."""
    adapter = Path(__file__).parents[1] / "cloner.py"
    return replace(tone_config(), name="cloner", adapter=f"{adapter}:Cloner", opts={}, aliases={}, voice="silence")


async def _get(server: RunningServer, path: str) -> Any:
    async with httpx.AsyncClient(base_url=server.http) as client:
        response = await client.get(path)
        response.raise_for_status()
        return response.json()


async def test_voices_are_listed_by_category_and_searched_as_a_list(
    tone_python: Path, cloner: BackendConfig, voices: VoiceStore
) -> None:
    async with running_server(cloner, tone_python, voices=voices) as server:
        listed = await _get(server, "/api/voices")
        found = await _get(server, "/api/voices?search=wORDS")
        of_category = await _get(server, "/api/voices?category=samples")
        counted = await _get(server, "/api/voices/categories")
        stats = await _get(server, "/api/voices/stats")
    anna = {
        "id": "samples-anna",
        "name": "anna",
        "sample_text": "These are my Words.",
        "audio_url": "/api/voices/samples-anna/audio",
    }
    assert listed["voices"]["samples"][0] == anna
    assert [voice["audio_url"] for voice in listed["voices"]["cloner"]] == [None] * (listed["total"] - 2)
    assert found == {"voices": [{**anna, "category": "samples"}], "total": 1}
    assert of_category["voices"].keys() == {"samples"}
    assert counted["categories"][-1] == {"name": "samples", "count": 2}
    assert stats["voices_per_category"]["samples"] == 2
    assert stats["initialized"] is True


async def test_a_recording_is_served_as_what_it_is(
    tone_python: Path, cloner: BackendConfig, voices: VoiceStore
) -> None:
    async with running_server(cloner, tone_python, voices=voices) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            got = {name: await client.get(f"/api/voices/samples-{name}/audio") for name in ("anna", "bert")}
            missing = [
                (await client.get(f"/api/voices/{name}/audio")).status_code
                for name in ("cloner-own", "nobody", "..%2f..%2fetc%2fpasswd")
            ]
    assert [got[name].headers["content-type"] for name in got] == ["audio/wav", "audio/flac"]
    assert got["anna"].content[:4] == b"RIFF"
    assert missing == [404, 404, 404]


async def test_b20_the_configuration_names_the_address_that_was_asked(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        told = await _get(server, "/api/config")
    assert told["wsUrl"] == told["websocket_url"] == f"{server.ws}/tts"
    assert told["defaultParams"]["mode"] == told["default_params"]["mode"] == "streaming"
    assert told["constraints"]["cfg_value"] == {"min": 0.1, "max": 10.0}
    assert told["constraints"]["max_text_length"] == 5000


async def test_an_unknown_backend_is_404_at_the_http_doors(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, httpx.AsyncClient(base_url=server.http) as client:
        paths = ("config", "voices", "voices/categories", "voices/stats", "voices/x/audio")
        assert {(await client.get(f"/api/{path}?backend=other")).status_code for path in paths} == {404}


def sum_of(server: RunningServer, metric: str) -> float:
    return sum(value for name, value in scrape(server.house.metrics).items() if name.startswith(metric))


async def test_b2_requests_and_errors_are_counted_under_the_names_that_dashboards_know(tone_python: Path) -> None:
    async with visit(tone_python) as (server, ws):
        for message in (tts("a"), tts("b", mode="non_streaming"), tts("c", voice_id="nobody-here")):
            await ws.send(message)
        await hear(ws, ends=3)
        await eventually(lambda: sum_of(server, "voxcpm_tts_requests_total") == 3, "all are counted")
        seen = scrape(server.house.metrics)
        assert seen["voxcpm_tts_active_connections{}"] == 1
    for mode, status in (("streaming", "completed"), ("non_streaming", "completed"), ("streaming", "failed")):
        assert seen[f"voxcpm_tts_requests_total{{mode={mode},status={status}}}"] == 1
    assert seen["voxcpm_tts_errors_total{error_code=VOICE_NOT_FOUND}"] == 1
    assert seen["voxcpm_tts_audio_duration_seconds_sum{}"] == pytest.approx(2 * len(AUDIO) / 48000)
