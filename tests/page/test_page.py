"""The page as a person uses it: write, say, stop, choose, come back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.page.browsing import PageServer, Watch, say, tone_config, until_quiet, until_state
from tests.page.crowd import crowd

LONG = "This sentence takes a while to be spoken, so that there is time to look at it. " * 5
KEY = "s3cret"


@pytest.fixture
def sockets(page: Page) -> list[str]:
    """The addresses of the WebSockets that the page opened."""
    opened: list[str] = []

    def on_socket(socket: WebSocket) -> None:
        opened.append(socket.url)

    page.on("websocket", on_socket)
    return opened


def test_the_page_says_that_the_server_is_ready(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    expect(page).to_have_title("Voice gateway")
    expect(page.locator("#lamp .lamp")).to_have_attribute("data-state", "ready")
    expect(page.locator("#lamp")).to_have_text("Ready", use_inner_text=True)


def test_what_is_said_is_spoken_and_done(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.locator("#text").fill("Hello there. How are you?")
    page.get_by_role("button", name="Say it").click()
    expect(page.locator("#status")).to_have_text("Speaking")
    until_quiet(page)
    expect(page.locator("#status")).to_contain_text(re.compile(r"^Done: 1\.\d s of speech, the first sound after"))


def test_escape_is_silence(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    say(page, LONG)
    until_state(page, "speaking")
    page.keyboard.press("Escape")
    until_state(page, "idle")
    expect(page.locator("#status")).to_contain_text("Stopped after")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_disabled()


def test_a_pause_ends_where_it_began(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    say(page, LONG)
    until_state(page, "speaking")
    page.locator("#composer").get_by_role("button", name="Pause").click()
    expect(page.locator("#status")).to_have_text("Paused")
    page.locator("#composer").get_by_role("button", name="Go on").click()
    expect(page.locator("#status")).to_have_text("Speaking")


def test_nothing_to_say_is_told_with_what_to_do(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    say(page, "  ")
    expect(page.get_by_role("alert")).to_contain_text("There is nothing to say.")
    say(page, "Now there is.")
    expect(page.get_by_role("alert")).to_be_empty()


def test_an_error_of_the_server_is_told_in_words_and_can_be_closed(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.locator("summary", has_text="Options").click()
    page.locator("#option-fault").fill("raise@0")
    say(page, "This goes wrong.")
    toast = page.locator(".toast[data-code=sentence_failed]")
    expect(toast).to_contain_text("A sentence could not be spoken.")
    expect(toast).to_contain_text("Write it in another way")
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)


def test_an_example_takes_the_place_of_the_text(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Story").click()
    expect(page.locator("#text")).to_have_value(re.compile("^The lighthouse keeper"))
    expect(page.locator("#text")).to_be_focused()


def test_a_text_over_the_limit_cannot_be_sent(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.locator("#text").fill("🙂" * (200 * 1024))
    expect(page.locator("#say")).to_be_enabled()
    page.locator("#text").fill("🙂" * (200 * 1024 + 1))
    expect(page.locator("#say")).to_be_disabled()
    expect(page.locator(".composer-count")).to_have_text("204,801 of 204,800 characters")


def test_everything_chosen_is_there_after_a_reload(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    page.locator("#text").fill("Keep this.")
    page.get_by_label("Type like an LLM").check()
    page.get_by_label("Pace").fill("50")
    page.get_by_label("Backend").select_option("hibari")
    page.get_by_role("button", name="Theme: like the system").click()
    page.reload()
    expect(page.locator("#text")).to_have_value("Keep this.")
    expect(page.get_by_label("Type like an LLM")).to_be_checked()
    expect(page.locator("#composer output")).to_have_text("50 tokens/s")
    expect(page.get_by_label("Backend")).to_have_value("hibari")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_another_backend_speaks_what_is_said_next(server: PageServer, page: Page, sockets: list[str]) -> None:
    page.goto(server.url)
    say(page, "One.")
    until_quiet(page)
    page.get_by_label("Backend").select_option("hibari")
    say(page, "Two.")
    until_quiet(page)
    assert ["backend=tone" in sockets[0], "backend=hibari" in sockets[-1]] == [True, True]
    assert page.evaluate("() => voicePage.conversation.take.backend") == "hibari"


def test_a_typing_model_sends_token_by_token(server: PageServer, page: Page) -> None:
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    page.goto(server.url)
    page.get_by_label("Type like an LLM").check()
    page.get_by_label("Pace").fill("5")
    say(page, "One two three four five.")
    until_quiet(page)
    assert len([frame for frame in sent if '"token"' in frame]) >= 3  # a busy machine sends late ones together


def test_the_token_is_asked_for_until_it_is_right(serve: Callable[..., PageServer], page: Page) -> None:
    server = serve("--backend", "tone", ready=("tone",), token=KEY)
    page.goto(server.url)
    dialog = page.get_by_role("dialog", name="This server asks for a token")
    dialog.get_by_label("Token").fill("wrong")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog).to_contain_text("not the right one")
    dialog.get_by_label("Token").fill(KEY)
    dialog.get_by_role("button", name="Open").click()
    expect(page.locator("#lamp")).to_contain_text("Ready")
    say(page, "I may speak.")
    until_state(page, "speaking")
    page.reload()
    expect(page.locator("#lamp")).to_contain_text("Ready")
    expect(dialog).to_have_count(0)


def test_who_types_no_token_is_not_asked_all_the_time(serve: Callable[..., PageServer], page: Page) -> None:
    page.goto(serve("--backend", "tone", ready=("tone",), token=KEY).url)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("#lamp")).to_contain_text("Token needed")
    for _ in range(2):
        with page.expect_response("**/backends"):
            pass
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Reconnect").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_server_that_was_away_is_found_again(server: PageServer, page: Page) -> None:
    page.goto(server.url)
    expect(page.locator("#lamp")).to_contain_text("Ready")
    page.route("**/backends", lambda route: route.abort())
    page.evaluate("() => voicePage.backends.refresh()")
    expect(page.locator("#lamp")).to_contain_text("Server is away")
    page.unroute("**/backends")
    page.get_by_role("button", name="Reconnect").click()
    expect(page.locator("#lamp")).to_contain_text("Ready")


def test_a_backend_that_loads_is_ready_by_itself_when_it_has(
    serve: Callable[..., PageServer], page: Page, tmp_path: Path
) -> None:
    config = tone_config(tmp_path, slow={"options": {"load_s": 6}})
    server = serve("--config", config, "--backend", "slow", ready=())
    page.goto(server.url)
    expect(page.locator("#lamp .lamp")).to_have_attribute("data-state", "loading")
    expect(page.locator("#lamp .lamp")).to_have_attribute("data-state", "ready")
    expect(page.locator("#voices")).to_contain_text("Of the engine")


def test_who_waits_in_line_is_told_the_place(serve: Callable[..., PageServer], page: Page, tmp_path: Path) -> None:
    config = tone_config(tmp_path, busy={"workers": 1, "options": {"speed_rtf": 0.9}})
    server = serve("--config", config, "--backend", "busy", ready=("busy",))
    page.goto(server.url)
    with crowd(server.process.port, 3, "busy"):
        page.wait_for_function("async () => (await voicePage.api.get('status')).backends[0].streams.length === 3")
        say(page, "And me?")
        expect(page.locator("#status")).to_contain_text("Waiting in line, place")


def test_the_console_of_a_visit_is_clean(server: PageServer, page: Page, watch: Watch) -> None:
    page.goto(server.url)
    expect(page.locator("#voices .voice")).not_to_have_count(0)
    assert watch.problems == []
