"""VoxCPM: speech of one's own voices, cloned from a sample or designed in words, on a GPU or (slowly) on a CPU.

Facts about the engine (voxcpm 2.0.3 and nano-vllm-voxcpm 2.0.5) were read in its source or measured; those that decide
something stand where they do.

    adapter       what the worker host sees: voices, options, the life of a render
    settings      a render's options and their ranges          pure
    texts         what of a text may reach the tokenizer       pure
    endings       where speech has ended but the engine goes on  pure
    engine        what the adapter asks of an engine, as values and a protocol
    package       the model of the package voxcpm, loaded: what the next two engines share
    torch_engine  one render in each step, as the package has it    nano    the engine of nano-vllm-voxcpm
    batched_…     all open renders in each step: engine (who is in it), rows, step (its arithmetic), lm, decoder, loras,
                  script (what a render begins with)
    desks         what each open render owns of torch_engine's shared model
    checkpoint    a folder of weights, verified                loras   adapters of weights, swapped per render
    prompts       voices as prompt features, in memory and on disk
    standins      the few functions of torchaudio and librosa that voxcpm calls
"""

from __future__ import annotations

from voice_server.backends.voxcpm.adapter import VoxcpmBackend

__all__ = ["VoxcpmBackend"]
