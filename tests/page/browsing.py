"""What all tests of the page share: a server, a browser that needs no sound card, and eyes for what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Response

from tests.harness import wait_until
from tests.server_process import HOME, ServerProcess

READY_S = 100.0  # building an environment and loading, on a busy machine
PATIENCE_MS = 20_000  # for what should happen soon; a test that needs all of it has failed
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = (
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-background-networking",
    "--mute-audio",  # the audio clock runs all the same, on a sink that needs no card
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}


@dataclass(frozen=True, slots=True)
class PageServer:
    """`python -m voice_server`, started in a folder of its own with the shipped voice samples."""

    process: ServerProcess
    folder: Path
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}/"


@contextmanager
def page_server(folder: Path, *flags: str, ready: tuple[str, ...], token: str = "") -> Iterator[PageServer]:
    """Waits until the backends `ready` can speak."""
    shutil.copytree(HOME / "voice_samples", folder / "voice_samples", dirs_exist_ok=True)
    environ = {**os.environ, "PYTHONPATH": str(HOME), "VOICE_SERVER_TOKEN": token}
    command = [sys.executable, "-m", "voice_server", "--port", "0", "--connections-per-address", "256", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ, cwd=folder)
    try:
        running = ServerProcess(process, READY_S)
        wait_until(lambda: all(f"{name} is ready" in running.stderr for name in ready), f"{ready} are ready", READY_S)
        yield PageServer(running, folder, token)
    finally:
        process.send_signal(signal.SIGINT)  # now: answers of pages that are still open are not waited for
        process.wait()
        assert process.stderr
        process.stderr.close()


def tone_config(folder: Path, **backends: dict[str, Any]) -> Path:
    """A config file of tone backends: `slow={"workers": 1, "options": {"speed_rtf": 1.5}}`."""
    adapter = {"adapter": "voice_server.backends.tone:ToneBackend"}
    config = folder / "backends.yaml"
    config.write_text(json.dumps({"backends": {name: adapter | own for name, own in backends.items()}}))  # JSON is YAML
    return config


def launch(playwright: Playwright, *flags: str) -> Browser:
    assert CHROMIUM, "no chromium in the PATH: install Debian's, or name one in CHROMIUM"
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


class Watch:
    """Everything of a page that nobody should see: errors, violations of its CSP, requests to elsewhere."""

    def __init__(self, page: Page) -> None:
        self._allowed: list[str] = []
        self._seen: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._seen.append(f"uncaught: {error.stack or error.message}"))
        page.on("request", self._on_request)
        page.on("websocket", lambda socket: self._expect_ours(socket.url, page.url))
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_failure)

    def allow(self, part: str) -> None:
        """What holds these words is meant to happen in this test."""
        self._allowed.append(part)

    @property
    def problems(self) -> list[str]:
        return [seen for seen in self._seen if not any(part in seen for part in self._allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        """A refused fetch is no error of the page, which tells of it in its own way: what it loads is watched below."""
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._seen.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.is_navigation_request():
            self._expect_ours(request.url, request.frame.url)

    def _expect_ours(self, url: str, page_url: str) -> None:
        target = urlsplit(url)
        if target.scheme not in ("blob", "data") and target.netloc != urlsplit(page_url).netloc:
            self._seen.append(f"request to elsewhere: {url}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and (response.request.resource_type != "fetch" or "/page/" in response.url):
            self._seen.append(f"{response.status}: {response.url}")

    def _on_failure(self, request: Request) -> None:
        """What the page itself is made of; all else is cancelled by people, and a load by the next one."""
        if request.resource_type in ("script", "stylesheet", "font") and request.failure != "net::ERR_ABORTED":
            self._seen.append(f"{request.failure}: {request.url}")


def say(page: Page, text: str) -> None:
    """As a person with a keyboard would."""
    page.locator("#text").fill(text)
    page.locator("#text").press("Control+Enter")


def until_state(page: Page, *states: str) -> None:
    """Of the conversation: idle, connecting, waiting, speaking or paused."""
    page.wait_for_function("states => states.includes(window.voicePage?.conversation?.state)", arg=states)


def until_heard(page: Page, seconds: float) -> None:
    page.wait_for_function("seconds => voicePage.conversation.player.heardS >= seconds", arg=seconds)


def until_quiet(page: Page) -> None:
    """The answer is complete and was heard to its end."""
    page.wait_for_function("() => voicePage.conversation.take?.state !== 'rendering'")
    until_state(page, "idle")
