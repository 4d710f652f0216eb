from voice_server.embedding import Audio as Audio
from voice_server.embedding import BlockingVoice as BlockingVoice
from voice_server.embedding import Info as Info
from voice_server.embedding import Voice as Voice
from voice_server.embedding import VoiceError as VoiceError

__version__: str
