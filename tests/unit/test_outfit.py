"""Which workers of a pool are to be there."""

from __future__ import annotations

import pytest

from voice_server.core.limits import WorkerLimits
from voice_server.core.settings import Bounds
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Command
from voice_server.pool.supervisor import WorkerSpec
from voice_server.wire.messages import Load


def spec(number: int, *, is_spare: bool = False) -> WorkerSpec:
    load = Load("x:X", "cpu", {}, "")
    return WorkerSpec(f"x-{number}", Command(("x",), {}), load, WorkerLimits(), is_spare=is_spare)


SPECS = (*(spec(number) for number in range(4)), spec(4, is_spare=True))
ELASTIC = Outfit(SPECS, Bounds(2, 4))


def standing(outfit: Outfit, *open_now: int) -> list[int]:
    return [SPECS.index(spec) for spec in outfit.standing({f"x-{number}" for number in open_now})]


def test_a_fixed_pool_has_all_its_workers() -> None:
    assert standing(Outfit(SPECS)) == standing(Outfit(SPECS), 1) == [0, 1, 2, 3, 4]


def test_an_elastic_pool_begins_with_its_least_and_its_spares() -> None:
    assert standing(ELASTIC) == [0, 1, 4]


@pytest.mark.parametrize(
    ("open_now", "expected"), [((0, 1, 3), [0, 1, 3, 4]), ((3,), [0, 3, 4]), ((0, 1, 2, 3), [0, 1, 2, 3, 4])]
)
def test_who_is_there_stays(open_now: tuple[int, ...], expected: list[int]) -> None:
    assert standing(ELASTIC, *open_now) == expected


def test_as_many_stay_as_there_were_where_fewer_names_are_left() -> None:
    assert standing(Outfit(SPECS[:3], Bounds(1, 3)), 0, 8, 9) == [0, 1, 2]
