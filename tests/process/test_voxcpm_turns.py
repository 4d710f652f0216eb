"""Several renders open in one model: each sounds as if it were alone, bit for bit, in whatever order they speak."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT
from tests.process.conftest import StartVoxcpm, edit_tensors
from voice_server.wire.messages import Audio, Cancel, Cancelled, Deadline, Done, LoadFailed, Message, Ready, Render

ADAPTER = "voice_server.backends.voxcpm:VoxcpmBackend"
ARCHS = ("0.5b", "1.5", "2")
RENDERS = 4
SEEDS = range(3)
OVERLONG = {"text": "word " * 200, "options": {"seed": 9, "min_len": 200, "max_len": 300}}  # 1000 of 1024 positions


class Turns:
    """A process with one loaded model, that speaks what it is told in the order it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def speak(self, *renders: dict[str, Any], seed: int) -> list[dict[str, Any]]:
        """In turn. The model is nobody's between two steps, and every desk is free again in the end."""
        result = self._ask({"seed": seed, "renders": renders})
        assert result["switches"] > len(renders)
        return list(result["renders"])

    def alone(self, *renders: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self._ask({"seed": None, "renders": renders})["renders"])

    def _ask(self, plan: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(plan), file=self._process.stdin, flush=True)
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert (result["free"], result["at_rest"]) == (RENDERS, True)
        return result


@contextmanager
def turns(python: Path, model: Path, cache: Path) -> Iterator[Turns]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VOICE_SERVER_CACHE": str(cache)}
    command = [python, ROOT / "tests" / "process" / "voxcpm_turns.py", model, str(RENDERS)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environ, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Turns(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def by_arch(
    voxcpm_python: Path, voxcpm_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Turns]]:
    """With the adapters calm, wild and loud, of which the last drives the model beyond all numbers."""
    with ExitStack() as stack:
        started = {}
        for arch in ARCHS:
            model = tmp_path_factory.mktemp("turns") / arch
            shutil.copytree(voxcpm_models / arch, model)
            shutil.copytree(model / "loras" / "calm", model / "loras" / "loud")
            edit_tensors(model / "loras" / "loud" / "lora_weights.safetensors", _deafen)
            started[arch] = stack.enter_context(turns(voxcpm_python, model, tmp_path_factory.mktemp("cache")))
        yield started


def _deafen(header: dict[str, Any], data: bytearray) -> None:
    data[:] = struct.pack("<f", 3e38) * (len(data) // 4)


@pytest.fixture(params=ARCHS)
def model(request: pytest.FixtureRequest, by_arch: dict[str, Turns]) -> Turns:
    return by_arch[str(request.param)]


@pytest.fixture
def two(by_arch: dict[str, Turns]) -> Turns:
    return by_arch["2"]


def sentence(number: int, **options: Any) -> dict[str, Any]:
    text = "This is sentence number " + "one and " * number + "one."
    return {"text": text, "voice": "zero-shot", "options": {"seed": number, "min_len": 5 + 2 * number, **options}}


def cloned(number: int, sample: Path, **options: Any) -> dict[str, Any]:
    voice = {"voice": sample.stem, "sample": str(sample), "transcript": "These are the words."}
    return {**sentence(number, **options), **voice}


@pytest.fixture
def fresh_sample(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """One that no model has heard."""
    number = zlib.crc32(request.node.name.encode())
    path, noise = tmp_path / f"{number}.wav", np.random.default_rng(number)
    soundfile.write(path, noise.standard_normal(32000) * 0.1, 16000)
    return path


@pytest.mark.parametrize("seed", SEEDS)
def test_four_renders_in_any_order_are_what_they_are_alone(model: Turns, seed: int) -> None:
    renders = [sentence(number) for number in range(RENDERS)]
    alone = model.alone(*renders)
    assert model.speak(*renders, seed=seed) == alone
    assert len({render["audio"] for render in alone}) == RENDERS


@pytest.mark.parametrize("seed", SEEDS)
def test_one_that_is_cancelled_and_one_that_fails_in_the_middle_leave_no_trace_in_others(
    model: Turns, seed: int
) -> None:
    others = [sentence(2, min_len=20), sentence(3, min_len=25)]
    alone = model.alone(*others)
    cancelled = {**sentence(1, min_len=30), "stop_after": 9}
    failing = {**OVERLONG, "voice": "zero-shot"}
    first, stopped, failed, last = model.speak(others[0], cancelled, failing, others[1], seed=seed)
    assert [first, last] == alone
    assert (stopped["chunks"], stopped["end"]) == (9, "stopped")
    assert 10 < failed["chunks"] < 30
    assert failed["end"] == "ValueError: KV cache is full"


def test_a_render_that_gives_no_numbers_spoils_neither_those_beside_it_nor_those_after_it(model: Turns) -> None:
    renders = [sentence(number) for number in range(RENDERS)]
    alone = model.alone(*renders)
    spoiled = [sentence(number, lora="loud") for number in (5, 6)]
    *good, one, other = model.speak(*renders[:2], *spoiled, seed=1)
    assert good == alone[:2]
    assert "no numbers" in one["end"] and "no numbers" in other["end"]
    assert model.speak(*renders, seed=2) == alone


@pytest.mark.parametrize("seed", SEEDS)
def test_each_render_keeps_the_lora_that_it_asked_for(model: Turns, seed: int) -> None:
    renders = [sentence(3, lora=lora) for lora in ("calm", "", "wild", "calm")]
    alone = model.alone(*renders)
    assert model.speak(*renders, seed=seed) == alone
    assert len({render["audio"] for render in alone}) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clone_a_voice_at_random_a_design_and_a_retry_do_not_meet(two: Turns, sample: Path, seed: int) -> None:
    description = f"calm elderly man number {seed}"  # so that it is designed in turn, and not before
    retried = sentence(3, min_len=2, max_len=4, retry_badcase=True)
    renders = [cloned(0, sample), sentence(1), sentence(2, design=description), retried]
    in_turn = two.speak(*renders, seed=seed)
    assert in_turn == two.alone(*renders)
    assert [render["end"] for render in in_turn] == ["done", "done", "done", "truncated"]


def test_a_design_made_in_turn_is_the_one_made_alone(
    two: Turns, voxcpm_python: Path, voxcpm_models: Path, tmp_path: Path
) -> None:
    renders = [
        sentence(0),
        sentence(1, design="a voice made by two"),
        sentence(2, design="a voice made by two"),
    ]
    with turns(voxcpm_python, voxcpm_models / "2", tmp_path) as other:
        assert other.alone(*renders) == two.speak(*renders, seed=3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sample_is_encoded_while_others_are_open(model: Turns, fresh_sample: Path, seed: int) -> None:
    late = {**cloned(2, fresh_sample), "begin_after": 6}
    renders = [sentence(0), sentence(1), late]
    in_turn = model.speak(*renders, seed=seed)
    assert in_turn == model.alone(*renders)


def test_more_renders_than_desks_are_refused_and_the_others_go_on(model: Turns) -> None:
    renders = [sentence(3) for _ in range(RENDERS + 1)]
    ends = [render["end"] for render in model.speak(*renders, seed=0)]
    assert sorted(ends) == ["RuntimeError: more renders than this engine has a place for", *["done"] * RENDERS]


# Through the worker host


def test_a_worker_holds_four_renders_open_and_says_what_they_take(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path
) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "2"))
        assert isinstance(answer, Ready)
        assert answer.capacity == 4
        assert "renders open at once: 4, with " in worker.log


def test_the_most_urgent_render_speaks_first_and_a_cancelled_one_leaves_no_trace(voxcpm_worker: StartVoxcpm) -> None:
    long, short = {"seed": 1, "min_len": 60}, {"seed": 2, "min_len": 6}
    with voxcpm_worker("2") as worker:
        alone = [
            worker.render("This is said.", render_id=number, **options)[0]
            for number, options in ((1, long), (2, short))
        ]
        worker.say(Render(3, "This is said.", "", long, due_in_s=60.0))
        worker.say(Render(4, "This is said.", "", long, due_in_s=90.0))
        heard = [worker.hear()]
        worker.say(Deadline(4, 0.0))
        while heard[-1].render_id != 4:  # type: ignore[union-attr]
            heard.append(worker.hear())
        worker.say(Cancel(4))
        worker.say(Render(5, "This is said.", "", short, due_in_s=0.0))
        while sum(isinstance(message, (Done, Cancelled)) for message in heard) < 3:
            heard.append(worker.hear())
        assert [message for message in heard if isinstance(message, Cancelled)] == [Cancelled(4)]
        assert [pcm_of(heard, number) for number in (3, 5)] == alone
        ended = [message.render_id for message in heard if isinstance(message, Done)]
        assert ended == [5, 3]


def pcm_of(heard: list[Message], render_id: int) -> bytes:
    return b"".join(part.pcm for part in heard if isinstance(part, Audio) and part.render_id == render_id)


@pytest.mark.parametrize("renders", [0, -1, True, 2.5, "many"], ids=str)
def test_a_number_of_renders_that_is_none_is_a_configuration_error(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, renders: object
) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "2"), renders=renders)
        assert isinstance(answer, LoadFailed)
        assert "renders is auto or a number" in answer.message
        assert not answer.retryable
