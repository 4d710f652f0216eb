"""Wyoming over real sockets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.wyoming_client import connected, wyoming
from tests.harness import FAST, eventually, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "Hello there. How are you today?"
SENTENCES = ("Hello there.", "How are you today?")


async def test_a_text_becomes_audio_with_a_start_and_a_stop(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("synthesize", text=TEXT, voice={"name": "low"})
            kinds, audio = await client.hear_until("audio-stop")
    assert audio == tone_bytes(*SENTENCES, voice="low")
    assert kinds == ["audio-start", *["audio-chunk"] * (len(kinds) - 2), "audio-stop"]


async def test_chunks_are_spoken_before_the_last_one_came(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("synthesize-start")
            await client.say("synthesize-chunk", text="Hello there. How are ")
            first = await client.hear()
            assert first and first[0] == "audio-start"
            await client.say("synthesize-chunk", text="you today?")
            await client.say("synthesize", text=TEXT)  # for servers that know no chunks: to be passed over
            await client.say("synthesize-stop")
            kinds, audio = await client.hear_until("synthesize-stopped")
    assert audio == tone_bytes(*SENTENCES)
    assert kinds[-2:] == ["audio-stop", "synthesize-stopped"]


async def test_texts_that_wait_are_spoken_one_after_the_other(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            for voice in ("low", "high"):
                await client.say("synthesize", text="Hello there.", voice={"name": voice})
            for voice in ("low", "high"):
                assert (await client.hear_until("audio-stop"))[1] == tone_bytes("Hello there.", voice=voice)


async def test_describe_names_the_voices(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("describe")
            told = await client.hear()
    assert told and told[0] == "info"
    assert [voice["name"] for voice in told[1]["tts"][0]["voices"]] == ["tone", "low", "high"]


async def test_ping_is_answered_and_strangers_are_passed_over(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("run-pipeline", start_stage="asr")
            await client.say("ping", text="abc")
            assert await client.hear() == ("pong", {"text": "abc"}, b"")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"no json\n", "bad_message"),
        (b'{"type": "synthesize", "data": {"text": 5}}\n', "bad_message"),
        (b'{"type": "synthesize", "data": {"text": "  "}}\n', "empty_text"),
        (b'{"type": "synthesize", "data": {"text": "Hi.", "voice": {"name": "nobody"}}}\n', "unknown_voice"),
        (b'{"type": "synthesize", "data": {"text": "```\\ncode\\n```"}}\n', "empty_text"),
        (b'{"type": "synthesize-start"}\n{"type": "synthesize-start"}\n', "bad_message"),
        (b'{"type": "ping", "payload_length": 1000000000}\n', "text_too_long"),
    ],
)
async def test_an_error_is_told_and_ends_the_connection(tone_python: Path, sent: bytes, code: str) -> None:
    """A client that waits for audio would wait for ever."""
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            client.writer.write(sent)
            told = await client.hear()
            assert told and (told[0], told[1]["code"]) == ("error", code)
            assert await client.reader.read() == b""


async def test_a_line_without_an_end_is_not_kept(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            client.writer.write(b"x" * 300_000)
            await eventually(lambda: bool(server.house.guests), "it was seen")
            await eventually(lambda: not server.house.guests, "it was sent away")


async def test_a_client_that_leaves_frees_the_worker(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("synthesize", text=TEXT * 5)
            assert await client.hear()
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)
        await eventually(lambda: not server.house.guests, "the client is forgotten")


async def test_connections_of_one_address_are_counted(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, connections_per_address=1))
    async with running_server(tone_config(), tone_python, limits=limits) as server, wyoming(server) as port:
        async with connected(port) as first, connected(port) as second:
            told = await second.hear()
            assert told and told[1]["code"] == "too_many_connections"
            await first.say("ping")
            assert await first.hear()


async def test_a_client_without_a_text_is_asked_to_leave_when_the_server_shuts_down(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("ping")
            await client.hear()
            server.house.drain()
            told = await client.hear()
            assert told and told[1]["code"] == "going_away"
            assert await client.hear() is None
        await eventually(lambda: server.house.is_empty, "nobody is left")


async def test_a_silent_client_is_let_go(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    async with running_server(tone_config(), tone_python, limits=limits) as server, wyoming(server) as port:
        async with connected(port) as client:
            assert await client.hear() is None


async def test_a_client_that_does_not_read_is_cut_off(tone_python: Path) -> None:
    async with running_server(tone_config(seconds_per_char=30.0), tone_python) as server, wyoming(server) as port:
        async with connected(port) as client:
            await client.say("synthesize", text="Hello there. " * 20)
            await eventually(lambda: bool(server.house.guests), "it was seen")
            await eventually(lambda: not server.house.guests, "it was cut off")
