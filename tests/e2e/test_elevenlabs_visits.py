"""ElevenLabs' WebSockets: formats, who comes in, and when they go."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import websockets

from tests.e2e.elevenlabs_client import PCM, SENTENCES, TEXT, hear, next_message, socket_of, turn
from tests.harness import FAST, eventually, running_server, say, tone_bytes, tone_config
from voice_server.core.audio.raw_formats import to_raw

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


# Formats


async def test_telephones_get_their_codec(tone_python: Path) -> None:
    async with running_server(tone_config(sample_rate=8000), tone_python) as server:
        async with socket_of(server, "output_format=ulaw_8000") as ws:
            heard = await turn(ws, "a", "Hello there.")
    assert heard.audio == to_raw(tone_bytes("Hello there.", sample_rate=8000), "mulaw")


async def test_without_a_format_it_is_mp3(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server, "") as ws:
        heard = await turn(ws, "a", TEXT)
    info = soundfile.info(io.BytesIO(heard.audio))
    assert (info.format, info.samplerate) == ("MP3", 44_100)
    assert 0 <= info.duration - len(tone_bytes(*SENTENCES)) / 48_000 < 0.075


# Who comes in, and when they go


@pytest.mark.parametrize(
    ("voice", "query", "status", "word"),
    [
        ("nobody", PCM, 404, "voice_not_found"),
        ("tone", "output_format=gsm_8000", 400, "unknown_format"),
        ("tone", "output_format=mp3_12345", 400, "unknown_format"),
        ("tone", "inactivity_timeout=-1", 400, "bad_message"),
    ],
)
async def test_a_wrong_address_is_refused_with_a_status(
    tone_python: Path, voice: str, query: str, status: int, word: str
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with socket_of(server, query, voice=voice):
                pass
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body)["detail"]["status"] == word


@pytest.mark.parametrize("door", ["stream-input", "multi-stream-input"])
async def test_the_key_may_be_in_the_first_message(tone_python: Path, door: str) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        async with socket_of(server, door=door) as ws:
            await say(ws, {"text": "Hello there.", "xi_api_key": "secret", "flush": True})
            assert (await next_message(ws))["audio"]


@pytest.mark.parametrize("said", [{}, {"xi_api_key": "wrong"}])
async def test_without_the_key_nothing_is_spoken(tone_python: Path, said: dict[str, str]) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server, socket_of(server) as ws:
        await say(ws, {"text": "Hello there.", "flush": True, **said}, {"text": "Hi.", "xi_api_key": "secret"})
        heard = (await hear(ws, "a", None))[None]
    assert heard.errors == ["unauthorized"]
    assert not heard.audio
    assert heard.close_code == 1008


@pytest.mark.parametrize("door", ["stream-input", "multi-stream-input"])
async def test_before_the_key_was_shown_all_addresses_and_all_messages_look_the_same(
    tone_python: Path, door: str
) -> None:
    """Else voices, which may be named after people, could be tried out one by one."""
    addresses = [("tone", PCM), ("nobody", PCM), ("tone", "output_format=gsm_8000"), ("tone", "inactivity_timeout=-1")]
    messages = ["{}", '{"text": "Hello.", "xi_api_key": "wrong"}', '{"text": 5, "context_id": "a"}', "no JSON", b"\0"]
    answers = []
    async with running_server(tone_config(), tone_python, token="secret") as server:
        for voice, query in addresses:
            for message in messages:
                async with socket_of(server, query, voice=voice, door=door) as ws:
                    await ws.send(message)
                    answers.append((await hear(ws, "the end of the socket"))[None])
    told = {"error": "unauthorized", "message": "this server wants `Authorization: Bearer <token>`"}
    assert [(one.messages, one.close_code) for one in answers] == [([told], 1008)] * len(addresses) * len(messages)


@pytest.mark.parametrize(
    ("voice", "query", "word"),
    [("nobody", PCM, "voice_not_found"), ("tone", "output_format=gsm_8000", "unknown_format")],
)
async def test_a_wrong_address_is_told_behind_a_key_in_the_first_message(
    tone_python: Path, voice: str, query: str, word: str
) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        async with socket_of(server, query, voice=voice) as ws:
            await say(ws, {"text": "Hello there.", "xi_api_key": "secret"})
            heard = (await hear(ws, "the end of the socket"))[None]
    assert heard.errors == [word]
    assert heard.close_code == 1008


async def test_a_key_is_a_key_also_where_the_rest_of_its_message_is_wrong(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server, socket_of(server) as ws:
        await say(ws, {"text": 5, "context_id": "a", "xi_api_key": "secret"})
        assert (await hear(ws, "a"))["a"].errors == ["bad_message"]
        assert (await turn(ws, "b", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_who_shows_no_key_may_stay_as_long_as_who_sends_no_head(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, head_s=0.2))
    async with running_server(tone_config(), tone_python, token="secret", limits=limits) as server:
        async with socket_of(server, f"{PCM}&inactivity_timeout=180") as ws:
            heard = (await hear(ws, "the end of the socket"))[None]
    assert heard.errors == ["unauthorized"]
    assert heard.close_code == 1008


async def test_a_stranger_that_leaves_or_has_to_leave_is_forgotten(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        async with socket_of(server):
            await eventually(lambda: bool(server.house.guests), "it is inside")
        await eventually(lambda: not server.house.guests, "it is gone")
        async with socket_of(server) as ws:
            await eventually(lambda: bool(server.house.guests), "it is inside")
            server.house.drain()
            heard = (await hear(ws, "the end of the socket"))[None]
    assert heard.errors == ["going_away"]
    assert heard.close_code == 1012


async def test_a_client_that_says_nothing_is_asked_to_leave(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with socket_of(server, f"{PCM}&inactivity_timeout=0.2") as ws:
            heard = (await hear(ws, "a"))[None]
    assert heard.errors == ["input_timeout_exceeded"]
    assert heard.close_code == 1008


async def test_a_client_that_listens_is_not_idle(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with socket_of(server, f"{PCM}&inactivity_timeout=0.2") as ws:
            heard = await turn(ws, "a", TEXT)
    assert heard.audio == tone_bytes(*SENTENCES)


async def test_at_shutdown_a_turn_is_spoken_to_its_end(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with socket_of(server) as busy, socket_of(server) as idle:
            await say(busy, {"text": TEXT, "context_id": "a"}, {"context_id": "a", "close_context": True})
            await next_message(busy)
            server.house.drain()
            assert (await hear(idle, "a"))[None].errors == ["going_away"]
            heard = await hear(busy, "a", None)
    assert heard["a"].is_final
    assert heard[None].close_code == 1000
    assert idle.close_code == 1012
