"""Between page and server: what was understood reaches the page when a test says so, however fast the machine is."""

from __future__ import annotations

import json

from playwright.sync_api import Page, WebSocketRoute

from tests.harness import wait_until


class LateText:
    """Keeps back every `final` of the utterances of `page`. Ask for it before the page is opened."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._kept: list[tuple[WebSocketRoute, str]] = []
        self._socket: WebSocketRoute | None = None  # the newest
        page.route_web_socket("**/transcribe", self._relay)

    def let_one_through(self) -> None:
        """Once it is there."""
        wait_until(self._has_one, "an utterance was written down")
        socket, message = self._kept.pop(0)
        socket.send(message)

    def fail(self) -> None:
        """What is being said comes to nothing, as where its worker dies twice."""
        assert self._socket is not None
        self._socket.send(json.dumps({"type": "error", "code": "hearing_failed", "message": "no worker survived it"}))

    def _has_one(self) -> bool:
        if not self._kept:
            self._page.wait_for_timeout(20)  # while the messages come in
        return bool(self._kept)

    def _relay(self, socket: WebSocketRoute) -> None:
        self._socket, server = socket, socket.connect_to_server()
        socket.on_message(server.send)
        server.on_message(lambda message: self._from_server(message, socket))

    def _from_server(self, message: str | bytes, socket: WebSocketRoute) -> None:
        if isinstance(message, str) and '"final"' in message:
            self._kept.append((socket, message))
        else:
            socket.send(message)
