"""`python -m voice_server voices …`: on a folder, and against a server that watches the same one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.harness import TIMEOUT_S, cloned_tone_bytes, hum_wav, wait_until
from tests.server_process import HOME
from voice_server.__main__ import main
from voice_server.assembly import voice_store
from voice_server.core.limits import VoiceLimits


class Desk:
    """A folder with a recording, in which commands are run."""

    def __init__(self, folder: Path, told: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._told = told

    def voices(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and all that is printed."""
        code = main(["voices", *arguments])
        told = self._told.readouterr()
        return code, told.out + told.err

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "voice_samples").glob("*"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    (tmp_path / "me.wav").write_bytes(hum_wav(4.0))
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, capsys)


def test_a_voice_is_added_listed_shown_and_removed(desk: Desk) -> None:
    told = ["--transcript", "Hello there.", "--language", "en", "--consent", "mine", "--licence", "CC0-1.0"]
    code, said = desk.voices("add", "me.wav", "--name", "ada", *told, "--alias", "lovelace", "--default-of", "tone")
    assert code == 0 and "ada is a voice: 4.0 s" in said
    assert desk.files == ["ada.json", "ada.txt", "ada.wav"]
    assert "ada" in desk.voices("list")[1] and "Hello there." in desk.voices("list")[1]
    shown = desk.voices("show", "ada")[1]
    assert all(word in shown for word in ("Hello there.", "en", "mine", "CC0-1.0", "lovelace", "tone", "ada.wav"))
    assert desk.voices("remove", "ada")[0] == 0
    assert desk.files == []


def test_the_text_beside_a_recording_is_its_transcript(desk: Desk) -> None:
    (desk.folder / "me.txt").write_text("These are\nmy words.")
    desk.voices("add", "me.wav")
    assert (desk.folder / "voice_samples" / "me.txt").read_text() == "These are my words."


def test_a_preview_speaks_in_the_voice(desk: Desk) -> None:
    desk.voices("add", "me.wav", "--language", "fr")
    code, said = desk.voices("preview", "me", "--backend", "tone", "--output", "heard.wav")
    assert code == 0 and "wrote heard.wav" in said
    heard, _ = soundfile.read(desk.folder / "heard.wav", dtype="int16")
    store = voice_store(desk.folder / "voice_samples", VoiceLimits())
    store.scan()
    assert heard.tobytes() == cloned_tone_bytes(store.samples["me"], "Bonjour, voici comment sonne ma voix.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "nothing.wav"), "cannot read nothing.wav: No such file"),
        (("add", "me.wav", "--name", "../x"), "letters, digits"),
        (("add", "me.wav", "--language", "my mother's"), "language"),
        (("add", "me.wav", "--transcript-file", "nothing.txt"), "cannot read nothing.txt"),
        (("show", "nobody"), "no recording here is the voice 'nobody'"),
        (("remove", "nobody"), "no recording here is the voice 'nobody'"),
        (("preview", "nobody", "--output", "no/where.wav"), "there is no folder no"),
        (("list", "--url", "127.0.0.1:1"), "http://"),
        (("list", "--url", "http://127.0.0.1:1"), "is the server running?"),
    ],
)
def test_what_went_wrong_is_a_line_that_helps(desk: Desk, arguments: tuple[str, ...], told: str) -> None:
    code, said = desk.voices(*arguments)
    assert (code, said.count("\n")) == (1, 1)
    assert told in said
    assert desk.files == []


def test_why_a_file_is_no_voice_is_told(desk: Desk) -> None:
    (desk.folder / "voice_samples").mkdir()
    (desk.folder / "voice_samples" / "ada.wav").write_bytes(hum_wav(0.1))
    assert "ada.wav: it lasts 0.1" in desk.voices("list")[1]
    assert "it lasts 0.1" in desk.voices("show", "ada")[1]


def test_a_server_sees_what_was_added_and_says_who_can_speak_it(desk: Desk) -> None:
    config = desk.folder / "tone.yaml"
    config.write_text(json.dumps({"backends": {"tone": {"adapter": "voice_server.backends.tone:ToneBackend"}}}))
    command = [sys.executable, "-m", "voice_server", "--config", str(config), "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    server = subprocess.Popen(command, cwd=desk.folder, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        url = next(word for line in server.stderr for word in line.split() if word.startswith("http://127.0.0.1:"))
        url = url.rstrip("/")
        wait_until(lambda: "low" in desk.voices("list", "--url", url)[1], "the engine is ready")
        desk.voices("add", "me.wav")
        wait_until(lambda: " sample " in desk.voices("list", "--url", url)[1], "the server sees the voice")
        line = next(line for line in desk.voices("list", "--url", url)[1].splitlines() if line.startswith("me "))
        assert line.split()[:4] == ["me", "sample", "tone", "4.0"]
    finally:
        server.terminate()
        server.communicate(timeout=TIMEOUT_S)
