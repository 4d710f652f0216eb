"""The doors of the voices over real sockets: made, listed, heard, fetched and deleted."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import soundfile
import websockets

from tests.e2e.voice_desk import VOICES, code_of, desk
from tests.harness import (
    FAST_WORKER,
    ask,
    eventually,
    hum,
    hum_wav,
    read_answer,
    say,
    tone_bytes,
    tone_config,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SPEAKER = f"{Path(__file__).parents[1] / 'cloner.py'}:Speaker"


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


async def test_f2_an_original_that_was_replaced_by_a_link_is_gone(tone_python: Path, tmp_path: Path) -> None:
    secret = tmp_path.parent / "secret.txt"
    secret.write_text("a secret")
    async with desk(tone_python, tmp_path) as at:
        await at.upload()
        (tmp_path / "ada.wav").unlink()
        (tmp_path / "ada.wav").symlink_to(secret)
        for path in (f"{VOICES}/ada/sample", "/api/voices/samples-ada/audio"):
            assert (await at.client.get(path)).status_code == 404


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
