"""F1: names of voices that mean something to a file system, through every door that takes a name.

Around the folder of samples lie recordings that a name which became part of a path would find. None is ever spoken,
and the gateway and its worker open nothing outside the folder of samples and that of its clean copies.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets

from tests.audited import Audited, Touch, audited
from tests.e2e.wyoming_client import WyomingClient
from tests.e2e.wyoming_client import connected as connected_to
from tests.harness import TIMEOUT_S, hum_wav

pytestmark = pytest.mark.anyio

TEXT = "Hello there."
SECRETS = ("secret.wav", "voice_samples/sub/secret.wav", "voice_samples/.secret.wav")
TWIN = unicodedata.normalize("NFD", "zoé")  # of the voice zoé


@pytest.fixture(scope="module")
def house(tone_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "voice_samples" / "sub").mkdir(parents=True)
    (folder / "voice_samples" / "zoé.wav").write_bytes(hum_wav())
    for secret in SECRETS:
        (folder / secret).write_bytes(hum_wav(pitch_hz=300.0))
    with audited(folder, tone_python, "--listen", "wyoming=127.0.0.1:0") as house:
        house.server.wait_ready()
        yield house


def names(folder: Path) -> list[str]:
    plain = ["../secret", "../secret.wav", "..%2fsecret", "%2e%2e%2fsecret", "sub/secret", "sub\\secret", ".secret"]
    absolute = [
        f"{folder}/secret",
        f"{folder}/secret.wav",
        f"file://{folder}/secret.wav",
        "/etc/passwd",
        "//etc/passwd",
    ]
    odd = ["..", ".", "CON", "nul.wav", "zoé.", "zoé ", " zoé", "zoé\0", "zoé\n", "-rf", "~", "$HOME", "C:", "*", TWIN]
    return [*plain, *absolute, *odd, "zoé" * 100, "\u202ezoé"]


# The doors: what each says to a name


@dataclass(frozen=True, slots=True)
class Visitor:
    house: Audited
    http: httpx.AsyncClient

    async def post(self, path: str, body: dict[str, Any]) -> str:
        return _code(await self.http.post(path, json=body))

    async def ask(self, path: str, method: str = "GET") -> str:
        return _code(await self.http.request(method, path))


Door = Callable[[Visitor, str], Awaitable[str]]


@asynccontextmanager
async def visitor(house: Audited) -> AsyncIterator[Visitor]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.server.port}", timeout=TIMEOUT_S) as http:
        yield Visitor(house, http)


def _code(response: httpx.Response) -> str:
    kind = response.headers["content-type"]
    if response.is_success or not kind.startswith("application/json"):
        return kind if response.is_success else str(response.status_code)
    told = response.json()
    error = told.get("detail") or told.get("error")
    return str(error.get("code") or error.get("status")) if isinstance(error, dict) else str(told["error_code"])


async def _socket(at: Visitor, path: str, *messages: dict[str, Any]) -> str:
    """The code of the first refusal; "audio" where some comes first."""
    async with websockets.connect(f"{at.house.server.ws}{path}") as ws:
        with suppress(websockets.ConnectionClosed):
            for message in messages:
                await ws.send(json.dumps(message))
        async for message in ws:
            told = {"audio": True} if isinstance(message, bytes) else json.loads(message)
            if told.get("audio") or told.get("data"):
                return "audio"
            error = told.get("error")
            if code := error["code"] if isinstance(error, dict) else told.get("code") or told.get("error_code"):
                return str(code)
    return str(ws.close_code)


def _in_path(name: str) -> str:
    return quote(name, safe="").replace(".", "%2E")  # or a client would tidy the path up


async def stream_tokens(at: Visitor, name: str) -> str:
    return await _socket(at, "/stream-tokens", {"voice": name, "token": TEXT, "done": True})


async def stream_tokens_query(at: Visitor, name: str) -> str:
    return await _socket(at, f"/stream-tokens?voice={_in_path(name)}", {"token": TEXT, "done": True})


async def stream(at: Visitor, name: str) -> str:
    return await _socket(at, f"/stream?text=Hello.&voice={_in_path(name)}")


async def tts(at: Visitor, name: str) -> str:
    return await at.post("/tts", {"text": TEXT, "voice": name})


async def voxcpm_tts(at: Visitor, name: str) -> str:
    params = {"text": TEXT, "voice_id": name}
    return await _socket(at, "/tts", {"type": "tts_request", "request_id": "a", "params": params})


async def voxcpm_tts_category(at: Visitor, name: str) -> str:
    return await voxcpm_tts(at, f"samples-{name}")


async def openai(at: Visitor, name: str) -> str:
    return await at.post("/v1/audio/speech", {"input": TEXT, "model": "tts-1", "voice": name})


async def openai_object(at: Visitor, name: str) -> str:
    return await at.post("/v1/audio/speech", {"input": TEXT, "model": "tts-1", "voice": {"id": name}})


async def captions(at: Visitor, name: str) -> str:
    return await at.post("/v1/captions", {"input": TEXT, "model": "tts-1", "voice": name})


async def elevenlabs(at: Visitor, name: str) -> str:
    return await at.post(f"/v1/text-to-speech/{_in_path(name)}", {"text": TEXT})


async def elevenlabs_socket(at: Visitor, name: str) -> str:
    path = f"/v1/text-to-speech/{_in_path(name)}/stream-input"
    try:
        return await _socket(at, path, {"text": " "}, {"text": TEXT}, {"text": ""})
    except websockets.InvalidStatus as refused:
        return str(refused.response.status_code)


async def elevenlabs_voice(at: Visitor, name: str) -> str:
    return await at.ask(f"/v1/voices/{_in_path(name)}")


async def cartesia(at: Visitor, name: str) -> str:
    voice = {"mode": "id", "id": name}
    format = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    body = {"model_id": "sonic", "transcript": TEXT, "voice": voice, "output_format": format}
    return await at.post("/tts/bytes", body)


async def cartesia_socket(at: Visitor, name: str) -> str:
    format = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
    voice = {"mode": "id", "id": name}
    message = {"model_id": "sonic", "context_id": "a", "transcript": TEXT, "voice": voice, "output_format": format}
    return await _socket(at, "/tts/websocket", message)


async def wyoming(at: Visitor, name: str) -> str:
    port = int(at.house.server.stderr.split("listening on tcp://")[1].split()[0].rsplit(":", 1)[1])
    async with connected_to(port) as client:
        await client.say("synthesize", text=TEXT, voice={"name": name})
        return await _wyoming_answer(client)


async def _wyoming_answer(client: WyomingClient) -> str:
    told = await client.hear()
    return "closed" if told is None else str(told[1]["code"]) if told[0] == "error" else told[0]


async def sample(at: Visitor, name: str) -> str:
    return await at.ask(f"/v1/audio/voices/{_in_path(name)}/sample")


async def preview(at: Visitor, name: str) -> str:
    return await at.ask(f"/v1/audio/voices/{_in_path(name)}/preview")


async def delete(at: Visitor, name: str) -> str:
    return await at.ask(f"/v1/audio/voices/{_in_path(name)}", "DELETE")


async def upload(at: Visitor, name: str) -> str:
    files = {"audio_sample": (f"{name}.wav", hum_wav(pitch_hz=440.0))}
    return _code(await at.http.post("/v1/audio/voices", data={"name": name}, files=files))


async def recording(at: Visitor, name: str) -> str:
    return await at.ask(f"/api/voices/{_in_path(name)}/audio")


async def deepgram(at: Visitor, name: str) -> str:
    return await at.post(f"/v1/speak?model={_in_path(name)}", {"text": TEXT})


UNKNOWN = {"unknown_voice"}
IN_PATH = UNKNOWN | {"404"}  # a name with a slash in it is no path of that door
DOORS: dict[Door, set[str]] = {
    stream_tokens: UNKNOWN,
    stream_tokens_query: UNKNOWN,
    stream: UNKNOWN,
    tts: UNKNOWN,
    voxcpm_tts: {"VOICE_NOT_FOUND", "INVALID_PARAMS"},  # it is longer than 256 characters
    voxcpm_tts_category: {"VOICE_NOT_FOUND", "INVALID_PARAMS"},
    openai: UNKNOWN,
    openai_object: UNKNOWN,
    captions: UNKNOWN,
    elevenlabs: IN_PATH,
    elevenlabs_socket: {"404", "403"},
    elevenlabs_voice: IN_PATH,
    cartesia: UNKNOWN,
    cartesia_socket: UNKNOWN,
    wyoming: UNKNOWN,
    sample: IN_PATH,
    preview: IN_PATH,
    delete: IN_PATH,
    recording: IN_PATH,
    upload: {"bad_message", "voice_exists"},  # spaces around a name are no part of it
    deepgram: {"audio/mpeg"},  # its clients name models of Deepgram: an unknown one is the default voice
}


def outside(house: Audited, touches: list[Touch]) -> list[Touch]:
    """What is neither a sample nor a clean copy of one."""
    within = (house.folder / "voice_samples", house.folder / "home" / "voices", Path("/dev/null"))
    places = {touch: (house.folder / touch.path).resolve() for touch in touches}
    return [touch for touch, place in places.items() if not any(place.is_relative_to(folder) for folder in within)]


@pytest.mark.parametrize("door", DOORS)
async def test_f1_a_name_is_a_key_of_a_table_and_never_part_of_a_path(house: Audited, door: Door) -> None:
    before = len(house.touches())
    async with visitor(house) as at:
        told = {name: await asyncio.wait_for(door(at, name), TIMEOUT_S) for name in names(house.folder)}
    assert {name: code for name, code in told.items() if code not in DOORS[door]} == {}
    assert outside(house, house.touches()[before:]) == []


async def test_f1_a_voice_that_is_in_the_table_speaks_from_its_clean_copy(house: Audited) -> None:
    """So what the gateway and its worker open is seen."""
    before = len(house.touches())
    async with visitor(house) as at:
        assert await stream_tokens(at, "zoé") == "audio"
        assert await sample(at, "zoé") == "audio/wav"
    opened = {
        (touch.who, Path(touch.path).parent.parent.name) for touch in house.touches()[before:] if touch.event == "open"
    }
    assert ("worker", "voices") in opened
    assert any(touch.path.endswith("zoé.wav") for touch in house.touches()[before:])


async def test_f1_the_samples_of_others_stay_what_they_are(house: Audited) -> None:
    secrets = [house.folder / name for name in SECRETS]
    assert [secret.read_bytes() for secret in secrets] == [hum_wav(pitch_hz=300.0)] * len(SECRETS)
    assert sorted(path.name for path in (house.folder / "voice_samples").iterdir()) == [".secret.wav", "sub", "zoé.wav"]
