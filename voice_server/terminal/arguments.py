"""The arguments that cli.py and client.py have in common, and the frame both run in."""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from voice_server.core.errors import VoiceError
from voice_server.terminal.narrator import FAILED, STOPPED, Narrator
from voice_server.terminal.player import NoAudio, load_audio
from voice_server.terminal.session import Session
from voice_server.terminal.tokens import parse_options, read_text
from voice_server.terminal.wav import check_writable

DEFAULT_OUTPUT = Path("output.wav")
NO_EXIT_CODES: Mapping[type[Exception], int] = {}
TOKEN_DELAY_S = 0.05  # twenty tokens a second, the pace of a middling model


def add_speech_arguments(parser: argparse.ArgumentParser) -> None:
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", help="what to say; - reads it from standard input")
    text.add_argument("--text-file", type=Path, metavar="FILE", help="say what is in this file")
    parser.add_argument("--voice", default="", help="the voice; the backend's own when left out")
    parser.add_argument("--opt", action="append", default=[], metavar="KEY=VALUE", help="an option of the backend")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the audio: .wav .flac .ogg .mp3, or .pcm")
    parser.add_argument("--play", action="store_true", help="play the audio while it arrives")
    parser.add_argument("--sample-rate", default="", metavar="HZ", help="8000 to 48000, or native (default: 24000)")
    parser.add_argument(
        "--token-delay", type=float, default=TOKEN_DELAY_S, metavar="S", help="seconds between tokens (%(default)s)"
    )


def text_of(args: argparse.Namespace, parser: argparse.ArgumentParser) -> str | None:
    """The text to say, or None when none was named. Ends the program when it cannot be read, or says nothing."""
    try:
        text = read_text(args.text, args.text_file, sys.stdin)
    except OSError as error:
        parser.error(f"cannot read {args.text_file}: {error.strerror}")
    if text is not None and not text.strip():
        parser.error("the text is empty")
    return text


def narrator_of(
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    connect: Callable[..., Awaitable[Session]],
    *,
    token_delay_s: float | None,
    play: bool | None = None,
) -> Narrator:
    """`play` None means: if this machine can. Raises NoAudio and CannotWrite before anything slow has begun."""
    try:
        options = parse_options(args.opt)
    except ValueError as error:
        parser.error(str(error))
    if args.output is not None:
        check_writable(args.output)
    return Narrator(
        connect=connect,
        voice=args.voice,
        options=options,
        sample_rate=args.sample_rate,
        output=args.output,
        audio=_audio(required=bool(play) and args.output is None) if play is not False else None,
        token_delay_s=token_delay_s,
    )


def run_program(main: Coroutine[Any, Any, int], exit_codes: Mapping[type[Exception], int] = NO_EXIT_CODES) -> int:
    """Runs it to its exit code; an error that a person can mend is a line and no traceback.

    `exit_codes` names errors that are such, besides VoiceError.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # bytes that are no text, letters that a terminal lacks: "?"
    try:
        return asyncio.run(main)
    except VoiceError as error:
        tell(f"error {error.code}: {error.message}")
        return FAILED
    except tuple(exit_codes) as error:
        tell(str(error))
        return exit_codes[type(error)]
    except KeyboardInterrupt:
        return STOPPED


def tell(line: str) -> None:
    """A word about the program itself: standard output belongs to what was asked for."""
    print(line, file=sys.stderr, flush=True)


def _audio(*, required: bool) -> Any:
    try:
        return load_audio()
    except NoAudio as error:
        if required:
            raise
        tell(error.message)
        return None
