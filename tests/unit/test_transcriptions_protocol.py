from __future__ import annotations

import json

import pytest

from voice_server.core.doors import transcriptions_protocol as protocol
from voice_server.core.doors.transcriptions_protocol import Asked, Deltas, asked_of
from voice_server.core.errors import BadMessage, UnknownBackend, UnknownFormat
from voice_server.core.text.hearing import HearingDone, Segment, TextHeard

PIECES = HearingDone(
    "We go home. Then we sleep.",
    (
        Segment(" We go", 0.0, 0.5),
        Segment(" home.", 0.5, 1.0),
        Segment(" Then we", 1.1, 1.5),
        Segment(" sleep.", 3.0, 3.5),
    ),
    4.0,
)


def test_a_form_is_read_field_by_field() -> None:
    items = [
        ("model", "whisper-1"),
        ("language", " en "),
        ("response_format", "verbose_json"),
        ("temperature", "0.2"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("stream", "True"),
        ("opts", '{"beam": 1}'),
        ("chunking_strategy", "auto"),
    ]
    assert asked_of(items) == Asked(
        model="whisper-1",
        language="en",
        response_format="verbose_json",
        temperature=0.2,
        granularities=("word", "segment"),
        stream=True,
        opts={"beam": 1},
    )


def test_a_form_with_nothing_but_a_file_is_the_defaults() -> None:
    assert asked_of([]) == Asked(opts={})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("response_format", "midi", UnknownFormat),
        ("temperature", "warm", BadMessage),
        ("temperature", "1.1", BadMessage),
        ("temperature", "nan", BadMessage),
        ("timestamp_granularities[]", "letter", BadMessage),
        ("opts", "{", BadMessage),
    ],
)
def test_a_field_that_is_wrong_is_refused(name: str, value: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        asked_of([(name, value)])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("", ""),
        ("whisper-1", ""),
        ("gpt-4o-mini-transcribe", ""),
        ("gpt-5-transcribe-x", ""),
        ("whisper-tiny", "whisper-tiny"),
    ],
)
def test_a_model_is_a_backend_or_a_name_of_theirs(model: str, name: str) -> None:
    assert protocol.recogniser_of(Asked(model=model), ["whisper-tiny"]) == name


def test_a_backend_that_is_asked_for_goes_before_the_model() -> None:
    assert protocol.recogniser_of(Asked(model="whisper-1", backend="other"), ["whisper-tiny"]) == "other"


@pytest.mark.parametrize("model", ["whisper-base", "tts-1", "gpt-4o", "x"])
def test_another_model_is_refused(model: str) -> None:
    with pytest.raises(UnknownBackend):
        protocol.recogniser_of(Asked(model=model), ["whisper-tiny"])


def test_an_engine_gets_the_options_it_knows() -> None:
    asked = Asked(prompt="Ada", temperature=0.5, language="en", opts={"beam": 2})
    assert protocol.options_of(asked, [], ["en"]) == {"beam": 2}
    known = ["prompt", "temperature", "language", "partials"]
    assert protocol.options_of(asked, known, ["en"]) == {
        "prompt": "Ada",
        "temperature": 0.5,
        "language": "en",
        "partials": False,
        "beam": 2,
    }


def test_who_reads_along_gets_partials() -> None:
    assert protocol.options_of(Asked(stream=True), ["partials"], []) == {}


def test_a_subtitle_ends_where_a_sentence_does_or_the_speaker_pauses() -> None:
    lines = protocol.body(Asked(response_format="srt"), PIECES, "en").decode().split("\n")
    assert [line for line in lines if line and not line[0].isdigit()] == ["We go home.", "Then we", "sleep."]
    assert lines[1] == "00:00:00,000 --> 00:00:01,000"


def test_words_lie_within_their_segments_in_order() -> None:
    told = json.loads(protocol.body(Asked(response_format="verbose_json", granularities=("word",)), PIECES, "en"))
    assert [word["word"] for word in told["words"]] == PIECES.text.split()
    times = [time for word in told["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0.0, 3.5)
    assert "segments" not in told


def test_deltas_add_up_to_the_text() -> None:
    deltas = Deltas()
    told = deltas.delta(TextHeard("We go", "home")) + deltas.delta(TextHeard("We go", "")) + deltas.done(PIECES)
    events = [json.loads(line.removeprefix("data: ")) for line in told.decode().split("\n\n") if line]
    assert [event.get("delta") for event in events] == ["We go", " home. Then we sleep.", None]
    assert events[-1]["text"] == PIECES.text


@pytest.mark.parametrize(
    ("form", "begins"), [("text", b"We go home. Then we sleep.\n"), ("vtt", b"WEBVTT\n"), ("srt", b"1\n00:00:00,000")]
)
def test_a_text_may_be_asked_for_in_other_forms_than_json(form: str, begins: bytes) -> None:
    assert protocol.body(Asked(response_format=form), PIECES, "en").startswith(begins)


def test_the_least_that_is_told_is_the_text_and_how_long_it_was() -> None:
    told = json.loads(protocol.body(Asked(), PIECES, "en"))
    assert told == {"text": PIECES.text, "usage": {"type": "duration", "seconds": 4.0}}


def test_segments_are_told_with_what_typed_clients_need() -> None:
    asked = Asked(response_format="verbose_json", temperature=0.5)
    told = json.loads(protocol.body(asked, PIECES, "en"))
    assert [(one["id"], one["start"], one["text"]) for one in told["segments"]][1] == (1, 0.5, " home.")
    assert told["segments"][0]["temperature"] == 0.5
    assert (told["language"], told["duration"], "words" in told) == ("en", 4.0, False)


def test_an_error_is_an_event_of_its_own() -> None:
    told = protocol.error_event({"error": {"message": "no"}})
    assert json.loads(told.removeprefix(b"data: ")) == {"type": "error", "error": {"message": "no"}}
