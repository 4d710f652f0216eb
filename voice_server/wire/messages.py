"""The messages of the worker wire, one frozen dataclass each, and their form as msgpack maps.

Every message that belongs to a render carries its `render_id`, so that late audio of a cancelled render can never be
taken for audio of the next one. Times are relative seconds: the two sides may not share a clock.

A worker of kind `tts` is asked to `render`, which it answers with `audio`. One of kind `stt` is asked to `listen`: it
is told what to `hear`, piece by piece, until `finish`, and answers with `text`.

    gateway -> worker    load  render  deadline  listen  hear  finish  cancel  ping  stop
    worker -> gateway    hello  progress  ready  load_failed  audio  text  done  cancelled  failed  pong
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Dict, List, Tuple, Type, Union, get_type_hints

PROTOCOL_VERSION = 1

# Both sides must agree on these, so they are part of the protocol, not of a configuration.
CONTROL_FRAME_BYTES = 64 * 1024  # every message but audio; the longest is a render with its text and options
AUDIO_FRAME_BYTES = 1024 * 1024  # 10 s of 48 kHz audio: far above any honest chunk

# The two kinds of workers.
TTS, STT = "tts", "stt"


class WireError(Exception):
    """The peer broke the rules of the wire; nothing more it says can be trusted."""


class LocalError(Exception):
    """We were about to break the rules of the wire ourselves: a bug on this side."""


@dataclass(frozen=True)
class Load:
    """The first message a worker gets: which adapter to build, and how."""

    type: ClassVar[str] = "load"
    adapter: str  # "package.module:Class", "package.module", "/path/file.py:Class" or "/path/file.py"
    device: str  # "cpu" or "cuda"; which GPU is chosen by CUDA_VISIBLE_DEVICES
    options: Dict[str, Any] = field(default_factory=dict)  # keyword arguments of the adapter
    warmup_text: str = ""  # rendered once before `ready`; empty skips the warm-up


@dataclass(frozen=True)
class Render:
    """Turn one sentence into audio."""

    type: ClassVar[str] = "render"
    render_id: int
    text: str
    voice: str  # "" is the adapter's first voice
    options: Dict[str, Any] = field(default_factory=dict)
    due_in_s: float = 0.0  # when the listener runs out of audio, from now; the most urgent open render is stepped first
    sample: Dict[str, Any] = field(default_factory=dict)  # of a voice to be cloned: "path" and "transcript"
    pace: float = 1.0  # by how many seconds each second of its audio moves the deadline on


@dataclass(frozen=True)
class Listen:
    """Turn the audio that will be heard into text: the render of a worker of kind `stt`."""

    type: ClassVar[str] = "listen"
    render_id: int
    options: Dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hear:
    """More audio: mono PCM s16le at the worker's rate, never of odd length. `index` counts from 0 without gaps."""

    type: ClassVar[str] = "hear"
    render_id: int
    index: int
    pcm: bytes


@dataclass(frozen=True)
class Finish:
    """That was all the audio: say the text that is left, then `done`."""

    type: ClassVar[str] = "finish"
    render_id: int


@dataclass(frozen=True)
class Cancel:
    """Close a render. Harmless when it crosses the render's last message on the wire."""

    type: ClassVar[str] = "cancel"
    render_id: int


@dataclass(frozen=True)
class Deadline:
    """The listener's playhead moved: a render is due earlier or later than was said."""

    type: ClassVar[str] = "deadline"
    render_id: int
    due_in_s: float


@dataclass(frozen=True)
class Ping:
    type: ClassVar[str] = "ping"
    nonce: int


@dataclass(frozen=True)
class Stop:
    """Close open renders and exit."""

    type: ClassVar[str] = "stop"


@dataclass(frozen=True)
class Hello:
    """First words of a worker, before it imports any engine."""

    type: ClassVar[str] = "hello"
    protocol_version: int
    pid: int
    python: str  # "3.11.7"


@dataclass(frozen=True)
class Progress:
    """What a worker is busy with that has no audio to show: it loads, or a render prepares. Proves that it is alive."""

    type: ClassVar[str] = "progress"
    text: str


@dataclass(frozen=True)
class Ready:
    """The adapter is loaded and warm."""

    type: ClassVar[str] = "ready"
    sample_rate: int  # Hz
    capacity: int  # renders that may be open at once
    voices: List[str]
    deterministic: bool = False  # the same render gives the same bytes, on any worker
    can_clone: bool = False  # renders may come with a sample
    kind: str = TTS
    languages: List[str] = field(default_factory=list)  # that it can hear; [] is not known


@dataclass(frozen=True)
class Capacity:
    """From now on the worker takes fewer renders than `ready` promised, for lack of memory. Those it has go on."""

    type: ClassVar[str] = "capacity"
    capacity: int


@dataclass(frozen=True)
class LoadFailed:
    """The adapter could not be built; the worker exits after this."""

    type: ClassVar[str] = "load_failed"
    message: str
    retryable: bool = True  # False: a configuration error that another start cannot mend


@dataclass(frozen=True)
class Audio:
    """One chunk: mono PCM s16le at the worker's rate, never of odd length. `index` counts from 0 without gaps."""

    type: ClassVar[str] = "audio"
    render_id: int
    index: int
    pcm: bytes


@dataclass(frozen=True)
class Text:
    """What was heard since the text before. `index` counts from 0 without gaps.

    Times are seconds from the first sample of the render. The audio before `settled_s` will not be needed again: a
    worker that is told the rest from there goes on with the same text.
    """

    type: ClassVar[str] = "text"
    render_id: int
    index: int
    heard: int  # pieces of audio that were worked on; a worker that has caught up says so, if need be without text
    text: str  # will not change any more; "" when nothing new is certain
    start_s: float  # of that text
    end_s: float
    settled_s: float
    tentative: str = ""  # what seems to follow, and may change


@dataclass(frozen=True)
class Done:
    type: ClassVar[str] = "done"
    render_id: int
    chunks: int  # audio or text messages
    truncated: bool = False  # the engine hit its length cap
    spoiled: int = 0  # samples that were NaN or infinite, and silence since


@dataclass(frozen=True)
class Cancelled:
    """The engine has let go of a cancelled render."""

    type: ClassVar[str] = "cancelled"
    render_id: int


@dataclass(frozen=True)
class Failed:
    """A render failed; the worker lives on unless it says `fatal`."""

    type: ClassVar[str] = "failed"
    render_id: int
    code: str  # "render_failed", "out_of_memory", "empty_audio", "bad_text", "unknown_voice", "bad_option"
    message: str
    retryable: bool = True
    fatal: bool = False  # the engine cannot be used any more: replace this worker


@dataclass(frozen=True)
class Pong:
    type: ClassVar[str] = "pong"
    nonce: int


GatewayMessage = Union[Load, Render, Deadline, Listen, Hear, Finish, Cancel, Ping, Stop]
WorkerMessage = Union[Hello, Progress, Ready, Capacity, LoadFailed, Audio, Text, Done, Cancelled, Failed, Pong]
Message = Union[GatewayMessage, WorkerMessage]

_GATEWAY: Tuple[Type[Any], ...] = (Load, Render, Deadline, Listen, Hear, Finish, Cancel, Ping, Stop)
_WORKER: Tuple[Type[Any], ...] = (
    Hello,
    Progress,
    Ready,
    Capacity,
    LoadFailed,
    Audio,
    Text,
    Done,
    Cancelled,
    Failed,
    Pong,
)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


_CHECKS = {
    str: lambda value: isinstance(value, str),
    int: _is_count,  # no message holds a negative integer
    float: _is_number,  # a NaN deadline would make the order of renders undefined
    bool: lambda value: isinstance(value, bool),
    bytes: lambda value: isinstance(value, bytes),
    Dict[str, Any]: lambda value: isinstance(value, dict) and _are_texts(value),
    List[str]: lambda value: isinstance(value, list) and _are_texts(value),
}


def _shape(cls: Type[Any]) -> List[Tuple[str, Any]]:
    hints = get_type_hints(cls)
    return [(item.name, _CHECKS[hints[item.name]]) for item in fields(cls)]


_SHAPES: Dict[str, Tuple[Type[Any], List[Tuple[str, Any]]]] = {
    cls.type: (cls, _shape(cls)) for cls in _GATEWAY + _WORKER
}


def to_wire(message: Message) -> Dict[str, Any]:
    """The msgpack map of a message."""
    return {"type": message.type, **vars(message)}


def from_wire(data: object) -> Message:
    """The message of a decoded msgpack object. Raises WireError for anything that is not exactly one of ours."""
    if not isinstance(data, dict):
        raise WireError(f"a message is a map, not {type(data).__name__}")
    kind = data.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise WireError(f"unknown message type {str(kind)[:40]!r}")
    cls, checks = shape
    values = {name: data[name] for name, _ in checks if name in data}
    if len(values) + 1 != len(data):
        raise WireError(f"{cls.type} has a field we do not know")
    for name, is_valid in checks:
        if name in values and not is_valid(values[name]):
            raise WireError(f"{cls.type}.{name} has a wrong type or value")
    try:
        return cls(**values)  # type: ignore[no-any-return]
    except TypeError as missing:
        raise WireError(f"{cls.type} lacks a field") from missing
