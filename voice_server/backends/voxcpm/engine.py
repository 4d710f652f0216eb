"""What the adapter asks of an engine: the values that go in and out, and the protocol that all engines speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator, Protocol, Sequence

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Speech = Generator[NDArray[np.float32], None, str | None]
    Samples = NDArray[np.float32]
    Patches = NDArray[np.float32]  # (patches, frames of a patch, features of a frame)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Shape:
    """The numbers of a loaded model."""

    sample_rate: int  # Hz of the audio that comes out: 16000, 44100 or 48000; never what goes in
    chunk_s: float  # seconds of audio of one step
    max_length: int  # positions of the model: tokens, patches of prompts and steps together
    has_reference: bool  # VoxCPM2: clones without a transcript, and obeys descriptions


@dataclass(frozen=True)
class Features:
    """What the model hears of a sample. Both are of the same audio; they differ in the end that was padded."""

    reference: Patches | None  # None where the model has no such input
    continuation: Patches

    @property
    def length(self) -> int:
        """Positions that the longer use of them takes."""
        return len(self.continuation) + (0 if self.reference is None else len(self.reference) + 2)


@dataclass(frozen=True)
class Prompt:
    """A voice. With the words of its sample the model goes on speaking as in the sample; without, it imitates it."""

    features: Features
    transcript: str = ""


@dataclass(frozen=True)
class Order:
    """One sentence to be spoken; everything in it is clean and within range."""

    text: str
    prompt: Prompt | None  # None: a voice at random, which the seed decides
    seed: int
    max_steps: int
    min_steps: int = 2
    cfg_value: float = 2.0
    timesteps: int = 10
    lora: str = ""


class Engine(Protocol):
    shape: Shape
    capacity: int  # renders that may be open at once; an engine short of memory lowers it
    deterministic: bool  # the same order gives the same samples, in every process
    fingerprint: str  # of the model: equal only where prompt features are
    special_tokens: Sequence[str]

    def count_tokens(self, text: str) -> int: ...

    def normalize(self, text: str) -> str:
        """Numbers and abbreviations in words. Raises BackendError("bad_option") where that is not installed."""

    def encode(self, sample: Path) -> Features: ...

    def check(self, order: Order) -> None:
        """Raises BackendError("bad_option") for what this engine cannot do."""

    def speak(self, order: Order) -> Generator[Samples, None, None]:
        """One chunk, float32 of shape (n,), for each step, and empty ones while it has nothing to say yet. Closing it
        frees its place for the next order."""

    def seat(self, speech: Speech) -> Iterator[Samples]:
        """A whole render as the host is to hold it: the same chunks, with a `close`."""

    def step(self, renders: Sequence[Any]) -> Sequence[Any]:
        """Work for these seats, the most urgent one first. Returns those that have something to say now."""
