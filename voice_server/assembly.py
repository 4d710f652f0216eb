"""From the configuration to running pools: which backends, their environments, workers and voices.

Together with main.py, which puts doors before them, this is the composition root: nothing else builds things.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voice_server.config import BackendConfig, Config, pick_backend
from voice_server.core.errors import BackendUnavailable, UnknownBackend
from voice_server.core.limits import Limits, VoiceLimits, WorkerLimits
from voice_server.core.placement import Placement, far_gpus, is_far, place, place_spares, shares_gpu
from voice_server.core.settings import Gpu
from voice_server.machine import see_gpus
from voice_server.pool.dispatcher import Dispatcher
from voice_server.pool.outfit import Outfit
from voice_server.pool.pool import Pool
from voice_server.pool.process import Command, Guardian, inherited, run_once
from voice_server.pool.remote import Bridge, FarCommand, RayLauncher, has_ray
from voice_server.pool.supervisor import WorkerSpec
from voice_server.pool.switchboard import Switchboard
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.venvs import VenvStore, default_home
from voice_server.voices import VoiceStore
from voice_server.wire.messages import STT, TTS, Load

Report = Callable[[str], None]

_BOOTSTRAP = Path(__file__).parent / "worker" / "bootstrap.py"
_FAR_BOOTSTRAP = ("worker/bootstrap.py",)  # in our package, wherever a node has it
_STUDIO = Path(__file__).parent / "studio" / "__main__.py"
SAMPLES = Path("voice_samples")  # of the folder the gateway was started in
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


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


def choose_one(config: Config, kind: str, name: str, gpus: Sequence[Gpu]) -> Choice:
    """The backend for a program that needs one of this kind. Raises UnknownBackend or BackendUnavailable."""
    listening = [backend.name for backend in config.backends.values() if backend.kind == STT]
    if kind == STT and not listening:
        raise BackendUnavailable("no backend of kind stt is configured")
    choice = Choice(*pick_backend(config, name or (listening[0] if kind == STT else ""), gpus))
    if choice.config.kind != kind:
        raise UnknownBackend(f"the backend {name} is of kind {choice.config.kind}, not {kind}", field="backend")
    return choice


def worker_environ(environ: Mapping[str, str], backend: BackendConfig, placement: Placement) -> dict[str, str]:
    """What a worker may see of our environment: no secrets of ours, no path to our packages, one GPU, and one folder
    that all workers share for what is computed once."""
    device = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": placement.cuda_visible_devices}
    cache = {"VOICE_SERVER_CACHE": str(default_home(environ).absolute())}
    return {**inherited(environ), **_ONE_THREAD, **cache, "TQDM_DISABLE": "1", **device, **backend.env}


def worker_specs(backend: BackendConfig, python: Path, workers: int, gpus: Sequence[Gpu]) -> list[WorkerSpec]:
    """Those that work, and behind them the spares."""
    placements = _placements(backend, workers, gpus)
    options = backend.options | (backend.shared_gpu_options if shares_gpu(placements) else {})
    return [
        WorkerSpec(
            name=f"{backend.name}-{number}",
            command=Command((str(python), "-I", str(_BOOTSTRAP)), worker_environ(os.environ, backend, placement)),
            load=Load(backend.adapter, placement.device, options, backend.warmup_text),
            limits=backend.limits,
            device=placement.name,
            is_spare=number >= len(placements) - backend.spares,
        )
        for number, placement in enumerate(placements)
    ]


def far_specs(backend: BackendConfig, workers: int) -> list[WorkerSpec]:
    """The same on a cluster. Device, environment and the paths of a node are the node's to say."""
    gpus = far_gpus(backend)
    device = "cuda" if gpus else "cpu"
    options = backend.options | (backend.shared_gpu_options if 0 < gpus < 1 else {})
    env = {**_ONE_THREAD, "TQDM_DISABLE": "1", **backend.env}
    command = FarCommand(
        _FAR_BOOTSTRAP, env, backend=backend.name, venv=backend.venv, resources=backend.resources, gpus=gpus
    )
    working = workers or backend.most_workers
    return [
        WorkerSpec(
            name=f"{backend.name}-{number}",
            command=command,
            load=Load(backend.adapter, device, options, backend.warmup_text),
            limits=backend.limits,
            device=device,
            is_spare=number >= working,
        )
        for number in range(working + backend.spares)
    ]


def _placements(backend: BackendConfig, workers: int, gpus: Sequence[Gpu]) -> list[Placement]:
    working = place(backend, workers, gpus)
    return [*working, *place_spares(working, backend.spares)]


def build_pool(backend: BackendConfig, outfit: Outfit, limits: Limits) -> Pool[Dispatcher]:
    is_fifo, repeat_bytes = backend.scheduling == "fifo", backend.cache_mib * 2**20
    dispatcher = Dispatcher(limits.stream, fifo=is_fifo, repeat_bytes=repeat_bytes)
    return Pool(backend.name, outfit, dispatcher, limits.scaling)


def build_hearing_pool(backend: BackendConfig, outfit: Outfit, limits: Limits) -> Pool[Switchboard]:
    return Pool(backend.name, outfit, Switchboard(limits.hearing), limits.scaling)


def sharing_warning(backend: BackendConfig, workers: int, gpus: Sequence[Gpu]) -> str:
    """What the operator should know about workers that share a GPU; "" where there is nothing to know."""
    placements = _placements(backend, workers, gpus)
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
    outfit: Callable[[BackendConfig], Outfit]  # builds its environment; blocks. Raises VenvBuildFailed

    @property
    def engines(self) -> list[Backend | Recogniser]:
        return [*self.backends, *self.recognisers]


class Sites:
    """Where workers live: on this machine, and on the nodes of a cluster where one is named."""

    def __init__(self, cluster: str, limits: WorkerLimits) -> None:
        """Raises BackendUnavailable."""
        if cluster and not has_ray():
            raise BackendUnavailable('--cluster needs Ray: pip install "voice-server[cluster]"')
        self._guardian = Guardian()
        self._gate = asyncio.Semaphore(limits.parallel_loads)
        self._far_gate = asyncio.Semaphore(limits.parallel_far_loads)
        self._bridge = Bridge(cluster, self._guardian, os.environ) if cluster else None

    def is_far(self, backend: BackendConfig) -> bool:
        return is_far(backend, has_cluster=self._bridge is not None)

    def start(self, pool: Pool[Any], backend: BackendConfig) -> None:
        if self._bridge and self.is_far(backend):
            pool.start(RayLauncher(self._bridge, pool.vacate), self._far_gate, random.random)
        else:
            pool.start(self._guardian, self._gate, random.random)

    async def close(self) -> None:
        """Once all pools have stopped."""
        if self._bridge:
            await asyncio.to_thread(self._bridge.close)
        self._guardian.close()


@asynccontextmanager
async def running(
    choices: Sequence[Choice],
    pool_size: int,
    limits: Limits,
    report: Report,
    samples: Path = SAMPLES,
    *,
    cluster: str = "",  # the address of a Ray cluster
) -> AsyncIterator[Running]:
    """Raises VenvBuildFailed, BackendUnavailable."""
    store, gpus, voices = VenvStore(), see_gpus(os.environ).gpus, voice_store(samples, limits.voices)
    sites = Sites(cluster, limits.worker)

    def outfit(config: BackendConfig) -> Outfit:
        return Outfit(tuple(specs(config)), config.bounds(pool_size))

    def specs(config: BackendConfig) -> list[WorkerSpec]:
        if sites.is_far(config):
            return far_specs(config, pool_size)
        python = store.build(config.name, config.venv, report)
        if warning := sharing_warning(config, pool_size, gpus):
            report(warning)
        return worker_specs(config, python, pool_size, gpus)

    started = Running([], [], outfit)
    watching = asyncio.create_task(watch_voices(voices, limits.voices.scan_s))
    try:
        for choice in choices:
            config = choice.config
            made_of = await asyncio.to_thread(outfit, config)
            if config.kind == STT:
                started.recognisers.append(Recogniser(config, build_hearing_pool(config, made_of, limits)))
            else:
                started.backends.append(Backend(config, build_pool(config, made_of, limits), voices))
        await asyncio.to_thread(voices.scan)
        for engine in started.engines:
            sites.start(engine.pool, engine.config)
        yield started
    finally:
        watching.cancel()
        for engine in started.engines:
            await engine.pool.stop()
        await sites.close()


def voice_store(folder: Path, limits: VoiceLimits, environ: Mapping[str, str] = os.environ) -> VoiceStore:
    """The voices of a folder of samples, each cleaned by a process of its own; nothing is looked at yet."""
    seconds = str(limits.sample_min_s), str(limits.sample_max_s)

    def studio(source: Path, target: Path) -> bytes:
        # Not -I: the gateway itself may be installed for its user alone, and so is what the studio needs.
        argv = (sys.executable, "-E", str(_STUDIO), "clean", str(source), str(target), *seconds)
        return run_once(Command(argv, inherited(environ)), limits.studio_s, limits.verdict_bytes)

    return VoiceStore(folder, limits, studio, default_home(environ).absolute() / "voices")


async def watch_voices(voices: VoiceStore, every_s: float) -> None:
    """A file dropped into the folder is a voice a moment later."""
    while True:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(voices.scan)
