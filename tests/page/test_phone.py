"""On a phone the page is one column that fits, and fingers hit what they mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.page.browsing import PHONE, PageServer, say, until_quiet

SMALLEST_PX = 40  # of what a finger hits; WCAG 2.2 asks for 24, phones' makers for 44 and 48
SMALL_TARGETS = """smallest => {
  const targets = document.querySelectorAll("a[href], button, input, select, textarea, summary, [role=slider]");
  const touched = (target) => target.closest("label") ?? target.labels?.[0] ?? target;
  return [...targets]
    .filter((target) => target.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .map((target) => [target, touched(target).getBoundingClientRect(), target.getBoundingClientRect()])
    .map(([target, label, box]) => [target, Math.max(label.width, box.width), Math.max(label.height, box.height), box])
    .filter(([, width, height, box]) => box.width > 1 && box.right > 0 && (width < smallest || height < smallest))
    .map(([target, width, height]) => `${Math.round(width)}x${Math.round(height)} ${target.outerHTML.slice(0, 120)}`);
}"""
OVERFLOWING = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility())
  .filter((one) => !one.closest("[data-scrolls]"))
  .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def phone(new_page: Callable[..., Any], server: PageServer) -> Page:
    page: Page = new_page(**PHONE)[0]
    page.goto(server.url)
    say(page, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk. And more.")
    until_quiet(page)
    return page


@pytest.mark.parametrize("width", [390, 360])
def test_nothing_is_wider_than_the_screen(phone: Page, width: int) -> None:
    phone.set_viewport_size({"width": width, "height": 844})
    assert phone.evaluate("document.documentElement.scrollWidth") <= width, phone.evaluate(OVERFLOWING)


def test_everything_to_tap_is_as_large_as_a_finger(phone: Page) -> None:
    assert phone.evaluate(SMALL_TARGETS, SMALLEST_PX) == []


def test_the_answer_was_heard_with_a_tap_on_say(phone: Page) -> None:
    heard = phone.evaluate("voicePage.conversation.take.stats.heardS")
    phone.locator("#composer .button.primary").first.tap()
    until_quiet(phone)
    assert phone.evaluate("voicePage.conversation.take.stats.heardS") == pytest.approx(heard, abs=0.2)


def test_the_sections_follow_each_other_from_the_text_to_the_pool(phone: Page) -> None:
    order = ["composer", "stage", "voices", "history", "pool"]
    tops = [phone.locator(f"#{part}").bounding_box() for part in order]
    assert [
        part for part, box in sorted(zip(order, tops, strict=True), key=lambda pair: (pair[1] or {}).get("y", 0))
    ] == order
