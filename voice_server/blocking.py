"""The verbs of a Voice as plain calls, for programs without an event loop: a script, a notebook, a REPL.

Promises: each call returns what the coroutine of that name gives, and Ctrl-C ends what it waits for before it is
raised; an iterator that is closed, or left by `break`, stops its engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from voice_server.core.audio.floats import Audio
from voice_server.core.errors import GoingAway

if TYPE_CHECKING:
    from voice_server.embedding import Info, Voice

Result = TypeVar("Result")


class BlockingVoice:
    """Started when it is made; `stop` it. What each verb takes, gives and raises is told at Voice."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._thread = _LoopThread()
        try:
            self._thread.run(voice.start())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """May be called again, from any thread."""
        if self._thread.is_alive:
            self._thread.run(self._voice.stop())
            self._thread.end()

    def __enter__(self) -> BlockingVoice:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def await_ready(self, timeout_s: float | None = None) -> None:
        self._thread.run(self._voice.await_ready(timeout_s))

    @property
    def info(self) -> Info:
        return self._voice.info

    @property
    def sample_rate(self) -> int:
        return self._voice.sample_rate

    def generate(self, text: str, voice: str = "", **options: Any) -> Audio:
        return self._thread.run(self._voice.generate(text, voice, **options))

    def stream(self, text: str, voice: str = "", **options: Any) -> Iterator[Audio]:
        return self._thread.iterate(lambda: self._voice.stream(text, voice, **options))

    def stream_tokens(self, tokens: Iterable[str], voice: str = "", **options: Any) -> Iterator[Audio]:
        """`tokens` are asked for on another thread."""
        return self._thread.iterate(lambda: self._voice.stream_tokens(_pulled(tokens), voice, **options))

    def save(self, audio: NDArray[Any], path: str | Path, sample_rate: int | None = None) -> None:
        self._voice.save(audio, path, sample_rate)

    def load_lora(self, name: str) -> None:
        self._thread.run(self._voice.load_lora(name))

    def unload_lora(self) -> None:
        self._thread.run(self._voice.unload_lora())

    def transcribe(self, audio: NDArray[Any], sample_rate: int | None = None, **options: Any) -> str:
        return self._thread.run(self._voice.transcribe(audio, sample_rate, **options))


class _LoopThread:
    """An event loop on a thread that ends with the program."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="voice", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return not self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What it returns; it has ended when this returns, also by Ctrl-C."""
        ended: Future[None] = Future()
        tasks: list[asyncio.Task[Result]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(coroutine))
            tasks[0].add_done_callback(lambda _: ended.set_result(None))

        def cancel() -> None:
            if tasks:
                tasks[0].cancel()
            else:  # Ctrl-C came before it began
                coroutine.close()
                ended.set_result(None)

        try:
            self._call(begin, coroutine)
            ended.result()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(cancel)
            ended.result()
            raise
        return tasks[0].result()

    def iterate(self, begin: Callable[[], AsyncGenerator[Result, None]]) -> Iterator[Result]:
        items = begin()
        try:
            while found := self.run(_next(items)):
                yield found[0]
        finally:
            if self.is_alive:
                self.run(items.aclose())

    def end(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, begin: Callable[[], None], coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:
            coroutine.close()
            raise GoingAway("the voice was stopped") from None


async def _next(items: AsyncGenerator[Result, None]) -> tuple[Result] | None:
    """In a tuple, since an array has no truth; None at the end."""
    async for item in items:
        return (item,)
    return None


async def _pulled(tokens: Iterable[str]) -> AsyncGenerator[str, None]:
    iterator = iter(tokens)
    while (token := await asyncio.to_thread(next, iterator, None)) is not None:
        yield token
