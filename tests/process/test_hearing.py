"""Audio to text through real worker processes; the engine is `pitch`, which writes down how high each beep was."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, FAST_WORKER, eventually
from tests.process.hearing_driver import RATE, Client, beeps, listening, pitch_config, words
from voice_server.core.errors import BadOption, HearingFailed, Overloaded
from voice_server.core.options import OptionSpec
from voice_server.core.text.hearing import HearingDone, HearingProblem

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TUNE = (440, 880, 1320, 660)


def text_of(end: HearingDone | HearingProblem) -> str:
    assert isinstance(end, HearingDone), end
    return end.text


async def test_audio_becomes_text_with_its_times(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        end = await Client(recogniser).say(beeps(*TUNE))
    assert isinstance(end, HearingDone)
    assert end.text == words(*TUNE)
    assert end.duration_s == pytest.approx(2.0)
    assert [round(segment.start_s, 2) for segment in end.segments] == [0.0, 0.5, 1.0, 1.5]
    assert [round(segment.end_s, 2) for segment in end.segments] == [0.2, 0.7, 1.2, 1.7]


async def test_text_is_told_while_more_is_heard_and_only_ever_grows(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        client = Client(recogniser)
        client.hearing.hear(beeps(440, 880))
        await eventually(lambda: bool(client.texts) and client.texts[-1].text == words(440, 880), "both were told")
        assert client.last is None
        end = await client.say(beeps(1320))
    told = [text.text for text in client.texts]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(told))
    assert text_of(end) == words(440, 880, 1320)


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
async def test_other_rates_are_heard_as_well(tone_python: Path, rate: int) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        end = await Client(recogniser, rate=rate).say(beeps(*TUNE, rate=rate))
    assert text_of(end) == words(*TUNE)


async def test_many_hearings_of_one_worker_do_not_mix(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(capacity=8)) as recogniser:
        clients = {hz: Client(recogniser) for hz in range(400, 1200, 100)}
        ends = await asyncio.gather(*(client.say(beeps(hz, hz + 50)) for hz, client in clients.items()))
    assert [text_of(end) for end in ends] == [words(hz, hz + 50) for hz in clients]


async def test_who_finds_no_seat_waits_for_one(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(capacity=1)) as recogniser:
        first, second = Client(recogniser), Client(recogniser)
        second.hearing.hear(beeps(880))
        second.hearing.finish()
        assert text_of(await first.say(beeps(440))) == "440hz"
        assert text_of(await second.end()) == "880hz"


async def test_a_client_that_fills_the_line_keeps_nobody_out(tone_python: Path) -> None:
    limits = replace(FAST, hearing=replace(FAST.hearing, waiting_per_worker=3))
    async with listening(tone_python, pitch_config(capacity=1), limits) as recogniser:
        eves = [Client(recogniser, limits, name="eve") for _ in range(5)]
        assert [type(eve.last) for eve in eves] == [*[type(None)] * 4, HearingProblem], "one has the seat, three wait"
        bob = Client(recogniser, limits, name="bob")
        assert isinstance(eves[3].last, HearingProblem) and isinstance(eves[3].last.error, Overloaded)
        bob.hearing.hear(beeps(880))
        bob.hearing.finish()
        assert text_of(await eves[0].say(beeps(440))) == "440hz"
        assert text_of(await eves[1].say(beeps(550))) == "550hz"
        assert text_of(await bob.end()) == "880hz", "in turns, and not after all who came earlier"
        assert eves[2].last is None
        assert text_of(await eves[2].say(beeps(660))) == "660hz"


async def test_who_waits_too_long_is_told_to_come_again(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.1))
    async with listening(tone_python, pitch_config(capacity=1), limits) as recogniser:
        first, second = Client(recogniser), Client(recogniser, limits)
        end = await second.end()
        first.hearing.close()
    assert isinstance(end, HearingProblem)
    assert isinstance(end.error, Overloaded)


async def test_who_loses_its_seat_and_finds_no_other_is_told_to_come_again(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.1))
    never_again = replace(FAST_WORKER, backoff_first_s=3600.0, backoff_max_s=3600.0)
    async with listening(tone_python, pitch_config(workers=2, capacity=1, limits=never_again), limits) as recogniser:
        clients = Client(recogniser, limits), Client(recogniser, limits)
        os.kill(recogniser.pool.slots[1].pid, signal.SIGKILL)
        await eventually(lambda: any(client.last for client in clients), "one of them is told")
        (end,) = filter(None, (client.last for client in clients))
        for client in clients:
            client.hearing.close()
    assert isinstance(end, HearingProblem)
    assert isinstance(end.error, Overloaded)


async def test_who_loses_the_only_worker_waits_for_the_next_one_however_long_it_loads(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.001))
    async with listening(tone_python, pitch_config(), limits) as recogniser:
        client = Client(recogniser, limits)
        os.kill(recogniser.pool.slots[0].pid, signal.SIGKILL)
        assert text_of(await client.say(beeps(440))) == "440hz"


async def test_a_worker_that_dies_costs_one_more_and_no_word(tone_python: Path, tmp_path: Path) -> None:
    async with listening(tone_python, pitch_config(workers=2)) as recogniser:
        client = Client(recogniser)
        client.hearing.hear(beeps(440, 880))
        await eventually(lambda: bool(client.texts) and client.texts[-1].text == words(440, 880), "both were told")
        client.hearing.hear(beeps(1320, pause_s=0.01))  # not settled yet
        os.kill(next(slot.pid for slot in recogniser.pool.slots if slot.open_renders), signal.SIGKILL)
        end = await client.say(b"\0\0" * 8000 + beeps(660))
    assert isinstance(end, HearingDone)
    assert end.text == words(440, 880, 1320, 660)
    assert end.segments[2].start_s == pytest.approx(1.0, abs=0.021)


async def test_audio_that_kills_two_workers_fails_alone(tone_python: Path) -> None:
    config = replace(pitch_config(workers=2), opts={"fault": OptionSpec("str", default="")})
    async with listening(tone_python, config) as recogniser:
        poisonous, innocent = Client(recogniser, fault="die"), Client(recogniser)
        end = await poisonous.say(beeps(440))
        assert isinstance(end, HearingProblem)
        assert isinstance(end.error, HearingFailed)
        assert text_of(await innocent.say(beeps(880))) == "880hz"


async def test_an_engine_that_hangs_is_replaced(tone_python: Path, tmp_path: Path) -> None:
    fault = f"once={tmp_path / 'struck'};hang"
    config = pitch_config(fault=fault, limits=replace(FAST_WORKER, first_chunk_s=0.5, chunk_gap_s=0.5))
    async with listening(tone_python, config) as recogniser:
        assert text_of(await Client(recogniser).say(beeps(440))) == "440hz"
        assert recogniser.pool.slots[0].restarts == 1


async def test_a_hearing_that_has_nothing_to_do_is_no_hanging_one(tone_python: Path) -> None:
    config = pitch_config(limits=replace(FAST_WORKER, first_chunk_s=0.3, chunk_gap_s=0.2, ping_every_s=0.1))
    async with listening(tone_python, config) as recogniser:
        client = Client(recogniser)
        client.hearing.hear(beeps(440))
        await eventually(lambda: bool(client.texts), "it was heard")
        await asyncio.sleep(1.0)  # several times the patience with one that owes something
        assert recogniser.pool.slots[0].restarts == 0
        assert text_of(await client.say(beeps(880))) == words(440, 880)


async def test_audio_beyond_what_the_worker_bears_is_dropped_and_that_is_told(tone_python: Path) -> None:
    limits = replace(FAST, hearing=replace(FAST.hearing, backlog_s=1.0))
    async with listening(tone_python, pitch_config(work_s=0.5), limits) as recogniser:
        client = Client(recogniser, limits)
        for _ in range(10):
            client.hearing.hear(beeps(440))
        assert client.dropped is not None
        assert client.dropped.dropped_s == pytest.approx(4.0)
        assert client.dropped.backlog_s == pytest.approx(1.0)
        client.hearing.finish()
        assert text_of(await client.end()) == words(440, 440)


async def test_who_sends_a_file_waits_for_room_and_loses_nothing(tone_python: Path) -> None:
    limits = replace(FAST, hearing=replace(FAST.hearing, backlog_s=1.0))
    async with listening(tone_python, pitch_config(work_s=0.05), limits) as recogniser:
        client = Client(recogniser, limits)
        for _ in range(10):
            await client.hearing.room()
            client.hearing.hear(beeps(440))
        client.hearing.finish()
        assert text_of(await client.end()) == words(*[440] * 10)
        assert client.dropped is None


async def test_a_client_that_leaves_frees_its_seat(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(capacity=1)) as recogniser:
        leaving = Client(recogniser)
        leaving.hearing.hear(beeps(440))
        leaving.hearing.close()
        assert text_of(await Client(recogniser).say(beeps(880))) == "880hz"
        assert leaving.last is None


async def test_an_option_that_there_is_not_is_refused_at_once(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        with pytest.raises(BadOption):
            Client(recogniser, model="large")


async def test_silence_ends_with_no_text(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        assert text_of(await Client(recogniser).say(bytes(2 * RATE))) == ""
