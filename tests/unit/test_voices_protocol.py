"""The table of the voices' doors: which forms are taken, and what is told of a voice."""

from __future__ import annotations

import pytest

from voice_server.core.doors import voices_protocol as protocol
from voice_server.core.errors import BackendUnavailable, BadMessage, UnknownVoice, VoiceError, VoiceExists
from voice_server.core.limits import VoiceLimits

ENGINES = {"hibari": ["en", "fast"], "tone": ["low"]}


@pytest.mark.parametrize("key", ["transcript", "ref_text"])
def test_a_field_has_two_names_and_one_line(key: str) -> None:
    assert protocol.field({key: " Hello\n there. "}, "transcript") == "Hello there."


def test_a_field_that_was_not_sent_is_empty() -> None:
    assert protocol.field({}, "licence") == ""


def test_a_list_is_cut_at_its_commas() -> None:
    assert protocol.names({"aliases": " ada, , Ada Lovelace,"}, "aliases") == ("ada", "Ada Lovelace")


@pytest.mark.parametrize("form", [{}, {"type": "audio_sample"}])
def test_a_form_may_say_that_it_brings_a_sound(form: dict[str, str]) -> None:
    protocol.check_form(form)


def test_a_voice_described_in_words_is_refused_with_what_would_do() -> None:
    with pytest.raises(BadMessage, match="design") as refused:
        protocol.check_form({"type": "prompt", "prompt": "A calm voice."})
    assert refused.value.field == "type"


@pytest.mark.parametrize(
    ("name", "told"), [("", "needs a name"), ("../etc/passwd", "letters and digits"), ("a" * 65, "letters and digits")]
)
def test_a_name_that_no_voice_can_have_is_refused(name: str, told: str) -> None:
    with pytest.raises(BadMessage, match=told) as refused:
        protocol.check_name(name, ENGINES)
    assert refused.value.field == "name"


def test_an_engine_s_voice_keeps_its_name() -> None:
    with pytest.raises(VoiceExists, match="hibari"):
        protocol.check_name("fast", ENGINES)


def test_a_free_name_is_taken() -> None:
    protocol.check_name("ada", ENGINES)


def test_an_engine_s_voice_has_no_sample() -> None:
    with pytest.raises(BadMessage, match="voice of an engine"):
        protocol.check_samples_voice("low", ["ada"], ENGINES)


def test_a_voice_that_nobody_knows_is_unknown() -> None:
    with pytest.raises(UnknownVoice):
        protocol.check_samples_voice("eve", ["ada"], ENGINES)


def test_a_sample_goes_before_an_engine_s_voice_of_its_name() -> None:
    protocol.check_samples_voice("low", ["low"], ENGINES)


def test_a_voice_that_nobody_can_speak_has_no_model() -> None:
    assert protocol.sample_voice("ada", [], {})["model"] is None
    assert protocol.sample_voice("ada", ["one", "two"], {})["model"] == "one"


def test_an_engine_s_voice_is_told_with_its_backend() -> None:
    told = {"id": "low", "name": "low", "model": "tone", "kind": "engine", "backends": ["tone"]}
    assert protocol.engine_voice("low", "tone") == told


def test_what_was_made_and_what_is_gone_are_told_as_openai_does() -> None:
    assert protocol.created({"id": "ada"}, 7) == {
        "id": "ada",
        "object": "audio.voice",
        "type": "audio_sample",
        "created_at": 7,
    }
    assert protocol.deleted("ada") == {"id": "ada", "deleted": True, "object": "audio.voice.deleted"}


def test_a_page_is_told_what_a_voice_may_be_made_of() -> None:
    told = protocol.told_limits(VoiceLimits(sample_bytes=5, sample_min_s=1.5, name_chars=9))
    assert (told["sample_bytes"], told["sample_min_s"], told["name_chars"]) == (5, 1.5, 9)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(UnknownVoice("no", field="name"), "invalid_request_error"), (BackendUnavailable("no"), "server_error")],
)
def test_an_error_says_whose_mistake_it_was(error: VoiceError, kind: str) -> None:
    told = protocol.error_body(error)["error"]
    assert told == {"message": "no", "type": kind, "param": error.field, "code": error.code}
