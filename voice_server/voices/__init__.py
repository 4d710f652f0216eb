"""The voices that are cloned from recordings: a folder of samples, what is told beside each, and their clean copies.

A file dropped into the folder and one handed to `VoiceStore.add` go the same way and are the same thing.
"""

from __future__ import annotations

from voice_server.voices.sample import MEDIA_TYPES, Sample
from voice_server.voices.sidecar import About
from voice_server.voices.store import VoiceStore

__all__ = ["MEDIA_TYPES", "About", "Sample", "VoiceStore"]
