"""A backend as a stream sees it: its pool, and what a client may ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_server.core import options, voice_names
from voice_server.core.settings import BackendConfig
from voice_server.pool.pool import Pool


class Backend:
    def __init__(self, config: BackendConfig, pool: Pool) -> None:
        self.config = config
        self.pool = pool

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def voices(self) -> list[str]:
        """The voices of the engine; none are known before a worker was ready."""
        return self.pool.ready.voices if self.pool.ready else []

    @property
    def sample_rate(self) -> int | None:
        """Hz of the engine, as soon as a worker has said it."""
        return self.pool.ready.sample_rate if self.pool.ready else None

    def resolve_voice(self, name: str) -> str:
        """The engine's voice for a client's name or alias; "" is the default. Raises UnknownVoice.

        Before the first worker is ready nobody knows better than the client: the name goes through as it is.
        """
        wanted = name or self.config.voice
        return voice_names.resolve(wanted, self.voices, self.config.aliases) if self.pool.ready else wanted

    def validate_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their defaults filled in. Raises BadOption."""
        return options.validate(values, self.config.opts)
