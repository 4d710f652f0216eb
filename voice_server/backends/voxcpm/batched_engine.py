"""Continuous batching on the package's own model and weights: one step moves every open render by one chunk.

Renders come and go at any step; each has a slot of the caches, its own random numbers, guidance and adapter. A newcomer
hears its script a piece at a time between the steps of others. The host says who is most urgent; where a step cannot
hold all, those are in it. Memory that runs out makes steps smaller and loses nothing: what a step changes of a row it
changes at its end. Any other failure ends the rows of that step only.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generator, Iterator, Literal, Sequence

import numpy as np

from voice_server.backends.voxcpm.batched_lm import SlotCache
from voice_server.backends.voxcpm.batched_loras import RowLoras
from voice_server.backends.voxcpm.batched_recordings import GraphRecorder, Recordings
from voice_server.backends.voxcpm.batched_rows import Row, alike, batch_of
from voice_server.backends.voxcpm.batched_script import write
from voice_server.backends.voxcpm.batched_step import Stepper
from voice_server.backends.voxcpm.package import Package
from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_server.backends.voxcpm.batched_recordings import Recorder
    from voice_server.backends.voxcpm.engine import Order, Report, Samples, Speech
    from voice_server.backends.voxcpm.loras import LoraShelf

_PIECE = {"cuda": 1024, "cpu": 64}  # positions of scripts heard in one step: what newcomers may cost the others
_MOST = {"cuda": 128, "cpu": 16}  # renders, where memory would hold more
_SHARE = {"cuda": 0.6, "cpu": 0.25}  # of free memory for caches; the rest is for the steps, and for others
_IN_TURN = 4  # renders that stay open where a step holds fewer: whoever is urgent need not wait for a whole sentence
_NOTHING = np.zeros(0, np.float32)


class Seat:
    """A render as the host holds it: an iterator of chunks that knows which row is speaking for it."""

    def __init__(self, engine: BatchedEngine, speech: Speech) -> None:
        self._engine = engine
        self._speech = speech
        self.row: Row | None = None  # None before the first chunk, and between two tries

    def __iter__(self) -> Seat:
        return self

    def __next__(self) -> Samples:
        with self._engine.serving(self):
            return next(self._speech)

    def close(self) -> None:
        self._speech.close()


class BatchedEngine(Package):
    """`folder` is a checkpoint. Raises BackendError("bad_config") for a wrong one, or wrong options."""

    deterministic = False  # who else is in a batch changes a render's last bits

    def __init__(
        self,
        folder: Path,
        device: str,
        optimize: Literal["auto"] | bool,
        renders: Literal["auto"] | int,
        loras: LoraShelf | None,
        report: Report,
    ) -> None:
        _check_renders(renders)
        self._kind = "cuda" if device.startswith("cuda") else "cpu"
        if optimize is True and self._kind == "cpu":
            raise BackendError("bad_config", "engine batched is optimized on a GPU only: leave the option out")
        super().__init__(folder, device, compiling=False, loras=loras, report=report)
        _check_noise(self._model)
        _avoid_plans()
        bytes_each = sum(SlotCache.bytes_each(lm) for lm in (self._model.base_lm, self._model.residual_lm))
        self.capacity = _fitting(self._kind, bytes_each) if renders == "auto" else renders
        report(f"making room for {self.capacity} renders")
        self._row_loras = RowLoras(self._model, loras) if loras else None
        with _inference():
            self._stepper = Stepper(self._model, self.capacity, self._row_loras)
        self._steps: Stepper | Recordings = self._stepper
        self._piece = _PIECE[self._kind]
        self._slots = list(range(self.capacity))
        self._together = self.capacity  # rows in one step
        self._served: Seat | None = None
        print(f"renders open at once: {self.capacity}, with {bytes_each / 1e6:.1f} MB of caches each")
        if self._kind == "cuda" and optimize:
            self._record_or(optimize is True, report)

    def record(self, recorder: Recorder, report: Report) -> None:
        """From now on steps are recorded ones, where they can be. Before the first render."""
        with _inference():
            self._steps = Recordings(self._stepper, self.capacity, self.shape.max_length, recorder, report)

    def _record_or(self, fail: bool, report: Report) -> None:
        try:
            self.record(GraphRecorder(), report)
        except Exception as error:
            if fail:
                raise BackendError("bad_config", f"optimize is on, but steps cannot be recorded: {error}") from error
            print(f"steps are not recorded, which makes them slower: {type(error).__name__}: {error}")

    @property
    def free(self) -> int:
        """Renders that may still be opened."""
        return len(self._slots)

    def check(self, order: Order) -> None:
        super().check(order)
        if order.lora and self._row_loras:
            self._row_loras.check(order.lora)

    def seat(self, speech: Speech) -> Seat:
        return Seat(self, speech)

    def step(self, seats: Sequence[Seat]) -> Sequence[Seat]:
        self._move([seat.row for seat in seats if seat.row])
        return [seat for seat in seats if seat.row is None or seat.row.has_news]

    @contextmanager
    def serving(self, seat: Seat) -> Iterator[None]:
        """Whatever row begins until the end speaks for this seat."""
        self._served, before = seat, self._served
        try:
            yield
        finally:
            self._served = before

    def speak(self, order: Order) -> Generator[Samples, None, None]:
        """Moves by itself if nobody moved it, alone."""
        seat = self._served
        with self._joined(order) as row:
            _place(seat, row)
            try:
                while row.said or not row.has_ended:
                    if not (row.said or row.has_moved):
                        self._move([row])
                    row.has_moved = False
                    yield row.said.popleft() if row.said else _NOTHING
            finally:
                _place(seat, None)
        if row.error:
            raise row.error

    @contextmanager
    def _joined(self, order: Order) -> Iterator[Row]:
        if not self._slots:
            raise RuntimeError("more renders than this engine has a place for")
        script, slot = write(self._model, order), self._slots.pop()
        decoder, random = self._stepper.decoder, self._generator(order.seed)
        with _inference():
            row = Row(order, script, slot, decoder.begin(slot, script), decoder.window, random)
        try:
            yield row
        finally:
            with _inference():
                self._stepper.clear(slot, script.length + row.steps + 1)  # one more, if a step failed after writing
            self._slots.append(slot)

    def _generator(self, seed: int) -> Any:
        import torch

        return torch.Generator(self._model.device).manual_seed(seed)

    def _move(self, rows: Sequence[Row]) -> None:
        """One step, for the most urgent rows first."""
        with _inference():
            self._hear([row for row in rows if row.unheard and not row.has_ended])
            speaking = [row for row in rows if row.can_speak][: self._together]
            for batch in alike(speaking):
                self._speak(batch)

    def _hear(self, newcomers: Sequence[Row]) -> None:
        left = self._piece
        for row in newcomers:
            piece = min(left, row.unheard)
            if not piece:
                return
            failure = self._try_to_hear(row, piece)
            if failure is not None and _is_lack_of_memory(failure) and piece > 1:
                self._hear_less(piece // 2)
                return
            if failure is not None:
                row.fail(failure)
            left -= piece

    def _try_to_hear(self, row: Row, piece: int) -> Exception | None:
        try:
            self._stepper.prefill(row.script, row.slot, row.heard, row.heard + piece, row.order.lora)
        except Exception as error:  # noqa: BLE001  # it ends this render; the others go on
            return _without_tensors(error)
        row.heard += piece
        row.has_moved = True
        return None

    def _speak(self, rows: Sequence[Row]) -> None:
        while rows:
            now = rows[: self._together]
            failure = self._try_to_speak(now)
            if failure is not None and _is_lack_of_memory(failure) and len(now) > 1:
                self._shrink(len(now) // 2)
                continue
            if failure is not None:
                for row in now:
                    row.fail(failure)
            rows = rows[len(now) :]

    def _try_to_speak(self, rows: Sequence[Row]) -> Exception | None:
        try:
            audio, stops = self._steps.step(batch_of(rows))()
        except Exception as error:  # noqa: BLE001  # it is told to each of the rows
            return _without_tensors(error)
        for row, chunk, stop in zip(rows, audio.float().numpy(), stops.tolist(), strict=True):
            row.speak(chunk.copy(), bool(stop))  # a view would keep the chunks of all rows
        return None

    def _shrink(self, rows: int) -> None:
        self._together = rows
        self.capacity = min(self.capacity, max(rows, _IN_TURN))  # the slots beyond stay for those on their way to them
        print(f"out of memory: from now on at most {rows} renders in one step, the most urgent ones")
        _give_back_memory()

    def _hear_less(self, positions: int) -> None:
        self._piece = positions
        print(f"out of memory: from now on at most {positions} positions of new renders in one step")
        _give_back_memory()


def _place(seat: Seat | None, row: Row | None) -> None:
    if seat is not None:
        seat.row = row


def _give_back_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _inference() -> Any:
    import torch

    return torch.inference_mode()


def _avoid_plans() -> None:
    """cuDNN's attention, the first choice on Hopper, plans for each new shape, which steps have that are not recorded.

    Others saw 0.4 s for a plan, of steps that give 0.16 s of audio. Of the whole process, which is this engine's.
    """
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)


def _is_lack_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _without_tensors(error: Exception) -> Exception:
    """A traceback holds the tensors of every frame: where memory ran out, none could be given back before the next try.

    So says PyTorch's FAQ: "My out of memory exception handler can't allocate memory".
    """
    return error.with_traceback(None) if _is_lack_of_memory(error) else error


def _fitting(kind: str, bytes_each: int) -> int:
    """Renders whose caches fit into a share of the memory that is free."""
    import torch

    on_host = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = torch.cuda.mem_get_info()[0] if kind == "cuda" else on_host
    return max(1, min(_MOST[kind], int(free * _SHARE[kind] / bytes_each)))


def _check_renders(renders: object) -> None:
    if renders != "auto" and (isinstance(renders, bool) or not isinstance(renders, int) or renders < 1):
        raise BackendError("bad_config", f"renders is auto or a number from 1, not {renders!r}")


def _check_noise(model: Any) -> None:
    """A decoder that draws noise of its own would draw it for all rows in turn."""
    if any(type(layer).__name__ == "NoiseBlock" for layer in model.audio_vae.decoder.modules()):
        raise BackendError("bad_config", "this model's decoder draws noise, which engine batched cannot: use torch")
