"""I1, I2 and I6 of the fault list: what clients send that is no message, at every WebSocket door.

The gateway is a process of its own, so that its log can be read: no input of a client may put a traceback there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.cost import costs_less
from tests.harness import TIMEOUT_S, ask, running_server, tone_bytes, tone_config
from tests.server_process import ServerProcess, server_process
from voice_server.config import load_config
from voice_server.core import errors
from voice_server.core.errors import BadOption, VoiceError
from voice_server.core.limits import Limits
from voice_server.core.options import validate
from voice_server.core.text.sentences import SentenceSplitter

HELLO = "Hello there."
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VoiceError)}
INTERNAL_ERROR = 1011


@pytest.fixture(scope="module")
def server(tone_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("input")) as server:
        server.wait_ready()
        yield server
        assert "Traceback" not in server.stderr


def _said_until_done(ws: ClientConnection) -> tuple[list[dict[str, Any]], bytes]:
    """The messages of an answer, and its audio."""
    messages: list[dict[str, Any]] = []
    audio = b""
    while not (messages and messages[-1]["type"] == "done"):
        got = ws.recv(TIMEOUT_S)
        if isinstance(got, bytes):
            audio += got
        else:
            messages.append(json.loads(got))
    return messages, audio


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def _object(key: str, value: str) -> str:
    return f'{{"{key}":{value}}}'


# What is sent → the code of the error; "" is none.
MESSAGES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "bad_message"),
    "a space": (" ", "bad_message"),
    "no JSON": ("hello", "bad_message"),
    "a number": ("1", "bad_message"),
    "a string": ('"token"', "bad_message"),
    "true": ("true", "bad_message"),
    "null": ("null", "bad_message"),
    "a list": ("[]", "bad_message"),
    "a list of messages": ('[{"token":"x"}]', "bad_message"),
    "half an object": ('{"token":"x"', "bad_message"),
    "half a string": ('{"token":"x', "bad_message"),
    "half an escape": ('{"token":"\\u12"}', "bad_message"),
    "two objects": ('{"token":"x"}{"token":"y"}', "bad_message"),
    "a comma too many": ('{"flush":true,}', "bad_message"),
    "single quotes": ("{'token':'x'}", "bad_message"),
    "a comment": ('{"flush":true} // now', "bad_message"),
    "a BOM": ('\ufeff{"flush":true}', "bad_message"),
    "a NUL": ("\0", "bad_message"),
    "a NUL behind it": ('{"flush":true}\0', "bad_message"),
    "a newline in a string": ('{"token":"a\nb"}', "bad_message"),
    "a control character in a string": ('{"token":"a\x01"}', "bad_message"),
    "a key that is no string": ('{1:"x"}', "bad_message"),
    "half of a pair": ('{"token":"\\ud800"}', "bad_message"),
    "the other half": ('{"token":"\\udc00"}', "bad_message"),
    "a pair the wrong way round": ('{"token":"\\udc00\\ud800"}', "bad_message"),
    "half of a pair in a key": ('{"\\ud800":1}', "bad_message"),
    "60 000 lists": ("[" * 60_000, "bad_message"),
    "10 000 objects": ('{"opts":' * 7_000, "bad_message"),
    "NaN": ('{"opts":{"speed":NaN}}', "bad_message"),
    "Infinity": ('{"opts":{"speed":Infinity}}', "bad_message"),
    "1e999": ('{"opts":{"speed":1e999}}', "bad_message"),
    "5000 digits": ('{"opts":{"speed":' + "9" * 5_000 + "}}", "bad_message"),
    "a number with a plus": ('{"sample_rate":+24000}', "bad_message"),
    "a number with zeros": ('{"sample_rate":024000}', "bad_message"),
    "a hexadecimal number": ('{"sample_rate":0x5dc0}', "bad_message"),
    "binary": (b'{"flush":true}', "bad_message"),
    "binary that is no text": (b"\xff\xfe\x00", "bad_message"),
    "nothing, in binary": (b"", "bad_message"),
    "an object": ("{}", ""),
    "an unknown key": ('{"colour":"red"}', ""),
    "an empty key": ('{"":1}', ""),
    "a key of 10 000 characters": (_object("k" * 10_000, "1"), ""),
    "a key twice": ('{"voice":"nobody","voice":"tone"}', ""),
    "spaces around": (' \n\t{"words":false}\r\n ', ""),
    "null for a voice": ('{"voice":null}', ""),
    "null for options": ('{"opts":null}', ""),
    "null for a token": ('{"token":null}', ""),
    "an empty token": ('{"token":""}', ""),
    "no options": ('{"opts":{}}', ""),
    "a token that is a number": ('{"token":5}', "bad_message"),
    "a token that is a list": ('{"token":["x"]}', "bad_message"),
    "a token of 4097 characters": (_object("token", '"' + "x" * 4_097 + '"'), "text_too_long"),
    "a voice that is a number": ('{"voice":7}', "bad_message"),
    "a voice that there is not": ('{"voice":"nobody"}', "unknown_voice"),
    "a voice with a NUL": ('{"voice":"to\\u0000ne"}', "unknown_voice"),
    "a voice of 10 000 characters": (_object("voice", '"' + "v" * 10_000 + '"'), "unknown_voice"),
    "a path for a voice": ('{"voice":"../../etc/passwd"}', "unknown_voice"),
    "options in a list": ('{"opts":[]}', "bad_message"),
    "an unknown option": ('{"opts":{"colour":1}}', "bad_option"),
    "an option of 10 000 characters": ('{"opts":{"' + "o" * 10_000 + '":1}}', "bad_option"),
    "an option with a control character": ('{"opts":{"\\u001b[2J":1}}', "bad_option"),
    "cancel that is a number": ('{"cancel":1}', "bad_message"),
    "flush that is a word": ('{"flush":"now"}', "bad_message"),
    "done that is an object": ('{"done":{}}', "bad_message"),
    "a rate that is true": ('{"sample_rate":true}', "bad_message"),
    "a rate with a fraction": ('{"sample_rate":24000.5}', "bad_message"),
    "a rate below": ('{"sample_rate":7999}', "bad_message"),
    "a rate above": ('{"sample_rate":48001}', "bad_message"),
    "a rate below zero": ('{"sample_rate":-1}', "bad_message"),
    "a rate of 25 digits": (_object("sample_rate", "1" + "0" * 24), "bad_message"),
    "a rate that is a word": ('{"sample_rate":"fast"}', "bad_message"),
    "keep_open that is a word": ('{"keep_open":"yes"}', "bad_message"),
    "words that are words": ('{"words":"yes"}', "bad_message"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_i1_a_message_is_named_by_its_mistake_and_the_stream_goes_on(server: ServerProcess, case: str) -> None:
    message, code = MESSAGES[case]
    with connect(f"{server.ws}/stream-tokens") as ws:
        ws.send(message)
        ws.send(json.dumps({"token": HELLO, "done": True}))
        messages, audio = _said_until_done(ws)
    assert [told["code"] for told in messages if told["type"] == "error"] == ([code] if code else [])
    assert audio == tone_bytes(HELLO)


SPECS = load_config(None).backends["tone"].opts
OUT_OF_RANGE = {"1e9": 1e9, "-1": -1, "true": True, "a string": "1", "a list": [1.0], "an object": {"value": 1.0}}


@pytest.mark.anyio
@pytest.mark.parametrize("case", OUT_OF_RANGE)
async def test_i6_an_option_out_of_range_is_refused_by_name_before_a_worker_sees_it(
    tone_python: Path, case: str
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await ask(server.ws, {"opts": {"speed": OUT_OF_RANGE[case]}}, {"token": HELLO, "done": True})
    (error,) = answer.of_type("error")
    assert (error["code"], error["field"]) == ("bad_option", "opts.speed")
    assert answer.audio == tone_bytes(HELLO)


@given(st.dictionaries(st.sampled_from(["speed", "fault", "x"]) | st.text(max_size=5), JSON, max_size=3))
def test_i6_options_are_right_or_a_bad_option_that_names_one(options: dict[str, Any]) -> None:
    try:
        checked = validate(options, SPECS)
    except BadOption as refused:
        assert refused.field and refused.field.startswith("opts.")
    else:
        assert options.keys() <= SPECS.keys()
        assert 0.25 <= checked["speed"] <= 4.0


# Anything at all

KEYS = ["cancel", "voice", "opts", "sample_rate", "keep_open", "words", "token", "flush", "done", "resume", "x"]
NEARLY = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4)


@settings(max_examples=150)
@given(st.lists(JSON.map(json.dumps) | NEARLY.map(json.dumps) | st.text() | st.binary(), max_size=6))
def test_i1_nothing_that_is_sent_ends_a_stream_by_our_mistake(
    server: ServerProcess, messages: list[str | bytes]
) -> None:
    """The last word of the server is one that docs/stream-tokens.md has."""
    with connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
        try:
            for message in messages:
                ws.send(message if isinstance(message, bytes) else message.encode("utf-8", "replace").decode())
            ws.send('{"cancel":true,"keep_open":false}')
            ws.send('{"done":true}')
            while True:
                got = ws.recv(TIMEOUT_S)
                if isinstance(got, str) and (told := json.loads(got))["type"] == "error":
                    assert told["code"] in CODES
        except ConnectionClosed as closed:
            assert closed.rcvd
            assert closed.rcvd.code != INTERNAL_ERROR
    assert "Traceback" not in server.stderr


# The other doors

DOORS = [
    "/stream-tokens",
    "/stream?text=Hello.",
    "/tts",
    "/tts/websocket",
    "/v1/text-to-speech/tone/stream-input",
    "/v1/text-to-speech/tone/multi-stream-input",
    "/v1/speak?model=tone",
]
EVERYWHERE: list[str | bytes] = [
    "",
    "hello",
    "1",
    "null",
    "[]",
    "{}",
    '{"',
    "[" * 60_000,
    '{"a":' * 10_000,
    '{"text":"\\ud800"}',
    '{"text":NaN}',
    '{"text":5}',
    '{"text":null,"transcript":null,"type":null}',
    '{"type":"tts","request_id":"\\u0000","params":[]}',
    '{"type":"Speak","text":{}}',
    '{"type":[]}',
    '{"context_id":{},"transcript":"x"}',
    '{"context_id":"' + "c" * 10_000 + '"}',
    '{"text":"x","voice_settings":{"speed":1e999}}',
    b"\xff\xfe\x00",
    b"",
]


@pytest.mark.parametrize("door", DOORS)
def test_i1_no_door_takes_a_mistake_of_the_client_for_its_own(server: ServerProcess, door: str) -> None:
    for message in EVERYWHERE:
        with connect(f"{server.ws}{door}", max_queue=None) as ws:  # what is said meanwhile holds up no pong
            try:
                ws.send(message)
                assert ws.ping(ack_on_close=True).wait(TIMEOUT_S)  # it was heard
            except ConnectionClosed:
                pass
        assert ws.close_code != INTERNAL_ERROR, message
    assert "Traceback" not in server.stderr


def test_i1_text_after_done_begins_the_next_answer(server: ServerProcess) -> None:
    with connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
        for text in ("First.", "Second."):
            ws.send(json.dumps({"token": text, "done": True}))
        assert [_said_until_done(ws)[1] for _ in range(2)] == [tone_bytes("First."), tone_bytes("Second.")]


# Horrors of Unicode

HORRORS = {
    "combining marks": "a" + "\u0301" * 1000,
    "a long word": "x" * 1000,
    "spaces": " " * 1000,
    "full stops": "." * 1000,
    "full stops and spaces": ". " * 500,
    "quotes": "\u201d\"'" * 300,
    "bidi controls": "\u202eabc\u2066" * 200,
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 200,
    "Arabic": "مرحبا بالعالم. " * 70,
    "abbreviations": "e.g. Mr. Dr. " * 80,
    "numbers": "1.2.3.4.5. " * 100,
    "brackets": "[(" * 500,
    "newlines": "\n" * 1000,
    "Chinese": "你好。" * 300,
    "NULs": "\0" * 1000,
}


@pytest.mark.parametrize("case", HORRORS)
def test_i2_no_text_takes_more_than_linear_time_to_split(case: str) -> None:
    """Eight times the text in less than 24 times the time; a square would take 64 times."""
    unit = HORRORS[case]

    def split(times: int) -> None:
        splitter = SentenceSplitter(Limits().text)
        for _ in range(times):
            splitter.push(unit)
        splitter.flush()

    assert costs_less(lambda: split(64), 24, lambda: split(8))


@pytest.mark.parametrize("case", HORRORS)
def test_i2_no_text_breaks_a_stream(server: ServerProcess, case: str) -> None:
    with connect(f"{server.ws}/stream-tokens") as ws:
        ws.send(json.dumps({"token": HORRORS[case][:1000]}))
        ws.send(json.dumps({"cancel": True}))
        ws.send(json.dumps({"token": HELLO, "done": True}))
        messages, audio = _said_until_done(ws)
    assert audio.endswith(tone_bytes(HELLO))
    assert messages[-1] == {"type": "done"}
