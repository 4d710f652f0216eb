"""Speaks plans with engine batched, as a worker host would: who comes when is written in the plan. One answer a plan.

    python voxcpm_batches.py MODEL_FOLDER RENDERS < plans, one a line > answers, one a line

Runs in the environment of the voxcpm backend. A plan is {"renders": [...]}; a render is {"text", "options", "begin":
turns before it comes} and optionally {"voice", "sample", "transcript"}, {"stop_after": chunks}, {"due": urgency, lower
first}. {"most_rows": n} makes memory run out in batches of more than n, once they were taken up to the decoder,
{"most_decoded": n} at the end of the decoder, {"most_positions": n} in pieces of a script of more than n. The answer
compares each render with engine torch, where it is alone: the largest difference of a sample; and says what was seen of
the batches and of what is left of them, how many tensors of a step were still held each time that memory was given
back, and whether cuDNN's attention was allowed once engine torch was loaded, and once batched was. {"memory": rounds}
speaks the plan so often, and tells the growth.

{"recorded": "same" or "traced"} has steps of up to 4 rows recorded as on a GPU. The first records by calling the same
Python again, having watched what it does; the second by having torch.compile trace it, whole and for fixed shapes, into
operations that are then run. The answer tells how often that was called, and traced. "graphs" asks for CUDA graphs,
which fails here, and tells what the engine says to that.

{"attention": "efficient"} has attention lay out its result as the memory-efficient kernel of a GPU does.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from voice_server.backends.voxcpm import VoxcpmBackend, batched_engine
from voice_server.backends.voxcpm.engine import Order


class Careless(VoxcpmBackend):
    """Begins what does not fit into the model."""

    def _fitting(self, order: Order) -> Order:
        return order


class Talk:
    """One render of a plan."""

    def __init__(self, backend: VoxcpmBackend, plan: dict[str, Any]) -> None:
        voice = plan.get("voice", "zero-shot")
        if "sample" in plan:
            backend.prepare_voice(voice, plan["sample"], plan["transcript"])
        self.seat: Any = backend.render(plan["text"], voice, **plan["options"])
        self.due = plan.get("due", 0)
        self._stop_after = plan.get("stop_after")
        self.chunks: list[Any] = []
        self.first_turn = self.end = ""

    def take(self, turn: int) -> None:
        try:
            chunk = next(self.seat)
        except StopIteration as end:
            self.end = end.value or "done"
        except Exception as error:  # noqa: BLE001  # it is the result
            self.end = f"{type(error).__name__}: {error}"
        else:
            if len(chunk):
                self.chunks.append(chunk)
                self.first_turn = self.first_turn or str(turn)
        if len(self.chunks) == self._stop_after and not self.end:
            self.seat.close()
            self.end = "stopped"


def speak(backend: VoxcpmBackend, plans: list[dict[str, Any]]) -> list[Talk]:
    """Turn by turn: all are stepped, and a chunk is taken of each that has something to say."""
    waiting, talks, turn = dict(enumerate(plans)), {}, 0
    while waiting or any(not talk.end for talk in talks.values()):
        for number, plan in list(waiting.items()):
            if plan.get("begin", 0) <= turn:
                talks[number] = Talk(backend, waiting.pop(number))
        going = sorted((talk for talk in talks.values() if not talk.end), key=lambda talk: talk.due)
        moved = {id(seat) for seat in backend.step([talk.seat for talk in going])}
        for talk in going:
            if id(talk.seat) in moved:
                talk.take(turn)
        turn += 1
    return [talks[number] for number in sorted(talks)]


def alone(backend: VoxcpmBackend, plan: dict[str, Any]) -> Talk:
    talk = Talk(backend, {**plan, "stop_after": None})
    while not talk.end:
        talk.take(0)
    return talk


def difference(heard: Talk, wanted: Talk) -> float | None:
    """The largest, as far as was heard; None if there is more or less than there should be."""
    if heard.end not in ("stopped", wanted.end) or (heard.end != "stopped" and len(heard.chunks) != len(wanted.chunks)):
        return None
    pairs = zip(heard.chunks, wanted.chunks)  # noqa: B905  # the one that was stopped is shorter
    return max((float(np.abs(one - other).max()) for one, other in pairs), default=0.0)


class Batches:
    """Watches the steps of an engine, and makes memory run out in the decoder, behind it, or as a script is heard."""

    def __init__(self, engine: Any) -> None:
        self.rows: list[int] = []
        self.held: list[int] = []
        self.most = self.most_decoded = self.most_positions = sys.maxsize
        self._taken: list[StorageWeakRef] = []
        attempt, fsq, vae = engine._try_to_speak, engine._model.fsq_layer, engine._model.audio_vae
        listen, decode = fsq.forward, vae.decode

        def attempted(rows: Any) -> Any:
            self.rows.append(len(rows))
            return attempt(rows)

        def listened(hidden: Any) -> Any:
            if (hidden.shape[1] == 1 and len(hidden) > self.most) or hidden.shape[1] > self.most_positions:
                raise MemoryError("out of memory, says the test")
            return listen(hidden)

        def decoded(patches: Any, *rate: Any) -> Any:
            audio = decode(patches, *rate)
            if len(patches) > self.most_decoded:
                raise MemoryError("out of memory, says the test")
            return audio

        engine._try_to_speak, fsq.forward, vae.decode = attempted, listened, decoded
        stepper = engine._stepper
        stepper.step, stepper.prefill = self._counted(stepper.step), self._counted(stepper.prefill)
        batched_engine._give_back_memory = self._given_back

    def expect(self, plan: dict[str, Any]) -> None:
        self.most, self.most_decoded, self.most_positions = (
            plan.get(name, sys.maxsize) for name in ("most_rows", "most_decoded", "most_positions")
        )
        self.rows.clear()
        self.held.clear()
        self._taken.clear()

    def _counted(self, work: Any) -> Any:
        def counted(*given: Any) -> Any:
            if min(self.most, self.most_decoded, self.most_positions) == sys.maxsize:
                return work(*given)
            with Allocations(self._taken):
                return work(*given)

        return counted

    def _given_back(self) -> None:
        self.held.append(sum(not storage.expired() for storage in self._taken))


class Recorder:
    """In place of one for CUDA graphs, where there is no GPU."""

    def __init__(self, traces: bool) -> None:
        self._traces = traces
        self.calls = self.graphs = 0
        self.recorded_graphs = 0  # before the first call
        self.operations: set[str] = set()
        self.said = ""

    def __call__(self, work: Any) -> Any:
        again = self._traced(work) if self._traces else self._watched(work)
        again()
        self.recorded_graphs = self.graphs

        def counted() -> Any:
            self.calls += 1
            return again()

        return counted

    def _traced(self, work: Any) -> Any:
        torch._dynamo.config.recompile_limit = 1000  # all buckets are one function to it
        return torch.compile(work, fullgraph=True, dynamic=False, backend=self._compile)

    def _compile(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward

    def _watched(self, work: Any) -> Any:
        with Operations(self.operations):
            work()
        return work

    def told(self) -> dict[str, Any]:
        graphs = {"graphs": self.recorded_graphs, "later_graphs": self.graphs - self.recorded_graphs}
        return {"calls": self.calls, **graphs, "operations": sorted(self.operations), "said": self.said}


def record(engine: Any, way: str) -> Recorder:
    recorder = Recorder(traces=way == "traced")
    capacity, engine.capacity = engine.capacity, 4
    with redirect_stdout(io.StringIO()) as said:
        if way == "graphs":
            engine._record_or(False, lambda text: None)
        else:
            engine.record(recorder, lambda text: None)
    engine.capacity, recorder.said = capacity, said.getvalue()
    return recorder


@contextmanager
def efficient_attention() -> Iterator[None]:
    """Its kernel computes (rows, queries, heads, width), and returns that transposed."""
    functional: Any = torch.nn.functional
    attend = functional.scaled_dot_product_attention

    def laid_out(*tensors: Any, **options: Any) -> Any:
        return attend(*tensors, **options).transpose(1, 2).contiguous().transpose(1, 2)

    functional.scaled_dot_product_attention = laid_out
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = attend


class Operations(TorchDispatchMode):
    """The names of all operations that are called."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self._names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._names.add(str(func))
        return func(*args, **(kwargs or {}))


class Allocations(TorchDispatchMode):
    """The memory of all tensors that operations make; of those that write into what they are given, none."""

    def __init__(self, made: list[StorageWeakRef]) -> None:
        super().__init__()
        self._made = made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = set(storages((args, kwargs)))
        self._made += [storage for storage in storages(result) if storage not in given]
        return result


def storages(tree: Any) -> list[StorageWeakRef]:
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return [StorageWeakRef(tensor.untyped_storage()) for tensor in tensors]


class Mallinfo(ctypes.Structure):
    """Of glibc. The heap that is in use is the eighth number, what was mapped beside it the fifth."""

    _fields_ = [(f"number_{number}", ctypes.c_size_t) for number in range(10)]


def allocated_bytes() -> int:
    """What the process holds, and not what its allocator keeps for later: that goes up and down by 15 MB."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    gc.collect()
    found = mallinfo()
    return int(found.number_7 + found.number_4)


def growth(backend: VoxcpmBackend, plans: list[dict[str, Any]], rounds: int) -> float:
    """Of the memory of this process in MB, over as many rounds after one to get warm."""
    speak(backend, plans)
    before = allocated_bytes()
    for _ in range(rounds):
        speak(backend, plans)
    return (allocated_bytes() - before) / 1e6


def left_over(engine: Any) -> float:
    """The largest number in the caches of nobody's slots: what a render leaves there, a next one might hear."""
    caches = engine._stepper._base, engine._stepper._residual
    return max(float(cache._kept[:, :, :-1].nan_to_num(nan=1e9).abs().max()) for cache in caches)


def main() -> None:
    folder, renders = Path(sys.argv[1]), int(sys.argv[2])
    results, sys.stdout = sys.stdout, sys.stderr  # the adapter prints
    known: dict[str, Any] = {"model": str(folder), "loras": str(folder / "loras"), "progress": lambda text: None}
    reference = Careless("cpu", engine="torch", renders=1, **known)
    has_cudnn = [torch.backends.cuda.cudnn_sdp_enabled()]
    backend = Careless("cpu", engine="batched", renders=renders, **known)
    has_cudnn.append(torch.backends.cuda.cudnn_sdp_enabled())
    engine: Any = backend._engine  # type: ignore[attr-defined]
    batches = Batches(engine)
    for line in sys.stdin:
        plan = json.loads(line)
        recorder = record(engine, plan["recorded"]) if "recorded" in plan else None
        batches.expect(plan)
        if "memory" in plan:
            answer: dict[str, Any] = {"growth": growth(backend, plan["renders"], plan["memory"])}
        else:
            with efficient_attention() if plan.get("attention") == "efficient" else nullcontext():
                talks = speak(backend, plan["renders"])
            told = [
                {
                    "end": talk.end,
                    "chunks": len(talk.chunks),
                    "first_turn": talk.first_turn,
                    "difference": difference(talk, alone(reference, render)) if not render.get("fails") else None,
                }
                for talk, render in zip(talks, plan["renders"], strict=True)
            ]
            answer = {"renders": told}
        together, capacity = engine._together, engine.capacity
        engine._together = engine.capacity = len(engine._slots)
        piece, engine._piece = engine._piece, 64
        rest = {
            "rows": batches.rows,
            "held": batches.held,
            "together": together,
            "capacity": capacity,
            "free": engine.free,
            "left_over": left_over(engine),
            "has_cudnn": has_cudnn,
        }
        engine._steps = engine._stepper
        seen = recorder.told() if recorder else {}
        print(json.dumps({**answer, **rest, **seen, "piece": piece}), file=results, flush=True)


if __name__ == "__main__":
    main()
