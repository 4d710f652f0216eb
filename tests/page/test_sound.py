"""What is heard is what the server sent: sample by sample, from the first chunk on, and again when it is replayed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.page.browsing import PageServer, tone_config
from tests.page.talking import Talk, found_in
from tests.page.tap import Tap

TEXT = "The harbour is quiet tonight. Two boats came in before the rain. Nobody else is expected."
AT_FIRST_AUDIO = """() => talk.conversation.addEventListener("state", () => {
  const { state, take } = talk.conversation;
  if (state === "speaking") talk.atFirstAudio = [take.state, take.sentences.at(-1).state];
})"""
QUICK = {"speed": 4}  # of the tone backend: the tests play in real time


@pytest.fixture
def talk(tap: Tap, page: Page, server: PageServer) -> Talk:
    """With ears: the tap is there before the page is."""
    return Talk(page, server)


def test_what_leaves_the_audio_graph_is_what_the_server_sent(talk: Talk, tap: Tap) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    assert tap.rate() == 24000
    assert found_in(tap.heard(), talk.sounded)
    assert talk.read("take.frames") == len(talk.pcm)


def test_real_speech_leaves_the_graph_unchanged_too(talk: Talk, tap: Tap) -> None:
    talk.say(TEXT, backend="hibari")
    talk.wait_finished()
    assert found_in(tap.heard(), talk.sounded)


def test_a_take_holds_the_same_bytes(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    held = talk.page.evaluate(
        "async () => [...new Uint8Array(await (await talk.conversation.take.pcm()).arrayBuffer())]"
    )
    assert bytes(held) == talk.pcm.tobytes()


def test_all_of_an_answer_was_heard_when_it_ends(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    assert talk.read("take.stats.heardS") == talk.read("take.durationS")
    assert talk.read("[take.state, c.state, take.stats.gaps === c.player.gaps.length]") == ["complete", "idle", True]
    assert talk.read("talk.states") == ["connecting", "waiting", "speaking", "idle"]


def test_sentences_begin_and_end_where_their_samples_do(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    ends = talk.read("take.sentences.map(({ endS }) => endS)")
    starts = talk.read("take.sentences.map(({ startS }) => startS)")
    assert starts == [0, *ends[:-1]]
    assert ends[-1] == talk.read("take.durationS")
    assert " ".join(talk.read("take.sentences.map(({ text }) => text)")) == TEXT


def test_words_have_their_times_in_the_answer_and_their_place_in_the_sentence(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    second = talk.read("take.sentences[1]")
    words = second["words"]
    assert [second["text"][word["begin"] : word["end"]] for word in words] == [word["word"] for word in words]
    assert words[0]["startS"] == pytest.approx(second["startS"], abs=0.01)
    assert words[-1]["endS"] == pytest.approx(second["endS"], abs=0.01)


def test_peaks_are_those_of_each_twenty_milliseconds(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    per_peak = 480
    whole = np.pad(np.abs(talk.pcm.astype(np.int32)), (0, -len(talk.pcm) % per_peak)).reshape(-1, per_peak)
    peaks = talk.read("[...take.peaks.subarray(0, take.peakCount)]")
    assert np.allclose(peaks, whole.max(axis=1) / 32768, atol=1e-6)


def test_a_replay_is_heard_like_the_first_time(talk: Talk, tap: Tap) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    once = len(tap.pcm())
    talk.page.evaluate("() => talk.conversation.replay(talk.conversation.take)")
    talk.wait_state("idle")
    assert found_in(np.trim_zeros(tap.pcm()[once:]), talk.sounded)
    assert len(talk.read("talk.finished")) == 1


def test_a_replay_may_begin_in_the_middle(talk: Talk, tap: Tap) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    once, from_s = len(tap.pcm()), 0.5
    talk.page.evaluate("fromS => talk.conversation.replay(talk.conversation.take, { fromS })", from_s)
    talk.wait_state("speaking")
    assert talk.read("c.player.heardS") >= from_s
    talk.wait_state("idle")
    fade = 120  # it does not begin with a click
    sent = talk.pcm[int(from_s * 24000) :]
    again = np.trim_zeros(tap.pcm()[once:], "b")[-len(sent) :]
    assert np.array_equal(again[fade:], sent[fade:])


def test_a_take_that_was_stored_and_restored_plays_the_same(talk: Talk, tap: Tap) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    once = len(tap.pcm())
    talk.page.evaluate("""async () => {
      const { Take } = await import("./page/sound/take.js");
      const { take } = talk.conversation;
      window.restored = Take.restore(structuredClone(take.facts()), await take.pcm());
      await talk.conversation.replay(restored);
    }""")
    talk.wait_state("idle")
    assert found_in(np.trim_zeros(tap.pcm()[once:]), talk.sounded)
    assert talk.page.evaluate("JSON.stringify(restored.facts()) === JSON.stringify(talk.finished[0].facts())")


RING_IS_AWAY = """
  const { addModule } = AudioWorklet.prototype;
  window.isRingBack = false;
  AudioWorklet.prototype.addModule = async function (...args) {
    if (!isRingBack) throw new DOMException("Unable to load a worklet's module.", "AbortError");
    return addModule.apply(this, args);
  };
"""
REPLAY_KEPT = """async () => {
  const { Take } = await import("./page/sound/take.js");
  const take = new Take({ text: "Kept.", backend: "tone", voice: "tone", sampleRate: 24000 });
  take.append(new Int16Array(24000).fill(900));
  take.finish("complete");
  void talk.conversation.replay(take);
}"""


def test_a_replay_that_cannot_sound_says_so_and_the_next_one_is_heard(page: Page, server: PageServer) -> None:
    page.add_init_script(RING_IS_AWAY)
    talk = Talk(page, server)
    page.evaluate(REPLAY_KEPT)
    page.wait_for_function("() => talk.problems.length")
    assert talk.read("[talk.problems, talk.states, take.state]") == [["audio_failed"], ["waiting", "idle"], "complete"]
    page.evaluate("() => { isRingBack = true }")
    page.evaluate("() => void talk.conversation.replay(talk.conversation.take)")
    talk.wait_state("idle")
    assert talk.read("talk.states.slice(2)") == ["waiting", "speaking", "idle"]
    assert len(talk.read("talk.problems")) == 1


def test_first_audio_leaves_before_the_answer_is_rendered(
    tap: Tap, page: Page, serve: Callable[..., PageServer], tmp_path: Path
) -> None:
    config = tone_config(tmp_path, even={"workers": 1, "options": {"speed_rtf": 0.5, "seconds_per_char": 0.03}})
    talk = Talk(page, serve("--config", config, "--backend", "even", ready=("even",)))
    talk.page.evaluate(AT_FIRST_AUDIO)
    talk.say(TEXT)
    talk.wait_finished()
    state, last_sentence = talk.read("talk.atFirstAudio")
    assert state == "rendering"
    assert last_sentence != "rendered"
    first_ms, onset_ms = talk.read("[take.stats.firstAudioMs, take.stats.onsetMs]")
    assert 0 < first_ms <= onset_ms
    assert found_in(tap.heard(), talk.sounded)


def test_a_typed_answer_is_spoken_while_it_is_typed(talk: Talk) -> None:
    talk.say(TEXT, backend="tone", opts=QUICK, pace=10)
    talk.wait_state("speaking")
    assert talk.read("take.typedChars") < len(TEXT)
    talk.wait_finished()
    assert "".join(message.get("token", "") for message in talk.sent) == TEXT
    assert len(talk.sent) > 15


def test_a_long_text_waits_on_this_side_until_the_server_takes_it(talk: Talk, page: Page) -> None:
    text = "This is a line of a very long story that nobody will hear to its end. " * 500
    talk.say(text, backend="tone", opts=QUICK)
    page.wait_for_function("count => talk.conversation.take.typedChars === count", arg=len(text), timeout=60_000)
    assert talk.read("talk.problems") == []
    talk.stop()
    talk.wait_finished()


WITHOUT_LONG_TIMERS = """() => {
  const { setTimeout } = window;
  window.setTimeout = (act, ms) => (ms < 5000 ? setTimeout(act, ms) : 0);
}"""


def test_a_long_piece_of_code_between_two_sentences_is_passed_over(talk: Talk, page: Page) -> None:
    code = "\n```\n" + "total = total + number * number\n" * 850 + "```\n"
    page.evaluate(WITHOUT_LONG_TIMERS)  # the code is typed because the server says that it speaks none of it
    talk.say(f"Hello there.{code}How are you?", backend="tone", opts=QUICK)
    talk.wait_finished()
    assert talk.read("[take.state, take.typedChars === take.text.length, talk.problems]") == ["complete", True, []]


WITHOUT_AUDIO_THREAD = "Object.defineProperty(BaseAudioContext.prototype, 'audioWorklet', { value: undefined })"


def test_a_page_without_an_audio_thread_is_heard_too(page: Page, server: PageServer) -> None:
    """Browsers keep it from pages over plain http, as from a telephone at home."""
    page.add_init_script(WITHOUT_AUDIO_THREAD)
    talk = Talk(page, server)
    talk.say(TEXT, backend="tone", opts=QUICK)
    talk.wait_finished()
    assert talk.read("talk.states") == ["connecting", "waiting", "speaking", "idle"]
    assert talk.read("take.stats.heardS") == talk.read("take.durationS") == len(talk.pcm) / 24000


def test_a_page_that_may_not_sound_says_so_and_speaks_after_a_click(page: Page, server: PageServer) -> None:
    """A browser that waits for a click resumes nothing before."""
    page.add_init_script("""
      const { resume } = AudioContext.prototype;
      AudioContext.prototype.resume = function () {
        return window.wasClicked ? resume.call(this) : new Promise(() => this.suspend());
      };
      document.addEventListener("pointerdown", () => (window.wasClicked = true), true);
    """)
    talk = Talk(page, server)
    talk.say(TEXT, backend="tone", opts=QUICK)
    page.wait_for_function("() => talk.problems.length")
    assert talk.read("talk.problems") == ["audio_blocked"]
    page.mouse.click(20, 20)
    talk.wait_finished()
    assert talk.read("take.stats.heardS") == talk.read("take.durationS")
