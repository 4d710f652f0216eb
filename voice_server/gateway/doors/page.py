"""The page for people: `/` where HTML is asked for, and `/page/…` with what it is made of.

Its files are in `static/` and are served as they are: there is no build step. They load nothing from elsewhere, and
every URL in them is relative, so that a reverse proxy may put the gateway under a prefix.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from voice_server.gateway.doors import info
from voice_server.gateway.security import asks_for_page

STATIC = Path(__file__).parents[1] / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # asked for each time and answered by ETag: a new version shows at once
}


async def index(request: Request) -> Response:
    """The page for who asks for HTML; for programs, who speaks, with how many voices, at which rate."""
    if asks_for_page(request):
        return FileResponse(STATIC / "index.html", headers={**_HEADERS, "vary": "accept"})
    response = await info.index(request)
    response.headers["vary"] = "accept"
    return response


class PageFiles(StaticFiles):
    """The files of the page; a folder is not listed."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await super().__call__(scope, receive, send_guarded)
