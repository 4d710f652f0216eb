"""Steps over static buffers, recorded once for each bucket: on a GPU a recording is one launch instead of thousands.

A bucket is a number of rows and a length that no position goes beyond. A batch takes the smallest one that holds it;
the rows that are left over compute for nobody, in a slot that no render has. What has no bucket is computed without:
rows with an adapter or other timesteps, the first two steps of a voice at random in the older models, very long ones.

Recorded are two parts, with the audio on its way to the host between them. What a recorded step changes it changes in
its middle too: once recorded it takes no memory, so it is never taken again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator

from voice_server.backends.voxcpm.batched_step import read_later

if TYPE_CHECKING:
    from voice_server.backends.voxcpm.batched_step import Batch, Later, Stepper
    from voice_server.backends.voxcpm.engine import Report

    Work = Callable[[], Any]  # on buffers that stay where they are; what it returns may be overwritten by the next call
    Recorder = Callable[[Work], Work]  # what it gives does the same, without asking Python again

_TIMESTEPS = 10  # the default of a sentence
_LENGTHS = (512, 1024, 2048)  # a sentence of 400 characters with 10 s of a voice takes less than the second
_CLOSE = (
    16  # rows: up to here the weights decide what a step takes, and padding is free; above, buckets are so far apart
)
_WARM_UP = 3  # calls: kernels are chosen and compiled in them, which a recording may not do


class Recordings:
    """Takes the steps of a stepper, recorded where it can. Raises what the recorder raises."""

    def __init__(self, stepper: Stepper, rows: int, longest: int, record: Recorder, report: Report) -> None:
        self._stepper = stepper
        self._known = stepper.decoder.window - 1
        sizes = list(buckets(rows, longest))
        self._recordings: dict[tuple[int, int], Recording] = {}
        for number, size in enumerate(reversed(sizes), 1):  # the largest one first: the others fit into its memory
            report(f"recording steps: {number} of {len(sizes)}")
            self._recordings[size] = Recording(stepper, *size, record)

    def step(self, batch: Batch) -> Later:
        recording = self._fitting(batch)
        return recording.step(batch) if recording else self._stepper.step(batch)

    def _fitting(self, batch: Batch) -> Recording | None:
        if any(batch.loras) or (batch.timesteps, batch.known) != (_TIMESTEPS, self._known):
            return None
        fitting = [size for size in self._recordings if size[0] >= len(batch.slots) and size[1] >= batch.length]
        return self._recordings[min(fitting)] if fitting else None


class Recording:
    """One bucket."""

    def __init__(self, stepper: Stepper, rows: int, length: int, record: Recorder) -> None:
        self._stepper = stepper
        self._batch = stepper.of_nobody(rows, length, _TIMESTEPS)
        self._nobody = int(self._batch.slots[0])
        self._patches = self._batch.noise.transpose(1, 2).contiguous()
        self._utter, self._listen = record(self._uttered), record(self._listened)

    def step(self, batch: Batch) -> Later:
        rows = len(batch.slots)
        self._fill(batch, rows)
        audio, stops = self._utter()
        later = read_later(audio[:rows], stops[:rows])
        self._listen()
        return later

    def _fill(self, batch: Batch, rows: int) -> None:
        mine = self._batch
        pairs = (mine.slots, batch.slots), (mine.positions, batch.positions), (mine.noise, batch.noise)
        for own, given in (*pairs, (mine.guidance, batch.guidance)):
            own[:rows].copy_(given)
        mine.slots[rows:] = self._nobody
        mine.positions[rows:] = 0

    def _uttered(self) -> Any:
        said = self._stepper.utter(self._batch)
        self._stepper.decoder.commit(self._batch.slots, said.kept)
        self._patches.copy_(said.patches)
        return said.audio, said.stops

    def _listened(self) -> None:
        self._stepper.commit(self._batch, self._patches, self._stepper.listen(self._patches, self._batch))


def buckets(rows: int, longest: int) -> Iterator[tuple[int, int]]:
    """Rows and lengths, in rising order. The last ones hold all rows."""
    few = (count for count in (1, 2, 4, 8) if count < rows)
    for count in (*few, *range(_CLOSE, rows, _CLOSE), rows):
        yield from ((count, length) for length in sorted({min(length, longest) for length in _LENGTHS}))


class GraphRecorder:
    """Records CUDA graphs. All share their memory: no two of them are ever computed at once."""

    def __init__(self) -> None:
        import torch

        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> Work:
        import torch

        self._warm_up(work)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = work()

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    def _warm_up(self, work: Work) -> None:
        import torch

        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                work()
        here.wait_stream(aside)
