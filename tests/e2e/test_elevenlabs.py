"""ElevenLabs' doors over real sockets, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import io
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

from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, say, tone_bytes, tone_config
from voice_server.core.audio.raw_formats import to_raw
from voice_server.core.limits import ElevenLabsLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = ("Hello there.", "How are you today?")
TEXT = " ".join(SENTENCES)
LONG = " ".join(["This one goes on for a rather long time."] * 20)
PCM = "output_format=pcm_24000"
ENDS = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")  # of the addresses of the HTTP doors
CONTEXTS = ElevenLabsLimits().contexts


@dataclass
class Heard:
    """What a client got of one context."""

    audio: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    @property
    def is_final(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("isFinal") is True

    @property
    def errors(self) -> list[str]:
        return [message["error"] for message in self.messages if "error" in message]


@asynccontextmanager
async def _socket(
    server: RunningServer, query: str = PCM, *, voice: str = "tone", door: str = "multi-stream-input"
) -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(f"{server.ws}/v1/text-to-speech/{voice}/{door}?{query}", max_size=None) as ws:
        yield ws


async def _next(ws: websockets.ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    return told


async def _hear(ws: websockets.ClientConnection, *contexts: str | None) -> dict[str | None, Heard]:
    """Read until each of these contexts has come to its end, or the socket has."""
    heard = {context: Heard() for context in contexts}
    waiting = set(contexts)
    try:
        while waiting:
            message = await _next(ws)
            one = heard.setdefault(message.get("contextId"), Heard())
            one.audio += base64.b64decode(message.get("audio") or "")
            one.messages.append(message)
            if message.get("isFinal") or "error" in message:
                waiting.discard(message.get("contextId"))
    except websockets.ConnectionClosed:
        heard.setdefault(None, Heard()).close_code = ws.close_code
    return heard


async def _turn(ws: websockets.ClientConnection, context: str, text: str) -> Heard:
    await say(
        ws,
        {"text": " ", "context_id": context},
        {"text": text, "context_id": context},
        {"context_id": context, "close_context": True},
    )
    return (await _hear(ws, context))[context]


# Many contexts


async def test_contexts_are_spoken_side_by_side_each_under_its_name(tone_python: Path) -> None:
    async with running_server(tone_config(workers=2), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": "Hello ", "context_id": "a"}, {"text": "Good ", "context_id": "b"})
        await say(ws, {"text": "there.", "context_id": "a"}, {"text": "bye.", "context_id": "b"})
        await say(ws, {"context_id": "a", "close_context": True}, {"context_id": "b", "close_context": True})
        heard = await _hear(ws, "a", "b")
    assert {name: one.audio for name, one in heard.items()} == {
        "a": tone_bytes("Hello there."),
        "b": tone_bytes("Good bye."),
    }
    assert all(one.is_final for one in heard.values())


async def test_a_second_turn_on_the_same_socket_may_have_the_same_name(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        for text in SENTENCES:
            assert (await _turn(ws, "turn", text)).audio == tone_bytes(text)


async def test_times_are_told_when_a_sentence_has_ended_and_count_from_its_start(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        heard = await _turn(ws, "a", TEXT)
    told = [message["alignment"] for message in heard.messages if message.get("alignment")]
    assert ["".join(alignment["chars"]) for alignment in told] == [f"{sentence} " for sentence in SENTENCES]
    assert [alignment["charStartTimesMs"][0] for alignment in told] == [0, 0]
    assert [alignment["charStartTimesMs"][-1] for alignment in told] == [
        len(tone_bytes(sentence)) / 48 for sentence in SENTENCES
    ]


async def test_with_sync_alignment_times_count_from_the_start_of_the_answer(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with _socket(server, f"{PCM}&sync_alignment=true") as ws:
            heard = await _turn(ws, "a", TEXT)
    starts = [message["alignment"]["charStartTimesMs"][0] for message in heard.messages if message.get("alignment")]
    assert starts == [0, len(tone_bytes(SENTENCES[0])) / 48]


async def test_a_keepalive_ends_nothing_and_begins_nothing(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": ""}, {"text": "", "context_id": "a"}, {"text": "Hello ", "context_id": "a"})
        await say(ws, {"text": ""}, {"text": "", "context_id": "a"}, {"text": "there.", "context_id": "a"})
        await say(ws, {"context_id": "a", "close_context": True}, {"text": "", "context_id": "a"})
        heard = await _hear(ws, "a")
        await eventually(lambda: not server.backend.streams, "no context was opened but that one")
    assert heard["a"].audio == tone_bytes("Hello there.")
    assert list(heard) == ["a"]


async def test_flush_speaks_what_has_no_end_yet(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": "No full stop", "context_id": "a"}, {"context_id": "a", "flush": True})
        assert (await _next(ws))["audio"]


async def test_in_auto_mode_each_message_is_a_phrase_of_its_own(tone_python: Path) -> None:
    """pipecat sends sentences without the space between them."""
    async with running_server(tone_config(), tone_python) as server:
        async with _socket(server, f"{PCM}&auto_mode=true") as ws:
            await say(ws, *({"text": sentence, "context_id": "a"} for sentence in SENTENCES))
            await say(ws, {"context_id": "a", "close_context": True})
            assert (await _hear(ws, "a"))["a"].audio == tone_bytes(*SENTENCES)


async def test_a_message_without_a_name_belongs_to_the_default_context(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": "Hello there."}, {"close_context": True})
        assert (await _hear(ws, "default"))["default"].audio == tone_bytes("Hello there.")


async def test_the_speed_of_the_voice_settings_is_the_backends(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        settings = {"speed": 1.5, "stability": 0.5}
        await say(ws, {"text": " ", "context_id": "a", "voice_settings": settings})
        assert (await _turn(ws, "a", "Hello there.")).audio == tone_bytes("Hello there.", speed=1.5)


async def test_close_socket_speaks_the_rest_and_closes(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": TEXT, "context_id": "a"}, {"close_socket": True})
        heard = await _hear(ws, "a", None)
    assert heard["a"].audio == tone_bytes(*SENTENCES)
    assert heard["a"].is_final
    assert heard[None].close_code == 1000


# Interruptions


async def test_who_closes_a_context_twice_does_not_want_to_hear_the_rest(tone_python: Path) -> None:
    """pipecat closes at the end of a turn, and once more when it is interrupted."""
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": LONG, "context_id": "a"}, {"context_id": "a", "close_context": True})
        await _next(ws)
        await say(ws, {"context_id": "a", "close_context": True})
        heard = await _hear(ws, "a")
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the engine stops", 2.0)
        assert heard["a"].is_final
        assert len(heard["a"].audio) < len(tone_bytes(LONG)) / 10
        assert (await _turn(ws, "b", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_a_newer_context_does_not_wait_for_one_that_is_closed(tone_python: Path) -> None:
    """With one worker; the closed one is spoken to its end, for it may be a turn that simply ended."""
    async with running_server(tone_config(speed_rtf=0.05), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": LONG, "context_id": "old"}, {"context_id": "old", "close_context": True})
        await _next(ws)
        heard = await _turn(ws, "new", "Hello there.")
        assert heard.audio == tone_bytes("Hello there.")
        rest = await _hear(ws, "old")
        assert rest["old"].is_final


async def test_a_client_that_leaves_frees_the_worker(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with _socket(server) as ws:
            await say(ws, {"text": LONG, "context_id": "a"}, {"text": "Unfinished", "context_id": "b"})
            await _next(ws)
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)
        await eventually(lambda: not server.backend.streams, "no context is left", 2.0)
        await eventually(lambda: not server.house.guests, "nobody is there")


async def test_a_client_that_does_not_read_is_cut_off(tone_python: Path) -> None:
    kernel_waits = replace(FAST, stream=replace(FAST.stream, tcp_user_timeout_s=60.0))
    url = f"/v1/text-to-speech/tone/multi-stream-input?{PCM}"
    async with running_server(tone_config(), tone_python, limits=kernel_waits) as server:
        async with websockets.connect(f"{server.ws}{url}", max_queue=1, max_size=None) as ws:
            await say(ws, *({"text": LONG * 10, "context_id": name} for name in ("a", "b")))
            await eventually(lambda: bool(server.house.guests), "it is inside")
            await eventually(lambda: not server.house.guests, "it is cut off")
            ws.transport.abort()
        assert not server.backend.streams


# What goes wrong in one context


async def test_a_context_without_words_ends_without_audio(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": " ", "context_id": "a"}, {"context_id": "a", "flush": True})
        await say(ws, {"context_id": "a", "close_context": True})
        assert (await _hear(ws, "a"))["a"].is_final


async def test_a_text_that_gives_no_audio_is_an_error_and_not_an_empty_end(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        heard = await _turn(ws, "a", "```\ncode\n```")
    assert heard.errors == ["empty_text"]
    assert not heard.audio


async def test_a_context_that_fails_leaves_the_others_alone(tone_python: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    async with running_server(tone_config(fault=f"while={broken};raise@0"), tone_python) as server:
        async with _socket(server) as ws:
            broken.touch()
            failed = await _turn(ws, "a", "Hello there.")
            broken.unlink()
            spoken = await _turn(ws, "b", "Hello there.")
    assert failed.errors == ["sentence_failed"]
    assert spoken.is_final
    assert not failed.is_final
    assert failed.messages[0]["contextId"] == "a"
    assert spoken.audio == tone_bytes("Hello there.")


@pytest.mark.parametrize(
    ("message", "context", "error"),
    [
        ({"text": 5, "context_id": "a"}, "a", "bad_message"),
        ({"text": "Hi.", "context_id": "a", "voice_settings": {"speed": 9}}, "a", "bad_option"),
        ({"text": "a" * 40_000, "context_id": "a"}, "a", "text_too_long"),
        ([], None, "bad_message"),
    ],
)
async def test_a_wrong_message_is_an_error_of_its_context(
    tone_python: Path, message: Any, context: str | None, error: str
) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await ws.send(json.dumps(message))
        told = await _next(ws)
        assert (told.get("contextId"), told["error"]) == (context, error)
        assert (await _turn(ws, "b", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_nothing_can_be_said_in_a_closed_context(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, _socket(server) as ws:
        await say(ws, {"text": LONG, "context_id": "a"}, {"context_id": "a", "close_context": True})
        await say(ws, {"text": "More.", "context_id": "a"})
        heard = await _hear(ws, "a")
    assert heard["a"].errors == ["bad_message"]


async def test_contexts_that_were_forgotten_make_room(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, *({"text": "Unfinished", "context_id": f"{number}"} for number in range(CONTEXTS)))
        assert (await _turn(ws, "one more", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_a_socket_has_no_more_speaking_contexts_than_allowed(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server, _socket(server) as ws:
        await say(ws, *({"text": LONG, "context_id": f"{number}"} for number in range(CONTEXTS)))
        await say(ws, {"text": "Hello there.", "context_id": "one more"})
        assert (await _hear(ws, "one more"))["one more"].errors == ["bad_message"]


# One text


async def test_stream_input_speaks_one_text_and_closes(tone_python: Path) -> None:
    """As ElevenLabs' SDK sends it."""
    async with running_server(tone_config(), tone_python) as server, _socket(server, door="stream-input") as ws:
        config = {"chunk_length_schedule": [50]}
        await say(
            ws, {"text": " ", "try_trigger_generation": True, "voice_settings": None, "generation_config": config}
        )
        await say(ws, *({"text": f"{word} ", "try_trigger_generation": True} for word in TEXT.split()), {"text": ""})
        heard = (await _hear(ws, None, "the end of the socket"))[None]
    assert heard.audio == tone_bytes(*SENTENCES)
    assert heard.is_final
    assert heard.close_code == 1000


async def test_stream_input_that_fails_says_so_last(tone_python: Path) -> None:
    async with running_server(tone_config(fault="raise@0"), tone_python) as server:
        async with _socket(server, door="stream-input") as ws:
            await say(ws, {"text": "Hello there. "}, {"text": ""})
            heard = (await _hear(ws, None, "the end of the socket"))[None]
    assert heard.errors == ["sentence_failed"]
    assert "message" in heard.messages[-1]  # the SDK takes it for the error of the call
    assert heard.close_code == 1000


# Formats


async def test_telephones_get_their_codec(tone_python: Path) -> None:
    async with running_server(tone_config(sample_rate=8000), tone_python) as server:
        async with _socket(server, "output_format=ulaw_8000") as ws:
            heard = await _turn(ws, "a", "Hello there.")
    assert heard.audio == to_raw(tone_bytes("Hello there.", sample_rate=8000), "mulaw")


async def test_without_a_format_it_is_mp3(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server, "") as ws:
        heard = await _turn(ws, "a", TEXT)
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
            async with _socket(server, query, voice=voice):
                pass
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body)["detail"]["status"] == word


@pytest.mark.parametrize("door", ["stream-input", "multi-stream-input"])
async def test_the_key_may_be_in_the_first_message(tone_python: Path, door: str) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        async with _socket(server, door=door) as ws:
            await say(ws, {"text": "Hello there.", "xi_api_key": "secret", "flush": True})
            assert (await _next(ws))["audio"]


@pytest.mark.parametrize("said", [{}, {"xi_api_key": "wrong"}])
async def test_without_the_key_nothing_is_spoken(tone_python: Path, said: dict[str, str]) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server, _socket(server) as ws:
        await say(ws, {"text": "Hello there.", "flush": True, **said}, {"text": "Hi.", "xi_api_key": "secret"})
        heard = (await _hear(ws, "a", None))[None]
    assert heard.errors == ["unauthorized"]
    assert not heard.audio
    assert heard.close_code == 1008


async def test_a_client_that_says_nothing_is_asked_to_leave(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with _socket(server, f"{PCM}&inactivity_timeout=0.2") as ws:
            heard = (await _hear(ws, "a"))[None]
    assert heard.errors == ["input_timeout_exceeded"]
    assert heard.close_code == 1008


async def test_a_client_that_listens_is_not_idle(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with _socket(server, f"{PCM}&inactivity_timeout=0.2") as ws:
            heard = await _turn(ws, "a", TEXT)
    assert heard.audio == tone_bytes(*SENTENCES)


async def test_at_shutdown_a_turn_is_spoken_to_its_end(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with _socket(server) as busy, _socket(server) as idle:
            await say(busy, {"text": TEXT, "context_id": "a"}, {"context_id": "a", "close_context": True})
            await _next(busy)
            server.house.drain()
            assert (await _hear(idle, "a"))[None].errors == ["going_away"]
            heard = await _hear(busy, "a", None)
    assert heard["a"].is_final
    assert heard[None].close_code == 1000
    assert idle.close_code == 1012


# HTTP


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
