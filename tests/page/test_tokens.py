"""Text is typed as a language model types it: the same characters, in pieces, at the pace asked for."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.page.browsing import PageServer

TEXTS = [
    "Hello there. How are you?",
    "  Two  spaces,\n\na paragraph\tand an end. ",
    "Unbelievably internationalised words — “quoted”, 1234567 and 3.14!",
    "今天天气很好，我们去公园吧。Then English again.",
    "Привет, мир! नमस्ते दुनिया। 👩‍👩‍👧 family",
    "```js\nconst a = [1, 2];\n```",
    "",
]


@pytest.fixture
def quiet(page: Page, server: PageServer) -> Page:
    page.goto(f"{server.url}health")
    page.evaluate("async () => { Object.assign(window, await import('./page/sound/tokens.js')) }")
    return page


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_joined_are_the_text(quiet: Page, text: str) -> None:
    assert "".join(quiet.evaluate("text => tokensOf(text)", text)) == text


def test_words_take_their_space_along_and_long_ones_come_in_pieces(quiet: Page) -> None:
    tokens = quiet.evaluate("() => tokensOf('So unbelievably long, 12345')")
    assert tokens == ["So", " unb", "elie", "vabl", "y", " long", ",", " 123", "45"]


def test_chinese_comes_character_by_character(quiet: Page) -> None:
    assert quiet.evaluate("() => tokensOf('你好，世界')") == ["你", "好", "，", "世", "界"]


def test_a_page_that_slept_catches_up_and_keeps_its_pace(quiet: Page) -> None:
    """50 tokens at 100 a second take half a second, also when the page does nothing at all for most of it."""
    took_ms, sent, messages = quiet.evaluate("""() => new Promise((resolve) => {
      const messages = [];
      const from = performance.now();
      const send = (text, isLast) => {
        messages.push(text);
        if (isLast) resolve([performance.now() - from, messages.join(""), messages.length]);
      };
      new Typist("a ".repeat(25).trim() + " b".repeat(25), { pace: 100, send }).start();
      while (performance.now() - from < 400);
    })""")
    assert sent == ("a " * 25).strip() + " b" * 25
    assert messages < 50
    assert 490 <= took_ms < 850  # 900 if late timers added up


def test_typing_waits_for_a_reader_who_cannot_take_more(quiet: Page) -> None:
    sent = quiet.evaluate("""() => {
      let room = 2500, sent = "";
      const send = (text) => { sent += text; room -= text.length; };
      const typist = new Typist("word ".repeat(2000), { pace: null, send, mayType: () => room > 0 });
      typist.start();
      const before = sent.length;
      room = 100_000;
      typist.nudge();
      return [before, sent.length];
    }""")
    assert 2500 <= sent[0] < 5000
    assert sent[1] == 10_000
