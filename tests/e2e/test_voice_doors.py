"""The doors of the voices over real sockets: made, listed, heard, fetched and deleted; and who is refused, and why."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import websockets

from tests.harness import (
    FAST,
    FAST_WORKER,
    RunningServer,
    ask,
    cloned_tone_bytes,
    eventually,
    hum,
    hum_wav,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
    voice_store,
)
from voice_server.core.limits import Limits, VoiceLimits
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

VOICES = "/v1/audio/voices"
SPEAKER = f"{Path(__file__).parents[1] / 'cloner.py'}:Speaker"
SMALL = replace(FAST, voices=VoiceLimits(sample_bytes=200_000, form_bytes=20_000, upload_s=0.5, upload_wait_s=0.2))
KIB = bytes(1024)


@dataclass
class Desk:
    """A server, the folder of its voices, and a client that is in no hurry."""

    server: RunningServer
    client: httpx.AsyncClient
    folder: Path

    async def upload(self, sound: bytes = b"", file: str = "me.wav", **fields: str) -> httpx.Response:
        sent = {"audio_sample": (file, sound or hum_wav())}
        return await self.client.post(VOICES, data={"name": "ada", **fields}, files=sent)

    def files(self) -> list[str]:
        return [path.name for path in self.folder.rglob("*") if path.is_file()]

    def spoken(self, name: str, *sentences: str) -> bytes:
        return cloned_tone_bytes(self.server.backend.store.samples[name], *sentences)

    async def names(self, query: str = "") -> list[str]:
        return [voice["id"] for voice in (await self.client.get(VOICES + query)).json()["voices"]]


@asynccontextmanager
async def desk(
    python: Path, folder: Path, config: BackendConfig | None = None, limits: Limits = FAST, token: str = ""
) -> AsyncIterator[Desk]:
    store = voice_store(folder, limits.voices)
    async with running_server(config or tone_config(), python, voices=store, limits=limits, token=token) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=20) as client:
            yield Desk(server, client, folder)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# Making one


async def test_an_uploaded_voice_speaks_at_once_through_every_door(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        assert (await at.upload()).status_code == 200
        spoken = at.spoken("ada", "Hello there.")
        said = {"model": "tone", "voice": "ada", "input": "Hello there.", "response_format": "pcm"}
        assert (await at.client.post("/v1/audio/speech", json=said)).content == spoken
        whole = await at.client.post("/tts", json={"text": "Hello there.", "voice": "ada"})
        assert whole.content[44:] == spoken
        assert (await ask(at.server.ws, {"voice": "ada", "token": "Hello there.", "done": True})).audio == spoken


async def test_all_that_was_told_is_kept_and_told_again(tone_python: Path, tmp_path: Path) -> None:
    about = {"language": "en-GB", "consent": "Ada, by mail", "licence": "CC0-1.0"}
    told = {**about, "transcript": "Hello there.", "aliases": ["lovelace", "countess"], "default_of": ["tone"]}
    fields = {**told, "aliases": "lovelace, countess", "default_of": "tone"}
    async with desk(tone_python, tmp_path) as at:
        made = (await at.upload(**fields)).json()
        listed = (await at.client.get(VOICES)).json()["voices"][-1]
    assert (made["object"], made["type"]) == ("audio.voice", "audio_sample")
    assert listed == {key: made[key] for key in listed}
    assert listed == {
        "id": "ada",
        "name": "ada",
        "model": "tone",
        "kind": "sample",
        "backends": ["tone"],
        "duration_s": pytest.approx(2.0, abs=0.1),
        **told,
    }


async def test_the_fields_have_second_names(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        form = {"name": "ada", "ref_text": "Hello there.", "license": "CC0-1.0"}
        made = (await at.client.post(VOICES, data=form, files={"file": ("me.wav", hum_wav())})).json()
    assert (made["transcript"], made["licence"]) == ("Hello there.", "CC0-1.0")


async def test_an_alias_and_a_default_hold_at_once(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload(aliases="lovelace", default_of="tone")
        by_alias = await ask(at.server.ws, {"voice": "lovelace", "token": "Hello there.", "done": True})
        by_default = await ask(at.server.ws, {"token": "Hello there.", "done": True})
        assert by_alias.audio == by_default.audio == at.spoken("ada", "Hello there.")


async def test_the_original_is_served_as_it_was_sent(tone_python: Path, tmp_path: Path) -> None:
    flac = io.BytesIO()
    soundfile.write(flac, hum(rate=44_100), 44_100, format="FLAC")
    async with desk(tone_python, tmp_path) as at:
        await at.upload(flac.getvalue(), "me.FLAC")
        for path in (f"{VOICES}/ada/sample", "/api/voices/samples-ada/audio"):
            served = await at.client.get(path)
            assert (served.headers["content-type"], served.content) == ("audio/flac", flac.getvalue())
            assert served.headers["x-content-type-options"] == "nosniff"


# Who is refused


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": ""}, "bad_message", "name"),
        ({"name": "../../etc/passwd"}, "bad_message", "name"),
        ({"name": "low"}, "voice_exists", "name"),
        ({"type": "prompt"}, "bad_message", "type"),
        ({"language": "the one of my mother"}, "bad_sample", "language"),
        ({"aliases": "../x"}, "bad_sample", "aliases"),
        ({"transcript": "a" * 1001}, "bad_sample", "transcript"),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    tone_python: Path, tmp_path: Path, fields: dict[str, str], code: str, param: str
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = (await at.upload(**fields)).json()["error"]
        assert (refused["code"], refused["param"]) == (code, param)
        assert await at.names() == ["tone", "low", "high"]


@pytest.mark.parametrize(
    ("sound", "told"),
    [(b"no sound", "not a sound"), (hum_wav(0.2), "speak for 1 s at least"), (hum_wav(31.0, 8_000), "cut it to 30 s")],
    ids=["noise", "short", "long"],
)
async def test_a_sample_that_cannot_be_a_voice_is_refused_with_what_would_be_right(
    tone_python: Path, tmp_path: Path, sound: bytes, told: str
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.upload(sound)
    assert code_of(refused) == (400, "bad_sample")
    assert told in refused.json()["error"]["message"]


async def test_a_name_is_taken_once(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload()
        assert code_of(await at.upload(hum_wav(pitch_hz=300))) == (409, "voice_exists")


@pytest.mark.parametrize("body", [{"json": {"name": "ada"}}, {"data": {"name": "ada"}}, {"content": b"sound"}])
async def test_what_is_no_form_with_a_file_is_told_how_to_send_one(
    tone_python: Path, tmp_path: Path, body: dict[str, Any]
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.client.post(VOICES, **body)
    assert code_of(refused) == (400, "bad_message")
    assert "multipart/form-data" in refused.json()["error"]["message"]


@pytest.mark.parametrize("head", ["multipart/form-data", "multipart/form-data; boundary=x"])
async def test_a_broken_form_is_told_so(tone_python: Path, tmp_path: Path, head: str) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.client.post(VOICES, content=b"--y\r\nnothing", headers={"content-type": head})
    assert code_of(refused) == (400, "bad_message")


async def test_half_characters_in_a_field_are_refused(tone_python: Path, tmp_path: Path) -> None:
    fields = {"name": b"ada", "transcript": b"\\ud800"}
    parts = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value)
        for name, value in fields.items()
    )
    file = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n--x--\r\n' % hum_wav()
    head = {"content-type": "multipart/form-data; boundary=x; charset=unicode_escape"}
    async with desk(tone_python, tmp_path) as at:
        assert code_of(await at.client.post(VOICES, content=parts + file, headers=head)) == (400, "bad_message")


async def test_a_page_from_elsewhere_changes_no_voices_where_no_token_is_wanted(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, tmp_path) as at:
        at.client.headers["sec-fetch-site"] = "cross-site"
        assert code_of(await at.upload()) == (401, "unauthorized")
        at.client.headers["sec-fetch-site"] = "same-origin"
        assert (await at.upload()).status_code == 200


async def test_the_doors_want_the_token(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, token="secret") as at:
        assert (await at.upload()).status_code == 401
        at.client.headers.update({"authorization": "Bearer secret", "sec-fetch-site": "cross-site"})
        assert (await at.upload()).status_code == 200


# Sizes and times


async def test_an_upload_that_says_it_is_too_large_is_not_read(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
        head = "host: x\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 9000000000\r\n"
        writer.write(f"POST {VOICES} HTTP/1.1\r\n{head}\r\n".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_an_upload_without_an_end_is_cut_off(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        _, sent = await asyncio.wait_for(_pour(at.server.port, KIB * 64, 0.0), 10)
    assert sent < 100 * SMALL.voices.sample_bytes


async def test_an_upload_that_takes_too_long_is_told_so_and_cut_off(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        answer, _ = await asyncio.wait_for(_pour(at.server.port, KIB, 0.05), 10)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["error"]["code"] == "slow_client"


async def test_an_upload_that_does_not_say_that_it_is_too_large_is_told_so(tone_python: Path, tmp_path: Path) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="me.wav"\r\n\r\n'
        for _ in range(300):
            yield KIB
        yield b"\r\n--x--\r\n"

    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        head = {"content-type": "multipart/form-data; boundary=x"}
        assert code_of(await at.client.post(VOICES, content=parts(), headers=head)) == (413, "sample_too_large")


async def _pour(port: int, piece: bytes, pause_s: float) -> tuple[bytes, int]:
    """What the server says to a form that never ends, and how much of it could be sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    form = b'--x\r\ncontent-disposition: form-data; name="file"; filename="me.wav"\r\n\r\n'
    kind = "content-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked"
    writer.write(f"POST {VOICES} HTTP/1.1\r\nhost: x\r\n{kind}\r\n\r\n".encode())
    answering, sent = asyncio.create_task(_all_of(reader)), 0
    with contextlib.suppress(ConnectionError):
        while not answering.done():
            writer.write(b"%x\r\n%b\r\n" % (len(form), form))
            await writer.drain()
            sent, form = sent + len(form), piece
            await asyncio.sleep(pause_s)
    writer.close()
    return await answering, sent


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_a_file_over_the_limit_is_refused_although_the_whole_body_is_not(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        assert code_of(await at.upload(bytes(200_001))) == (413, "sample_too_large")


async def test_the_third_upload_waits_for_a_place_and_is_asked_to_come_again(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        house = at.server.house
        for _ in range(SMALL.voices.uploads):
            await house.uploads.acquire()
        refused = await at.upload()
        house.uploads.release()
        assert code_of(refused) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await at.upload()).status_code == 200


# Lists


async def test_each_backend_has_its_own_list(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload()
        assert await at.names() == await at.names("?backend=tone") == ["tone", "low", "high", "ada"]
        assert code_of(await at.client.get(f"{VOICES}?backend=other")) == (404, "unknown_backend")


async def test_a_voice_that_no_backend_can_speak_is_listed_without_one(tone_python: Path, tmp_path: Path) -> None:
    deaf = replace(tone_config(), name="deaf", adapter=SPEAKER, opts={}, aliases={}, limits=FAST_WORKER)
    async with desk(tone_python, tmp_path, deaf) as at:
        await at.upload()
        listed = (await at.client.get(VOICES)).json()["voices"]
        assert [(voice["id"], voice["backends"]) for voice in listed] == [("silence", ["deaf"]), ("ada", [])]
        assert await at.names("?backend=deaf") == ["silence"]


# Deleting


async def test_a_deleted_voice_is_gone_with_all_that_was_kept_of_it(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload(transcript="Hello there.", licence="CC0-1.0")
        gone = await at.client.delete(f"{VOICES}/ada")
        assert gone.json() == {"id": "ada", "deleted": True, "object": "audio.voice.deleted"}
        assert at.files() == []
        assert await at.names() == ["tone", "low", "high"]
        assert code_of(await at.client.delete(f"{VOICES}/ada")) == (404, "unknown_voice")


async def test_an_engine_s_voice_cannot_be_deleted(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        assert code_of(await at.client.delete(f"{VOICES}/low")) == (400, "bad_message")


async def test_what_is_being_spoken_in_a_deleted_voice_goes_on_to_the_end_of_its_sentence(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, tmp_path, tone_config(speed_rtf=0.2)) as at:
        await at.upload()
        sentence = "This sentence is long enough to be spoken for quite a while."
        spoken = at.spoken("ada", sentence)
        async with websockets.connect(f"{at.server.ws}/stream-tokens", max_size=None) as ws:
            await say(ws, {"voice": "ada", "token": sentence, "done": True})
            heard = await _first_audio(ws)
            assert (await at.client.delete(f"{VOICES}/ada")).status_code == 200
            assert len(heard) < len(spoken)
            assert heard + (await read_answer(ws)).audio == spoken


async def _first_audio(ws: websockets.ClientConnection) -> bytes:
    while not isinstance(message := await asyncio.wait_for(ws.recv(), 5), bytes):
        pass
    return message


# Previews


async def test_a_preview_is_a_sentence_in_the_language_of_the_voice(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload(language="de-AT")
        heard = await at.client.get(f"{VOICES}/ada/preview")
        assert heard.headers["content-type"] == "audio/wav"
        assert heard.content[44:] == at.spoken("ada", "Hallo, so klingt meine Stimme.")
        assert soundfile.info(io.BytesIO(heard.content)).samplerate == 24_000


async def test_a_preview_of_an_engine_s_voice_may_say_one_s_own_words(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        heard = await at.client.get(f"{VOICES}/low/preview", params={"backend": "tone", "text": "Good day."})
    assert heard.content[44:] == tone_bytes("Good day.", voice="low")


async def test_a_preview_is_rendered_once_for_all_who_ask(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, tone_config(first_chunk_s=0.9)) as at:
        asking = [asyncio.create_task(at.client.get(f"{VOICES}/low/preview")) for _ in range(4)]
        await eventually(lambda: at.server.house.gate.requests == 4, "all of them ask")
        await eventually(lambda: bool(at.server.backend.streams), "it is rendered")
        assert len(at.server.backend.streams) == 1
        heard = await asyncio.gather(*asking)
    assert {answer.content[44:] for answer in heard} == {tone_bytes("Hello, this is how my voice sounds.", voice="low")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("nobody/preview", (404, "unknown_voice")),
        ("low/preview?backend=other", (404, "unknown_backend")),
        (f"low/preview?text={'a' * 201}", (413, "text_too_long")),
        ("low/preview?text=%20", (400, "empty_text")),
        ("low/sample", (400, "bad_message")),
        ("nobody/sample", (404, "unknown_voice")),
    ],
)
async def test_what_cannot_be_heard_is_told(
    tone_python: Path, tmp_path: Path, path: str, expected: tuple[int, str]
) -> None:
    async with desk(tone_python, tmp_path) as at:
        assert code_of(await at.client.get(f"{VOICES}/{path}")) == expected


async def test_who_leaves_before_a_preview_is_there_stops_its_render(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, tone_config(speed_rtf=3.0)) as at:
        with pytest.raises(httpx.ReadTimeout):
            await at.client.get(f"{VOICES}/low/preview", timeout=0.3)
        await eventually(lambda: not at.server.backend.streams, "its stream has ended", 2.0)
