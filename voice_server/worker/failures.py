"""What went wrong in an engine, as messages for the gateway: one line each, never a traceback."""

from __future__ import annotations

from voice_server.wire.messages import Failed, LoadFailed
from voice_server.worker.adapter import BackendError

_LINE_CHARS = 300  # enough for the cause; the whole story, with its traceback, is in the worker's log
_DEAD_ENGINE = ("cuda error", "device-side assert")  # CUDA refuses everything in this process from then on


def one_line(text: str) -> str:
    """Printable text for the wire: one line, of bounded length, without lone surrogates."""
    return " ".join(text.split())[:_LINE_CHARS].encode("utf-8", "backslashreplace").decode()


def render_failed(render_id: int, error: Exception) -> Failed:
    if isinstance(error, BackendError):
        return Failed(render_id, error.code, one_line(error.message), error.retryable, error.fatal)
    text = str(error).lower()
    is_out_of_memory = isinstance(error, MemoryError) or "out of memory" in text
    code = "out_of_memory" if is_out_of_memory else "render_failed"
    return Failed(render_id, code, _named(error), fatal=any(sign in text for sign in _DEAD_ENGINE))


def load_failed(error: Exception) -> LoadFailed:
    """Not retryable if only a person can mend it: a wrong configuration, a missing package, a typing error."""
    is_permanent = isinstance(error, (ImportError, SyntaxError))
    if isinstance(error, BackendError):
        return LoadFailed(one_line(error.message), error.retryable)
    return LoadFailed(_named(error), retryable=not is_permanent)


def _named(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")
