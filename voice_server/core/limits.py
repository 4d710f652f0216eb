"""Every limit and timeout of the gateway: its unit, its default, and why.

Those of single doors are in core/doors/limits.py; no other module holds such a number. A test or a small machine scales
them with `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_server.core.doors.limits import (
    ChatLimits,
    ConvertLimits,
    PortLimits,
    PromptLimits,
    TranscribeLimits,
    TranscriptionLimits,
    VoxcpmTtsLimits,
)
from voice_server.wire.messages import AUDIO_FRAME_BYTES, CONTROL_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class TextLimits:
    message_bytes: int = 64 * 1024  # one WebSocket message; a token is under 1 KiB
    token_chars: int = 4 * 1024
    pending_chars: int = 32 * 1024  # accepted but not yet spoken: a whole LLM answer may arrive before its first word
    stream_chars: int = 200 * 1024  # one answer
    file_chars: int = 8 * 1024  # a whole-file request is kept in memory: ~9 minutes of speech, 26 MB
    body_bytes: int = 64 * 1024  # of a whole-file request
    body_s: float = 30.0  # for that body: who dribbles holds a connection for nothing
    sentence_soft_chars: int = 250  # ~17 s of speech at 15 characters a second; cut at a clause mark from here on
    sentence_hard_chars: int = 400  # engines lose prosody and memory beyond this
    eager_clause_chars: int = 25  # the shortest clause that goes ahead of its sentence: time to render the rest
    lookahead_chars: int = 12  # decides doubtful sentence ends: measured to equal whole-text splitting
    judge_chars: int = 60  # of the open sentence shown to pysbd, which takes 0.2 ms for them and more than linear time
    judge_every_chars: int = 40  # pysbd is asked once in so many characters on average; hostile text gets simple rules
    description_chars: int = 200  # of a voice, in parentheses before an answer: a sentence about a person
    problem_chars: int = 100  # of an error message that quotes the client
    idle_s: float = 0.3  # a doubtful end is taken for a true one when the model stalls this long


@dataclass(frozen=True, slots=True)
class StreamLimits:
    ahead_s: float = 10.0  # undelivered audio above which no new sentence of a stream is started
    near_s: float = 2.0  # a sentence due later is begun by idle workers only: it would hold a seat for nothing
    kept_seats: float = 0.1  # of a worker with several: for answers that have not begun to speak
    supply: float = 0.95  # of the measured speed that is promised to listeners; the rest is for wrong estimates
    spare_s: float = 1.25  # of audio ahead that every listener is to have: chunks, jitter and estimates need it
    unmeasured_listeners: float = 4.0  # that a worker may have before its speed is known
    answer_s: float = 10.0  # what an unfinished answer is taken to have left at least
    look_s: float = 0.05  # between two looks at whether the next in line can be let in
    looked_at: int = 1000  # changes in what is needed for which that time is doubled: a look is at everyone inside
    waits_counted: int = 64  # in line: the wait of who comes later is in proportion
    late_s: float = 0.01  # audio that comes so much after its deadline missed it; less is jitter that players hide
    moved_s: float = 0.1  # a deadline that moved less is not worth a message to its worker
    head_s: float = 10.0  # until a connection has sent the whole head of a request; also of the next one
    head_bytes: int = 32 * 1024  # of that head: as much as nginx takes
    unread_replies: int = 256  # errors and the like that wait for a client; then it is not read until it reads
    send_s: float = 10.0  # one send to a client that does not read; then the socket is aborted
    tcp_user_timeout_s: float = 20.0  # the kernel's own limit on unacknowledged data: close() alone never ends
    ping_s: float = 20.0  # WebSocket ping interval, and the wait for its pong
    idle_s: float = 300.0  # silence with nothing to say; a model may think long before its first token
    file_slack_s: float = 30.0  # a whole file's sentences are due so much later than a listener's: nobody hears them
    file_wait_s: float = 120.0  # as queue_wait_s, of a whole file: it comes after every listener, and is urgent in 30 s
    file_share: float = 0.1  # of the workers' time that files may claim from listeners when they are overdue
    queue_wait_s: float = 15.0  # a first sentence that no worker took by then is refused: fail fast
    queued_every_s: float = 1.0  # between two looks at the line, for a client that waits in it
    queued_eta_change: float = 0.2  # a wait that changed by more than this part of itself is told anew
    connections: int = 1024
    connections_per_address: int = 32
    descriptors_kept: int = 48  # beside those of connections: listeners, logs, voices, uploads, the language model
    descriptors_per_worker: int = 8  # three while it lives, and those of starting the next
    waiting_per_worker: int = 16  # streams in line, times the workers of the pool
    seconds_per_char: float = 0.15  # a sentence's audio may be this long (2.2 x normal speech) ...
    sentence_min_s: float = 10.0  # ... or this, whichever is more; beyond it the engine is babbling
    poisonous_sentences: int = 2  # that killed two workers each: then their stream is closed, and of one address ...
    poisoned_s: float = 600.0  # ... within this time: then each stream of it that does it again
    sample_rate: int = 24_000  # Hz, what a client gets unless it asks: the original's constant
    sample_rate_min: int = 8_000  # telephone
    sample_rate_max: int = 48_000
    coalesce_bytes: int = 32 * 1024  # audio that waits for one client is sent in messages of up to this
    retry_fade_s: float = 0.005  # at the seam of a re-rendered sentence


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """Of one client: who shows a token with a name, or else an address. Its connections are in StreamLimits."""

    streams_per_client: int = 0  # that speak at once; 0 is no limit: the line is fair already
    chars_per_minute: int = 0  # of text, and as much at once; 0 is no limit. Speech is about 900 a minute
    clients: int = 10_000  # remembered until their minute is full again; beyond them newcomers share one minute
    retry_s: float = 1.0  # told to who has too many streams: nobody knows when the first of them ends
    tokens: int = 1_000  # in a table: each request is compared with all of them
    table_bytes: int = 256 * 1024  # of that file
    look_s: float = 1.0  # between two looks at whether a file of tokens or a certificate has changed


@dataclass(frozen=True, slots=True)
class ResumeLimits:
    """Of streams whose client may come back after it lost its socket."""

    wait_s: float = 30.0  # for the client: a phone that changes its network needs a few seconds
    kept_bytes: int = 2**20  # of what was sent: 21 s at 24 kHz, three times what a socket holds unread
    entry_bytes: int = 256  # what a kept message takes beside its content: Python's own objects
    socket_bytes: int = 128 * 1024  # the kernel's send buffer: what is in it when the network dies has to be kept
    streams: int = 128  # that keep what they sent; one that comes when there are as many gets no token
    streams_per_client: int = 16


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    control_frame_bytes: int = CONTROL_FRAME_BYTES  # part of the wire protocol
    audio_frame_bytes: int = AUDIO_FRAME_BYTES
    load_s: float = 180.0
    parallel_loads: int = 2  # load peaks cause out-of-memory
    parallel_far_loads: int = 1024  # on other machines: one that waits for a node with room is among them
    ping_every_s: float = 5.0  # idle workers only: a busy one proves itself by audio
    ping_wait_s: float = 2.0
    ping_misses: int = 2
    first_chunk_s: float = 15.0
    chunk_gap_s: float = 10.0
    cancel_s: float = 2.0  # an engine that has not let go of a cancelled render by then is replaced
    write_s: float = 2.0  # a worker that does not read its socket
    stop_s: float = 5.0  # asked politely, before SIGKILL
    roll_s: float = 60.0  # for what a replaced worker has open; then it moves on, as after a death. A sentence has 60 s
    dump_s: float = 0.5  # to write its stack before SIGKILL
    log_bytes: int = 64 * 1024  # of stderr kept
    log_lines_per_s: int = 50
    log_line_bytes: int = 4 * 1024
    backoff_first_s: float = 0.5  # doubled at each death ...
    backoff_max_s: float = 30.0
    backoff_jitter: float = 0.25  # a part of the delay, up or down
    healthy_s: float = 60.0  # of service, after which back-off starts anew
    crash_loop_starts: int = 5  # starts within the window below that make a slot BROKEN
    crash_loop_window_s: float = 60.0
    probe_s: float = 60.0  # a BROKEN slot tries once in this time


@dataclass(frozen=True, slots=True)
class ScalingLimits:
    """When the number of workers of a backend follows what is asked of them."""

    look_s: float = 1.0  # between two looks: loading a worker takes longer
    busy: float = 0.85  # of what the workers may promise: needed for ...
    busy_s: float = 10.0  # ... so long, another one is loaded before anybody has to wait
    short_s: float = 10.0  # looks within this time at which deadlines were missed or somebody waited: chance ...
    short_looks: int = 3  # ... below this number; else there is less than it looks, and one more is loaded
    calm: float = 0.7  # of what the rest may promise: more was needed at no time for ...
    calm_s: float = 300.0  # ... so long, before a worker goes: loading it again is a minute of a GPU


@dataclass(frozen=True, slots=True)
class ClusterLimits:
    """Of the machines beside this one on which workers live."""

    knock_s: float = 3.0  # in which its head has to take a connection: then it can be reached
    look_s: float = 2.0  # between two looks at whether it is back, and at which nodes are to go


@dataclass(frozen=True, slots=True)
class HearingLimits:
    piece_bytes: int = 32_000  # of audio in one message to a worker, 1 s at 16 kHz: it must fit into a control frame
    backlog_s: float = 30.0  # of audio that no worker has worked on; more is dropped, and the client is told
    busy_s: float = 1.0  # of waiting audio from which on an engine's speed is measured: less, and it may wait for more
    kept_s: float = 60.0  # of unsettled audio, for another worker; an engine settles after 30 s at the latest
    waiting_per_worker: int = 16  # hearings in line, times the workers of the pool
    sample_rate_min: int = 8_000
    sample_rate_max: int = 96_000


@dataclass(frozen=True, slots=True)
class ListeningLimits:
    gap_s: float = 0.01  # shorter pauses in the audio are jitter that any player's buffer hides
    seconds_per_char: float = 0.067  # of usual speech: what a sentence is expected to last until its end is known
    answers: int = 8  # complete ones that a player may still have ahead of it, and a barge-in may cut
    detailed: int = 200  # sentences of an answer that are told one by one, in traces: 50 KB


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    audible_dbfs: float = -50.0  # of a sample's peak: below it even a quiet room hides the sound
    margin_s: float = 0.02  # of silence kept beside audible samples: a soft consonant rises and fades within it


@dataclass(frozen=True, slots=True)
class GuardLimits:
    seconds_per_letter: float = 0.01  # of audible sound that a sentence has at least: seven times as fast as speech
    clipped_share: float = 0.05  # of its sound at full scale: badly levelled speech stays below, noise and hum do not


@dataclass(frozen=True, slots=True)
class RepeatLimits:
    largest_share: float = 0.25  # of the cache that one sentence may take: a long one would push out all others
    entry_bytes: int = 1024  # what a kept sentence takes beside its audio and its key: Python's own objects


@dataclass(frozen=True, slots=True)
class TerminalLimits:
    connect_s: float = 20.0  # the WebSocket handshake of client.py; a server whose engine loads may take queue_wait_s
    resume_every_s: float = 0.5  # between two tries to come back after the connection was lost
    message_bytes: int = 16 * 1024 * 1024  # one message from the server: a 1 MiB worker frame resampled sixfold, twice
    unspoken_chars: int = 16 * 1024  # sent but not yet spoken: half of what the server accepts
    refresh_s: float = 0.08  # of the live view: smooth to the eye, and little CPU
    status_s: float = 5.0  # the answer of GET /status
    told_bytes: int = 4 * 1024  # of a refusal
    sound_s: float = 24 * 3600.0  # of a file that `transcribe` hears: it is the caller's own machine
    status_every_s: float = 0.5  # between two looks of `top`: as fast as a person reads


@dataclass(frozen=True, slots=True)
class RequestLimits:
    id_chars: int = 128  # of a request id that a client chose: it is written into every log line


@dataclass(frozen=True, slots=True)
class LogLimits:
    waiting_lines: int = 2_000  # that standard error has not taken; more are left out, and counted
    flush_s: float = 1.0  # at the end, for what still waits: who reads our log is there, or is not


@dataclass(frozen=True, slots=True)
class WatchdogLimits:
    blocked_s: float = 0.1  # of the event loop: a listener with 100 ms in its buffer would hear it
    look_s: float = 0.05  # between two looks: 0.1 % of a core
    told_every_s: float = 10.0  # a stack at most: a loop that is always late is not helped by a log full of it


@dataclass(frozen=True, slots=True)
class TraceLimits:
    flush_s: float = 2.0  # at the end, for what a collector has not taken
    waiting_spans: int = 2_048  # more are left out
    send_s: float = 5.0  # one request to the collector


@dataclass(frozen=True, slots=True)
class OptionLimits:
    str_chars: int = 1024  # a text option of a render: a style, not a book
    echo_chars: int = 40  # of a client's own words in an error message


@dataclass(frozen=True, slots=True)
class VoiceLimits:
    name_chars: int = 64
    listed: int = 8  # voices named in an error message
    blended: int = 8  # voices in one blend: more are a noise of voices
    sample_bytes: int = 20 * 2**20  # of a voice sample's file; it is hashed whole
    sample_min_s: float = 1.0
    sample_max_s: float = 30.0  # longer references cost memory and bring nothing
    sample_channels: int = 2
    sample_rate_min: int = 8_000  # libsndfile itself accepts a rate of 1
    sample_rate_max: int = 96_000
    copy_bytes: int = 4 * 2**20  # that must be free on the disk for a clean copy: 30 s of 48 kHz are 2.9 MB
    transcript_chars: int = 1_000
    about_chars: int = 200  # of a line in a sidecar: who agreed, and to what
    aliases: int = 16  # of one voice: more than OpenAI's clients know names
    sidecar_bytes: int = 16 * 1024
    studio_s: float = 20.0  # until a recording is decoded and cleaned: 0.5 s; starting Python on a busy machine is most
    verdict_bytes: int = 4 * 1024  # what the studio says about one recording
    scan_s: float = 1.0  # between two looks at the folder: a dropped file is a voice within 2 s
    form_bytes: int = 64 * 1024  # of an upload beside its sound: a transcript, names, and what stands between parts
    form_fields: int = 16
    upload_s: float = 60.0  # a whole upload: 20 MiB at 3 Mbit/s
    uploads: int = 2  # at once: each holds its file in memory, and decoding it is a process
    upload_wait_s: float = 10.0  # of one that comes when there are as many, before it is asked to come again
    preview_chars: int = 200  # a preview is a sentence, or two
    preview_cache_bytes: int = 16 * 2**20  # of previews that were rendered: about 80 of 4 s


@dataclass(frozen=True, slots=True)
class ConfigLimits:
    file_bytes: int = 256 * 1024  # a hundred backends
    depth: int = 20  # of nested maps and lists: reading them is recursive
    workers: int = 1024  # of one backend, on all machines
    resource: float = 1e6  # of a node of a cluster: a GPU, a GiB, or what an operator counts
    name_chars: int = 32  # of a backend's name: it becomes a metrics label and a log prefix
    gpu_gib: float = 1024.0
    cache_mib: int = 64 * 1024  # of repeated sentences
    pause_s: float = 2.0  # between sentences: a longer one is a gap
    override_s: float = 3600.0  # the longest a worker's time limit may be set to


@dataclass(frozen=True, slots=True)
class VenvLimits:
    check_s: float = 60.0  # importing numpy from a cold disk
    lock_poll_s: float = 0.2  # while another process builds the same environment
    kept_lines: int = 400  # of what uv says: a failed build prints its whole log
    error_lines: int = 20  # of them, the last, in an error message


@dataclass(frozen=True, slots=True)
class ParcelLimits:
    """Of the files that travel to the nodes of a cluster."""

    file_bytes: int = 512 * 2**20  # of one, which is held in memory on its way: a LoRA adapter of rank 128 has 250 MB
    beside: int = 64  # modules beside an adapter's file: a folder of more is a project, no adapter
    known: int = 4096  # files whose hash is remembered while they stay as they are
    offered_bytes: int = 2**30  # kept where nodes fetch them; older ones are put there anew when they are asked for
    node_bytes: int = 8 * 2**30  # on each node, with what was learned of them; those used last stay
    node_s: float = 30 * 24 * 3600.0  # on a node without being used
    fetch_s: float = 60.0  # until the files of a render are on its node; then it is rendered elsewhere
    life_s: float = 1.0  # between two signs of life of a render that waits for its files
    look_s: float = 5.0  # between two looks at whether samples were taken away: then nodes remove them, too


@dataclass(frozen=True, slots=True)
class Limits:
    text: TextLimits = TextLimits()
    stream: StreamLimits = StreamLimits()
    resume: ResumeLimits = ResumeLimits()
    worker: WorkerLimits = WorkerLimits()
    scaling: ScalingLimits = ScalingLimits()
    voices: VoiceLimits = VoiceLimits()
    prompts: PromptLimits = field(default_factory=PromptLimits)
    hearing: HearingLimits = HearingLimits()
    transcribe: TranscribeLimits = field(default_factory=TranscribeLimits)
    transcriptions: TranscriptionLimits = field(default_factory=TranscriptionLimits)
    chat: ChatLimits = field(default_factory=ChatLimits)
    access: AccessLimits = AccessLimits()
    voxcpm_tts: VoxcpmTtsLimits = field(default_factory=VoxcpmTtsLimits)
    ports: PortLimits = field(default_factory=PortLimits)
    convert: ConvertLimits = field(default_factory=ConvertLimits)
    watchdog: WatchdogLimits = WatchdogLimits()
    trace: TraceLimits = TraceLimits()
    drain_s: float = 30.0  # SIGTERM: running answers may finish; a second signal ends it now
