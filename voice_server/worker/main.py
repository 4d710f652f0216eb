"""A worker's life: greet, load an adapter, render until told to stop.

The exit code is 0 after `stop`, 78 if only a person can mend why the adapter did not load, else 1.
"""

from __future__ import annotations

import operator
import os
import platform
import socket
import traceback
from typing import Optional, Tuple, Union, cast

from voice_server.wire.messages import PROTOCOL_VERSION, STT, TTS, Hello, Load, Progress, Ready
from voice_server.worker import process
from voice_server.worker.adapter import Adapter, BackendError, Engine, Recogniser, build, load_adapter
from voice_server.worker.failures import load_failed, one_line
from voice_server.worker.link import Link

_LOAD_FAILED, _BAD_CONFIG = 1, 78
_SAMPLE_RATES = range(4_000, 192_001)  # Hz; beyond them the number is no sample rate but a mistake


def run(fd: int, parent_pid: int) -> int:
    """The worker on the inherited socket `fd`, of the gateway with `parent_pid`. Returns the exit code."""
    process.die_with_parent(parent_pid)
    process.explain_on_request()
    process.make_printing_safe()
    link = Link(_own_socket(fd))
    link.say(Hello(PROTOCOL_VERSION, os.getpid(), platform.python_version()))
    link.start()
    command = link.commands.get()
    assert isinstance(command, Load), "the conversation lets nothing else through while loading"
    return _serve(link, command)


def _serve(link: Link, command: Load) -> int:
    try:
        from voice_server.worker.host import Host, warm_up
        from voice_server.worker.listening import ListeningHost

        engine = _load(link, command)
        host: Union[Host, ListeningHost]
        if hasattr(engine, "listen"):
            recogniser = cast(Recogniser, engine)
            ready, host = describe_recogniser(recogniser), ListeningHost(recogniser, link)
        else:
            ready = describe(engine)
            host = Host(engine, ready.voices[0], link)
            if command.warmup_text:
                link.say(Progress("warming up"))
                warm_up(engine, command.warmup_text, ready.voices[0])
    except Exception as error:
        traceback.print_exc()
        failure = load_failed(error)
        link.say(failure)
        return _LOAD_FAILED if failure.retryable else _BAD_CONFIG
    link.say(ready)
    host.serve()
    return 0


def _own_socket(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(True)
    sock.set_inheritable(False)  # a grandchild holding it would hide our death from the gateway
    return sock


def _load(link: Link, command: Load) -> Engine:
    link.say(Progress("importing"))
    factory = load_adapter(command.adapter)
    link.say(Progress("loading"))
    return build(factory, command.device, command.options, lambda text: link.say(Progress(one_line(text))))


def describe(adapter: Adapter) -> Ready:
    """What the gateway is told of a loaded adapter. Raises BackendError if the adapter breaks its contract."""
    rate, capacity = _numbers(adapter)
    voices = list(adapter.voices())
    if not voices or not all(isinstance(voice, str) for voice in voices):
        raise BackendError("bad_config", "voices() gives a list of names, at least one")
    deterministic = bool(getattr(adapter, "deterministic", False))
    return Ready(rate, capacity, voices, deterministic, can_clone=hasattr(adapter, "prepare_voice"), kind=TTS)


def describe_recogniser(recogniser: Recogniser) -> Ready:
    """The same of a recogniser."""
    rate, capacity = _numbers(recogniser)
    languages = list(recogniser.languages())
    if not all(isinstance(language, str) for language in languages):
        raise BackendError("bad_config", "languages() gives a list of codes")
    return Ready(rate, capacity, [], kind=STT, languages=languages)


def _numbers(engine: Engine) -> Tuple[int, int]:
    rate, capacity = _integer(engine, "sample_rate"), _integer(engine, "capacity", 1)
    if rate not in _SAMPLE_RATES:
        raise BackendError("bad_config", f"sample_rate {rate} is no sample rate in Hz")
    if capacity < 1:
        raise BackendError("bad_config", f"capacity is {capacity}, not 1 or more")
    return rate, capacity


def _integer(engine: Engine, name: str, default: Optional[int] = None) -> int:
    value = getattr(engine, name, default)
    try:
        return operator.index(value)  # type: ignore[arg-type]  # what is wrong is what we ask
    except TypeError as wrong:
        raise BackendError("bad_config", f"{name} is {value!r}, not an integer") from wrong
