"""F7: a disk that is full, read-only or gone takes nothing from those who listen; only what has to write fails."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.audited import audited
from tests.e2e.voice_desk import VOICES, code_of, desk
from tests.harness import (
    FAST,
    TIMEOUT_S,
    ask,
    cloned_tone_bytes,
    hum_wav,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
    voice_store,
    wait_until,
)
from tests.server_process import HOME, server_process
from voice_server import assembly
from voice_server.core.errors import StorageFull
from voice_server.core.limits import VoiceLimits
from voice_server.studio.clean import clean_file
from voice_server.voices import VoiceStore

pytestmark = pytest.mark.anyio

TEXT = "Hello there. How are you today?"
SENTENCES = ("Hello there.", "How are you today?")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only an administrator can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def upload(sound: bytes = b"", **fields: str) -> dict[str, Any]:
    return {"data": {"name": "ada", **fields}, "files": {"audio_sample": ("me.wav", sound or hum_wav())}}


async def test_f7_whoever_listens_makes_nobody_write(tone_python: Path, tmp_path: Path) -> None:
    (tmp_path / "voice_samples").mkdir()
    (tmp_path / "voice_samples" / "ada.wav").write_bytes(hum_wav())
    with audited(tmp_path, tone_python) as house:
        house.server.wait_ready()
        before = len(house.touches())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.server.port}", timeout=TIMEOUT_S) as client:
            for voice in ("tone", "ada"):
                answer = await ask(house.server.ws, {"voice": voice, "token": TEXT, "done": True})
                assert answer.audio and not answer.codes
                body = {"model": "tts-1", "input": TEXT, "voice": voice, "response_format": "mp3"}
                assert (await client.post("/v1/audio/speech", json=body)).status_code == 200
            assert (await client.post("/tts", json={"text": TEXT})).content[44:] == tone_bytes(*SENTENCES)
            assert (await client.get("/metrics")).status_code == 200
        touches = house.touches()[before:]
    assert [touch for touch in touches if touch.writes] == []
    assert {touch.who for touch in touches} == {"gateway", "worker"}  # the sample was read: touches are seen


async def test_f7_where_no_file_may_grow_an_upload_fails_alone_and_is_taken_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with server_process(tmp_path) as server:
        server.wait_ready()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=TIMEOUT_S) as client:
            usual = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            assert code_of(await client.post(VOICES, **upload())) == (507, "storage_full")
            assert os.listdir(tmp_path / "voice_samples") == []
            assert (await ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(*SENTENCES)
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, usual)
            assert (await client.post(VOICES, **upload())).status_code == 200
            assert (await client.delete(f"{VOICES}/ada")).status_code == 200


async def test_f7_a_full_disk_refuses_uploads_while_a_stream_goes_on(tone_python: Path, small_disk: Path) -> None:
    async with desk(tone_python, small_disk) as at, websockets.connect(f"{at.server.ws}/stream-tokens") as ws:
        (small_disk / "filler").write_bytes(bytes(900 * 1024))
        await say(ws, {"token": SENTENCES[0] + " "})
        assert code_of(await at.upload(hum_wav(10.0))) == (507, "storage_full")
        await say(ws, {"token": SENTENCES[1], "done": True})
        answer = await read_answer(ws)
        assert answer.audio == tone_bytes(*SENTENCES)
        assert [name for name in at.files() if name != "filler"] == []
        preview = await at.client.get(f"{VOICES}/tone/preview")
        assert preview.status_code == 200  # previews are kept in memory


def test_f7_a_disk_too_full_for_a_clean_copy_keeps_the_recording_out(small_disk: Path) -> None:
    store = voice_store(small_disk)
    with pytest.raises(StorageFull, match="no space is left"):
        store.add("ada", hum_wav(), ".wav")
    assert not list(small_disk.rglob("*.wav"))


def test_f7_a_copy_that_the_studio_cannot_write_is_no_fault_of_the_recording(tmp_path: Path) -> None:
    (tmp_path / "ada.wav").write_bytes(hum_wav())
    verdict = clean_file(str(tmp_path / "ada.wav"), "/dev/full", 1.0, 30.0)
    assert verdict == {"unwritten": "No space left on device"}
    store = VoiceStore(tmp_path, VoiceLimits(), lambda *_: json.dumps(verdict).encode(), tmp_path / "home")
    with pytest.raises(StorageFull, match="make room for it"):
        store.add("bob", hum_wav(pitch_hz=300.0), ".wav")
    store.scan()
    assert "make room for it" in store.problems["ada.wav"]


@pytest.fixture
def read_only(small_disk: Path) -> Path:
    """With one recording on it."""
    (small_disk / "ada.wav").write_bytes(hum_wav())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    return small_disk


async def test_f7_a_read_only_folder_of_samples_has_voices_that_stay(
    tone_python: Path, read_only: Path, tmp_path: Path
) -> None:
    home = {**os.environ, "VOICE_SERVER_HOME": str(tmp_path / "home")}
    store = assembly.voice_store(read_only, FAST.voices, home)
    await asyncio.to_thread(store.scan)
    async with running_server(tone_config(), tone_python, voices=store) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as client:
            other = upload(hum_wav(pitch_hz=300.0), name="bob")
            assert code_of(await client.post(VOICES, **other)) == (507, "storage_full")
            assert code_of(await client.delete(f"{VOICES}/ada")) == (507, "storage_full")
        answer = await ask(server.ws, {"voice": "ada", "token": TEXT, "done": True})
    assert answer.audio == cloned_tone_bytes(store.samples["ada"], *SENTENCES)


def test_f7_a_log_on_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voice_server", "--backend", "tone", "--port", str(port), "--log-level", "debug"]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(command, stderr=full, env={**os.environ, "PYTHONPATH": str(HOME)}, cwd=tmp_path)
    try:
        wait_until(lambda: _is_ready(port) or process.poll() is not None, "it is ready")
        for _ in range(2):
            assert asyncio.run(ask(f"ws://127.0.0.1:{port}", {"token": TEXT, "done": True})).audio == tone_bytes(
                *SENTENCES
            )
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.TransportError:
        return False
