"""What the process and end-to-end tests share: fast limits, running pools and servers, a client, expected audio."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import websockets
from numpy.typing import NDArray

from tests.placement import PLACEMENT, needs_home
from voice_server import assembly
from voice_server.assembly import build_pool, far_specs, worker_specs
from voice_server.backends.tone import sample_pitch_hz, tone_pcm
from voice_server.config import load_config
from voice_server.core.audio.pcm import wav_header
from voice_server.core.limits import Limits, StreamLimits, VoiceLimits, WorkerLimits
from voice_server.core.settings import BackendConfig
from voice_server.gateway.access.origins import Origins
from voice_server.gateway.access.tokens import Tokens
from voice_server.gateway.app import build_app
from voice_server.gateway.house import House
from voice_server.gateway.security import Gate
from voice_server.gateway.server import GatewayServer, bind
from voice_server.pool.launcher import Launcher
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Command, Guardian
from voice_server.pool.supervisor import WorkerSpec
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.voices import Sample, VoiceStore
from voice_server.worker.pcm import to_pcm

TIMEOUT_S = 40.0  # for anything that should happen soon; a test that needs all of it has failed

FAR_LOAD_S = 60.0  # a node starts a process of its own for each worker
FAST_WORKER = WorkerLimits(
    load_s=5.0,
    ping_every_s=0.2,
    ping_wait_s=0.1,
    first_chunk_s=1.0,
    chunk_gap_s=0.5,
    cancel_s=0.5,
    write_s=0.3,
    stop_s=1.0,
    dump_s=0.05,
    backoff_first_s=0.02,
    backoff_max_s=0.2,
    crash_loop_window_s=2.0,
    probe_s=0.5,
)
FAST = Limits(
    worker=FAST_WORKER,
    stream=StreamLimits(send_s=1.0, tcp_user_timeout_s=3.0, queue_wait_s=3.0, connections_per_address=1024),
    drain_s=5.0,
)


def voice_store(folder: Path, limits: VoiceLimits = FAST.voices) -> VoiceStore:
    """The voices of a folder, with the real studio; its clean copies lie in a folder below."""
    return assembly.voice_store(folder, limits, {**os.environ, "VOICE_SERVER_HOME": str(folder / "home")})


def hum(seconds: float = 2.0, rate: int = 24_000, pitch_hz: float = 200.0) -> NDArray[np.int16]:
    """What goes for a voice: mono, half of full scale."""
    times = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * pitch_hz * times) * 16_000).astype(np.int16)


def hum_wav(seconds: float = 2.0, rate: int = 24_000, pitch_hz: float = 200.0) -> bytes:
    pcm = hum(seconds, rate, pitch_hz).tobytes()
    return wav_header(rate, len(pcm)) + pcm


NO_VOICES = voice_store(Path("no voices here"))


def wait_until(is_true: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.01)


async def eventually(is_true: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.005)


def tone_bytes(*sentences: str, voice: str = "tone", **options: Any) -> bytes:
    """The audio that the tone backend owes for these sentences: PCM s16le at 24 kHz."""
    return b"".join(to_pcm(tone_pcm(sentence, voice, **options)) for sentence in sentences)


def cloned_tone_bytes(sample: Sample, *sentences: str, **options: Any) -> bytes:
    """The same in the voice of a sample."""
    return tone_bytes(*sentences, voice=sample.key, pitch_hz=sample_pitch_hz(str(sample.path)), **options)


def tone_config(*, workers: int = 1, limits: WorkerLimits = FAST_WORKER, **options: Any) -> BackendConfig:
    """The shipped tone backend with other constructor options."""
    return replace(load_config(None).backends["tone"], workers=workers, options=options, limits=limits, warmup_text="")


@asynccontextmanager
async def running_pool(
    config: BackendConfig,
    python: Path,
    *,
    limits: Limits = FAST,
    argv: tuple[str, ...] = (),
    launcher: Launcher | None = None,
    wait: bool = True,
    voices: VoiceStore = NO_VOICES,
) -> AsyncIterator[Backend]:
    """A backend with real worker processes; `argv` replaces the worker's command line, `launcher` where it runs."""
    if argv:
        needs_home("it replaces the worker's command line")
    if not launcher and PLACEMENT.launcher:
        launcher = PLACEMENT.launcher
        PLACEMENT.launched += 1
    specs = worker_specs(config, python, 0, [])
    if argv:
        specs = [WorkerSpec(spec.name, Command(argv, dict(os.environ)), spec.load, spec.limits) for spec in specs]
    if launcher:  # the python and the folder are those of its machine
        if config.limits.load_s == FAST_WORKER.load_s:
            config = replace(config, limits=replace(config.limits, load_s=FAR_LOAD_S))
        specs = far_specs(config, 0)
    pool, guardian = build_pool(config, Outfit(tuple(specs), config.bounds(0)), limits), Guardian()
    pool.start(launcher or guardian, asyncio.Semaphore(4), random.random)
    try:
        if wait:
            await asyncio.wait_for(pool.until_ready(), 5 * TIMEOUT_S if launcher else TIMEOUT_S)
        yield Backend(config, pool, voices)
    finally:
        await pool.stop()
        guardian.close()


@dataclass
class RunningServer:
    house: House
    backend: Backend
    port: int

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def running_server(
    config: BackendConfig,
    python: Path,
    *,
    limits: Limits = FAST,
    argv: tuple[str, ...] = (),
    launcher: Launcher | None = None,
    token: str = "",
    tokens: Tokens | None = None,
    tls: ssl.SSLContext | None = None,
    cors: tuple[str, ...] = (),
    wait: bool = True,
    voices: VoiceStore = NO_VOICES,
    recognisers: Sequence[Recogniser] = (),
    proxies: Sequence[str] = (),
    name: str = "",
) -> AsyncIterator[RunningServer]:
    """The whole gateway in this process, on a real port."""
    async with running_pool(
        config, python, limits=limits, argv=argv, launcher=launcher, wait=wait, voices=voices
    ) as backend:
        gate = Gate(limits.stream, tokens or Tokens(token), Origins.of(cors))
        house, listener = House([backend], limits, gate, recognisers, name), bind("127.0.0.1", 0, limits)
        server = GatewayServer(house, build_app(house, cors), limits, tls=tls, proxies=proxies)
        serving = asyncio.create_task(server._serve([listener]))
        await eventually(lambda: server.started, "the server listens")
        try:
            yield RunningServer(house, backend, listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


@dataclass
class Answer:
    """Everything one client got for one answer."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    audio: bytes = b""
    sentences: dict[int, bytes] = field(default_factory=dict)  # audio by index
    close_code: int | None = None

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def codes(self) -> list[str]:
        return [message["code"] for message in self.of_type("error")]


async def read_answer(ws: websockets.ClientConnection, *, until: str = "done") -> Answer:
    """Read until a message of type `until`, or the end of the connection."""
    answer, current = Answer(), -1
    try:
        while True:
            message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
            if isinstance(message, bytes):
                answer.audio += message
                answer.sentences[current] = answer.sentences.get(current, b"") + message
                continue
            told = json.loads(message)
            answer.messages.append(told)
            if told["type"] == "sentence" and told["event"] == "start":
                current = told["index"]
            if told["type"] == until:
                return answer
    except websockets.ConnectionClosed:
        answer.close_code = ws.close_code
        return answer


async def say(ws: websockets.ClientConnection, *messages: dict[str, Any]) -> None:
    for message in messages:
        await ws.send(json.dumps(message))


async def ask(url: str, *messages: dict[str, Any]) -> Answer:
    """One connection, one answer."""
    async with websockets.connect(f"{url}/stream-tokens", max_size=None) as ws:
        await say(ws, *messages)
        answer = await read_answer(ws)
        if answer.close_code is None:
            await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
            answer.close_code = ws.close_code
        return answer
