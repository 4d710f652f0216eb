"""`transcribe`: a file of sound as text on standard output, plain, as subtitles, or as JSON with the times."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from voice_server.core.doors.transcriptions_protocol import Asked, body, options_of
from voice_server.core.errors import BadMessage
from voice_server.core.limits import Limits, TerminalLimits
from voice_server.pool.decoding import check_header, decoded
from voice_server.stream.hearing import HearingSettings
from voice_server.stream.recogniser import Recogniser
from voice_server.stream.whole_hearing import heard_whole, patient
from voice_server.terminal.tokens import parse_options

_FORMATS = {"text": "text", "srt": "srt", "vtt": "vtt", "json": "verbose_json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="wav, mp3, flac or ogg")
    parser.add_argument("--backend", default="", help="of kind stt (default: the first one)")
    parser.add_argument("--format", default="text", choices=_FORMATS, help="default: %(default)s")
    parser.add_argument("--language", default="", help="what is spoken, such as en (default: as the backend has it)")
    parser.add_argument("--opt", action="append", default=[], metavar="KEY=VALUE", help="an option of the backend")


def read_sound(given: argparse.Namespace, limits: TerminalLimits) -> bytes:
    """Before anything slow begins. Raises BadMessage, UnknownFormat, AudioTooLong."""
    try:
        sound: bytes = given.file.read_bytes()
    except OSError as error:
        raise BadMessage(f"cannot read {given.file}: {error.strerror}") from error
    check_header(sound, replace(Limits().transcriptions, longest_s=limits.sound_s))
    return sound


async def transcribe(recogniser: Recogniser, limits: Limits, given: argparse.Namespace, sound: bytes) -> int:
    """The recogniser is ready. Raises what is wrong with the sound or the options, and what came in the way."""
    asked = Asked(language=given.language, response_format=_FORMATS[given.format], opts=_options(given.opt))
    rate = recogniser.sample_rate
    assert rate is not None
    settings = HearingSettings(rate, options_of(asked, recogniser.config.opts, recogniser.languages))
    async with decoded(sound, rate, replace(limits.transcriptions, longest_s=TerminalLimits().sound_s)) as pieces:
        done = await heard_whole(recogniser, patient(limits), settings, pieces)
    text = body(asked, done, given.language or _only(recogniser.languages)).decode()
    await asyncio.to_thread(sys.stdout.write, text if text.endswith("\n") else f"{text}\n")
    return 0


def _options(pairs: list[str]) -> dict[str, str | int | float | bool]:
    try:
        return parse_options(pairs)
    except ValueError as error:
        raise BadMessage(str(error)) from error


def _only(languages: list[str]) -> str:
    return languages[0] if len(languages) == 1 else ""
