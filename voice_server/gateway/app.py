"""The table of doors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route, WebSocketRoute

from voice_server.gateway.doors import (
    cartesia,
    chat,
    deepgram,
    elevenlabs,
    elevenlabs_http,
    info,
    loras,
    openai,
    page,
    restart,
    voices,
    voxcpm_api,
)
from voice_server.gateway.doors.convert import convert
from voice_server.gateway.doors.docs_page import docs, openapi_json
from voice_server.gateway.doors.stream_tokens import stream_tokens
from voice_server.gateway.doors.transcribe import transcribe
from voice_server.gateway.doors.transcriptions import transcriptions
from voice_server.gateway.doors.voxcpm_tts import voxcpm_tts
from voice_server.gateway.doors.whole_text import stream_text, tts
from voice_server.gateway.house import House
from voice_server.gateway.ports import VoxcpmPortMiddleware
from voice_server.gateway.requests import HEADER as REQUEST_ID
from voice_server.gateway.requests import RequestsMiddleware
from voice_server.gateway.security import GateMiddleware


def build_app(house: House, cors: Sequence[str] = (), voxcpm_ports: Collection[int] = ()) -> Starlette:
    """`cors`: origins whose pages may read the answers of the HTTP doors; "*" is all of them."""
    app = Starlette(
        routes=[
            WebSocketRoute("/stream-tokens", stream_tokens),
            WebSocketRoute("/stream", stream_text),
            Route("/tts", tts, methods=["POST"]),
            WebSocketRoute("/tts", voxcpm_tts),
            Route("/api/config", voxcpm_api.config),
            Route("/api/voices", voxcpm_api.voices),
            Route("/api/voices/categories", voxcpm_api.voice_categories),
            Route("/api/voices/stats", voxcpm_api.voice_stats),
            Route("/api/voices/{voice_id}/audio", voxcpm_api.voice_audio),
            Route("/v1/audio/speech", openai.speech, methods=["POST"]),
            Route("/v1/audio/transcriptions", transcriptions, methods=["POST"]),
            Route("/v1/audio/voices", voices.voices),
            Route("/v1/audio/voices", voices.create, methods=["POST"]),
            Route("/v1/audio/voices/{name}", voices.delete, methods=["DELETE"]),
            Route("/v1/audio/voices/{name}/sample", voices.sample),
            Route("/v1/audio/voices/{name}/preview", voices.preview),
            Route("/v1/captions", openai.subtitles, methods=["POST"]),
            Route("/v1/models", openai.models),
            Route("/v1/models/{model}", openai.model),
            WebSocketRoute("/v1/text-to-speech/{voice}/stream-input", elevenlabs.stream_input),
            WebSocketRoute("/v1/text-to-speech/{voice}/multi-stream-input", elevenlabs.multi_stream_input),
            Route("/v1/text-to-speech/{voice}", elevenlabs_http.convert, methods=["POST"]),
            Route(
                "/v1/text-to-speech/{voice}/with-timestamps", elevenlabs_http.convert_with_timestamps, methods=["POST"]
            ),
            Route("/v1/text-to-speech/{voice}/stream", elevenlabs_http.stream, methods=["POST"]),
            Route(
                "/v1/text-to-speech/{voice}/stream/with-timestamps",
                elevenlabs_http.stream_with_timestamps,
                methods=["POST"],
            ),
            Route("/v1/voices", elevenlabs_http.voices),
            Route("/v1/voices/{voice}", elevenlabs_http.voice),
            Route("/v2/voices", elevenlabs_http.voices_v2),
            WebSocketRoute("/tts/websocket", cartesia.websocket_speech),
            Route("/tts/bytes", cartesia.speech_bytes, methods=["POST"]),
            WebSocketRoute("/transcribe", transcribe),
            WebSocketRoute("/v1/speak", deepgram.speak_stream),
            Route("/v1/speak", deepgram.speak_file, methods=["POST"]),
            Route("/", page.index),
            Mount("/page", page.PageFiles(), name="page"),
            Route("/voices", info.voices),
            Route("/backends", info.backends),
            Route("/backends/{name}/restart", restart.restart, methods=["POST"]),
            Route("/backends/{name}/restart", restart.restart_status),
            Route("/convert", convert, methods=["POST"]),
            Route("/chat", chat.about),
            Route("/chat", chat.chat, methods=["POST"]),
            Route("/loras", loras.loras),
            Route("/loras/load", loras.load, methods=["POST"]),
            Route("/loras/unload", loras.unload, methods=["POST"]),
            Route("/health", info.health),
            Route("/ready", info.ready),
            Route("/status", info.status),
            Route("/metrics", info.metrics),
            Route("/openapi.json", openapi_json, include_in_schema=False),
            Route("/docs", docs, include_in_schema=False),
        ],
        middleware=[*_middleware(house, cors), Middleware(VoxcpmPortMiddleware, ports=voxcpm_ports)],
    )
    app.state.house = house
    return app


def _middleware(house: House, cors: Sequence[str]) -> list[Middleware]:
    """From the outside in. A browser asks for leave without a token, and wants leave to read a refusal too."""
    crossing = Middleware(
        CORSMiddleware,
        allow_origins=cors,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=[REQUEST_ID, "retry-after"],
    )
    requests = Middleware(RequestsMiddleware, traffic=house.metrics.traffic)
    return [requests, *([crossing] if cors else []), Middleware(GateMiddleware, gate=house.gate)]
