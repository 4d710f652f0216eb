"""SIGHUP: backends.yaml is read again, and the backends that run take up what has changed in it.

All of the file, or nothing: one with mistakes, or one that asks for what needs a restart of the server, is told in the
log and changes nothing. Workers are replaced one by one, and only where something that makes them has changed; their
environments are built before. A backend whose new workers do not load keeps its old ones and its old settings.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from voice_server.assembly import Running
from voice_server.config import BackendConfig, Config, ConfigError, load_config
from voice_server.core.errors import VoiceError
from voice_server.core.reload import refusals
from voice_server.pool.outfit import Outfit
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.venvs import VenvBuildFailed

_log = logging.getLogger(__name__)


class Reloader:
    """Of the backends that run. `path` is where the server was told to look, None where it was told nothing."""

    def __init__(self, path: Path | None, running: Running) -> None:
        self._path = path
        self._outfit = running.outfit
        self._engines = running.engines
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read the file soon; once for all who ask while it is being taken up."""
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._reload()
            except (ConfigError, VenvBuildFailed, VoiceError, OSError) as error:
                _log.error("the configuration stays as it was: %s", error)

    async def _reload(self) -> None:
        config = await asyncio.to_thread(load_config, self._path)
        if problems := refusals([engine.config for engine in self._engines], config):
            raise ConfigError(config.path, [f" {problem}" for problem in problems])
        changed = [engine for engine in self._engines if engine.config != config.backends[engine.name]]
        outfits = {engine.name: await self._outfit_of(config, engine) for engine in changed}
        for engine in changed:
            await _take_up(engine, config.backends[engine.name], outfits[engine.name])
        _log.warning("%s was read again: %s", config.path, _summary(changed))

    async def _outfit_of(self, config: Config, engine: Backend | Recogniser) -> Outfit:
        return await asyncio.to_thread(self._outfit, config.backends[engine.name])


async def _take_up(engine: Backend | Recogniser, config: BackendConfig, outfit: Outfit) -> None:
    pool = engine.pool
    if outfit != pool.outfit:
        while pool.last_roll and pool.is_restarting:  # who waited beside us may have begun another one
            await pool.last_roll.ended()
        if not await pool.restart(outfit, stops_first=config.roll == "stop-first").ended():
            return  # the restart has said why
    engine.config = config
    if isinstance(engine, Backend):
        engine.pool.dispatcher.forget(config.cache_mib * 2**20)


def _summary(changed: Sequence[Backend | Recogniser]) -> str:
    return ", ".join(engine.name for engine in changed) + " changed" if changed else "nothing that runs has changed"


@contextmanager
def on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    """SIGHUP asks for a reload; where it tells that our terminal was closed, the server ends as by SIGTERM."""
    before = signal.getsignal(signal.SIGHUP)
    ends_with_terminal = before is not signal.SIG_IGN and _has_terminal()  # ignored: as nohup has it

    def hang_up() -> None:
        if ends_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            reload()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
