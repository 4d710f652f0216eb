from __future__ import annotations

import socket

import pytest

from voice_server.core.limits import Limits
from voice_server.core.listens import Listen
from voice_server.gateway.ports import CannotListen, check_listen, open_ports
from voice_server.gateway.security import InsecureBind

MAIN = Listen("http", "127.0.0.1", 0)


def test_a_free_port_is_taken_and_told() -> None:
    ports = open_ports(MAIN, [Listen("voxcpm", "::1", 0), Listen("wyoming", "127.0.0.1", 0)], Limits())
    try:
        numbers = [port.number for port in ports]
        assert len(set(numbers)) == 3
        assert [port.url for port in ports] == [
            f"http://127.0.0.1:{numbers[0]}",
            f"ws://[::1]:{numbers[1]}/tts",
            f"tcp://127.0.0.1:{numbers[2]}",
        ]
    finally:
        for port in ports:
            port.listener.close()


def test_all_ports_are_opened_or_none() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = Listen("voxcpm", *taken.getsockname())
        with pytest.raises(CannotListen, match=f"127.0.0.1:{listen.port} .--listen voxcpm=127.0.0.1:{listen.port}."):
            open_ports(Listen("http", "127.0.0.1", number), [listen], Limits())
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", number)) != 0


@pytest.mark.parametrize(
    ("listen", "token", "says"),
    [
        (Listen("voxcpm", "0.0.0.0", 9300), "", "--listen voxcpm=0.0.0.0:9300: .*VOICE_SERVER_TOKEN"),
        (Listen("wyoming", "0.0.0.0", 10200), "", "--listen wyoming=0.0.0.0:10200: Wyoming has no tokens"),
        (Listen("wyoming", "0.0.0.0", 10200), "secret", "Wyoming has no tokens"),
    ],
)
def test_the_network_is_not_served_unprotected(listen: Listen, token: str, says: str) -> None:
    with pytest.raises(InsecureBind, match=says):
        check_listen(listen, is_guarded=bool(token), insecure=False)
    check_listen(listen, is_guarded=bool(token), insecure=True)


def test_a_token_protects_what_speaks_http() -> None:
    check_listen(Listen("voxcpm", "0.0.0.0", 9300), is_guarded=True, insecure=False)
