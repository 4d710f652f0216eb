from __future__ import annotations

import pytest

from voice_server.core.listens import Listen, parse


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("voxcpm=0.0.0.0:9300", Listen("voxcpm", "0.0.0.0", 9300)),
        ("http=localhost:0", Listen("http", "localhost", 0)),
        ("wyoming=[::1]:10200", Listen("wyoming", "::1", 10200)),
    ],
)
def test_a_port_has_a_name_a_host_and_a_number(text: str, listen: Listen) -> None:
    assert parse(text) == listen
    assert str(listen) == text


WRONG = """
9300 voxcpm voxcpm=9300 voxcpm=:9300 voxcpm=h: voxcpm=h:65536 voxcpm=h:-1 voxcpm=::1:9300 voxcpm=h:9300/tts
voxcpm=ws://h:9300 voxcpm=h:９３００ voxcpm=[h]:1
"""


@pytest.mark.parametrize("text", [*WRONG.split(), "", "voxcpm=a b:1", "voxcpm=h:1\n"])
def test_another_shape_is_refused_with_one_that_is_right(text: str) -> None:
    with pytest.raises(ValueError, match="voxcpm=127"):
        parse(text)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="http, voxcpm, wyoming"):
        parse("grpc=127.0.0.1:1")
