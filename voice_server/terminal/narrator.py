"""Speaks one text after another over the sessions it is given, in the way the command line asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.answer import Answer
from voice_server.terminal.keyboard import ctrl_c_sets, no_echo
from voice_server.terminal.player import Player
from voice_server.terminal.session import Session
from voice_server.terminal.speak import Conversation, Sink
from voice_server.terminal.tokens import Option, split_pieces, split_tokens
from voice_server.terminal.view import LiveScreen, PlainScreen, Screen
from voice_server.terminal.wav import WavFile

FAILED = 1
STOPPED = 130  # what a shell reports after Ctrl-C


@dataclass(slots=True)
class Narrator:
    connect: Callable[..., Awaitable[Session]]  # takes the query of docs/stream-tokens.md
    voice: str = ""
    options: dict[str, Option] = field(default_factory=dict)
    sample_rate: str = ""
    output: Path | None = None
    audio: Any = None  # the sounddevice module, to play
    token_delay_s: float | None = None  # None: the whole text at once, and few words about it
    failed: bool = False  # an answer so far
    stopped: bool = False  # the last answer, by Ctrl-C
    limits: TerminalLimits = field(default_factory=TerminalLimits)

    async def say(self, text: str) -> None:
        """Raises VoiceError when there is no server, or the audio has nowhere to go."""
        answer = Answer(listening=self.audio is not None)
        wav = None if self.output is None else WavFile(self.output)
        wanted = {"voice": self.voice, "sample_rate": self.sample_rate}
        session = await self.connect(**{name: value for name, value in wanted.items() if value})
        try:
            await self._converse(session, answer, wav, text)
        finally:
            await session.close()
        if wav is not None and wav.wrote:
            print(wav.wrote, flush=True)
        self.failed |= bool(answer.faults)
        self.stopped = answer.stopped

    @property
    def exit_code(self) -> int:
        return FAILED if self.failed else STOPPED if self.stopped else 0

    async def _converse(self, session: Session, answer: Answer, wav: WavFile | None, text: str) -> None:
        sinks: list[Sink] = [] if wav is None else [wav]
        if self.audio is not None:
            sinks.append(Player(self.audio))
        interrupted = asyncio.Event()
        with ctrl_c_sets(interrupted), no_echo():
            await Conversation(session, answer, self._screen(), sinks, limits=self.limits).run(
                split_pieces(text) if self.token_delay_s is None else split_tokens(text),
                options=self.options,
                delay_s=self.token_delay_s or 0.0,
                interrupted=interrupted,
            )

    def _screen(self) -> Screen:
        console = Console()
        if self.token_delay_s is None or not console.is_terminal or console.is_dumb_terminal:
            return PlainScreen(sys.stdout, sys.stderr, brief=self.token_delay_s is None)
        return LiveScreen(console)
