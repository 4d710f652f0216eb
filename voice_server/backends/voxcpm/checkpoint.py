"""A folder of weights: found or fetched, and verified, because upstream loads half of one without a word.

voxcpm 2.0.3 loads weights with strict=False (what is missing stays random: noise in a voice of its own) and makes an
empty tokenizer where there is none. So keys are compared here in both directions, and the tokenizer is tried out. All
failures are BackendError("bad_config"), which only a person can mend, except for a download that failed.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Iterable, Sequence

from voice_server.backends.voxcpm.engine import Report
from voice_server.worker.adapter import BackendError

ARCHITECTURES = ("voxcpm", "voxcpm2")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_VAE_WEIGHTS = ("audiovae.safetensors", "audiovae.pth")
_CONTROL_IDS = range(101, 105)  # start and end of audio and of a reference: numbers written into voxcpm's code
_TRIAL = "Hello, world. 你好，世界。"
_COMPILED_TWICE = "_feat_encoder_raw."  # a second name for feat_encoder, where torch.compile is on
_NAMED = 3  # keys in a message
_EDGE_BYTES = 1 << 20


def locate(model: str, report: Report) -> Path:
    """The folder of a model: itself, or what the hub has under this id, downloaded on first use.

    With a folder no library may use the network from then on; call before importing any of them.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
        return folder.absolute()
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise _wrong(f"there is no folder {model}; a model of the hub is written owner/name")
    return _fetch(model, report)


def _fetch(model: str, report: Report) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    report(f"downloading {model}, unless it is here already")
    try:
        return Path(snapshot_download(model))  # without a network, what was downloaded before
    except RepositoryNotFoundError as error:
        raise _wrong(f"the hub has no model {model}, or it is a private one") from error
    except LocalEntryNotFoundError as error:
        message = f"{model} could not be downloaded, and was not before"
        raise BackendError("bad_config", message, retryable=True) from error


def read_architecture(folder: Path) -> str:
    """One of ARCHITECTURES. Raises BackendError if the folder cannot be a VoxCPM checkpoint."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _wrong(f"{folder} has no config.json") from None
    except ValueError as error:
        raise _wrong(f"{folder / 'config.json'} is damaged: {error}") from error
    architecture = str(config.get("architecture", "voxcpm")).lower()
    if architecture not in ARCHITECTURES:
        raise _wrong(f"architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}")
    if not (folder / "tokenizer.json").is_file():
        raise _wrong(f"{folder} has no tokenizer.json: every text would be spoken as the same noise")
    _first(folder, _WEIGHTS)
    _first(folder, _VAE_WEIGHTS)
    return architecture


def fingerprint(folder: Path) -> str:
    """A hash that is equal only for models whose prompt features can be exchanged.

    Features depend on the configuration and the audio encoder; a designed voice depends on the weights too, of which
    the ends and the size tell two apart in milliseconds instead of seconds.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update((folder / "config.json").read_bytes())
    with _first(folder, _VAE_WEIGHTS).open("rb") as file:
        while part := file.read(_EDGE_BYTES):
            digest.update(part)
    weights = _first(folder, _WEIGHTS)
    with weights.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(0, weights.stat().st_size - _EDGE_BYTES))
        digest.update(file.read())
    digest.update(str(weights.stat().st_size).encode())
    return digest.hexdigest()


def stored_weights(folder: Path) -> set[str]:
    """The names of all tensors in the files. Raises BackendError for a damaged one."""
    audio = {f"audio_vae.{key}" for key in _stored_keys(_first(folder, _VAE_WEIGHTS))}
    return audio.union(_stored_keys(_first(folder, _WEIGHTS)))


def verify_weights(folder: Path, found: set[str], model_keys: Iterable[str]) -> None:
    """Whether the files hold exactly the tensors that the loaded model has; LoRA slots apart, which are ours."""
    plain = (key.replace("._orig_mod.", ".") for key in model_keys)
    expected = {key for key in plain if ".lora_" not in key and not key.startswith(_COMPILED_TWICE)}
    if expected - found:
        raise _wrong(f"weights are missing in {folder}: {_list(expected - found)}")
    if found - expected:
        raise _wrong(f"{folder} holds weights that this architecture has no place for: {_list(found - expected)}")


def verify_tokenizer(tokenizer: Any, vocabulary: int) -> None:
    """Whether a tokenizer of transformers is the model's: it knows the control tokens and reads text."""
    if len(tokenizer) != vocabulary and not _CONTROL_IDS.stop <= len(tokenizer) <= vocabulary:
        raise _wrong(f"the tokenizer has {len(tokenizer)} tokens, the model {vocabulary}")
    added = tokenizer.added_tokens_decoder
    ordinary = [number for number in _CONTROL_IDS if number not in added or not added[number].special]
    if ordinary:
        raise _wrong(f"the tokenizer takes the control tokens {ordinary} for ordinary text")
    tokens = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(_TRIAL))
    if len(set(tokens)) < len(set(_TRIAL)) // 4 or tokenizer.unk_token_id in tokens:
        raise _wrong("the tokenizer cannot read plain text: its files do not belong together")


def _stored_keys(path: Path) -> list[str]:
    """The names of the tensors in a file, without reading them where the format allows."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as tensors:
                return list(tensors.keys())
        import torch

        content = torch.load(path, map_location="meta", weights_only=True)
        return list(content.get("state_dict", content))
    except Exception as error:  # noqa: BLE001  # whatever it is, the file cannot be read: it is told, and ends the load
        raise _wrong(f"{path} is damaged ({type(error).__name__}): download it again") from error


def _first(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise _wrong(f"{folder} has neither {' nor '.join(names)}")


def _list(keys: set[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(sorted(keys)[:_NAMED]) + more


def _wrong(message: str) -> BackendError:
    return BackendError("bad_config", message)
