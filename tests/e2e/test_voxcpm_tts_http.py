"""The HTTP doors beside WS `/tts`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from tests.e2e.voxcpm_tts_client import AUDIO, hear, tts, visit
from tests.harness import (
    RunningServer,
    eventually,
    running_server,
    tone_config,
    voice_store,
)
from tests.unit.test_observe import scrape
from voice_server.core.settings import BackendConfig
from voice_server.voices import VoiceStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


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
