"""A barge-in is silence at once, on both sides. Sound that runs dry is told to the sample; so is a lost connection."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, WebSocketRoute

from tests.harness import wait_until
from tests.page.browsing import PageServer, Watch, tone_config
from tests.page.talking import Pcm, Talk, found_in, with_gaps
from tests.page.tap import Tap

RATE = 24000
FADE = 120  # frames: 5 ms
LONG = "This sentence is one of very many that nobody is going to hear to its end. " * 20
SHORT = "Something else is said now."
ROOM_AT_PAUSES = """async () => {
  const { player } = talk.conversation;
  const rooms = [];
  for (let at = 0; at < 100; at += 1) {
    player.pause();
    rooms.push(player.room);
    player.resume();
    await new Promise((resolve) => setTimeout(resolve, 7));
  }
  return rooms;
}"""


@pytest.fixture
def talk(tap: Tap, page: Page, server: PageServer) -> Talk:
    """With ears: the tap is there before the page is."""
    return Talk(page, server)


def wait_heard(talk: Talk, seconds: float) -> None:
    talk.page.wait_for_function("s => talk.conversation.player.heardS > s", arg=seconds)


def wait_clock(talk: Talk, seconds: float) -> None:
    """Until the loudspeakers got so much more."""
    now = talk.read("audioTaps.at(-1).context.currentTime")
    talk.page.wait_for_function("s => audioTaps.at(-1).context.currentTime > s", arg=now + seconds)


def equal_frames(heard: Pcm, sent: Pcm) -> int:
    """How many the two begin with in common."""
    length = min(len(heard), len(sent))
    differing = np.flatnonzero(heard[:length] != sent[:length])
    return int(differing[0]) if len(differing) else length


def since_cancelled(talk: Talk) -> Pcm:
    """What the server sent after the last `cancelled`."""
    at = max(n for n, part in enumerate(talk.received) if isinstance(part, str) and '"cancelled"' in part)
    return np.frombuffer(b"".join(part for part in talk.received[at:] if isinstance(part, bytes)), "<i2")


def backend(server: PageServer, name: str) -> Any:
    return next(entry for entry in server.process.get("/status")[1]["backends"] if entry["name"] == name)


def test_after_a_stop_nothing_but_the_fade_leaves_the_graph(talk: Talk, tap: Tap) -> None:
    talk.say(LONG, backend="tone")
    wait_heard(talk, 0.5)
    talk.stop()
    wait_clock(talk, 0.5)
    heard = tap.heard()
    whole = equal_frames(heard, talk.pcm)
    assert whole > 0.4 * RATE
    assert 0 < len(heard) - whole <= FADE
    assert (np.abs(heard[whole:].astype(int)) <= np.abs(talk.pcm[whole : len(heard)].astype(int))).all()


def test_a_stop_is_silence_within_ten_milliseconds(talk: Talk, tap: Tap) -> None:
    talk.say(LONG, backend="tone")
    wait_heard(talk, 0.5)
    stopped_s, ahead_s = talk.page.evaluate("""() => {
      const { context } = audioTaps.at(-1);
      const asked = [context.currentTime, context.baseLatency];
      talk.conversation.stop();
      return asked;
    }""")
    wait_clock(talk, 0.5)
    last_s = (tap.first_frame() + np.flatnonzero(tap.pcm())[-1]) / RATE
    assert last_s - stopped_s < 0.010 + 2 * ahead_s  # the device asks for a buffer ahead: that is not ours any more


def test_the_server_is_told_and_renders_no_more(talk: Talk, server: PageServer) -> None:
    talk.say(LONG, backend="tone")
    wait_heard(talk, 0.5)
    talk.stop()
    talk.wait_finished()
    assert {"cancel": True} in talk.sent
    wait_until(lambda: all(not worker["open_renders"] for worker in backend(server, "tone")["workers"]), "free workers")
    wait_until(lambda: all(not stream["waiting"] for stream in backend(server, "tone")["streams"]), "nothing in line")


def test_a_take_that_was_cut_off_knows_what_was_heard_of_it(talk: Talk) -> None:
    talk.say(LONG, backend="tone")
    wait_heard(talk, 1.5)
    talk.stop()
    talk.wait_finished()
    spoken, heard_s = talk.read("[take.spokenText, take.stats.heardS]")
    assert spoken
    assert LONG.startswith(spoken)
    assert 1.5 <= heard_s < talk.read("take.durationS")


def test_a_stop_before_the_first_audio_leaves_nothing(talk: Talk, tap: Tap) -> None:
    talk.page.evaluate("text => void talk.conversation.say(text, { backend: 'tone' })", LONG)
    talk.stop()
    talk.wait_finished()
    assert talk.read("[take.state, take.frames, c.state]") == ["cancelled", 0, "idle"]
    talk.page.wait_for_function("() => audioTaps.length")
    wait_clock(talk, 0.3)
    assert not len(tap.heard())


def test_the_next_answer_has_no_sample_of_the_old_one(talk: Talk, tap: Tap) -> None:
    talk.say(LONG, backend="tone")
    wait_heard(talk, 0.5)
    talk.say(SHORT, backend="tone")
    talk.wait_finished(2)
    own = since_cancelled(talk)
    assert talk.read("take.frames") == len(own)
    sounded = with_gaps(own, talk.read("take.gaps"))
    assert found_in(tap.heard()[-len(np.trim_zeros(sounded)) :], sounded)
    assert talk.read("talk.finished.map(({ text }) => text)") == [LONG, SHORT]


class LateCancel:
    """Between page and server: a `cancel` reaches the server only after it has sent three more pieces of audio."""

    def __init__(self, page: Page) -> None:
        self.late = 0  # pieces
        self.own: list[bytes] = []  # of the answer after the cancelled one
        self._held: list[str | bytes] = []
        page.route_web_socket("**/stream-tokens?*", self._relay)

    def _relay(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda message: self._from_page(message, server))
        server.on_message(lambda message: self._from_server(message, server, socket))

    def _from_page(self, message: str | bytes, server: WebSocketRoute) -> None:
        if self._held or '"cancel"' in str(message):
            self._held.append(message)
        else:
            server.send(message)

    def _from_server(self, message: str | bytes, server: WebSocketRoute, socket: WebSocketRoute) -> None:
        socket.send(message)
        if isinstance(message, bytes):
            self.own.append(message)
            self.late += bool(self._held)
        elif '"cancelled"' in message:
            self.own.clear()
        if self.late == 3:
            for held in self._held:
                server.send(held)
            self._held.clear()


def test_audio_on_its_way_when_it_was_interrupted_is_not_heard(
    tap: Tap, page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    config = tone_config(tmp_path, even={"workers": 1, "options": {"speed_rtf": 0.5}})
    line = LateCancel(page)
    talk = Talk(page, serve("--config", config, "--backend", "even", ready=("even",)))
    talk.say(LONG)
    wait_heard(talk, 0.3)
    talk.say(SHORT)
    talk.wait_finished(2)
    own = np.frombuffer(b"".join(line.own), "<i2")
    assert line.late == 3
    assert talk.read("take.frames") == len(own)
    assert talk.read("take.sentences.map(({ text }) => text)") == [SHORT]


def test_five_answers_in_a_hurry_leave_only_the_last(talk: Talk, tap: Tap) -> None:
    texts = [*(f"{number}. {LONG}" for number in range(4)), SHORT]
    talk.page.evaluate("texts => { for (const text of texts) talk.conversation.say(text, { backend: 'tone' }) }", texts)
    talk.wait_finished(5)
    assert talk.read("[take.text, take.state, c.state]") == [SHORT, "complete", "idle"]
    assert found_in(tap.heard(), talk.sounded)
    assert len(talk.pcm) == talk.read("take.frames")


def test_a_pause_keeps_the_place(talk: Talk) -> None:
    talk.say(SHORT, backend="tone")
    wait_heard(talk, 0.5)
    talk.page.evaluate("() => talk.conversation.pause()")
    wait_clock(talk, 0.1)
    paused = talk.read("[c.player.heardS, c.player.gaps.length]")
    wait_clock(talk, 0.5)
    assert talk.read("[c.player.heardS, c.player.gaps.length]") == paused
    talk.page.evaluate("() => talk.conversation.resume()")
    talk.wait_finished()
    assert talk.read("[take.stats.heardS === take.durationS, take.stats.gaps]") == [True, paused[1]]


def test_sound_that_runs_dry_is_told_to_the_sample(
    tap: Tap, page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    config = tone_config(tmp_path, slow={"workers": 1, "options": {"speed_rtf": 1.5, "chunk_ms": 200}})
    talk = Talk(page, serve("--config", config, "--backend", "slow", ready=("slow",)))
    talk.say(SHORT)
    talk.wait_finished()
    gaps = talk.read("take.gaps")
    assert len(gaps) >= 3
    assert found_in(tap.heard(), with_gaps(talk.pcm, gaps))
    assert talk.read("[take.stats.gaps, take.state]") == [len(gaps), "complete"]
    assert talk.read("take.stats.gapS") == pytest.approx(sum(gap["durationS"] for gap in gaps))
    assert talk.read("take.stats.realTimeFactor") == pytest.approx(1.5, rel=0.3)


def test_a_connection_lost_in_the_middle_is_told_and_what_came_is_heard(
    tap: Tap, page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    config = tone_config(tmp_path, even={"workers": 1, "options": {"speed_rtf": 0.8}})
    server = serve("--config", config, "--backend", "even", ready=("even",))
    talk = Talk(page, server)
    talk.say(LONG)
    wait_heard(talk, 0.5)
    server.process.send(signal.SIGKILL)
    talk.wait_finished()
    assert talk.read("talk.problems") == ["connection_lost"]
    assert talk.read("[take.state, c.state, take.stats.heardS === take.durationS]") == ["failed", "idle", True]
    assert found_in(tap.heard(), with_gaps(talk.pcm, talk.read("take.gaps")))


def test_a_server_that_is_away_is_told(
    tap: Tap, page: Page, watch: Watch, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    watch.allow("ERR_CONNECTION_REFUSED")
    config = tone_config(tmp_path, even={"workers": 1})
    server = serve("--config", config, "--backend", "even", ready=("even",))
    talk = Talk(page, server)
    talk.page.evaluate("() => import('./page/sound/speech.js')")
    server.process.send(signal.SIGKILL)
    server.process.wait()
    talk.say(SHORT)
    assert talk.read("talk.problems") == ["unreachable"]
    assert talk.read("[take.state, c.state, talk.finished.length]") == ["failed", "idle", 1]


def test_the_socket_is_opened_anew_for_the_next_answer(talk: Talk) -> None:
    talk.say(SHORT, backend="tone", opts={"speed": 4})
    talk.wait_finished()
    talk.say(SHORT, backend="hibari")
    talk.wait_finished(2)
    assert talk.read("talk.finished.map(({ backend }) => backend)") == ["tone", "hibari"]
    assert [message["backend"] for message in talk.messages if message["type"] == "ready"] == ["tone", "hibari"]


def test_a_refused_voice_is_told_and_the_usual_one_speaks(talk: Talk) -> None:
    talk.say(SHORT, backend="tone", voice="nobody", opts={"speed": 4})
    talk.wait_finished()
    assert talk.read("talk.problems") == ["unknown_voice"]
    assert talk.read("take.state") == "complete"


def test_a_full_ring_takes_no_part_of_a_frame(talk: Talk) -> None:
    """Where the listener is between two reports is reckoned, no whole number: half a frame was pushed for ever."""
    talk.say(LONG, backend="tone")
    wait_heard(talk, 0.5)
    rooms = talk.page.evaluate(ROOM_AT_PAUSES)
    assert [room for room in rooms if room != int(room)] == []
    talk.stop()
    talk.wait_state("idle")
