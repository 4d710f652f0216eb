from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from voice_server.terminal.answer import Answer
from voice_server.terminal.view import LiveScreen, PlainScreen, news, panel, summary

READY = {"type": "ready", "backend": "hibari", "voice": "heart", "sample_rate": 24000}
FIRST: list[dict[str, Any] | bytes] = [
    READY,
    {"type": "sentence", "event": "accepted", "index": 0, "text": "Hello there."},
    {"type": "generating", "index": 0, "worker": "hibari-0", "sentence": "Hello there.", "queue_depth": 0},
    {"type": "sentence", "event": "start", "index": 0, "text": "Hello there."},
    bytes(2 * 24000),
    {"type": "sentence", "event": "end", "index": 0, "duration_ms": 1000},
]


def answer_after(messages: list[dict[str, Any] | bytes], text: str = "Hello there. How are") -> Answer:
    answer = Answer()
    for message in messages:
        if answer.sample_rate and not answer.text:
            answer.sent(text, 0.0)
        answer.receive(message, 0.25)
    return answer


def drawn(answer: Answer, now: float = 1.0, **window: int) -> str:
    console = Console(file=io.StringIO(), width=window.get("width", 100), force_terminal=False)
    with console.capture() as capture:
        console.print(panel(answer, now, **window))
    return capture.get()


def test_each_message_has_its_line() -> None:
    answer = Answer()
    lines = []
    for message in FIRST:
        answer.receive(message, 0.25)
        if answer.sample_rate and not answer.text:
            answer.sent("Hello there.", 0.0)
        lines += news(message, answer)
    assert lines == [
        "ready hibari  voice heart  24000 Hz",
        "sentence 1 waiting  Hello there.",
        "sentence 1 rendering  hibari-0",
        "sentence 1 playing",
        "first audio 250 ms",
        "sentence 1 done  1.00 s  hibari-0",
    ]


def test_only_the_first_audio_is_news() -> None:
    assert news(bytes(4), answer_after([*FIRST, bytes(4)])) == []


def test_a_place_in_line_is_news() -> None:
    queued = {"type": "queued", "position": 3, "reason": "loading"}
    assert news(queued, answer_after([READY, queued])) == ["in line, place 3 (loading)"]


def test_a_resumed_sentence_is_news() -> None:
    resumed = {"type": "resumed", "sentence": 0, "exact": True}
    assert news(resumed, answer_after([*FIRST, resumed])) == ["sentence 1 resumed  hibari-0"]


def test_an_unknown_message_is_no_news() -> None:
    assert news({"type": "surprise"}, answer_after(FIRST)) == []


def test_the_summary_tells_length_speed_and_gaps() -> None:
    assert summary(answer_after(FIRST)) == "done  audio 1.00 s  real-time factor 0.250  gaps 0"


def test_the_summary_tells_how_long_the_gaps_were() -> None:
    answer = answer_after(FIRST)
    answer.receive(bytes(2 * 24000), 1.75)
    assert summary(answer).endswith("gaps 1 (0.50 s)")


def test_the_summary_of_an_answer_without_audio_measures_nothing() -> None:
    answer = answer_after([READY, {"type": "error", "code": "overloaded", "msg": "later"}])
    assert summary(answer) == "failed  audio 0.00 s"


def test_the_summary_says_when_speech_was_stopped() -> None:
    answer = answer_after(FIRST)
    answer.stop()
    assert summary(answer).startswith("stopped  ")


def test_plain_lines_put_errors_apart() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen, answer = PlainScreen(out, err), Answer()
    error = {"type": "error", "code": "bad_option", "msg": "no such option", "field": "opts.x"}
    for message in (READY, error, {"type": "done"}):
        answer.receive(message, 0.0)
        screen.show(message, answer, 0.0)
    assert err.getvalue() == "error bad_option: no such option (opts.x)\n"
    assert "error" not in out.getvalue()


def test_brief_lines_leave_the_sentences_out() -> None:
    out = io.StringIO()
    screen, answer = PlainScreen(out, io.StringIO(), brief=True), Answer()
    for message in FIRST:
        answer.receive(message, 0.25)
        answer.sent("", 0.0)
        screen.show(message, answer, 0.25)
    screen.close(answer, 0.25)
    assert [line.split("  ")[0] for line in out.getvalue().splitlines()] == ["first audio 250 ms", "done"]


def test_the_panel_shows_sentences_with_their_workers_and_the_open_tokens() -> None:
    picture = drawn(answer_after(FIRST), width=100, rows=10)
    assert "hibari · heart · 24000 Hz" in picture
    assert "✓  done       hibari-0   1.00 s  Hello there." in picture
    assert "How are▌" in picture
    assert "first audio 250 ms · audio 1.00 s" in picture


def test_the_panel_shows_errors() -> None:
    error = {"type": "error", "code": "overloaded", "msg": "try again later"}
    assert "error overloaded: try again later" in drawn(answer_after([*FIRST, error]))


def test_the_panel_keeps_inside_a_small_window() -> None:
    many = [
        {"type": "sentence", "event": "accepted", "index": index, "text": f"Number {index} " + "is long " * 30}
        for index in range(40)
    ]
    lines = drawn(answer_after([READY, *many]), width=60, rows=5).splitlines()
    assert len(lines) <= 12
    assert any("Number 39" in line for line in lines)
    assert any("35 before" in line for line in lines)


def test_markup_in_a_sentence_is_shown_as_it_is() -> None:
    accepted = {"type": "sentence", "event": "accepted", "index": 0, "text": "[red]Alarm[/red] :smile:"}
    assert "[red]Alarm[/red] :smile:" in drawn(answer_after([READY, accepted]))


def test_a_spinner_turns_while_a_sentence_is_rendered() -> None:
    answer = answer_after(FIRST[:3])
    assert drawn(answer, 0.0) != drawn(answer, 0.1)


def test_the_live_view_leaves_the_whole_answer_behind() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=10)
    screen, answer = LiveScreen(console), answer_after(FIRST)
    screen.tick(answer, 0.5)
    answer.receive({"type": "done"}, 1.0)
    screen.close(answer, 1.0)
    left_behind = console.file.getvalue().rpartition("╭")[2]  # type: ignore[attr-defined]
    assert "Hello there." in left_behind
    assert "▌" not in left_behind
