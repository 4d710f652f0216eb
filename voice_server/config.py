"""backends.yaml in, one Config out; or every problem of the file at once, each with its line.

A file may name only its own backends: those of the file that ships with the gateway (hibari, tone) stay known after
them, unless the file has backends of the same names. Nothing of a backend is imported or run here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from voice_server.core.limits import ConfigLimits, WorkerLimits
from voice_server.core.options import OptionSpec, spec_problems
from voice_server.core.settings import AUTO, BackendConfig, Bounds, Config, Gpu, Needs, VenvSpec, pick_backend
from voice_server.core.voice_names import is_voice_name
from voice_server.core.yaml_tree import Node, Problem, read_tree
from voice_server.wire.messages import STT, TTS

__all__ = [
    "AUTO",
    "BackendConfig",
    "Config",
    "ConfigError",
    "Gpu",
    "Needs",
    "OptionSpec",
    "VenvSpec",
    "load_config",
    "pick_backend",
]

_LIMITS = ConfigLimits()
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{_LIMITS.name_chars - 1}}}")
_ADAPTER = re.compile(r"(?P<where>[^:]+)(?P<cls>:[A-Za-z_]\w*)?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PER_BACKEND = ("load_s", "first_chunk_s", "chunk_gap_s", "cancel_s", "stop_s")  # the other limits are the gateway's


class ConfigError(Exception):
    """The configuration cannot be used. For the person who wrote it, never for a client."""

    exit_code = 78  # EX_CONFIG of sysexits.h: starting again will not help

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{path}:{problem}" for problem in problems))
        self.path = path
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class _File:
    """The top level of backends.yaml; its backends are read one by one, because each learns its name."""

    default: str = ""
    backends: dict[str, Any] = field(default_factory=dict)


def load_config(path: Path | None = None) -> Config:
    """The configuration at `path`, or ./backends.yaml, or the one that ships with the gateway. Raises ConfigError."""
    shipped = _shipped_path()
    own = path or Path("backends.yaml")
    if path is None and not own.is_file():
        own = shipped
    problems: list[Problem] = []
    config = _read(own.absolute(), problems)
    if own.absolute() != shipped and not problems:
        config = _merge(config, _read(shipped, problems))
    speaking = [name for name, backend in config.backends.items() if backend.kind == TTS]
    if not problems and config.default not in (AUTO, *speaking):
        problems.append(Problem(1, "default", f"there is no backend {config.default!r} that speaks"))
    if problems:
        raise ConfigError(own, [str(problem) for problem in sorted(problems, key=lambda problem: problem.line)])
    return config


def _shipped_path() -> Path:
    """A wheel carries the file inside the package; a checkout has it at its root."""
    package = Path(__file__).resolve().parent
    packaged = package / "backends.yaml"
    return packaged if packaged.is_file() else package.parent / "backends.yaml"


def _merge(own: Config, shipped: Config) -> Config:
    others = {name: backend for name, backend in shipped.backends.items() if name not in own.backends}
    return replace(own, backends=own.backends | others)


def _read(path: Path, problems: list[Problem]) -> Config:
    tree, found = read_tree(_text(path))
    problems.extend(found)
    top = _build(_File, tree, "", problems)
    backends: dict[str, BackendConfig] = {}
    for name, node in _backend_nodes(tree):
        backend = _build(BackendConfig, node, f"backends.{name}", problems, name=name)
        if backend is not None:
            problems.extend(_mistakes(backend, node))
            try:
                backends[name] = _absolute(backend, path.parent)
            except RuntimeError:  # of expanduser
                text = "a path begins with ~ and a name that is no user's: write it from / on"
                problems.append(Problem(node.line, f"backends.{name}", text))
    return Config(path=path, default=(top.default if top else "") or AUTO, backends=backends)


def _backend_nodes(tree: Node) -> list[tuple[str, Node]]:
    nodes = tree.value.get("backends") if isinstance(tree.value, dict) else None
    return list(nodes.value.items()) if nodes and isinstance(nodes.value, dict) else []


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LIMITS.file_bytes + 1)
        if len(content) > _LIMITS.file_bytes:
            raise ConfigError(path, [f"1: is larger than {_LIMITS.file_bytes} bytes"])
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(path, [f"1: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, [f"{line}: is not UTF-8"]) from error


def _build(kind: Any, node: Node, where: str, problems: list[Problem], **given: str) -> Any:
    """A value of type `kind` from a node, or None. What is wrong in it is among the problems, and its default here:
    so that all that is wrong can be told at once."""
    if shape := _shape(kind, node):
        return _build_fields(shape, node, where, problems, given)
    if get_origin(kind) is dict and is_dataclass(get_args(kind)[1]) and isinstance(node.value, dict):
        item = get_args(kind)[1]
        built = {key: _build(item, child, f"{where}.{key}", problems) for key, child in node.value.items()}
        return {key: value for key, value in built.items() if value is not None}
    try:
        return msgspec.convert(node.plain(), kind, dec_hook=_to_path)
    except msgspec.ValidationError as error:
        problems.append(Problem(node.line, where, _lower(str(error))))
        return None


def _shape(kind: Any, node: Node) -> Any:
    """The dataclass that the node is to be; a map may stand where otherwise a number does."""
    if get_origin(kind) in (Union, UnionType) and isinstance(node.value, dict):
        return next(filter(is_dataclass, get_args(kind)), None)
    return kind if is_dataclass(kind) else None


def _build_fields(kind: Any, node: Node, where: str, problems: list[Problem], given: dict[str, str]) -> Any:
    if not isinstance(node.value, dict):
        problems.append(Problem(node.line, where, "expected a map of keys and values"))
        return None
    hints = {name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if name not in given}
    problems.extend(_unknown_keys(node, hints, where))
    set_ = {key: child for key, child in node.value.items() if key in hints and child.value is not None}
    built = {key: _build(hints[key], child, _join(where, key), problems) for key, child in set_.items()}
    values = {key: value for key, value in built.items() if value is not None}
    required = {item.name for item in fields(kind) if _is_required(item)}
    problems.extend(Problem(node.line, where, f"{name} is missing") for name in sorted(required - {*given, *set_}))
    return kind(**given, **values) if required <= {*given, *values} else None


def _unknown_keys(node: Node, hints: dict[str, Any], where: str) -> Iterator[Problem]:
    for key, child in node.value.items():
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {close[0]}?" if close else "known keys are " + ", ".join(hints)
            yield Problem(child.line, _join(where, key), f"unknown key; {hint}")


def _is_required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _to_path(kind: type, value: Any) -> Any:
    if kind is not Path or not isinstance(value, str) or not value:
        raise ValueError("Expected a path")
    return Path(value)


def _mistakes(backend: BackendConfig, node: Node) -> Iterator[Problem]:
    """What the types alone cannot say."""
    for key, text in _wrong(backend):
        line = node.value[key].line if key in node.value else node.line
        yield Problem(line, _join(f"backends.{backend.name}", key), text)


def _wrong(backend: BackendConfig) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(backend.name) or backend.name == AUTO:
        yield "", f"a backend's name is a-z, 0-9, _ and -, at most {_LIMITS.name_chars}, and not {AUTO}"
    if not _is_adapter(backend.adapter):
        yield "adapter", 'expected "module:Class", "module" or "path/to/file.py:Class"'
    if isinstance(backend.workers, Bounds) and backend.workers.min > backend.workers.max:
        yield "workers", f"min is {backend.workers.min}, which is more than max, {backend.workers.max}"
    if backend.venv.path and backend.venv != VenvSpec(path=backend.venv.path):
        yield "venv", "path names an existing environment: python and requirements do not go with it"
    for text in backend.venv.requirements + backend.venv.no_deps:
        if not text.strip() or text.startswith("-"):
            yield "venv", f"{text!r} is not a requirement; options of the installer are not allowed here"
    if backend.kind == STT and (backend.voice or backend.aliases):
        yield "kind", "a backend that listens has no voices"
    for name, spec in backend.opts.items():
        yield from (("opts", f"{name}: {problem}") for problem in spec_problems(spec))
    for alias in backend.aliases:
        if not is_voice_name(alias):
            yield "aliases", f"{alias!r} is not a name that a voice can have"
    for name in backend.env:
        if not _ENV_NAME.fullmatch(name):
            yield "env", f"{name!r} is not the name of an environment variable"
    if backend.needs.cuda_gib and backend.devices == "cpu":
        yield "needs", "cuda_gib needs a GPU, but devices is cpu"
    if backend.placement == "ray" and isinstance(backend.devices, tuple):
        yield "devices", "numbers are GPUs of this machine; on a cluster `resources: {gpus: 1}` is what counts"
    for name in _wrong_limits(backend.limits):
        yield "limits", f"{name}: one of {', '.join(_PER_BACKEND)}, above 0 and at most {_LIMITS.override_s:g} s"


def _wrong_limits(limits: WorkerLimits) -> Iterator[str]:
    for item in fields(limits):
        value = getattr(limits, item.name)
        if value != item.default and not (item.name in _PER_BACKEND and 0 < value <= _LIMITS.override_s):
            yield item.name


def _is_adapter(text: str) -> bool:
    match = _ADAPTER.fullmatch(text)
    return bool(match and (match["where"].endswith(".py") or _MODULE.fullmatch(match["where"])))


def _absolute(backend: BackendConfig, base: Path) -> BackendConfig:
    """The same backend with its paths relative to the file that names them, not to where the gateway was started."""
    match = _ADAPTER.fullmatch(backend.adapter)
    if match and match["where"].endswith(".py"):
        backend = replace(backend, adapter=f"{base / Path(match['where']).expanduser()}{match['cls'] or ''}")
    if backend.venv.path:
        backend = replace(backend, venv=replace(backend.venv, path=base / backend.venv.path.expanduser()))
    return backend


def _join(where: str, key: str) -> str:
    return f"{where}.{key}".strip(".")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
