"""The table of ElevenLabs' doors."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors.elevenlabs_protocol import (
    ClientMessage,
    OutputFormat,
    Query,
    Timeline,
    VoiceSettings,
    align,
    alignment_message,
    audio_message,
    context_of,
    decode,
    describe_voice,
    error_body,
    error_line,
    error_message,
    final_message,
    from_query,
    joined,
    key_of,
    options_of,
    output_format,
    pieces,
    timed_audio,
)
from voice_server.core.doors.limits import ElevenLabsLimits
from voice_server.core.errors import BadMessage, IdleTimeout, SentenceFailed, UnknownFormat, UnknownVoice, VoiceError
from voice_server.core.events import AudioChunk, SentenceEnded, SentenceStarted
from voice_server.core.limits import Limits
from voice_server.core.options import OptionSpec

LIMITS = Limits()
TEXTS = st.text(min_size=1, max_size=60)


# In


def test_a_first_message_is_read_as_clients_send_it() -> None:
    sent = {
        "text": " ",
        "try_trigger_generation": True,
        "voice_settings": {"stability": 0.5, "similarity_boost": 0.8, "speed": 1.1, "use_speaker_boost": True},
        "generation_config": {"chunk_length_schedule": [50]},
        "pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "x", "version_id": "y"}],
        "xi_api_key": "key",
    }
    message = decode(json.dumps(sent), LIMITS)
    assert message == ClientMessage(text=" ", voice_settings=VoiceSettings(speed=1.1))
    assert key_of(json.dumps(sent)) == "key"


def test_null_stands_for_what_was_not_said() -> None:
    sent = '{"text":null,"voice_settings":null,"flush":null,"context_id":null,"close_context":null}'
    assert decode(sent, LIMITS) == ClientMessage()


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ("", None),
        ("[]", None),
        ("{", None),
        ("[" * 60_000, None),
        ('{"text":5}', "text"),
        ('{"text":"\\ud800"}', None),
        ('{"flush":"yes"}', "flush"),
        ('{"context_id":""}', "context_id"),
        ('{"context_id":"' + "a" * 129 + '"}', "context_id"),
        ('{"voice_settings":{"speed":"fast"}}', "voice_settings.speed"),
        ('{"voice_settings":{"speed":NaN}}', None),
    ],
)
def test_a_hostile_message_is_refused_with_the_field_that_is_wrong(sent: str, field: str | None) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(sent, LIMITS)
    assert caught.value.field == field
    assert len(caught.value.message) <= LIMITS.text.problem_chars


def test_a_refused_message_still_tells_its_context() -> None:
    assert context_of('{"text":5,"context_id":"a"}') == "a"


@pytest.mark.parametrize("sent", ["", "{", '{"context_id":5}', '{"text":5}', "[" * 60_000])
def test_a_message_without_a_readable_context_has_none(sent: str) -> None:
    assert context_of(sent) is None


@pytest.mark.parametrize(
    "sent", ["", "{", '{"xi_api_key":null}', '{"xi_api_key":"\\ud800"}', '{"text":5}', "[" * 60_000]
)
def test_a_message_without_a_readable_key_has_none(sent: str) -> None:
    assert key_of(sent) == ""


def test_a_query_is_read_as_clients_write_it() -> None:
    query = {"model_id": "m", "output_format": "pcm_16000", "auto_mode": "true", "enable_logging": "false"}
    expected = Query(model_id="m", output_format="pcm_16000", inactivity_timeout=180, auto_mode=True)
    assert from_query({**query, "inactivity_timeout": "180"}, LIMITS) == expected


@pytest.mark.parametrize("query", [{"inactivity_timeout": "0"}, {"inactivity_timeout": "x"}, {"auto_mode": "maybe"}])
def test_a_wrong_query_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadMessage) as caught:
        from_query(query, LIMITS)
    assert caught.value.field == next(iter(query))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pcm_8000", OutputFormat("pcm", 8000)),
        ("pcm_48000", OutputFormat("pcm", 48000)),
        ("ulaw_8000", OutputFormat("ulaw", 8000)),
        ("mp3_44100_128", OutputFormat("mp3", 44100)),
        ("opus_48000_32", OutputFormat("opus", 48000)),
    ],
)
def test_a_format_has_a_codec_and_a_rate(name: str, expected: OutputFormat) -> None:
    assert output_format(name, LIMITS) == expected


@pytest.mark.parametrize("name", ["", "pcm", "pcm_", "pcm_4000", "pcm_96000", "pcm_٨٠٠٠", "gsm_8000", "pcm_24000\n"])
def test_an_unknown_format_is_refused(name: str) -> None:
    with pytest.raises(UnknownFormat):
        output_format(name, LIMITS)


def test_only_what_the_backend_can_do_is_asked_of_it() -> None:
    settings = VoiceSettings(speed=1.1)
    assert options_of(settings, 7, {"speed": OptionSpec("float")}) == {"speed": 1.1}
    assert options_of(settings, 7, {"seed": OptionSpec("int")}) == {"seed": 7}
    assert options_of(None, None, {"speed": OptionSpec("float"), "seed": OptionSpec("int")}) == {}


# Timing


@given(TEXTS, st.floats(0.05, 30.0))
def test_the_characters_of_a_sentence_fill_its_time_without_holes(text: str, duration_s: float) -> None:
    told = json.loads(alignment_message(align(text, 3.0, duration_s), "c", from_answer=False))["alignment"]
    assert "".join(told["chars"]) == text + " "
    ends = [start + length for start, length in zip(told["charStartTimesMs"], told["charDurationsMs"], strict=True)]
    assert told["charStartTimesMs"] == [told["charStartTimesMs"][0], *ends[:-1]]
    assert told["charStartTimesMs"][0] == 0
    assert ends[-1] == round(duration_s * 1000)


def test_times_count_from_the_answer_for_clients_that_do_not_add_them_up() -> None:
    alignment = align("Hi.", 2.5, 1.0)
    told = json.loads(alignment_message(alignment, "c", from_answer=True))["alignment"]
    assert told["charStartTimesMs"][0] == 2500
    assert told["charStartTimesMs"][-1] + told["charDurationsMs"][-1] == 3500


def test_sentences_lie_one_behind_the_other() -> None:
    timeline = Timeline()
    events = (SentenceStarted(0, "One."), AudioChunk(0, b""), SentenceEnded(0, 1.5))
    assert [timeline.take(event) for event in events] == [None, None, align("One.", 0.0, 1.5)]
    timeline.take(SentenceStarted(1, "Two."))
    assert timeline.take(SentenceEnded(1, 2.0)) == align("Two.", 1.5, 2.0)


def test_a_whole_answer_has_one_alignment() -> None:
    whole = joined([align("One.", 0.0, 1.5), align("Two.", 1.5, 2.0)])
    assert "".join(whole.chars) == "One. Two. "
    assert whole.starts_s[5] == 1.5
    assert whole.ends_s[-1] == 3.5


# Out


def test_audio_comes_as_base64_with_its_context() -> None:
    told = json.loads(audio_message(b"\x01\x02", "c"))
    assert base64.b64decode(told.pop("audio")) == b"\x01\x02"
    assert told == {"isFinal": None, "alignment": None, "normalizedAlignment": None, "contextId": "c"}


def test_an_alignment_says_that_it_is_an_estimate_and_has_audio_that_is_empty() -> None:
    told = json.loads(alignment_message(align("Hi.", 0.0, 1.0), None, from_answer=False))
    assert told["estimated"] is True
    assert told["audio"] == ""
    assert told["alignment"] == told["normalizedAlignment"]
    assert "contextId" not in told


def test_the_final_message_is_empty_but_for_its_name() -> None:
    empty = {"audio": None, "alignment": None, "normalizedAlignment": None}
    assert json.loads(final_message("c")) == {**empty, "isFinal": True, "contextId": "c"}


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (UnknownVoice("no"), "voice_not_found"),
        (IdleTimeout("no"), "input_timeout_exceeded"),
        (SentenceFailed("no"), "sentence_failed"),
    ],
)
def test_an_error_has_a_word_for_programs_and_a_message_for_people(error: VoiceError, word: str) -> None:
    assert json.loads(error_message(error, "c")) == {"error": word, "message": "no", "contextId": "c"}
    assert error_body(error)["detail"]["status"] == word
    assert error_body(error)["detail"]["message"] == "no"


def test_a_line_with_times_is_in_seconds() -> None:
    told = json.loads(timed_audio(b"", align("Hi", 1.0, 0.5)))
    assert told["alignment"]["characters"] == ["H", "i", " "]
    assert told["alignment"]["character_start_times_seconds"] == [1.0, 1.25, 1.5]
    assert told["alignment"]["character_end_times_seconds"] == [1.25, 1.5, 1.5]
    assert told["estimated"] is True


def test_a_line_of_audio_claims_nothing_about_times() -> None:
    told = json.loads(timed_audio(b"\x01\x02", None))
    assert told == {"audio_base64": "AQI=", "alignment": None, "normalized_alignment": None}


@given(st.integers(0, 200_000))
def test_no_piece_of_audio_is_too_large_and_none_is_lost(size: int) -> None:
    data = bytes(size)
    cut = list(pieces(data))
    assert b"".join(cut) == data
    assert all(0 < len(piece) <= ElevenLabsLimits().audio_bytes for piece in cut)


def test_an_error_in_a_stream_of_lines_is_a_line() -> None:
    line = error_line(UnknownVoice("no", field="voice_id"))
    assert line.endswith(b"\n")
    told = {"status": "voice_not_found", "code": "unknown_voice", "message": "no", "param": "voice_id"}
    assert json.loads(line) == {"detail": told}


@pytest.mark.parametrize(("is_cloned", "category"), [(True, "cloned"), (False, "premade")])
def test_a_voice_is_told_as_cloned_or_as_the_engine_s_own(is_cloned: bool, category: str) -> None:
    told = describe_voice("ada", is_cloned=is_cloned)
    assert (told["voice_id"], told["name"], told["category"]) == ("ada", "ada", category)
