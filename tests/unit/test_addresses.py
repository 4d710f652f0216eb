"""Which URLs are read, and which addresses are public."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.addresses import FileUrl, is_public, read_url
from voice_server.core.errors import BadOption

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.255.255", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1", "::7f00:1", "64:ff9b::7f00:1"),
    *("64:ff9b:1::1", "100::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
    *("2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "2606:4700::1111%1", "5f00::1", "4000::1"),
    *("", "localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.1.1.1 ", "[::1]", "1.1.1.1/8"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_f6_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_f6_any_other_address_is_not(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses())
def test_f6_nothing_that_python_knows_as_special_is_public(address: ipaddress.IPv4Address) -> None:
    special = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
    if is_public(str(address)):
        assert not any(getattr(address, name) for name in special)


@pytest.mark.parametrize("network", ["127.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7"])
@given(data=st.data())
def test_f6_no_disguise_of_a_local_address_is_public(network: str, data: st.DataObject) -> None:
    local = data.draw(st.ip_addresses(network=network))
    assert not is_public(str(local))
    if isinstance(local, ipaddress.IPv4Address):
        for prefix in ("::", "::ffff:", "64:ff9b::"):
            assert not is_public(f"{prefix}{local}")
        assert not is_public(str(ipaddress.IPv6Address(0x2002 << 112 | int(local) << 80)))


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("https://example.com/a.wav", "example.com", "/a.wav"),
        ("HTTPS://Example.COM:443/a.wav?x=%20&y=@b", "example.com", "/a.wav?x=%20&y=@b"),
        ("https://example.com", "example.com", "/"),
        ("https://a.example.com?b", "a.example.com", "/?b"),
        ("https://xn--bcher-kva.example/a//../b", "xn--bcher-kva.example", "/a//../b"),
        ("https://1.2.example.com:443", "1.2.example.com", "/"),
    ],
)
def test_f6_a_url_is_a_host_and_what_is_asked_of_it(url: str, host: str, target: str) -> None:
    assert read_url(url) == FileUrl(host, target)


BAD_URLS = [
    *(
        "",
        "a.wav",
        "/etc/passwd",
        "//example.com/a",
        "file:///etc/passwd",
        "http://example.com/a",
        "ftp://example.com/a",
    ),
    *("gopher://example.com/", "data:audio/wav;base64,AAAA", "https:/example.com", "https:example.com", "https://"),
    *("https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/"),
    *("https://0x7f000001/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://1.1.1.1/", "https://8.8.8.8./"),
    *("https://localhost/", "https://intranet/", "https://example.com./", "https://.example.com/", "https://a..b/"),
    *("https://user@example.com/", "https://user:pass@example.com/", "https://example.com@127.0.0.1/"),
    *("https://example.com:80/", "https://example.com:8443/", "https://example.com:0443/", "https://example.com:/"),
    *("https://bücher.example/", "https://example。com/", "https://ⓔxample.com/", "https://exam_ple.com/"),
    *("https://example.com\\@127.0.0.1/", "https://example.com#@127.0.0.1/", "https://example.com/a#b"),
    *("https://example.com/a b", "https://example.com/\r\nHost: x", "https://example.com/\n", "https://example.com/\0"),
    *(" https://example.com/", "https://exa\tmple.com/", "https://-a.example.com/", "https://example.com/é"),
    *("https://example.com%2f@x.com/", f"https://{'a' * 64}.com/", f"https://{'a.' * 130}com/"),
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("url", [*BAD_URLS, None, 5, True, ["https://example.com/"], b"https://example.com/"])
def test_f6_what_could_mean_something_else_is_no_url(url: object) -> None:
    with pytest.raises(BadOption, match="https://HOST/PATH"):
        read_url(url)
