"""The page asks its own server and nobody else, under a policy that would stop it, with a token and behind a proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, Watch, say, until_quiet
from tests.page.prefix_proxy import prefix_proxy

HEAR_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
ADD_INLINE_SCRIPT = """() => {
  const script = document.createElement("script");
  script.textContent = "window.broken = true";
  document.head.append(script);
}"""
TOKEN = "a token, with äöü"


def test_a_whole_answer_asks_nobody_else_and_breaks_no_policy(page: Page, server: PageServer) -> None:
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.add_init_script(HEAR_VIOLATIONS)
    response = page.goto(server.url)
    say(page, "One sentence. And another one.")
    until_quiet(page)
    assert response
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert page.evaluate("violations") == []
    assert hosts == {server.url.split("/")[2]}


def test_the_policy_stops_a_script_that_is_not_a_file_of_ours(page: Page, watch: Watch, server: PageServer) -> None:
    watch.allow("Content Security Policy")
    page.add_init_script(HEAR_VIOLATIONS)
    page.goto(server.url)
    page.evaluate(ADD_INLINE_SCRIPT)
    page.wait_for_function("() => violations.length")
    assert page.evaluate("[violations, window.broken]") == [["script-src-elem inline"], None]


def test_behind_a_token_the_page_asks_for_it_once(
    new_page: Callable[..., Any], serve: Callable[..., PageServer]
) -> None:
    page, _ = new_page()
    page.goto(serve("--backend", "tone", ready=("tone",), token=TOKEN).url)
    page.locator("dialog[open] input").fill(TOKEN)
    page.locator("dialog[open] input").press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(0)
    for _ in range(2):
        say(page, "Let me in.")
        until_quiet(page)
        assert page.evaluate("voicePage.conversation.take.durationS") > 0
        page.reload()


def test_a_proxy_may_put_the_page_under_a_prefix(page: Page, server: PageServer) -> None:
    with prefix_proxy("/voice", server.process.port) as port:
        page.goto(f"http://127.0.0.1:{port}/voice/")
        say(page, "Under a prefix.")
        until_quiet(page)
        assert page.evaluate("voicePage.conversation.take.state") == "complete"
