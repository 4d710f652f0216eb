"""Metrics of backends that listen: what became of hearings, and how far behind the voice their text comes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from voice_server.core.report import HearingReport, Origin

_BACKEND = ("backend",)
_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class HearingMetrics:
    """Of all backends."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.open = Gauge("voice_hearings", "Hearings that are open, waiting ones too.", _BACKEND, registry=registry)
        self.heard = self._counter("heard_seconds", "Audio that workers have worked on.")
        self.dropped = self._counter("dropped_seconds", "Audio that came faster than it was heard.")
        self.busy = self._counter("hearing_busy_seconds", "Time of engines that had audio at hand all the while.")
        self.busy_audio = self._counter("hearing_busy_audio_seconds", "Audio that was heard in that time.")
        self.partial = self._histogram("partial", "From a piece of audio to a text that knows it.")
        self.final = self._histogram("final", "From the end of the audio to its last text.")
        self._ends = self._counter("hearing_ends", "Hearings by how they ended.", "state", "code")
        self._retries = self._counter("hearing_retries", "Hearings that lost their worker.")

    def of(self, backend: str) -> HearingMeasures:
        return HearingMeasures(self, backend)

    def ended(self, origin: Origin, report: HearingReport) -> None:
        self._ends.labels(origin.backend, report.state, report.code).inc()
        self._retries.labels(origin.backend).inc(report.retries)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"voice_{name}", what, (*_BACKEND, *labels), registry=self._registry)

    def _histogram(self, name: str, what: str) -> Histogram:
        return Histogram(f"voice_{name}_text_seconds", what, _BACKEND, registry=self._registry, buckets=_BUCKETS)


class HearingMeasures:
    """Implements core.report.HearingMeasures for one backend."""

    def __init__(self, metrics: HearingMetrics, backend: str) -> None:
        self.opened = metrics.open.labels(backend).inc
        self.closed = metrics.open.labels(backend).dec
        self.heard = metrics.heard.labels(backend).inc
        self.dropped = metrics.dropped.labels(backend).inc
        self.partial = metrics.partial.labels(backend).observe
        self.final = metrics.final.labels(backend).observe
        self._busy = metrics.busy.labels(backend).inc
        self._busy_audio = metrics.busy_audio.labels(backend).inc

    def busy(self, seconds: float, audio_s: float) -> None:
        self._busy(seconds)
        self._busy_audio(audio_s)
