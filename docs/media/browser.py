"""The page as a person sees it while it speaks: a server, a browser, and a picture several times a second."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import CDPSession, Page, sync_playwright

BACKEND = "hibari"
SIZE = {"width": 1180, "height": 1000}
FPS = 8
LONGEST_S = 15.0  # of speech, should the page not say that it is over
COLOURS = 128
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")  # None: Playwright's own
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--mute-audio"]

Frames = list[tuple[Image.Image, float]]


def frames_of_page(root: Path, text: str, last_s: float) -> Frames:
    """From the press of the button to the last word."""
    with _server(root) as url, _page(url) as page:
        page.locator("#text").fill(text)
        page.get_by_label("Type like an LLM").check()
        camera = page.context.new_cdp_session(page)
        frames: Frames = [(_picture(camera), 0.8)]
        page.get_by_role("button", name="Say it").click()
        frames += _while_it_speaks(page, camera)
        return [*frames, (_picture(camera), last_s)]


def _while_it_speaks(page: Page, camera: CDPSession) -> Iterator[tuple[Image.Image, float]]:
    began = shown = time.monotonic()
    while shown - began < LONGEST_S and (page.locator("#stop").is_enabled() or shown == began):
        picture = _picture(camera)
        page.wait_for_timeout(max(0.0, shown + 1 / FPS - time.monotonic()) * 1000)
        now = time.monotonic()
        yield picture, now - shown
        shown = now


def _picture(camera: CDPSession) -> Image.Image:
    """Taken by Chromium itself: Playwright's own screenshot takes twice as long."""
    taken = camera.send("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": True})
    return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")


@contextmanager
def _page(url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="dark", locale="en-US")
        page.goto(url)
        page.get_by_text("Ready", exact=True).first.wait_for()
        yield page
        browser.close()


@contextmanager
def _server(root: Path) -> Iterator[str]:
    """The address of its page, as soon as it can speak."""
    command = [sys.executable, "-m", "voice_server", "--backend", BACKEND, "--pool-size", "2", "--port", "0"]
    server = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        yield next(line.split()[1] for line in server.stderr if line.startswith("Page "))
    finally:
        server.terminate()
        server.communicate()


def palette_of(frames: Frames) -> Image.Image:
    """The colours of them all, found in eight."""
    images = [frames[len(frames) * part // 8][0] for part in range(8)]
    width, height = images[0].size
    collage = Image.new("RGB", (width, height * len(images)))
    for number, image in enumerate(images):
        collage.paste(image, (0, number * height))
    return collage.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
