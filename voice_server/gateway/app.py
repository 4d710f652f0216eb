"""The table of doors."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from voice_server.gateway import info, loras
from voice_server.gateway.house import House
from voice_server.gateway.security import GateMiddleware
from voice_server.gateway.stream_tokens import stream_tokens
from voice_server.gateway.whole_text import stream_text, tts


def build_app(house: House) -> Starlette:
    app = Starlette(
        routes=[
            WebSocketRoute("/stream-tokens", stream_tokens),
            WebSocketRoute("/stream", stream_text),
            Route("/tts", tts, methods=["POST"]),
            Route("/", info.index),
            Route("/voices", info.voices),
            Route("/backends", info.backends),
            Route("/loras", loras.loras),
            Route("/loras/load", loras.load, methods=["POST"]),
            Route("/loras/unload", loras.unload, methods=["POST"]),
            Route("/health", info.health),
            Route("/ready", info.ready),
            Route("/status", info.status),
            Route("/metrics", info.metrics),
        ],
        middleware=[Middleware(GateMiddleware, gate=house.gate)],
    )
    app.state.house = house
    return app
