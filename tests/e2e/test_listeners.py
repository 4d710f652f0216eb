"""What the other doors tell of a backend that listens, and what it does for voices: over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from tests.e2e.voice_desk import VOICES, code_of
from tests.harness import TIMEOUT_S, RunningServer, eventually, running_server, tone_config, voice_store
from tests.process.hearing_driver import RATE, Client, beeps, listening, pitch_config, words
from voice_server.core.audio.pcm import wav_header
from voice_server.core.settings import BackendConfig
from voice_server.core.status import ServerStatus
from voice_server.stream.recogniser import Recogniser
from voice_server.terminal.top import picture

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PITCH = replace(pitch_config(capacity=1), kind="stt", licence="Apache-2.0")
TUNE = (440, 880, 1320, 660)


@asynccontextmanager
async def desk(
    python: Path, config: BackendConfig = PITCH, folder: Path | None = None
) -> AsyncIterator[tuple[RunningServer, Recogniser, httpx.AsyncClient]]:
    voices: dict[str, Any] = {"voices": voice_store(folder)} if folder else {}
    async with listening(python, config) as one:
        async with running_server(tone_config(), python, recognisers=[one], **voices) as server:
            async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
                yield server, one, client


async def test_backends_of_both_kinds_say_what_they_can(tone_python: Path) -> None:
    async with desk(tone_python) as (_, _, client):
        tone, pitch = (await client.get("/backends")).json()["backends"]
    told = {key: tone[key] for key in ("name", "kind", "state", "languages", "sample_rate", "licence")}
    assert told == {
        "name": "tone",
        "kind": "tts",
        "state": "ready",
        "languages": ["en"],
        "sample_rate": 24_000,
        "licence": "Apache-2.0",
    }
    assert [tone[key] for key in ("can_clone", "streams", "tags", "lora")] == [True, True, [], False]
    assert [pitch[key] for key in ("name", "kind", "state", "languages", "sample_rate", "licence")] == [
        "pitch",
        "stt",
        "ready",
        ["en"],
        16_000,
        "Apache-2.0",
    ]
    assert [pitch[key] for key in ("can_clone", "streams", "tags", "lora")] == [False, True, [], False]
    assert pitch["workers"][0]["state"] == "ready"


async def test_a_backend_that_cannot_load_is_called_broken(tone_python: Path) -> None:
    async with running_server(tone_config(load_fault="error"), tone_python, wait=False) as server:
        await eventually(lambda: not any(slot.may_recover for slot in server.backend.pool.slots), "it has given up")
        async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
            assert (await client.get("/backends")).json()["backends"][0]["state"] == "broken"


async def test_the_status_counts_hearings_and_those_who_wait(tone_python: Path) -> None:
    async with desk(tone_python) as (_, recogniser, client):
        first, second = Client(recogniser), Client(recogniser)
        await eventually(lambda: recogniser.pool.slots[0].open_renders == 1, "one is seated")
        told = (await client.get("/status")).json()["backends"][1]
        metrics = (await client.get("/metrics")).text
        first.hearing.close()
        second.hearing.close()
    assert (told["name"], told["kind"], told["waiting"], told["streams"]) == ("pitch", "stt", 1, [])
    assert [(one["name"], one["state"], one["open_renders"], one["capacity"]) for one in told["workers"]] == [
        ("pitch-0", "ready", 1, 1)
    ]
    assert 'voice_renders_open{backend="pitch"} 1.0' in metrics
    assert 'voice_workers{backend="pitch",state="ready"} 1.0' in metrics


async def test_top_shows_workers_that_listen(tone_python: Path) -> None:
    async with desk(tone_python) as (server, recogniser, _):
        client = Client(recogniser)
        await eventually(lambda: recogniser.pool.slots[0].open_renders == 1, "it is seated")
        status: ServerStatus = server.house.status
        client.hearing.close()
    console = Console(width=140, record=True)
    with console.capture() as shown:
        console.print(picture(status))
    assert "pitch  1 of 1 workers ready · 1 hearings open · 0 waiting" in shown.get()
    assert "pitch-0" in shown.get()


async def test_models_that_listen_are_listed_with_the_names_that_clients_send(tone_python: Path) -> None:
    async with desk(tone_python) as (_, _, client):
        listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert listed[0] == "tone"
        assert {"pitch", "whisper-1"} <= set(listed)
        assert (await client.get("/v1/models/pitch")).json()["id"] == "pitch"
        assert (await client.get("/v1/models/whisper-1")).status_code == 200
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
            assert "whisper-1" not in listed
            assert (await client.get("/v1/models/whisper-1")).status_code == 404


async def test_ready_names_those_that_listen(tone_python: Path) -> None:
    async with desk(tone_python) as (_, _, client):
        assert (await client.get("/ready")).json()["listening"] == ["pitch"]


# Voices


def tune_wav() -> bytes:
    pcm = beeps(*TUNE)
    return wav_header(RATE, len(pcm)) + pcm


async def upload(client: httpx.AsyncClient, sound: bytes, **fields: str) -> httpx.Response:
    return await client.post(VOICES, data={"name": "ada", **fields}, files={"audio_sample": ("me.wav", sound)})


async def test_a_voice_without_a_transcript_gets_one_proposed(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, folder=tmp_path) as (server, _, client):
        voice = (await upload(client, tune_wav())).json()
        assert voice["proposed_transcript"] == words(*TUNE)
        assert voice["transcript"] == server.house.voices.samples["ada"].transcript == ""


async def test_a_transcript_that_is_asked_for_is_kept(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, folder=tmp_path) as (server, _, client):
        voice = (await upload(client, tune_wav(), transcript="auto", consent="mine")).json()
        assert voice["transcript"] == voice["proposed_transcript"] == words(*TUNE)
        kept = server.house.voices.samples["ada"]
        assert (kept.transcript, kept.about.consent) == (words(*TUNE), "mine")


async def test_nothing_is_proposed_for_a_voice_that_has_its_words(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, folder=tmp_path) as (_, _, client):
        voice = (await upload(client, tune_wav(), transcript="Something else.")).json()
    assert voice["transcript"] == "Something else."
    assert "proposed_transcript" not in voice


async def test_a_language_that_nobody_hears_costs_the_proposal_and_not_the_voice(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, folder=tmp_path) as (_, _, client):
        answer = await upload(client, tune_wav(), language="de")
    assert answer.status_code == 200
    assert "proposed_transcript" not in answer.json()


async def test_where_nobody_listens_no_transcript_can_be_asked_for(tone_python: Path, tmp_path: Path) -> None:
    async with running_server(tone_config(), tone_python, voices=voice_store(tmp_path)) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
            refused = await upload(client, tune_wav(), transcript="auto")
            assert code_of(refused) == (400, "bad_message")
            assert "proposed_transcript" not in (await upload(client, tune_wav())).json()
