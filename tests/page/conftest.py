"""A real server, a real browser, and pages that may not fail in silence.

Without the group `page` nothing here is collected. Playwright's own loop runs in the main thread for as
long as it lives, so these tests share no process with those of asyncio: they are deselected unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

    from tests.page.browsing import PageServer, Watch
    from tests.page.tap import Tap

HAS_GROUP = bool(find_spec("playwright") and find_spec("axe_playwright_python"))
collect_ignore_glob = [] if HAS_GROUP else ["test_*.py"]
if HAS_GROUP:
    from playwright.sync_api import expect, sync_playwright

    from tests.page.browsing import PATIENCE_MS, Watch, launch, page_server
    from tests.page.tap import Tap

    expect.set_options(timeout=PATIENCE_MS)

BACKENDS = ("tone", "hibari")
SCREEN = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", "permissions": ["microphone"]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = Path(__file__).parent
    for item in items:
        if ours in item.path.parents:
            item.add_marker(pytest.mark.page)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """The shipped backends tone (the default) and hibari. Others look at it too: leave no voice behind."""
    flags = [part for name in BACKENDS for part in ("--backend", name)]
    with page_server(tmp_path_factory.mktemp("server"), *flags, ready=BACKENDS) as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., PageServer]]:
    """`serve("--config", path, "--backend", "slow", ready=("slow",), token="…")`: a server of this test alone."""
    with ExitStack() as servers:
        yield lambda *flags, **options: servers.enter_context(page_server(tmp_path, *map(str, flags), **options))


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright)
    yield browser
    browser.close()


@pytest.fixture
def new_page(request: pytest.FixtureRequest) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """`page, watch = new_page(color_scheme="dark")`: options are those of a context; `browser` is another browser."""
    watches: list[Watch] = []
    with ExitStack() as contexts:

        def open_one(*, browser: Browser | None = None, **options: Any) -> tuple[Page, Watch]:
            chosen = browser or request.getfixturevalue("browser")
            context = chosen.new_context(**{**SCREEN, **options})
            context.grant_permissions(["local-network-access"])  # for documents that a test answers itself
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            watches.append(Watch(page))
            return page, watches[-1]

        yield open_one
    assert [problem for watch in watches for problem in watch.problems] == []


@pytest.fixture
def _opened(new_page: Callable[..., tuple[Page, Watch]]) -> tuple[Page, Watch]:
    return new_page()


@pytest.fixture
def page(_opened: tuple[Page, Watch]) -> Page:
    """Blank, in a context of its own: `page.goto(server.url)`. Errors that nobody allowed fail the test at its end."""
    return _opened[0]


@pytest.fixture
def watch(_opened: tuple[Page, Watch]) -> Watch:
    """Of `page`: `watch.allow("WebSocket")` where a test breaks something on purpose."""
    return _opened[1]


@pytest.fixture
def tap(page: Page) -> Tap:
    """What leaves the audio graph of `page`. Ask for it before the page is opened."""
    return Tap(page)
