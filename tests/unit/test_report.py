"""What is told of an answer and of a hearing when they have ended."""

from __future__ import annotations

from voice_server.core.audio.listening import Listening, NoMeasures
from voice_server.core.events import AudioChunk
from voice_server.core.limits import ListeningLimits
from voice_server.core.report import AnswerReport, HearingReport

RATE = 1000


def reports_of(sentences: int, code: str = "") -> AnswerReport:
    """Of an answer with so many sentences, each rendered and heard; the last one ends with `code`."""
    told: list[AnswerReport] = []
    listening = Listening(NoMeasures(), told.append)
    for sentence in range(sentences):
        listening.said(sentence, "Hi.")
        listening.accepted(sentence, 1.0, 3)
        listening.rendering(sentence, 2.0, "tone-0")
        listening.delivered(AudioChunk(sentence, b"\0\x40" * RATE), RATE, 3.0)
        listening.rendered(sentence, 4.0, code if sentence == sentences - 1 else "")
    listening.finished()
    listening.ended(5.0)
    (report,) = told
    return report


def test_each_sentence_has_its_times_and_how_it_ended() -> None:
    report = reports_of(2, code="sentence_failed")
    assert [(one.renders, one.first_audio_at, one.ended_at) for one in report.details.values()] == [
        ([(2.0, "tone-0")], 3.0, 4.0),
        ([(2.0, "tone-0")], 3.0, 4.0),
    ]
    assert [one.code for one in report.details.values()] == ["", "sentence_failed"]
    assert (report.code, report.failures) == ("sentence_failed", {"sentence_failed": 1})


def test_an_endless_answer_is_told_in_full_and_its_sentences_as_far_as_there_is_room() -> None:
    most = ListeningLimits().detailed
    report = reports_of(most + 1, code="sentence_failed")
    assert (report.sentences, report.chars) == (most + 1, 3 * (most + 1))
    assert [*report.details] == [*range(most)]
    assert report.failures == {"sentence_failed": 1}


def test_a_hearing_tells_what_was_measured_and_nothing_else() -> None:
    assert HearingReport("done", audio_s=1.23456, chars=7).figures == {
        "state": "done",
        "audio_s": 1.235,
        "dropped_s": 0.0,
        "chars": 7,
        "retries": 0,
    }
    told = HearingReport("failed", "hearing_failed", queue_wait_s=0.5, final_s=0.25).figures
    assert (told["code"], told["queue_wait_ms"], told["final_ms"]) == ("hearing_failed", 500, 250)
