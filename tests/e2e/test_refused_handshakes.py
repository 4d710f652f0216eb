"""A WebSocket that is refused in its handshake: the client is told why, and our log holds no error of ours."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.harness import FAST, running_server, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


async def test_c8_a_refused_handshake_is_no_error_in_our_log(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, connections_per_address=0))
    async with running_server(tone_config(), tone_python, limits=limits) as server:
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await websockets.connect(f"{server.ws}/stream-tokens")
    assert refusal.value.response.status_code == 503
    assert b"too_many_connections" in (refusal.value.response.body or b"")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
