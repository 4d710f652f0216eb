"""The tab Talk with a server that speaks and listens: what its tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.page.browsing import PageServer, page_server


@contextmanager
def talking(folder: Path, model: dict[str, str], token: str = "") -> Iterator[PageServer]:
    """Tone speaks, pitch listens, and `model` are the variables that say which language model answers."""
    adapters = "voice_server.backends"
    backends = {
        "tone": {"adapter": f"{adapters}.tone:ToneBackend"},
        "pitch": {"adapter": f"{adapters}.pitch:PitchRecogniser", "kind": "stt"},
    }
    config = folder / "backends.yaml"
    config.write_text(json.dumps({"backends": backends}))  # JSON is YAML
    with pytest.MonkeyPatch.context() as patch:
        for name, value in model.items():
            patch.setenv(name, value)
        flags = ("--config", str(config), "--backend", "tone", "--backend", "pitch")
        with page_server(folder, *flags, ready=("tone",), token=token) as it:
            yield it


def opened(page: Page, server: PageServer) -> Page:
    page.goto(f"{server.url}#talk")
    page.wait_for_function("() => window.voicePage?.backends.chosen")
    return page


def messages(page: Page) -> list[tuple[str, str]]:
    """Who said what, as it stands there."""
    found = page.locator(".live-message").evaluate_all(
        "all => all.map((item) => [item.dataset.role, item.querySelector('.live-words').textContent])"
    )
    return [(role, text) for role, text in found]


def write(page: Page, text: str) -> None:
    page.locator("#live-draft").fill(text)
    page.locator("#live-draft").press("Control+Enter")
