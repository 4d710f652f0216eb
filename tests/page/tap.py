"""What leaves the audio graph of a page, sample by sample: the tests hear what a listener would."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, Route

HERE = Path(__file__).parent
DOCUMENT = re.compile(r"^http://[^/]+/(health)?([?#].*)?$")


class Tap:
    """Ask for it before the page is opened. One context of Web Audio after the other; `index` -1 is the newest."""

    def __init__(self, page: Page) -> None:
        self._page = page
        recorder = json.dumps((HERE / "tap_recorder.js").read_text())
        page.add_init_script(f"window.tapRecorder = {recorder};\n{(HERE / 'tap.js').read_text()}")
        page.route(DOCUMENT, _let_blobs_in)

    @property
    def contexts(self) -> int:
        return int(self._page.evaluate("() => audioTaps.length"))

    def rate(self, index: int = -1) -> int:
        return int(self._page.evaluate("index => audioTaps.at(index).context.sampleRate", index))

    def first_frame(self, index: int = -1) -> int:
        """Where on the context's own clock the recording begins: sample n left at (first_frame + n) / rate seconds."""
        return int(self._page.evaluate("index => audioTaps.at(index).firstFrame", index))

    def pcm(self, index: int = -1) -> npt.NDArray[np.int16]:
        """Everything so far, silence included."""
        return np.frombuffer(base64.b64decode(self._page.evaluate("readAudioTap", index)), "<i2")

    def heard(self, index: int = -1) -> npt.NDArray[np.int16]:
        """Without the silence at both ends."""
        pcm = self.pcm(index)
        loud = np.flatnonzero(pcm)
        return pcm[loud[0] : loud[-1] + 1] if len(loud) else pcm[:0]


def _let_blobs_in(route: Route) -> None:
    """The recorder is a blob: no test can answer in place of the server when a browser loads a worklet."""
    response = route.fetch()
    policy = response.headers.get("content-security-policy", "")
    relaxed = re.sub(r"(script-src|worker-src) ", r"\1 blob: ", policy)
    route.fulfill(response=response, headers={**response.headers, "content-security-policy": relaxed})
