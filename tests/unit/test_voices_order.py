"""The folder of voice samples: what goes with a voice, what is swept away, who has a name, many at once."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import hum_wav
from tests.unit.voice_folder import ADA, BOB, copies, files, in_this_process, store_of
from voice_server.core.errors import BadSample, StorageFull, UnknownVoice, VoiceExists
from voice_server.core.limits import VoiceLimits
from voice_server.voices import About, VoiceStore


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
