"""A backend as a stream sees it: its pool, and what a client may ask of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from voice_server.core import options, voice_names
from voice_server.core.audio.listening import Listening, Measures, NoMeasures
from voice_server.core.budget import Budgets
from voice_server.core.limits import AccessLimits
from voice_server.core.report import AnswerReport, Origin
from voice_server.core.settings import BackendConfig
from voice_server.logs import tell_answer
from voice_server.pool.dispatcher import Dispatcher, RenderRequest
from voice_server.pool.pool import Pool
from voice_server.voices import Sample, VoiceStore


class OpenStream(Protocol):
    """A stream, as people may see it, and as others in line do."""

    listening: Listening

    @property
    def voice(self) -> str: ...

    def turn_away(self) -> None:
        """Somebody else takes its place in line."""


Teller = Callable[[Origin, AnswerReport], None]


class Backend:
    def __init__(self, config: BackendConfig, pool: Pool[Dispatcher], store: VoiceStore) -> None:
        self.config = config
        self.pool = pool
        self.default_options: dict[str, Any] = {}  # of streams that begin from now on; replaced, never changed
        self.measures: Measures = NoMeasures()
        self.budgets = Budgets(AccessLimits())  # of clients, where somebody limits them
        self.tellers: list[Teller] = [tell_answer]  # of each answer that has ended
        self.streams: dict[int, OpenStream] = {}  # open ones, by the id that the dispatcher gave them
        self.store = store  # of the voices that can be cloned; all backends of a server have the same

    def with_voices(self, store: VoiceStore) -> Backend:
        """The same engine and the same streams, with the voices of another store."""
        other = copy.copy(self)
        other.store = store
        return other

    @property
    def name(self) -> str:
        return self.config.name

    def answered(self, origin: Origin, report: AnswerReport) -> None:
        for tell in self.tellers:
            tell(origin, report)

    @property
    def voices(self) -> list[str]:
        """The voices of the engine and those it can clone; none are known before a worker was ready."""
        ready = self.pool.ready
        if ready is None:
            return []
        return [*ready.voices, *(name for name in self._samples if name not in ready.voices)]

    @property
    def sample_rate(self) -> int | None:
        """Hz of the engine, as soon as a worker has said it."""
        return self.pool.ready.sample_rate if self.pool.ready else None

    @property
    def lora_folder(self) -> Path | None:
        """Where its LoRA adapters lie, if a client may ask for one."""
        folder = self.config.options.get("loras")
        return Path(folder).expanduser() if folder and "lora" in self.config.opts else None

    def resolve_voice(self, name: str) -> str:
        """The voice for a client's name or alias; "" is the default, or the first one where that is missing.

        Before the first worker is ready nobody knows better than the client: the name goes through as it is. Raises
        UnknownVoice.
        """
        if not self.pool.ready:
            return name or self.config.voice
        return voice_names.resolve(name or self._default, self.voices, self.aliases, self.config.blends)

    @property
    def aliases(self) -> dict[str, str]:
        """Alias → voice: the configuration's go before those of samples."""
        sampled = {alias: name for alias, name in self.store.aliases.items() if name in self._samples}
        return {**sampled, **self.config.aliases}

    @property
    def voice_problems(self) -> dict[str, str]:
        """What an operator should know about the folder of samples, by file name."""
        lost = {alias: name for alias, name in self.store.aliases.items() if self.aliases.get(alias, name) != name}
        clashes = {
            f"{name}.json": f"its alias {alias} means {self.aliases[alias]} for the backend {self.name}, as configured"
            for alias, name in lost.items()
        }
        return {**clashes, **self.store.problems}

    @property
    def _default(self) -> str:
        """A sample that says so, or the configured voice; "" where neither is there: then it is the first one."""
        sampled = self.store.defaults.get(self.name, "")
        return next((name for name in (sampled, self.config.voice) if name in self.voices), "")

    def sample(self, voice: str) -> Sample | None:
        """The recording that this voice is cloned from, where it is."""
        return self._samples.get(voice)

    def voice_name(self, rendered: str) -> str:
        """The name of the voice of a render; "" where we know none, lest a client's own words are shown to others."""
        names = {sample.key: name for name, sample in self._samples.items()}
        return names.get(rendered, rendered if rendered in self.voices else "")

    def can_design(self, voice: str) -> bool:
        """Whether a description can take the place of this voice: not that of a sample; "" is none in particular."""
        return "design" in self.config.opts and voice not in self.store.samples

    def request(self, text: str, voice: str, options: dict[str, Any]) -> RenderRequest:
        """A render in a voice that `resolve_voice` gave. What has vanished since is for the engine to refuse."""
        sample = self._samples.get(voice)
        if sample is None:
            return RenderRequest(text, voice, options)
        told = {"path": str(sample.path), "transcript": sample.transcript}
        return RenderRequest(text, sample.key, options, told)

    @property
    def _samples(self) -> dict[str, Sample]:
        return self.store.samples if self.pool.ready and self.pool.ready.can_clone else {}

    def validate_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their defaults filled in. Raises BadOption."""
        return options.validate(values, self.config.opts)
