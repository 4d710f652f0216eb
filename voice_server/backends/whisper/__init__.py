"""faster-whisper as a backend that listens; see docs/transcribe.md."""

from voice_server.backends.whisper.adapter import WhisperRecogniser

__all__ = ["WhisperRecogniser"]
