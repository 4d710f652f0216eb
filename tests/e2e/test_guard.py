"""What a client gets when its engine fails without saying so: never nothing, and never noise in place of an error."""

from __future__ import annotations

import wave
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import Answer, ask, eventually, running_server, tone_bytes, tone_config
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

FIRST, SECOND = "The quick brown fox jumps over the lazy dog.", "And then it sleeps all day."
FAULTS = ["silence", "clip", "short", "nan", "inf"]


async def _ask(python: Path, fault: str, *texts: str, config: BackendConfig | None = None, **options: Any) -> Answer:
    async with running_server(config or tone_config(**options), python) as server:
        return await ask(server.ws, {"opts": {"fault": fault}}, {"token": " ".join(texts), "done": True})


async def _tts(python: Path, fault: str, config: BackendConfig | None = None) -> httpx.Response:
    async with running_server(config or tone_config(), python) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            return await client.post("/tts", json={"text": FIRST, "opts": {"fault": fault}})


@pytest.mark.parametrize("fault", ["silence", "short"])
async def test_a_bad_first_rendering_of_a_sentence_is_never_heard(
    tone_python: Path, tmp_path: Path, fault: str
) -> None:
    answer = await _ask(tone_python, f"once={tmp_path}/struck;{fault}", FIRST, first_chunk_s=0.01)
    if fault == "silence":
        assert (answer.codes, answer.audio) == ([], tone_bytes(FIRST))
        assert len(answer.of_type("generating")) == 2
    else:  # a click is heard before anybody knows that nothing follows
        assert answer.codes == ["bad_audio"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_sentence_that_nobody_hears_yet_is_rendered_again(
    tone_python: Path, tmp_path: Path, fault: str
) -> None:
    response = await _tts(tone_python, f"once={tmp_path}/struck;{fault}")
    assert response.status_code == 200
    with wave.open(BytesIO(response.content)) as file:
        assert file.readframes(file.getnframes()) == tone_bytes(FIRST)


async def test_the_second_rendering_is_another_workers(tone_python: Path, tmp_path: Path) -> None:
    fault = f"once={tmp_path}/struck;silence"
    async with running_server(tone_config(workers=2), tone_python) as server:
        pool = server.backend.pool
        await eventually(lambda: all(slot.state == "ready" for slot in pool.slots), "both workers are there")
        answer = await ask(server.ws, {"opts": {"fault": fault}}, {"token": FIRST, "done": True})
    assert {told["worker"] for told in answer.of_type("generating")} == {"tone-0", "tone-1"}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_file_of_which_a_sentence_is_bad_twice_is_an_error(tone_python: Path, fault: str) -> None:
    response = await _tts(tone_python, f";{fault}")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "bad_audio")


async def test_a_second_bad_rendering_fails_the_sentence_and_the_answer_goes_on(
    tone_python: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    answer = await _ask(tone_python, f"while={tmp_path}/broken;silence", FIRST, SECOND)
    assert answer.codes == ["bad_audio"] * 2
    assert [told["sentence"] for told in answer.of_type("error")] == [0, 1]
    assert answer.audio == b""
    assert answer.messages[-1] == {"type": "done"}


@pytest.mark.parametrize("fault", ["clip", "nan@1"])
async def test_audio_that_turns_out_bad_after_it_was_heard_ends_with_an_error(tone_python: Path, fault: str) -> None:
    answer = await _ask(tone_python, f";{fault}", FIRST)
    assert answer.codes == ["bad_audio"]
    assert answer.audio
    assert len(answer.of_type("generating")) == 1


async def test_a_bad_sentence_is_not_kept_to_be_said_again(tone_python: Path, tmp_path: Path) -> None:
    config = replace(tone_config(), cache_mib=1)
    fault = f"once={tmp_path}/struck;nan@1"
    async with running_server(config, tone_python) as server:
        answers = [await ask(server.ws, {"opts": {"fault": fault}}, {"token": FIRST, "done": True}) for _ in range(2)]
    assert [answer.codes for answer in answers] == [["bad_audio"], []]
    assert answers[1].audio == tone_bytes(FIRST)


async def test_a_backend_may_mean_its_silence(tone_python: Path) -> None:
    answer = await _ask(tone_python, ";silence", FIRST, config=replace(tone_config(), guard=False))
    assert answer.codes == []
    assert answer.audio == bytes(len(tone_bytes(FIRST)))


async def test_an_answer_of_which_nothing_can_be_spoken_says_so(tone_python: Path) -> None:
    answer = await _ask(tone_python, "", "😀 👍")
    assert answer.codes == ["empty_text"]
    assert answer.messages[-1] == {"type": "done"}
