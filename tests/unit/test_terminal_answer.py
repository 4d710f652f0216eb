from __future__ import annotations

from typing import Any

import pytest

from voice_server.terminal.answer import Answer, State

SECOND = bytes(2 * 24000)
READY = {"type": "ready", "backend": "tone", "voice": "sine", "sample_rate": 24000}
DONE = {"type": "done"}


def accepted(index: int, text: str) -> dict[str, Any]:
    return {"type": "sentence", "event": "accepted", "index": index, "text": text}


def start(index: int) -> dict[str, Any]:
    return {"type": "sentence", "event": "start", "index": index, "text": "ignored, known already"}


def end(index: int) -> dict[str, Any]:
    return {"type": "sentence", "event": "end", "index": index, "duration_ms": 1000}


def generating(index: int) -> dict[str, Any]:
    return {"type": "generating", "index": index, "worker": f"tone-{index}", "sentence": "…", "queue_depth": 0}


def answer(*messages: dict[str, Any] | bytes | None, text: str = "One. Two.", listening: bool = False) -> Answer:
    """All messages come at time 1."""
    model = Answer(listening=listening)
    model.receive(READY, 0.0)
    model.sent(text, 0.0)
    for message in messages:
        model.receive(message, 1.0)
    return model


def states(model: Answer, now: float = 1.0) -> list[State]:
    return [model.state_of(sentence, now) for sentence in model.sentences.values()]


def test_the_announced_rate_decides_how_long_the_audio_is() -> None:
    model = Answer()
    model.receive({**READY, "sample_rate": 8000}, 0.0)
    model.receive(bytes(16000), 0.0)
    assert model.playhead.received_s == 1.0


def test_a_new_format_replaces_the_announced_rate() -> None:
    assert answer({"type": "format", "sample_rate": 16000}).sample_rate == 16000


def test_a_sentence_waits_is_rendered_is_playing_and_is_done() -> None:
    messages: list[dict[str, Any] | bytes] = [accepted(0, "One."), generating(0), start(0), SECOND, end(0)]
    seen = [states(answer(*messages[:count])) for count in range(1, 6)]
    assert seen == [[State.WAITING], [State.RENDERING], [State.PLAYING], [State.PLAYING], [State.DONE]]


def test_for_a_listener_a_sentence_is_done_when_it_has_been_heard() -> None:
    model = answer(accepted(0, "One."), start(0), SECOND, end(0), accepted(1, "Two."), start(1), SECOND, end(1))
    model.listening = True
    assert [states(model, now) for now in (1.5, 2.5, 3.5)] == [
        [State.PLAYING, State.READY],
        [State.DONE, State.PLAYING],
        [State.DONE, State.DONE],
    ]


def test_a_failed_sentence_is_marked_and_named() -> None:
    error = {"type": "error", "code": "sentence_failed", "msg": "could not be spoken", "sentence": 0}
    model = answer(accepted(0, "One."), generating(0), error)
    assert states(model) == [State.FAILED]
    assert model.faults == ["sentence_failed: could not be spoken (sentence 1)"]


def test_the_field_of_an_error_is_told() -> None:
    model = answer({"type": "error", "code": "bad_option", "msg": "too large", "field": "opts.speed"})
    assert model.faults == ["bad_option: too large (opts.speed)"]


def test_a_sentence_rendered_again_says_so() -> None:
    assert answer(accepted(0, "One."), {"type": "resumed", "sentence": 0, "exact": True}).sentences[0].resumed


def test_a_place_in_line_is_forgotten_when_a_worker_takes_the_sentence() -> None:
    queued = {"type": "queued", "position": 2, "reason": "busy"}
    assert answer(queued).queued == "in line, place 2 (busy)"
    assert answer(queued, generating(0)).queued == ""


def test_done_ends_the_answer() -> None:
    assert answer(DONE).over
    assert not answer().over


def test_after_a_stop_only_the_reply_to_it_ends_the_answer() -> None:
    model = answer()
    model.stop()
    model.receive(DONE, 1.0)
    assert not model.over
    model.receive({"type": "cancelled"}, 1.0)
    assert model.over


def test_what_was_not_heard_before_a_stop_is_stopped() -> None:
    model = answer(accepted(0, "One."), start(0), SECOND, end(0), accepted(1, "Two."), generating(1))
    model.stop()
    assert states(model) == [State.DONE, State.STOPPED]


def test_a_connection_lost_in_an_answer_is_a_fault() -> None:
    model = answer(None)
    assert model.over
    assert model.faults == ["closed: the connection ended before the answer was complete"]


def test_a_connection_closed_after_an_answer_is_no_fault() -> None:
    assert answer(DONE, None).faults == []


def test_the_open_text_is_what_no_sentence_has_taken() -> None:
    assert answer(accepted(0, "One."), text="One. Two is").open_text == " Two is"


def test_text_counts_as_spoken_when_its_sentence_has_ended_or_failed() -> None:
    model = answer(accepted(0, "One."), accepted(1, "Two."), text="One. Two. Three")
    assert model.unspoken_chars == len("One. Two. Three")
    model.receive(end(0), 1.0)
    assert model.unspoken_chars == len(" Two. Three")
    model.receive({"type": "error", "code": "sentence_failed", "msg": "", "sentence": 1}, 1.0)
    assert model.unspoken_chars == len(" Three")


def test_text_of_which_nothing_is_spoken_counts_at_once_and_what_waits_before_it_does_not() -> None:
    unspoken = {**accepted(1, "2 * 2"), "spoken": False}
    model = answer(accepted(0, "One."), unspoken, accepted(2, "Three."), text="One. 2 * 2 Three. Four")
    assert model.unspoken_chars == len("One. Three. Four")
    assert states(model) == [State.WAITING, State.DONE, State.WAITING]
    model.receive(end(0), 1.0)
    assert model.unspoken_chars == len(" Three. Four")


def test_a_sentence_said_twice_is_found_twice() -> None:
    model = answer(accepted(0, "Ha."), accepted(1, "Ha."), end(1), text="Ha. Ha. Ha")
    assert model.unspoken_chars == len(" Ha")


@pytest.mark.parametrize("text", ["\x1b[2JOne.", "One.\r\n\x07", "\u202eOne."])
def test_control_characters_of_the_server_do_not_reach_the_terminal(text: str) -> None:
    assert answer(accepted(0, text)).sentences[0].text.isprintable()


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": 3},
        {"type": "unheard_of"},
        {"type": "ready", "sample_rate": "fast", "backend": None},
        {"type": "generating", "index": "first"},
        {"type": "sentence", "event": "end", "index": -1},
        {"type": "sentence", "event": ["end"], "index": 7, "text": 5},
        {"type": "error"},
        {"type": "error", "sentence": {}},
        {"type": "queued"},
        b"odd",
    ],
)
def test_a_message_of_a_strange_shape_does_no_harm(message: dict[str, Any] | bytes) -> None:
    assert not answer(message).over
