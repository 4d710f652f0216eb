"""Speech in a Python program, without a server: `from voice_server import Voice`.

    async with Voice("hibari") as voice:            with Voice("hibari") as voice:
        audio = await voice.generate("Hello.")          audio = voice.generate("Hello.")

Promises: the engine runs in worker processes of its own, in an environment of its own, and is restarted when it dies;
they end with the program, however it ends. Audio is float32, mono, in [-1, 1], of shape (n,), at `sample_rate`. What
goes wrong is a VoiceError, whose `code` is stable. Any number of answers may be spoken at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from voice_server.assembly import SAMPLES, Choice, choose_one, running
from voice_server.blocking import BlockingVoice
from voice_server.config import Config, ConfigError, load_config
from voice_server.core.audio.floats import Audio, from_pcm, to_pcm
from voice_server.core.errors import BackendUnavailable, EmptyText, GoingAway, UnknownBackend, VoiceError
from voice_server.core.events import AudioChunk, Problem
from voice_server.core.limits import Limits
from voice_server.core.placement import place
from voice_server.core.settings import AUTO, Gpu
from voice_server.machine import see_gpus
from voice_server.pool.pool import Pool
from voice_server.stream import loras
from voice_server.stream.backend import Backend
from voice_server.stream.hearing import HearingSettings
from voice_server.stream.recogniser import Recogniser
from voice_server.stream.speech import Speech
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import ends_answer
from voice_server.stream.whole_hearing import heard_whole, in_pieces, patient
from voice_server.terminal.wav import CannotWrite, check_writable
from voice_server.venvs import VenvBuildFailed
from voice_server.wire.messages import STT, TTS

__all__ = ["Audio", "BlockingVoice", "CannotStart", "CannotWrite", "Info", "NotRunning", "Voice", "VoiceError"]

Status = Literal["stopped", "loading", "ready", "failed"]
Engine = TypeVar("Engine", Backend, Recogniser)

_log = logging.getLogger("voice_server")


class CannotStart(VoiceError):
    """The configuration is wrong, or an environment could not be built. The message says what to do."""

    code = "cannot_start"


class NotRunning(VoiceError):
    """The voice was not started, or is stopped."""

    code = "not_running"


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of a voice; what only the engine can tell is empty until it is ready."""

    status: Status
    problem: str  # why it is not ready, for a person
    backend: str  # "" where nothing speaks
    device: str  # "cpu" or "cuda"
    sample_rate: int | None  # Hz, of all audio
    voices: list[str]
    languages: list[str]  # codes, such as en or de
    options: list[str]  # that `generate` and `stream` take
    lora: str  # the adapter that is loaded
    listens: str  # the backend behind `transcribe`; "" where there is none


class Voice:
    """A voice of this program. Verbs are coroutines in `async with`, and plain calls in `with`: see BlockingVoice.

    `backend` is a name in backends.yaml; "auto" is the first that this machine can run, None is none. `listen` names a
    backend of kind stt for `transcribe`. `pool_size` is the number of workers of each (None: as configured). `config`
    is a backends.yaml of your own. `samples` is a folder of recordings: the stem of each is a voice. `on_progress` is
    told in words what takes long at the start, from any thread; left out, the logger `voice_server` is.
    """

    def __init__(
        self,
        backend: str | None = AUTO,
        *,
        listen: str | None = None,
        pool_size: int | None = None,
        config: str | Path | None = None,
        samples: str | Path = SAMPLES,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._names = {TTS: backend, STT: listen}
        self._pool_size = max(0, pool_size or 0)
        self._config = Path(config) if config else None
        self._samples = Path(samples)
        self._report = on_progress or _log.info
        self._limits = Limits()
        self._running = AsyncExitStack()
        self._backend: Backend | None = None
        self._recogniser: Recogniser | None = None
        self._device = ""
        self._speeches: set[Speech] = set()
        self._blocking: BlockingVoice | None = None

    # Its life

    async def start(self) -> None:
        """Build what is missing and start the workers, which load. Raises CannotStart, UnknownBackend, …"""
        if self._is_running:
            raise CannotStart("this voice runs already")
        gpus = see_gpus(os.environ).gpus
        try:
            choices = self._choices(load_config(self._config), gpus)
            starting = running(choices, self._pool_size, self._limits, self._report, self._samples)
            started = await self._running.enter_async_context(starting)
        except (ConfigError, VenvBuildFailed) as error:
            raise CannotStart(str(error)) from error
        self._backend = next(iter(started.backends), None)
        self._recogniser = next(iter(started.recognisers), None)
        self._device = place(choices[0].config, self._pool_size, gpus)[0].device
        for choice in choices:
            self._report(f"loading {choice.config.name}: {choice.reason}")

    async def stop(self) -> None:
        """End everything at once: who still reads an answer gets GoingAway. May be called again."""
        for speech in self._speeches:
            speech.end(GoingAway("the voice was stopped"))
        self._backend = self._recogniser = None
        await self._running.aclose()

    async def __aenter__(self) -> Voice:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def blocking(self) -> BlockingVoice:
        """Start it on a thread of its own, for a program without an event loop; `stop` what you get in the end."""
        return BlockingVoice(self)

    def __enter__(self) -> BlockingVoice:
        self._blocking = self.blocking()
        return self._blocking

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._blocking:
            self._blocking.stop()

    async def await_ready(self, timeout_s: float | None = None) -> None:
        """Return when it can speak, and listen. The verbs wait by themselves. Raises BackendUnavailable, NotRunning."""
        if not self._is_running:
            raise NotRunning("start the voice first: `async with Voice() as voice`, or `with`")
        try:
            for pool in self._pools:
                await asyncio.wait_for(pool.until_ready(), timeout_s)
        except asyncio.TimeoutError:
            raise BackendUnavailable(f"not ready within {timeout_s} s: {self._problem}") from None
        except BackendUnavailable:
            raise BackendUnavailable(self._problem) from None

    @property
    def info(self) -> Info:
        backend, recogniser = self._backend, self._recogniser
        return Info(
            status=self._status,
            problem=self._problem,
            backend=backend.name if backend else "",
            device=self._device,
            sample_rate=backend.sample_rate if backend else None,
            voices=backend.voices if backend else [],
            languages=list(backend.config.languages) if backend else [],
            options=list(backend.config.opts) if backend else [],
            lora=loras.default_of(backend) if backend else "",
            listens=recogniser.name if recogniser else "",
        )

    @property
    def sample_rate(self) -> int:
        """Hz, of all audio. Raises NotRunning before it is known: `await_ready` first."""
        rate = self._backend.sample_rate if self._backend else None
        if rate is None:
            raise NotRunning("the engine has not said its rate yet: `await_ready` first")
        return rate

    # Speaking

    async def generate(self, text: str, voice: str = "", **options: Any) -> Audio:
        """The whole `text` as float32 of shape (n,), at `sample_rate`.

        `voice` is one of `info.voices`, "" the default; `options` are those of the backend. Several at once share the
        workers and come after those who `stream`. Raises EmptyText, UnknownVoice, BadOption, TextTooLong,
        SentenceFailed, Overloaded, BackendUnavailable, NotRunning: half an answer is none.
        """
        chunks = [chunk async for chunk in self._speak(_once(text), voice, options, live=False)]
        return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)

    def stream(self, text: str, voice: str = "", **options: Any) -> AsyncGenerator[Audio, None]:
        """The same piece by piece, while it is rendered: float32 of shape (n,), n > 0.

        Closing it, or leaving its loop, stops the engine. A sentence that fails is left out, and its error is raised
        after the others. A slow reader is waited for.
        """
        return self._speak(_once(text), voice, options, live=True)

    def stream_tokens(self, tokens: AsyncIterable[str], voice: str = "", **options: Any) -> AsyncGenerator[Audio, None]:
        """As `stream`, of a text that is still being written: a language model's tokens, of any size.

        The first sentence is heard while the next ones are written. Closing it (barge-in) also closes `tokens`; an
        error of `tokens` is raised when what came before it was spoken.
        """
        return self._speak(tokens, voice, options, live=True)

    def save(self, audio: NDArray[Any], path: str | Path, sample_rate: int | None = None) -> None:
        """Write `audio` to a .wav, .flac, .ogg or .mp3 file, at `sample_rate` (Hz) or that of this voice.

        Raises CannotWrite.
        """
        rate = sample_rate or self.sample_rate
        check_writable(Path(path))
        try:
            soundfile.write(path, audio, rate)
        except (OSError, soundfile.SoundFileError, TypeError, ValueError) as error:
            raise CannotWrite(f"cannot write {path}: {error}") from error

    async def load_lora(self, name: str) -> None:
        """What begins from now on is spoken with this adapter, a folder in the one that the backend's option `loras`
        names. Raises UnknownLora, BadOption, NotRunning."""
        await loras.make_default(self._speaking(), name)

    async def unload_lora(self) -> None:
        """What begins from now on is spoken without one."""
        loras.drop_default(self._speaking())

    # Listening

    async def transcribe(self, audio: NDArray[Any], sample_rate: int | None = None, **options: Any) -> str:
        """The words in `audio`: float in [-1, 1] or int16, of shape (n,) or (n, channels), of any length.

        `sample_rate` (Hz) is that of this voice when left out. Needs `Voice(listen=…)`. Raises HearingFailed,
        BadOption, UnknownFormat, Overloaded, BackendUnavailable, NotRunning.
        """
        await self.await_ready()
        if not self._recogniser:
            raise NotRunning("nothing listens here: start it with `Voice(listen=…)`, a backend of kind stt")
        rate = sample_rate or self.sample_rate
        pcm = to_pcm(audio)
        settings = HearingSettings(rate, options)
        done = await heard_whole(self._recogniser, patient(self._limits), settings, in_pieces(pcm, rate))
        return done.text

    # Inside

    async def _speak(
        self, tokens: AsyncIterable[str], voice: str, options: dict[str, Any], *, live: bool
    ) -> AsyncGenerator[Audio, None]:
        await self.await_ready()
        backend, problem = self._speaking(), None
        settings = StreamSettings(live=live, sample_rate=backend.sample_rate or 0)
        speech = Speech(backend, self._limits, settings, voice, options)
        self._speeches.add(speech)
        try:
            async with aclosing(speech.events(tokens)) as events:
                async for event in events:
                    if isinstance(event, AudioChunk):
                        yield from_pcm(event.pcm)
                    elif isinstance(event, Problem):
                        problem = problem or event.error
                        if not live or ends_answer(event):
                            break
        finally:
            self._speeches.discard(speech)
        if problem:
            raise problem

    def _speaking(self) -> Backend:
        if not self._backend:
            raise NotRunning("nothing speaks here: start it, with a backend of kind tts")
        return self._backend

    def _choices(self, config: Config, gpus: Sequence[Gpu]) -> list[Choice]:
        wanted = {kind: name for kind, name in self._names.items() if name is not None}
        if not wanted:
            raise UnknownBackend("name a backend that speaks, or one that listens")
        return [choose_one(config, kind, name, gpus) for kind, name in wanted.items()]

    @property
    def _is_running(self) -> bool:
        return bool(self._backend or self._recogniser)

    @property
    def _pools(self) -> list[Pool[Any]]:
        return [engine.pool for engine in (self._backend, self._recogniser) if engine]

    @property
    def _problem(self) -> str:
        return "; ".join(pool.problem for pool in self._pools if pool.problem)

    @property
    def _status(self) -> Status:
        if not self._is_running:
            return "stopped"
        if all(pool.is_ready for pool in self._pools):
            return "ready"
        hopeless = any(not any(slot.may_recover for slot in pool.slots) for pool in self._pools)
        return "failed" if hopeless else "loading"


async def _once(text: str) -> AsyncGenerator[str, None]:
    if not text.strip():
        raise EmptyText("there is no text to speak", field="text")
    yield text
