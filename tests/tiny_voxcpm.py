"""Builds VoxCPM checkpoints with random weights in the real format, so that the real package can load and run them.

    PYTHONPATH=. python tests/tiny_voxcpm.py FOLDER [--arch 2] [--size tiny|medium|full] [--lora NAME:RANK ...]

Runs in the environment of the voxcpm backend. What such a model says is noise, but of the real shape: rates, hops,
patches and chunks are those of the published models; only widths, depths and the vocabulary shrink. Its stop head fires
as soon as it may, so a render has exactly `min_len` + 2 chunks, and `max_len` cuts what is longer.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voice_server.backends.voxcpm import standins

CONTROL = {
    0: "<unk>",
    1: "<s>",
    2: "</s>",
    101: "<|audio_start|>",
    102: "<|audio_end|>",
    103: "<|audio_prompt_start|>",
    104: "<|audio_prompt_end|>",
}
SPECIAL = [CONTROL.get(number, f"<|reserved_{number}|>") for number in range(105)]
LETTERS = sorted({chr(code) for code in range(33, 127)} | set("▁你好世界今天气很，。"))
MERGED = ["你好", "世界"]  # words of several characters, which voxcpm takes apart again


@dataclass(frozen=True)
class Size:
    """The widths and depths of the parts of a model."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    residual_layers: int
    local_hidden: int  # of the patch encoder and the diffusion transformer
    local_ffn: int
    local_layers: int
    local_heads: int
    quantiser: int
    latent: int
    encoder_dim: int
    decoder_dim: int
    vocabulary: int
    max_length: int
    dtype: str


@dataclass(frozen=True)
class Arch:
    name: str  # in config.json
    patch_size: int
    vae: dict[str, Any]
    tiny: Size
    medium: Size
    full: Size


_TINY = Size(64, 128, 2, 4, 1, 64, 128, 1, 4, 32, 16, 8, 64, 640, 1024, "float32")
_FULL_V1 = Size(1024, 4096, 24, 16, 6, 1024, 4096, 4, 16, 256, 64, 128, 1536, 73448, 4096, "bfloat16")
_FULL_V2 = Size(2048, 6144, 28, 16, 8, 1024, 4096, 12, 16, 512, 64, 128, 2048, 73448, 8192, "bfloat16")
_TINY_V2 = Size(64, 128, 2, 4, 1, 64, 128, 1, 4, 32, 16, 8, 128, 640, 1024, "float32")
_MEDIUM = Size(512, 1536, 6, 8, 2, 256, 1024, 3, 8, 64, 64, 32, 256, 640, 1024, "float32")  # a CPU can still measure it

ARCHS = {
    "0.5b": Arch(
        "voxcpm",
        2,
        {"encoder_rates": [2, 5, 8, 8], "decoder_rates": [8, 8, 5, 2], "sample_rate": 16000},
        _TINY,
        _MEDIUM,
        _FULL_V1,
    ),
    "1.5": Arch(
        "voxcpm",
        4,
        {"encoder_rates": [2, 3, 6, 7, 7], "decoder_rates": [7, 7, 6, 3, 2], "sample_rate": 44100},
        _TINY,
        _MEDIUM,
        _FULL_V1,
    ),
    "2": Arch(
        "voxcpm2",
        4,
        {
            "encoder_rates": [2, 5, 8, 8],
            "decoder_rates": [8, 6, 5, 2, 2, 2],
            "sample_rate": 16000,
            "out_sample_rate": 48000,
            "sr_bin_boundaries": [20000, 30000, 40000],
        },
        _TINY_V2,
        _MEDIUM,
        _FULL_V2,
    ),
}


def build(folder: Path, arch: Arch, size: Size, loras: dict[str, int], never_stop: bool = False) -> None:
    """A checkpoint in `folder`, and LoRA adapters, by name and rank, in its subfolder loras."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = _config(arch, size)
    (folder / "config.json").write_text(json.dumps(config))
    _write_tokenizer(folder)
    model = _model(folder, arch, config, size)
    _set_stop_head(model, never_stop)
    _make_audible(model)
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items() if "audio_vae." not in key}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    torch.save({"state_dict": model.audio_vae.state_dict()}, folder / "audiovae.pth")
    for name, rank in loras.items():
        _write_lora(folder / "loras" / name, model, rank)


def _config(arch: Arch, size: Size) -> dict[str, Any]:
    head = size.hidden // size.heads
    language_model = {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "max_position_embeddings": 32768,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000,
        "rope_scaling": {
            "type": "longrope",
            "long_factor": [1.0] * (head // 2),
            "short_factor": [1.0] * (head // 2),
            "original_max_position_embeddings": 32768,
        },
        "vocab_size": size.vocabulary,
        "use_mup": False,
        "scale_emb": 12,
        "dim_model_base": 256,
        "scale_depth": 1.4,
        "kv_channels": head,
    }
    local = {
        "hidden_dim": size.local_hidden,
        "ffn_dim": size.local_ffn,
        "num_heads": size.local_heads,
        "num_layers": size.local_layers,
        "kv_channels": head,
    }
    flow = {"sigma_min": 1e-6, "solver": "euler", "t_scheduler": "log-norm", "inference_cfg_rate": 2.0}
    dims = {"encoder_dim": size.encoder_dim, "latent_dim": size.latent, "decoder_dim": size.decoder_dim}
    return {
        "architecture": arch.name,
        "lm_config": language_model,
        "patch_size": arch.patch_size,
        "feat_dim": size.latent,
        "residual_lm_num_layers": size.residual_layers,
        "residual_lm_no_rope": arch.name == "voxcpm2",
        "scalar_quantization_latent_dim": size.quantiser,
        "scalar_quantization_scale": 9,
        "encoder_config": local,
        "dit_config": {**local, "cfm_config": flow},
        "audio_vae_config": {**dims, "depthwise": True, **arch.vae},
        "max_length": size.max_length,
        "device": "cuda",  # as in the published files
        "dtype": size.dtype,
    }


def _write_tokenizer(folder: Path) -> None:
    """A Llama tokenizer of single characters, with bytes for all others and two words."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS, *MERGED]
    vocabulary = {name: number for number, name in enumerate(names)}
    merges = [(word[0], word[1]) for word in MERGED]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    rest = {"tokenizer_class": "LlamaTokenizerFast", "legacy": True, "add_bos_token": True, "add_eos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps({**roles, **rest}))
    (folder / "special_tokens_map.json").write_text(json.dumps(roles))


def _model(folder: Path, arch: Arch, config: dict[str, Any], size: Size) -> Any:
    import torch
    from transformers import LlamaTokenizerFast

    if arch.name == "voxcpm2":
        from voxcpm.model.voxcpm2 import LoRAConfig, VoxCPM2Model, VoxCPMConfig
        from voxcpm.modules.audiovae import AudioVAEV2

        model_class, vae_class = VoxCPM2Model, AudioVAEV2
    else:
        from voxcpm.model.voxcpm import LoRAConfig, VoxCPMConfig, VoxCPMModel
        from voxcpm.modules.audiovae import AudioVAE

        model_class, vae_class = VoxCPMModel, AudioVAE
    parsed = VoxCPMConfig.model_validate(config)
    vae = vae_class(config=parsed.audio_vae_config)
    model = model_class(parsed, LlamaTokenizerFast.from_pretrained(folder), vae, None, device="cpu")
    model.lora_config_class = LoRAConfig
    dtype = getattr(torch, size.dtype)
    model.to(dtype).audio_vae.float()
    return model.eval()


def _set_stop_head(model: Any, never: bool) -> None:
    """To stop at every step, or never: a test or a bench sets the length of a sentence by `min_len` or `max_len`."""
    import torch

    with torch.no_grad():
        model.stop_proj.weight.zero_()
        model.stop_proj.bias.fill_(1.0)
        model.stop_head.weight[0] = float(never)
        model.stop_head.weight[1] = float(not never)


def _make_audible(model: Any, level: float = 0.2) -> None:
    """Scale the last convolution: untrained, it would say next to nothing."""
    import torch

    last = [layer for layer in model.audio_vae.decoder.modules() if isinstance(layer, torch.nn.Conv1d)][-1]
    heard: list[Any] = []
    hook = last.register_forward_hook(lambda layer, given, gave: heard.append(gave))
    with torch.no_grad():
        model.audio_vae.decode(torch.randn(1, model.feat_dim, 16))
        hook.remove()
        last.weight_g.mul_(level / heard[0].std())
        last.bias.zero_()


def _write_lora(folder: Path, model: Any, rank: int) -> None:
    """An adapter that changes every attention of the model a little."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    if model.lora_config is None:
        config = model.lora_config_class(enable_lm=True, enable_dit=True, r=rank, alpha=2 * rank)
        model.lora_config = config
        model._apply_lora()
    else:
        config = model.lora_config.model_copy(update={"r": rank, "alpha": 2 * rank})
    tensors = {
        key: torch.randn((rank, tensor.shape[1]) if key.endswith("A") else (tensor.shape[0], rank)) * 0.2
        for key, tensor in model.get_lora_state_dict().items()
    }
    save_file(tensors, folder / "lora_weights.safetensors")
    (folder / "lora_config.json").write_text(json.dumps({"base_model": "tiny", "lora_config": config.model_dump()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", action="append", choices=ARCHS, help="default: all, each in a folder of its name")
    parser.add_argument("--size", choices=("tiny", "medium", "full"), default="tiny")
    parser.add_argument("--lora", action="append", default=[], metavar="NAME:RANK")
    parser.add_argument(
        "--never-stop", action="store_true", help="sentences end at their cap; default: as soon as they may"
    )
    options = parser.parse_args()
    standins.install()
    loras = {name: int(rank) for name, rank in (lora.split(":") for lora in options.lora)}
    for name in options.arch or ARCHS:
        arch = ARCHS[name]
        size: Size = getattr(arch, options.size)
        build(options.folder / name, arch, size, loras, options.never_stop)
        print(json.dumps({"arch": name, **asdict(size)}))


if __name__ == "__main__":
    main()
