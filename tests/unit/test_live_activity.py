"""When somebody speaks and when an utterance is over: the page's own pure modules, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

LIVE = Path(__file__).parents[2] / "voice_server" / "gateway" / "static" / "live"
BLOCK_S = 0.02
# `sound` is a list of [seconds, loudness]: a square wave of that RMS. `at` is the time of the end of a block.
RUN = """
import { Activity } from "./activity.js";
import { Utterances } from "./utterances.js";
const [sound, actions] = JSON.parse(process.argv[2]);
const block = 320, told = [];
let at = 0;
const note = (name) => told.push([name, Number(at.toFixed(2))]);
const activity = new Activity(16000);
const heard = { begin: () => note("begin"), hear: (samples) => (blocks += 1), end: () => note("end") };
const utterances = new Utterances(16000, heard);
let [was, blocks] = [false, 0];
for (const [seconds, loudness] of sound) {
  for (let n = 0; n < Math.round(seconds * 50); n += 1) {
    at += block / 16000;
    for (const [when, name] of actions) if (Math.abs(when - at) < 0.001) utterances[name]();
    const samples = Float32Array.from({ length: block }, (_, k) => (k % 2 ? loudness : -loudness));
    if (activity.push(samples) !== was) note((was = !was) ? "on" : "off");
    utterances.push(samples);
  }
}
console.log(JSON.stringify({ told, blocks }));
"""

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="no node here")


@pytest.fixture
def run(tmp_path: Path) -> Any:
    for name in ("activity.js", "utterances.js"):
        shutil.copy(LIVE / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(RUN)

    def listen(sound: list[tuple[float, float]], actions: list[tuple[float, str]] | None = None) -> Any:
        command = ["node", "run.js", json.dumps([sound, actions or []])]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout)

    return listen


def lamp(told: Any) -> list[list[Any]]:
    return [event for event in told["told"] if event[0] in ("on", "off")]


def cuts(told: Any) -> list[list[Any]]:
    return [event for event in told["told"] if event[0] in ("begin", "end")]


def test_speech_is_on_after_120_ms_and_off_after_220_ms_of_silence(run: Any) -> None:
    assert lamp(run([(1, 0.0), (1, 0.1), (1, 0.0)])) == [["on", 1.12], ["off", 2.22]]


def test_a_click_is_no_speech(run: Any) -> None:
    assert lamp(run([(1, 0.0), (0.1, 0.5), (1, 0.0), (0.1, 0.5), (1, 0.0)])) == []


def test_a_breath_between_two_words_does_not_end_it(run: Any) -> None:
    assert lamp(run([(1, 0.1), (0.2, 0.0), (1, 0.1), (0.2, 0.0), (1, 0.1)])) == [["on", 0.12]]


def test_what_is_between_the_levels_changes_nothing(run: Any) -> None:
    assert lamp(run([(2, 0.015)])) == []
    assert lamp(run([(1, 0.1), (2, 0.015)])) == [["on", 0.12]]


def test_what_is_between_the_levels_does_not_begin_anew_what_has_begun(run: Any) -> None:
    assert lamp(run([(0.08, 0.1), (0.04, 0.015), (0.08, 0.1)])) == [["on", 0.16]]


def test_an_utterance_has_the_half_second_before_it_and_ends_with_a_pause(run: Any) -> None:
    told = run([(2, 0.0), (1, 0.1), (3, 0.0)])
    (begin, began), (end, ended) = cuts(told)
    assert (begin, end, began) == ("begin", "end", 2.12)
    assert ended == pytest.approx(3 + 0.22 + 0.8, abs=2 * BLOCK_S)
    assert told["blocks"] * BLOCK_S == pytest.approx(0.5 + ended - began, abs=2 * BLOCK_S)


def test_a_pause_to_think_does_not_cut_an_utterance_in_two(run: Any) -> None:
    assert [name for name, _ in cuts(run([(1, 0.1), (0.8, 0.0), (1, 0.1), (2, 0.0)]))] == ["begin", "end"]


def test_silence_that_nobody_asked_for_is_not_handed_on(run: Any) -> None:
    assert run([(5, 0.005)]) == {"told": [], "blocks": 0}


def test_while_the_button_is_held_all_is_one_utterance(run: Any) -> None:
    told = run([(1, 0.0), (0.5, 0.1), (3, 0.0), (0.5, 0.1), (1, 0.0)], [(0.5, "hold"), (5.5, "end")])
    assert cuts(told) == [["begin", 0.5], ["end", 5.5]]


def test_an_utterance_that_is_ended_ends_once(run: Any) -> None:
    assert cuts(run([(1, 0.1), (3, 0.0)], [(0.8, "end"), (0.9, "end")]))[:2] == [["begin", 0.12], ["end", 0.8]]
