"""An hour of speech in one page: no gap, no drift, and no more memory at its end than after a few minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import CDPSession, Page, WebSocket

from tests.page.browsing import PageServer, tone_config

HASTE = 16  # hours in an hour: the audio clock of the page runs so much faster
RATE = 24000
CHAR_S = 0.06
ANSWER = "Nobody knows how many ships have passed this light since it was built by hand. " * 12  # 57 s
STORY = "Nobody knows how many ships have passed this light since it was built by hand. " * 400  # 32 minutes
ANSWERS = 32
FIVE_MINUTES = 300
HEAP_GROWTH_BYTES = 4 * 2**20
RSS_GROWTH_BYTES = 60 * 2**20

HURRY = f"""(() => {{
  const Real = window.AudioContext;
  window.contexts = [];
  window.AudioContext = class extends Real {{
    constructor({{ sampleRate, ...others }}) {{
      super({{ ...others, sampleRate: sampleRate * {HASTE} }});
      window.contexts.push(this);
    }}
  }};
}})();"""

# Counts and lets go of each take, as a page does whose history is full.
COUNT = """async () => {
  const { api } = await import("./page/kit/api.js");
  const { Conversation } = await import("./page/sound/conversation.js");
  const conversation = new Conversation({ api });
  const { player } = conversation;
  const hour = (window.hour = { conversation, heardS: 0, madeS: 0, gaps: [], answers: 0, problems: [], drifts: [] });
  conversation.addEventListener("problem", ({ detail }) => hour.problems.push(detail.code));
  conversation.addEventListener("finished", ({ detail: { take } }) => {
    hour.heardS += take.stats.heardS;
    hour.madeS += take.durationS;
    hour.gaps.push(...take.gaps);
    hour.answers += 1;
    if (hour.left-- > 0) conversation.say(hour.text);
  });
  player.addEventListener("progress", () => {
    const clockS = contexts.at(-1).currentTime * HASTE;
    if (player.bufferedS > 0) hour.drifts.push(clockS - player.heardS);
    if (hour.drifts.length > 2000) hour.drifts.splice(1000, 500);
  });
}""".replace("HASTE", str(HASTE))


def renderers_bytes() -> int:
    """Resident memory of all pages of this process's browsers."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children if "--type=renderer" in " ".join(child.cmdline()))


def heap_bytes(session: CDPSession) -> int:
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return int(next(metric["value"] for metric in metrics if metric["name"] == "JSHeapUsedSize"))


class Hour:
    def __init__(self, page: Page, server: PageServer) -> None:
        self.page = page
        self.sent_bytes = 0
        page.on("websocket", self._on_socket)
        page.add_init_script(HURRY)
        page.goto(f"{server.url}health")
        page.evaluate(COUNT)
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def read(self, expression: str) -> Any:
        return self.page.evaluate(f"() => {{ const c = hour.conversation; return {expression}; }}")

    def play(self, text: str, answers: int = 1) -> None:
        self.page.evaluate(
            "([text, left]) => { Object.assign(hour, { text, left }); hour.conversation.say(text) }",
            [text, answers - 1],
        )

    def wait(self, condition: str, argument: float) -> None:
        self.page.wait_for_function(f"value => {condition}", arg=argument, timeout=400_000, polling=500)

    def memory(self) -> tuple[int, int]:
        return heap_bytes(self._session), renderers_bytes()

    def _on_socket(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._count)

    def _count(self, payload: str | bytes) -> None:
        self.sent_bytes += len(payload) if isinstance(payload, bytes) else 0


@pytest.mark.release
@pytest.mark.timeout(900)
def test_an_hour_of_speech_grows_no_memory_and_loses_no_sample(
    page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    # Whole sentences in a chunk: at this haste one of 80 ms would be heard before the next is on its way.
    config = tone_config(tmp_path, quick={"workers": 2, "options": {"seconds_per_char": CHAR_S, "chunk_ms": 5000}})
    hour = Hour(page, serve("--config", config, "--backend", "quick", ready=("quick",)))

    hour.play(ANSWER, ANSWERS)
    hour.wait("hour.heardS > value", FIVE_MINUTES)
    heap, rss = hour.memory()
    hour.wait("hour.answers === value", ANSWERS)
    hour.play(STORY)
    hour.wait("hour.conversation.player.heardS > value", FIVE_MINUTES)
    early = hour.read("hour.drifts.at(-1)")
    hour.wait("hour.answers === value", ANSWERS + 1)
    late = hour.read("hour.drifts.at(-1)")
    heap_at_end, rss_at_end = hour.memory()

    heard_s = hour.read("hour.heardS")
    print(
        f"heap {heap / 2**20:.1f} → {heap_at_end / 2**20:.1f} MiB, RSS {rss / 2**20:.0f} → {rss_at_end / 2**20:.0f} MiB"
    )
    print(f"heard {heard_s:.1f} s, drift {late - early:.4f} s, gaps {hour.read('hour.gaps')}")
    assert heard_s >= 3600
    assert heard_s * RATE == pytest.approx(hour.sent_bytes / 2, abs=1)
    assert hour.read("[hour.gaps, hour.problems]") == [[], []]
    assert heap_at_end - heap < HEAP_GROWTH_BYTES
    assert rss_at_end - rss < RSS_GROWTH_BYTES
    assert late - early == pytest.approx(0, abs=0.25)
