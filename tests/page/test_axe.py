"""People who see, hear or move differently use the page too: axe-core finds nothing serious, in any of its looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.page.browsing import PHONE, PageServer, say, until_quiet

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
    "chinese": {"locale": "zh-CN", "color_scheme": "dark"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_serious_is_found_in_a_page_that_has_spoken(
    new_page: Callable[..., Any], server: PageServer, look: str
) -> None:
    page, _ = new_page(**LOOKS[look], reduced_motion="reduce")
    page.goto(server.url)
    say(page, "One sentence. And another one.")
    until_quiet(page)
    assert serious(page) == []


def test_nothing_serious_is_found_in_the_dialog_that_asks_for_the_token(
    page: Page, serve: Callable[..., PageServer]
) -> None:
    page.goto(serve("--backend", "tone", ready=("tone",), token="a-token").url)
    page.locator("dialog[open]").wait_for()
    assert serious(page) == []


def test_what_is_wrong_would_be_found(page: Page, server: PageServer) -> None:
    page.goto(server.url)
    page.evaluate("() => document.querySelector('main').append(document.createElement('button'))")
    assert [finding.split(":")[0] for finding in serious(page)] == ["button-name"]


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['help']}: {' | '.join(node['html'][:160] for node in rule['nodes'])}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
