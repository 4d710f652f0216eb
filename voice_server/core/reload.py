"""Which new settings a running server can take up, and which need a restart of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from voice_server.core.settings import BackendConfig, Config

_FIXED = ("kind", "scheduling", "placement")  # of a backend: what stands in front of its workers is made for them


def refusals(running: Iterable[BackendConfig], config: Config) -> list[str]:
    """What of `config` the backends that run cannot take up; none: all of it."""
    return [problem for old in running if (problem := _refusal(old, config.backends.get(old.name)))]


def _refusal(old: BackendConfig, new: BackendConfig | None) -> str:
    if new is None:
        return f"the backend {old.name} runs and is gone from the file; that needs a restart of the server"
    changed = [name for name in _FIXED if getattr(old, name) != getattr(new, name)]
    if changed:
        return f"{' and '.join(changed)} of the backend {old.name} changed; that needs a restart of the server"
    return ""
