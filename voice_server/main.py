"""The composition root: flags → configuration → running pools (assembly.py) → app → server, or a port, or a program."""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from voice_server.assembly import SAMPLES, Report, choose, choose_one, running, voice_store
from voice_server.config import load_config
from voice_server.core.doors.chat_protocol import ModelSettings
from voice_server.core.doors.limits import ChatLimits
from voice_server.core.errors import BackendUnavailable
from voice_server.core.limits import Limits
from voice_server.core.listens import HTTP, VOXCPM, WYOMING, Listen
from voice_server.core.placement import place
from voice_server.gateway.access.origins import Origins
from voice_server.gateway.access.tls import Certificate
from voice_server.gateway.access.tokens import Tokens
from voice_server.gateway.app import build_app
from voice_server.gateway.doors.wyoming import serve_wyoming_on
from voice_server.gateway.house import House
from voice_server.gateway.llm import Echo, Writer
from voice_server.gateway.ports import Port, open_ports
from voice_server.gateway.prompts import Prompts
from voice_server.gateway.security import Gate
from voice_server.gateway.server import GatewayServer
from voice_server.machine import descriptors, see_gpus
from voice_server.observe.tracing import tracing
from voice_server.observe.watchdog import watching
from voice_server.pool.pool import Pool
from voice_server.ports.c_port import stt_port, tts_port
from voice_server.ports.run import run_port
from voice_server.ports.stdio import Pipes
from voice_server.ports.voxcpmex_port import Bridged, voxcpmex_port
from voice_server.reload import Reloader, on_hangup
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.terminal.announcer import Announce, Announcer, how_to_run
from voice_server.terminal.local import LocalGateway
from voice_server.terminal.welcome import Start, gpu_advice, page_url
from voice_server.voices import VoiceStore
from voice_server.wire.messages import STT, TTS


@dataclass(frozen=True, slots=True)
class ServeOptions:
    backends: tuple[str, ...] = ()  # none: the configured default
    pool_size: int = 0  # workers per backend; 0: as configured
    cluster: str = ""  # the address of a Ray cluster where workers live; "": on this machine
    host: str = "127.0.0.1"
    port: int = 8000
    listens: tuple[Listen, ...] = ()  # more ports
    config: Path | None = None
    name: str = ""  # of this gateway among several behind a balancer
    proxies: tuple[str, ...] = ()  # that are believed when they say who their client is: addresses and networks
    tokens: Tokens = field(default_factory=Tokens)
    cors: tuple[str, ...] = ()  # origins of web pages that may use the server; "*" is all
    host_names: tuple[str, ...] = ()  # of this server, where a browser may find it under others
    allows_prompt_urls: bool = False  # a client of WS /tts may name a recording by URL, which is fetched
    tls: Certificate | None = None  # of all ports that speak HTTP
    opens_browser: bool = False  # at the page, when the first backend can speak
    model: ModelSettings | None = None  # that answers what is said to the page; None: an echo
    limits: Limits = field(default_factory=Limits)


async def serve(options: ServeOptions, report: Announce) -> None:
    """Run the server until a signal ends it. Raises ConfigError, VenvBuildFailed, VoiceError, CannotListen."""
    config, gpus = load_config(options.config), see_gpus(os.environ)
    choices = choose(config, options.backends, gpus.gpus)
    workers = sum(max(options.pool_size, choice.config.most_workers) + choice.config.spares for choice in choices)
    options = replace(options, limits=within_descriptors(options.limits, workers, report))
    ports = open_ports(Listen(HTTP, options.host, options.port), options.listens, options.limits, tls=bool(options.tls))
    async with (
        running(choices, options.pool_size, options.limits, report, cluster=options.cluster) as started,
        open_writer(options.model, options.limits.chat) as writer,
        open_prompts(options) as prompts,
    ):
        origins = Origins.of(options.cors, options.host_names, options.host)
        gate = Gate(options.limits.stream, options.tokens, origins)
        house = House(started.backends, options.limits, gate, started.recognisers, options.name)
        house.writer, house.prompts = writer, prompts
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
        reloader = Reloader(options.config, started)
        reloading = asyncio.create_task(reloader.run())
        try:
            with observing(house, options.limits), on_hangup(reloader.ask):
                await server.serve(sockets=[port.listener for port in ports if port.name != WYOMING])
        finally:
            announcing.cancel()
            reloading.cancel()


def within_descriptors(limits: Limits, workers: int, report: Report) -> Limits:
    """No more connections than there are file descriptors: who comes then is told so, and a worker can still start."""
    stream = limits.stream
    kept = stream.descriptors_kept + stream.descriptors_per_worker * workers
    connections = max(1, min(stream.connections, descriptors(stream.connections + kept) - kept))
    if connections < stream.connections:
        report(f"warning: {connections} connections at most, not {stream.connections}: raise the limit of open files")
    return replace(limits, stream=replace(stream, connections=connections))


@contextmanager
def observing(house: House, limits: Limits) -> Iterator[None]:
    """The event loop is watched, and answers are told to OpenTelemetry where the operator wants it."""
    with watching(limits.watchdog, house.metrics.loop_lag.observe), tracing(os.environ, limits.trace) as tell:
        for backend in house.backends.values():
            backend.tellers += [tell] if tell else []
        yield


@asynccontextmanager
async def open_prompts(options: ServeOptions) -> AsyncIterator[Prompts | None]:
    if not options.allows_prompt_urls:
        yield None
        return
    fetching = importlib.import_module("voice_server.gateway.fetching")  # and httpcore with it
    limits = options.limits
    prompts = Prompts(fetching.Fetcher(limits.prompts).fetch, partial(_store_within, limits), limits.prompts)
    try:
        yield prompts
    finally:
        await prompts.close()


def _store_within(limits: Limits, folder: Path) -> VoiceStore:
    """A store of voices, all of which is in this folder: the clean copies too."""
    own = {**os.environ, "VOICE_SERVER_HOME": str(folder)}
    return voice_store(folder / "recordings", limits.voices, own)


@asynccontextmanager
async def open_writer(settings: ModelSettings | None, limits: ChatLimits) -> AsyncIterator[Writer]:
    if settings is None:
        yield Echo()
        return
    # 0.16 s of CPU for httpx, which only those pay who have a model
    module = importlib.import_module("voice_server.gateway.language_model")
    async with module.connected(settings, limits) as model:
        yield model


def build_server(house: House, ports: Sequence[Port], options: ServeOptions) -> GatewayServer:
    """One server for all ports; it is given the sockets of those that speak HTTP when it is started."""
    app = build_app(house, options.cors, [port.number for port in ports if port.name == VOXCPM])
    beside = [partial(serve_wyoming_on, house, port.listener) for port in ports if port.name == WYOMING]
    tls = options.tls.context if options.tls else None
    return GatewayServer(house, app, options.limits, beside, tls, options.proxies)


def starting_point(url: str, options: ServeOptions, gpu: str) -> Start:
    """What the first screen needs to know of how the server was started."""
    python, client = how_to_run()
    return Start(page_url(url), options.tokens.are_wanted, python, client, str(SAMPLES), gpu)


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
            prompts = _store_within(options.limits, Path(folder))
            yield Bridged(backend, place(backend.config, 0, gpus)[0].device, prompts)


async def _until_ready(pool: Pool[Any]) -> None:
    """Raises BackendUnavailable that says why: who started us has no other way to see it."""
    try:
        await pool.until_ready()
    except BackendUnavailable as error:
        raise BackendUnavailable(f"the backend {pool.name} cannot start: {pool.problem}") from error
