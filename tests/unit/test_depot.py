"""A node's parcels: whole, shared, within their room; and trays that outlive no worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from voice_server.core.limits import ParcelLimits
from voice_server.pool.cluster.depot import Depot

pytestmark = pytest.mark.anyio

LIMITS = ParcelLimits()


class Content:
    """Counts how often it is fetched."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fetched = 0

    def __await__(self) -> Iterator[None]:
        self.fetched += 1
        yield from asyncio.sleep(0).__await__()
        return self.content  # type: ignore[return-value]  # what a generator returns is what is awaited


def of(content: bytes) -> Awaitable[bytes]:
    return Content(content)  # type: ignore[return-value]


def shelf(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "parcels").iterdir()}


def tray(depot: Depot) -> dict[str, bytes]:
    """By place."""
    folder = Path(depot.landing.tray)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_parcel_is_fetched_once_for_all_workers_of_a_node(tmp_path: Path) -> None:
    depots = [Depot(tmp_path, LIMITS) for _ in range(3)]
    content = Content(b"RIFF")
    for depot in depots:
        await depot.bring("aa.wav", "", content)  # type: ignore[arg-type]
    assert content.fetched == 1
    assert shelf(tmp_path) == {"aa.wav": b"RIFF"}


async def test_workers_that_bring_the_same_parcel_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    depots = [Depot(tmp_path, LIMITS) for _ in range(3)]
    content = os.urandom(2**20)
    places = [f"loras/{number}/lora_config.json" for number in range(4)]
    await asyncio.gather(*(depot.bring("aa.json", place, of(content)) for depot in depots for place in places))
    assert shelf(tmp_path) == {"aa.json": content}
    for depot in depots:
        assert tray(depot) == dict.fromkeys(places, content)


async def test_a_place_in_a_tray_takes_what_is_brought_to_it_last(tmp_path: Path) -> None:
    depot = Depot(tmp_path, LIMITS)
    for name, content in (("aa.py", b"old"), ("bb.py", b"new"), ("bb.py", b"new")):
        await depot.bring(name, "adapter/mine.py", of(content))
    assert tray(depot) == {"adapter/mine.py": b"new"}


async def test_those_used_longest_ago_make_room_with_what_was_learned_of_them(tmp_path: Path) -> None:
    depot = Depot(tmp_path, replace(LIMITS, node_bytes=100))
    now = time.time()  # which files are used
    for ago, name in enumerate(("cc.wav", "bb.wav", "aa.wav"), start=1):
        await depot.bring(name, "", of(bytes(25)))
        os.utime(tmp_path / "parcels" / name, (now - ago, now - ago))
    (tmp_path / "parcels" / "bb.learned.npz").write_bytes(bytes(10))
    os.utime(tmp_path / "parcels" / "bb.learned.npz", (now - 2, now - 2))
    await depot.bring("aa.wav", "", of(b"is there"))
    await depot.bring("dd.wav", "", of(bytes(30)))
    assert sorted(shelf(tmp_path)) == ["aa.wav", "cc.wav", "dd.wav"]


async def test_a_parcel_larger_than_the_room_is_kept_as_long_as_it_is_the_latest(tmp_path: Path) -> None:
    depot = Depot(tmp_path, replace(LIMITS, node_bytes=10))
    for name in ("aa.wav", "bb.wav"):
        await depot.bring(name, "", of(bytes(11)))
    assert sorted(shelf(tmp_path)) == ["bb.wav"]


async def test_what_was_used_long_before_all_others_goes(tmp_path: Path) -> None:
    depot = Depot(tmp_path, replace(LIMITS, node_s=100.0))
    for name in ("aa.wav", "bb.wav"):
        await depot.bring(name, "", of(b"RIFF"))
    used = (tmp_path / "parcels" / "bb.wav").stat().st_mtime
    os.utime(tmp_path / "parcels" / "aa.wav", (used - 101, used - 101))
    Depot(tmp_path, replace(LIMITS, node_s=100.0))
    assert sorted(shelf(tmp_path)) == ["bb.wav"]


async def test_a_forgotten_parcel_takes_what_was_learned_of_it_along(tmp_path: Path) -> None:
    depot = Depot(tmp_path, LIMITS)
    for name in ("aa.wav", "aa.1234.npz", "ab.wav"):
        await depot.bring(name, "", of(b"RIFF"))
    depot.forget(["aa", "none"])
    assert sorted(shelf(tmp_path)) == ["ab.wav"]


async def test_a_tray_holds_its_files_whatever_becomes_of_the_shelf(tmp_path: Path) -> None:
    depot = Depot(tmp_path, LIMITS)
    await depot.bring("aa.py", "adapter/mine.py", of(b"pass"))
    depot.forget(["aa"])
    assert tray(depot) == {"adapter/mine.py": b"pass"}


async def test_the_tray_of_a_worker_is_gone_with_it(tmp_path: Path) -> None:
    depot = Depot(tmp_path, LIMITS)
    await depot.bring("aa.py", "adapter/mine.py", of(b"pass"))
    depot.close()
    assert list((tmp_path / "trays").iterdir()) == []


async def test_a_tray_whose_holder_died_is_swept_and_one_that_is_held_is_not(tmp_path: Path) -> None:
    held = Depot(tmp_path, LIMITS)
    lost = tmp_path / "trays" / "lost"
    (lost / "adapter").mkdir(parents=True)
    lost.with_name("lost.lock").touch()
    Depot(tmp_path, LIMITS).close()
    assert sorted(path.name for path in (tmp_path / "trays").iterdir()) == sorted(
        [Path(held.landing.tray).name, f"{Path(held.landing.tray).name}.lock"]
    )


def test_workers_that_start_at_once_sweep_no_tray_of_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        depots = list(threads.map(lambda _: Depot(tmp_path, LIMITS), range(64)))
    assert all(Path(depot.landing.tray, "loras").is_dir() for depot in depots)


async def test_others_cannot_read_the_recordings_on_a_node(tmp_path: Path) -> None:
    Depot(tmp_path, LIMITS)
    assert [(tmp_path / name).stat().st_mode & 0o077 for name in ("parcels", "trays")] == [0, 0]
