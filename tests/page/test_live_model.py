"""The tab Talk where a language model answers: a small one of our own, on a real port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.harness import wait_until
from tests.language_model import Model, language_model
from tests.page.browsing import PageServer, until_quiet, until_state
from tests.page.talk_tab import messages, opened, talking, write

KEY = "s3cret"
# Clicked by the page itself: on a busy machine a second passes between what is seen from here and what is done.
STOP_AFTER_A_SECOND = """() => {
  const isTime = voicePage.conversation.player.heardS > 1;
  if (isTime) document.querySelector("#live-stop").click();
  return isTime;
}"""


def said_by_model(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with language_model() as running:
        yield running


@pytest.fixture(scope="module")
def thinker(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    with talking(tmp_path_factory.mktemp("thinker"), model.environ) as running:
        yield running


@pytest.fixture
def asking(page: Page, thinker: PageServer, model: Model) -> Page:
    model.tokens, model.pace_s, model.status, model.breaks = said_by_model("The kettle is on."), 0.0, 200, False
    model.asked.clear()
    opened(page, thinker)
    expect(page.locator("#live-send")).to_have_text("Ask kettle-1")
    return page


def test_a_model_s_answer_is_spoken_while_it_is_written(asking: Page, model: Model) -> None:
    model.tokens, model.pace_s = said_by_model("One moment please. " + "And then there is this. " * 8), 0.15
    write(asking, "What is the matter?")
    expect(asking.locator('[data-lamp="thinking"]')).to_have_class(re.compile("is-on"))
    until_state(asking, "speaking")
    expect(asking.locator('[data-lamp="thinking"]')).to_have_class(re.compile("is-on"))  # it still writes
    asking.wait_for_function("() => voicePage.conversation.take.state === 'complete'")
    assert messages(asking) == [("you", "What is the matter?"), ("voice", "".join(model.tokens))]
    expect(asking.locator('[data-lamp="thinking"]')).not_to_have_class(re.compile("is-on"))


def test_the_model_sees_what_was_said_before(asking: Page, model: Model) -> None:
    for text in ("First.", "Second."):
        write(asking, text)
        until_quiet(asking)
    told = [(message["role"], message["content"]) for message in model.asked[-1]["messages"][1:]]
    assert told == [("user", "First."), ("assistant", "The kettle is on."), ("user", "Second.")]


def test_a_model_that_is_interrupted_stops_and_knows_what_was_heard(asking: Page, model: Model) -> None:
    model.tokens, model.pace_s, before = (
        said_by_model("This is heard. " + "This is not. " * 700),
        0.05,
        model.broken_off,
    )
    write(asking, "Go on.")
    asking.wait_for_function(STOP_AFTER_A_SECOND)
    wait_until(lambda: model.broken_off > before, "the model is told")
    expect(asking.locator('.live-message[data-state="cut"] s')).not_to_be_empty()
    write(asking, "And now?")
    wait_until(lambda: len(model.asked) == 2, "it is asked again")
    heard = model.asked[-1]["messages"][2]["content"]
    assert heard.startswith("This is heard.")
    assert len(heard) < 60


def test_speak_it_leaves_the_model_out(asking: Page, model: Model) -> None:
    asking.locator("#live-draft").fill("Say just this.")
    asking.get_by_role("button", name="Speak it").click()
    until_state(asking, "speaking")
    assert messages(asking) == [("voice", "Say just this.")]
    assert model.asked == []


def test_a_model_that_fails_is_told_in_words(asking: Page, model: Model) -> None:
    model.status = 429
    write(asking, "Anyone?")
    expect(asking.locator(".toast[data-code=model_failed]")).to_contain_text("quota")
    expect(asking.locator('.live-message[data-role="voice"]')).to_have_attribute("data-state", "failed")
    model.status = 200
    write(asking, "And now?")
    until_state(asking, "speaking")


def test_a_model_that_could_not_be_asked_for_at_first_is_known_when_the_token_is_typed(
    page: Page, model: Model, tmp_path: Path
) -> None:
    with talking(tmp_path, model.environ, token=KEY) as server:
        dialog = page.get_by_role("dialog", name="This server asks for a token")
        with page.expect_response("**/chat") as refused:
            page.goto(f"{server.url}#talk")
            dialog.get_by_role("button", name="Cancel").click()
        assert refused.value.status == 401
        page.get_by_role("button", name="Reconnect").click()
        dialog.get_by_label("Token").fill(KEY)
        dialog.get_by_role("button", name="Open").click()
        expect(page.locator("#live-send")).to_have_text("Ask kettle-1")
