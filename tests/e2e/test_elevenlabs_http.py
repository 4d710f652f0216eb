"""ElevenLabs' HTTP doors, byte for byte."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from tests.e2e.elevenlabs_client import PCM, SENTENCES, TEXT
from tests.harness import RunningServer, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

LONG = " ".join(["This one goes on for a rather long time."] * 20)
ENDS = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")  # of the addresses of the HTTP doors


async def _post(server: RunningServer, path: str, query: str = PCM, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        url = f"{server.http}/v1/text-to-speech/{path}?{query}"
        return await client.post(url, json={"text": TEXT, "model_id": "eleven_multilingual_v2", **body})


@pytest.mark.parametrize("path", ["tone", "tone/stream"])
async def test_a_file_is_what_the_backend_spoke(tone_python: Path, path: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, path)
    assert response.headers["content-type"] == "audio/pcm"
    assert response.content == tone_bytes(*SENTENCES)


async def test_a_whole_wav_has_its_true_length(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, "tone", "output_format=wav_24000")
    assert soundfile.info(io.BytesIO(response.content)).frames == len(tone_bytes(*SENTENCES)) / 2


async def test_times_of_a_file_are_those_of_all_its_sentences(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        told = (await _post(server, "tone/with-timestamps")).json()
    assert base64.b64decode(told["audio_base64"]) == tone_bytes(*SENTENCES)
    assert "".join(told["alignment"]["characters"]) == f"{TEXT} "
    assert told["alignment"]["character_end_times_seconds"][-1] == len(tone_bytes(*SENTENCES)) / 48_000


async def test_a_stream_with_times_is_lines_in_the_order_of_speech(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        lines = [json.loads(line) for line in (await _post(server, "tone/stream/with-timestamps")).text.splitlines()]
    heard, ends = b"", []
    for line in lines:
        heard += base64.b64decode(line["audio_base64"])
        if line["alignment"]:
            ends.append((len(heard) / 48_000, line["alignment"]["character_end_times_seconds"][-1]))
    assert heard == tone_bytes(*SENTENCES)
    assert [end_s for _, end_s in ends] == [heard_s for heard_s, _ in ends]
    assert len(ends) == len(SENTENCES)


@pytest.mark.parametrize(
    ("voice", "query", "body", "status", "word"),
    [
        ("nobody", PCM, {}, 404, "voice_not_found"),
        ("tone", "output_format=gsm_8000", {}, 400, "unknown_format"),
        ("tone", PCM, {"text": " "}, 400, "empty_text"),
        ("tone", PCM, {"text": 5}, 400, "bad_message"),
        ("tone", PCM, {"text": "a" * 70_000}, 413, "text_too_long"),
        ("tone", PCM, {"voice_settings": {"speed": 9}}, 400, "bad_option"),
    ],
)
async def test_what_is_wrong_with_a_request_has_a_status_and_a_word(
    tone_python: Path, voice: str, query: str, body: dict[str, Any], status: int, word: str
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        responses = [await _post(server, voice + end, query, **body) for end in ENDS]
    assert {response.status_code for response in responses} == {status}
    assert {response.json()["detail"]["status"] for response in responses} == {word}


async def test_an_engine_that_fails_is_a_status_and_never_an_empty_file(tone_python: Path) -> None:
    async with running_server(tone_config(fault="raise@0"), tone_python) as server:
        responses = [await _post(server, f"tone{end}") for end in ENDS]
    assert {response.status_code for response in responses} == {500}
    assert {response.json()["detail"]["status"] for response in responses} == {"sentence_failed"}


async def test_half_a_stream_does_not_end_like_a_whole_one(tone_python: Path) -> None:
    async with running_server(tone_config(fault="raise@2"), tone_python) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await _post(server, "tone/stream")


async def test_the_voices_are_listed_as_clients_want_them(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, httpx.AsyncClient() as client:
        voices = (await client.get(f"{server.http}/v1/voices")).json()["voices"]
        page = (await client.get(f"{server.http}/v2/voices")).json()
        one = await client.get(f"{server.http}/v1/voices/low")
        none = await client.get(f"{server.http}/v1/voices/nobody")
    assert [(voice["voice_id"], voice["name"], voice["category"]) for voice in voices] == [
        (name, name, "premade") for name in ("tone", "low", "high")
    ]
    assert page == {"voices": voices, "has_more": False, "total_count": 3, "next_page_token": None}
    assert one.json() == voices[1]
    assert (none.status_code, none.json()["detail"]["status"]) == (404, "voice_not_found")
