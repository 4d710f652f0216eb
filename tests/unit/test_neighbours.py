from __future__ import annotations

import pytest

from voice_server.__main__ import _parser
from voice_server.core.neighbours import parse_name, parse_proxy


@pytest.mark.parametrize("name", ["a", "7", "gateway-1", "Voice_2", "a" * 63])
def test_a_gateway_has_a_name_that_a_balancer_can_read(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a.b", "a b", "ä", "a\n", "a" * 64, "%[src]"])
def test_no_name_of_a_gateway_has_a_dot_or_a_sign(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a gateway"):
        parse_name(name)


@pytest.mark.parametrize("proxy", ["10.0.0.7", "10.0.0.0/24", "::1", "fd00::/8"])
def test_a_proxy_is_an_address_or_a_network(proxy: str) -> None:
    assert parse_proxy(proxy) == proxy


@pytest.mark.parametrize("proxy", ["", "*", "proxy", "10.0.0", "10.0.0.7/24", "10.0.0.0/33", "10.0.0.1:80"])
def test_a_proxy_is_not_everybody_nor_a_name(proxy: str) -> None:
    with pytest.raises(ValueError, match="is not an address or a network"):
        parse_proxy(proxy)


def test_nobody_is_a_proxy_unless_the_operator_says_so() -> None:
    assert _parser().parse_args([]).trusted_proxy == []


def test_a_wrong_proxy_is_refused_with_what_would_be_right(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["--trusted-proxy", "proxy.example"])
    assert "as in 10.0.0.7 or 10.0.0.0/24" in capsys.readouterr().err
