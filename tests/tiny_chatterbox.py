"""Adapter files for tests: Chatterbox with random weights, built by the package's own classes and loaded from files.

Runs in the environment of the chatterbox backend. It says noise, but its checkpoints have the real names and its parts
the real interfaces; only depths and widths shrink. Its speech ends by itself after about ten tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voice_server.backends import chatterbox

CONTROL = ["[START]", "[STOP]", "[UNK]", "[SPACE]"]
TAGS = ["[laugh]", "[clear throat]"]
STOP_LOGIT = 4.5  # against about a thousand others with 0
SOUNDS = 20  # of the standard model, as likely as one another


class TinyChatterbox(chatterbox.ChatterboxBackend):
    """Built in the folder `model` first, where that is empty."""

    def __init__(self, device: str = "cpu", *, model: str, turbo: bool = True) -> None:
        chatterbox._engine_class(turbo)
        _shrink()
        folder = Path(model)
        if not any(folder.iterdir()):
            build(folder, turbo)
        super().__init__(device, model=model, turbo=turbo, max_voices=2)


def _shrink() -> None:
    """The package writes its sizes into code: made smaller there."""
    from chatterbox.models.s3gen import s3gen
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS
    from s3tokenizer.model_v2 import S3TokenizerV2

    LLAMA_CONFIGS["GPT2_medium"].update(n_layer=1, n_head=4, n_embd=64, hidden_size=64)
    LLAMA_CONFIGS["Llama_520M"].update(num_hidden_layers=1)
    size = S3TokenizerV2.__init__.__defaults__[-1]
    size.n_audio_layer, size.n_audio_state, size.n_audio_head = 1, 128, 2
    decoder = s3gen.ConditionalDecoder
    s3gen.ConditionalDecoder = lambda **given: decoder(**{**given, "num_mid_blocks": 1, "n_blocks": 1})


def build(folder: Path, turbo: bool) -> None:
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.voice_encoder import VoiceEncoder
    from safetensors.torch import save_file

    torch.manual_seed(0)
    parts = {
        "ve": VoiceEncoder(),
        "t3_turbo_v1" if turbo else "t3_cfg": _t3(turbo),
        "s3gen_meanflow" if turbo else "s3gen": S3Gen(meanflow=turbo),
    }
    for name, part in parts.items():
        tensors = {key: tensor.clone().contiguous() for key, tensor in part.state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")
    _write_tokenizer(folder, turbo)


def _t3(turbo: bool) -> Any:
    import torch
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config

    config = T3Config(text_tokens_dict_size=50276 if turbo else 704)
    if turbo:  # as its from_local() says
        config.llama_config_name, config.speech_tokens_dict_size = "GPT2_medium", 6563
        config.input_pos_emb, config.speech_cond_prompt_len = None, 375
        config.use_perceiver_resampler = config.emotion_adv = False
    model = T3(config)
    with torch.no_grad():
        model.speech_head.weight.zero_()
        if turbo:
            model.speech_head.bias.zero_()[config.stop_speech_token] = STOP_LOGIT
        else:
            _speak_evenly(model, config.stop_speech_token)
    return model


def _speak_evenly(model: Any, stop: int) -> None:
    """The head has no bias: so every step's hidden state is made the same, sqrt(dim) in its first place."""
    for layer in model.tfmr.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.speech_pos_emb.emb.weight.zero_()
    model.speech_emb.weight.zero_()[:, 0] = 1.0
    head = model.speech_head.weight
    head[SOUNDS:, 0] = -1.0  # never: its min_p would leave the likeliest token alone, were the others many and equal
    head[stop, 0] = 1.0 / model.dim**0.5


def _write_tokenizer(folder: Path, turbo: bool) -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet()) if turbo else [chr(code) for code in range(33, 127)]
    special = ["<|endoftext|>"] if turbo else CONTROL
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=None if turbo else "[UNK]"))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    if not turbo:
        tokenizer.save(str(folder / "tokenizer.json"))
        return
    from transformers import PreTrainedTokenizerFast

    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens(TAGS)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
