"""`/stream-tokens` over real sockets, with the tone backend's predictable audio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import websockets

from tests.harness import ask, read_answer, running_server, say, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

HELLO = ("Hello there.", "How are you today?")


async def test_an_original_client_gets_pcm_generating_and_done(tone_python: Path) -> None:
    """It sends a voice of Kokoro and options, then tokens, then done; it knows three message types."""
    async with running_server(tone_config(), tone_python) as server:
        answer = await ask(
            server.ws,
            {"voice": "af_heart", "opts": {"speed": 1.0}},
            {"token": "Hello "},
            {"token": "there. "},
            {"token": "How are you today?"},
            {"done": True},
        )
    assert answer.audio == tone_bytes(*HELLO)
    assert [told["sentence"] for told in answer.of_type("generating")] == list(HELLO)
    assert answer.messages[-1] == {"type": "done"}
    assert answer.close_code == 1000
    assert answer.codes == []


async def test_the_first_message_names_rate_format_and_backend(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await ask(server.ws, {"done": True})
    assert answer.messages[0] == {
        "type": "ready",
        "protocol": 1,
        "backend": "tone",
        "voice": "tone",
        "sample_rate": 24000,
        "format": "pcm_s16le",
        "channels": 1,
    }


async def test_marks_surround_the_audio_of_each_sentence(tone_python: Path) -> None:
    async with running_server(tone_config(workers=2), tone_python) as server:
        answer = await ask(server.ws, {"token": " ".join(HELLO), "done": True})
    assert answer.sentences == {index: tone_bytes(text) for index, text in enumerate(HELLO)}
    ends = [told for told in answer.of_type("sentence") if told["event"] == "end"]
    assert [end["duration_ms"] for end in ends] == [round(len(tone_bytes(text)) / 48) for text in HELLO]


async def test_many_answers_on_one_socket(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
            for text in ("The first one.", "And the second."):
                await say(ws, {"token": text, "done": True})
                assert (await read_answer(ws)).audio == tone_bytes(text)


async def test_an_answer_that_begins_before_the_last_is_done_follows_it(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
            await say(ws, {"token": "The first one.", "done": True}, {"token": "And the second.", "done": True})
            answers = [await read_answer(ws), await read_answer(ws)]
    assert [answer.audio for answer in answers] == [tone_bytes("The first one."), tone_bytes("And the second.")]


async def test_flush_speaks_an_unfinished_sentence(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": "No full stop", "flush": True})
            answer = await read_answer(ws, until="generating")
    assert answer.of_type("generating")[0]["sentence"] == "No full stop"


async def test_a_doubtful_end_is_spoken_when_the_model_stalls(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": "He works at Acme Inc."})
            answer = await read_answer(ws, until="generating")
    assert answer.of_type("generating")[0]["sentence"] == "He works at Acme Inc."


async def test_another_sample_rate_is_announced_and_kept(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await ask(server.ws, {"sample_rate": 16000}, {"token": HELLO[0], "done": True})
    assert answer.of_type("format") == [{"type": "format", "sample_rate": 16000, "format": "pcm_s16le", "channels": 1}]
    assert len(answer.audio) == pytest.approx(len(tone_bytes(HELLO[0])) * 16000 / 24000, abs=4)


async def test_native_is_the_rate_of_the_engine(tone_python: Path) -> None:
    async with running_server(tone_config(sample_rate=48000), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?sample_rate=native") as ws:
            await say(ws, {"token": HELLO[0], "done": True})
            answer = await read_answer(ws)
    assert answer.messages[0]["sample_rate"] == 48000
    assert answer.audio == tone_bytes(HELLO[0], sample_rate=48000)


async def test_a_voice_applies_to_what_has_not_started(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await ask(server.ws, {"voice": "low"}, {"token": HELLO[0], "done": True})
    assert answer.audio == tone_bytes(HELLO[0], voice="low")


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ('{"token": 5}', "bad_message", "token"),
        ("[", "bad_message", None),
        ('"text"', "bad_message", None),
        ("[" * 60_000, "bad_message", None),
        ('{"token": "\\ud800"}', "bad_message", None),
        ('{"opts": {"speed": NaN}}', "bad_message", None),
        (b"binary", "bad_message", None),
        ('{"voice": "nobody"}', "unknown_voice", "voice"),
        ('{"opts": {"colour": 1}}', "bad_option", "opts.colour"),
        ('{"opts": {"speed": 1e9}}', "bad_option", "opts.speed"),
        ('{"opts": {"speed": true}}', "bad_option", "opts.speed"),
        ('{"opts": {"speed": "1"}}', "bad_option", "opts.speed"),
        ('{"sample_rate": 1}', "bad_message", "sample_rate"),
        (json.dumps({"token": "a" * 5000}), "text_too_long", "token"),
    ],
)
async def test_bad_input_is_named_and_loses_nothing(
    tone_python: Path, message: str | bytes, code: str, field: str | None
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": "Hello "})
            await ws.send(message)
            await say(ws, {"token": "there."}, {"done": True})
            answer = await read_answer(ws)
    assert answer.codes == [code]
    assert answer.of_type("error")[0].get("field") == field
    assert answer.audio == tone_bytes("Hello there.")


async def test_a_message_over_the_limit_closes_with_1009(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await ws.send("x" * (64 * 1024 + 1))
            answer = await read_answer(ws)
    assert answer.close_code == 1009


async def test_c4_nothing_of_the_old_text_is_heard_after_cancelled(tone_python: Path) -> None:
    old = "This is a long sentence which nobody wants to hear to its end, because something came up meanwhile."
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": old, "flush": True})
            await ws.recv()
            while not isinstance(await ws.recv(), bytes):
                pass
            await say(ws, {"cancel": True, "token": HELLO[0], "done": True})
            before = await read_answer(ws, until="cancelled")
            after = await read_answer(ws)
    assert len(before.audio) < len(tone_bytes(old)) / 2
    assert after.audio == tone_bytes(HELLO[0])
    assert after.messages[-1] == {"type": "done"}


async def test_a_cancel_tells_what_was_heard_of_the_answer(tone_python: Path) -> None:
    async with running_server(tone_config(seconds_per_char=0.1), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
            await say(ws, {"token": " ".join(HELLO)}, {"done": True})
            delivered_ms = round(len((await read_answer(ws)).audio) / 48)  # whole, long before it was heard
            await say(ws, {"cancel": True})
            (cancelled,) = (await read_answer(ws, until="cancelled")).of_type("cancelled")
    assert cancelled["delivered_ms"] == delivered_ms
    assert 0 < cancelled["spoken_ms"] < delivered_ms
    assert " ".join(HELLO).startswith(cancelled["spoken_text"])
    assert cancelled["spoken_text"] in ("Hello", "Hello there.")


@pytest.mark.parametrize("ask_in", ["query", "message"])
async def test_words_are_told_with_their_times(tone_python: Path, ask_in: str) -> None:
    query, message = ("?words=1", {}) if ask_in == "query" else ("", {"words": True})
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens{query}") as ws:
            await say(ws, {**message, "token": " ".join(HELLO), "done": True})
            marks = (await read_answer(ws)).of_type("sentence")
    starts, ends = ([mark for mark in marks if mark["event"] == event] for event in ("start", "end"))
    assert [[word["word"] for word in end["words"]] for end in ends] == [text.split() for text in HELLO]
    assert [end["words"][-1]["end_ms"] for end in ends] == [end["duration_ms"] for end in ends]
    assert [start["at_ms"] for start in starts] == [0, ends[0]["duration_ms"]]
