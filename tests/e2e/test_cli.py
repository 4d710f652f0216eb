"""cli.py as a person runs it, with the tone backend's real workers."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.e2e.programs import Outcome, program, terminal
from tests.harness import tone_bytes

pytestmark = pytest.mark.usefixtures("no_leaks", "tone_python")

SLOW = """
backends:
  slow:
    adapter: voice_server.backends.tone:ToneBackend
    venv: {requirements: []}
    workers: 1
    options: {speed_rtf: 1.0, first_chunk_s: 0.2}
"""
LONG = "This sentence takes its time, so that somebody can interrupt it before it has come to its far away end."


def cli(folder: Path, *arguments: str, stdin: str | bytes = "") -> Outcome:
    return program("cli.py", "--backend", "tone", *arguments, folder=folder, stdin=stdin)


def slow(folder: Path) -> tuple[str, ...]:
    (folder / "slow.yaml").write_text(SLOW)
    return "--backend", "slow", "--config", str(folder / "slow.yaml")


def test_voices_are_listed_one_a_line(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--list-voices")
    assert (ended.code, ended.out) == (0, "tone\nlow\nhigh\n")


def test_a_text_becomes_a_wav_and_is_measured(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--text", "Hello there. How are you?", "--voice", "low", "--opt", "speed=2.0")
    samples, rate = soundfile.read(tmp_path / "output.wav", dtype="int16")
    assert (ended.code, rate) == (0, 24000)
    assert samples.tobytes() == tone_bytes("Hello there.", "How are you?", voice="low", speed=2.0)
    first, done, wrote = ended.out.splitlines()
    assert first.startswith("first audio ")
    assert "real-time factor" in done
    assert wrote == "wrote output.wav (0.9 s, 24000 Hz)"


@pytest.mark.parametrize("arguments", [("--text", "-"), ("--text-file", "speech.txt")])
def test_a_text_may_come_from_a_pipe_or_a_file(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "speech.txt").write_text("Hello there.")
    assert cli(tmp_path, *arguments, "--output", "a.pcm", stdin="Hello there.").code == 0
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes("Hello there.")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # as Python reads in most locales, and in C
@pytest.mark.parametrize("arguments", [("--text", "-"), ("--repl",)], ids=["a text", "lines"])
def test_a_pipe_that_is_no_utf_8_is_spoken_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], errors: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", f"utf-8:{errors}")
    ended = cli(tmp_path, *arguments, "--output", "a.pcm", stdin="A café.\n".encode("latin-1"))
    assert (ended.code, ended.err.count("error"), ended.err.count("Traceback")) == (0, 0, 0)
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes("A caf\ufffd.")


def test_a_text_longer_than_the_server_holds_is_spoken_to_its_end(tmp_path: Path) -> None:
    text = " ".join(f"This is sentence number {number} of a long story that goes on." for number in range(700))
    ended = cli(tmp_path, "--text", "-", "--output", "a.pcm", "--opt", "speed=4.0", stdin=text)
    assert len(text) > 32 * 1024
    assert (ended.code, ended.err.count("error")) == (0, 0)
    assert (tmp_path / "a.pcm").stat().st_size > len(text) * 0.95 * 0.06 / 4 * 48000


def test_tokens_are_shown_as_plain_lines_on_a_pipe(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--text", "Hello there.", "--stream-tokens", "--token-delay", "0", "--pool-size", "1")
    lines = [line for line in ended.out.splitlines() if not line.startswith("first audio")]
    assert lines[:5] == [
        "ready tone  voice tone  24000 Hz",
        "sentence 1 waiting  Hello there.",
        "sentence 1 rendering  tone-0",
        "sentence 1 playing",
        "sentence 1 done  0.72 s  tone-0",
    ]


def test_without_a_text_each_line_of_a_pipe_is_an_answer(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--stream-tokens", "--token-delay", "0", stdin="Hello there.\nHow are you?\n")
    assert (ended.code, ended.out.count("\ndone  ")) == (0, 2)


def test_an_error_of_the_backend_is_told_and_counts(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--text", "Hello.", "--opt", "speed=99.0")
    assert ended.code == 1
    assert "error bad_option: " in ended.err


def test_an_unknown_backend_is_one_line(tmp_path: Path) -> None:
    ended = program("cli.py", "--backend", "nobody", "--list-voices", folder=tmp_path)
    assert ended.code == 1
    assert ended.err.startswith("error unknown_backend: ")
    assert ended.err.count("\n") == 1


def test_a_wrong_configuration_exits_as_sysexits_says(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("backends: 3\n")
    ended = cli(tmp_path, "--config", "wrong.yaml", "--list-voices")
    assert ended.code == 78
    assert ended.err.startswith("wrong.yaml:1")


def test_nothing_to_do_is_a_mistake_in_the_command(tmp_path: Path) -> None:
    ended = cli(tmp_path)
    assert ended.code == 2
    assert "nothing to do" in ended.err


def test_playing_without_portaudio_offers_a_file(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--text", "Hello.", "--play")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "install PortAudio" in ended.err
    assert "use --output FILE" in ended.err


def test_playing_without_portaudio_still_writes_the_file(tmp_path: Path) -> None:
    ended = cli(tmp_path, "--text", "Hello there.", "--play", "--output", "a.pcm")
    assert ended.code == 0
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes("Hello there.")


def test_a_repl_speaks_lines_and_ctrl_c_ends_the_speech_not_the_program(tmp_path: Path) -> None:
    with terminal("cli.py", *slow(tmp_path), "--repl", folder=tmp_path) as screen:
        screen.expect_prompt()
        screen.type("Hello.\r")
        screen.expect("first audio ")
        assert "real-time factor" in screen.expect("gaps 0")
        screen.expect_prompt()
        screen.type(LONG + "\r")
        screen.expect("first audio ")
        screen.type("\x03")
        screen.expect("stopped  audio ")
        screen.expect_prompt()
        screen.type("Hello again.\r")
        screen.expect("done  audio ")
        assert screen.leave() == 0


def test_a_repl_completes_voices_and_clears_a_line_at_ctrl_c(tmp_path: Path) -> None:
    with terminal("cli.py", "--backend", "tone", "--repl", folder=tmp_path) as screen:
        screen.expect_prompt()
        screen.type("never spoken\x03")
        screen.expect_prompt()
        screen.type("/voice h")
        screen.expect(" high ")
        screen.type("\t\r")
        screen.expect("voice high")
        assert screen.leave() == 0


def test_a_repl_remembers_lines_of_the_last_time(tmp_path: Path) -> None:
    for keys in ("Hello there.\r", "\x1b[A\r"):
        with terminal("cli.py", "--backend", "tone", "--repl", folder=tmp_path) as screen:
            screen.expect_prompt()
            screen.type(keys)
            screen.expect("audio 0.72 s")
            assert screen.leave() == 0


def test_tokens_are_watched_live_on_a_terminal(tmp_path: Path) -> None:
    with terminal("cli.py", *slow(tmp_path), "--stream-tokens", folder=tmp_path) as screen:
        screen.expect_prompt()
        screen.type("Hello there. How are you?\r")
        screen.expect("rendering")
        screen.expect("playing")
        screen.expect("slow-0")
        screen.expect("first audio ")
        assert screen.leave() == 0
