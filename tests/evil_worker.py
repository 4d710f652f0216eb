"""A worker that breaks the wire, started in place of the real one.

A worker's command ends with the number of the inherited socket and the gateway's process id. The real command is
 `[python, "-I", ".../worker/bootstrap.py", FD, PARENT_PID]`; this one is
`[python, "-I", "tests/evil_worker.py", CASE, FD, PARENT_PID]`, or without CASE and with EVIL_CASE in the environment.
It uses the standard library only, not a line of ours: its bytes are an independent second opinion on the wire.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

PCM = b"\x00\x20" * 4800  # loud and long enough for any sentence here


def pack(value: Any) -> bytes:
    """As msgpack."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    pairs = b"".join(pack(key) + pack(item) for key, item in value.items())
    return b"\xdf" + struct.pack(">I", len(value)) + pairs


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def message(kind: str, **fields: Any) -> bytes:
    return frame(pack({"type": kind, **fields}))


def audio(render_id: int, index: int, pcm: bytes = PCM) -> bytes:
    return message("audio", render_id=render_id, index=index, pcm=pcm)


class Peer:
    """The evil side of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def dribble(self, data: bytes) -> None:
        for at in range(len(data)):
            self.send(data[at : at + 1])

    def await_message(self, kind: str) -> bytes:
        """The body of the gateway's next message of this kind; pings are answered and `stop` obeyed meanwhile."""
        while not _is(kind, body := self._receive_frame()):
            if _is("stop", body):
                sys.exit(0)
            if _is("ping", body):
                self.send(message("pong", nonce=_integer_after(b"nonce", body)))
        return body

    def await_render(self) -> int:
        return _integer_after(b"render_id", self.await_message("render"))

    def hello(self, version: int = 1) -> None:
        self.send(message("hello", protocol_version=version, pid=os.getpid(), python="3.11.0"))

    def ready(self, capacity: int = 1) -> None:
        """A legal handshake."""
        self.hello()
        self.await_message("load")
        self.send(message("ready", sample_rate=24000, capacity=capacity, voices=["evil"], deterministic=True))

    def render(self) -> int:
        """A legal handshake, and the id of the render that the gateway then asks for."""
        self.ready()
        return self.await_render()

    def _receive_frame(self) -> bytes:
        return self._receive(struct.unpack(">I", self._receive(4))[0])

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                sys.exit(0)
            data += more
        return data


def _is(kind: str, body: bytes) -> bool:
    return b"type" + bytes([0xA0 | len(kind)]) + kind.encode() in body


def _integer_after(key: bytes, body: bytes) -> int:
    at = body.index(key) + len(key)
    sizes = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
    if body[at] in sizes:
        return int(struct.unpack_from(sizes[body[at]], body, at + 1)[0])
    return body[at]


def _at_start(*data: bytes) -> Callable[[Peer], None]:
    return lambda peer: peer.send(*data)


def _after_hello(*data: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.hello()
        peer.send(*data)

    return play


def _after_load(*data: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.hello()
        peer.await_message("load")
        peer.send(*data)

    return play


def _when_idle(*data: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.ready()
        peer.send(*data)

    return play


def _in_render(*parts: Callable[[int], bytes]) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        render_id = peer.render()
        peer.send(*(part(render_id) for part in parts))

    return play


def _first_audio(render_id: int) -> bytes:
    return audio(render_id, 0)


# Each case breaks the wire, and then stays silent, so that nothing but the breach itself can give it away.
BREACHES: dict[str, Callable[[Peer], None]] = {
    "garbage": _at_start(bytes(range(255, -1, -1)) * 4),
    "http": _at_start(b"GET / HTTP/1.1\r\n\r\n"),
    "length_ffffffff": _at_start(b"\xff\xff\xff\xff"),
    "length_ffffffff_and_flood": _at_start(b"\xff\xff\xff\xff" + bytes(4_000_000)),
    "length_zero": _at_start(bytes(4)),
    "length_limit_plus_one": _at_start(struct.pack(">I", 1024 * 1024 + 1)),
    "not_msgpack": _after_hello(frame(b"\xc1")),
    "trailing_bytes": _after_hello(frame(pack({"type": "stop"}) + b"\0")),
    "billion_items": _after_hello(frame(b"\xdd\x3f\xff\xff\xff")),
    "nested_deeply": _after_hello(frame(b"\x91" * 50_000 + b"\xc0")),
    "bad_utf8": _after_hello(frame(b"\x81\xa4type\xa1\xff")),
    "not_a_map": _after_hello(frame(pack(["hello"]))),
    "unknown_message": _after_hello(message("goodbye")),
    "unknown_field": _after_load(message("progress", text="x", extra=1)),
    "missing_field": _after_load(message("progress")),
    "wrong_type": _after_load(message("progress", text=1)),
    "control_too_long": _after_load(message("progress", text="x" * 100_000)),
    "a_gateways_message": _after_hello(message("ping", nonce=1)),
    "no_hello": _at_start(message("progress", text="x")),
    "hello_twice": _after_hello(message("hello", protocol_version=1, pid=1, python="3.11.0")),
    "other_protocol": lambda peer: peer.hello(version=99),
    "audio_while_loading": _after_load(audio(1, 0)),
    "ready_without_capacity": _after_load(
        message("ready", sample_rate=24000, capacity=0, voices=["evil"], deterministic=True)
    ),
    "ready_twice": _when_idle(message("ready", sample_rate=24000, capacity=1, voices=["evil"], deterministic=True)),
    "audio_unasked": _when_idle(audio(999_999, 0)),
    "done_unasked": _when_idle(message("done", render_id=999_999, chunks=0, truncated=False)),
    "pong_unasked": _when_idle(message("pong", nonce=12345)),
    "odd_audio": _in_render(lambda render_id: audio(render_id, 0, b"\0\0\0")),
    "empty_audio": _in_render(lambda render_id: audio(render_id, 0, b"")),
    "audio_of_another_render": _in_render(lambda render_id: audio(render_id + 1000, 0)),
    "index_gap": _in_render(_first_audio, lambda render_id: audio(render_id, 2)),
    "index_twice": _in_render(_first_audio, _first_audio),
    "audio_too_long": _in_render(lambda render_id: audio(render_id, 0, bytes(1024 * 1024))),
    "wrong_count": _in_render(
        _first_audio, lambda render_id: message("done", render_id=render_id, chunks=7, truncated=False)
    ),
    "cancelled_unasked": _in_render(lambda render_id: message("cancelled", render_id=render_id)),
    "done_twice": _in_render(
        _first_audio, *[lambda render_id: message("done", render_id=render_id, chunks=1, truncated=False)] * 2
    ),
}


def _partial_frame(peer: Peer) -> None:
    peer.send(audio(peer.render(), 0)[:100])


def _partial_frame_then_exit(peer: Peer) -> None:
    _partial_frame(peer)
    sys.exit(0)


def _partial_frame_then_death(peer: Peer) -> None:
    _partial_frame(peer)
    os.kill(os.getpid(), signal.SIGKILL)


def _partial_frame_then_eof(peer: Peer) -> None:
    _partial_frame(peer)
    peer.sock.shutdown(socket.SHUT_WR)


def _exit_when_idle(peer: Peer) -> None:
    peer.ready()
    sys.exit(0)


def _eof_but_alive(peer: Peer) -> None:
    peer.ready()
    peer.sock.close()


# Each case keeps the rules, yet the worker is lost.
LOSSES: dict[str, Callable[[Peer], None]] = {
    "partial_frame_then_silence": _partial_frame,
    "partial_frame_then_exit": _partial_frame_then_exit,
    "partial_frame_then_death": _partial_frame_then_death,
    "partial_frame_then_eof": _partial_frame_then_eof,
    "never_says_hello": lambda peer: None,
    "never_ready": _after_load(),
    "load_failed_then_silence": _after_load(message("load_failed", message="it cannot load", retryable=True)),
    "deaf": lambda peer: peer.ready(),  # reads nothing more: the socket fills up
    "deaf_with_many_seats": lambda peer: peer.ready(capacity=100),
    "silent_in_render": lambda peer: peer.send(audio(peer.render(), 0)),
    "exit_when_idle": _exit_when_idle,
    "eof_but_alive": _eof_but_alive,
}


def _honest(peer: Peer) -> None:
    _serve(peer, peer.send)


def _dribble(peer: Peer) -> None:
    _serve(peer, peer.dribble)


def _serve(peer: Peer, send: Callable[[bytes], None]) -> None:
    peer.ready()
    _go_on(peer, send)


def _go_on(peer: Peer, send: Callable[[bytes], None]) -> None:
    while True:
        render_id = peer.await_render()
        done = message("done", render_id=render_id, chunks=2, truncated=False)
        send(audio(render_id, 0) + audio(render_id, 1) + done)


# Each case is a good worker, if an odd one.
GOOD: dict[str, Callable[[Peer], None]] = {"honest": _honest, "dribble": _dribble}


def _late_audio(peer: Peer) -> None:
    render_id = peer.render()
    peer.send(audio(render_id, 0))
    peer.await_message("cancel")
    peer.send(audio(render_id, 1), audio(render_id, 2), message("cancelled", render_id=render_id))
    _go_on(peer, peer.send)


# Each case keeps the rules when its first render is cancelled.
CANCELLED: dict[str, Callable[[Peer], None]] = {"late_audio": _late_audio}

CASES = {**BREACHES, **LOSSES, **GOOD, **CANCELLED}


def main(arguments: list[str]) -> None:
    case = arguments[0] if len(arguments) == 3 else os.environ["EVIL_CASE"]
    peer = Peer(socket.socket(fileno=int(arguments[-2])))
    CASES[case](peer)
    while True:  # with the socket open, unless the case closed it
        time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1:])
