"""Prometheus metrics of one server, on a registry of its own.

What happens is counted when it happens, a few times per sentence; what is, is looked at when somebody asks. Nothing is
paid per chunk of audio. Labels are names of backends and workers and words of ours: never a text, voice or client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from voice_server.core.report import AnswerReport, Origin
from voice_server.core.status import DEATHS, WORKER_STATES, BackendStatus
from voice_server.observe.hearings import HearingMetrics
from voice_server.observe.traffic import Traffic, TrafficCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Half a step to the next is below what an ear notices at the short end; 15 s is when a waiting stream is refused.
_BUCKETS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0)
_LONG_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # whole requests, and those of the VoxCPM TTS server
_LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_STREAM_STATES = ("speaking", "waiting")
_BOUNDS = {
    "min": "Workers that there are at least, without spares.",
    "max": "Workers that there are at most, without spares.",
    "wanted": "Workers that what is needed now takes.",
}


class BackendMeasures:
    """Implements core.listening.Measures for one backend."""

    def __init__(self, metrics: Metrics, backend: str) -> None:
        self.queue_wait = metrics.queue_wait.labels(backend).observe
        self.first_audio = metrics.first_audio.labels(backend).observe
        self.audible_onset = metrics.audible_onset.labels(backend).observe
        self.sentence_gap = metrics.sentence_gap.labels(backend).observe
        self._gap_free = metrics.answers.labels(backend, "true")
        self._with_gaps = metrics.answers.labels(backend, "false")

    def answer(self, *, gap_free: bool) -> None:
        (self._gap_free if gap_free else self._with_gaps).inc()


class VoxcpmMeasures:
    """The names of the VoxCPM TTS server, for dashboards that know them. Its door tells; the rest is looked up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "voxcpm_tts_requests", "Requests by how they ended.", ("mode", "status"), registry=registry
        )
        self._errors = Counter(
            "voxcpm_tts_errors", "Errors that clients were told.", ("error_code",), registry=registry
        )
        self._connections = Gauge("voxcpm_tts_active_connections", "Open sockets of WS /tts.", registry=registry)
        self._seconds = Histogram(
            "voxcpm_tts_request_duration_seconds",
            "From a request to its last message.",
            ("mode",),
            registry=registry,
            buckets=_LONG_BUCKETS,
        )
        self._audio = Histogram(
            "voxcpm_tts_audio_duration_seconds",
            "Audio of a completed request.",
            registry=registry,
            buckets=_LONG_BUCKETS,
        )

    @contextmanager
    def connection(self) -> Iterator[None]:
        self._connections.inc()
        try:
            yield
        finally:
            self._connections.dec()

    def request(self, mode: str, status: str, seconds: float, audio_s: float) -> None:
        """One that was taken has ended; `status` is "completed", "cancelled" or "failed"."""
        self._requests.labels(mode, status).inc()
        self._seconds.labels(mode).observe(seconds)
        if status == "completed":
            self._audio.observe(audio_s)

    def error(self, code: str) -> None:
        """`code` is one of ours, never a client's word."""
        self._errors.labels(code).inc()


class Metrics:
    """`look` is called at each scrape, on the thread that asks."""

    def __init__(self, look: Callable[[], Iterable[BackendStatus]]) -> None:
        self._registry = CollectorRegistry()
        self.queue_wait = self._histogram("queue_wait", "From an answer's first sentence to its first render.")
        self.first_audio = self._histogram("first_audio", "From an answer's first sentence to its first audio sent.")
        self.audible_onset = self._histogram("audible_onset", "From an answer's first sentence to its first sound.")
        self.sentence_gap = self._histogram("sentence_gap", "Silence between two sentences of an answer.")
        self.answers = Counter(
            "voice_answers", "Answers that were heard.", ("backend", "gap_free"), registry=self._registry
        )
        self._ends = self._counter("answer_ends", "Answers by how they ended, files too.", "state", "code")
        self._retries = self._counter("retries", "Renders that were begun once more.")
        self._failed = self._counter("sentences_failed", "Sentences that could not be spoken.", "code")
        self._audio = self._counter("audio_seconds", "Audio that sockets took, by answers that have ended.")
        self.loop_lag = Histogram(
            "voice_event_loop_lag_seconds", "How late the event loop is.", registry=self._registry, buckets=_LAG_BUCKETS
        )
        self.hearings = HearingMetrics(self._registry)
        self.traffic = Traffic()
        self._registry.register(TrafficCollector(self.traffic))
        self.voxcpm = VoxcpmMeasures(self._registry)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(_Present(look))

    def of(self, backend: str) -> BackendMeasures:
        return BackendMeasures(self, backend)

    def answered(self, origin: Origin, report: AnswerReport) -> None:
        backend = origin.backend
        self._ends.labels(backend, report.state, report.code).inc()
        self._retries.labels(backend).inc(report.retries)
        self._audio.labels(backend).inc(report.audio_s)
        for code, failed in report.failures.items():
            self._failed.labels(backend, code).inc(failed)

    def gauge(self, name: str, what: str, now: Callable[[], float]) -> None:
        """Of the server as a whole; `now` is called at each scrape."""
        Gauge(f"voice_{name}", what, registry=self._registry).set_function(now)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"voice_{name}", what, ("backend", *labels), registry=self._registry)

    def _histogram(self, name: str, what: str) -> Histogram:
        return Histogram(f"voice_{name}_seconds", what, ("backend",), registry=self._registry, buckets=_BUCKETS)


class _Present(Collector):
    """Everything that can be read off a look at the server."""

    def __init__(self, look: Callable[[], Iterable[BackendStatus]]) -> None:
        self._look = look

    def describe(self) -> Iterator[Metric]:
        """Names only: nothing is looked at before the first scrape."""
        return iter(_families([]))

    def collect(self) -> Iterator[Metric]:
        return iter(_families(list(self._look())))


def _families(backends: Sequence[BackendStatus]) -> list[Metric]:
    missed = CounterMetricFamily("voice_deadline_misses", "Audio that came after it was due.", labels=["backend"])
    ahead = _gauge("render_ahead_seconds", "Audio rendered for all listeners together and not heard yet.")
    renders = _gauge("renders_open", "Renders that workers hold open.")
    speed = _gauge("real_time_factor", "Measured seconds of work per second of audio.", "worker")
    workers = _gauge("workers", "Workers by the state of their slot.", "state")
    bounds = {name: _gauge(f"workers_{name}", what) for name, what in _BOUNDS.items()}
    scalings = CounterMetricFamily(
        "voice_scalings", "Decisions on the number of workers.", labels=["backend", "direction"]
    )
    streams = _gauge("streams", "Streams that are heard, and streams that wait to be.", "state")
    deaths = CounterMetricFamily("voice_worker_deaths", "Workers that were lost.", labels=["backend", "cause"])
    restarts = CounterMetricFamily("voice_worker_restarts", "Starts after the first.", labels=["backend", "worker"])
    for backend in backends:
        missed.add_metric([backend.name], backend.deadline_misses)
        ahead.add_metric([backend.name], backend.ahead_s)
        renders.add_metric([backend.name], backend.open_renders)
        for worker in backend.workers:
            restarts.add_metric([backend.name, worker.name], worker.restarts)
            if worker.real_time_factor is not None:
                speed.add_metric([backend.name, worker.name], worker.real_time_factor)
        for cause in DEATHS:
            deaths.add_metric([backend.name, cause], backend.deaths.get(cause, 0))
        if scaling := backend.scaling:
            for name, family in bounds.items():
                family.add_metric([backend.name], getattr(scaling, name))
            scalings.add_metric([backend.name, "up"], scaling.ups)
            scalings.add_metric([backend.name, "down"], scaling.downs)
        _add_counts(workers, backend.name, WORKER_STATES, [worker.state for worker in backend.workers])
        _add_counts(streams, backend.name, _STREAM_STATES, [stream.state for stream in backend.streams])
    scaled: list[Metric] = [*bounds.values(), scalings]
    return [missed, ahead, renders, speed, workers, *scaled, streams, deaths, restarts, *_voxcpm_families(backends)]


def _voxcpm_families(backends: Sequence[BackendStatus]) -> list[Metric]:
    queued = sum(stream.waiting for backend in backends for stream in backend.streams)
    running = sum(backend.open_renders for backend in backends)
    return [
        GaugeMetricFamily("voxcpm_tts_queue_length", "Sentences that wait for a worker.", queued),
        GaugeMetricFamily("voxcpm_tts_running_tasks", "Renders that workers hold open.", running),
    ]


def _gauge(name: str, what: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"voice_{name}", what, labels=["backend", *labels])


def _add_counts(family: GaugeMetricFamily, backend: str, states: Sequence[str], seen: Sequence[str]) -> None:
    """A state that nothing is in counts 0: an alert on `no worker is ready` needs a number."""
    for state in states:
        family.add_metric([backend, state], seen.count(state))
