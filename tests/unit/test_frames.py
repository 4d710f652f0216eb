from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cost import costs_less
from tests.unit.test_messages import ONE_OF_EACH
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import AUDIO_FRAME_BYTES, Audio, LocalError, Ping, Progress, Render, WireError


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_all_messages_in_one_piece_are_decoded_in_order() -> None:
    assert FrameDecoder().feed(b"".join(map(encode, ONE_OF_EACH))) == ONE_OF_EACH


@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_messages_are_the_same_however_the_bytes_are_cut(sizes: list[int]) -> None:
    data, decoder, messages, at, turn = b"".join(map(encode, ONE_OF_EACH)), FrameDecoder(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        messages += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert messages == ONE_OF_EACH


@pytest.mark.parametrize("length", [0, AUDIO_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_a_lying_length_is_refused_at_its_fourth_byte(length: int) -> None:
    header, decoder = struct.pack(">I", length), FrameDecoder()
    assert decoder.feed(header[:3]) == []
    with pytest.raises(WireError, match=f"^a frame of {length} bytes"):
        decoder.feed(header[3:])


def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    message = Audio(1, 0, b"\0" * 200)
    size = len(encode(message)) - 4
    assert FrameDecoder(max_frame_bytes=size, max_control_bytes=10).feed(encode(message)) == [message]


def test_a_control_message_may_not_be_as_long_as_audio() -> None:
    message = Progress("x" * 200)
    size = len(encode(message)) - 4
    assert FrameDecoder(max_frame_bytes=1000, max_control_bytes=size).feed(encode(message)) == [message]
    with pytest.raises(WireError, match=f"^a progress message of {size} bytes"):
        FrameDecoder(max_frame_bytes=1000, max_control_bytes=size - 1).feed(encode(message))


def test_the_shortest_body_is_read_before_it_is_refused() -> None:
    with pytest.raises(WireError, match="a message is a map, not int"):
        FrameDecoder().feed(frame(b"\x01"))


def test_what_msgpack_made_of_bytes_it_cannot_read_is_told() -> None:
    with pytest.raises(WireError, match="a frame is not msgpack: FormatError"):
        FrameDecoder().feed(frame(b"\xc1"))


@pytest.mark.parametrize(
    "body",
    {
        "reserved byte": b"\xc1",
        "truncated map": b"\x82\xa4type",
        "trailing bytes": msgpack.packb({"type": "stop"}) + b"\0",
        "a billion items": b"\xdd\x3f\xff\xff\xff",
        "a huge text": b"\xdb\xff\xff\xff\xff",
        "nested deeply": b"\x91" * 5000 + b"\xc0",
        "unhashable key": b"\x81\x90\xc0",
        "integer key": b"\x81\x01\xc0",
        "bad UTF-8": b"\x81\xa4type\xa1\xff",
        "lone surrogate": b"\x82\xa4type\xa8progress\xa4text\xa3\xed\xa0\x80",
        "extension": msgpack.packb(msgpack.ExtType(5, b"x")),
        "bad timestamp": b"\xc7\x05\xff12345",
        "not a map": b"\x01",
    }.items(),
    ids=lambda item: item[0],
)
def test_every_kind_of_broken_body_is_one_error(body: tuple[str, bytes]) -> None:
    with pytest.raises(WireError):
        FrameDecoder().feed(frame(body[1]))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(body: bytes) -> None:
    try:
        FrameDecoder().feed(frame(body) + body)
    except WireError:
        return


def test_a_decoder_stays_dead_after_an_error() -> None:
    decoder = FrameDecoder()
    with pytest.raises(WireError):
        decoder.feed(frame(b"\xc1"))
    with pytest.raises(WireError, match=r"^the stream is already broken$"):
        decoder.feed(encode(Ping(1)))
    assert not decoder.at_frame_boundary


@pytest.mark.parametrize("cut", range(len(encode(Ping(1)))))
def test_only_whole_frames_end_at_a_boundary(cut: int) -> None:
    decoder = FrameDecoder()
    decoder.feed(encode(Ping(1)) + encode(Ping(2))[:cut])
    assert decoder.at_frame_boundary == (cut == 0)


def test_a_long_frame_fed_byte_by_byte_takes_linear_time() -> None:
    def feed(size: int) -> None:
        data, decoder = encode(Audio(1, 0, b"\0" * size)), FrameDecoder()
        for at in range(len(data)):
            decoder.feed(data[at : at + 1])

    # a quadratic decoder needs 100 times as long
    assert costs_less(lambda: feed(200_000), 40, lambda: feed(20_000))


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Render(1, "\ud800", ""), "UnicodeEncodeError"),
        (Render(1, "", "", {"x": object()}), "TypeError"),
        (Ping(2**64), "OverflowError"),
    ],
)
def test_what_the_wire_cannot_carry_is_our_own_error(message: Render | Ping, why: str) -> None:
    with pytest.raises(LocalError, match=f"^a {message.type} message cannot be sent: {why}"):
        encode(message)
