"""The first minutes: the one screen that the server prints when it can speak, and what it says when nothing can.

Pure text from facts, in 80 columns and 24 rows. Every command in it runs as it stands, in a terminal opened in the
folder that the server was started in; the tests run them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from rich.text import Text

from voice_server.core.errors import VoiceError
from voice_server.core.settings import AUTO, Config, Gpu, pick_backend

WIDTH = 79  # one less than a terminal: some wrap at the last column
_VOICES = 5  # names shown; the page shows all
_LABEL = 10  # columns of "Backend" and what follows it
_BEST = "voxcpm"  # the backend that is worth a GPU
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # all addresses of a machine: no browser opens that
_TOKEN = '-H "Authorization: Bearer $VOICE_SERVER_TOKEN"'
_HELLO = "Hello there. How are you?"


@dataclass(frozen=True, slots=True)
class Start:
    """What is known before a backend can speak."""

    url: str  # of the page, for a browser on this machine
    needs_token: bool
    python: str  # how to run Python as the server is run: "uv run --no-dev python"
    client: str  # how to run client.py; "" where there is none
    samples: str  # the folder where a file becomes a voice
    gpu: str = ""  # what it takes to run VoxCPM, where it does not run

    @property
    def doctor(self) -> str:
        return f"{self.python} -m voice_server doctor"


@dataclass(frozen=True, slots=True)
class Speaking:
    """What the first backend that is ready has told."""

    backend: str
    reason: str  # why it runs, as a sentence
    sample_rate: int  # Hz
    voices: Sequence[str]
    can_clone: bool


def welcome(start: Start, speaking: Speaking) -> Text:
    """The screen."""
    parts = [
        Text("The voice gateway can speak.", "bold green"),
        Text(),
        _entry("Page", start.url, "bold cyan"),
        _entry("Backend", f"{speaking.backend}, {speaking.sample_rate} Hz. {speaking.reason}"),
        _entry("Voices", f"{_voices(speaking.voices)}. {_how_to_add(start, speaking)}"),
        *([_entry("VoxCPM", start.gpu)] if start.gpu else []),
        _entry("Trouble?", start.doctor),
        Text(),
        Text(_invitation(start), "bold"),
        *(Text(f"  {line}", "cyan") for command in commands(start) for line in command.splitlines()),
        Text(),
        Text("Ctrl-C stops the server.", "dim"),
    ]
    return Text("\n").join([Text(), *parts, Text()])


def commands(start: Start) -> list[str]:
    """What to type first: each makes a file to listen to."""
    data = f"""-d '{{"input": "{_HELLO}"}}'"""
    words = [data, _TOKEN] if start.needs_token else [data]
    curl = " \\\n  ".join([f"curl {start.url}v1/audio/speech -o hello.mp3", *words])
    if not start.client:
        return [curl]
    url = start.url.replace("http", "ws", 1)
    return [curl, f'{start.client} --url {url}stream-tokens \\\n  --text "{_HELLO}" --output hello.wav']


def silence(start: Start) -> Text:
    """When all backends have failed."""
    line = f"Nothing can speak yet. What is wrong, and what to do about it: {start.doctor}"
    return Text(line, "bold red")


def page_url(url: str) -> str:
    """Where a browser on this machine finds what listens on `url`."""
    parts = urlsplit(url)
    host, _, port = parts.netloc.rpartition(":")
    return urlunsplit((parts.scheme, f"{_ANYWHERE.get(host, host)}:{port}", "/", "", ""))


def gpu_advice(config: Config, running: Sequence[str], gpus: Sequence[Gpu], why_none: str) -> str:
    """What it takes to run VoxCPM here; "" when it runs, or nobody has configured it. `why_none`: as doctor says it."""
    backend = config.backends.get(_BEST)
    if backend is None or _BEST in running:
        return ""
    try:
        pick_backend(Config(config.path, AUTO, {_BEST: backend}), "", gpus)
    except VoiceError:
        missing = why_none or f"the most here is {max((gpu.free_gib for gpu in gpus), default=0.0):.1f} GiB"
        needed = f"clones voices. It needs {backend.needs.cuda_gib:g} GiB of free GPU memory: {missing}"
        return f"{needed}. Where there is more, --backend {_BEST} starts it."
    return f"clones voices, and fits this machine: --backend {_BEST} starts it."


def _entry(label: str, text: str, style: str = "") -> Text:
    """A label and its text, wrapped beside it; an address is never broken."""
    lines = textwrap.wrap(text, WIDTH - _LABEL, break_long_words=False, break_on_hyphens=False)
    return Text.assemble((f"{label:{_LABEL}}", "bold"), ("\n".join(lines).replace("\n", "\n" + " " * _LABEL), style))


def _voices(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_VOICES])
    hidden = len(names) - _VOICES
    return f"{len(names)}: {shown}" + (f" and {hidden} more" if hidden > 0 else "")


def _how_to_add(start: Start, speaking: Speaking) -> str:
    if speaking.can_clone:
        return f"Drop a recording into {start.samples}/, or onto the page, and it is one more."
    return f"A recording dropped into {start.samples}/ is one more for a backend that clones."


def _invitation(start: Start) -> str:
    return "Try it in another terminal" + (", with VOICE_SERVER_TOKEN set:" if start.needs_token else ":")
