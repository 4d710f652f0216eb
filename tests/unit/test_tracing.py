from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from voice_server.core.report import AnswerReport, Origin, SentenceReport
from voice_server.observe.tracing import Traces, wants_traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Traced:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._traces = Traces(self._provider)

    def __call__(self, report: AnswerReport, trace: str = "") -> list[ReadableSpan]:
        self._traces.answered(Origin("tone", 7, "WS /stream-tokens", "10.0.0.1", "low", trace=trace), report)
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def traced() -> Iterator[Traced]:
    yield Traced()


def answer(**changed: object) -> AnswerReport:
    now = time.monotonic()
    first = SentenceReport(11, now - 3.0, [(now - 2.5, "tone-0"), (now - 2.0, "tone-1")], now - 1.5, now - 1.0)
    second = SentenceReport(20, now - 2.0, code="sentence_failed")
    report = AnswerReport("done", began_at=now - 3.0, ended_at=now, sentences=2, details={0: first, 1: second})
    for name, value in changed.items():
        setattr(report, name, value)
    return report


def test_an_answer_is_a_span_and_each_sentence_one_below_it(traced: Traced) -> None:
    *sentences, whole = traced(answer())
    assert (whole.name, whole.parent) == ("answer", None)
    assert [span.name for span in sentences] == ["sentence", "sentence"]
    assert {span.parent.span_id for span in sentences if span.parent} == {whole.context.span_id}


def test_the_times_are_those_of_the_day(traced: Traced) -> None:
    whole = traced(answer())[-1]
    assert whole.start_time and whole.end_time
    assert whole.end_time - whole.start_time == pytest.approx(3e9, rel=0.001)
    assert abs(whole.end_time - time.time_ns()) < 5e9


def test_attempts_and_the_first_audio_are_events_of_their_sentence(traced: Traced) -> None:
    first = traced(answer())[0]
    assert [(event.name, dict(event.attributes or {})) for event in first.events] == [
        ("render", {"voice.worker": "tone-0"}),
        ("render", {"voice.worker": "tone-1"}),
        ("first audio", {}),
    ]
    assert (first.attributes or {})["voice.queue_wait_ms"] == 500


def test_what_failed_is_an_error_with_its_code(traced: Traced) -> None:
    first, second, whole = traced(answer(state="failed", code="overloaded"))
    assert (first.status.status_code, second.status.description) == (StatusCode.UNSET, "sentence_failed")
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "overloaded")


def test_the_client_s_own_span_is_the_parent(traced: Traced) -> None:
    whole = traced(answer(), f"00-{TRACE}-{PARENT}-01")[-1]
    assert whole.context and whole.parent
    assert format_trace_id(whole.context.trace_id) == TRACE
    assert format_span_id(whole.parent.span_id) == PARENT


@pytest.mark.parametrize(
    "trace", ["00-0-0-01", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\ud800", "a" * 99999]
)
def test_a_parent_that_is_none_counts_for_nothing(traced: Traced, trace: str) -> None:
    assert traced(answer(), trace)[-1].parent is None


def test_a_span_says_what_the_log_line_says(traced: Traced) -> None:
    attributes = dict(traced(answer())[-1].attributes or {})
    assert attributes["voice.backend"] == "tone"
    assert attributes["voice.door"] == "WS /stream-tokens"
    assert attributes["voice.sentences"] == 2


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_made_only_where_there_is_somewhere_to_send_them(environ: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environ) is wanted
