"""Speaks several renders in turn, in an order drawn from a seed: what a worker host does, made repeatable.

    python voxcpm_turns.py MODEL_FOLDER RENDERS < plans, one a line > their results, one a line

Runs in the environment of the voxcpm backend, beside nothing else. A plan's `seed` is that of the order; without one,
each render is alone. A render of it is {"text", "voice", "options"}, and optionally {"sample", "transcript"} (learned
just before it begins), {"stop_after": chunks} (closed then), {"begin_after": steps of others that come first}. A result
says of each render what became of it; and whether after every step the model was at rest, nobody's.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
from pathlib import Path
from typing import Any

from voice_server.backends.voxcpm import VoxcpmBackend
from voice_server.backends.voxcpm.engine import Order


class Careless(VoxcpmBackend):
    """Begins what does not fit into the model, so that its memory runs out in the middle of a sentence."""

    def _fitting(self, order: Order) -> Order:
        return order


class Turn:
    """One open render."""

    def __init__(self, backend: VoxcpmBackend, plan: dict[str, Any]) -> None:
        if "sample" in plan:
            backend.prepare_voice(plan["voice"], plan["sample"], plan["transcript"])
        self._chunks = backend.render(plan["text"], plan["voice"], **plan["options"])
        self._stop_after = plan.get("stop_after")
        self._audio = hashlib.sha256()
        self.heard = 0
        self.end = ""

    def step(self) -> None:
        if self.heard == self._stop_after:
            self._chunks.close()
            self.end = "stopped"
            return
        try:
            chunk = next(self._chunks)
        except StopIteration as end:
            self.end = end.value or "done"
        except Exception as error:  # noqa: BLE001  # it is the result
            self.end = f"{type(error).__name__}: {error}"
        else:
            self.heard += bool(len(chunk))
            self._audio.update(chunk.tobytes())

    def result(self) -> dict[str, Any]:
        return {"audio": self._audio.hexdigest(), "chunks": self.heard, "end": self.end}


def speak(backend: VoxcpmBackend, plan: dict[str, Any]) -> dict[str, Any]:
    draw, waiting = random.Random(plan["seed"]), dict(enumerate(plan["renders"]))
    turns: dict[int, Turn] = {}
    order: list[int] = []
    found = {unowned(backend)}
    at_rest = (None, None, 0, random_state())
    while waiting or any(not turn.end for turn in turns.values()):
        for number, render in list(waiting.items()):
            if len(order) >= render.get("begin_after", 0):
                turns[number] = Turn(backend, waiting.pop(number))
        order.append(draw.choice([number for number, turn in turns.items() if not turn.end]))
        turns[order[-1]].step()
        found.add(unowned(backend))
    switches = sum(before != after for before, after in itertools.pairwise(order))
    results = [turns[number].result() for number in sorted(turns)]
    return {"switches": switches, "at_rest": found == {at_rest}, "renders": results}


def speak_alone(backend: VoxcpmBackend, plan: dict[str, Any]) -> dict[str, Any]:
    alone = [speak(backend, {"seed": 0, "renders": [{**render, "begin_after": 0}]}) for render in plan["renders"]]
    results = [result for one in alone for result in one["renders"]]
    return {"switches": 0, "at_rest": all(one["at_rest"] for one in alone), "renders": results}


def unowned(backend: VoxcpmBackend) -> tuple[object, ...]:
    """What the model holds while nobody is seated: no cache, no patched layer, and a random state of its own."""
    model = backend._engine._model  # type: ignore[attr-defined]
    patched = sum("forward" in vars(layer) for layer in model.audio_vae.decoder.modules())
    return model.base_lm.kv_cache, model.residual_lm.kv_cache, patched, random_state()


def random_state() -> bytes:
    import torch

    state: bytes = torch.get_rng_state().numpy().tobytes()
    return state


def main() -> None:
    folder, renders = Path(sys.argv[1]), int(sys.argv[2])
    results, sys.stdout = sys.stdout, sys.stderr  # the adapter prints
    loras = str(folder / "loras")
    backend = Careless("cpu", model=str(folder), renders=renders, loras=loras, progress=lambda text: None)
    for line in sys.stdin:
        plan = json.loads(line)
        result = speak_alone(backend, plan) if plan["seed"] is None else speak(backend, plan)
        desks = backend._engine._desks  # type: ignore[attr-defined]
        print(json.dumps({**result, "free": desks.free}), file=results, flush=True)


if __name__ == "__main__":
    main()
