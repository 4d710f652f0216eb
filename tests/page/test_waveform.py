"""The waveform: what is drawn is where it belongs, and a finished answer is played from where one points."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, tone_config, until_quiet, until_state
from tests.page.seeing import QUICK, Seen

MARKS = (
    "[...document.querySelectorAll('.waveform-mark')].map((mark) => parseFloat(mark.style.getPropertyValue('--at')))"
)
SYNTHETIC = """async () => {
  const { Take } = await import("./page/sound/take.js");
  const take = new Take({ text: "Quiet, then loud.", backend: "tone", voice: "tone", sampleRate: 24000 });
  take.append(new Int16Array(24000).fill(300));
  take.append(new Int16Array(24000).fill(20000));
  take.finish("complete");
  await voicePage.conversation.replay(take);
}"""
HEIGHTS = """canvas => [0.25, 0.75].map((part) => {
  const x = Math.round((part * canvas.width) / 3) * 3 + 1;
  const column = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height).data;
  return column.filter((value, at) => at % 4 === 3 && value > 0).length / canvas.height;
})"""


@pytest.fixture
def seen(page: Page, server: PageServer) -> Seen:
    return Seen(page, server)


def test_marks_stand_where_the_server_said_that_sentences_begin(seen: Seen) -> None:
    seen.say_all(opts={"speed": 2})
    duration_s = seen.read("take.durationS")
    told = [start["at_ms"] / 1000 / duration_s * 100 for start in seen.sentences("start")]
    assert seen.read(MARKS) == pytest.approx(told, abs=0.1)
    assert seen.page.locator(".waveform-mark").all_text_contents() == ["1", "2", "3"]


def test_bars_are_as_high_as_the_sound_is_loud(seen: Seen) -> None:
    seen.page.evaluate(SYNTHETIC)
    until_quiet(seen.page)
    seen.read("0")
    quiet, loud = seen.page.locator(".waveform-canvas").evaluate(HEIGHTS)
    assert quiet < 0.2
    assert loud == pytest.approx((20000 / 32768) ** 0.5, abs=0.05)


def test_keys_lead_from_sentence_to_sentence_and_by_seconds(seen: Seen) -> None:
    slider = seen.page.get_by_role("slider", name="Waveform")
    seen.say_all()
    starts = seen.read("take.sentences.map(({ startS }) => startS)")
    slider.focus()
    seen.page.keyboard.press("Home")
    seen.page.keyboard.press("PageDown")
    until_state(seen.page, "speaking")
    assert seen.read("c.player.heardS") == pytest.approx(starts[1], abs=0.5)
    expect(seen.page.locator(".waveform-tip")).to_contain_text("Two boats")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("of 0:0., sentence 2: Two boats came in"))
    seen.page.keyboard.press("End")
    until_quiet(seen.page)


def test_a_click_plays_from_there(seen: Seen) -> None:
    seen.say_all()
    duration_s = seen.read("take.durationS")
    view = seen.page.locator(".waveform-view")
    box = view.bounding_box()
    assert box
    view.click(position={"x": box["width"] / 2, "y": 40})
    until_state(seen.page, "speaking")
    assert duration_s / 2 - 0.1 < seen.read("c.player.heardS") < duration_s / 2 + 0.6


def test_pointing_shows_the_sentence_and_its_times(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    seen.page.locator(".waveform-view").hover(position={"x": 10, "y": 40})
    expect(seen.page.locator(".waveform-tip")).to_contain_text("1 · 0.0 s – ")
    expect(seen.page.locator(".waveform-tip")).to_contain_text("The harbour is quiet tonight.")


def test_the_button_pauses_goes_on_and_plays_again(seen: Seen) -> None:
    seen.say()
    until_state(seen.page, "speaking")
    seen.page.get_by_role("button", name="Pause").last.click()
    until_state(seen.page, "paused")
    seen.page.locator(".waveform-button").click()
    until_state(seen.page, "speaking")
    until_quiet(seen.page)
    seen.page.locator(".waveform-button").click()
    until_state(seen.page, "speaking")


def test_gaps_are_marked_with_their_length_and_counted(
    serve: Callable[..., PageServer], page: Page, tmp_path: Path
) -> None:
    config = tone_config(tmp_path, slow={"workers": 1, "options": {"speed_rtf": 1.5}})
    seen = Seen(page, serve("--config", config, "--backend", "slow", ready=("slow",)))
    expect(page.locator('[data-tile="gaps"] .number')).to_have_text("—")
    seen.say("Too slow for those who listen.", backend="slow")
    until_state(page, "speaking")
    expect(page.get_by_role("slider", name="Waveform")).to_have_attribute("aria-disabled", "true")
    until_quiet(page)
    gaps = seen.read("take.gaps")
    assert len(gaps) > 0
    expect(page.locator(".waveform-gap")).to_have_count(len(gaps))
    expect(page.locator(".waveform-gap").first).to_have_text(f"{round(gaps[0]['durationS'] * 1000)} ms")
    expect(page.locator('[data-tile="gaps"]')).to_have_attribute("data-bad", "true")
    expect(page.locator('[data-tile="gaps"] .number')).to_contain_text(f"{len(gaps)} · ")


def test_figures_are_dashes_before_they_are_known_and_then_what_was_measured(seen: Seen) -> None:
    values = seen.page.locator("#tiles .number")
    assert values.all_text_contents() == ["—"] * 7
    seen.say_all(opts=QUICK)
    first_ms, samples = seen.read("[take.stats.firstAudioMs, take.frames]")
    shown = dict(zip(seen.page.locator("#tiles dt").all_text_contents(), values.all_text_contents(), strict=True))
    assert samples == len(seen.pcm) // 2
    assert shown["First audio"] in (f"{round(first_ms)} ms", f"{first_ms / 1000:.1f} s")
    assert (shown["Samples"], shown["Gaps"], shown["Sample rate"]) == (f"{samples:,}", "0", "24 kHz")
