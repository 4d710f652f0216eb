"""The whole page, driven through its conversation, and what the server sent to it: to compare with what one sees."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page

from tests.page.browsing import PageServer, until_quiet

TEXT = "The harbour is quiet tonight. Two boats came in before the rain. Nobody else is expected."
QUICK = {"speed": 4}  # of the tone backend: the tests play in real time


class Seen:
    """A page that is open, with what its sockets carried."""

    def __init__(self, page: Page, server: PageServer) -> None:
        self.page = page
        self.messages: list[dict[str, Any]] = []
        self.pcm = b""
        page.on("websocket", lambda socket: socket.on("framereceived", self._on_frame))
        page.goto(server.url)
        page.wait_for_function("() => window.voicePage?.backends.chosen")
        page.locator("#history h2").wait_for()

    def _on_frame(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.pcm += payload
        else:
            self.messages.append(json.loads(payload))

    def say(self, text: str = TEXT, **how: Any) -> None:
        self.page.evaluate("([text, how]) => voicePage.conversation.say(text, how)", [text, {"backend": "tone", **how}])

    def say_all(self, text: str = TEXT, **how: Any) -> None:
        self.say(text, **how)
        until_quiet(self.page)

    def read(self, expression: str) -> Any:
        """Of the conversation `c` and its take, after a frame was drawn."""
        body = f"const c = voicePage.conversation, take = c.take; resolve({expression});"
        frames = "requestAnimationFrame(() => requestAnimationFrame(() => { " + body + " }))"
        return self.page.evaluate(f"() => new Promise((resolve) => {frames})")

    def sentences(self, event: str) -> list[dict[str, Any]]:
        return [told for told in self.messages if told["type"] == "sentence" and told["event"] == event]
