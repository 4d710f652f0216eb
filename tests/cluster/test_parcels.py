"""Files of the gateway's machine that workers on nodes need: they arrive by content, and nothing else is read there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cluster.conftest import START_S, Nodes, Serving, all_ready
from tests.harness import ask, cloned_tone_bytes, eventually, hum_wav, tone_bytes, voice_store
from voice_server.core.options import OptionSpec
from voice_server.core.settings import Resources, VenvSpec
from voice_server.venvs import VenvStore, default_home
from voice_server.voices import VoiceStore

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.timeout(400)]

OWN = """
from pathlib import Path

import beside
from voice_server.backends.tone import ToneBackend
from voice_server.worker.adapter import BackendError


class Own(ToneBackend):
    def __init__(self, device, loras=""):
        super().__init__(device)
        self._loras = Path(loras)

    def voices(self):
        return ["tone", __file__, beside.__file__]

    def prepare_voice(self, voice, sample_path, transcript):
        raise BackendError("unknown_voice", sample_path)

    def render(self, text, voice, *, lora=""):
        if lora:
            raise BackendError("bad_option", (self._loras / lora / "lora_config.json").read_text())
        return super().render(text, voice)
"""


@pytest.fixture(scope="module", autouse=True)
def node_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of all nodes here, with the environments that there are."""
    home = tmp_path_factory.mktemp("node")
    environments = default_home(os.environ).absolute() / "venvs"
    environments.mkdir(parents=True, exist_ok=True)
    (home / "venvs").symlink_to(environments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOICE_SERVER_HOME", str(home))
        yield home


def drop(folder: Path, name: str, pitch_hz: float) -> VoiceStore:
    (folder / f"{name}.wav").write_bytes(hum_wav(pitch_hz=pitch_hz))
    store = voice_store(folder)
    store.scan()
    return store


def parcel(home: Path, store: VoiceStore, name: str) -> Path:
    """Where a node keeps the sample of a voice."""
    return home / "parcels" / f"{hashlib.sha256(store.samples[name].path.read_bytes()).hexdigest()}.wav"


async def test_a_cloned_voice_speaks_on_a_node_from_a_file_of_the_nodes_own(
    serving: Serving, tmp_path: Path, node_home: Path
) -> None:
    store = drop(tmp_path, "ada", 311.0)
    assert not parcel(node_home, store, "ada").exists()
    async with serving(workers=1, voices=store) as server:
        answer = await ask(server.ws, {"voice": "ada", "token": "Two words.", "done": True})
    assert answer.audio == cloned_tone_bytes(store.samples["ada"], "Two words.")
    assert parcel(node_home, store, "ada").read_bytes() == store.samples["ada"].path.read_bytes()


@pytest.mark.release
async def test_two_workers_that_ask_for_a_voice_at_once_share_one_file(
    serving: Serving, tmp_path: Path, node_home: Path
) -> None:
    store = drop(tmp_path, "ada", 317.0)
    texts = [f"This is sentence number {number} of the same voice." for number in range(6)]
    async with serving(workers=2, voices=store, speed_rtf=0.3) as server:
        answers = await asyncio.gather(
            *(ask(server.ws, {"voice": "ada", "token": text, "done": True}) for text in texts)
        )
    assert [answer.audio for answer in answers] == [cloned_tone_bytes(store.samples["ada"], text) for text in texts]
    assert len({told["worker"] for answer in answers for told in answer.of_type("generating")}) == 2
    kept = parcel(node_home, store, "ada")
    assert list(kept.parent.glob(f"{kept.stem}*")) == [kept], "one file, no drafts"


@pytest.mark.release
async def test_a_worker_that_starts_later_finds_what_was_brought_before(
    serving: Serving, tmp_path: Path, node_home: Path
) -> None:
    store = drop(tmp_path, "ada", 331.0)
    inodes = []
    for _ in range(2):
        async with serving(workers=1, voices=store) as server:
            answer = await ask(server.ws, {"voice": "ada", "token": "Again.", "done": True})
        assert answer.audio == cloned_tone_bytes(store.samples["ada"], "Again.")
        inodes.append(parcel(node_home, store, "ada").stat().st_ino)
    assert len(set(inodes)) == 1


@pytest.mark.release
async def test_a_sample_that_was_replaced_and_one_that_came_back_are_heard(serving: Serving, tmp_path: Path) -> None:
    store = drop(tmp_path, "ada", 337.0)
    async with serving(workers=1, voices=store) as server:
        for pitch_hz in (337.0, 401.0, 337.0):
            (tmp_path / "ada.wav").unlink()
            store.scan()
            (tmp_path / "ada.wav").write_bytes(hum_wav(pitch_hz=pitch_hz))
            store.scan()
            answer = await ask(server.ws, {"voice": "ada", "token": "Who is it?", "done": True})
            assert answer.audio == cloned_tone_bytes(store.samples["ada"], "Who is it?")


@pytest.mark.release
async def test_a_voice_that_was_taken_away_is_gone_from_the_nodes(
    serving: Serving, tmp_path: Path, node_home: Path
) -> None:
    store = drop(tmp_path, "ada", 347.0)
    kept = parcel(node_home, store, "ada")
    async with serving(workers=1, voices=store) as server:
        await ask(server.ws, {"voice": "ada", "token": "Goodbye.", "done": True})
        learned = kept.with_name(f"{kept.stem}.learned.npz")
        learned.touch()
        (tmp_path / "ada.wav").unlink()
        store.scan()
        await eventually(lambda: not kept.exists() and not learned.exists(), "the node has forgotten it", START_S)


async def test_a_file_that_is_missing_ends_its_sentence_and_nothing_else(serving: Serving, tmp_path: Path) -> None:
    store = drop(tmp_path, "ada", 353.0)
    async with serving(workers=1, voices=store) as server:
        (slot,) = server.backend.pool.slots
        store.samples["ada"].path.unlink()  # behind the back of the store
        answer = await ask(server.ws, {"voice": "ada", "token": "Nobody says this.", "done": True})
        assert (answer.codes, answer.audio) == (["unknown_voice"], b"")
        assert "add the voice again" in answer.of_type("error")[0]["msg"]
        assert (await ask(server.ws, {"token": "Still here.", "done": True})).audio == tone_bytes("Still here.")
        assert server.backend.pool.slots[0].pid == slot.pid


async def test_an_adapter_of_ones_own_travels_with_its_neighbour_its_loras_and_its_samples(
    serving: Serving, tmp_path: Path, node_home: Path
) -> None:
    folders = own, loras, voices = [tmp_path / name for name in ("own", "loras", "voices")]
    for folder in folders:
        folder.mkdir()
    (own / "mine.py").write_text(OWN)
    (own / "beside.py").touch()
    store = drop(voices, "ada", 359.0)
    opts = {"lora": OptionSpec(type="str", max=64)}
    changes = {"adapter": f"{own}/mine.py:Own", "options": {"loras": str(loras)}, "opts": opts}
    async with serving(workers=1, voices=store, changes=changes) as server:
        ready = server.backend.pool.ready
        assert ready is not None
        assert all(voice.startswith(f"{node_home}/trays/") for voice in ready.voices[1:])
        answer = await ask(server.ws, {"token": "My own.", "done": True})
        assert answer.audio == tone_bytes("My own.")
        cloned = await ask(server.ws, {"voice": "ada", "token": "Where am I?", "done": True})
        assert [told["msg"] for told in cloned.of_type("error")] == [str(parcel(node_home, store, "ada"))]
        (loras / "calm").mkdir()  # while it runs
        for content in ("the first", "the second"):
            (loras / "calm" / "lora_config.json").write_text(content)
            told = await ask(server.ws, {"opts": {"lora": "calm"}, "token": "Calm.", "done": True})
            assert [error["msg"] for error in told.of_type("error")] == [content]
    await eventually(lambda: not any((node_home / "trays").glob("*/adapter")), "the tray is gone with its worker")


@pytest.mark.release
async def test_what_a_worker_learns_is_kept_in_the_cache_of_its_node(
    nodes: Nodes, serving: Serving, node_home: Path
) -> None:
    async with serving(workers=1) as server:
        (slot,) = server.backend.pool.slots
        assert psutil.Process(slot.pid).environ()["VOICE_SERVER_CACHE"] == str(node_home)


async def test_who_waits_for_a_node_with_room_says_so_until_there_is_one(nodes: Nodes, serving: Serving) -> None:
    waits = "waits for a node with room: 1 CPU, 1 licence"
    async with serving(workers=1, wait=False, changes={"resources": Resources(custom={"licence": 1.0})}) as server:
        await eventually(lambda: server.backend.pool.slots[0].detail == waits, "it says so")
        async with httpx.AsyncClient(base_url=server.http) as http:
            ready, status = await http.get("/ready"), (await http.get("/status")).json()
        assert ready.status_code == 503 and waits in ready.text
        assert status["backends"][0]["workers"][0]["stage"] == waits
        nodes.cluster.add_node(num_cpus=1, resources={"licence": 1}, include_dashboard=False)
        await all_ready(server)


@pytest.fixture
def never_built(node_home: Path) -> Iterator[VenvSpec]:
    """An environment that no node has yet."""
    spec = VenvSpec(python=sys.executable, requirements=(f"msgpack!=0.0.{os.getpid()}",))
    yield spec
    folder = VenvStore(node_home).folder(spec)
    shutil.rmtree(folder)
    folder.with_name(f"{folder.name}.lock").unlink()


@pytest.mark.release
async def test_a_node_that_builds_an_environment_tells_what_it_is_doing(
    serving: Serving, never_built: VenvSpec
) -> None:
    builds = f"builds its environment on {socket.gethostname()}: "
    async with serving(workers=1, wait=False, changes={"venv": never_built}) as server:
        told: set[str] = set()

        def is_ready() -> bool:
            (slot,) = server.backend.pool.slots
            told.add(slot.detail)
            return slot.state == "ready"

        await eventually(is_ready, "the environment is built and the worker speaks", START_S)
    assert any(stage.startswith(builds) and len(stage) > len(builds) for stage in told), told
