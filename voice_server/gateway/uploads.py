"""A form with one file in it: the upload of a sound.

Promises: a body that says that it is too large is not read at all; one that does not say so is read up to the limit;
one that has no end is given up; and of none is more than the limit in memory, or anything on disk. What the sound is,
and whether it is one, is judged elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from voice_server.core.errors import BadMessage, SampleTooLarge, SlowClient
from voice_server.core.limits import VoiceLimits

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what a client does wrong is told to the client

_HOW = "send multipart/form-data with the fields audio_sample (a file) and name"


@dataclass(frozen=True, slots=True)
class Upload:
    fields: Mapping[str, str]
    sound: bytes
    suffix: str  # of the file's name, in small letters, with its dot


async def read_upload(request: Request, files: Sequence[str], limits: VoiceLimits) -> Upload:
    """The form of a request that passed `check_announced`; its file is under one of the names `files`.

    Raises SampleTooLarge, SlowClient, BadMessage, and ClientDisconnect.
    """
    try:
        form = await asyncio.wait_for(_parse(request, limits), limits.upload_s)
    except asyncio.TimeoutError:
        raise SlowClient(f"the upload took longer than {limits.upload_s:g} s; send it on a faster line") from None
    except MultiPartException:  # its message holds the client's words
        raise BadMessage(f"the form cannot be read; {_HOW}") from None
    try:
        return await _upload_of(form, files, limits)
    finally:
        await form.close()


def check_announced(request: Request, limits: VoiceLimits) -> None:
    """Judges what the head of a request says. Raises SampleTooLarge and BadMessage."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.sample_bytes + limits.form_bytes:
        raise _too_large(limits)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadMessage(f"a voice is made from a sound: {_HOW}")


class _Parser(MultiPartParser):
    def __init__(self, request: Request, limits: VoiceLimits) -> None:
        most = limits.form_bytes
        super().__init__(
            request.headers,
            _parts(request, limits),
            max_files=1,
            max_fields=limits.form_fields,
            max_part_size=most,
        )
        self.spool_max_size = limits.sample_bytes + most  # a recording of somebody's voice stays off the disk


async def _parse(request: Request, limits: VoiceLimits) -> FormData:
    return await _Parser(request, limits).parse()


async def _parts(request: Request, limits: VoiceLimits) -> AsyncGenerator[bytes, None]:
    """What is too much is dropped, and its sender read to the end, to see the answer: as far as there is an end."""
    total, most = 0, limits.sample_bytes + limits.form_bytes
    async for part in request.stream():
        total += len(part)
        if total <= most:
            yield part
        if total > 2 * most:
            break
    if total > most:
        raise _too_large(limits)


async def _upload_of(form: FormData, files: Sequence[str], limits: VoiceLimits) -> Upload:
    fields = {name: _text(name, value) for name, value in form.multi_items() if isinstance(value, str)}
    file = next((form[name] for name in files if name in form), None)
    if not isinstance(file, UploadFile):
        raise BadMessage(f"there is no file in the form; {_HOW}", field=files[0])
    sound = await file.read()
    if len(sound) > limits.sample_bytes:
        raise _too_large(limits)
    return Upload(fields, sound, PurePath(file.filename or "").suffix.lower())


def _text(name: str, value: str) -> str:
    """A form says itself how its texts are coded, and some codes give halves of characters. Raises BadMessage."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadMessage("that is no text; send UTF-8", field=name if name.isidentifier() else None) from None
    return value


def _too_large(limits: VoiceLimits) -> SampleTooLarge:
    most_mib, most_s = limits.sample_bytes // 2**20, limits.sample_max_s
    return SampleTooLarge(
        f"a sample has at most {most_mib} MiB; {most_s:g} s of one voice are enough", field="audio_sample"
    )
