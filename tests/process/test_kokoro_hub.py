"""Downloads of voice packs, from a hub that is a small server here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from voice_server.backends.kokoro import KokoroBackend, hub
from voice_server.backends.kokoro.packs import read_file
from voice_server.worker.adapter import BackendError

PACK = np.full((510, 256), 0.25, "<f4").tobytes()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of voices of the repository somebody/kokoro; the cache is an empty folder."""
    root = tmp_path / "hub"
    voices = root / "somebody" / "kokoro" / "resolve" / "main" / "voices"
    voices.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *arguments: Quiet(*arguments, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VOICE_SERVER_CACHE", str(tmp_path / "cache"))
    yield voices
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_voice_is_downloaded_once_and_then_here(repository: Path) -> None:
    (repository / "af_heart.bin").write_bytes(PACK)
    said: list[str] = []
    first = hub.fetch_pack("af_heart", "somebody/kokoro", said.append)
    (repository / "af_heart.bin").unlink()
    assert hub.fetch_pack("af_heart", "somebody/kokoro", said.append) == first
    assert [(name, style.shape) for name, style in read_file(first)] == [("af_heart", (510, 256))]
    assert said == ["downloading the voice af_heart"]


def test_install_downloads_the_voices_that_the_entry_names(repository: Path, tmp_path: Path) -> None:
    (repository / "af_heart.bin").write_bytes(PACK)
    KokoroBackend.fetch({"hub_voices": ["af_heart"], "repository": "somebody/kokoro"}, print)
    assert [path.name for path in (tmp_path / "cache").rglob("*.*")] == ["af_heart.bin"]


def test_a_voice_that_the_hub_does_not_have_is_named(repository: Path) -> None:
    with pytest.raises(BackendError, match=r"somebody/kokoro on the hub has no voice af_nobody \(404\)") as caught:
        hub.fetch_pack("af_nobody", "somebody/kokoro", print)
    assert not caught.value.retryable


def test_an_answer_that_is_no_voice_is_not_kept(repository: Path, tmp_path: Path) -> None:
    (repository / "af_heart.bin").write_bytes(b"<html>Sign in to this network</html>")
    with pytest.raises(BackendError, match="af_heart"):
        hub.fetch_pack("af_heart", "somebody/kokoro", print)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_without_a_hub_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("VOICE_SERVER_CACHE", str(tmp_path))
    with pytest.raises(
        BackendError, match=r"put af_heart\.bin into the folder that the option voices_dir names"
    ) as caught:
        hub.fetch_pack("af_heart", "somebody/kokoro", print)
    assert caught.value.retryable
