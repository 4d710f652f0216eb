"""Files from the public internet, for clients that name a URL. Only main.py imports this, and only where it is allowed.

Promises: no connection is ever made to an address that is not public: a host is resolved once, every address that it
has is checked, and the connection goes to one of those, whatever the resolver says later; certificates are checked for
the host that was named; nothing is followed, unpacked, sent or waited for beyond the limits; a refusal tells a client
no more of a host than whether it is there for everybody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import anyio
import httpcore

from voice_server.core.addresses import FileUrl, is_public
from voice_server.core.doors.limits import PromptLimits
from voice_server.core.errors import BadOption

Resolve = Callable[[str], Awaitable[Sequence[str]]]  # all addresses of a host; raises OSError

_HTTPS = 443
_OK = 200
_HEAD = {"accept": "audio/*", "accept-encoding": "identity", "user-agent": "voice-server"}
_NOWHERE = "its host has no address on the public internet, or not only such"
_BROKEN = "its server could not be reached by HTTPS, or broke off: look at it with a browser"


class Fetcher:
    """`resolve`, `net` and `tls` are what a test puts in place of DNS, the internet and its authorities."""

    def __init__(
        self,
        limits: PromptLimits,
        resolve: Resolve | None = None,
        net: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._net = _PublicNet(resolve or _Resolver(limits.at_once), net or httpcore.AnyIOBackend())
        self._tls = tls or ssl.create_default_context()

    async def fetch(self, url: FileUrl) -> bytes:
        """Raises BadOption, whose message says what is wrong with the URL."""
        try:
            with anyio.fail_after(self._limits.total_s):  # not wait_for: before Python 3.12 it may swallow a cancel
                return await self._get(url)
        except (TimeoutError, httpcore.TimeoutException):
            raise BadOption(f"it did not come within {self._limits.total_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise BadOption(_BROKEN) from None

    async def _get(self, url: FileUrl) -> bytes:
        where = httpcore.URL(scheme=b"https", host=url.host.encode(), port=_HTTPS, target=url.target.encode())
        head = [("host", url.host), *_HEAD.items()]
        patience = {"timeout": {"connect": self._limits.connect_s}}
        async with (
            httpcore.AsyncConnectionPool(self._tls, network_backend=self._net) as pool,
            pool.stream("GET", where, headers=head, extensions=patience) as response,
        ):
            self._check_head(response)
            return await self._body(response)

    def _check_head(self, response: httpcore.Response) -> None:
        if response.status != _OK:
            raise BadOption(f"its server answered {response.status}: name the address of the file itself")
        head = {name.lower(): value.strip().lower() for name, value in response.headers}
        if head.get(b"content-encoding", b"identity") != b"identity":
            raise BadOption("it came compressed, although that was not asked for: serve the file as it is")
        length = head.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._limits.file_bytes:
            raise self._too_large()

    async def _body(self, response: httpcore.Response) -> bytes:
        content = bytearray()
        async for piece in response.aiter_stream():
            content += piece
            if len(content) > self._limits.file_bytes:
                raise self._too_large()
        return bytes(content)

    def _too_large(self) -> BadOption:
        return BadOption(f"it is larger than {self._limits.file_bytes >> 20} MiB: shorten it")


class _PublicNet(httpcore.AsyncNetworkBackend):
    """All connections go through here. What asks for one gives a host; it is TLS's and HTTP's business what it is."""

    def __init__(self, resolve: Resolve, net: httpcore.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._net = net

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        problem: Exception = httpcore.ConnectError("no address")
        for address in await self._public(host):
            try:
                return await self._net.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    async def _public(self, host: str) -> Sequence[str]:
        try:
            addresses = await self._resolve(host)
        except OSError:
            addresses = []
        if not addresses or not all(map(is_public, addresses)):
            raise BadOption(_NOWHERE)
        return addresses


class _Resolver:
    """The system's, in threads of its own: a host whose name servers are slow keeps nothing else from being done."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "resolver")

    async def __call__(self, host: str) -> Sequence[str]:
        loop, kind = asyncio.get_running_loop(), socket.SOCK_STREAM
        found = await loop.run_in_executor(self._threads, lambda: socket.getaddrinfo(host, _HTTPS, type=kind))
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
