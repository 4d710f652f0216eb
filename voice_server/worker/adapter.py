"""The adapter contract: what a backend's author writes, and how the worker finds it.

An adapter is a class, or a plain module with three functions. It may live anywhere, needs to import nothing from here
(`BackendError` is for those that want to say more than an ordinary exception does), and never sees the gateway.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Protocol, Union, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRUNCATED = "truncated"


class Adapter(Protocol):
    """One loaded engine.

    It is built as `Class(device="cpu" or "cuda", **options)` with the options of backends.yaml; what the constructor
    raises is shown as the reason why the backend did not load. If it has a parameter `progress`, it gets a function to
    report stages with: `progress("reading weights")`. Everything is called on the process's main thread.

    Two attributes are optional: `capacity` (default 1), the number of renders that may be open at once, stepped in
    turn, which an engine that finds less memory than it took for granted may lower while it renders (those that are
    open, and those already on their way, it still gets); and `deterministic` (default False), whether the same render
    gives the same samples in every process.

    An engine that computes several renders at once has one more method, `step(renders)`. It gets the iterators of all
    open renders as `render` returned them, the most urgent one first, works for as many as it can, and returns those
    that have something to say now; one chunk is then taken of each. Without it, the most urgent one is asked each time.

    An engine that clones has one more method, `prepare_voice(voice, sample_path, transcript)`. It is called before each
    render that comes with a sample, so it must be cheap when it has already learned `voice`: an opaque name that
    changes with the sample's content. The sample is a wav, mono, 48 kHz, 16 bit. The transcript is "" where there is
    none. What is kept of a voice on disk lies beside the sample and is called like it, with more behind the stem: so it
    is removed with the voice. It raises BackendError("unknown_voice") for a sample that it cannot use.
    """

    sample_rate: int
    """Hz, of what `render` yields."""

    def voices(self) -> List[str]:
        """Names a client may ask for; the first one is the default. At least one."""

    def render(self, text: str, voice: str, **options: Any) -> Iterable[NDArray[np.floating[Any]]]:
        """Speak one sentence.

        Yields mono chunks, float32 or float64 in [-1, 1], of shape (n,) or (1, n), as soon as each is there: about
        80 ms is good, since a cancel takes effect between two chunks. Samples beyond the range are clipped; NaN and
        infinity become silence. Closing the generator cancels the render (use try/finally to clean up). A generator
        whose engine hit its length cap may `return TRUNCATED`. An empty chunk says that work goes on and there is
        nothing to be heard yet. No audio at all is a failure, `empty_audio`.

        Raises BackendError to name a cause; anything else is reported as `render_failed`, or `out_of_memory` if it is
        a MemoryError or its text says so. The adapter must be usable after an exception, unless it says `fatal`.
        """


@dataclass(frozen=True)
class Heard:
    """What became certain since the last time. Times are seconds from the first sample that the hearing was told."""

    text: str  # "" when nothing did; never taken back
    start_s: float
    end_s: float
    settled_s: float  # a new hearing that is told only what comes after this goes on with the same text
    tentative: str = ""  # what seems to follow, and may change


class Hearing(Protocol):
    """One stretch of audio that is being turned into text."""

    def hear(self, samples: NDArray[np.float32]) -> None:
        """More audio, of shape (n,), in [-1, 1]. Cheap: the work is done in `work`."""

    def finish(self) -> None:
        """That was all."""

    def work(self) -> Optional[Heard]:
        """One bounded piece of work; None when there is nothing to do until more is heard, or at all."""


class Recogniser(Protocol):
    """One loaded engine that turns speech into text, in a backend of `kind: stt`.

    Built like an Adapter, and called on the main thread as well. `capacity` is the number of hearings that may be open
    at once; they work in turn. Hearings are dropped without a word when nobody wants them any more.
    """

    sample_rate: int
    """Hz, of what it wants to hear."""

    def languages(self) -> List[str]:
        """Codes such as en or ja that it can hear."""

    def listen(self, **options: Any) -> Hearing:
        """Begin a hearing. Raises BackendError."""


Engine = Union[Adapter, Recogniser]


class BackendError(Exception):
    """A failure that the adapter can put a name to.

    `code`: bad_text, unknown_voice, bad_option, out_of_memory or render_failed; bad_config while loading.
    `message`: one line for a person. `retryable`: whether the same request may succeed on another worker.
    `fatal`: the engine cannot be used any more; this process is replaced.
    """

    def __init__(self, code: str, message: str, retryable: bool = False, fatal: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.fatal = fatal


class ModuleAdapter:
    """A plain module with `list_voices()`, `get_sample_rate()` and `stream(text, voice, **opts)` as an adapter.

    Such a module loads its engine when it is imported, so the constructor options become defaults of `opts`.
    """

    def __init__(self, module: ModuleType, device: str, **options: Any) -> None:
        self._module = module
        self._options = options
        self.device = device
        self.sample_rate = int(module.get_sample_rate())
        self.capacity = int(getattr(module, "capacity", 1))
        self.deterministic = bool(getattr(module, "deterministic", False))

    def voices(self) -> List[str]:
        return list(self._module.list_voices())

    def render(self, text: str, voice: str, **options: Any) -> Iterable[NDArray[np.floating[Any]]]:
        merged = {**self._options, **options}
        return cast("Iterable[NDArray[np.floating[Any]]]", self._module.stream(text, voice, **merged))


def load_adapter(spec: str) -> Callable[..., Engine]:
    """What builds the adapter of `package.module[:Class]` or `/path/file.py[:Class]`.

    Without a class the module itself must be an adapter. Raises BackendError if there is no such file or class, and
    whatever importing it raises.
    """
    place, _, class_name = spec.partition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    if not class_name:
        return _from_module(module)
    if not callable(getattr(module, class_name, None)):
        raise BackendError("bad_config", f"{place} has no class {class_name}")
    return cast("Callable[..., Engine]", getattr(module, class_name))


def build(
    factory: Callable[..., Engine], device: str, options: dict[str, Any], report: Callable[[str], None]
) -> Engine:
    """The engine, built. Raises BackendError for options that its constructor does not know."""
    parameters = inspect.signature(factory).parameters
    extra: dict[str, Any] = {"progress": report} if "progress" in parameters else {}
    try:
        inspect.signature(factory).bind(device=device, **options, **extra)
    except TypeError as wrong:
        raise BackendError("bad_config", f"options: {wrong}") from wrong
    return factory(device=device, **options, **extra)


def _from_module(module: ModuleType) -> Callable[..., Engine]:
    missing = [name for name in ("list_voices", "get_sample_rate", "stream") if not hasattr(module, name)]
    if missing:
        raise BackendError("bad_config", f"{module.__name__} has no {', '.join(missing)}; name a class with ':Class'")

    def build_module_adapter(device: str, **options: Any) -> Adapter:
        return ModuleAdapter(module, device, **options)

    return build_module_adapter


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BackendError("bad_config", f"no file {path}")
    # Last, so that a neighbour cannot hide a library; and under a name of its own, since an adapter file is often
    # called like the engine it imports.
    sys.path.append(str(path.parent))
    name = f"voice_adapter_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, str(path))
    if spec is None or spec.loader is None:
        raise BackendError("bad_config", f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
