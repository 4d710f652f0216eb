"""Frames of the worker wire: a 4-byte big-endian length, then one message as a msgpack map.

Bytes in, messages out; no socket in here. A frame's length is judged as soon as its four bytes are known, so a lying
length costs no memory, and every way in which bytes can be wrong ends in one exception, `WireError`.
"""

from __future__ import annotations

import struct
from typing import List, Optional

import msgpack

from voice_server.wire.messages import (
    AUDIO_FRAME_BYTES,
    CONTROL_FRAME_BYTES,
    Audio,
    LocalError,
    Message,
    WireError,
    from_wire,
    to_wire,
)

_LENGTH = struct.Struct(">I")

# msgpack has no common base for its refusals (msgpack-python 1.2: ExtraData, FormatError, StackError and bad UTF-8 are
# ValueErrors, a truncated value is an UnpackException, an unhashable or non-text key a TypeError or ValueError).
_REFUSALS = (ValueError, TypeError, msgpack.UnpackException, OverflowError, RecursionError)


def encode(message: Message) -> bytes:
    """The frame of a message. Raises LocalError for what msgpack cannot carry, such as a lone surrogate."""
    try:
        body = msgpack.packb(to_wire(message))
    except (ValueError, TypeError, OverflowError) as refusal:
        raise LocalError(f"a {message.type} message cannot be sent: {type(refusal).__name__}") from refusal
    return _LENGTH.pack(len(body)) + bytes(body)


def _decode(body: bytes) -> Message:
    try:
        data = msgpack.unpackb(body)
    except _REFUSALS as refusal:
        raise WireError(f"a frame is not msgpack: {type(refusal).__name__}") from refusal
    return from_wire(data)


class FrameDecoder:
    """Cuts a byte stream into messages.

    `max_frame_bytes` bounds any frame, `max_control_bytes` every message that is not audio: security limits, since the
    peer runs code we do not know. After an error the decoder is dead: nobody knows where the next frame begins.
    """

    def __init__(self, max_frame_bytes: int = AUDIO_FRAME_BYTES, max_control_bytes: int = CONTROL_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._max_control_bytes = max_control_bytes
        self._buffer = bytearray()
        self._body_bytes: Optional[int] = None  # of the frame begun; None while its header is incomplete
        self._broken = False

    @property
    def at_frame_boundary(self) -> bool:
        """Whether an end of the stream here would be a clean one."""
        return not self._buffer and self._body_bytes is None and not self._broken

    def feed(self, data: bytes) -> List[Message]:
        """The messages that `data` completes. Raises WireError, also for good frames before a bad one in `data`."""
        if self._broken:
            raise WireError("the stream is already broken")
        self._buffer += data
        messages: List[Message] = []
        try:
            while (message := self._next()) is not None:
                messages.append(message)
        except WireError:
            self._broken = True
            self._buffer.clear()
            raise
        return messages

    def _next(self) -> Optional[Message]:
        if self._body_bytes is None:
            if len(self._buffer) < _LENGTH.size:
                return None
            self._body_bytes = self._checked(_LENGTH.unpack(self._take(_LENGTH.size))[0])
        if len(self._buffer) < self._body_bytes:
            return None
        body, self._body_bytes = self._take(self._body_bytes), None
        message = _decode(body)
        if len(body) > self._max_control_bytes and not isinstance(message, Audio):
            raise WireError(f"a {message.type} message of {len(body)} bytes")
        return message

    def _checked(self, body_bytes: int) -> int:
        if not 0 < body_bytes <= self._max_frame_bytes:
            raise WireError(f"a frame of {body_bytes} bytes")
        return body_bytes

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]  # CPython moves the start of a bytearray instead of copying the rest
        return taken
