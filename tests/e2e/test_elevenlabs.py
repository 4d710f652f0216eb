"""ElevenLabs' WebSockets, byte for byte: contexts, interruptions, and what goes wrong in one of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.e2e.elevenlabs_client import PCM, SENTENCES, TEXT, hear, next_message, socket_of, turn
from tests.harness import FAST, eventually, running_server, say, tone_bytes, tone_config
from voice_server.core.doors.limits import ElevenLabsLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

LONG = " ".join(["This one goes on for a rather long time."] * 20)
CONTEXTS = ElevenLabsLimits().contexts


# Many contexts


async def test_contexts_are_spoken_side_by_side_each_under_its_name(tone_python: Path) -> None:
    async with running_server(tone_config(workers=2), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": "Hello ", "context_id": "a"}, {"text": "Good ", "context_id": "b"})
        await say(ws, {"text": "there.", "context_id": "a"}, {"text": "bye.", "context_id": "b"})
        await say(ws, {"context_id": "a", "close_context": True}, {"context_id": "b", "close_context": True})
        heard = await hear(ws, "a", "b")
    assert {name: one.audio for name, one in heard.items()} == {
        "a": tone_bytes("Hello there."),
        "b": tone_bytes("Good bye."),
    }
    assert all(one.is_final for one in heard.values())


async def test_a_second_turn_on_the_same_socket_may_have_the_same_name(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        for text in SENTENCES:
            assert (await turn(ws, "turn", text)).audio == tone_bytes(text)


async def test_times_are_told_when_a_sentence_has_ended_and_count_from_its_start(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        heard = await turn(ws, "a", TEXT)
    told = [message["alignment"] for message in heard.messages if message.get("alignment")]
    assert ["".join(alignment["chars"]) for alignment in told] == [f"{sentence} " for sentence in SENTENCES]
    assert [alignment["charStartTimesMs"][0] for alignment in told] == [0, 0]
    assert [alignment["charStartTimesMs"][-1] for alignment in told] == [
        len(tone_bytes(sentence)) / 48 for sentence in SENTENCES
    ]


async def test_with_sync_alignment_times_count_from_the_start_of_the_answer(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with socket_of(server, f"{PCM}&sync_alignment=true") as ws:
            heard = await turn(ws, "a", TEXT)
    starts = [message["alignment"]["charStartTimesMs"][0] for message in heard.messages if message.get("alignment")]
    assert starts == [0, len(tone_bytes(SENTENCES[0])) / 48]


async def test_a_keepalive_ends_nothing_and_begins_nothing(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": ""}, {"text": "", "context_id": "a"}, {"text": "Hello ", "context_id": "a"})
        await say(ws, {"text": ""}, {"text": "", "context_id": "a"}, {"text": "there.", "context_id": "a"})
        await say(ws, {"context_id": "a", "close_context": True}, {"text": "", "context_id": "a"})
        heard = await hear(ws, "a")
        await eventually(lambda: not server.backend.streams, "no context was opened but that one")
    assert heard["a"].audio == tone_bytes("Hello there.")
    assert list(heard) == ["a"]


async def test_flush_speaks_what_has_no_end_yet(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": "No full stop", "context_id": "a"}, {"context_id": "a", "flush": True})
        assert (await next_message(ws))["audio"]


async def test_in_auto_mode_each_message_is_a_phrase_of_its_own(tone_python: Path) -> None:
    """pipecat sends sentences without the space between them."""
    async with running_server(tone_config(), tone_python) as server:
        async with socket_of(server, f"{PCM}&auto_mode=true") as ws:
            await say(ws, *({"text": sentence, "context_id": "a"} for sentence in SENTENCES))
            await say(ws, {"context_id": "a", "close_context": True})
            assert (await hear(ws, "a"))["a"].audio == tone_bytes(*SENTENCES)


async def test_a_message_without_a_name_belongs_to_the_default_context(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": "Hello there."}, {"close_context": True})
        assert (await hear(ws, "default"))["default"].audio == tone_bytes("Hello there.")


async def test_the_speed_of_the_voice_settings_is_the_backends(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        settings = {"speed": 1.5, "stability": 0.5}
        await say(ws, {"text": " ", "context_id": "a", "voice_settings": settings})
        assert (await turn(ws, "a", "Hello there.")).audio == tone_bytes("Hello there.", speed=1.5)


async def test_close_socket_speaks_the_rest_and_closes(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": TEXT, "context_id": "a"}, {"close_socket": True})
        heard = await hear(ws, "a", None)
    assert heard["a"].audio == tone_bytes(*SENTENCES)
    assert heard["a"].is_final
    assert heard[None].close_code == 1000


# Interruptions


async def test_who_closes_a_context_twice_does_not_want_to_hear_the_rest(tone_python: Path) -> None:
    """pipecat closes at the end of a turn, and once more when it is interrupted."""
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": LONG, "context_id": "a"}, {"context_id": "a", "close_context": True})
        await next_message(ws)
        await say(ws, {"context_id": "a", "close_context": True})
        heard = await hear(ws, "a")
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the engine stops", 2.0)
        assert heard["a"].is_final
        assert len(heard["a"].audio) < len(tone_bytes(LONG)) / 10
        assert (await turn(ws, "b", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_a_newer_context_does_not_wait_for_one_that_is_closed(tone_python: Path) -> None:
    """With one worker; the closed one is spoken to its end, for it may be a turn that simply ended."""
    async with running_server(tone_config(speed_rtf=0.05), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": LONG, "context_id": "old"}, {"context_id": "old", "close_context": True})
        await next_message(ws)
        heard = await turn(ws, "new", "Hello there.")
        assert heard.audio == tone_bytes("Hello there.")
        rest = await hear(ws, "old")
        assert rest["old"].is_final


async def test_a_client_that_leaves_frees_the_worker(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with socket_of(server) as ws:
            await say(ws, {"text": LONG, "context_id": "a"}, {"text": "Unfinished", "context_id": "b"})
            await next_message(ws)
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
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": " ", "context_id": "a"}, {"context_id": "a", "flush": True})
        await say(ws, {"context_id": "a", "close_context": True})
        assert (await hear(ws, "a"))["a"].is_final


async def test_a_text_that_gives_no_audio_is_an_error_and_not_an_empty_end(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        heard = await turn(ws, "a", "```\ncode\n```")
    assert heard.errors == ["empty_text"]
    assert not heard.audio


async def test_a_context_that_fails_leaves_the_others_alone(tone_python: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    async with running_server(tone_config(fault=f"while={broken};raise@0"), tone_python) as server:
        async with socket_of(server) as ws:
            broken.touch()
            failed = await turn(ws, "a", "Hello there.")
            broken.unlink()
            spoken = await turn(ws, "b", "Hello there.")
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
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await ws.send(json.dumps(message))
        told = await next_message(ws)
        assert (told.get("contextId"), told["error"]) == (context, error)
        assert (await turn(ws, "b", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_nothing_can_be_said_in_a_closed_context(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, socket_of(server) as ws:
        await say(ws, {"text": LONG, "context_id": "a"}, {"context_id": "a", "close_context": True})
        await say(ws, {"text": "More.", "context_id": "a"})
        heard = await hear(ws, "a")
    assert heard["a"].errors == ["bad_message"]


async def test_contexts_that_were_forgotten_make_room(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, socket_of(server) as ws:
        await say(ws, *({"text": "Unfinished", "context_id": f"{number}"} for number in range(CONTEXTS)))
        assert (await turn(ws, "one more", "Hello there.")).audio == tone_bytes("Hello there.")


async def test_a_socket_has_no_more_speaking_contexts_than_allowed(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server, socket_of(server) as ws:
        await say(ws, *({"text": LONG, "context_id": f"{number}"} for number in range(CONTEXTS)))
        await say(ws, {"text": "Hello there.", "context_id": "one more"})
        assert (await hear(ws, "one more"))["one more"].errors == ["bad_message"]


# One text


async def test_stream_input_speaks_one_text_and_closes(tone_python: Path) -> None:
    """As ElevenLabs' SDK sends it."""
    async with running_server(tone_config(), tone_python) as server, socket_of(server, door="stream-input") as ws:
        config = {"chunk_length_schedule": [50]}
        await say(
            ws, {"text": " ", "try_trigger_generation": True, "voice_settings": None, "generation_config": config}
        )
        await say(ws, *({"text": f"{word} ", "try_trigger_generation": True} for word in TEXT.split()), {"text": ""})
        heard = (await hear(ws, None, "the end of the socket"))[None]
    assert heard.audio == tone_bytes(*SENTENCES)
    assert heard.is_final
    assert heard.close_code == 1000


async def test_stream_input_that_fails_says_so_last(tone_python: Path) -> None:
    async with running_server(tone_config(fault="raise@0"), tone_python) as server:
        async with socket_of(server, door="stream-input") as ws:
            await say(ws, {"text": "Hello there. "}, {"text": ""})
            heard = (await hear(ws, None, "the end of the socket"))[None]
    assert heard.errors == ["sentence_failed"]
    assert "message" in heard.messages[-1]  # the SDK takes it for the error of the call
    assert heard.close_code == 1000
