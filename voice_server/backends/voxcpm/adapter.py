"""VoxCPM behind the adapter contract: voices, options, and the life of one render, whichever engine computes it.

What the engine would do wrong without a word is an error here: a voice that it cannot imitate, a text without words, a
request longer than its memory, samples that are no numbers, an option that it would ignore.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generator, Iterator, Literal, Sequence

import numpy as np

from voice_server.backends.voxcpm import checkpoint
from voice_server.backends.voxcpm.endings import Ending, EndWatch, spoken_limit_s
from voice_server.backends.voxcpm.engine import Engine, Order, Prompt, Report, Shape
from voice_server.backends.voxcpm.prompts import PromptStore, check_sample, default_folder
from voice_server.backends.voxcpm.settings import Settings, read
from voice_server.backends.voxcpm.texts import Cleaner, split_description
from voice_server.worker.adapter import TRUNCATED, BackendError

if TYPE_CHECKING:
    from voice_server.backends.voxcpm.engine import Samples, Speech

ZERO_SHOT = "zero-shot"
_DESIGN_TEXT = "Hello, this is the voice that you asked for, and I am going to speak with it from now on."
_DESIGN_TRIES = 3
_CAP_STEPS = 10  # of the length cap, beside those for each token: upstream's
_WARM_STEPS = 4  # the fewest that a render can have
_NOTHING = np.zeros(0, np.float32)  # a chunk that nobody hears, so that a cancel is obeyed while nothing is to be heard


class VoxcpmBackend:
    """The adapter.

    `model`: a folder, or an id on the Hugging Face hub. `engine`: torch, batched or nano. `optimize`: compile engine
    torch (no other worker may use its GPU then), record the steps of engine batched; "auto" does so on a GPU.
    `renders`: open at once; "auto" is 4, if compiled 1, of engine batched what memory holds, of engine nano 16.
    `loras`: a folder of adapters. `max_voices`: so many are kept in memory.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        model: str,
        engine: Literal["torch", "batched", "nano"] = "torch",
        optimize: Literal["auto"] | bool = "auto",
        renders: Literal["auto"] | int = "auto",
        loras: str = "",
        max_voices: int = 32,
        progress: Report = print,
    ) -> None:
        folder = checkpoint.locate(model, progress)
        self._engine = _build(engine, folder, device, optimize, renders, loras, progress)
        self._cleaner = Cleaner(self._engine.special_tokens)
        self._prompts = PromptStore(default_folder(os.environ), self._engine.fingerprint, max_voices)
        self.device = device
        self.sample_rate = self._shape.sample_rate
        self.deterministic = self._engine.deterministic
        self._warm_up(progress)

    @property
    def capacity(self) -> int:
        """Renders that may be open at once: fewer than at first, where memory ran out."""
        return self._engine.capacity

    @staticmethod
    def fetch(options: dict[str, Any], report: Report) -> None:
        """Download the model ahead, where it is one of the hub."""
        checkpoint.locate(str(options["model"]), report)

    def voices(self) -> list[str]:
        """The one voice of its own: another one in every process and with every seed. All others are prepared."""
        return [ZERO_SHOT]

    def prepare_voice(self, voice: str, sample_path: str, transcript: str = "") -> None:
        """Learn to imitate a sample. `voice` changes with its content, so a known one costs nothing."""
        if self._prompts.recall(voice) is not None:
            return
        sample, words, path = check_sample(sample_path), self._cleaner.clean(transcript), Path(sample_path)
        if self._prompts.find(voice, sample, words.encode(), sample=path) is None:
            print(f"encoding the sample of a new voice ({len(sample)} bytes)")
            prompt = Prompt(self._engine.encode(path), words)
            self._prompts.keep(voice, prompt, sample, words.encode(), sample=path)

    def render(self, text: str, voice: str, **options: Any) -> Iterator[Samples]:
        return self._engine.seat(self._begin(text, voice, read(options)))

    def step(self, renders: Sequence[Iterator[Samples]]) -> Sequence[Iterator[Samples]]:
        """Work for open renders, the most urgent one first. Returns those that have something to say now."""
        return self._engine.step(renders)

    @property
    def _shape(self) -> Shape:
        return self._engine.shape

    def _begin(self, text: str, voice: str, settings: Settings) -> Speech:
        if settings.denoise:
            raise BackendError("bad_option", "this backend has no denoiser: clean the sample beforehand")
        description, words = self._description(text, voice, settings)
        order = self._order(words, self._prompt(voice, settings), voice, settings)
        if description and voice == ZERO_SHOT:
            return self._designed(description, order, settings)
        if description:  # how a cloned voice shall speak; with a transcript it would be read aloud
            prompt = order.prompt and replace(order.prompt, transcript="")
            order = self._fitting(replace(order, text=f"({description}){order.text}", prompt=prompt))
        return self._speech(order, settings)

    def _description(self, text: str, voice: str, settings: Settings) -> tuple[str, str]:
        """What is said about the voice, "" for nothing, and what is to be spoken."""
        if settings.design and not self._shape.has_reference:
            raise BackendError("bad_option", "design needs VoxCPM2; this model knows cloned voices only")
        if settings.design and voice != ZERO_SHOT:
            raise BackendError("bad_option", "design makes a voice of its own: leave out the voice, or the design")
        if not self._shape.has_reference:
            return "", text
        if settings.design:
            return self._plain(settings.design), text
        found = split_description(text)
        return self._plain(found.description) if found.description else "", found.text

    def _plain(self, description: str) -> str:
        """The description without parentheses: the model takes the first one for its end."""
        plain = self._cleaner.clean(description.replace("(", " ").replace(")", " "))
        if not plain:
            raise BackendError("bad_option", "there is no word in this description of a voice")
        return plain

    def _prompt(self, voice: str, settings: Settings) -> Prompt | None:
        if voice == ZERO_SHOT:
            if settings.prompt_text:
                raise BackendError("bad_option", "prompt_text is what a voice's sample says, and this voice has none")
            return None
        prompt = self._prompts.recall(voice)
        if prompt is None:
            raise BackendError("unknown_voice", "this voice has no sample; the engine has no voices but cloned ones")
        if settings.prompt_text:
            prompt = replace(prompt, transcript=self._cleaner.clean(settings.prompt_text))
        if not prompt.transcript and not self._shape.has_reference:
            message = "this model clones only with the words of the sample: a .txt beside it, or prompt_text"
            raise BackendError("unknown_voice", message)
        return prompt

    def _order(self, text: str, prompt: Prompt | None, voice: str, settings: Settings) -> Order:
        words = self._cleaner.speakable(self._engine.normalize(text) if settings.normalize else text)
        per_token = settings.retry_badcase_ratio_threshold
        cap = min(int(self._engine.count_tokens(words) * per_token) + _CAP_STEPS, settings.max_len)
        if settings.min_len > cap:
            raise BackendError("bad_option", f"min_len is above the longest that this text may become, {cap} steps")
        seed = settings.seed if settings.seed >= 0 else zlib.crc32(voice.encode())
        order = Order(
            words,
            prompt,
            seed,
            cap,
            settings.min_len,
            settings.cfg_value,
            settings.inference_timesteps,
            settings.lora,
        )
        self._engine.check(order)
        return self._fitting(order)

    def _fitting(self, order: Order) -> Order:
        """The order, if it fits into the model: a longer one would fail in the middle of the sentence."""
        transcript = order.prompt.transcript if order.prompt else ""
        features = order.prompt.features.length if order.prompt else 0
        needed = self._engine.count_tokens(transcript + order.text) + 1 + features + order.max_steps
        if needed > self._shape.max_length:
            limit = f"{self._shape.max_length} positions, and text, sample and longest audio take {needed}"
            raise BackendError("bad_text", f"this is too long for the model: it has {limit}")
        return order

    def _speech(self, order: Order, settings: Settings) -> Speech:
        return self._retried(order, settings) if settings.retry_badcase else self._checked(order)

    def _checked(self, order: Order) -> Speech:
        """The chunks of one render, up to where speech has ended."""
        limit_s = spoken_limit_s(self._engine.count_tokens(order.text))
        at_least_s = (order.min_steps + 2) * self._shape.chunk_s
        watch, steps = EndWatch(self.sample_rate, limit_s, at_least_s), 0
        with closing(self._engine.speak(order)) as chunks:
            for chunk in chunks:
                if not len(chunk):
                    yield chunk
                    continue
                if not np.isfinite(chunk).all():
                    raise BackendError("render_failed", "the model gave samples that are no numbers", retryable=True)
                yield chunk
                steps += 1
                ending = watch.hear(chunk)
                if ending is not None:
                    return TRUNCATED if ending is Ending.BABBLE else None
        return TRUNCATED if steps >= order.max_steps else None

    def _retried(self, order: Order, settings: Settings) -> Speech:
        """A render that came out too long is thrown away and spoken anew, with another seed; the last try counts."""
        too_long = self._engine.count_tokens(order.text) * settings.retry_badcase_ratio_threshold
        for attempt in range(settings.retry_badcase_max_times):
            chunks: list[Samples] = []
            end = yield from _collected(self._checked(replace(order, seed=order.seed + attempt)), chunks)
            if end != TRUNCATED and len(chunks) < too_long:
                break
        yield from chunks
        return end

    def _designed(self, description: str, order: Order, settings: Settings) -> Speech:
        """A voice from its description, made once for each description and adapter; it then speaks every sentence."""
        made_of = f"{description}\0{order.lora}"
        voice, content = f"design {made_of}", made_of.encode()
        prompt = self._prompts.recall(voice) or self._prompts.find(voice, content)
        if prompt is None:
            prompt = yield from self._design(description, order.lora)
            prompt = self._prompts.keep(voice, prompt, content)
        return (yield from self._speech(self._fitting(replace(order, prompt=prompt)), settings))

    def _design(self, description: str, lora: str) -> Generator[Samples, None, Prompt]:
        """The prompt of a new voice. Its seed is derived from the words, so that all workers hear the same."""
        text = f"({description}){_DESIGN_TEXT}"
        plain = Order(text, None, zlib.crc32(description.encode()), 0, lora=lora)
        cap = int(self._engine.count_tokens(_DESIGN_TEXT) * Settings.retry_badcase_ratio_threshold)
        print("designing a new voice")
        for attempt in range(_DESIGN_TRIES):
            chunks: list[Samples] = []
            order = self._fitting(replace(plain, seed=plain.seed + attempt, max_steps=cap))
            if (yield from _collected(self._checked(order), chunks)) != TRUNCATED:
                break
        return Prompt(self._encode(np.concatenate(chunks)))

    def _encode(self, audio: Samples) -> Any:
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "voice.wav"
            soundfile.write(path, audio, self.sample_rate, subtype="FLOAT")
            return self._engine.encode(path)

    def _warm_up(self, report: Report) -> None:
        """First calls are slow, and the two paths through the model are compiled apart."""
        report("warming up")
        order = Order("Ready.", None, 0, _WARM_STEPS)
        audio = np.concatenate(list(self._checked(order)))
        report("warming up with a sample")
        sample = np.resize(audio, self.sample_rate)
        for _ in self._checked(replace(order, prompt=Prompt(self._encode(sample), "Ready."))):
            pass


def _collected(speech: Speech, chunks: list[Samples]) -> Speech:
    """Speak to nobody, into `chunks`; a cancel is obeyed all the same."""
    with closing(speech):
        while True:
            try:
                chunk = next(speech)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if len(chunk):
                chunks.append(chunk)
            yield _NOTHING


def _build(
    name: str,
    folder: Path,
    device: str,
    optimize: Literal["auto"] | bool,
    renders: Literal["auto"] | int,
    loras: str,
    report: Report,
) -> Engine:
    if name == "nano":
        from voice_server.backends.voxcpm.nano import NanoEngine

        if loras:
            raise BackendError("bad_config", "engine nano is run without LoRA adapters: leave out the option `loras`")
        if renders != "auto":
            raise BackendError("bad_config", "engine nano holds 16 renders open: leave out the option `renders`")
        return NanoEngine(folder, device, report)
    if name not in ("torch", "batched"):
        raise BackendError("bad_config", f"engine is torch, batched or nano, not {name!r}")
    from voice_server.backends.voxcpm.batched_engine import BatchedEngine
    from voice_server.backends.voxcpm.loras import LoraShelf
    from voice_server.backends.voxcpm.torch_engine import TorchEngine

    shelf = LoraShelf(Path(loras).expanduser()) if loras else None
    if name == "batched":
        return BatchedEngine(folder, device, optimize, renders, shelf, report)
    return TorchEngine(folder, device, optimize, renders, shelf, report)
