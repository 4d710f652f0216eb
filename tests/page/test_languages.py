"""The page speaks the reader's language, wholly, and changes it without a reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, say, until_quiet

# Words that are the same in every language: names, formats, units, keys of a keyboard, the other language's own name.
NAMES = {
    "Ctrl",
    "Enter",
    "Esc",
    "English",
    "WAV",
    "MP3",
    "LLM",
    "token",
    "PCM",
    "kHz",
    "Voice",
    "VoxCPM",
    "https",
    "localhost",
    "Apache",
    "CC",
    "BY",
}
SHOWN_TEXTS = """() => {
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (element.closest("noscript, script, textarea") || !element.checkVisibility()) continue;
    const told = ["aria-label", "title", "placeholder"].map((name) => element.getAttribute(name) ?? "");
    if (node === element) seen.push(...told);
    else seen.push(node.data);
  }
  return seen.map((text) => text.trim()).filter(Boolean);
}"""


def test_a_browser_that_reads_chinese_gets_a_page_without_english(
    new_page: Callable[..., Any], server: PageServer
) -> None:
    page, _ = new_page(locale="zh-CN")
    page.goto(server.url)
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    say(page, "你好。")
    until_quiet(page)
    assert english_in(page, server) == set()


def test_switching_the_language_changes_all_words_and_switching_back_restores_them(
    page: Page, server: PageServer
) -> None:
    page.goto(server.url)
    expect(page.locator("#history h2")).to_be_visible()  # the last part that comes: its answers are on the disk
    before = headings(page)
    choose_language(page, "zh")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    assert set(headings(page)).isdisjoint(before)
    choose_language(page, "en")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert headings(page) == before


def test_the_chosen_language_survives_a_reload(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    choose_language(page, "zh")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "zh")


def choose_language(page: Page, code: str) -> None:
    page.locator("#language select").select_option(code)


def headings(page: Page) -> list[str]:
    return [text for text in page.locator("h2").all_inner_texts() if text.strip()]


def english_in(page: Page, server: PageServer) -> set[str]:
    """Latin words that are neither names of everyone nor of this server: its backends, options, voices, transcripts."""
    told = [server.process.get(door)[1] for door in ("/backends", "/v1/audio/voices")]
    names = NAMES | set(re.findall(r"[A-Za-z]+", str(told)))
    words = {word for text in page.evaluate(SHOWN_TEXTS) for word in re.findall(r"[A-Za-z]{3,}", text)}
    return words - names
