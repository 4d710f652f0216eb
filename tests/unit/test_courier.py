"""In which order a far worker hears what the gateway says, while files are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import eventually
from voice_server.core.limits import ParcelLimits
from voice_server.pool.cluster.courier import Courier, Freight, Undelivered
from voice_server.pool.cluster.parcels import Addresses, Landing, Offers
from voice_server.wire.frames import FrameDecoder
from voice_server.wire.messages import (
    Cancel,
    Cancelled,
    Deadline,
    Failed,
    Finish,
    Hear,
    Listen,
    Load,
    LoadFailed,
    Message,
    Ping,
    Progress,
    Render,
    Stop,
)

pytestmark = pytest.mark.anyio

LIMITS = ParcelLimits(file_bytes=100)
LANDING = Landing("/node/parcels", "/node/trays/a")


class Road:
    """The way to a node, with a gate, and everything that came through it."""

    def __init__(self, folder: Path, limits: ParcelLimits) -> None:
        self.gate = asyncio.Event()
        self.is_free = asyncio.Event()  # of the first frames that come
        self.is_free.set()
        self.sending = 0
        self.is_lost = False
        self.heard: list[Message] = []  # by the worker
        self.answers: list[Message] = []  # to the gateway, in the worker's name
        self.brought: list[Freight] = []
        self._decoder = FrameDecoder()
        addresses, offers = Addresses(folder, LANDING, limits), Offers(bytes, limits)
        self.courier = Courier(addresses, offers, limits, send=self._send, bring=self._bring, say=self.answers.append)

    async def _send(self, frames: bytes) -> None:
        self.sending += 1
        if self.sending == 1:
            await self.is_free.wait()
        self.heard += self._decoder.feed(frames)

    async def _bring(self, freight: Sequence[Freight]) -> None:
        await self.gate.wait()
        if self.is_lost:
            raise Undelivered("no space left on device")
        self.brought += freight

    async def until_heard(self, count: int) -> None:
        await eventually(lambda: len(self.heard) >= count, f"{count} messages came through")

    async def until_answered(self) -> Message:
        await eventually(lambda: bool(self.answers), "there is an answer")
        return self.answers[-1]


@pytest.fixture
async def road(tmp_path: Path, anyio_backend: str) -> Road:
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    return Road(tmp_path, LIMITS)


def cloned(render_id: int, name: str = "voice.wav") -> Render:
    return Render(render_id, "Hi.", "key", sample={"path": name, "transcript": ""})


async def test_what_names_no_file_goes_on_as_it_is_and_in_order(road: Road) -> None:
    said: list[Message] = [Listen(1, {"language": "en"}), Hear(1, 0, bytes(32_000)), Ping(5), Finish(1), Cancel(1)]
    await road.courier.tell(said)
    assert road.heard == said


async def test_a_render_goes_on_when_its_files_are_there_with_the_nodes_path(road: Road) -> None:
    road.gate.set()
    await road.courier.tell([cloned(1)])
    await road.until_heard(1)
    (name, place, content) = road.brought[0]
    (render,) = road.heard
    assert isinstance(render, Render) and render.sample["path"] == f"/node/parcels/{name}"
    assert (place, content) == ("", b"RIFF")


async def test_others_do_not_wait_for_a_render_that_waits_for_its_files(road: Road) -> None:
    others: list[Message] = [Ping(1), Render(2, "Hello.", ""), Cancel(2), Deadline(3, 1.0)]
    await road.courier.tell([cloned(1), *others])
    assert road.heard == others
    road.gate.set()
    await road.until_heard(5)


async def test_a_cancel_does_not_overtake_its_own_render(road: Road) -> None:
    road.gate.set()
    await road.courier.tell([cloned(1)])
    await road.until_heard(1)
    await road.courier.tell([Cancel(1)])
    assert [message.type for message in road.heard] == ["render", "cancel"]


async def test_a_cancel_that_comes_while_its_render_is_sent_waits_for_that(road: Road) -> None:
    road.gate.set()
    road.is_free.clear()
    await road.courier.tell([cloned(1)])
    await eventually(lambda: road.sending == 1, "the render is on its way")
    cancelling = asyncio.create_task(road.courier.tell([Cancel(1)]))
    await asyncio.sleep(0.01)
    road.is_free.set()
    await cancelling
    assert [message.type for message in road.heard] == ["render", "cancel"]


async def test_a_render_that_is_cancelled_while_it_waits_is_let_go_at_once_and_never_heard_of(road: Road) -> None:
    await road.courier.tell([cloned(1), Cancel(1), Ping(1)])
    assert road.answers == [Cancelled(1)]
    road.gate.set()
    await road.courier.tell([cloned(2)])
    await road.until_heard(2)
    assert [message.type for message in road.heard] == ["ping", "render"]
    assert isinstance(road.heard[1], Render) and road.heard[1].render_id == 2


async def test_a_deadline_that_moved_while_the_files_were_on_their_way_is_that_of_the_render(road: Road) -> None:
    await road.courier.tell([cloned(1), Deadline(1, 500.0)])
    road.gate.set()
    await road.until_heard(1)
    (render,) = road.heard
    assert isinstance(render, Render) and 400.0 < render.due_in_s < 500.0


async def test_a_load_waits_for_its_files_and_pings_do_not(road: Road, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("pass")
    await road.courier.tell([Load("mine.py:Mine", "cpu"), Ping(1)])
    assert road.heard == [Ping(1)]
    road.gate.set()
    await road.until_heard(2)
    assert road.heard[1] == Load("/node/trays/a/adapter/mine.py:Mine", "cpu")


async def test_who_is_stopped_gets_nothing_more(road: Road) -> None:
    await road.courier.tell([cloned(1), Stop()])
    road.gate.set()
    await asyncio.sleep(0.1)
    assert (road.heard, road.answers) == ([Stop()], [])


async def test_a_sample_that_is_missing_ends_its_render_alone(road: Road) -> None:
    road.gate.set()
    await road.courier.tell([cloned(1, "nobody.wav"), cloned(2)])
    failed = await road.until_answered()
    assert isinstance(failed, Failed) and (failed.render_id, failed.code, failed.retryable) == (
        1,
        "unknown_voice",
        False,
    )
    await road.until_heard(1)


async def test_a_sample_that_is_too_large_ends_its_render_with_words_and_no_path(road: Road, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(bytes(LIMITS.file_bytes + 1))
    await road.courier.tell([cloned(1, "long.wav")])
    failed = await road.until_answered()
    assert isinstance(failed, Failed) and failed.code == "unknown_voice"
    assert "larger than" in failed.message and str(tmp_path) not in failed.message


async def test_a_lora_that_cannot_travel_is_an_option_that_cannot_be_had(road: Road, tmp_path: Path) -> None:
    road.gate.set()
    (tmp_path / "loras" / "huge").mkdir(parents=True)
    await road.courier.tell([Load("voxcpm:V", "cpu", {"loras": "loras"})])
    await road.until_heard(1)
    (tmp_path / "loras" / "huge" / "lora_weights.ckpt").write_bytes(bytes(LIMITS.file_bytes + 1))
    await road.courier.tell([Render(1, "Hi.", "", {"lora": "huge"})])
    failed = await road.until_answered()
    assert isinstance(failed, Failed) and (failed.code, failed.retryable) == ("bad_option", False)


async def test_a_way_that_fails_ends_the_render_so_that_it_is_tried_elsewhere(road: Road) -> None:
    road.is_lost = True
    road.gate.set()
    await road.courier.tell([cloned(1)])
    failed = await road.until_answered()
    assert failed == Failed(1, "render_failed", "no space left on device", retryable=True)


async def test_a_load_whose_files_cannot_travel_fails_for_good_and_one_whose_way_fails_does_not(
    road: Road, tmp_path: Path
) -> None:
    road.gate.set()
    (tmp_path / "mine.py").write_bytes(bytes(LIMITS.file_bytes + 1))
    await road.courier.tell([Load("mine.py", "cpu")])
    failed = await road.until_answered()
    assert isinstance(failed, LoadFailed) and not failed.retryable
    (tmp_path / "mine.py").write_text("pass")
    road.is_lost = True
    await road.courier.tell([Load("mine.py", "cpu")])
    await eventually(lambda: len(road.answers) == 2, "there is another answer")
    assert road.answers[1] == LoadFailed("no space left on device", retryable=True)


async def test_a_render_that_waits_shows_life_and_fails_when_it_waits_for_too_long(tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    road = Road(tmp_path, replace(LIMITS, fetch_s=0.1, life_s=0.01))
    await road.courier.tell([cloned(1)])
    await eventually(lambda: any(isinstance(answer, Failed) for answer in road.answers), "it fails")
    *life, failed = road.answers
    assert isinstance(failed, Failed) and failed.retryable
    assert life and all(isinstance(sign, Progress) for sign in life)
