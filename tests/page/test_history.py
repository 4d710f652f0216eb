"""What was said is kept: across reloads, within limits, from older databases, and as far as the browser allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.page.browsing import PageServer, until_heard, until_quiet, until_state
from tests.page.seeing import QUICK, TEXT, Seen
from tests.page.talking import found_in
from tests.page.tap import Tap

REFUSED = """const open = () => { throw new DOMException("not in this window", "SecurityError"); };
Object.defineProperty(window, "indexedDB", { value: { open } });"""
NO_BLOBS = """{
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = function (value) {
    const hasBlob = Object.values(value).some((part) => part instanceof Blob);
    if (hasBlob) throw new DOMException("BlobURLs are not yet supported.", "DataCloneError");
    return put.call(this, value);
  };
}"""
ADD_WITHOUT_BLOBS = f"""async () => {{
  const {{ openHistory }} = await import("./page/speak/history.js");
  const {{ Take }} = await import("./page/sound/take.js");
  const history = await openHistory();
  {NO_BLOBS}
  const take = new Take({{ text: "Half of it.", backend: "tone", voice: "tone", sampleRate: 24000 }});
  take.append(new Int16Array(10));
  take.finish("complete");
  const problem = await history.add(take).catch(({{ name }}) => name);
  return [history.isKept, problem, await history.list()];
}}"""
ADD = """async ([atMost, takes]) => {
  const { openHistory } = await import("./page/speak/history.js");
  const { Take } = await import("./page/sound/take.js");
  const history = await openHistory(atMost);
  for (const { id, at, frames } of takes) {
    const take = new Take({ id, at, text: `Take ${id}.`, backend: "tone", voice: "tone", sampleRate: 24000 });
    take.append(new Int16Array(frames).fill(at));
    take.finish("complete");
    await history.add(take);
  }
  const kept = (await history.list()).map(({ id }) => id);
  const sounds = await Promise.all(takes.map(async ({ id }) => (await history.get(id))?.frames ?? null));
  return [kept, sounds];
}"""
OLD_DATABASE = """() => new Promise((resolve) => {
  const request = indexedDB.open("voice-gateway", 7);
  request.onupgradeneeded = () => {
    const takes = request.result.createObjectStore("takes", { keyPath: "id" });
    const [about, shape] = [{ id: "old", at: 1, text: "From before.", backend: "tone", voice: "tone" }, [0, 1]];
    takes.put({ ...about, shape, state: "complete", durationS: 1, bytes: 48000 });
  };
  request.onsuccess = () => resolve(request.result.close());
})"""
ENTRY = "#history .history-entry"


@pytest.fixture
def seen(tap: Tap, page: Page, server: PageServer) -> Seen:
    """With ears, also after a reload."""
    return Seen(page, server)


def _takes(*frames: int) -> list[dict[str, Any]]:
    return [{"id": f"{at}", "at": at, "frames": count} for at, count in enumerate(frames, 1)]


def test_after_a_reload_the_same_samples_are_played(seen: Seen, tap: Tap) -> None:
    seen.say_all(opts=QUICK)
    expect(seen.page.locator(ENTRY)).to_have_count(1)
    seen.page.reload()
    seen.page.locator(f"{ENTRY} .history-play").click()
    until_state(seen.page, "speaking")
    until_quiet(seen.page)
    assert found_in(tap.heard(), np.frombuffer(seen.pcm, "<i2"))


def test_a_kept_answer_has_its_words_and_figures_too(seen: Seen) -> None:
    seen.say_all(opts=QUICK)
    expect(seen.page.locator(ENTRY)).to_have_count(1)
    facts = "({ sentences: take.sentences, stats: take.stats, text: take.text, peaks: take.peakCount })"
    before = seen.read(facts)
    seen.page.reload()
    seen.page.locator(f"{ENTRY} .history-play").click()
    until_state(seen.page, "speaking")
    assert seen.read(facts) == before
    assert seen.page.locator(".script-text").evaluate("element => element.textContent") == TEXT


def test_the_oldest_go_when_there_are_too_many(seen: Seen) -> None:
    kept, sounds = seen.page.evaluate(ADD, [{"takes": 3, "bytes": 10**9}, _takes(10, 20, 30, 40, 50)])
    assert kept == ["5", "4", "3"]
    assert sounds == [None, None, 30, 40, 50]


def test_the_oldest_go_when_they_are_too_large_together(seen: Seen) -> None:
    kept, _ = seen.page.evaluate(ADD, [{"takes": 50, "bytes": 130}, _takes(40, 30, 50, 10)])
    assert kept == ["4", "3"]


def test_one_that_is_larger_than_all_room_costs_no_other(seen: Seen) -> None:
    kept, _ = seen.page.evaluate(ADD, [{"takes": 50, "bytes": 200}, _takes(40, 5000)])
    assert kept == ["1"]


def test_a_database_of_another_version_is_completed_and_keeps_what_it_has(new_page: Any, server: PageServer) -> None:
    page, _ = new_page()
    page.goto(f"{server.url}health")
    page.evaluate(OLD_DATABASE)
    seen = Seen(page, server)
    expect(page.locator(ENTRY)).to_contain_text("From before.")
    seen.say_all(opts=QUICK)
    expect(page.locator(ENTRY)).to_have_count(2)


@pytest.mark.parametrize("refusal", [REFUSED, NO_BLOBS], ids=["no database", "no sound in it"])
def test_a_browser_that_keeps_nothing_says_so_and_the_list_works(page: Page, server: PageServer, refusal: str) -> None:
    """No sound, but facts, is WebKit in a private window: webkit.org/b/156347."""
    page.add_init_script(refusal)
    seen = Seen(page, server)
    expect(page.locator("#history")).to_contain_text("This browser keeps nothing here")
    seen.say_all(opts=QUICK)
    page.locator(f"{ENTRY} .history-play").click()
    until_state(page, "speaking")
    expect(page.locator(".toast")).to_have_count(0)


def test_an_answer_whose_sound_is_refused_leaves_no_entry(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}health")
    assert page.evaluate(ADD_WITHOUT_BLOBS) == [True, "DataCloneError", []]


def test_what_was_cut_off_is_listed_as_that(seen: Seen) -> None:
    seen.say()
    until_heard(seen.page, 0.5)
    seen.page.evaluate("() => voicePage.conversation.stop()")
    expect(seen.page.locator(ENTRY)).to_contain_text("cut off")


def test_one_is_deleted_at_once_and_all_after_a_question(seen: Seen) -> None:
    for text in ("The first.", "The second.", "The third."):
        seen.say_all(text, opts=QUICK)
    entries = seen.page.locator(ENTRY)
    expect(entries).to_have_count(3)
    entries.first.hover()
    seen.page.get_by_role("button", name="Delete: The third.").click()
    expect(entries).to_have_count(2)
    seen.page.get_by_role("button", name="Clear all").click()
    seen.page.get_by_role("button", name="Cancel").click()
    expect(entries).to_have_count(2)
    seen.page.get_by_role("button", name="Clear all").click()
    seen.page.get_by_role("button", name="Delete all").click()
    expect(entries).to_have_count(0)
    seen.page.reload()
    expect(seen.page.locator("#history .history-note")).to_be_visible()
    expect(entries).to_have_count(0)
