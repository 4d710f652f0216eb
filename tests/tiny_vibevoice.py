"""Adapter files for tests: VibeVoice with random weights, built by the package's own classes and loaded from files.

Runs in the environment of the vibevoice backend. It says noise, but files and interfaces are real; only depths and
widths shrink. It goes on until its cap, unless `ends`: then it ends as soon as its last layer happens to say so.
"""

from __future__ import annotations

from pathlib import Path

from voice_server.backends import vibevoice

SPECIAL = ["<|vision_pad|>", "<|vision_start|>", "<|vision_end|>", "<|endoftext|>", "<|image_pad|>"]
DEPTHS = "-".join("1" * 7)
POSITIONS = 256  # where a sentence is cut at the latest, soon after a prompt of about 175


class TinyVibeVoice(vibevoice.VibeVoiceBackend):
    """Built in the folder `model` first, where that is empty."""

    def __init__(self, device: str = "cpu", *, model: str, voices_dir: str = "", ends: bool = False) -> None:
        folder = Path(model)
        if not any(folder.iterdir()):
            build(folder, ends)
        super().__init__(device, model=model, voices_dir=voices_dir, steps=2)


def build(folder: Path, ends: bool) -> None:
    import torch
    from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
    from vibevoice.modular import configuration_vibevoice as parts
    from vibevoice.modular.modeling_vibevoice_inference import VibeVoiceForConditionalGenerationInference

    tokens = _write_tokenizer(folder)
    torch.manual_seed(0)
    small = {"vae_dim": 8, "encoder_n_filters": 4, "encoder_depths": DEPTHS}
    config = parts.VibeVoiceConfig(
        acoustic_tokenizer_config=parts.VibeVoiceAcousticTokenizerConfig(**small),
        semantic_tokenizer_config=parts.VibeVoiceSemanticTokenizerConfig(**small),
        decoder_config=Qwen2Config(
            vocab_size=tokens,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=POSITIONS,
        ),
        diffusion_head_config=parts.VibeVoiceDiffusionHeadConfig(
            hidden_size=64, head_layers=1, latent_size=8, speech_vae_dim=8
        ),
    )
    model = VibeVoiceForConditionalGenerationInference(config)
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all alike: the first of the tokens that are allowed, which is speech
        if ends:
            model.lm_head.weight[SPECIAL.index("<|endoftext|>")].normal_()
        model.model.speech_scaling_factor.fill_(1.0)
        model.model.speech_bias_factor.fill_(0.0)
    model.save_pretrained(folder)


def _write_tokenizer(folder: Path) -> int:
    """Single bytes; gives how many tokens there are."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate([*SPECIAL, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    return len(SPECIAL) + len(letters)
