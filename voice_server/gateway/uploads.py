"""A form with one file in it: the upload of a sound.

Promises: a body that says that it is too large is not read at all; one that does not say so is read up to the limit;
one that has no end is given up; and of none is more than the limit in memory, or anything on disk. What the sound is,
and whether it is one, is judged elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from voice_server.core.errors import BadMessage, Overloaded, SlowClient, VoiceError

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what a client does wrong is told to the client


@dataclass(frozen=True, slots=True)
class UploadRules:
    """What a door takes."""

    files: tuple[str, ...]  # the names that the file may go by in the form
    how: str  # to send a form that is right, for a person
    too_large: VoiceError
    file_bytes: int
    form_bytes: int  # beside the file
    form_fields: int
    upload_s: float


@dataclass(frozen=True, slots=True)
class Upload:
    items: tuple[tuple[str, str], ...]  # the fields as they came: some are lists
    sound: bytes
    suffix: str  # of the file's name, in small letters, with its dot

    @property
    def fields(self) -> Mapping[str, str]:
        return dict(self.items)


async def read_upload(request: Request, rules: UploadRules) -> Upload:
    """The form of a request that passed `check_announced`.

    Raises what is too large, SlowClient, BadMessage, and ClientDisconnect.
    """
    try:
        form = await asyncio.wait_for(_parse(request, rules), rules.upload_s)
    except asyncio.TimeoutError:
        raise SlowClient(f"the upload took longer than {rules.upload_s:g} s; send it on a faster line") from None
    except MultiPartException:  # its message holds the client's words
        raise BadMessage(f"the form cannot be read; {rules.how}") from None
    try:
        return await _upload_of(form, rules)
    finally:
        await form.close()


def check_announced(request: Request, rules: UploadRules) -> None:
    """Judges what the head of a request says. Raises what is too large, and BadMessage."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > rules.file_bytes + rules.form_bytes:
        raise rules.too_large
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadMessage(f"the sound is a file in a form: {rules.how}")


class _Parser(MultiPartParser):
    def __init__(self, request: Request, rules: UploadRules) -> None:
        most = rules.form_bytes
        super().__init__(
            request.headers,
            _parts(request, rules),
            max_files=1,
            max_fields=rules.form_fields,
            max_part_size=most,
        )
        self.spool_max_size = rules.file_bytes + most  # a recording of somebody's voice stays off the disk


async def _parse(request: Request, rules: UploadRules) -> FormData:
    return await _Parser(request, rules).parse()


async def _parts(request: Request, rules: UploadRules) -> AsyncGenerator[bytes, None]:
    """What is too much is dropped, and its sender read to the end, to see the answer: as far as there is an end."""
    total, most = 0, rules.file_bytes + rules.form_bytes
    async for part in request.stream():
        total += len(part)
        if total <= most:
            yield part
        if total > 2 * most:
            break
    if total > most:
        raise rules.too_large


async def _upload_of(form: FormData, rules: UploadRules) -> Upload:
    items = tuple((name, _text(name, value)) for name, value in form.multi_items() if isinstance(value, str))
    file = next((form[name] for name in rules.files if name in form), None)
    if not isinstance(file, UploadFile):
        raise BadMessage(f"there is no file in the form; {rules.how}", field=rules.files[0])
    sound = await file.read()
    if len(sound) > rules.file_bytes:
        raise rules.too_large
    return Upload(items, sound, PurePath(file.filename or "").suffix.lower())


def _text(name: str, value: str) -> str:
    """A form says itself how its texts are coded, and some codes give halves of characters. Raises BadMessage."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadMessage("that is no text; send UTF-8", field=name if name.isidentifier() else None) from None
    return value


@asynccontextmanager
async def seat(seats: asyncio.Semaphore, wait_s: float, busy: str) -> AsyncIterator[None]:
    """A place among those whose file is held in memory. Raises Overloaded, with `busy` as the reason."""
    await take_seat(seats, wait_s, busy)
    try:
        yield
    finally:
        seats.release()


async def take_seat(seats: asyncio.Semaphore, wait_s: float, busy: str) -> None:
    try:
        await asyncio.wait_for(seats.acquire(), wait_s)
    except asyncio.TimeoutError:
        raise Overloaded(f"{busy}; try again in a few seconds") from None
