from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from voice_server.core.status import BackendStatus, StreamStatus, WorkerStatus
from voice_server.observe.metrics import Metrics

STREAM = StreamStatus(
    id=7,
    live=True,
    client="10.0.0.1",
    voice="heart",
    state="speaking",
    heard_s=1.0,
    ahead_s=2.5,
    runs_out_in_s=2.0,
    waiting=0,
    open_renders=1,
    admitted=True,
    position=0,
    eta_s=None,
)
FILE = StreamStatus(8, False, "10.0.0.2", "heart", "waiting", 0.0, 9.0, 0.0, 3, 0, True, 0, None)
WORKERS = (
    WorkerStatus("one-0", "ready", "", 11, 0, 4, 3, 0.25, 0.1, ()),
    WorkerStatus("one-1", "loading", "weights", 12, 0, 0, 0, None, None, ()),
)
ONE = BackendStatus("one", deadline_misses=5, workers=WORKERS, streams=(STREAM, FILE))
TWO = BackendStatus("two", deadline_misses=0, workers=(), streams=())


def nothing() -> list[BackendStatus]:
    return []


def scrape(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as `name{a=b}`."""
    return {
        sample.name
        + "{"
        + ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        + "}": sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_what_is_told_is_counted_under_its_backend() -> None:
    metrics = Metrics(nothing)
    one, two = metrics.of("one"), metrics.of("two")
    one.first_audio(0.08)
    one.first_audio(0.12)
    two.audible_onset(3.0)
    one.sentence_gap(0.0)
    one.queue_wait(0.25)
    seen = scrape(metrics)
    assert seen["voice_first_audio_seconds_count{backend=one}"] == 2
    assert round(seen["voice_first_audio_seconds_sum{backend=one}"], 6) == 0.2
    assert seen["voice_first_audio_seconds_bucket{backend=one,le=0.1}"] == 1
    assert seen["voice_audible_onset_seconds_sum{backend=two}"] == 3.0
    assert seen["voice_sentence_gap_seconds_bucket{backend=one,le=0.01}"] == 1
    assert seen["voice_queue_wait_seconds_count{backend=one}"] == 1
    assert seen["voice_queue_wait_seconds_count{backend=two}"] == 0


def test_answers_are_counted_with_and_without_gaps() -> None:
    metrics = Metrics(nothing)
    measures = metrics.of("one")
    for gap_free in (True, True, False):
        measures.answer(gap_free=gap_free)
    seen = scrape(metrics)
    assert seen["voice_answers_total{backend=one,gap_free=true}"] == 2
    assert seen["voice_answers_total{backend=one,gap_free=false}"] == 1


def test_what_is_present_is_read_off_a_look_at_the_backends() -> None:
    seen = scrape(Metrics(lambda: [ONE, TWO]))
    assert seen["voice_deadline_misses_total{backend=one}"] == 5
    assert seen["voice_render_ahead_seconds{backend=one}"] == 2.5
    assert seen["voice_renders_open{backend=one}"] == 3
    assert seen["voice_real_time_factor{backend=one,worker=one-0}"] == 0.25
    assert "voice_real_time_factor{backend=one,worker=one-1}" not in seen
    assert seen["voice_workers{backend=one,state=ready}"] == 1
    assert seen["voice_workers{backend=one,state=loading}"] == 1
    assert seen["voice_streams{backend=one,state=speaking}"] == 1
    assert seen["voice_streams{backend=one,state=waiting}"] == 1


def test_a_state_that_nothing_is_in_counts_zero() -> None:
    seen = scrape(Metrics(lambda: [TWO]))
    assert seen["voice_workers{backend=two,state=ready}"] == 0
    assert seen["voice_streams{backend=two,state=waiting}"] == 0


def test_the_backends_are_looked_at_when_somebody_scrapes_and_not_before() -> None:
    looks: list[BackendStatus] = []

    def look() -> list[BackendStatus]:
        looks.append(ONE)
        return [ONE]

    metrics = Metrics(look)
    assert looks == []
    metrics.text()
    assert looks == [ONE]


def test_two_servers_in_one_process_do_not_share_numbers() -> None:
    first, second = Metrics(nothing), Metrics(nothing)
    first.of("one").answer(gap_free=True)
    second.of("one")
    assert scrape(second)["voice_answers_total{backend=one,gap_free=true}"] == 0


def test_no_label_names_a_stream_a_client_or_a_voice() -> None:
    metrics = Metrics(lambda: [ONE])
    metrics.of("one").answer(gap_free=True)
    families = text_string_to_metric_families(metrics.text().decode())
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {
        "backend",
        "cause",  # of a worker's death: one of DEATHS
        "worker",
        "state",
        "gap_free",
        "le",
        "version",
        "implementation",
        "major",
        "minor",
        "patchlevel",
    }


def test_the_names_of_the_voxcpm_tts_server_are_there_with_true_values() -> None:
    metrics = Metrics(lambda: [ONE, TWO])
    with metrics.voxcpm.connection():
        metrics.voxcpm.request("streaming", "completed", 2.0, 3.5)
        metrics.voxcpm.request("streaming", "cancelled", 0.5, 0.2)
        metrics.voxcpm.error("VOICE_NOT_FOUND")
        seen = scrape(metrics)
    assert seen["voxcpm_tts_requests_total{mode=streaming,status=completed}"] == 1
    assert seen["voxcpm_tts_requests_total{mode=streaming,status=cancelled}"] == 1
    assert seen["voxcpm_tts_request_duration_seconds_sum{mode=streaming}"] == 2.5
    assert seen["voxcpm_tts_errors_total{error_code=VOICE_NOT_FOUND}"] == 1
    assert (seen["voxcpm_tts_audio_duration_seconds_count{}"], seen["voxcpm_tts_audio_duration_seconds_sum{}"]) == (
        1,
        3.5,
    )
    assert (seen["voxcpm_tts_queue_length{}"], seen["voxcpm_tts_running_tasks{}"]) == (3, 3)
    assert seen["voxcpm_tts_active_connections{}"] == 1
    assert scrape(metrics)["voxcpm_tts_active_connections{}"] == 0
