"""A backend that listens, as a hearing sees it: its pool, and what a client may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from voice_server.core import options
from voice_server.core.report import HearingMeasures, HearingReport, NoHearingMeasures, Origin
from voice_server.core.settings import BackendConfig
from voice_server.logs import tell_answer
from voice_server.pool.pool import Pool
from voice_server.pool.switchboard import Switchboard

Teller = Callable[[Origin, HearingReport], None]


class Recogniser:
    def __init__(self, config: BackendConfig, pool: Pool[Switchboard]) -> None:
        self.config = config
        self.pool = pool
        self.measures: HearingMeasures = NoHearingMeasures()
        self.tellers: list[Teller] = [tell_answer]  # of each hearing that has ended

    def answered(self, origin: Origin, report: HearingReport) -> None:
        for tell in self.tellers:
            tell(origin, report)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def languages(self) -> list[str]:
        """Codes that its engine knows; none are known before a worker was ready."""
        return self.pool.ready.languages if self.pool.ready else []

    @property
    def sample_rate(self) -> int | None:
        """Hz of what its engine hears, as soon as a worker has said it."""
        return self.pool.ready.sample_rate if self.pool.ready else None

    def validate_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their defaults filled in. Raises BadOption."""
        return options.validate(values, self.config.opts)
