from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.errors import BadOption
from voice_server.core.limits import OptionLimits
from voice_server.core.options import OptionSpec, describe, spec_problems, validate
from voice_server.wire.frames import encode
from voice_server.wire.messages import Render

SPEED = OptionSpec("float", min=0.5, max=2.0, default=1.0)
SEED = OptionSpec("int", min=0, max=2**31 - 1)
STYLE = OptionSpec("choice", choices=("calm", "loud"))
SPECS = {"speed": SPEED, "seed": SEED, "style": STYLE, "note": OptionSpec("str"), "whisper": OptionSpec("bool")}


def refusal(name: str, value: object) -> BadOption:
    with pytest.raises(BadOption) as caught:
        validate({name: value}, SPECS)
    return caught.value


def test_defaults_are_filled_in():
    assert validate({}, SPECS) == {"speed": 1.0}


def test_values_that_fit_pass_unchanged():
    values = {"speed": 1.5, "seed": 7, "style": "loud", "note": "x", "whisper": True}
    assert validate(values, SPECS) == values


def test_an_int_is_accepted_for_a_float_and_becomes_one():
    speed = validate({"speed": 2}, SPECS)["speed"]
    assert isinstance(speed, float) and speed == 2.0


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_both_ends_of_a_range_belong_to_it(value):
    assert validate({"speed": value}, SPECS) == {"speed": value}


@pytest.mark.parametrize(
    "name, value",
    [
        *[("speed", value) for value in (0.49, 2.01, 1e9, -1, math.nan, math.inf, -math.inf, True, "1", None, [], {})],
        *[("seed", value) for value in (-1, 2**31, 10**400, 1.0, 0.5, True, "1", math.nan, None)],
        *[("style", value) for value in ("quiet", "", 1, None, ["calm"])],
        *[("note", value) for value in ("x" * (OptionLimits().str_chars + 1), 1, None, b"x", "half \ud83d", "\udfff")],
        *[("whisper", value) for value in (0, 1, "true", None)],
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_field(name, value):
    assert refusal(name, value).field == f"opts.{name}"


def test_a_huge_int_is_refused_where_there_is_no_range():
    with pytest.raises(BadOption):
        validate({"x": 10**400}, {"x": OptionSpec("float")})


@pytest.mark.parametrize("value", [-(2**63) - 1, 2**64, 10**400])
def test_an_int_that_no_frame_carries_is_refused_where_there_is_no_range(value):
    with pytest.raises(BadOption):
        validate({"x": value}, {"x": OptionSpec("int")})


def test_the_message_names_the_range():
    assert "from 0.5 to 2.0" in refusal("speed", 3).message


def test_the_message_names_the_choices():
    assert "one of calm, loud" in refusal("style", "quiet").message


def test_an_unknown_option_is_refused_with_the_known_ones():
    error = refusal("speeed", 1)
    assert error.field == "opts.speeed" and "speed, seed, style" in error.message


def test_an_endless_name_is_cut_in_the_answer():
    error = refusal("x" * 10_000, 1)
    assert len(error.message) < 200 and error.field is not None and len(error.field) < 50


def test_a_backend_without_options_says_so():
    with pytest.raises(BadOption, match="no options"):
        validate({"speed": 1}, {})


@pytest.mark.parametrize(
    "spec, words",
    [
        (OptionSpec("float", min=2, max=1), "above"),
        (OptionSpec("float", min=math.nan), "finite"),
        (OptionSpec("float", max=math.inf), "finite"),
        (OptionSpec("choice"), "choices"),
        (OptionSpec("float", choices=("a",)), "choices"),
        (OptionSpec("float", max=1, default=2), "1 or less"),
        (OptionSpec("int", default="1"), "whole number"),
        (OptionSpec("choice", choices=("a",), default="b"), "one of a"),
    ],
)
def test_a_spec_that_contradicts_itself_is_told(spec, words):
    assert any(words in problem for problem in spec_problems(spec))


@pytest.mark.parametrize("spec", SPECS.values())
def test_a_sound_spec_has_no_problems(spec):
    assert spec_problems(spec) == []


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1", "calm", "quiet"])
_JSON = _SCALARS | st.lists(_SCALARS, max_size=2)


@given(st.dictionaries(st.sampled_from(list(SPECS)), _JSON))
def test_whatever_passes_is_of_the_declared_type_and_range(values):
    try:
        checked = validate(values, SPECS)
    except BadOption:
        return
    assert type(checked["speed"]) is float and 0.5 <= checked["speed"] <= 2.0
    assert 0 <= checked.get("seed", 0) < 2**31
    assert checked.get("style", "calm") in STYLE.choices


@given(
    st.sampled_from([-(2**63), 2**64 - 1]) | st.integers(),
    st.text(st.characters(exclude_categories=[])),
    st.floats() | st.integers(),
)
def test_whatever_passes_without_a_range_goes_into_a_frame(count, note, speed):
    specs = {"count": OptionSpec("int"), "note": OptionSpec("str"), "speed": OptionSpec("float")}
    for name, value in (("count", count), ("note", note), ("speed", speed)):
        with suppress(BadOption):
            encode(Render(1, "Hello.", "", validate({name: value}, specs)))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (OptionSpec("float", min=0.5, max=2.0), "a number from 0.5 to 2.0"),
        (OptionSpec("float", min=0.5), "a number, 0.5 or more"),
        (OptionSpec("int", max=9), "a whole number, 9 or less"),
        (OptionSpec("int"), "a whole number"),
        (OptionSpec("bool"), "true or false"),
        (OptionSpec("choice", choices=("calm", "loud")), "one of calm, loud"),
        (OptionSpec("str", min=1, max=8), "text of 1 to 8 characters"),
        (OptionSpec("str"), f"text of 0 to {OptionLimits().str_chars} characters"),
    ],
)
def test_people_are_told_what_a_value_must_be(spec: OptionSpec, told: str) -> None:
    assert describe(spec) == told
