"""The worker's end of the wire.

A side thread listens, so that the gateway is heard while the main thread is inside an engine: it answers pings, queues
commands for the main thread, and ends the process when the gateway is gone. Both threads speak, one frame at a time.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from queue import SimpleQueue

from voice_server.wire.conversation import Conversation, Side, State
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import CONTROL_FRAME_BYTES, Message, Ping, Pong, Stop, WireError, WorkerMessage
from voice_server.worker.process import vanish

_PROTOCOL_BROKEN = 76  # EX_PROTOCOL of sysexits.h
_READ_BYTES = 64 * 1024


class Link:
    """`commands` are the gateway's messages for the main thread, already checked, in their order."""

    def __init__(self, sock: socket.socket) -> None:
        self.commands: SimpleQueue[Message] = SimpleQueue()
        self._socket = sock
        self._conversation = Conversation(Side.WORKER)
        self._lock = threading.Lock()  # guards the conversation and keeps frames whole, in the order it was told of

    def start(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def say(self, message: WorkerMessage) -> None:
        """Send a message, unless it is audio of a render that was cancelled meanwhile."""
        with self._lock:
            if self._conversation.worker_says(message) is None:
                return
            try:
                self._socket.sendall(encode(message))
            except OSError:
                vanish()

    def _listen(self) -> None:
        decoder = FrameDecoder(CONTROL_FRAME_BYTES, CONTROL_FRAME_BYTES)
        while data := self._receive():
            try:
                for message in decoder.feed(data):
                    self._hear(message)
            except WireError as error:
                print(f"the gateway broke the wire: {error}", file=sys.stderr, flush=True)  # noqa: T201
                os._exit(_PROTOCOL_BROKEN)
        vanish()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES)
        except OSError:
            return b""

    def _hear(self, message: Message) -> None:
        with self._lock:
            is_loading = self._conversation.state is State.LOADING
            self._conversation.gateway_says(message)  # type: ignore[arg-type]  # refuses a worker's message
        if isinstance(message, Ping):
            self.say(Pong(message.nonce))
        elif isinstance(message, Stop) and is_loading:
            os._exit(0)  # the main thread may be loading for minutes
        else:
            self.commands.put(message)
