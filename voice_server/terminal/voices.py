"""`voices`: list, show, add, remove and hear the voices of the folder of samples.

Promises: works on the folder itself, with or without a server; one that runs sees the change at its next look. Nothing
is written unless all of it is right. Only `preview` starts an engine, and only `list --url` asks a server.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from voice_server.core.errors import BadSample, UnknownVoice
from voice_server.core.limits import VoiceLimits
from voice_server.core.text.preview_texts import preview_text
from voice_server.terminal.asking import ask
from voice_server.terminal.local import LocalGateway
from voice_server.terminal.narrator import Narrator
from voice_server.terminal.player import load_audio
from voice_server.terminal.session import Session
from voice_server.terminal.wav import check_writable
from voice_server.voices import About, Sample, VoiceStore

DEFAULT_OUTPUT = Path("output.wav")
_PIPE_COLUMNS = 140  # of a table that no terminal limits
_SHOWN_CHARS = 60  # of a transcript in a list
_LIMITS = VoiceLimits()


class Voice(msgspec.Struct, frozen=True):
    """A line of the list, as a server tells it, or as the folder has it."""

    id: str
    kind: str = "sample"
    backends: tuple[str, ...] = ()
    duration_s: float | None = None
    language: str = ""
    transcript: str = ""


class _Told(msgspec.Struct, frozen=True):
    voices: tuple[Voice, ...]


# The commands


def list_here(store: VoiceStore, console: Console | None = None) -> int:
    """The voices of the folder, and which files are none."""
    console = _console(console)
    store.scan()
    voices = [_voice(sample) for sample in store.samples.values()]
    console.print(_table(voices, ("name", "seconds", "language", "transcript")) if voices else "no voices yet")
    for file, problem in store.problems.items():
        console.print(Text(f"{file}: {problem}", "yellow"))
    told = "Who can speak them, and the voices of engines: voices list --url http://127.0.0.1:8000"
    console.print(Text(told, "dim"))
    return 0


def list_of_server(url: str, token: str, console: Console | None = None) -> int:
    """Raises CannotConnect."""
    voices = ask(url, "/v1/audio/voices", _Told, token).voices
    _console(console).print(_table(voices, ("name", "kind", "backends", "seconds", "language", "transcript")))
    return 0


def show(store: VoiceStore, name: str, console: Console | None = None) -> int:
    """Raises UnknownVoice."""
    sample = find(store, name)
    rows = {
        "name": sample.name,
        "recording": str(sample.original),
        "clean copy": str(sample.path),
        "seconds": f"{sample.duration_s:.1f}",
        "language": sample.about.language,
        "transcript": sample.transcript,
        "consent": sample.about.consent,
        "licence": sample.about.licence,
        "aliases": ", ".join(sample.about.aliases),
        "default of": ", ".join(sample.about.default_of),
    }
    table = Table.grid(padding=(0, 2))
    for about, told in rows.items():
        table.add_row(Text(about, "dim", no_wrap=True), Text(told or "–", overflow="fold"))
    _console(console).print(table)
    return 0


def add(store: VoiceStore, given: argparse.Namespace, console: Console | None = None) -> int:
    """Raises BadSample and VoiceExists."""
    file: Path = given.file
    about = About(
        language=given.language,
        consent=given.consent,
        licence=given.licence,
        aliases=tuple(given.alias),
        default_of=tuple(given.default_of),
    )
    sound, words = _read(file, _LIMITS.sample_bytes), _transcript(given, file)
    sample = store.add(given.name or file.stem, sound, file.suffix, words, about)
    without = "" if sample.transcript else "; with its words in --transcript, some engines clone it better"
    told = f"{sample.name} is a voice: {sample.duration_s:.1f} s, {sample.original}{without}"
    _console(console).print(Text(told))
    return 0


def remove(store: VoiceStore, name: str, console: Console | None = None) -> int:
    """Raises UnknownVoice."""
    store.remove(find(store, name).name)
    _console(console).print(Text(f"{name} is gone, and all that was kept of it"))
    return 0


async def preview(gateway: LocalGateway, store: VoiceStore, given: argparse.Namespace) -> int:
    """Raises UnknownVoice, NoAudio and CannotWrite."""
    if given.name not in gateway.voices:
        able = f"{gateway.backend} has no voice {given.name!r}"
        raise UnknownVoice(f"{able}; a sample needs a backend that clones: --backend voxcpm, or tone to try it")
    sample = store.samples.get(given.name)
    text = given.text or preview_text(sample.about.language if sample else "")
    audio, output = (load_audio(), given.output) if given.play else (None, given.output or DEFAULT_OUTPUT)

    async def connect(**query: object) -> Session:
        return gateway.connect(**query)

    narrator = Narrator(connect=connect, voice=given.name, output=output, audio=audio)
    await narrator.say(text)
    return narrator.exit_code


def check_preview(given: argparse.Namespace) -> None:
    """What is wrong with the command is told before an engine loads. Raises NoAudio and CannotWrite."""
    if given.play:
        load_audio()
    if given.output:
        check_writable(given.output)


def find(store: VoiceStore, name: str) -> Sample:
    """Raises UnknownVoice, with why its file is none."""
    store.scan()
    if name in store.samples:
        return store.samples[name]
    why = next((f" ({file}: {told})" for file, told in store.problems.items() if Path(file).stem == name), "")
    raise UnknownVoice(f"no recording here is the voice {name!r}{why}; `voices list` shows those there are")


# What is read


def _transcript(given: argparse.Namespace, file: Path) -> str:
    """As told; or the text beside the recording, as in the folder of samples. Raises BadSample."""
    if given.transcript is not None:
        return str(given.transcript)
    beside = file.with_suffix(".txt")
    source = given.transcript_file or (beside if beside.is_file() else None)
    try:
        return _read(source, _LIMITS.transcript_chars * 4).decode("utf-8-sig") if source else ""
    except UnicodeDecodeError as error:
        raise BadSample(f"{source} is not UTF-8: save it as UTF-8") from error


def _read(path: Path, most: int) -> bytes:
    """A little more than the most at most: the store says what is too much. Raises BadSample."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise BadSample(f"cannot read {path}: {error.strerror}") from error


# What is shown


def _voice(sample: Sample) -> Voice:
    about = sample.about
    return Voice(sample.name, duration_s=sample.duration_s, language=about.language, transcript=sample.transcript)


def _table(voices: Iterable[Voice], columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column == "seconds" else "left", no_wrap=column != "transcript")
    for voice in voices:
        table.add_row(*(Text(_cell(voice, column)) for column in columns))
    return table


def _cell(voice: Voice, column: str) -> str:
    seconds = "" if voice.duration_s is None else f"{voice.duration_s:.1f}"
    words = textwrap.shorten(voice.transcript, _SHOWN_CHARS, placeholder=" …")
    backends = ", ".join(voice.backends) or "none"
    special = {"name": voice.id, "seconds": seconds, "backends": backends, "transcript": words}
    return special.get(column) or str(getattr(voice, column, ""))


def _console(console: Console | None) -> Console:
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_COLUMNS
    return console


# The arguments


def add_arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser, token: str) -> None:
    """`given.act` is the command's name."""
    commands = parser.add_subparsers(dest="act", metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="the voices of the folder, or of a server", parents=[common])
    listing.add_argument("--url", default="", help="ask this server: also for engines' voices, and who can speak which")
    listing.add_argument("--token", default=token, help="of the server")
    adding = commands.add_parser("add", help="make a voice from a recording", parents=[common])
    adding.add_argument("file", type=Path, metavar="FILE", help="1 to 30 s of one person: wav, mp3, flac or ogg")
    adding.add_argument("--name", default="", help="default: the file's own")
    words = adding.add_mutually_exclusive_group()
    words.add_argument("--transcript", help="the exact words of the recording; default: FILE's text, if it has one")
    words.add_argument("--transcript-file", type=Path, metavar="FILE", help="they are in this file")
    adding.add_argument("--language", default="", help="as in en or pt-BR")
    adding.add_argument("--consent", default="", help="who agreed to what")
    adding.add_argument("--licence", default="", help="of the recording")
    adding.add_argument("--alias", action="append", default=[], metavar="NAME", help="one more name; may be repeated")
    adding.add_argument(
        "--default-of", action="append", default=[], metavar="BACKEND", help="whose default it is; may be repeated"
    )
    for act, what in (
        ("show", "all that is known of a voice"),
        ("remove", "delete a voice and all that is kept of it"),
    ):
        commands.add_parser(act, help=what, parents=[common]).add_argument("name", metavar="NAME")
    _add_preview(commands.add_parser("preview", help="hear a voice", parents=[common]))


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--backend", default="auto", help="who is to speak (default: the first that fits)")
    parser.add_argument("--text", default="", help="what to say; default: a sentence in the voice's language")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", type=Path, metavar="FILE", help=f"default: {DEFAULT_OUTPUT}")
    where.add_argument("--play", action="store_true", help="play it here")
