"""Engine batched computes many renders in one step: each sounds as it does alone in the package's own engine."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.process.conftest import edit_tensors

ARCHS = ("0.5b", "1.5", "2")
RENDERS = 16
TOLERANCE = 1e-5  # of a sample, where the loudest are near 1: what another order of adding up makes of float32

Answer = dict[str, Any]


class Batcher:
    """A process with a model loaded twice: in engine batched, and in engine torch to compare with."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def speak(self, *renders: dict[str, Any], **plan: Any) -> Answer:
        """In the end every slot is free again, and empty."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps({"renders": renders, **plan}), file=self._process.stdin, flush=True)
        answer: Answer = json.loads(self._process.stdout.readline())
        assert (answer["free"], answer["left_over"]) == (RENDERS, 0.0)
        return answer


@contextmanager
def batcher(python: Path, model: Path, cache: Path) -> Iterator[Batcher]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VOICE_SERVER_CACHE": str(cache)}
    command = [python, ROOT / "tests" / "process" / "voxcpm_batches.py", model, str(RENDERS)]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, env=environ, stdin=pipe, stdout=pipe, stderr=nothing, text=True) as process:
        try:
            yield Batcher(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def by_arch(
    voxcpm_python: Path, voxcpm_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Batcher]]:
    """With the adapters calm, wild and loud, of which the last drives the model beyond all numbers."""
    with ExitStack() as stack:
        started = {}
        for arch in ARCHS:
            model = tmp_path_factory.mktemp("batched") / arch
            shutil.copytree(voxcpm_models / arch, model)
            shutil.copytree(model / "loras" / "calm", model / "loras" / "loud")
            edit_tensors(model / "loras" / "loud" / "lora_weights.safetensors", _deafen)
            started[arch] = stack.enter_context(batcher(voxcpm_python, model, tmp_path_factory.mktemp("cache")))
        yield started


def _deafen(header: dict[str, Any], data: bytearray) -> None:
    data[:] = struct.pack("<f", 3e38) * (len(data) // 4)


@pytest.fixture(params=[*(pytest.param(arch, marks=pytest.mark.release) for arch in ARCHS[:-1]), ARCHS[-1]])
def model(request: pytest.FixtureRequest, by_arch: dict[str, Batcher]) -> Batcher:
    return by_arch[str(request.param)]


@pytest.fixture
def two(by_arch: dict[str, Batcher]) -> Batcher:
    return by_arch["2"]


def sentence(number: int, begin: int = 0, **options: Any) -> dict[str, Any]:
    text = "This is sentence number " + "one and " * number + "one."
    return {"text": text, "begin": begin, "options": {"seed": number, "min_len": 5 + 2 * number, **options}}


def quick(number: int, **options: Any) -> dict[str, Any]:
    """Three positions: the scripts of all that a model can hold are heard in the first step, and all speak in it."""
    return {**sentence(number, **options), "text": "A"}


def cloned(plan: dict[str, Any], sample: Path, transcript: str) -> dict[str, Any]:
    return {**plan, "voice": f"voice {transcript}", "sample": str(sample), "transcript": transcript}


def assert_alike(answer: Answer) -> None:
    differences = [render["difference"] for render in answer["renders"]]
    assert None not in differences, answer["renders"]
    assert max(differences) <= TOLERANCE


OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "min_len": st.integers(2, 9),
        "cfg_value": st.sampled_from([1.0, 2.0, 3.5]),
        "inference_timesteps": st.sampled_from([10, 10, 10, 4]),
        "lora": st.sampled_from(["", "", "calm", "wild"]),
    }
)
PLAN = st.fixed_dictionaries(
    {
        "text": st.integers(1, 20).map(lambda words: "word " * words),
        "begin": st.integers(0, 12),
        "options": OPTIONS,
        "is_cloned": st.booleans(),
        "stop_after": st.sampled_from([None, None, None, 1, 6]),
    }
)


@pytest.mark.parametrize("rows", [1, 2, 5, RENDERS])
@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_renders_that_join_and_leave_at_random_sound_as_they_do_alone(
    model: Batcher, sample: Path, rows: int, data: st.DataObject
) -> None:
    plans = data.draw(st.lists(PLAN, min_size=rows, max_size=rows))
    answer = model.speak(*(cloned(plan, sample, "The words.") if plan.pop("is_cloned") else plan for plan in plans))
    assert_alike(answer)


def test_one_step_holds_all_that_are_open(model: Batcher) -> None:
    answer = model.speak(*(quick(1) for _ in range(RENDERS)))
    assert_alike(answer)
    assert set(answer["rows"]) == {RENDERS}


def test_rows_with_other_timesteps_are_batches_of_their_own(two: Batcher) -> None:
    answer = two.speak(*(quick(1, inference_timesteps=(10, 4)[number % 2]) for number in range(8)))
    assert_alike(answer)
    assert set(answer["rows"]) == {4}


def test_a_long_script_is_heard_in_pieces_while_others_go_on(two: Batcher) -> None:
    long = {**sentence(4), "text": "word " * 150}  # 750 positions, of which a step hears 64
    answer = two.speak(*(quick(number, min_len=18) for number in range(3)), {**long, "begin": 5})
    assert_alike(answer)
    assert [int(render["first_turn"]) for render in answer["renders"]] == [1, 1, 1, 5 + 12]
    assert answer["rows"][:18] == [3] * 16 + [4] * 2


def test_a_reference_without_words_and_one_with_them_are_heard_as_upstream_lays_them_out(
    two: Batcher, sample: Path
) -> None:
    assert_alike(two.speak(cloned(sentence(1), sample, ""), cloned(sentence(2), sample, "Its words."), sentence(3)))


def test_a_retry_and_a_design_go_through_the_same_steps(two: Batcher) -> None:
    retried = sentence(3, min_len=2, max_len=4, retry_badcase=True)
    answer = two.speak(sentence(1), sentence(2, design="calm elderly man"), retried)
    assert [render["end"] for render in answer["renders"]] == ["done", "done", "truncated"]
    assert_alike(answer)


def test_a_kernel_of_attention_may_lay_out_its_result_as_it_likes(model: Batcher) -> None:
    long = {**sentence(2), "text": "word " * 20}
    assert_alike(model.speak(quick(1), long, {**quick(3), "begin": 2}, attention="efficient"))


def test_attention_that_plans_for_each_length_is_switched_off_and_engine_torch_keeps_it(two: Batcher) -> None:
    assert two.speak(quick(1))["has_cudnn"] == [True, False]


def test_a_closed_render_is_in_no_step_after_that(model: Batcher) -> None:
    answer = model.speak({**quick(1, min_len=15), "stop_after": 3}, quick(2, min_len=10))
    assert_alike(answer)
    assert answer["rows"] == [2] * 3 + [1] * 9


def test_a_row_of_no_numbers_fails_alone_and_leaves_nothing_in_its_slot(model: Batcher) -> None:
    spoiled = [{**sentence(number, lora="loud"), "fails": True} for number in (5, 6)]
    *good, one, other = model.speak(*(sentence(number) for number in range(4)), *spoiled)["renders"]
    assert max(render["difference"] for render in good) <= TOLERANCE
    assert "no numbers" in one["end"] and "no numbers" in other["end"]
    assert_alike(model.speak(*(quick(1) for _ in range(RENDERS))))


def test_memory_that_runs_out_makes_steps_smaller_and_loses_no_sound(model: Batcher) -> None:
    answer = model.speak(*(quick(2) for _ in range(8)), most_rows=3)
    assert_alike(answer)
    assert (answer["together"], answer["capacity"]) == (2, 4)
    assert answer["rows"][:3] == [8, 4, 2]
    assert set(answer["rows"][3:]) == {2}


def test_memory_that_runs_out_while_a_script_is_heard_makes_its_pieces_smaller(two: Batcher) -> None:
    answer = two.speak(sentence(4), quick(2), most_positions=20)
    assert_alike(answer)
    assert 10 <= answer["piece"] <= 20


@pytest.mark.parametrize("limit", ["most_rows", "most_decoded", "most_positions"])
def test_nothing_of_the_step_that_found_no_memory_is_held_when_memory_is_given_back(model: Batcher, limit: str) -> None:
    answer = model.speak({**sentence(4), "begin": 1}, *(quick(2) for _ in range(4)), **{limit: 2})
    assert_alike(answer)
    assert answer["held"]
    assert set(answer["held"]) == {0}


def test_of_more_than_a_step_can_hold_the_most_urgent_speak(two: Batcher) -> None:
    shrinking = [{**quick(2), "due": -9} for _ in range(2)]  # memory for one row: from then on a step has one
    later = [{**quick(2), "begin": 3, "due": -number} for number in range(3)]
    answer = two.speak(*shrinking, *later, most_rows=1)
    assert_alike(answer)
    least, middle, most = (int(render["first_turn"]) for render in answer["renders"][2:])
    assert most + 11 <= middle <= least - 11  # whoever can wait does so for whole sentences


def test_a_row_that_finds_no_memory_alone_fails_alone(two: Batcher) -> None:
    answer = two.speak({**sentence(1), "fails": True}, most_rows=0)
    assert answer["renders"][0]["end"] == "MemoryError: out of memory, says the test"
    assert_alike(two.speak(sentence(1), sentence(2)))


def test_memory_returns_to_its_start(two: Batcher) -> None:
    plans = [quick(1, begin=number % 5, lora=("", "calm", "wild")[number % 3]) for number in range(RENDERS)]
    assert two.speak(*plans, memory=2)["growth"] < 0.5  # MB, where two rounds say 9 MB of samples


# Recorded steps, as on a GPU

ASK_THE_DEVICE = {"_local_scalar_dense", "item", "nonzero", "masked_select", "lift_fresh", "equal", "is_nonzero"}


def test_rows_in_the_buffers_of_a_recorded_step_sound_as_they_do_alone(model: Batcher) -> None:
    plans = [{**quick(number), "begin": number} for number in range(4)]
    answer = model.speak(*plans, recorded="same")
    assert_alike(answer)
    assert {1, 2, 3, 4} <= set(answer["rows"])
    assert answer["calls"]


@pytest.mark.release
def test_a_recorded_step_never_waits_for_the_device_nor_brings_anything_there(model: Batcher) -> None:
    names = {name.split(".")[1] for name in model.speak(quick(1), recorded="same")["operations"]}
    assert names >= {"linear", "index_put_"}
    assert not names & ASK_THE_DEVICE


@pytest.mark.release
def test_rows_that_fit_into_no_recorded_step_are_computed_without(two: Batcher) -> None:
    strange = [quick(1, lora="calm"), quick(1, inference_timesteps=4), quick(1), quick(1)]
    answer = two.speak(*strange, recorded="same")
    assert_alike(answer)
    assert answer["calls"] == 0


def test_where_steps_cannot_be_recorded_they_are_computed_without_and_the_log_says_so(two: Batcher) -> None:
    answer = two.speak(quick(1), recorded="graphs")
    assert_alike(answer)
    assert answer["said"].startswith("steps are not recorded, which makes them slower: ")


@pytest.mark.release
def test_each_bucket_is_traced_once_and_whole_and_gives_what_the_eager_step_gives(model: Batcher) -> None:
    answer = model.speak(*({**quick(number), "begin": number} for number in range(4)), recorded="traced")
    assert_alike(answer)
    assert answer["graphs"] == 3 + 6  # rows; rows and lengths
    assert answer["later_graphs"] == 0
    assert answer["calls"]
