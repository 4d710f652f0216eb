"""One text, spoken once: what the doors for whole texts have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from voice_server.core.errors import EmptyText
from voice_server.core.events import AudioChunk, Event, Problem
from voice_server.core.limits import Limits
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Send, Talk

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be said, and how. `voice`: "" is the backend's default."""

    text: str
    voice: str = ""
    options: dict[str, Any] = field(default_factory=dict)


async def speak(
    backend: Backend,
    limits: Limits,
    wanted: Wanted,
    settings: StreamSettings,
    send: Send,
    gone: Coroutine[Any, Any, None],
) -> bool:
    """Send the events of one text. False when the client left before its end: when `gone` returned.

    Raises what is wrong with the request (EmptyText, UnknownVoice, BadOption …), and what `send` raises.
    """
    talk = Talk(backend, limits, settings, send)
    leaving = asyncio.create_task(gone)
    leaving.add_done_callback(lambda _: talk.leave())
    try:
        if not wanted.text.strip():
            raise EmptyText("there is no text to speak", field="text")
        talk.stream.set_voice(wanted.voice)
        talk.stream.set_options(wanted.options)
        talk.stream.push(wanted.text)
        talk.stream.finish()
        return await talk.over() is not None
    finally:
        talk.leave()
        leaving.cancel()
        await asyncio.wait([leaving])


async def collect(
    backend: Backend, limits: Limits, wanted: Wanted, settings: StreamSettings, gone: Coroutine[Any, Any, None]
) -> list[Event]:
    """The events of a text that was spoken as a whole. Raises its first problem: half a file is no file.

    Raises ClientDisconnect when `gone` says that nobody waits for them any more, and what `speak` raises.
    """
    events: list[Event] = []

    async def take(event: Event) -> None:
        if isinstance(event, Problem):
            raise event.error
        events.append(event)

    if not await speak(backend, limits, wanted, settings, take, gone):
        raise ClientDisconnect
    return events


def audio_of(events: list[Event]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, AudioChunk))


async def until_gone(request: Request) -> None:
    """Returns when the client of an HTTP request has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def until_cancelled() -> None:
    """For speech that several wait for: who leaves does not end it."""
    await asyncio.Event().wait()


async def unless_gone(request: Request, wanted: Coroutine[Any, Any, Result]) -> Result:
    """What `wanted` gives, for a client that waits for it. Raises ClientDisconnect, and what `wanted` raises."""
    return await unless(until_gone(request), wanted)


async def unless(gone: Coroutine[Any, Any, None], wanted: Coroutine[Any, Any, Result]) -> Result:
    """The same, where `gone` says that nobody waits any more."""
    working, leaving = asyncio.create_task(wanted), asyncio.create_task(gone)
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait([working, leaving])
