from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.ports.packets import BadPacket, PacketDecoder, packet

families = pytest.mark.parametrize("counts_itself", [False, True])
MOST = 64


@families
@given(bodies=st.lists(st.binary(max_size=MOST)), cuts=st.lists(st.integers(1, 20)))
def test_bodies_come_out_as_they_went_in_however_the_stream_is_cut(
    counts_itself: bool, bodies: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(packet(body, counts_itself=counts_itself) for body in bodies)
    decoder, heard = PacketDecoder(MOST, counts_itself=counts_itself), []
    for cut in cuts:
        heard += decoder.feed(stream[:cut])
        stream = stream[cut:]
    heard += decoder.feed(stream)
    assert heard == bodies
    decoder.end()


@families
@given(data=st.binary(max_size=200))
def test_any_bytes_are_bodies_or_one_refusal(counts_itself: bool, data: bytes) -> None:
    decoder = PacketDecoder(MOST, counts_itself=counts_itself)
    heard = []
    try:
        for body in decoder.feed(data):
            heard.append(body)
        decoder.end()
    except BadPacket:
        pass
    sent = b"".join(packet(body, counts_itself=counts_itself) for body in heard)
    assert data.startswith(sent)
    assert all(len(body) <= MOST for body in heard)


def test_a_length_counts_the_body_or_itself_too() -> None:
    assert packet(b"abc", counts_itself=False) == b"\0\0\0\3abc"
    assert packet(b"abc", counts_itself=True) == b"\0\0\0\7abc"


@pytest.mark.parametrize(
    ("counts_itself", "length"), [(False, MOST + 1), (True, MOST + 5), (False, 2**32 - 1), (True, 0), (True, 3)]
)
def test_a_length_that_cannot_be_is_refused_before_its_body_comes(counts_itself: bool, length: int) -> None:
    decoder = PacketDecoder(MOST, counts_itself=counts_itself)
    with pytest.raises(BadPacket, match=f"a packet of {length} bytes"):
        list(decoder.feed(struct.pack(">I", length)))


def test_the_good_packets_before_a_bad_one_are_heard() -> None:
    heard = []
    with pytest.raises(BadPacket):
        for body in PacketDecoder(MOST, counts_itself=False).feed(b"\0\0\0\1a\xff\xff\xff\xff"):
            heard.append(body)
    assert heard == [b"a"]


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\2", b"\0\0\0\2a"])
def test_an_end_within_a_packet_is_no_clean_one(data: bytes) -> None:
    decoder = PacketDecoder(MOST, counts_itself=False)
    assert list(decoder.feed(data)) == []
    with pytest.raises(BadPacket, match="in the middle of a packet"):
        decoder.end()
