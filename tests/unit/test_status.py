from __future__ import annotations

import pytest

from voice_server.core.status import BackendStatus, StreamStatus, WorkerStatus, stream_state


@pytest.mark.parametrize(
    ("ahead_s", "waiting", "open_renders", "state"),
    [
        (0.5, 0, 0, "speaking"),
        (0.5, 2, 1, "speaking"),
        (0.0, 1, 0, "waiting"),
        (0.0, 0, 1, "waiting"),
        (0, 0, 0, "idle"),
    ],
)
def test_a_stream_speaks_while_there_is_audio_and_waits_while_there_is_only_text(
    ahead_s: float, waiting: int, open_renders: int, state: str
) -> None:
    assert stream_state(ahead_s=ahead_s, waiting=waiting, open_renders=open_renders) == state


def _worker(open_renders: int) -> WorkerStatus:
    return WorkerStatus("w", "ready", "", 1, 0, 4, open_renders, None, None, ())


def _stream(ahead_s: float, *, live: bool) -> StreamStatus:
    return StreamStatus(1, live, "", "", "speaking", 0.0, ahead_s, ahead_s, 0, 0, True, 0, None)


def test_a_backend_has_the_renders_of_its_workers_and_the_audio_that_its_listeners_have_not_heard() -> None:
    streams = (_stream(1.5, live=True), _stream(2.0, live=True), _stream(60.0, live=False))
    backend = BackendStatus("tone", 0, (_worker(3), _worker(2)), streams)
    assert (backend.ahead_s, backend.open_renders) == (3.5, 5)
