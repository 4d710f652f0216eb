from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voice_server.config import BackendConfig, Config, Gpu, load_config
from voice_server.terminal.announcer import how_to_run
from voice_server.terminal.welcome import Speaking, Start, commands, gpu_advice, page_url, silence, welcome

START = Start("http://127.0.0.1:8000/", False, "python", "python client.py", "voice_samples")
SPEAKING = Speaking("hibari", "It was asked for.", 24000, ["heart"], can_clone=False)
CONFIG = load_config(None)
SMALL = Gpu(0, "RTX", 8.0, 5.5)
LARGE = Gpu(0, "RTX", 24.0, 20.0)


def screen(start: Start = START, speaking: Speaking = SPEAKING) -> str:
    return welcome(start, speaking).plain


def test_the_screen_names_the_page_the_backend_why_it_runs_and_its_voices() -> None:
    shown = screen()
    assert "Page      http://127.0.0.1:8000/\n" in shown
    assert "Backend   hibari, 24000 Hz. It was asked for.\n" in shown
    assert "Voices    1: heart." in shown


def test_of_many_voices_the_first_few_are_shown_and_the_others_counted() -> None:
    shown = screen(speaking=replace(SPEAKING, voices=[f"v{number}" for number in range(30)]))
    assert "30: v0, v1, v2, v3, v4 and 25 more." in shown


def test_all_voices_are_shown_where_they_are_few() -> None:
    assert "5: a, b, c, d, e." in screen(speaking=replace(SPEAKING, voices=list("abcde")))


def test_a_backend_that_clones_is_given_recordings() -> None:
    assert "Drop a recording into voice_samples/" in screen(speaking=replace(SPEAKING, can_clone=True))


def test_a_backend_that_cannot_clone_is_not_promised_to() -> None:
    assert "Drop a recording" not in screen()


def test_the_screen_fits_a_small_terminal_at_its_fullest() -> None:
    long = Start(
        "http://192.168.100.200:65535/",
        True,
        "uv run --no-dev python",
        "uv run --no-dev client.py",
        "voice_samples",
        gpu_advice(CONFIG, ["hibari"], [], "no NVIDIA driver answers (NVML Shared Library Not Found)"),
    )
    reason = "It is the first backend that fits this machine: it needs no GPU (voxcpm needs 8 GiB of free GPU memory, "
    speaking = replace(SPEAKING, reason=reason + "and no GPU is seen).", voices=[f"voice-{n}" for n in range(9)])
    lines = screen(long, speaking).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) < 80


def test_the_commands_stand_on_the_screen_as_they_are_run() -> None:
    shown = screen()
    indented = ["\n".join(f"  {line}" for line in command.splitlines()) for command in commands(START)]
    assert len(indented) == 2
    assert all(command in shown for command in indented)


def test_a_token_is_shown_by_its_variable_and_the_other_terminal_needs_it() -> None:
    curl = commands(replace(START, needs_token=True))[0]
    assert '-H "Authorization: Bearer $VOICE_SERVER_TOKEN"' in curl
    assert "another terminal, with VOICE_SERVER_TOKEN set:" in screen(replace(START, needs_token=True))


def test_without_a_token_nothing_is_said_of_one() -> None:
    assert "TOKEN" not in screen()


def test_there_is_no_line_for_a_client_that_is_not_there() -> None:
    assert [command.split()[0] for command in commands(replace(START, client=""))] == ["curl"]


def test_what_it_takes_to_run_voxcpm_is_on_the_screen() -> None:
    assert "VoxCPM    a GPU.\n" in screen(replace(START, gpu="a GPU."))
    assert "VoxCPM" not in screen()


def test_when_nothing_can_speak_the_next_step_is_doctor() -> None:
    assert "python -m voice_server doctor" in silence(START).plain


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000/"),
        ("http://[::]:8000", "http://[::1]:8000/"),
        ("http://10.0.0.7:80", "http://10.0.0.7:80/"),
    ],
)
def test_the_page_has_an_address_that_a_browser_can_open(url: str, page: str) -> None:
    assert page_url(url) == page


def test_without_a_gpu_voxcpm_says_what_it_needs_and_why_there_is_none() -> None:
    assert gpu_advice(CONFIG, ["hibari"], [], "no driver answers") == (
        "clones voices. It needs 8 GiB of free GPU memory: no driver answers. "
        "Where there is more, --backend voxcpm starts it."
    )


def test_on_a_gpu_with_too_little_memory_voxcpm_says_how_much_there_is() -> None:
    assert "8 GiB of free GPU memory: the most here is 5.5 GiB" in gpu_advice(CONFIG, ["hibari"], [SMALL], "")


def test_on_a_gpu_that_is_large_enough_voxcpm_says_how_to_start_it() -> None:
    assert gpu_advice(CONFIG, ["hibari"], [LARGE], "") == (
        "clones voices, and fits this machine: --backend voxcpm starts it."
    )


@pytest.mark.parametrize(
    ("config", "running"),
    [(CONFIG, ["hibari", "voxcpm"]), (Config(Path(), "auto", {"x": BackendConfig("x", "x:X")}), ["x"])],
    ids=["it runs", "it is not configured"],
)
def test_voxcpm_is_not_mentioned_where_it_is_of_no_use(config: Config, running: list[str]) -> None:
    assert gpu_advice(config, running, [LARGE], "") == ""


def test_who_started_with_uv_is_told_to_go_on_with_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert how_to_run({"UV_RUN_RECURSION_DEPTH": "1"}) == ("uv run --no-dev python", "uv run --no-dev client.py")


def test_who_started_elsewhere_gets_whole_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    python, client = how_to_run({})
    assert client == f"{python} {Path(__file__).parents[2] / 'client.py'}"
