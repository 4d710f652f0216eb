"""The limits of single doors, and of what only some of them do. Those of everything else are in core/limits.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TranscribeLimits:
    """Of WS `/transcribe`."""

    sessions: int = 16  # open at once on one socket: each may take a seat of a worker
    session_id_chars: int = 128  # a UUID has 36; it stands in every message
    unread: int = 256  # messages that wait for a client: partial texts take each other's place, so only errors pile up


@dataclass(frozen=True, slots=True)
class TranscriptionLimits:
    """Of POST `/v1/audio/transcriptions`."""

    file_bytes: int = 25 * 2**20  # OpenAI's own limit
    longest_s: float = 3600.0  # of sound: 25 MiB of speech as mp3 at 56 kbit/s
    at_once: int = 4  # each holds its file in memory, and decoding it is a process
    wait_s: float = 10.0  # of one that comes when there are as many, before it is asked to come again
    upload_s: float = 120.0  # a whole upload: 25 MiB at 2 Mbit/s
    form_bytes: int = 64 * 1024  # beside the sound: a prompt, options, and what stands between parts
    form_fields: int = 32
    channels: int = 8  # mixed to one; a header that says more is no recording of speech
    sample_rate_min: int = 8_000  # libsndfile itself accepts a rate of 1
    sample_rate_max: int = 192_000
    piece_bytes: int = 64_000  # of decoded sound that is read at once: 2 s at 16 kHz
    proposal_s: float = 20.0  # until a voice's sample of 30 s is written down, beside other work


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """Of POST `/chat`."""

    window: int = 12  # newest messages that the model is shown: a talk's thread, and a prompt that stays short
    message_chars: int = 8 * 1024
    answer_chars: int = 32 * 1024  # half an hour of speech: a model that goes on has lost its way
    connect_s: float = 5.0
    token_s: float = 60.0  # until the first token, and between two: a local model may have to be loaded first
    at_once: int = 16  # answers being written: each is a connection to the model
    wait_s: float = 10.0  # of one that comes when there are as many
    logged_bytes: int = 500  # of a refusal of the model, in our log


@dataclass(frozen=True, slots=True)
class PortLimits:
    """Of the conversation with the process that started us as a port."""

    packet_bytes: int = 2**20  # of what it says: 12 s of base64 float32 at 16 kHz; live pieces are 0.1 s
    waiting_bytes: int = 16 * 2**20  # of packets that wait, mostly while an engine loads; then the pipe fills
    unread_bytes: int = 16 * 2**20  # that it has not read when more comes: it will never read
    reply_bytes: int = 49_999_999  # VoxCPMEx takes a longer packet for noise
    sessions: int = 64  # open at once: each is a stream, or a hearing
    session_id_chars: int = 128  # a UUID has 36; it stands in every message
    prompts: int = 16  # recordings by path that are kept while the port lives
    farewell_s: float = 1.0  # for the last words, and for workers to go: what remains is left to the guardian


@dataclass(frozen=True, slots=True)
class ElevenLabsLimits:
    idle_s: float = 20.0  # without a message, as ElevenLabs has it; a client may ask for another time ...
    idle_max_s: float = 180.0  # ... up to this
    contexts: int = 16  # open on one socket; ElevenLabs closes the socket at 6, which quick interruptions reach
    context_id_chars: int = 128  # a UUID has 36
    audio_bytes: int = 32 * 1024  # in one message: aiohttp refuses lines over 128 KiB, and base64 adds a third


@dataclass(frozen=True, slots=True)
class VoxcpmTtsLimits:
    """Of WS `/tts`; where the server that its clients know has a documented limit, it is that one."""

    text_chars: int = 5_000
    request_id_chars: int = 128  # a UUID has 36
    requests: int = 16  # open at once on one socket: each may hold a whole file in memory
    request_s: float = 600.0  # until its last audio; then TIMEOUT


@dataclass(frozen=True, slots=True)
class CartesiaLimits:
    context_id_chars: int = 128  # a UUID has 36; it stands in every message
    contexts: int = 16  # open at once on one socket: each is a stream


@dataclass(frozen=True, slots=True)
class ConvertLimits:
    longest_s: int = 20 * 60  # of sound in one POST /convert: more than any answer, which has 200 Ki characters
    body_bytes: int = 20 * 60 * 48_000 * 2  # the same at the highest rate; a FLAC of noisy speech takes 90 MB of memory
    at_once: int = 2  # an MP3 takes 16 ms of CPU for a second of sound: more would be felt by those who listen
    piece_s: float = 10.0  # without a byte of the body: who pauses longer holds one of few seats for nothing


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """Of recordings that clients name by URL, where that is allowed."""

    file_bytes: int = 10 * 2**20  # 30 s of 24-bit stereo at 48 kHz are 8.3 MiB
    total_s: float = 10.0  # from the question for its address to the last byte
    connect_s: float = 3.0  # to one address of several
    at_once: int = 4  # being fetched or cleaned: each holds its file in memory
    wait_s: float = 10.0  # of one that comes when there are as many
    kept: int = 64  # of all connections: each is up to 13 MB of temporary files


@dataclass(frozen=True, slots=True)
class CaptionLimits:
    line_chars: int = 42  # of subtitles: what broadcasters and Netflix's style guide allow
    lines: int = 2
