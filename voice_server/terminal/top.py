"""`top`: who renders what on a server, how far ahead of its listener each stream is, and who waits for how long.

Promises: asks GET /status and changes nothing; a table once where nobody watches, drawn anew in place on a terminal. A
server that goes away while it is watched is said to be gone and looked for again.
"""

from __future__ import annotations

import contextlib
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from voice_server.core.limits import StreamLimits, TerminalLimits
from voice_server.core.status import BackendStatus, RenderStatus, ServerStatus, StreamStatus, WorkerStatus
from voice_server.terminal.asking import ask
from voice_server.terminal.session import CannotConnect
from voice_server.wire.messages import STT

STYLES = {
    "ready": "green",
    "spare": "cyan",
    "leaving": "yellow",
    "speaking": "green",
    "waiting": "yellow",
    "loading": "yellow",
    "restarting": "red",
    "broken": "bold red",
    "failed": "bold red",
}
PIPE_COLUMNS = 140  # of a table that no terminal limits
BAR_COLUMNS = 10
_MAY_WRAP = ("client", "voice", "line", "renders")  # in a narrow window
SHOWN_RENDERS = 4  # of one worker
_FULL_BAR_S = StreamLimits().ahead_s
_LIMITS = TerminalLimits()


def run_top(url: str, token: str, *, once: bool, console: Console | None = None) -> int:
    """Returns at Ctrl-C, or after one look. Raises CannotConnect when there is no server to begin with."""
    console = console or Console(highlight=False)
    status = fetch(url, token)
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    if once or not console.is_terminal:
        console.print(picture(status))
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        _watch(url, token, console, picture(status))
    return 0


def fetch(url: str, token: str) -> ServerStatus:
    """Raises CannotConnect."""
    return ask(url, "/status", ServerStatus, token)


def picture(status: ServerStatus) -> RenderableType:
    parts: list[RenderableType] = [_title(status)]
    for backend in status.backends:
        parts += [Text(), _summary(backend), *_scaling(backend), _indented(_workers(backend))]
        if backend.streams:
            parts.append(_indented(_streams(backend)))
    return Group(*parts)


def _watch(url: str, token: str, console: Console, first: RenderableType) -> None:
    with Live(first, console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LIMITS.status_every_s)
            live.update(_look(url, token), refresh=True)


def _look(url: str, token: str) -> RenderableType:
    try:
        return picture(fetch(url, token))
    except CannotConnect as error:
        return Text(error.message, "bold red")


# The picture


def _title(status: ServerStatus) -> Text:
    text = Text.assemble(("voice-server ", "bold"), status.version, f" · up {_duration(status.uptime_s)}")
    return text.append(" · shutting down", "bold yellow") if status.draining else text


def _summary(backend: BackendStatus) -> Text:
    ready = sum(worker.state == "ready" for worker in backend.workers)
    if backend.kind == STT:
        told = [f"{ready} of {len(backend.workers)} workers ready", f"{backend.open_renders} hearings open"]
        return Text.assemble(
            (_clean(backend.name), "bold cyan"), "  ", " · ".join([*told, f"{backend.waiting} waiting"])
        )
    states = [stream.state for stream in backend.streams]
    told = [
        f"{ready} of {len(backend.workers)} workers ready",
        f"{states.count('speaking')} streams speaking",
        f"{states.count('waiting')} waiting",
        f"{states.count('idle')} idle",
        f"{backend.ahead_s:.1f} s ahead",
        f"{backend.deadline_misses} deadlines missed",
    ]
    return Text.assemble((_clean(backend.name), "bold cyan"), "  ", " · ".join(told))


def _scaling(backend: BackendStatus) -> list[Text]:
    """A line for a number of workers that may change."""
    scaling = backend.scaling
    if not scaling or scaling.min == scaling.max:
        return []
    text = Text(f"  {scaling.workers} workers of {scaling.min} to {scaling.max}, {scaling.wanted} wanted", "dim")
    if last := scaling.last:
        reason = _clean(last.reason)
        text.append(f" · {last.before} → {last.after} {_duration(last.age_s)} ago: {reason}")
    return [text]


def _workers(backend: BackendStatus) -> Table:
    table = _table("worker", "state", "open", "rtf", "first chunk", "renders")
    for worker in backend.workers:
        place = f"on {worker.host}" if worker.host else ""
        state = " ".join(filter(None, (worker.state, place, worker.stage)))
        table.add_row(
            _clean(worker.name),
            Text(_clean(state), STYLES.get(worker.state, "dim")),
            f"{worker.open_renders}/{worker.capacity or '?'}",
            _number(worker.real_time_factor, "{:.2f}"),
            _number(worker.first_chunk_s, "{:.2f} s"),
            _renders(worker),
        )
    return table


def _renders(worker: WorkerStatus) -> str:
    """The most urgent ones."""
    renders = sorted(worker.renders, key=lambda render: render.due_in_s)
    told = [_render(render) for render in renders[:SHOWN_RENDERS]]
    return "   ".join(told) + (f"   and {len(renders) - SHOWN_RENDERS} more" if len(renders) > SHOWN_RENDERS else "")


def _render(render: RenderStatus) -> str:
    due = f"due in {render.due_in_s:.1f} s" if render.due_in_s >= 0 else f"late {-render.due_in_s:.1f} s"
    return f"{render.stream}.{render.sentence + 1} {render.audio_s:.1f} s, {due}"


def _streams(backend: BackendStatus) -> Table:
    table = _table("stream", "client", "voice", "state", "heard", "ahead", "", "wait", "open", "line")
    for stream in sorted(backend.streams, key=_order):
        table.add_row(
            f"{stream.id}" if stream.live else f"{stream.id} (file)",
            _clean(stream.client),
            _clean(stream.voice),
            Text(stream.state, STYLES.get(stream.state, "dim")),
            f"{stream.heard_s:.1f} s" if stream.live else "",
            ProgressBar(_FULL_BAR_S, min(stream.ahead_s, _FULL_BAR_S), width=BAR_COLUMNS),
            f"{stream.ahead_s:.1f} s",
            str(stream.waiting or ""),
            str(stream.open_renders or ""),
            _line(stream),
        )
    return table


def _order(stream: StreamStatus) -> tuple[bool, bool, int, int]:
    """Who is next, who is not let in yet, and then everyone of whom nothing waits."""
    return not stream.position, not stream.admitted, stream.position, stream.id


def _line(stream: StreamStatus) -> str:
    if not stream.position:
        return ""
    eta = "" if stream.eta_s is None else f", in {stream.eta_s:.1f} s"
    return f"place {stream.position}{eta}" + ("" if stream.admitted else ", not let in yet")


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in table.columns:
        column.no_wrap = column.header not in _MAY_WRAP
    return table


def _indented(table: Table) -> Padding:
    return Padding(table, (0, 0, 0, 2))


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"


def _clean(text: str) -> str:
    """No control character of the server gets through to the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
