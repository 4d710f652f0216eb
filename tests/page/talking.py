"""A page with nothing but the modules of speech, and what its socket carried: tests of sound need no buttons."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, WebSocket

from tests.page.browsing import PATIENCE_MS, PageServer

Pcm = npt.NDArray[np.int16]

QUIET = "health"  # a door that is no page: a routed blank one has no address, and may open no socket to this machine
START = """async () => {
  const { api } = await import("./page/kit/api.js");
  const { Conversation } = await import("./page/sound/conversation.js");
  const conversation = new Conversation({ api });
  window.talk = { conversation, problems: [], finished: [], states: [], queued: [] };
  conversation.addEventListener("problem", ({ detail }) => talk.problems.push(detail.code));
  conversation.addEventListener("finished", ({ detail }) => talk.finished.push(detail.take));
  conversation.addEventListener("state", () => talk.states.push(conversation.state));
}"""


class Talk:
    """`conversation` of the page, driven from here."""

    def __init__(self, page: Page, server: PageServer) -> None:
        self.page = page
        self.received: list[str | bytes] = []  # from the server, of all sockets
        self.sent: list[dict[str, Any]] = []
        page.on("websocket", self._on_socket)
        page.goto(f"{server.url}{QUIET}")
        page.evaluate(START)

    def say(self, text: str, **how: Any) -> None:
        """Returns when the text is on its way, or could not be."""
        self.page.evaluate("([text, how]) => talk.conversation.say(text, how)", [text, how])

    def stop(self) -> None:
        self.page.evaluate("() => talk.conversation.stop()")

    def wait_state(self, state: str, timeout_ms: float = PATIENCE_MS) -> None:
        self.page.wait_for_function("state => talk.conversation.state === state", arg=state, timeout=timeout_ms)

    def wait_finished(self, count: int = 1, timeout_ms: float = PATIENCE_MS) -> None:
        self.page.wait_for_function("count => talk.finished.length >= count", arg=count, timeout=timeout_ms)

    def read(self, expression: str) -> Any:
        """Of the conversation `c` and its take."""
        return self.page.evaluate(f"() => {{ const c = talk.conversation, take = c.take; return {expression}; }}")

    @property
    def pcm(self) -> Pcm:
        """All audio that the server sent."""
        return np.frombuffer(b"".join(part for part in self.received if isinstance(part, bytes)), "<i2")

    @property
    def sounded(self) -> Pcm:
        """All that a listener hears of it: where the player says that it ran dry, as on a busy machine, is silence."""
        return with_gaps(self.pcm, self.read("c.player.gaps"), self.read("c.player.frameRate"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(part) for part in self.received if isinstance(part, str)]

    def _on_socket(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: self.received.append(payload))
        socket.on("framesent", lambda payload: self.sent.append(json.loads(payload)))


def with_gaps(sent: Pcm, gaps: list[dict[str, float]], rate: int = 24000) -> Pcm:
    """What is heard when the sound runs dry in these places."""
    places = [round(gap["atS"] * rate) for gap in gaps for _ in range(round(gap["durationS"] * rate))]
    return np.insert(sent, places, 0)


def found_in(heard: Pcm, sent: Pcm) -> bool:
    """Whether one went through the audio graph unchanged, but for the zeros at both ends that nobody can tell apart."""
    return len(heard) > 0 and np.array_equal(heard, np.trim_zeros(sent))
