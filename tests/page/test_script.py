"""The text follows what is heard: word by word, honestly before words are known, and after a barge-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, tone_config, until_heard, until_quiet, until_state
from tests.page.seeing import QUICK, TEXT, Seen

ROUNDING_S = 0.005
LIT = "[c.player.heardS, document.querySelector('.word.is-heard')?.textContent ?? '']"
EMOJI = "Yes 👍 it is. And\n\nthen  some: 👩‍🚀 too!"


@pytest.fixture
def seen(page: Page, server: PageServer) -> Seen:
    return Seen(page, server)


def _words_at(seen: Seen, head_s: float) -> set[str]:
    """What the server's times say is heard there, and just beside it."""
    starts = {told["index"]: told["at_ms"] for told in seen.sentences("start")}
    return {
        word["word"]
        for told in seen.sentences("end")
        for word in told["words"]
        if _in_s(starts[told["index"]] + word["start_ms"]) - ROUNDING_S <= head_s
        and head_s < _in_s(starts[told["index"]] + word["end_ms"]) + ROUNDING_S
    }


def _in_s(ms: float) -> float:
    return ms / 1000


def test_the_highlighted_word_is_the_one_that_is_heard(seen: Seen) -> None:
    seen.say(opts={"speed": 0.5})
    lit: list[str] = []
    for position_s in (0.5, 2.0, 4.0):
        until_heard(seen.page, position_s)
        seen.page.evaluate("() => voicePage.conversation.pause()")
        head_s, word = seen.read(LIT)
        assert word in _words_at(seen, head_s)
        lit.append(word)
        seen.page.evaluate("() => voicePage.conversation.resume()")
    assert len(set(lit)) == 3


def test_before_its_words_are_known_only_the_sentence_is_lit(
    serve: Callable[..., PageServer], page: Page, tmp_path: Path
) -> None:
    config = tone_config(tmp_path, slow={"workers": 1, "options": {"speed_rtf": 0.8}})
    seen = Seen(page, serve("--config", config, "--backend", "slow", ready=("slow",)))
    seen.say("This sentence is long enough to be watched while it is being rendered.", backend="slow")
    until_heard(page, 0.2)
    state, words = seen.read("[take.sentences[0].state, document.querySelectorAll('.word').length]")
    assert (state, words) == ("arriving", 0)
    expect(page.locator('.sentence[data-state="now"]')).to_have_count(1)
    expect(page.locator("#script")).to_contain_text("slow-0")


@pytest.mark.parametrize("text", [TEXT, EMOJI, f"  {TEXT}\n\n  {TEXT} "])
def test_every_character_stands_there_once(seen: Seen, text: str) -> None:
    seen.say_all(text, opts=QUICK)
    assert seen.page.locator(".script-text").evaluate("element => element.textContent") == text


def test_a_word_after_an_emoji_is_marked_at_its_own_letters(seen: Seen) -> None:
    seen.say("👍👍 harbour", opts={"speed": 0.5})
    seen.page.wait_for_function("() => document.querySelector('.word.is-heard')")
    shown = seen.page.locator(".word").all_text_contents()
    assert "harbour" in shown


def test_what_was_not_typed_yet_looks_so_and_disappears(seen: Seen) -> None:
    untyped = seen.page.locator('[data-state="untyped"]')
    seen.say(opts=QUICK, pace=20)
    expect(untyped).to_contain_text("expected.")
    assert seen.page.locator(".script-text").evaluate("element => element.textContent") == TEXT
    until_quiet(seen.page)
    expect(untyped).to_have_text("")


def test_what_was_heard_stays_what_was_not_is_struck_out(seen: Seen) -> None:
    seen.say(opts={"speed": 0.5})
    until_heard(seen.page, 1.5)
    seen.page.evaluate("() => voicePage.conversation.stop()")
    seen.page.wait_for_function("() => voicePage.conversation.take.spokenText !== null")
    struck = seen.read("[...document.querySelectorAll('.script-text s')].map((part) => part.textContent).join(' ')")
    spoken = next(told for told in seen.messages if told["type"] == "cancelled")["spoken_text"].strip()
    assert TEXT.startswith(spoken)
    assert struck.split() == TEXT[len(spoken) :].split()


def test_sentences_say_in_words_what_becomes_of_them(seen: Seen) -> None:
    seen.say(opts={"speed": 0.5})
    until_heard(seen.page, 0.2)
    states = seen.read("[...document.querySelectorAll('.sentence')].map((part) => part.dataset.state)")
    assert states[0] == "now"
    assert set(states[1:]) <= {"waiting", "rendering", "ready"}
    until_quiet(seen.page)
    assert set(seen.read("[...document.querySelectorAll('.sentence')].map((part) => part.dataset.state)")) == {"heard"}
    expect(seen.page.locator(".sentence").first).to_have_attribute("title", "Heard")


def test_the_end_of_a_sentence_is_told_to_screen_readers(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    expect(seen.page.locator('#script [aria-live="polite"]')).to_have_text("Sentence 3 of 3 is over.")


def test_it_follows_the_voice_until_the_person_scrolls(seen: Seen) -> None:
    box: Any = seen.page.locator(".script-text")
    follow = seen.page.get_by_role("button", name="Follow the voice")
    seen.say(TEXT * 20, opts=QUICK)
    seen.page.wait_for_function("() => document.querySelector('.script-text').scrollTop > 20")
    box.hover()
    seen.page.mouse.wheel(0, -5000)
    expect(follow).to_be_visible()
    seen.page.wait_for_function("() => document.querySelector('.script-text').scrollTop === 0")
    heard_s = seen.read("c.player.heardS")
    until_heard(seen.page, heard_s + 0.5)
    assert box.evaluate("element => element.scrollTop") == 0
    follow.click()
    seen.page.wait_for_function("() => document.querySelector('.script-text').scrollTop > 20")
    until_state(seen.page, "speaking")
