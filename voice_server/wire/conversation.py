"""Which message is legal when, on the wire between the gateway and one worker.

A conversation is a pure machine: it is told each message that one side says, in the order in which this side sends or
receives them, and raises if the rules forbid it. Both sides keep one. Breaking a rule oneself is a `LocalError`, a bug
to be fixed; the peer breaking one is a `WireError`, after which the wire is closed.

LOADING. The worker says `hello` first of all and once. The gateway says `load` once, before or after that. From then on
the worker reports `progress` until it ends the phase with `ready` or `load_failed`.

IDLE and BUSY. The gateway may open as many renders as `ready` promised (`capacity`), each under an id that is not open.
A render belongs to the worker until it says exactly one of `done`, `failed` or `cancelled`; only then is its place
free. Its `audio` counts from 0 without gaps. `cancel` (once) asks for an early end, `deadline` changes its urgency.
A worker that can take fewer than it promised says `capacity`; the gateway opens no more than that from then on.

A worker whose `ready` says that it is of kind `stt` is asked to `listen` in place of `render`. Then the gateway says
`hear`, counted from 0 without gaps, until `finish`; the worker's `text` counts as audio does and never claims to have
heard more than it was told, and `done` comes only after `finish`.

STOPPING. After `stop` the gateway is silent, and what the worker still had to say may arrive. `load_failed` also leads
here: the worker is about to exit, and the gateway may only `ping` or `stop` it.

Messages cross on the wire, and that is no fault:
  * `cancel`, `deadline`, `hear` or `finish` may reach a worker that has just ended the render: it ignores them;
  * renders may reach a worker that has just lowered its capacity: it takes as many as it promised at first;
  * audio, text, `done` and `failed` may arrive after the gateway said `cancel`. Such audio and text is dropped here
    (`worker_says` returns None), so that nobody can take it for wanted; the end is passed on, since it frees the place.

`ping` is legal in every state and answered by exactly one `pong` with its nonce, in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any, Deque, Dict, FrozenSet, NoReturn, Optional, Tuple, Type, Union

from voice_server.wire.messages import (
    PROTOCOL_VERSION,
    STT,
    TTS,
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Failed,
    Finish,
    GatewayMessage,
    Hear,
    Hello,
    Listen,
    Load,
    LoadFailed,
    LocalError,
    Message,
    Ping,
    Pong,
    Progress,
    Ready,
    Render,
    Stop,
    Text,
    WireError,
    WorkerMessage,
)


class Side(Enum):
    GATEWAY = "gateway"
    WORKER = "worker"


class State(Enum):
    LOADING = "loading"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"


_Kinds = Tuple[Type[Any], ...]
_OPENING: _Kinds = (Render, Listen)
_CHANGING: _Kinds = (Deadline, Hear, Finish, Cancel)
_ENDS: _Kinds = (Done, Failed, Cancelled)

GATEWAY_MAY_SAY: Dict[State, _Kinds] = {
    State.LOADING: (Load, Ping, Stop),
    State.IDLE: (*_OPENING, *_CHANGING, Ping, Stop),
    State.BUSY: (*_OPENING, *_CHANGING, Ping, Stop),
    State.STOPPING: (Ping, Stop),
}

WORKER_MAY_SAY: Dict[State, _Kinds] = {
    State.LOADING: (Hello, Progress, Ready, LoadFailed, Pong),
    State.IDLE: (Capacity, Pong),
    State.BUSY: (Audio, Text, Progress, Capacity, *_ENDS, Pong),
    State.STOPPING: (Hello, Progress, Ready, Capacity, LoadFailed, Audio, Text, *_ENDS, Pong),
}


@dataclass
class _Open:
    chunks: int = 0  # said so far, which is also the index of the next audio or text
    heard: int = 0  # pieces of audio, likewise
    is_finished: bool = False  # nothing more is to be heard
    is_cancelled: bool = False


class Conversation:
    """One worker's conversation as seen by `side`."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._renders: Dict[int, _Open] = {}
        self._pings: Deque[int] = deque()  # not yet answered
        self._ready: Optional[Ready] = None
        self._capacity = 0
        self._greeted = False
        self._load_said = False
        self._load_failed = False
        self._stop_said = False

    @property
    def state(self) -> State:
        if self._stop_said or self._load_failed:
            return State.STOPPING
        if self._ready is None:
            return State.LOADING
        return State.BUSY if self._renders else State.IDLE

    @property
    def capacity(self) -> int:
        """Renders that may be open at once; 0 until the worker is ready."""
        return self._capacity

    @property
    def open_renders(self) -> FrozenSet[int]:
        """Ids of the renders that have not ended yet, the cancelled ones among them."""
        return frozenset(self._renders)

    def is_cancelled(self, render_id: int) -> bool:
        """Whether a render is open and awaits the end that `cancel` asked for."""
        render = self._renders.get(render_id)
        return render is not None and render.is_cancelled

    def gateway_says(self, message: GatewayMessage) -> None:
        """Take note of a message that the gateway sends. Raises LocalError or WireError if it may not."""
        self._check_state(Side.GATEWAY, message, GATEWAY_MAY_SAY)
        if self._stop_said:
            self._refuse(Side.GATEWAY, f"{message.type} after stop")
        if isinstance(message, Load):
            self._on_load()
        elif isinstance(message, (Render, Listen)):
            self._on_render(message)
        elif isinstance(message, (Cancel, Deadline, Hear, Finish)):
            self._on_change(message)
        elif isinstance(message, Ping):
            self._pings.append(message.nonce)
        else:
            self._stop_said = True

    def worker_says(self, message: WorkerMessage) -> Optional[WorkerMessage]:
        """Take note of a message that the worker sends; None if it is audio or text that nobody wants any more.

        Raises LocalError or WireError if the worker may not say this.
        """
        self._check_state(Side.WORKER, message, WORKER_MAY_SAY)
        if not self._greeted and not isinstance(message, Hello):
            self._refuse(Side.WORKER, f"{message.type} before hello")
        if isinstance(message, Hello):
            self._on_hello(message)
        elif isinstance(message, (Ready, LoadFailed)) or (isinstance(message, Progress) and not self._ready):
            self._on_loading(message)
        elif isinstance(message, Capacity):
            self._on_capacity(message)
        elif isinstance(message, (Audio, Text)):
            return self._on_chunk(message)
        elif isinstance(message, Pong):
            self._on_pong(message)
        elif not isinstance(message, Progress):
            self._on_end(message)
        return message

    def _on_load(self) -> None:
        if self._load_said:
            self._refuse(Side.GATEWAY, "load twice")
        self._load_said = True

    def _on_render(self, render: Union[Render, Listen]) -> None:
        if self._ready and self._ready.kind != (TTS if isinstance(render, Render) else STT):
            self._refuse(Side.GATEWAY, f"{render.type} to a worker of kind {self._ready.kind}")
        if render.render_id in self._renders:
            self._refuse(Side.GATEWAY, f"{render.type} {render.render_id}, which is open already")
        if len(self._renders) >= self.capacity:
            self._refuse(Side.GATEWAY, f"{render.type} beyond the capacity of {self.capacity}")
        self._renders[render.render_id] = _Open()

    def _on_change(self, message: Union[Cancel, Deadline, Hear, Finish]) -> None:
        render = self._renders.get(message.render_id)
        if render is None:
            if self._side is Side.GATEWAY:  # we know that it ended; only the worker may see the two cross
                self._refuse(Side.GATEWAY, f"{message.type} for render {message.render_id}, which is not open")
            return
        if render.is_cancelled:
            self._refuse(Side.GATEWAY, f"{message.type} for render {message.render_id}, which was cancelled")
        if isinstance(message, (Hear, Finish)):
            self._on_hear(message, render)
        render.is_cancelled = isinstance(message, Cancel)

    def _on_hear(self, message: Union[Hear, Finish], render: _Open) -> None:
        if self._ready is None or self._ready.kind != STT or render.is_finished:
            self._refuse(Side.GATEWAY, f"{message.type} for render {message.render_id}, which does not listen")
        if isinstance(message, Finish):
            render.is_finished = True
            return
        if message.index != render.heard:
            self._refuse(Side.GATEWAY, f"hear {message.index} of render {message.render_id}, not {render.heard}")
        if len(message.pcm) % 2 or not message.pcm:
            self._refuse(Side.GATEWAY, f"hear of {len(message.pcm)} bytes")
        render.heard += 1

    def _on_hello(self, hello: Hello) -> None:
        if self._greeted:
            self._refuse(Side.WORKER, "hello twice")
        if hello.protocol_version != PROTOCOL_VERSION:
            self._refuse(Side.WORKER, f"hello in protocol version {hello.protocol_version}, ours is {PROTOCOL_VERSION}")
        self._greeted = True

    def _on_loading(self, message: Union[Progress, Ready, LoadFailed]) -> None:
        if not self._load_said:
            self._refuse(Side.WORKER, f"{message.type} before load")
        if self._ready or self._load_failed:
            self._refuse(Side.WORKER, f"{message.type} after the end of loading")
        if isinstance(message, LoadFailed):
            self._load_failed = True
        elif isinstance(message, Ready):
            if message.capacity < 1 or message.sample_rate < 1:
                self._refuse(Side.WORKER, "ready without capacity or sample rate")
            if message.kind not in (TTS, STT):
                self._refuse(Side.WORKER, "ready as a kind of worker that there is not")
            self._ready, self._capacity = message, message.capacity

    def _on_capacity(self, message: Capacity) -> None:
        if self._ready is None or not 1 <= message.capacity <= self._ready.capacity:
            self._refuse(Side.WORKER, f"capacity {message.capacity}, which is not from 1 to what ready promised")
        if self._side is Side.GATEWAY:  # what is on its way to the worker was opened before it heard so
            self._capacity = message.capacity

    def _on_chunk(self, chunk: Union[Audio, Text]) -> Union[Audio, Text, None]:
        render = self._open(chunk)
        assert self._ready is not None
        if self._ready.kind != (TTS if isinstance(chunk, Audio) else STT):
            self._refuse(Side.WORKER, f"{chunk.type} as a worker of kind {self._ready.kind}")
        if chunk.index != render.chunks:
            self._refuse(Side.WORKER, f"{chunk.type} {chunk.index} of render {chunk.render_id}, not {render.chunks}")
        if isinstance(chunk, Audio) and (len(chunk.pcm) % 2 or not chunk.pcm):
            self._refuse(Side.WORKER, f"audio of {len(chunk.pcm)} bytes")
        if isinstance(chunk, Text) and chunk.heard > render.heard:
            self._refuse(Side.WORKER, f"text of {chunk.heard} pieces of audio, of which {render.heard} were said")
        render.chunks += 1
        return None if render.is_cancelled else chunk

    def _on_end(self, end: Union[Done, Cancelled, Failed]) -> None:
        render = self._open(end)
        if isinstance(end, Cancelled) and not render.is_cancelled:
            self._refuse(Side.WORKER, f"cancelled for render {end.render_id}, which was not")
        if isinstance(end, Done) and not render.is_cancelled:
            self._check_done(end, render)
        del self._renders[end.render_id]

    def _check_done(self, done: Done, render: _Open) -> None:
        if done.chunks != render.chunks:
            self._refuse(Side.WORKER, f"done after {done.chunks} chunks, of which {render.chunks} were said")
        if self._ready and self._ready.kind == STT and not render.is_finished:
            self._refuse(Side.WORKER, f"done with render {done.render_id}, which is still being heard")

    def _on_pong(self, pong: Pong) -> None:
        if not self._pings or self._pings.popleft() != pong.nonce:
            self._refuse(Side.WORKER, f"pong {pong.nonce} out of turn")

    def _open(self, message: Union[Audio, Text, Done, Cancelled, Failed]) -> _Open:
        render = self._renders.get(message.render_id)
        if render is None:
            self._refuse(Side.WORKER, f"{message.type} for render {message.render_id}, which is not open")
        return render

    def _check_state(self, speaker: Side, message: Message, table: Dict[State, _Kinds]) -> None:
        if not isinstance(message, table[self.state]):
            self._refuse(speaker, f"{message.type} while {self.state.value}")

    def _refuse(self, speaker: Side, reason: str) -> NoReturn:
        broken = LocalError if speaker is self._side else WireError
        raise broken(f"the {speaker.value} said {reason}")
