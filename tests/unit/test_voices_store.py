"""The folder of voice samples: what becomes a voice, what is left out and why, how changes are seen."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.unit.voice_folder import ADA, BOB, copies, files, in_this_process, store_of
from voice_server.core.errors import BadSample, VoiceExists
from voice_server.core.limits import VoiceLimits
from voice_server.studio.clean import clean_file
from voice_server.voices import About, VoiceStore
from voice_server.voices.files import read_plain


def test_a_dropped_file_is_a_voice_with_what_is_told_beside_it(store: VoiceStore, folder: Path) -> None:
    (folder / "ada.wav").write_bytes(ADA)
    (folder / "ada.txt").write_text("Hello\n there. ", encoding="utf-8-sig")
    (folder / "ada.json").write_text('{"language": "en", "consent": "her own"}')
    store.scan()
    sample = store.samples["ada"]
    assert (sample.name, sample.original, sample.transcript) == ("ada", folder / "ada.wav", "Hello there.")
    assert sample.about == About(language="en", consent="her own")
    assert sample.duration_s == 2.0
    assert store.problems == {}


def test_a_missing_folder_is_an_empty_one_until_a_voice_is_added(tmp_path: Path) -> None:
    store = store_of(tmp_path / "no" / "where")
    store.scan()
    assert store.samples == {}
    assert store.add("ada", ADA, ".wav").original.is_file()


def test_what_is_added_is_what_dropping_would_have_made(store: VoiceStore, folder: Path) -> None:
    about = About(language="en", aliases=("countess",))
    added = store.add("ada", ADA, ".WAV", " Hello\nthere. ", about)
    assert files(folder) == ["ada.json", "ada.txt", "ada.wav"]
    again = store_of(folder)
    again.scan()
    assert again.samples == {"ada": added} == store.samples


@pytest.mark.parametrize("change", ["sound", "transcript"])
def test_a_voice_that_changed_has_another_key_and_its_old_copy_is_gone(
    store: VoiceStore, folder: Path, change: str
) -> None:
    before = store.add("ada", ADA, ".wav").key
    if change == "sound":
        (folder / "ada.wav").write_bytes(BOB)
    else:
        (folder / "ada.txt").write_text("Hello.")
    store.scan()
    assert store.samples["ada"].key != before
    assert copies(folder) == [f"{store.samples['ada'].key}.wav"]


def test_what_is_told_changes_no_key(store: VoiceStore, folder: Path) -> None:
    before = store.add("ada", ADA, ".wav").key
    (folder / "ada.json").write_text('{"licence": "CC0"}')
    store.scan()
    assert store.samples["ada"].about.licence == "CC0"
    assert store.samples["ada"].key == before


def test_the_same_voice_added_again_is_told_its_new_words(store: VoiceStore, folder: Path) -> None:
    store.add("ada", ADA, ".wav", "Old.", About(language="en"))
    assert store.add("ada", ADA, ".wav", "New.", About(language="de")).transcript == "New."
    assert store.samples["ada"].about.language == "de"
    store.add("ada", ADA, ".wav")
    assert files(folder) == ["ada.wav"]


def test_another_recording_does_not_replace_a_voice(store: VoiceStore, folder: Path) -> None:
    store.add("ada", ADA, ".wav")
    with pytest.raises(VoiceExists, match="remove that one first"):
        store.add("ada", BOB, ".flac")
    assert (folder / "ada.wav").read_bytes() == ADA


def test_the_same_recording_is_one_voice_whose_name_is_told(store: VoiceStore, folder: Path) -> None:
    store.add("bob", ADA, ".wav")
    with pytest.raises(VoiceExists, match="the voice bob has already: give that one an alias"):
        store.add("ada", ADA, ".wav")
    (folder / "ada.wav").write_bytes(ADA)
    store.scan()
    assert list(store.samples) == ["bob"]
    assert "the voice bob has already" in store.problems["ada.wav"]


def test_of_two_files_of_one_name_the_older_stays_the_voice(store: VoiceStore, folder: Path) -> None:
    (folder / "ada.wav").write_bytes(ADA)
    os.utime(folder / "ada.wav", (1, 1))
    (folder / "ada.flac").write_bytes(BOB)
    store.scan()
    assert store.samples["ada"].original.name == "ada.wav"
    assert store.problems == {"ada.flac": "there is another file for the voice ada: ada.wav"}


def test_a_voice_stays_one_when_an_older_file_comes_to_lie_beside_it(store: VoiceStore, folder: Path) -> None:
    store.add("ada", ADA, ".wav")
    (folder / "aaa.wav").write_bytes(ADA)
    os.utime(folder / "aaa.wav", (1, 1))
    store.scan()
    assert list(store.samples) == ["ada"]


def test_a_file_that_was_mended_becomes_a_voice(store: VoiceStore, folder: Path) -> None:
    (folder / "ada.wav").write_text("not a sound")
    store.scan()
    assert "ada.wav" in store.problems
    (folder / "ada.wav").write_bytes(ADA)
    store.scan()
    assert list(store.samples) == ["ada"]
    assert store.problems == {}


def test_a_refused_recording_is_judged_once(folder: Path) -> None:
    judged: list[Path] = []

    def studio(source: Path, _: Path) -> bytes:
        judged.append(source)
        return b'{"refused": "it is silent"}'

    store = VoiceStore(folder, VoiceLimits(), studio, folder.parent / "home")
    (folder / "ada.wav").write_bytes(ADA)
    for _ in range(3):
        store.scan()
    assert judged == [folder / "ada.wav"]
    assert store.problems == {"ada.wav": "it is silent"}


def test_a_studio_that_breaks_for_a_moment_is_asked_again(folder: Path) -> None:
    told = [b"", b""]

    def studio(source: Path, target: Path) -> bytes:
        return told.pop() if told else in_this_process(source, target)

    store = VoiceStore(folder, VoiceLimits(), studio, folder.parent / "home")
    (folder / "ada.wav").write_bytes(ADA)
    store.scan()
    assert "could not be decoded" in store.problems["ada.wav"]
    store.scan()
    store.scan()
    assert (list(store.samples), store.problems) == (["ada"], {})


def test_a_recording_of_which_the_studio_always_dies_is_refused_after_a_few_tries(folder: Path) -> None:
    tried: list[Path] = []
    store = VoiceStore(folder, VoiceLimits(), lambda source, _: tried.append(source) or b"", folder.parent / "home")
    (folder / "ada.wav").write_bytes(ADA)
    for _ in range(9):
        store.scan()
    assert tried == [folder / "ada.wav"] * 3
    assert "could not be decoded" in store.problems["ada.wav"]


def test_f2_only_plain_files_are_read(store: VoiceStore, folder: Path) -> None:
    (folder / "real.wav").write_bytes(ADA)
    (folder / "link.wav").symlink_to(folder / "real.wav")
    (folder / "dangling.wav").symlink_to(folder / "nowhere")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "worded.wav").write_bytes(BOB)
    (folder / "worded.txt").symlink_to("/etc/hostname")
    store.scan()
    assert list(store.samples) == ["real"]
    assert set(store.problems) == {"link.wav", "dangling.wav", "folder.wav", "pipe.wav", "worded.wav"}


def test_f2_a_device_and_a_socket_are_no_recordings(store: VoiceStore, folder: Path) -> None:
    try:
        os.mknod(folder / "zeros.wav", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only an administrator can make a device")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "talk.wav"))
        store.scan()
    assert store.samples == {}
    assert set(store.problems) == {"zeros.wav", "talk.wav"}


@contextmanager
def no_administrator() -> Iterator[None]:
    """Without the right to read everything, for a while."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_f2_what_may_not_be_read_is_left_out_with_the_reason() -> None:
    with tempfile.TemporaryDirectory() as open_folder:
        os.chmod(open_folder, 0o755)
        secret = Path(open_folder) / "secret.wav"
        secret.write_bytes(ADA)
        secret.chmod(0)
        with no_administrator(), pytest.raises(BadSample, match="Permission denied"):
            read_plain(secret, 2**20, "the recording")


def test_a_recording_that_may_be_read_at_last_becomes_a_voice(tmp_path: Path) -> None:
    def is_read_when_allowed() -> bool:
        recording.chmod(0o644)  # the clock of the kernel may stand still between one change and the next
        store.scan()
        return list(store.samples) == ["ada"]

    with tempfile.TemporaryDirectory() as open_folder:
        os.chmod(open_folder, 0o755)
        recording = Path(open_folder) / "ada.wav"
        recording.write_bytes(ADA)
        recording.chmod(0)
        store = VoiceStore(Path(open_folder), VoiceLimits(), in_this_process, tmp_path / "home")
        with no_administrator():
            store.scan()
        assert "Permission denied" in store.problems["ada.wav"]
        wait_until(is_read_when_allowed, "it is a voice")
        assert store.problems == {}


def test_f2_a_file_that_becomes_a_link_after_it_was_judged_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """The studio opens it after the gateway has: whoever owns the folder may be quick."""
    (tmp_path / "elsewhere.wav").write_bytes(BOB)

    def swapped(source: Path, target: Path) -> bytes:
        source.unlink()
        source.symlink_to(tmp_path / "elsewhere.wav")
        return in_this_process(source, target)

    store = VoiceStore(folder, VoiceLimits(), swapped, tmp_path / "home")
    (folder / "ada.wav").write_bytes(ADA)
    store.scan()
    assert store.samples == {}
    assert copies(folder) == []


def test_f2_a_pipe_in_the_place_of_a_judged_file_keeps_nobody_waiting(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not a plain file any more" in clean_file(str(tmp_path / "pipe.wav"), "/dev/null", 1.0, 30.0)["refused"]


@pytest.mark.parametrize("name", ["ada", "Zoë", "美咲", "v1.5", "two words", "ada.wav", "a+b", "x" * 64])
def test_a_name_that_a_voice_can_have_is_a_file_of_that_name(store: VoiceStore, folder: Path, name: str) -> None:
    store.add(name, ADA, ".wav", "Hello.")
    assert files(folder) == [f"{name}.txt", f"{name}.wav"]
    store.remove(name)
    assert files(folder) == []


BAD_NAMES = ["", ".", "..", "../x", "..\\x", "/etc/x", "a/b", "a\0b", "CON", "nul.x", "-rf", ".x", "x.", "x ", "😀"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "x" * 65, "Zoe\u0308", "a\nb", "~", "$HOME", "a\u202eb"])
def test_f1_a_name_that_no_voice_can_have_is_refused_before_anything_is_written(
    store: VoiceStore, folder: Path, name: str
) -> None:
    with pytest.raises(BadSample, match="its name is not one a voice can have") as refusal:
        store.add(name, ADA, ".wav")
    assert refusal.value.field == "name"
    assert [path.name for path in folder.parent.rglob("*")] == ["samples"]


@pytest.mark.parametrize("name", [b"-rf", b"CON", b"x.", "😀".encode(), "Zoe\u0308".encode(), b"\xff\xfe", b"a\nb"])
def test_f1_a_dropped_file_with_such_a_name_is_left_out(store: VoiceStore, folder: Path, name: bytes) -> None:
    (folder / os.fsdecode(name + b".wav")).write_bytes(ADA)
    store.scan()
    assert store.samples == {}
    assert list(store.problems) == [os.fsdecode(name + b".wav")]


@pytest.mark.parametrize("suffix", ["", "wav", ".exe", ".wav/../x", ".m4a"])
def test_a_suffix_is_one_of_a_few(store: VoiceStore, suffix: str) -> None:
    with pytest.raises(BadSample, match="save it as one of them"):
        store.add("ada", ADA, suffix)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("ada.txt", b"\xff\xfe\x00", "its transcript is not UTF-8"),
        ("ada.txt", b"x" * 1_001, "its transcript is longer than 1000 characters"),
        ("ada.txt", b"x" * 4_001, "its transcript is larger than 4000 bytes"),
        ("ada.json", b'{"consents": ""}', "with these fields only"),
        ("ada.json", b" " * 20_000, "its sidecar is larger than"),
    ],
)
def test_a_wrong_text_beside_it_leaves_a_voice_out(
    store: VoiceStore, folder: Path, file: str, content: bytes, reason: str
) -> None:
    (folder / "ada.wav").write_bytes(ADA)
    (folder / file).write_bytes(content)
    store.scan()
    assert reason in store.problems["ada.wav"]
