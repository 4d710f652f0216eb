"""What messages name, under which names it travels, and that each content is put once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from voice_server.core.limits import ParcelLimits
from voice_server.pool.cluster.parcels import Addresses, Landing, Offers
from voice_server.wire.messages import Cancel, Hear, Load, Message, Ping, Render

LIMITS = ParcelLimits()
LANDING = Landing("/node/parcels", "/node/trays/a")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "adapter").mkdir()
    for name in ("mine.py", "beside.py", "notes.txt"):
        (tmp_path / "adapter" / name).write_text(name)
    for lora in ("calm", "wild"):
        (tmp_path / "loras" / lora).mkdir(parents=True)
        for name in ("lora_config.json", "lora_weights.safetensors", "optimizer.pth"):
            (tmp_path / "loras" / lora / name).write_text(lora + name)
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    return tmp_path


def _travels(addresses: Addresses, message: Message) -> tuple[Message, list[str]]:
    """The message as it arrives, and where its files are then; a hash is the name of what was hashed."""
    parcels = addresses.parcels(message)
    digests = {parcel: parcel.source.name.partition(".")[0] for parcel in parcels}
    places = [parcel.place or parcel.name(digests[parcel]) for parcel in parcels]
    return addresses.addressed(message, digests), places


def test_an_adapters_file_travels_with_the_modules_beside_it(here: Path) -> None:
    load, places = _travels(Addresses(here, LANDING, LIMITS), Load(f"{here}/adapter/mine.py:Mine", "cpu"))
    assert load == Load("/node/trays/a/adapter/mine.py:Mine", "cpu")
    assert places == ["adapter/beside.py", "adapter/mine.py"]


def test_a_path_that_is_relative_begins_where_the_gateway_was_started(here: Path) -> None:
    load, _ = _travels(Addresses(here, LANDING, LIMITS), Load("adapter/mine.py", "cpu"))
    assert load == Load("/node/trays/a/adapter/mine.py", "cpu")


def test_a_module_of_a_package_does_not_travel(here: Path) -> None:
    load = Load("voice_server.backends.tone:ToneBackend", "cpu", {"model": str(here)})
    addresses = Addresses(here, LANDING, LIMITS)
    assert not addresses.names_files(load) and addresses.parcels(load) == []


def test_what_is_not_here_is_told_as_it_was(here: Path) -> None:
    load = Load("/nowhere/mine.py:Mine", "cpu", {"loras": "/nowhere/loras"})
    assert _travels(Addresses(here, LANDING, LIMITS), load) == (load, [])


def test_an_adapter_in_a_folder_of_a_whole_project_does_not_travel(here: Path) -> None:
    with pytest.raises(OSError, match="a folder of its own"):
        Addresses(here, LANDING, replace(LIMITS, beside=1)).parcels(Load(f"{here}/adapter/mine.py", "cpu"))


def test_a_folder_of_loras_travels_without_what_a_training_left_there(here: Path) -> None:
    load, places = _travels(Addresses(here, LANDING, LIMITS), Load("voxcpm:V", "cpu", {"loras": "loras", "seed": 1}))
    assert load == Load("voxcpm:V", "cpu", {"loras": "/node/trays/a/loras", "seed": 1})
    names = ("lora_config.json", "lora_weights.safetensors")
    assert places == [f"loras/{lora}/{name}" for lora in ("calm", "wild") for name in names]


def test_a_lora_that_was_dropped_into_the_folder_later_travels_with_its_render(here: Path) -> None:
    addresses = Addresses(here, LANDING, LIMITS)
    addresses.parcels(Load("voxcpm:V", "cpu", {"loras": "loras"}))
    (here / "loras" / "new").mkdir()
    (here / "loras" / "new" / "lora_config.json").write_text("{}")
    render = Render(1, "Hi.", "", {"lora": "new"})
    assert _travels(addresses, render) == (render, ["loras/new/lora_config.json"])


@pytest.mark.parametrize("name", ["../adapter", "/etc", "", ".", "calm/..", 5, "a" * 65, "x\0"])
def test_what_a_client_calls_a_lora_leads_nowhere_else(here: Path, name: object) -> None:
    addresses = Addresses(here, LANDING, LIMITS)
    addresses.parcels(Load("voxcpm:V", "cpu", {"loras": "loras"}))
    render = Render(1, "Hi.", "", {"lora": name})
    assert not addresses.names_files(render) and addresses.parcels(render) == []


def test_a_sample_goes_by_its_content_and_keeps_its_words(here: Path) -> None:
    render = Render(1, "Hi.", "key", sample={"path": f"{here}/voice.wav", "transcript": "Hum."})
    arrived, places = _travels(Addresses(here, LANDING, LIMITS), render)
    assert arrived == replace(render, sample={"path": "/node/parcels/voice.wav", "transcript": "Hum."})
    assert places == ["voice.wav"]


@pytest.mark.parametrize("message", [Render(1, "Hi.", "", {"lora": "calm"}), Cancel(1), Ping(1), Hear(1, 0, b"\0\0")])
def test_most_messages_name_no_file(here: Path, message: Message) -> None:
    assert not Addresses(here, LANDING, LIMITS).names_files(message)


@pytest.fixture
def contents() -> list[bytes]:
    """All that was put."""
    return []


Opened = Callable[..., Offers[int]]


@pytest.fixture
def opened(contents: list[bytes]) -> Opened:
    def put(content: bytes) -> int:
        contents.append(content)
        return len(contents)

    return lambda **limits: Offers(put, replace(LIMITS, **limits))


def test_a_file_is_put_once_while_it_stays_as_it_is(opened: Opened, contents: list[bytes], here: Path) -> None:
    offers = opened()
    digest = hashlib.sha256(b"RIFF").hexdigest()
    assert [offers.offer(here / "voice.wav") for _ in range(3)] == [(digest, 1)] * 3
    assert contents == [b"RIFF"]


def test_the_same_content_in_two_files_is_put_once(opened: Opened, contents: list[bytes], here: Path) -> None:
    offers = opened()
    (here / "twin.wav").write_bytes(b"RIFF")
    assert offers.offer(here / "twin.wav") == offers.offer(here / "voice.wav")
    assert contents == [b"RIFF"]


def test_a_file_that_was_replaced_is_another_parcel(opened: Opened, contents: list[bytes], here: Path) -> None:
    offers = opened()
    offers.offer(here / "voice.wav")
    (here / "draft").write_bytes(b"FFIR")
    os.replace(here / "draft", here / "voice.wav")
    assert offers.offer(here / "voice.wav") == (hashlib.sha256(b"FFIR").hexdigest(), 2)
    assert contents == [b"RIFF", b"FFIR"]


def test_what_was_offered_longest_ago_makes_room_and_is_put_anew(
    opened: Opened, contents: list[bytes], here: Path
) -> None:
    offers = opened(offered_bytes=9)
    for name in ("one", "two", "six", "one"):
        (here / name).write_bytes(name.encode())
        offers.offer(here / name)
    assert contents == [b"one", b"two", b"six"]
    (here / "ten").write_bytes(b"ten")
    offers.offer(here / "ten")
    offers.offer(here / "two")
    assert contents == [b"one", b"two", b"six", b"ten", b"two"]


@pytest.mark.parametrize("name", ["nothing", "pipe", "folder", "large"])
def test_what_is_no_plain_file_of_the_allowed_size_is_not_offered(
    opened: Opened, contents: list[bytes], tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError):
        opened(file_bytes=10).offer(tmp_path / name)
    assert contents == []


def test_a_file_that_vanished_is_told_once_and_its_twin_keeps_it(opened: Opened, here: Path) -> None:
    offers = opened()
    (here / "twin.wav").write_bytes(b"RIFF")
    digest, _ = offers.offer(here / "voice.wav")
    offers.offer(here / "twin.wav")
    (here / "voice.wav").unlink()
    assert offers.vanished() == []
    (here / "twin.wav").unlink()
    assert [offers.vanished(), offers.vanished()] == [[digest], []]


def test_a_file_that_came_back_is_offered_again(opened: Opened, contents: list[bytes], here: Path) -> None:
    offers = opened()
    first = offers.offer(here / "voice.wav")
    (here / "voice.wav").unlink()
    offers.vanished()
    with pytest.raises(FileNotFoundError):
        offers.offer(here / "voice.wav")
    (here / "voice.wav").write_bytes(b"RIFF")
    assert offers.offer(here / "voice.wav") == (first[0], 2)
    assert contents == [b"RIFF", b"RIFF"]


def test_no_more_files_are_remembered_than_the_limit_says(opened: Opened, contents: list[bytes], here: Path) -> None:
    offers = opened(known=2)
    for number in range(4):
        (here / str(number)).write_bytes(b"the same")
        offers.offer(here / str(number))
    for number in range(4):
        (here / str(number)).unlink()
    assert len(offers.vanished()) == 1, "told by those that are remembered"
    assert contents == [b"the same"]
