"""How an answer looks: a live panel on a terminal, plain lines everywhere else.

`news`, `summary` and `panel` are pure. The words of the plain lines are stable: scripts may search for them.
"""

from __future__ import annotations

from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from voice_server.terminal.answer import Answer, Message, Sentence, State

ICONS = {
    State.WAITING: "·",
    State.READY: "■",
    State.PLAYING: "▶",
    State.DONE: "✓",
    State.FAILED: "✗",
    State.STOPPED: "□",
}
STYLES = {
    State.WAITING: "dim",
    State.RENDERING: "yellow",
    State.READY: "cyan",
    State.PLAYING: "bold green",
    State.DONE: "green",
    State.FAILED: "bold red",
    State.STOPPED: "dim",
}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPINNER_HZ = 10
BRIEF = ("first audio", "in line")
FRAME_ROWS = 7  # of the panel, that are not sentences
FRAME_COLUMNS = 44  # of a row, that are not its text
STATE_COLUMNS = max(len(state.value) for state in State)
DURATION_COLUMNS = len("99.99 s")


class Screen(Protocol):
    def show(self, message: Message, answer: Answer, now: float) -> None:
        """The answer has just received the message."""

    def tick(self, answer: Answer, now: float) -> None:
        """Time has passed."""

    def close(self, answer: Answer, now: float) -> None:
        """The answer is over, well or not."""


class PlainScreen:
    """Lines to `out`, errors to `err`. `brief` leaves out what happens to each sentence."""

    def __init__(self, out: TextIO, err: TextIO, *, brief: bool = False) -> None:
        self._out = out
        self._err = err
        self._brief = brief
        self._faults_told = 0

    def show(self, message: Message, answer: Answer, now: float) -> None:
        for line in news(message, answer):
            if not self._brief or line.startswith(BRIEF):
                print(line, file=self._out, flush=True)
        for fault in answer.faults[self._faults_told :]:
            print(f"error {fault}", file=self._err, flush=True)
        self._faults_told = len(answer.faults)

    def tick(self, answer: Answer, now: float) -> None:
        """Nothing moves between two lines."""

    def close(self, answer: Answer, now: float) -> None:
        print(summary(answer), file=self._out, flush=True)


class LiveScreen:
    """A panel that is drawn in place, and stays when the answer is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def show(self, message: Message, answer: Answer, now: float) -> None:
        """The next tick draws it."""

    def tick(self, answer: Answer, now: float) -> None:
        if not self._live.is_started:
            self._live.start()
        width, height = self._console.size
        self._live.update(panel(answer, now, width=width, rows=max(1, height - FRAME_ROWS)), refresh=True)

    def close(self, answer: Answer, now: float) -> None:
        if self._live.is_started:
            self._live.update(panel(answer, now), refresh=True)
            self._live.stop()


def news(message: Message, answer: Answer) -> list[str]:
    """The lines for a message that the answer has just received; its errors are not among them."""
    if isinstance(message, bytes):
        return [_first_audio(answer)] if answer.playhead.chunks == 1 else []
    if message is None:
        return []
    match message.get("type"):
        case "ready":
            return [f"ready {answer.backend}  voice {answer.voice or 'default'}  {answer.sample_rate} Hz"]
        case "queued":
            return [answer.queued]
        case "generating":
            return _sentence_line(message.get("index"), "rendering", answer)
        case "resumed":
            return _sentence_line(message.get("sentence"), "resumed", answer)
        case "sentence":
            return _sentence_line(message.get("index"), str(message.get("event")), answer)
    return []


def summary(answer: Answer) -> str:
    outcome = "failed" if answer.faults else "stopped" if answer.stopped else "done"
    return "  ".join([outcome, *measures(answer)])


def measures(answer: Answer) -> list[str]:
    playhead = answer.playhead
    measured = [f"audio {playhead.received_s:.2f} s"]
    if playhead.real_time_factor is not None:
        gaps = f"gaps {len(playhead.gaps)}" + (f" ({sum(playhead.gaps):.2f} s)" if playhead.gaps else "")
        measured += [f"real-time factor {playhead.real_time_factor:.3f}", gaps]
    return measured


def panel(answer: Answer, now: float, *, width: int | None = None, rows: int | None = None) -> RenderableType:
    """The answer at this instant. `width` and `rows` keep it inside a window; without them all of it is shown."""
    shown = [answer.sentences[index] for index in sorted(answer.sentences)]
    hidden = 0 if rows is None else max(0, len(shown) - rows)
    table = _table(answer, wraps=width is None)
    for sentence in shown[hidden:]:
        table.add_row(*_row(answer, sentence, now))
    if answer.open_text.strip() and not answer.over:
        table.add_row(*_open_row(answer, width))
    above = [Text(f"… {hidden} before", style="dim")] if hidden else []
    return Panel(Group(*above, table, Text(), _footer(answer)), title=_title(answer), title_align="left", style="none")


def _table(answer: Answer, *, wraps: bool) -> Table:
    """Its columns do not move while the answer grows."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    workers = [len(_worker(sentence)) for sentence in answer.sentences.values()]
    for width in (len(str(len(answer.sentences))), 1, STATE_COLUMNS, max(workers, default=0), DURATION_COLUMNS):
        table.add_column(width=width, no_wrap=True)
    table.add_column(ratio=1, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    return table


def _worker(sentence: Sentence) -> str:
    return sentence.worker + (" resumed" if sentence.resumed else "")


def _row(answer: Answer, sentence: Sentence, now: float) -> list[RenderableType]:
    state = answer.state_of(sentence, now)
    style = STYLES[state]
    icon = ICONS.get(state) or SPINNER[int(now * SPINNER_HZ) % len(SPINNER)]
    duration = "" if sentence.duration_s is None else f"{sentence.duration_s:.2f} s"
    text_style = "bold" if state is State.PLAYING else "dim" if state in (State.WAITING, State.STOPPED) else ""
    return [
        Text(str(sentence.index + 1), "dim"),
        Text(icon, style),
        Text(state.value, style),
        Text(_worker(sentence), "dim"),
        Text(duration, justify="right"),
        Text(sentence.text, text_style),
    ]


def _open_row(answer: Answer, width: int | None) -> list[RenderableType]:
    text = answer.open_text.strip()
    room = None if width is None else max(1, width - FRAME_COLUMNS)
    tail = text if room is None or len(text) <= room else "…" + text[-room:]
    return ["", "", "", "", "", Text.assemble((tail, "dim"), ("▌", "blink"))]


def _title(answer: Answer) -> str:
    if not answer.backend:
        return "connecting"
    return " · ".join(filter(None, [answer.backend, answer.voice, f"{answer.sample_rate} Hz"]))


def _footer(answer: Answer) -> RenderableType:
    first = "no audio yet" if answer.playhead.first_audio_s is None else _first_audio(answer)
    line = Text(" · ".join(filter(None, [first, *measures(answer), answer.queued])), "cyan")
    if answer.stopped:
        line.append(" · stopped", "bold yellow")
    return Group(line, *(Text(f"error {fault}", "bold red") for fault in answer.faults))


def _first_audio(answer: Answer) -> str:
    return f"first audio {(answer.playhead.first_audio_s or 0.0) * 1000:.0f} ms"


_EVENTS = {"accepted": "waiting", "start": "playing", "end": "done"}


def _sentence_line(index: object, event: str, answer: Answer) -> list[str]:
    sentence = answer.sentences.get(index) if isinstance(index, int) else None
    if sentence is None:
        return []
    words = [f"sentence {sentence.index + 1} {_EVENTS.get(event, event)}"]
    if event == "accepted":
        words.append(sentence.text)
    if event == "end" and sentence.duration_s is not None:
        words.append(f"{sentence.duration_s:.2f} s")
    if event in ("rendering", "end", "resumed") and sentence.worker:
        words.append(sentence.worker)
    return ["  ".join(words)]
