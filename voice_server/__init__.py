"""The voice gateway. This module imports nothing: workers import it from foreign virtual environments.

`from voice_server import Voice` works all the same: what a program may use is loaded when it is asked for. The types
are in __init__.pyi.
"""

__version__ = "0.1.0"

_OF_EMBEDDING = ("Audio", "BlockingVoice", "Info", "Voice", "VoiceError")


def __getattr__(name):
    if name not in _OF_EMBEDDING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__("voice_server.embedding", fromlist=[name]), name)
