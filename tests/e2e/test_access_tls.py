"""HTTPS and WSS, with certificates of the test's own."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trustme
import websockets

from tests.harness import TIMEOUT_S, read_answer, running_server, say, tone_bytes, tone_config
from tests.server_process import HOME, server_process
from voice_server.core.limits import AccessLimits
from voice_server.gateway.access.tls import BadCertificate, Certificate

pytestmark = pytest.mark.anyio

LONG = "This sentence goes on for a while and it is spoken again and again until nobody can bear it any more. "


@dataclass
class Papers:
    """A certificate, its key, and the authority that vouches for it."""

    authority: trustme.CA
    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def issue(self) -> None:
        """A new one in the place of the old."""
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.key))
        (self.folder / "new.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        os.replace(self.folder / "new.pem", self.certificate)


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    own = Papers(trustme.CA(), tmp_path)
    own.authority.cert_pem.write_to_path(str(own.ca))
    own.issue()
    return own


@dataclass
class Secured:
    ws: str
    http: str
    port: int


@asynccontextmanager
async def secured(python: Path, papers: Papers, **options: float) -> AsyncIterator[Secured]:
    certificate = Certificate(papers.certificate, papers.key, replace(AccessLimits(), look_s=0.0))
    async with running_server(tone_config(**options), python, tls=certificate.context) as server:
        at = f"localhost:{server.port}"
        yield Secured(f"wss://{at}", f"https://{at}", server.port)


@pytest.mark.usefixtures("no_leaks")
async def test_an_answer_over_tls_is_the_same_to_the_byte(tone_python: Path, papers: Papers) -> None:
    async with secured(tone_python, papers) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens", ssl=papers.trust, max_size=None) as ws:
            await say(ws, {"token": LONG * 3 + "Hello.", "done": True})
            answer = await read_answer(ws)
        async with httpx.AsyncClient(verify=papers.trust) as client:
            health = await client.get(f"{server.http}/health")
    assert answer.audio == tone_bytes(*[LONG.strip()] * 3, "Hello.")
    assert health.status_code == 200


@pytest.mark.usefixtures("no_leaks")
async def test_who_speaks_no_tls_gets_nothing_and_harms_nobody(tone_python: Path, papers: Papers) -> None:
    async with secured(tone_python, papers) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()
        async with httpx.AsyncClient(verify=papers.trust) as client:
            assert (await client.get(f"{server.http}/health")).status_code == 200
    assert b"HTTP" not in said


@pytest.mark.usefixtures("no_leaks")
async def test_c1_a_client_that_stops_reading_is_cut_off_over_tls_too(tone_python: Path, papers: Papers) -> None:
    async with secured(tone_python, papers) as server:
        ws = await websockets.connect(f"{server.ws}/stream-tokens", ssl=papers.trust, max_queue=1)
        for _ in range(8):
            await say(ws, {"token": LONG * 9})  # nobody reads the 24 MB of its speech
        async with httpx.AsyncClient(base_url=server.http, verify=papers.trust) as client:
            await _until_streams(client, 1)
            await _until_streams(client, 0)
        ws.transport.abort()
        await ws.wait_closed()


async def _until_streams(client: httpx.AsyncClient, count: int) -> None:
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    while len((await client.get("/status")).json()["backends"][0]["streams"]) != count:
        assert asyncio.get_running_loop().time() < deadline, f"there are {count} streams"
        await asyncio.sleep(0.02)


async def test_a_renewed_certificate_is_that_of_the_next_connection(tone_python: Path, papers: Papers) -> None:
    async with secured(tone_python, papers) as server:
        first = await _shown(server, papers)
        papers.issue()
        assert first != await _shown(server, papers)


async def test_a_certificate_that_was_spoiled_leaves_the_old_one_in_use(
    tone_python: Path, papers: Papers, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(tone_python, papers) as server:
        first = await _shown(server, papers)
        papers.certificate.write_text("half a fi")
        assert [await _shown(server, papers) for _ in range(2)] == [first] * 2
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert ["from before" in record.getMessage() for record in told] == [True]


async def _shown(server: Secured, papers: Papers) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=papers.trust)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await asyncio.wait_for(reader.read(), TIMEOUT_S)
    assert isinstance(shown, bytes)
    return shown


def test_files_that_cannot_be_used_are_told_and_a_locked_key_is_not_waited_for(papers: Papers) -> None:
    other = Papers(papers.authority, papers.folder / "other")
    other.folder.mkdir()
    other.issue()
    locked = papers.folder / "locked.pem"
    unlock = ["openssl", "pkey", "-in", papers.key, "-aes256", "-passout", "pass:word", "-out", locked]
    subprocess.run(unlock, check=True, capture_output=True)
    wrong = {
        (papers.certificate, other.key): "the key is not that of the certificate",
        (papers.folder / "nowhere", papers.key): "No such file",
        (papers.folder, papers.key): "one of them is no PEM|Is a directory|cannot be read",
        (papers.key, papers.key): "PEM",
        (papers.certificate, locked): "locked by a password",
    }
    for (certificate, key), says in wrong.items():
        with pytest.raises(BadCertificate, match=says):
            Certificate(certificate, key)


def test_the_server_of_an_operator_speaks_tls_and_client_py_trusts_it_by_its_authority(
    tmp_path: Path, papers: Papers
) -> None:
    flags = ("--tls-cert", str(papers.certificate), "--tls-key", str(papers.key))
    with server_process(tmp_path, *flags) as server:
        url = f"wss://localhost:{server.port}/stream-tokens"
        spoken = tmp_path / "spoken.pcm"
        command = [sys.executable, str(HOME / "client.py"), "--url", url, "--text", "Hello.", "--output", str(spoken)]
        environ = {**os.environ, "SSL_CERT_FILE": str(papers.ca)}
        trusted = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        environ["SSL_CERT_FILE"] = os.devnull
        refused = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert (trusted.returncode, spoken.read_bytes()) == (0, tone_bytes("Hello."))
    assert refused.returncode != 0 and "SSL_CERT_FILE" in refused.stderr


def test_g8_a_server_with_files_that_cannot_be_used_says_so_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voice_server", "--backend", "tone", "--tls-cert", str(tmp_path / "nowhere.pem")]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HOME)}, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "nowhere.pem: No such file" in ended.stderr
