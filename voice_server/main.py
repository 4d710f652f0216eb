"""The composition root: flags → configuration → environments → pools → app → server. Nothing else builds things."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from voice_server.config import BackendConfig, Config, load_config, pick_backend
from voice_server.core.doors.chat_protocol import ModelSettings
from voice_server.core.errors import BackendUnavailable, UnknownBackend
from voice_server.core.limits import Limits, VoiceLimits
from voice_server.core.listens import HTTP, VOXCPM, WYOMING, Listen
from voice_server.core.placement import Placement, place, shares_gpu
from voice_server.core.settings import Gpu
from voice_server.gateway.app import build_app
from voice_server.gateway.house import House
from voice_server.gateway.llm import open_writer
from voice_server.gateway.ports import Port, open_ports
from voice_server.gateway.security import Gate
from voice_server.gateway.server import GatewayServer
from voice_server.gateway.wyoming import serve_wyoming_on
from voice_server.machine import see_gpus
from voice_server.pool.dispatcher import Dispatcher
from voice_server.pool.pool import Pool
from voice_server.pool.process import Command, Guardian, run_once
from voice_server.pool.supervisor import WorkerSpec
from voice_server.pool.switchboard import Switchboard
from voice_server.ports.c_port import stt_port, tts_port
from voice_server.ports.run import run_port
from voice_server.ports.stdio import Pipes
from voice_server.ports.voxcpmex_port import Bridged, voxcpmex_port
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.terminal.announcer import Announce, Announcer, how_to_run
from voice_server.terminal.local import LocalGateway
from voice_server.terminal.welcome import Start, gpu_advice, page_url
from voice_server.venvs import VenvStore, default_home
from voice_server.voices import VoiceStore
from voice_server.wire.messages import STT, TTS, Load

Report = Callable[[str], None]

_BOOTSTRAP = Path(__file__).parent / "worker" / "bootstrap.py"
_STUDIO = Path(__file__).parent / "studio" / "__main__.py"
SAMPLES = Path("voice_samples")  # of the folder the gateway was started in
_NOT_FOR_WORKERS = ("PYTHON", "VIRTUAL_ENV", "VOICE_SERVER_", "LLM_", "CUDA_VISIBLE_DEVICES")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    backends: tuple[str, ...] = ()  # none: the configured default
    pool_size: int = 0  # workers per backend; 0: as configured
    host: str = "127.0.0.1"
    port: int = 8000
    listens: tuple[Listen, ...] = ()  # more ports
    config: Path | None = None
    token: str = ""
    cors: tuple[str, ...] = ()  # origins of web pages that may read answers; "*" is all
    opens_browser: bool = False  # at the page, when the first backend can speak
    model: ModelSettings | None = None  # that answers what is said to the page; None: an echo
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Choice:
    config: BackendConfig
    reason: str


def choose(config: Config, names: Sequence[str], gpus: Sequence[Gpu]) -> list[Choice]:
    """The backends to run, of which one speaks at least. Raises UnknownBackend or BackendUnavailable."""
    chosen = [Choice(*pick_backend(config, name, gpus)) for name in names]
    if not any(choice.config.kind == TTS for choice in chosen):
        chosen.append(Choice(*pick_backend(config, "", gpus)))
    return chosen


def worker_environ(environ: Mapping[str, str], backend: BackendConfig, placement: Placement) -> dict[str, str]:
    """What a worker may see of our environment: no secrets of ours, no path to our packages, one GPU, and one folder
    that all workers share for what is computed once."""
    device = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": placement.cuda_visible_devices}
    cache = {"VOICE_SERVER_CACHE": str(default_home(environ).absolute())}
    return {**_inherited(environ), **_ONE_THREAD, **cache, "TQDM_DISABLE": "1", **device, **backend.env}


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if not key.startswith(_NOT_FOR_WORKERS)}


def worker_specs(backend: BackendConfig, python: Path, workers: int, gpus: Sequence[Gpu]) -> list[WorkerSpec]:
    placements = place(backend, workers, gpus)
    options = backend.options | (backend.shared_gpu_options if shares_gpu(placements) else {})
    return [
        WorkerSpec(
            name=f"{backend.name}-{number}",
            command=Command((str(python), "-I", str(_BOOTSTRAP)), worker_environ(os.environ, backend, placement)),
            load=Load(backend.adapter, placement.device, options, backend.warmup_text),
            limits=backend.limits,
        )
        for number, placement in enumerate(placements)
    ]


def build_pool(backend: BackendConfig, specs: Sequence[WorkerSpec], limits: Limits) -> Pool[Dispatcher]:
    is_fifo, repeat_bytes = backend.scheduling == "fifo", backend.cache_mib * 2**20
    return Pool(backend.name, specs, Dispatcher(limits.stream, fifo=is_fifo, repeat_bytes=repeat_bytes))


def build_hearing_pool(backend: BackendConfig, specs: Sequence[WorkerSpec], limits: Limits) -> Pool[Switchboard]:
    return Pool(backend.name, specs, Switchboard(limits.hearing))


def sharing_warning(backend: BackendConfig, workers: int, gpus: Sequence[Gpu]) -> str:
    """What the operator should know about workers that share a GPU; "" where there is nothing to know."""
    placements = place(backend, workers, gpus)
    if not (backend.shared_gpu_options and shares_gpu(placements)):
        return ""
    changed = ", ".join(f"{name}: {json.dumps(value)}" for name, value in backend.shared_gpu_options.items())
    shared = f"{len(placements)} workers share {len({place.cuda_visible_devices for place in placements})} GPU(s)"
    return (
        f"warning: backend {backend.name}: {shared}, which its engine stands only with {changed}; expect slower renders"
    )


@dataclass(frozen=True, slots=True)
class Running:
    """The chosen backends with their workers started, not yet ready."""

    backends: list[Backend]
    recognisers: list[Recogniser]


@asynccontextmanager
async def running(
    choices: Sequence[Choice], pool_size: int, limits: Limits, report: Report, samples: Path = SAMPLES
) -> AsyncIterator[Running]:
    """Raises VenvBuildFailed."""
    store, gpus, voices = VenvStore(), see_gpus(os.environ).gpus, voice_store(samples, limits.voices)
    started = Running([], [])
    gate = asyncio.Semaphore(limits.worker.parallel_loads)
    for choice in choices:
        config = choice.config
        python = await asyncio.to_thread(store.build, config.name, config.venv, report)
        if warning := sharing_warning(config, pool_size, gpus):
            report(warning)
        specs = worker_specs(config, python, pool_size, gpus)
        if config.kind == STT:
            started.recognisers.append(Recogniser(config, build_hearing_pool(config, specs, limits)))
        else:
            started.backends.append(Backend(config, build_pool(config, specs, limits), voices))
    pools: list[Pool[Any]] = [*(one.pool for one in started.backends), *(one.pool for one in started.recognisers)]
    guardian = Guardian()
    await asyncio.to_thread(voices.scan)
    watching = asyncio.create_task(watch_voices(voices, limits.voices.scan_s))
    try:
        for pool in pools:
            pool.start(guardian, gate, random.random)
        yield started
    finally:
        watching.cancel()
        for pool in pools:
            await pool.stop()
        guardian.close()


def voice_store(folder: Path, limits: VoiceLimits, environ: Mapping[str, str] = os.environ) -> VoiceStore:
    """The voices of a folder of samples, each cleaned by a process of its own; nothing is looked at yet."""
    seconds = str(limits.sample_min_s), str(limits.sample_max_s)

    def studio(source: Path, target: Path) -> bytes:
        # Not -I: the gateway itself may be installed for its user alone, and so is what the studio needs.
        argv = (sys.executable, "-E", str(_STUDIO), "clean", str(source), str(target), *seconds)
        return run_once(Command(argv, _inherited(environ)), limits.studio_s, limits.verdict_bytes)

    return VoiceStore(folder, limits, studio, default_home(environ).absolute() / "voices")


async def watch_voices(voices: VoiceStore, every_s: float) -> None:
    """A file dropped into the folder is a voice a moment later."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(voices.scan)


async def serve(options: ServeOptions, report: Announce) -> None:
    """Run the server until a signal ends it. Raises ConfigError, VenvBuildFailed, VoiceError, CannotListen."""
    config, gpus = load_config(options.config), see_gpus(os.environ)
    choices = choose(config, options.backends, gpus.gpus)
    ports = open_ports(Listen(HTTP, options.host, options.port), options.listens, options.limits)
    async with (
        running(choices, options.pool_size, options.limits, report) as started,
        open_writer(options.model, options.limits.chat) as writer,
    ):
        gate = Gate(options.limits.stream, options.token)
        house = House(started.backends, options.limits, gate, started.recognisers)
        house.writer = writer
        server = build_server(house, ports, options)
        for choice in choices:
            report(f"backend {choice.config.name}: {choice.reason}")
        main, *others = (port.url for port in ports)
        report(f"listening on {main} (WebSocket: {main.replace('http', 'ws', 1)}/stream-tokens)")
        for url in others:
            report(f"listening on {url}")
        start = starting_point(main, options, gpu_advice(config, [*house.backends], gpus.gpus, gpus.reason))
        reasons = {choice.config.name: choice.reason for choice in choices}
        announcer = Announcer(start, reasons, report, options.opens_browser)
        announcing = asyncio.create_task(announcer.run(started.backends, started.recognisers))
        try:
            await server.serve(sockets=[port.listener for port in ports if port.name != WYOMING])
        finally:
            announcing.cancel()


def build_server(house: House, ports: Sequence[Port], options: ServeOptions) -> GatewayServer:
    """One server for all ports; it is given the sockets of those that speak HTTP when it is started."""
    app = build_app(house, options.cors, [port.number for port in ports if port.name == VOXCPM])
    beside = [partial(serve_wyoming_on, house, port.listener) for port in ports if port.name == WYOMING]
    return GatewayServer(house, app, options.limits, beside)


def starting_point(url: str, options: ServeOptions, gpu: str) -> Start:
    """What the first screen needs to know of how the server was started."""
    python, client = how_to_run()
    return Start(page_url(url), bool(options.token), python, client, str(SAMPLES), gpu)


@asynccontextmanager
async def local_gateway(
    *, backend: str = "", pool_size: int | None = None, config: Path | None = None, report: Report
) -> AsyncIterator[LocalGateway]:
    """One backend, ready to speak in this process. Raises ConfigError, VenvBuildFailed, VoiceError."""
    limits = Limits()
    choices = choose(load_config(config), [backend], see_gpus(os.environ).gpus)
    async with running(choices, pool_size or 0, limits, report) as started:
        report(f"loading {choices[0].config.name}")
        await started.backends[0].pool.until_ready()
        yield LocalGateway(started.backends[0], choices[0].reason, limits)


@dataclass(frozen=True, slots=True)
class PortOptions:
    name: str  # of PORTS
    backend: str = ""  # "": the first one that does it
    config: Path | None = None
    limits: Limits = field(default_factory=Limits)


PORTS = ("stt", "tts", "voxcpmex")


async def serve_port(options: PortOptions, stdio: tuple[int, int], report: Report) -> int:
    """Talk with the process that started us, until it leaves. The exit code. Raises NotPipes."""
    limits = options.limits
    pipes = Pipes(limits.ports, counts_itself=options.name == "voxcpmex")
    await pipes.open(*stdio)
    if options.name == "stt":
        return await run_port(
            pipes, stt_port(limits), local_recogniser(options.backend, options.config, report), limits.ports
        )
    if options.name == "tts":
        return await run_port(pipes, tts_port(limits), _speaking(options, report), limits.ports)
    return await run_port(pipes, voxcpmex_port(limits), _bridged(options, report), limits.ports)


@asynccontextmanager
async def local_recogniser(backend: str, config: Path | None, report: Report) -> AsyncIterator[Recogniser]:
    """One backend of kind stt, ready to listen in this process; "" is the first one.

    Raises ConfigError, VenvBuildFailed, VoiceError.
    """
    choice = choose_one(load_config(config), STT, backend, see_gpus(os.environ).gpus)
    async with running([choice], 0, Limits(), report) as started:
        await _until_ready(started.recognisers[0].pool)
        yield started.recognisers[0]


@asynccontextmanager
async def _speaking(options: PortOptions, report: Report) -> AsyncIterator[Backend]:
    choice = choose_one(load_config(options.config), TTS, options.backend, see_gpus(os.environ).gpus)
    async with running([choice], 0, options.limits, report) as started:
        await _until_ready(started.backends[0].pool)
        yield started.backends[0]


@asynccontextmanager
async def _bridged(options: PortOptions, report: Report) -> AsyncIterator[Bridged]:
    gpus = see_gpus(os.environ).gpus
    async with _speaking(options, report) as backend:
        with tempfile.TemporaryDirectory(prefix="voice-server-prompts-") as folder:
            own = {**os.environ, "VOICE_SERVER_HOME": folder}  # the clean copies too
            prompts = voice_store(Path(folder) / "recordings", options.limits.voices, own)
            yield Bridged(backend, place(backend.config, 0, gpus)[0].device, prompts)


def choose_one(config: Config, kind: str, name: str, gpus: Sequence[Gpu]) -> Choice:
    """The backend for a program that needs one of this kind. Raises UnknownBackend or BackendUnavailable."""
    listening = [backend.name for backend in config.backends.values() if backend.kind == STT]
    if kind == STT and not listening:
        raise BackendUnavailable("no backend of kind stt is configured")
    choice = Choice(*pick_backend(config, name or (listening[0] if kind == STT else ""), gpus))
    if choice.config.kind != kind:
        raise UnknownBackend(f"the backend {name} is of kind {choice.config.kind}, not {kind}", field="backend")
    return choice


async def _until_ready(pool: Pool[Any]) -> None:
    """Raises BackendUnavailable that says why: who started us has no other way to see it."""
    try:
        await pool.until_ready()
    except BackendUnavailable as error:
        raise BackendUnavailable(f"the backend {pool.name} cannot start: {pool.problem}") from error


def with_connections_per_address(limits: Limits, count: int) -> Limits:
    return replace(limits, stream=replace(limits.stream, connections_per_address=count))
