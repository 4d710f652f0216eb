"""hibari-tts 0.2.1: small English speech, about 200 times faster than real time on one CPU core.

Facts, read in its source and measured: it renders a whole sentence at once; text without English words (other scripts,
emoji) silently gives no audio; speed is not clamped; seeded, it is bit-identical across processes; every voice but
"heart" would be downloaded on first use, so only that one is offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, List, Optional

from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VOICE = "heart"
_SLOWEST, _FASTEST = 0.5, 2.0  # the range its author states
_CHUNK_S = 0.1


class HibariBackend:
    """Runs on the CPU whatever the device. `seed`: None gives each render its own breath noise."""

    def __init__(self, device: str = "cpu", *, seed: Optional[int] = 0) -> None:
        from hibari import Hibari

        self._engine: Any = Hibari(voice=_VOICE, threads=1)  # a second thread costs 70 % more CPU for 10 % less time
        self._engine.phonemize("Hello.")  # its pronunciation tables are loaded on first use
        self._seed = seed
        self.device = device
        self.sample_rate: int = self._engine.sample_rate
        self.deterministic = seed is not None

    def voices(self) -> List[str]:
        return [_VOICE]

    def render(self, text: str, voice: str, *, speed: float = 1.0) -> Iterator[NDArray[np.float32]]:
        if voice != _VOICE:
            raise BackendError("unknown_voice", f"no voice {voice!r}; hibari has {_VOICE!r}")
        if not _SLOWEST <= speed <= _FASTEST:
            raise BackendError("bad_option", f"speed is between {_SLOWEST} and {_FASTEST}")
        return self._chunks(text, speed)

    def _chunks(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        size = int(self.sample_rate * _CHUNK_S)
        for sentence in self._engine.stream(text, speed=speed, seed=self._seed):
            for begin in range(0, len(sentence), size):
                yield sentence[begin : begin + size]
