"""The environments of backends: found when they are there, built by uv when they are not.

Promises: an environment is used only when its stamp, written last, says that it is complete; of several processes one
builds and the others wait; what is built needs neither network nor uv; engine packages are never imported here. Uses
the machine's own interpreters and downloads none. An environment that the user names by `path` is never changed.

    home/venvs/KEY/                     KEY is a hash of all that determines the content
    home/venvs/KEY/voice-server.json    the stamp
    home/venvs/KEY.lock                 held while somebody builds
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uv

from voice_server.core.limits import VenvLimits
from voice_server.core.settings import VenvSpec

Report = Callable[[str], None]

_BASE = ("msgpack>=1.1,<2", "numpy>=1.24,<3")  # what the worker host itself needs; wide, because engines pin numpy
_FORMAT = 1  # raised when environments built by older gateways must not be used any more
_STAMP = "voice-server.json"
_CHECK = "import msgpack, numpy"

_NO_PYTHON = re.compile(r"No interpreter found for (.+?) in ")
_CULPRITS = (  # the one that tells most comes first
    re.compile(r"Failed to (?:build|parse|download|prepare|fetch)[^`\n]*`([^`\n]+)`"),
    re.compile(r"you require (\S+?)[,.]?(?:\s|$)"),
    re.compile(r"you require \S+ and (\S+?)[,.]?\s"),
    re.compile(r"no version of (\S+?)[,.]?\s"),
    re.compile(r"Because (\S+) was not found"),
)


class VenvBuildFailed(Exception):
    """An environment could not be made ready. For the operator, never for a client: it names paths."""

    def __init__(self, name: str, detail: str, *, requirement: str | None = None, retry: str | None = None) -> None:
        self.name = name
        self.requirement = requirement  # the one that failed, where uv's words tell
        self.detail = detail
        self.retry = retry or f"python -m voice_server install {name}"
        culprit = f"{requirement} could not be installed" if requirement else "it could not be built"
        super().__init__(f"environment of backend {name}: {culprit}.\n{detail}\nTo try again: {self.retry}")


class VenvStore:
    """The environments under `home`. `find_uv` gives the path of the uv program."""

    def __init__(
        self,
        home: Path | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        find_uv: Callable[[], str] = uv.find_uv_bin,
        limits: VenvLimits | None = None,
    ) -> None:
        self._environ = environ
        self._folder = (home or default_home(environ)).absolute() / "venvs"
        self._find_uv = find_uv
        self._limits = limits or VenvLimits()

    def folder(self, spec: VenvSpec) -> Path:
        """Where the environment is or will be."""
        return spec.path or self._folder / key(spec)

    def find(self, spec: VenvSpec) -> Path | None:
        """The python of an environment that is ready, without doing any work."""
        folder = self.folder(spec)
        python = folder / "bin" / "python"
        is_complete = spec.path is not None or (folder / _STAMP).is_file()
        return python if is_complete and python.is_file() else None

    def build(self, name: str, spec: VenvSpec, report: Report) -> Path:
        """The python of the environment, which is built first where needed. Blocks; raises VenvBuildFailed."""
        try:
            if spec.path is not None:
                return self._check_own(name, spec.path)
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock(spec, report) as lock:
                return self.find(spec) or self._build_anew(name, spec, report, lock)
        except OSError as error:
            raise VenvBuildFailed(name, f"{error.filename or self._folder}: {error.strerror}") from error

    def has_interpreter(self, spec: VenvSpec) -> bool:
        """Whether this machine has the Python that `spec` asks for. True when uv is not there to be asked."""
        try:
            command = [self._find_uv(), "python", "find", "--no-project", "--no-python-downloads", "--", spec.python]
        except FileNotFoundError:
            return True
        return subprocess.run(command, env=self._uv_environ(), capture_output=True, check=False).returncode == 0

    def stale(self, keep: Iterable[VenvSpec]) -> list[Path]:
        """Environments that no spec in `keep` needs and no running process was started from."""
        needed = {self.folder(spec) for spec in keep}
        found = sorted(stamp.parent for stamp in self._folder.glob(f"*/{_STAMP}"))
        return [folder for folder in found if folder not in needed and not _is_used(folder)]

    def prune(self, keep: Iterable[VenvSpec]) -> list[Path]:
        """Removes the stale environments and returns where they were."""
        folders = self.stale(keep)
        for folder in folders:
            _remove(folder)
        return folders

    @contextmanager
    def _lock(self, spec: VenvSpec, report: Report) -> Iterator[int]:
        """An exclusive lock on one environment; the file stays, since unlinking it would let two hold it."""
        lock = os.open(self._folder / f"{key(spec)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not _try_lock(lock):
                report("another process is building this environment: waiting for it")
                while not _try_lock(lock):
                    time.sleep(self._limits.lock_poll_s)
            yield lock
        finally:
            os.close(lock)

    def _build_anew(self, name: str, spec: VenvSpec, report: Report, lock: int) -> Path:
        folder = self.folder(spec)
        if folder.exists():
            report("removing an environment that is not complete")
            _remove(folder)
        try:
            return self._build(name, spec, report, lock)
        except VenvBuildFailed:
            shutil.rmtree(folder, ignore_errors=True)  # gigabytes, perhaps, that nobody can use
            raise

    def _build(self, name: str, spec: VenvSpec, report: Report, lock: int) -> Path:
        folder = self.folder(spec)
        python = folder / "bin" / "python"
        uv_ = _Uv(name, self._uv(name), self._uv_environ(), self._folder, lock, self._limits, report)
        uv_.run("venv", "--quiet", "--no-project", "--no-python-downloads", f"--python={spec.python}", str(folder))
        uv_.run("pip", "install", f"--python={python}", "--", *_BASE, *spec.requirements)
        if spec.no_deps:
            uv_.run("pip", "install", f"--python={python}", "--no-deps", "--", *spec.no_deps)
        self._check(name, python, None)
        _write_stamp(folder, name, spec)
        return python

    def _uv(self, name: str) -> str:
        try:
            return self._find_uv()
        except FileNotFoundError:
            raise VenvBuildFailed(name, "The program uv, which builds it, is not installed: pip install uv") from None

    def _uv_environ(self) -> dict[str, str]:
        hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
        environ = {name: value for name, value in self._environ.items() if name not in hidden}
        if "PIP_FIND_LINKS" in environ:
            environ.setdefault("UV_FIND_LINKS", ",".join(environ["PIP_FIND_LINKS"].split()))
        return environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}

    def _check_own(self, name: str, folder: Path) -> Path:
        python = folder / "bin" / "python"
        if not python.is_file():
            raise VenvBuildFailed(name, f"There is no {python}.", retry=f"python -m venv {folder}")
        self._check(name, python, f"{python} -m pip install " + " ".join(f"'{item}'" for item in _BASE))
        return python

    def _check(self, name: str, python: Path, retry: str | None) -> None:
        """Whether the worker host can run there."""
        try:
            subprocess.run([python, "-I", "-c", _CHECK], check=True, capture_output=True, timeout=self._limits.check_s)
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise VenvBuildFailed(name, f"{python} cannot `{_CHECK}`: {''.join(last)}", retry=retry) from error
        except subprocess.TimeoutExpired as error:
            raise VenvBuildFailed(name, f"{python} did not start in {self._limits.check_s:g} s.") from error


@dataclass(frozen=True, slots=True)
class _Uv:
    """Runs uv, and tells what it says while it works."""

    name: str
    program: str
    environ: dict[str, str]
    cwd: Path  # not the user's folder: uv would obey a pyproject.toml there
    lock: int  # inherited, so that an orphaned uv keeps it and nobody builds while it still writes
    limits: VenvLimits
    report: Report

    def run(self, *arguments: str) -> None:
        lines: deque[str] = deque(maxlen=self.limits.kept_lines)
        with self._start(arguments) as process:
            try:
                for line in process.stderr or ():
                    lines.append(line.rstrip())
                    self.report(line.strip())
            except BaseException:  # Ctrl-C, or a report that gives up: uv must not go on for minutes
                process.terminate()
                raise
        if process.returncode != 0:
            raise _explain(self.name, list(lines), process.returncode, self.limits)

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.program, *arguments],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(self.lock,),
            encoding="utf-8",
            errors="replace",
        )


def default_home(environ: Mapping[str, str]) -> Path:
    """$VOICE_SERVER_HOME, or voice-server in the user's cache folder."""
    if environ.get("VOICE_SERVER_HOME"):
        return Path(environ["VOICE_SERVER_HOME"]).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "voice-server"


def key(spec: VenvSpec) -> str:
    """Equal for equal environments, whichever backend asks for them."""
    content = json.dumps([_FORMAT, _BASE, spec.python, sorted(spec.requirements), sorted(spec.no_deps)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _write_stamp(folder: Path, name: str, spec: VenvSpec) -> None:
    stamp = {"backend": name, "python": spec.python, "requirements": [*spec.requirements, *spec.no_deps]}
    draft = folder / f"{_STAMP}.new"
    draft.write_text(json.dumps(stamp, indent=2))
    draft.replace(folder / _STAMP)  # whole or not at all


def _remove(folder: Path) -> None:
    (folder / _STAMP).unlink(missing_ok=True)  # first: a half-removed environment must not be found
    shutil.rmtree(folder)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_used(folder: Path) -> bool:
    """Whether a process was started by this environment's python."""
    start = os.fsencode(f"{folder}/bin/")
    return any(_command(process).startswith(start) for process in Path("/proc").glob("[0-9]*/cmdline"))


def _command(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def _explain(name: str, lines: list[str], code: int, limits: VenvLimits) -> VenvBuildFailed:
    text = "\n".join(lines)
    missing = _NO_PYTHON.search(text)
    if missing:
        detail = f"This machine has no {missing[1]}: install it, or change venv.python; none is downloaded."
        return VenvBuildFailed(name, detail)
    detail = "\n".join(lines[-limits.error_lines :]) or f"uv ended with exit code {code}."
    return VenvBuildFailed(name, detail, requirement=_culprit(text))


def _culprit(text: str) -> str | None:
    """The requirement that failed, as well as uv's words tell."""
    named = (match for pattern in _CULPRITS for match in pattern.findall(text) if match not in _BASE)
    return next(named, None)
