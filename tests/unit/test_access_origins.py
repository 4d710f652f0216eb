"""Which pages may come in, and under which names: rows A3, A4 and A5 as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.errors import ForeignOrigin, UnknownHost
from voice_server.gateway.access.origins import Origins
from voice_server.gateway.security import InsecureBind, check_bind

HERE = "localhost:8000"


def verdict(origins: Origins, host: str, origin: str | None = None, *, is_guarded: bool = False) -> str:
    try:
        origins.check(host, origin, is_guarded=is_guarded)
    except (UnknownHost, ForeignOrigin) as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HERE, "http://localhost:8000"),
        (HERE, "HTTP://LocalHost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("voice.lan.local", "http://voice.lan.local"),
        ("box", "https://box:443"),
        ("box:80", "http://box"),
        (HERE, None),
    ],
)
def test_a3_a_page_of_this_server_and_a_program_come_in(host: str, origin: str | None) -> None:
    assert verdict(Origins(), host, origin) == ""


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8000",
        "https://localhost.evil.example:8000",
        "http://localhost:8000@evil.example",
        "http://evil.example#localhost:8000",
        "http://[::1",
        "ftp://localhost:8000",
        "file://",
        "chrome-extension://abc",
        "null",
        "NULL",
        "",
    ],
)
@pytest.mark.parametrize("is_guarded", [False, True])
def test_a3_a_page_from_elsewhere_stays_outside_with_a_token_too(origin: str, is_guarded: bool) -> None:
    assert verdict(Origins(), HERE, origin, is_guarded=is_guarded) == "foreign_origin"


def test_a3_a_page_that_was_named_comes_in_and_its_neighbour_does_not() -> None:
    origins = Origins.of(["https://Page.example/", "null"])
    assert [verdict(origins, HERE, page) for page in ("https://page.example", "null")] == ["", ""]
    others = ("http://page.example", "https://page.example:444", "https://x.page.example")
    assert {verdict(origins, HERE, page) for page in others} == {"foreign_origin"}
    assert verdict(Origins.of(["*"]), HERE, "https://any.example") == ""


def test_a3_behind_a_proxy_the_name_that_people_type_is_a_page_of_this_server() -> None:
    origins = Origins.of(hosts=["voice.example"])
    assert verdict(origins, "127.0.0.1:8000", "https://voice.example") == ""
    assert verdict(origins, "127.0.0.1:8000", "https://other.example") == "foreign_origin"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        HERE,
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "[::1]:8000",
        "192.168.1.7:8000",
        "box",
        "box.local",
        "box.home.arpa:80",
        "voice.svc.internal",
        "",
    ],
)
def test_a4_names_that_nobody_outside_can_own_lead_in(host: str) -> None:
    assert verdict(Origins(), host) == ""


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "evil.example.",
        "localhost.evil.example",
        "notlocal.com",
        "x/health?",
        "a b",
        "user@localhost",
        "[::1",
        "localhost:port",
        "::1",
        "localhost:8000:1",
    ],
)
def test_a4_a_name_that_was_made_to_lead_here_does_not(host: str) -> None:
    assert verdict(Origins(), host) == "unknown_host"


def test_a4_where_a_token_is_wanted_any_name_leads_in_until_the_operator_says_which() -> None:
    named = Origins.of(hosts=["Voice.Example."])
    assert verdict(Origins(), "any.example", is_guarded=True) == ""
    hosts = ("voice.example", "voice.example:8000", "127.0.0.1", "any.example")
    assert [verdict(named, host, is_guarded=True) for host in hosts] == ["", "", "", "unknown_host"]
    assert [verdict(named, host) for host in hosts] == ["", "", "", "unknown_host"]


def test_a4_the_name_that_the_server_was_told_to_listen_on_leads_in() -> None:
    assert verdict(Origins.of(bound="voice.example"), "voice.example:8000") == ""


@given(st.text(max_size=80), st.text(max_size=80) | st.none())
def test_a3_a4_any_headers_get_a_verdict(host: str, origin: str | None) -> None:
    assert verdict(Origins.of(["https://a.example"], ["b.example"]), host, origin) in {
        "",
        "unknown_host",
        "foreign_origin",
    }


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "box"])
def test_a5_nobody_listens_on_the_network_without_a_token_unless_it_is_meant(host: str) -> None:
    with pytest.raises(InsecureBind, match=r"VOICE_SERVER_TOKEN.*--tokens FILE.*--insecure"):
        check_bind(host, is_guarded=False, insecure=False)
    check_bind(host, is_guarded=True, insecure=False)
    check_bind(host, is_guarded=False, insecure=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_a5_this_machine_needs_no_token(host: str) -> None:
    check_bind(host, is_guarded=False, insecure=False)
