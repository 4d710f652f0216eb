"""The ear of the other tests hears exactly what is played, and their eyes see what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import Page

from tests.page.browsing import PageServer
from tests.page.tap import Tap

PLAY_A_RAMP = """async () => {
  const context = new AudioContext({ sampleRate: 24000 });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([""], { type: "text/javascript" })));
  const buffer = context.createBuffer(1, 12000, 24000);
  buffer.getChannelData(0).forEach((_, at, samples) => (samples[at] = (at - 6000) / 32768));
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  await new Promise((resolve) => (source.onended = resolve));
}"""


def test_what_is_connected_to_the_loudspeakers_is_heard_to_the_sample(page: Page, server: PageServer, tap: Tap) -> None:
    page.goto(f"{server.url}health")
    page.evaluate(PLAY_A_RAMP)
    assert tap.rate() == 24000
    assert np.array_equal(tap.heard(), np.arange(12000, dtype=np.int16) - 6000)


def test_an_uncaught_error_and_a_request_to_elsewhere_are_problems(
    new_page: Callable[..., Any], server: PageServer
) -> None:
    page, watch = new_page()
    page.route("http://elsewhere.invalid/**", lambda route: route.fulfill(body=""))
    page.goto(f"{server.url}health")
    with page.expect_request("http://elsewhere.invalid/x"), page.expect_event("pageerror"):
        page.evaluate(
            "() => { fetch('http://elsewhere.invalid/x').catch(() => 0); setTimeout(() => { throw Error('oh') }) }"
        )
    seen = " ".join(watch.problems)
    watch.allow("elsewhere")
    watch.allow("oh")
    assert "uncaught: Error: oh" in seen
    assert "request to elsewhere: http://elsewhere.invalid/x" in seen
