from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from voice_server.core.limits import Limits
from voice_server.gateway.server import bind


@pytest.fixture
def accepted() -> Iterator[socket.socket]:
    """The server's end of a connection."""
    with (
        bind("127.0.0.1", 0, Limits()) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        yield connection


def test_audio_does_not_wait_for_the_acknowledgement_of_the_message_before(accepted: socket.socket) -> None:
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
def test_the_kernel_gives_up_on_data_that_nobody_acknowledges(accepted: socket.socket) -> None:
    limit_ms = Limits().stream.tcp_user_timeout_s * 1000
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == limit_ms
