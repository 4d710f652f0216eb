"""The port `voxcpmex`: any backend that speaks, behind VoxCPMEx's GenServer.

Promises: one answer to each request, in their order; what is asked for and cannot be is an error, never left out. The
protocol knows no cancel: who does not want an answer any more ends the port, and that stops the engine.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voice_server.core.doors import voxcpmex_protocol as protocol
from voice_server.core.doors.voxcpmex_protocol import Generate, Init, LoadLora, Ping, Request, UnloadLora
from voice_server.core.errors import AudioTooLong, BadMessage, TextTooLong, UnknownLora, VoiceError
from voice_server.core.events import AudioChunk, Event, Problem
from voice_server.core.limits import Limits
from voice_server.ports.prompts import Prompts, is_voice
from voice_server.ports.run import Port
from voice_server.ports.stdio import Pipes
from voice_server.stream.backend import Backend
from voice_server.stream.loras import make_default
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk
from voice_server.voices import VoiceStore

_WEIGHTS = "lora_weights.safetensors"
_AROUND_AUDIO_BYTES = 1024  # of a reply: a WAV header, names, numbers


@dataclass(frozen=True, slots=True)
class Bridged:
    """An engine that is ready. `prompts` is an empty store, of this port alone."""

    backend: Backend
    device: str
    prompts: VoiceStore


def voxcpmex_port(limits: Limits) -> Port[Bridged]:
    return Port(lambda pipes, bridged: _Bridge(pipes, limits, bridged).serve(), _fail, protocol.error)


async def _fail(pipes: Pipes, problem: VoiceError) -> None:
    """To each who asks: an answer that nobody asked for would be taken for the next one's."""
    while True:
        await pipes.receive()
        pipes.send(protocol.error(problem))


class _Bridge:
    def __init__(self, pipes: Pipes, limits: Limits, bridged: Bridged) -> None:
        self._pipes = pipes
        self._limits = limits
        self._backend = bridged.backend
        self._device = bridged.device
        self._prompts = Prompts(bridged.prompts, limits)
        self._rate = bridged.backend.sample_rate or limits.stream.sample_rate

    async def serve(self) -> None:
        while True:
            body = await self._pipes.receive()
            try:
                await self._answer(protocol.decode(body, self._limits))
            except VoiceError as error:
                self._pipes.send(protocol.error(error))
            await self._pipes.drain()

    async def _answer(self, request: Request) -> None:
        match request:
            case Init():
                self._pipes.send(self._initialised(request))
            case Generate(streams=True):
                await self._stream(request)
            case Generate():
                await self._generate(request)
            case LoadLora(path):
                self._pipes.send(protocol.lora_loaded(await self._load(path)))
            case UnloadLora():
                self._backend.default_options = {}
                self._pipes.send(protocol.unloaded())
            case Ping():
                self._pipes.send(protocol.pong())

    def _initialised(self, wanted: Init) -> bytes:
        name, model = self._backend.name, str(self._backend.config.options.get("model", ""))
        notes = protocol.notes_on(wanted, name, model, self._device)
        return protocol.initialised(self._device, self._rate, name, notes)

    # Speech

    async def _generate(self, wanted: Generate) -> None:
        most = self._limits.text.file_chars
        if len(wanted.text) > most:
            raise TextTooLong(f"at most {most} characters at once; use generate_streaming", field="text")
        pcm = bytearray()

        async def keep(event: Event) -> None:
            if isinstance(event, AudioChunk):
                pcm.extend(event.pcm)
                if len(pcm) + _AROUND_AUDIO_BYTES > self._limits.ports.reply_bytes:
                    raise AudioTooLong("the audio does not fit into one reply; use generate_streaming")

        talk = await self._begin(wanted, _raising(keep), live=False)
        await _to_its_end(talk)
        self._pipes.send(protocol.audio(bytes(pcm), self._rate))

    async def _stream(self, wanted: Generate) -> None:
        count = 0

        async def send(event: Event) -> None:
            nonlocal count
            if isinstance(event, AudioChunk):
                self._pipes.send(protocol.stream_chunk(count, event.pcm))
                count += 1
                await self._pipes.drain()

        talk = await self._begin(wanted, _raising(send), live=True)
        self._pipes.send(protocol.stream_start(self._rate))
        try:
            await _to_its_end(talk)
            self._pipes.send(protocol.stream_end(count))
        except VoiceError as error:
            self._pipes.send(protocol.stream_error(error))

    async def _begin(self, wanted: Generate, send: Callable[[Event], Awaitable[None]], *, live: bool) -> Talk:
        """Raises VoiceError: what is wrong with the request."""
        speaker, voice, options = await self._cast(wanted)
        talk = Talk(speaker, self._limits, StreamSettings(live, self._rate), send)
        try:
            talk.stream.set_voice(voice)
            talk.stream.set_options(options)
            talk.stream.push(wanted.text)
            talk.stream.finish()
        except VoiceError:
            talk.leave()
            raise
        return talk

    async def _cast(self, wanted: Generate) -> tuple[Backend, str, dict[str, Any]]:
        """Who speaks: the backend, the voice, and the options that are left for the engine."""
        named = {name for name in (wanted.voice, wanted.audio_prompt, wanted.prompt_wav_path) if name}
        if len(named) > 1:
            raise BadMessage("a voice has one recording: name it once, or the same in all places", field="audio_prompt")
        name = named.pop() if named else ""
        if not name or name == wanted.voice or is_voice(self._backend, name):
            spoken = {"prompt_text": wanted.prompt_text} if wanted.prompt_text else {}
            return self._backend, name, wanted.options | spoken
        if not (self._backend.pool.ready and self._backend.pool.ready.can_clone):
            raise BadMessage(f"the backend {self._backend.name} clones no voices", field="audio_prompt")
        voice = await asyncio.to_thread(self._prompts.add, name, wanted.prompt_text)
        return self._prompts.speaker(self._backend), voice, wanted.options

    # LoRA

    async def _load(self, path: str) -> int:
        """How many tensors new speech gets from this adapter. Raises UnknownLora, BadOption."""
        folder = self._backend.lora_folder
        if folder is None:
            raise UnknownLora(f"the backend {self._backend.name} has no folder of LoRA adapters", field="lora_path")
        adapter = folder / path
        if adapter.resolve().parent != folder.resolve():
            raise UnknownLora(
                "an adapter lies in the folder that the backend's option `loras` names", field="lora_path"
            )
        count = await asyncio.to_thread(_count_tensors, adapter / _WEIGHTS)
        await make_default(self._backend, adapter.name)
        return count


def _raising(take: Callable[[Event], Awaitable[None]]) -> Callable[[Event], Awaitable[None]]:
    """The first problem ends it: half an answer is none."""

    async def send(event: Event) -> None:
        if isinstance(event, Problem):
            raise event.error
        await take(event)

    return send


async def _to_its_end(talk: Talk) -> None:
    try:
        await talk.over()
    finally:
        talk.leave()


def _count_tensors(weights: Path) -> int:
    """As its header lists them; 1 for an adapter in the other format, which only its engine can read."""
    try:
        with weights.open("rb") as file:
            header = file.read(struct.unpack("<Q", file.read(8))[0])
        return sum(name != "__metadata__" for name in json.loads(header))
    except FileNotFoundError:
        return 1
    except (OSError, ValueError, struct.error, MemoryError, OverflowError):
        raise UnknownLora("the weights of this adapter are damaged", field="lora_path") from None
