from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from voice_server.core.status import (
    BackendStatus,
    DecisionStatus,
    RenderStatus,
    ScalingStatus,
    ServerStatus,
    StreamStatus,
    WorkerStatus,
)
from voice_server.terminal.top import BAR_COLUMNS, picture

STREAM = StreamStatus(
    id=7,
    live=True,
    client="10.0.0.1",
    voice="heart",
    state="speaking",
    heard_s=1.0,
    ahead_s=2.5,
    runs_out_in_s=2.0,
    waiting=3,
    open_renders=1,
    admitted=True,
    position=0,
    eta_s=None,
)
RENDER = RenderStatus(stream=7, sentence=2, voice="heart", audio_s=1.5, due_in_s=0.75)
WORKER = WorkerStatus("tone-0", "ready", "", 11, 0, 4, 1, 0.25, 0.1, (RENDER,))


def shown(
    *streams: StreamStatus,
    worker: WorkerStatus = WORKER,
    draining: bool = False,
    uptime_s: float = 59.0,
    scaling: ScalingStatus | None = None,
) -> str:
    backend = BackendStatus("tone", deadline_misses=5, workers=(worker,), streams=streams, scaling=scaling)
    out = io.StringIO()
    Console(file=out, width=200).print(picture(ServerStatus("1.2.3", uptime_s, draining, (backend,))))
    return out.getvalue()


def row(text: str, first: str) -> list[str]:
    """The words of the line that begins with this one."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


def test_a_worker_is_shown_with_its_speed_and_what_it_renders() -> None:
    assert " ".join(row(shown(STREAM), "tone-0")) == "tone-0 ready 1/4 0.25 0.10 s 7.3 1.5 s, due in 0.8 s"


def test_a_worker_without_a_speed_shows_none() -> None:
    loading = WorkerStatus("tone-0", "loading", "weights", 11, 0, 0, 0, None, None, ())
    assert row(shown(worker=loading), "tone-0") == ["tone-0", "loading", "weights", "0/?"]


def test_a_worker_on_another_machine_is_shown_with_its_name() -> None:
    assert row(shown(worker=replace(WORKER, host="gpu-07")), "tone-0")[:4] == ["tone-0", "ready", "on", "gpu-07"]


def test_only_the_most_urgent_renders_of_a_worker_are_shown() -> None:
    renders = tuple(replace(RENDER, stream=number, due_in_s=-float(number)) for number in range(10, 16))
    told = shown(worker=replace(WORKER, renders=renders))
    assert "15.3 1.5 s, late 15.0 s" in told
    assert "and 2 more" in told
    assert "11.3" not in told


def test_a_stream_is_shown_with_its_playhead() -> None:
    words = row(shown(STREAM), "7")
    assert words[:6] == ["7", "10.0.0.1", "heart", "speaking", "1.0", "s"]
    assert words[-4:] == ["2.5", "s", "3", "1"]


def test_the_bar_is_full_at_the_bound_of_rendering_ahead() -> None:
    bars = [shown(replace(STREAM, ahead_s=ahead_s)).count("━") for ahead_s in (0.0, 5.0, 10.0, 60.0)]
    assert bars == [0, BAR_COLUMNS // 2, BAR_COLUMNS, BAR_COLUMNS]


def test_who_waits_is_shown_first_with_place_and_time() -> None:
    waiting = replace(STREAM, id=9, state="waiting", admitted=False, position=2, eta_s=1.25)
    lines = shown(STREAM, waiting).splitlines()
    told = [line for line in lines if "10.0.0.1" in line]
    assert told[0].rstrip().endswith("place 2, in 1.2 s, not let in yet")
    assert told[1].split()[0] == "7"


def test_who_is_let_in_is_shown_before_who_is_not() -> None:
    streams = (replace(STREAM, id=8, position=1, admitted=False), replace(STREAM, id=9, position=2))
    told = [line.split()[0] for line in shown(*streams).splitlines() if "10.0.0.1" in line]
    assert told == ["9", "8"]


def test_a_file_has_no_listener() -> None:
    assert row(shown(replace(STREAM, live=False)), "7")[:5] == ["7", "(file)", "10.0.0.1", "heart", "speaking"]
    assert "1.0 s" not in shown(replace(STREAM, live=False), worker=replace(WORKER, renders=()))


def test_the_backend_is_summed_up() -> None:
    told = shown(STREAM, replace(STREAM, id=8, state="waiting", ahead_s=0.0))
    summary = "1 of 1 workers ready · 1 streams speaking · 1 waiting · 0 idle · 2.5 s ahead · 5 deadlines missed"
    assert f"tone  {summary}" in told


def test_a_number_of_workers_that_follows_what_is_asked_is_told_with_the_latest_decision() -> None:
    scaling = ScalingStatus(3, 1, 8, 2, ups=1, downs=0, last=DecisionStatus(1, 3, "12 waited in line", 130.0))
    assert "  3 workers of 1 to 8, 2 wanted · 1 → 3 2 min ago: 12 waited in line\n" in shown(scaling=scaling)
    assert "  3 workers of 1 to 8, 2 wanted\n" in shown(scaling=replace(scaling, last=None))
    assert "wanted" not in shown(scaling=replace(scaling, min=8))


def test_the_server_tells_its_age_and_that_it_is_leaving() -> None:
    assert "voice-server 1.2.3 · up 59 s\n" in shown()
    assert "up 2 min · shutting down" in shown(draining=True, uptime_s=125.0)
    assert "up 25 h 1 min" in shown(uptime_s=25 * 3600 + 60.0)


def test_no_control_character_of_a_server_reaches_the_terminal() -> None:
    assert "\x1b" not in shown(replace(STREAM, client="\x1b[2Jgone", voice="\x1b]0;x\x07"))
