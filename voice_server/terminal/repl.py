"""Reads a line, speaks it, reads the next: with history and completion on a terminal, and from a pipe without."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from voice_server.core.errors import VoiceError
from voice_server.terminal.narrator import Narrator
from voice_server.terminal.tokens import parse_option

HELP = """/voice NAME  speak with another voice; /voice alone goes back to the backend's own
/voices      list the voices
/opt KEY=V   set an option of the backend; /opt alone forgets them all
/quit        leave, like Ctrl-D; Ctrl-C stops the speech or clears the line"""
COMMANDS = ("/voice", "/voices", "/opt", "/help", "/quit")

ReadLine = Callable[[], Awaitable[str]]  # raises EOFError at the end


class Repl:
    def __init__(self, narrator: Narrator, voices: list[str], read_line: ReadLine) -> None:
        self._narrator = narrator
        self._voices = voices
        self._read_line = read_line

    async def run(self) -> None:
        while (line := await self._next_line()) != "/quit":
            if line.startswith("/"):
                print(self._obey(*_split_command(line)), flush=True)
            elif line:
                await self._say(line)
        self._narrator.stopped = False  # a line that was interrupted is no reason to leave with a complaint

    async def _next_line(self) -> str:
        try:
            return (await self._read_line()).strip()
        except EOFError:
            return "/quit"
        except KeyboardInterrupt:
            return ""

    async def _say(self, line: str) -> None:
        try:
            await self._narrator.say(line)
        except VoiceError as error:
            print(f"error {error.code}: {error.message}", file=sys.stderr, flush=True)
            self._narrator.failed = True

    def _obey(self, command: str, argument: str) -> str:
        match command:
            case "/voice":
                return self._set_voice(argument)
            case "/voices":
                return "\n".join(self._voices)
            case "/opt":
                return self._set_option(argument)
            case "/help":
                return HELP
        return f"there is no command {command}; /help lists them"

    def _set_voice(self, voice: str) -> str:
        self._narrator.voice = voice
        return f"voice {voice or 'default'}"

    def _set_option(self, pair: str) -> str:
        if not pair:
            self._narrator.options = {}
            return "no options"
        try:
            key, value = parse_option(pair)
        except ValueError as error:
            return str(error)
        self._narrator.options = self._narrator.options | {key: value}
        return "  ".join(f"{key}={value}" for key, value in self._narrator.options.items())


def completions(line: str, voices: list[str]) -> list[str]:
    """What the last word of the line may become."""
    command, space, argument = line.partition(" ")
    if not space:
        return [word for word in COMMANDS if line and word.startswith(line)]
    return [voice for voice in voices if voice.startswith(argument)] if command == "/voice" else []


def line_reader(voices: list[str], prompt: str = "> ") -> ReadLine:
    """From the terminal when there is one, else from standard input."""
    if not sys.stdin.isatty():
        return _read_stdin
    session: PromptSession[str] = PromptSession(
        prompt, history=_history(), completer=_Completer(voices), auto_suggest=AutoSuggestFromHistory()
    )
    return session.prompt_async


class _Completer(Completer):
    def __init__(self, voices: list[str]) -> None:
        self._voices = voices

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        typed = len(line.rpartition(" ")[2])
        return (Completion(word, start_position=-typed) for word in completions(line, self._voices))


async def _read_stdin() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        raise EOFError
    return line


def _split_command(line: str) -> tuple[str, str]:
    command, _, argument = line.partition(" ")
    return command, argument.strip()


def _history() -> History:
    path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "voice-server" / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # what was said is nobody else's business
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
