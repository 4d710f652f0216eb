"""The Ray cluster that the bridge drives: whether it can be reached, how it is joined, which of its nodes are to go.

Promises: nobody waits for a head that does not answer, and what is wrong is said in words for the operator. Facts this
is built on (Ray 2.60, seen): asked to join where nobody listens, Ray tries for two minutes and then ends the process;
which nodes are drained is told to nobody, one has to ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private.state import state as _ray_state
from ray.exceptions import RayError

from voice_server.core.limits import ClusterLimits

_PACKAGE = Path(__file__).resolve().parents[2]
_ANY = "auto"  # the cluster that this machine is a node of


class CannotJoin(Exception):
    """Somebody answers, and does not take us; says why."""


class Cluster:
    def __init__(self, address: str, limits: ClusterLimits) -> None:
        """Of the forms auto, HOST:PORT and ray://HOST:PORT."""
        self._address = address
        self._limits = limits
        self._head = "" if address == _ANY else address  # where to knock
        self._has_joined = False

    @property
    def is_client(self) -> bool:
        """Whether we are no node of it, and another process of the head drives it for us."""
        return self._address.startswith("ray://")

    async def reached(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Waits until it can be; `tell` is told, in words, what is missing."""
        told = ""
        while problem := await self._problem():
            if problem != told:
                await tell(problem)
            told = problem
            await asyncio.sleep(self._limits.look_s)
        if told:
            await tell("waits for a node with room")

    async def _problem(self) -> str:
        if not self._head or await _answers(self._head, self._limits.knock_s):
            return ""
        return (
            f"the cluster at {self._head} cannot be reached: start its head (`ray start --head`), "
            "or open its ports to this machine"
        )

    def join(self) -> None:
        """Once it can be reached. Blocks for seconds the first time. Raises CannotJoin."""
        if self._has_joined and ray.is_initialized():  # a client loses its cluster, and lives on
            return
        try:
            ray.init(
                self._address, runtime_env={"py_modules": [str(_PACKAGE)]}, log_to_driver=False, configure_logging=False
            )
        except (OSError, RuntimeError, ValueError, RayError) as error:
            ray.shutdown()
            raise CannotJoin(f"the cluster at {self._address} does not take us: {_first_line(error)}") from error
        self._has_joined = True
        self._head = self._head or ray.get_runtime_context().gcs_address

    async def leaving(self) -> set[str]:
        """The nodes that are being drained: what they have they may finish, new things come elsewhere."""
        if not self._has_joined or self.is_client or await self._problem():
            return set()
        try:
            return set(await asyncio.to_thread(_ray_state.get_draining_nodes))
        except (RuntimeError, RayError):  # the head was lost just now
            return set()


async def node_of(actor: Any) -> str:
    """The node that it lives on. Raises RayError."""
    return str(await actor.__ray_call__.remote(_this_node))


def _this_node(_: object) -> str:
    return str(ray.get_runtime_context().get_node_id())


async def _answers(address: str, patience_s: float) -> bool:
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, parts.port), patience_s)
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
