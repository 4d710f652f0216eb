"""F5: nothing is ever unpacked: no WebSocket compresses, no body is inflated, no archive is opened."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import httpx
import pytest
import websockets
from starlette.routing import WebSocketRoute

from tests.e2e.voice_desk import code_of, desk
from tests.harness import TIMEOUT_S, hum_wav, running_server, tone_config
from tests.process.hearing_driver import listening, pitch_config
from voice_server.gateway.app import build_app

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

OFFERS = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame, permessage-bzip2"


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", content)
    return file.getvalue()


async def test_f5_no_extension_is_negotiated_at_any_websocket(tone_python: Path) -> None:
    async with (
        listening(tone_python, pitch_config()) as recogniser,
        running_server(tone_config(), tone_python, recognisers=[recogniser]) as server,
    ):
        routes = build_app(server.house).routes
        doors = [route.path.format(voice="tone") for route in routes if isinstance(route, WebSocketRoute)]
        assert len(doors) >= 8
        for door in doors:
            head = {"sec-websocket-extensions": OFFERS}
            url = f"{server.ws}{door}?text=Hello."
            async with websockets.connect(url, compression=None, additional_headers=head) as ws:
                assert ws.response is not None
                assert "sec-websocket-extensions" not in ws.response.headers, door


async def test_f5_a_compressed_body_is_not_inflated(tone_python: Path) -> None:
    packed = gzip.compress(b'{"text": "' + b"a" * 10_000_000 + b'"}')
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
            head = {"content-encoding": "gzip", "content-type": "application/json"}
            for path in ("/tts", "/v1/audio/speech", "/chat"):
                assert (await client.post(path, content=packed, headers=head)).status_code == 400, path


@pytest.mark.parametrize("name", ["a.zip", "a.wav", "a.flac.gz"])
async def test_f5_an_archive_is_no_recording(tone_python: Path, tmp_path: Path, name: str) -> None:
    for content in (zipped(hum_wav()), gzip.compress(hum_wav()), zipped(bytes(10**7))):
        async with desk(tone_python, tmp_path) as at:
            assert code_of(await at.upload(content, name)) == (400, "bad_sample")
            assert at.files() == []
