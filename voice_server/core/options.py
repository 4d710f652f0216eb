"""What a client may set on a render, and whether what it sent fits.

Promises: `validate` returns only values of the declared type and range that a frame can carry, so that a worker never
sees anything else.
Knows nothing of backends: the specs come from backends.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from voice_server.core.errors import BadOption
from voice_server.core.limits import OptionLimits

_LIMITS = OptionLimits()
_FRAME_INTS = range(-(2**63), 2**64)  # that msgpack carries


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a backend. For a `str`, `min` and `max` are its length in characters."""

    type: Literal["float", "int", "bool", "str", "choice"]
    min: int | float | None = None
    max: int | float | None = None
    default: str | int | float | bool | None = None  # None: not sent unless the client sets it
    choices: tuple[str, ...] = ()
    help: str = ""


def validate(values: Mapping[str, object], specs: Mapping[str, OptionSpec]) -> dict[str, object]:
    """`values` with the defaults filled in. Raises BadOption for the first one that does not fit."""
    for name in values:
        if name not in specs:
            raise _bad(name, f"unknown option {name[: _LIMITS.echo_chars]!r}: {_known(specs)}")
    checked = {name: spec.default for name, spec in specs.items() if spec.default is not None}
    return checked | {name: _check(name, value, specs[name]) for name, value in values.items()}


def spec_problems(spec: OptionSpec) -> list[str]:
    """What is wrong with a spec itself, in words for the author of backends.yaml."""
    problems = [f"{end} must be finite" for end in ("min", "max") if not _is_finite(getattr(spec, end))]
    if spec.min is not None and spec.max is not None and not spec.min <= spec.max:
        problems.append("min must not be above max")
    if (spec.type == "choice") != bool(spec.choices):
        problems.append("choices belong to the type choice, which needs at least one")
    if spec.default is not None and not problems:
        problems.extend(_default_problem(spec, spec.default))
    return problems


def _default_problem(spec: OptionSpec, default: object) -> list[str]:
    try:
        _check("default", default, spec)
    except BadOption as error:
        return [error.message]
    return []


def _check(name: str, value: object, spec: OptionSpec) -> object:
    if not _fits(value, spec):
        raise _bad(name, f"{name} must be {describe(spec)}")
    return float(value) if spec.type == "float" and isinstance(value, int) else value


def _fits(value: object, spec: OptionSpec) -> bool:
    match spec.type:
        case "bool":
            return isinstance(value, bool)
        case "choice":
            return isinstance(value, str) and value in spec.choices
        case "str":
            return isinstance(value, str) and _in_range(len(value), spec.min, _longest(spec)) and _is_whole(value)
        case "int":
            return _is_number(value, int) and value in _FRAME_INTS and _in_range(value, spec.min, spec.max)
        case "float":  # pragma: no branch (mypy proves that there is no other type)
            return _is_number(value, int, float) and _in_range(value, spec.min, spec.max)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: object) -> bool:
    """Whether `value` is None or a number that a C engine can hold; an int of 400 digits is not."""
    try:
        return value is None or math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def _is_whole(text: str) -> bool:
    """Half of a surrogate pair is no character, and no frame carries it."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _in_range(value: object, low: float | None, high: float | None) -> bool:
    assert isinstance(value, int | float)
    return (low is None or value >= low) and (high is None or value <= high)


def _longest(spec: OptionSpec) -> float:
    return _LIMITS.str_chars if spec.max is None else min(spec.max, _LIMITS.str_chars)


def describe(spec: OptionSpec) -> str:
    """What a value must be, as the end of a sentence: "a number from 0.5 to 2.0"."""
    match spec.type:
        case "bool":
            return "true or false"
        case "choice":
            return "one of " + ", ".join(spec.choices)
        case "str":
            return f"text of {_range(spec.min or 0, _longest(spec))} characters"
        case "int":
            return f"a whole number{_number_range(spec)}"
        case "float":  # pragma: no branch (mypy proves that there is no other type)
            return f"a number{_number_range(spec)}"


def _number_range(spec: OptionSpec) -> str:
    if spec.min is not None and spec.max is not None:
        return f" from {_range(spec.min, spec.max)}"
    if spec.min is not None:
        return f", {spec.min} or more"
    return "" if spec.max is None else f", {spec.max} or less"


def _range(low: float, high: float) -> str:
    return f"{low} to {high}"


def _known(specs: Mapping[str, OptionSpec]) -> str:
    return "known options are " + ", ".join(specs) if specs else "this backend has no options"


def _bad(name: str, message: str) -> BadOption:
    return BadOption(message, field=f"opts.{name[: _LIMITS.echo_chars]}")
