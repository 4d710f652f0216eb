"""What the fuzzer begins with: one right input of each kind, for it to spoil."""

from __future__ import annotations

from tests.harness import hum_wav
from voice_server.wire import frames
from voice_server.wire.messages import Audio, Cancel, Pong

_JSON = [
    b'{"token":"Hello. ","voice":"tone","opts":{"speed":1.5},"sample_rate":16000,"flush":true,"done":true}',
    b'{"type":"Speak","text":"Hello."}',
    b'{"model_id":"m","transcript":"Hello.","voice":{"mode":"id","id":"tone"},"context_id":"1","continue":true,'
    b'"output_format":{"container":"raw","encoding":"pcm_s16le","sample_rate":24000}}',
    b'{"text":"Hello. ","voice_settings":{"speed":1.0},"context_id":"1","flush":true,"xi_api_key":"k"}',
    b'{"cmd":"start_session","session_id":"1","language":"en"}',
    b'{"type":"tts_request","request_id":"1","params":{"text":"Hello.","voice_id":"tone","mode":"streaming"}}',
]
_QUERY = [b"voice=tone&sample_rate=16000&keep_open=1", b"model=tone&encoding=linear16&container=wav&speed=1.5"]
_FORM = (
    b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nheart\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n'
)
_YAML = b"default: tone\nbackends:\n  tone:\n    adapter: a.b:C\n    workers: 2\n    opts: {speed: {type: float}}\n"

SEEDS: dict[str, list[bytes]] = {
    "frames": [frames.encode(message) for message in (Cancel(1), Audio(1, 0, b"\0\0" * 50), Pong(1))],
    "splitter": [b"Hello there. How are you, Dr. Who? 1.5 e.g. \xe3\x80\x82 (Yes!) ...", b"a\n\nb [laugh] `x`."],
    "form": [_FORM],
    "form_fields": [b"file=a&response_format=json&temperature=0.5&timestamp_granularities[]=word"],
    "config": [_YAML],
    "yaml": [_YAML],
    "sidecar": [b'{"aliases":["heart"],"default_of":["tone"],"language":"en"}'],
    "transcript": [b"Hello there, this is me."],
    "wav": [hum_wav(1.0, 8000)],
    "voxcpmex": [b"\x81\xa4type\xa4ping", b"\x82\xa4type\xa8generate\xa4text\xa2Hi"],
    "wyoming": [b'{"type":"synthesize","data":{"text":"Hello."}}\n{}'],
    "stream_tokens_query": _QUERY,
    "deepgram_query": _QUERY,
    "elevenlabs_query": [b"model_id=m&output_format=pcm_24000&inactivity_timeout=20"],
    "transcribe_audio": [b"AAAAAAAAgD8="],
}


def seeds_of(target: str) -> list[bytes]:
    return SEEDS.get(target, _JSON)
