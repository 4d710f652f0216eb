"""faster-whisper as a backend that listens: speech to text on a CPU or a GPU, while it is being said; docs/whisper.md.

adapter    what the worker host sees: the recogniser, and the life of a hearing
segments   where utterances begin and end                  pure
agreement  which words of an open utterance are certain    pure
vad        silero's voice detector, told its audio bit by bit
engine     one window of audio to words with times
weights    models from packages, verified, or from anywhere else
"""

from voice_server.backends.whisper.adapter import WhisperRecogniser

__all__ = ["WhisperRecogniser"]
