"""The engine of the package voxcpm 2.0.3, unmodified, on the thread that loaded it: CUDA graphs are bound to theirs.

Always the streaming path, which can be left between two steps, to be cancelled or to let another render do its step.
What the model would mix up between two open renders lies on their desks. Compiled there is one desk: CUDA graphs have
the addresses of their caches written into them.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Generator, Literal

from voice_server.backends.voxcpm.desks import Desk, Desks
from voice_server.backends.voxcpm.engine import Order, Prompt, Report
from voice_server.backends.voxcpm.package import Package
from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_server.backends.voxcpm.engine import Samples
    from voice_server.backends.voxcpm.loras import LoraShelf

Optimize = Literal["auto"] | bool  # whether to compile; "auto" where it works
Renders = Literal["auto"] | int  # open at once; "auto": one if compiled

_RENDERS = (
    4  # each waits for at most three steps of others: half a second at VoxCPM2's published speed, of 160 ms steps
)


class TorchEngine(Package):
    """`folder` is a checkpoint. Raises BackendError("bad_config") for a wrong one, or wrong options."""

    def __init__(
        self,
        folder: Path,
        device: str,
        optimize: Optimize,
        renders: Renders,
        loras: LoraShelf | None,
        report: Report,
    ) -> None:
        compiling = device == "cuda" and bool(optimize)
        _check_renders(renders, compiling)
        super().__init__(folder, device, compiling, loras, report)
        compiled = hasattr(self._model, "_feat_encoder_raw")
        if compiling and optimize is True and not compiled:
            raise BackendError("bad_config", "optimize is on, but torch.compile does not work here (no triton?)")
        self.deterministic = device == "cpu"
        self.capacity = (1 if compiled else _RENDERS) if renders == "auto" else renders
        self._desks = Desks(self._model, device, self.capacity)
        print(f"renders open at once: {self.capacity}, with {self._desks.bytes_each / 1e6:.1f} MB of caches each")

    def speak(self, order: Order) -> Generator[Samples, None, None]:
        with self._desks.one() as desk:
            steps = self._steps(order)
            try:
                while (audio := self._step(desk, order.lora, steps)) is not None:
                    yield audio
            finally:
                with desk.seated():  # upstream takes its functions out of the layers
                    steps.close()

    def _step(self, desk: Desk, lora: str, steps: Generator[Samples, None, None]) -> Samples | None:
        with desk.seated():
            if self._loras is not None:
                self._loras.use(lora)
            return next(steps, None)

    def _steps(self, order: Order) -> Generator[Samples, None, None]:
        import torch

        torch.manual_seed(order.seed)  # of the CPU and of every GPU
        steps = self._model.generate_with_prompt_cache_streaming(
            order.text,
            None if order.prompt is None else self._cache(order.prompt),
            min_len=order.min_steps,
            max_len=order.max_steps,
            inference_timesteps=order.timesteps,
            cfg_value=order.cfg_value,
            retry_badcase_ratio_threshold=order.max_steps,  # the cap is ours
        )
        with closing(steps):
            for audio, _, _ in steps:
                yield audio.reshape(-1).float().numpy()

    def _cache(self, prompt: Prompt) -> dict[str, Any]:
        import torch

        continuation = torch.from_numpy(prompt.features.continuation)
        if not self._has_reference:
            return {"prompt_text": prompt.transcript, "audio_feat": continuation}
        reference = {"mode": "reference", "ref_audio_feat": torch.from_numpy(prompt.features.reference)}
        if not prompt.transcript:
            return reference
        more = {"mode": "ref_continuation", "prompt_text": prompt.transcript, "audio_feat": continuation}
        return {**reference, **more}


def _check_renders(renders: Renders, compiling: bool) -> None:
    if renders != "auto" and (isinstance(renders, bool) or not isinstance(renders, int) or renders < 1):
        raise BackendError("bad_config", f"renders is auto or a number from 1, not {renders!r}")
    if compiling and renders not in ("auto", 1):
        message = f"a compiled model holds one render open, not {renders}: leave out the option `renders`"
        raise BackendError("bad_config", f"{message}, or set `optimize: false`")
