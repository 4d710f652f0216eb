"""F6: what a client can make the server fetch. Real TLS and HTTP; the resolver's answers are the test's."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from dataclasses import replace

import pytest

from tests.harness import eventually
from tests.internet import HOST, PUBLIC, Internet, Serve, answer, endless, internet
from voice_server.core.addresses import FileUrl, read_url
from voice_server.core.doors.limits import PromptLimits
from voice_server.core.errors import BadOption
from voice_server.gateway.fetching import Fetcher

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

URL = FileUrl(HOST, "/a.wav?b=c")
OK = b"HTTP/1.1 200 OK\r\n"
HASTY = replace(PromptLimits(), total_s=0.5)
PRIVATE = ["127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "fd00::1"]


def fetcher(net: Internet, limits: PromptLimits = PromptLimits()) -> Fetcher:  # noqa: B008  # frozen
    return Fetcher(limits, net.resolve, net, net.tls)


async def refusal(serve: Serve, limits: PromptLimits = PromptLimits(), host: str = HOST) -> str:  # noqa: B008
    async with internet(serve, host) as net:
        with pytest.raises(BadOption) as refused:
            await fetcher(net, limits).fetch(URL)
    return refused.value.message


async def test_f6_a_file_is_fetched_from_the_address_that_was_checked_in_the_name_of_its_host() -> None:
    async with internet(answer(b"sound")) as net:
        assert await fetcher(net).fetch(URL) == b"sound"
    assert (net.questions, net.connected, net.names) == ([HOST], [(PUBLIC, 443)], [HOST])
    head = net.requests[0].lower()
    assert head.startswith(b"get /a.wav?b=c http/1.1\r\n")
    assert b"\r\nhost: files.example.com\r\n" in head and b"\r\naccept-encoding: identity\r\n" in head
    assert b"cookie" not in head and b"authorization" not in head


@pytest.mark.parametrize("address", PRIVATE)
async def test_f6_a_host_that_leads_to_a_private_address_is_never_called(address: str) -> None:
    async with internet(answer(b"secret")) as net:
        for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
            net.answers = [addresses]
            with pytest.raises(BadOption, match="no address on the public internet"):
                await fetcher(net).fetch(URL)
    assert (net.connected, net.requests) == ([], [])


async def test_f6_a_host_that_changes_its_mind_is_asked_once() -> None:
    async with internet(answer(b"sound")) as net:
        net.answers = [[PUBLIC], ["127.0.0.1"]]
        assert await fetcher(net).fetch(URL) == b"sound"
        assert net.connected == [(PUBLIC, 443)]
        with pytest.raises(BadOption):
            await fetcher(net).fetch(URL)
    assert net.connected == [(PUBLIC, 443)]


async def test_f6_an_unknown_host_is_told_like_a_private_one() -> None:
    async with internet(answer(b"sound")) as net:
        net.answers = [[]]
        with pytest.raises(BadOption) as unknown:
            await fetcher(net).fetch(URL)
        net.answers = [["10.0.0.1"]]
        with pytest.raises(BadOption) as private:
            await fetcher(net).fetch(URL)
    assert unknown.value.message == private.value.message


async def test_f6_of_several_addresses_one_that_answers_is_enough() -> None:
    async with internet(answer(b"sound")) as net:
        net.answers, net.dead = [["2606:4700::1111", PUBLIC]], ["2606:4700::1111"]
        assert await fetcher(net).fetch(URL) == b"sound"
    assert net.connected == [("2606:4700::1111", 443), (PUBLIC, 443)]


@pytest.mark.parametrize("where", ["https://169.254.169.254/", "https://files.example.com/b", "http://127.0.0.1/"])
async def test_f6_a_redirect_is_not_followed(where: str) -> None:
    async with internet(answer(b"", "302 Found", location=where)) as net:
        with pytest.raises(BadOption, match="answered 302: name the address of the file itself"):
            await fetcher(net).fetch(URL)
    assert len(net.requests) == len(net.questions) == 1


async def test_f6_a_certificate_is_for_the_host_that_was_named() -> None:
    assert "could not be reached by HTTPS" in await refusal(answer(b"sound"), host="other.example.com")


async def test_f6_the_authorities_are_the_systems_unless_told_otherwise() -> None:
    async with internet(answer(b"sound")) as net:
        with pytest.raises(BadOption, match="could not be reached by HTTPS"):
            await Fetcher(PromptLimits(), net.resolve, net).fetch(URL)
    assert net.requests == []


async def test_f6_a_body_that_says_it_is_too_large_is_not_read() -> None:
    serve = answer(b"", content_length=10 * 2**20 + 1)
    assert await refusal(serve) == "it is larger than 10 MiB: shorten it"


async def test_f6_an_endless_body_costs_no_more_memory_than_it_may() -> None:
    tracemalloc.start()
    try:
        told = await refusal(endless(bytes(2**20)), replace(PromptLimits(), total_s=60.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert told == "it is larger than 10 MiB: shorten it"
    assert peak < 40 * 2**20


@pytest.mark.parametrize(
    "serve",
    [endless(b"x", 0.02), endless(b"", 0.02)],
    ids=["a byte at a time", "silence"],
)
async def test_f6_who_is_slow_is_given_up(serve: Serve) -> None:
    assert await refusal(serve, HASTY) == "it did not come within 0.5 s"


async def test_f6_a_server_that_never_answers_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert await refusal(serve, HASTY) == "it did not come within 0.5 s"


async def test_f6_interim_answers_without_an_end_are_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert await refusal(serve, HASTY) == "it did not come within 0.5 s"


async def test_f6_name_servers_that_never_answer_are_given_up() -> None:
    async def resolve(host: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(BadOption, match=r"within 0\.5 s"):
        await Fetcher(HASTY, resolve).fetch(URL)


async def test_f6_what_comes_compressed_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(2**24))
    assert "came compressed" in await refusal(answer(bomb, content_encoding="gzip"))


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
    ],
    ids=["a head without an end", "another protocol", "a body that breaks off"],
)
async def test_f6_what_is_no_answer_is_refused(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    assert "broke off" in await refusal(serve)


async def test_f6_who_does_not_wait_any_more_closes_the_connection() -> None:
    has_ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        has_ended.set()

    async with internet(serve) as net:
        fetching = asyncio.create_task(fetcher(net).fetch(URL))
        await eventually(lambda: bool(net.requests), "it is asked")
        fetching.cancel()
        await asyncio.wait_for(has_ended.wait(), 20)
    assert fetching.cancelled()


async def test_f6_the_systems_own_resolver_is_checked_too() -> None:
    """The name is one that no URL may hold, and that leads home on every machine."""
    async with internet(answer(b"secret")) as net:
        with pytest.raises(BadOption, match="no address on the public internet"):
            await Fetcher(PromptLimits(), net=net, tls=net.tls).fetch(FileUrl("localhost", "/"))
    assert net.connected == []


def test_f6_a_url_names_no_other_scheme_port_or_user() -> None:
    for url in ("http://files.example.com/", "https://files.example.com:8443/", "https://a@files.example.com/"):
        with pytest.raises(BadOption):
            read_url(url)
