"""OpenTelemetry: one span for each answer, and under it one for each sentence, made when the answer has ended.

Off, and free, unless the extra `otel` is installed and OTEL_EXPORTER_OTLP_ENDPOINT says where to. Speech never waits
for a collector: spans are sent by a thread, and left out where it cannot keep up. No span holds a text of a client.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voice_server.core.limits import TraceLimits
from voice_server.core.report import AnswerReport, Origin, SentenceReport, Value

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_log = logging.getLogger(__name__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Tell = Callable[[Origin, AnswerReport], None]


def wants_traces(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name) for name in _ENDPOINTS) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


@contextmanager
def tracing(environ: Mapping[str, str], limits: TraceLimits) -> Iterator[Tell | None]:
    """What tells answers to the collector; None where no traces are wanted, or the extra lacks."""
    provider = _open_provider(environ, limits) if wants_traces(environ) else None
    try:
        yield Traces(provider).answered if provider else None
    finally:
        if provider:
            _close(provider, limits)


def _open_provider(environ: Mapping[str, str], limits: TraceLimits) -> TracerProvider | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("no traces: install the extra `otel` (pip install 'voice-server[otel]')")
        return None
    provider = TracerProvider(resource=Resource.create(_name(environ)), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(timeout=limits.send_s)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=limits.waiting_spans))
    return provider


def _name(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours, unless the operator gave one: the SDK lets what is said here go before it."""
    given = environ.get("OTEL_SERVICE_NAME") or "service.name" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if given else {"service.name": "voice-server"}


def _close(provider: TracerProvider, limits: TraceLimits) -> None:
    """A collector that does not answer does not hold up the end."""
    closing = threading.Thread(target=provider.shutdown, name="last traces", daemon=True)
    closing.start()
    closing.join(limits.flush_s)


class Traces:
    def __init__(self, provider: TracerProvider) -> None:
        self._tracer: Tracer = provider.get_tracer("voice_server")

    def answered(self, origin: Origin, report: AnswerReport) -> None:
        from opentelemetry.trace import set_span_in_context

        clock = _Clock()
        parent = _context_of(origin.trace)
        marks: dict[str, Value] = {
            "stream": origin.stream,
            "door": origin.door,
            "backend": origin.backend,
            "voice": origin.voice,
        }
        marks |= {"client": origin.client, "request_id": origin.request_id, **report.figures}
        attributes = {f"voice.{name}": value for name, value in marks.items() if value != ""}
        span = self._tracer.start_span("answer", parent, start_time=clock(report.began_at), attributes=attributes)
        inside = set_span_in_context(span)
        for index, sentence in report.details.items():
            self._sentence(index, sentence, report, inside, clock)
        _fail(span, report.code if report.state == "failed" else "")
        span.end(clock(report.ended_at))

    def _sentence(self, index: int, told: SentenceReport, report: AnswerReport, inside: Context, clock: _Clock) -> None:
        attributes: dict[str, str | int] = {"voice.sentence": index, "voice.chars": told.chars}
        if told.renders:
            attributes["voice.queue_wait_ms"] = round((told.renders[0][0] - told.accepted_at) * 1000)
        span = self._tracer.start_span("sentence", inside, start_time=clock(told.accepted_at), attributes=attributes)
        for at, worker in told.renders:
            span.add_event("render", {"voice.worker": worker}, clock(at))
        if told.first_audio_at is not None:
            span.add_event("first audio", timestamp=clock(told.first_audio_at))
        _fail(span, told.code)
        span.end(clock(report.ended_at if told.ended_at is None else told.ended_at))


class _Clock:
    """From seconds of the event loop to nanoseconds since 1970."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self, at: float) -> int:
        return int(at * 1e9) + self._offset_ns


def _context_of(trace: str) -> Context:
    """Of the client's span, where it named one; what is no `traceparent` counts for nothing."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": trace})


def _fail(span: Span, code: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    if code:
        span.set_status(Status(StatusCode.ERROR, code))
