"""The folder of voice samples: what becomes a voice, what is left out and why, how changes are seen, what goes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import hum_wav
from voice_server.core.errors import BadSample, StorageFull, UnknownVoice, VoiceExists
from voice_server.core.limits import VoiceLimits
from voice_server.studio.clean import clean_file
from voice_server.voices import About, VoiceStore
from voice_server.voices.files import read_plain

ADA, BOB = hum_wav(pitch_hz=200.0), hum_wav(pitch_hz=300.0)


def in_this_process(source: Path, target: Path) -> bytes:
    return json.dumps(clean_file(str(source), str(target), 1.0, 30.0)).encode()


def store_of(folder: Path, limits: VoiceLimits = VoiceLimits()) -> VoiceStore:  # noqa: B008  # frozen
    return VoiceStore(folder, limits, in_this_process, folder.parent / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    return tmp_path / "samples"


@pytest.fixture
def store(folder: Path) -> VoiceStore:
    return store_of(folder)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "home").rglob("*.*") if path.is_file())


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
    store = VoiceStore(folder, VoiceLimits(), lambda source, _: judged.append(source) or b"broken", folder / "home")
    (folder / "ada.wav").write_bytes(ADA)
    for _ in range(3):
        store.scan()
    assert judged == [folder / "ada.wav"]
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


def test_f2_what_may_not_be_read_is_left_out_with_the_reason(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(ADA)
    secret.chmod(0)
    if os.geteuid():
        with pytest.raises(BadSample, match="Permission denied"):
            read_plain(secret, 2**20, "the recording")
        return
    with tempfile.TemporaryDirectory() as open_folder:
        os.chmod(open_folder, 0o755)
        secret = secret.rename(Path(open_folder) / "secret.wav")
        os.seteuid(65534)
        try:
            with pytest.raises(BadSample, match="Permission denied"):
                read_plain(secret, 2**20, "the recording")
        finally:
            os.seteuid(0)


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


def test_a_removed_voice_leaves_nothing_behind(store: VoiceStore, folder: Path) -> None:
    store.add("ada", ADA, ".wav", "Hello.", About(language="en"))
    store.remove("ada")
    assert (store.samples, files(folder), copies(folder)) == ({}, [], [])
    with pytest.raises(UnknownVoice):
        store.remove("ada")


def test_no_other_file_of_its_name_takes_a_removed_voice_s_place(store: VoiceStore, folder: Path) -> None:
    (folder / "ada.wav").write_bytes(ADA)
    (folder / "ada.flac").write_bytes(BOB)
    store.scan()
    store.remove("ada")
    assert (store.samples, files(folder)) == ({}, [])


def test_what_an_engine_kept_beside_a_copy_goes_with_the_voice(store: VoiceStore, folder: Path) -> None:
    for name, sound in (("ada", ADA), ("bob", BOB)):
        path = store.add(name, sound, ".wav").path
        path.with_suffix(".features.npz").touch()
    kept = store.samples["bob"].key
    store.scan()
    assert len(copies(folder)) == 4
    store.remove("ada")
    assert copies(folder) == [f"{kept}.features.npz", f"{kept}.wav"]


@pytest.mark.parametrize("is_running", [True, False])
def test_a_file_removed_by_hand_takes_its_copy_along(store: VoiceStore, folder: Path, is_running: bool) -> None:
    store.add("ada", ADA, ".wav")
    (folder / "ada.wav").unlink()
    (store if is_running else store_of(folder)).scan()
    assert copies(folder) == []


def test_a_folder_of_samples_that_is_gone_takes_its_copies_along(tmp_path: Path) -> None:
    store_of(tmp_path / "gone").add("ada", ADA, ".wav", "Hello.")
    kept = store_of(tmp_path / "kept").add("ada", ADA, ".wav").path
    shutil.rmtree(tmp_path / "gone")
    store_of(tmp_path / "new")
    assert [path.parent for path in (tmp_path / "home").glob("*/*.wav")] == [kept.parent]


def test_a_copy_that_was_removed_is_made_again(store: VoiceStore) -> None:
    path = store.add("ada", ADA, ".wav").path
    path.unlink()
    store.scan()
    assert path.is_file()


def test_a_copy_that_was_damaged_is_made_again(store: VoiceStore) -> None:
    path = store.add("ada", ADA, ".wav").path
    path.write_bytes(b"RIFF")
    store.scan()
    assert store.samples == {}
    store.scan()
    assert store.samples["ada"].duration_s == 2.0


def test_another_server_s_copies_are_its_own(tmp_path: Path) -> None:
    one, other = store_of(tmp_path / "one"), store_of(tmp_path / "other")
    kept = one.add("ada", ADA, ".wav").path
    other.add("ada", ADA, ".wav")
    other.remove("ada")
    assert kept.is_file()


def test_an_upload_that_was_cut_off_is_no_voice_and_is_swept_away(store: VoiceStore, folder: Path) -> None:
    fresh, old = folder / ".draft-fresh.new", folder / ".draft-old.new"
    for draft in (fresh, old):
        draft.write_bytes(ADA)
    os.utime(old, (1, 1))
    store.scan()
    assert store.samples == {}
    assert files(folder) == [fresh.name]


def test_a_recording_that_the_studio_refuses_leaves_nothing_behind(store: VoiceStore, folder: Path) -> None:
    with pytest.raises(BadSample, match="silent"):
        store.add("ada", ADA[:44] + bytes(len(ADA) - 44), ".wav", "Hello.", About(language="en"))
    assert (files(folder), copies(folder)) == ([], [])


def test_a_file_that_is_no_voice_is_not_overwritten(store: VoiceStore, folder: Path) -> None:
    (folder / "ada.wav").write_text("what somebody wants to keep")
    with pytest.raises(VoiceExists, match="take it away first"):
        store.add("ada", ADA, ".wav")
    assert (folder / "ada.wav").read_text() == "what somebody wants to keep"


@pytest.mark.parametrize(
    ("name", "about", "why"),
    [
        ("countess", About(), "already an alias of ada"),
        ("bob", About(aliases=("ada",)), "the alias ada: a voice is called so"),
        ("bob", About(aliases=("countess",)), "the alias countess: ada has it"),
        ("bob", About(default_of=("tone",)), "the place as default of tone: ada has it"),
    ],
)
def test_what_another_voice_has_is_not_given_twice(store: VoiceStore, name: str, about: About, why: str) -> None:
    store.add("ada", ADA, ".wav", "", About(aliases=("countess",), default_of=("tone",)))
    with pytest.raises(VoiceExists, match=why):
        store.add(name, BOB, ".wav", "", about)
    assert list(store.samples) == ["ada"]


def test_a_clash_of_dropped_voices_is_told_and_both_are_voices(store: VoiceStore, folder: Path) -> None:
    for name, sound in (("ada", ADA), ("bob", BOB)):
        (folder / f"{name}.wav").write_bytes(sound)
        (folder / f"{name}.json").write_text('{"aliases": ["x"]}')
        os.utime(folder / f"{name}.wav", (len(name), ord(name[0])))
    store.scan()
    assert set(store.samples) == {"ada", "bob"}
    assert store.aliases == {"x": "ada"}
    assert list(store.problems) == ["bob.json"]


def test_f7_a_disk_that_takes_nothing_is_told_apart_from_a_bad_recording(folder: Path) -> None:
    (folder.parent / "home").write_text("a file where a folder should be")
    store = store_of(folder)
    with pytest.raises(StorageFull, match="make room for it"):
        store.add("ada", ADA, ".wav")
    assert files(folder) == []


def test_a_limit_is_the_store_s_own(folder: Path) -> None:
    with pytest.raises(BadSample, match=r"cut it to 1\.5 s at most"):
        store_of(folder, replace(VoiceLimits(), sample_max_s=1.5)).add("ada", ADA, ".wav")


def test_of_two_that_add_the_same_name_at_once_one_is_told(folder: Path) -> None:
    both_are_in = threading.Barrier(2, timeout=0.5)
    met: list[bool] = []
    lost: list[str] = []

    def studio(source: Path, target: Path) -> bytes:
        with suppress(threading.BrokenBarrierError):
            both_are_in.wait()
            met.append(True)
        return in_this_process(source, target)

    def add(sound: bytes) -> None:
        try:
            store.add("ada", sound, ".wav")
        except VoiceExists as error:
            lost.append(error.message)

    store = VoiceStore(folder, VoiceLimits(), studio, folder.parent / "home")
    adding = [threading.Thread(target=add, args=(sound,)) for sound in (ADA, BOB)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert (met, len(lost)) == ([], 1)


def test_many_threads_may_add_and_scan_at_once(store: VoiceStore) -> None:
    adding = [
        threading.Thread(target=store.add, args=(f"voice{number}", hum_wav(pitch_hz=100.0 + number), ".wav"))
        for number in range(8)
    ]
    for thread in [*adding, threading.Thread(target=store.scan)]:
        thread.start()
    for thread in adding:
        thread.join()
    assert set(store.samples) == {f"voice{number}" for number in range(8)}
    assert store.problems == {}
