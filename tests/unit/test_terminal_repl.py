from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from tests.unit.scripted_session import ScriptedSession, one_second
from voice_server.terminal.narrator import Narrator
from voice_server.terminal.repl import Repl, completions
from voice_server.terminal.session import CannotConnect, Session

VOICES = ["heart", "hush", "river"]


class House:
    """A place that opens a scripted session for each line, and remembers them."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.sessions: list[ScriptedSession] = []
        self.queries: list[dict[str, object]] = []
        self._is_open = is_open

    async def connect(self, **query: object) -> Session:
        if not self._is_open:
            raise CannotConnect("nobody is there")
        self.queries.append(query)
        self.sessions.append(ScriptedSession(one_second))
        return self.sessions[-1]


def typed(house: House, lines: Iterable[str | type[BaseException]]) -> Narrator:
    """Runs a REPL over these lines; an exception is a key such as Ctrl-C."""
    narrator, keys = Narrator(connect=house.connect), iter(lines)

    async def read_line() -> str:
        line = next(keys, EOFError)
        if isinstance(line, str):
            return line
        raise line

    asyncio.run(Repl(narrator, VOICES, read_line).run())
    return narrator


def test_each_line_is_an_answer_of_its_own() -> None:
    house = House()
    typed(house, ["Hello.", "  ", "How are you?"])
    assert [session.text for session in house.sessions] == ["Hello.", "How are you?"]
    assert all(session.closed for session in house.sessions)


def test_each_line_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    typed(House(), ["Hello."])
    first, done = capsys.readouterr().out.splitlines()
    assert first.startswith("first audio ")
    assert "real-time factor" in done


def test_a_voice_holds_for_the_lines_after_it() -> None:
    house = House()
    typed(house, ["One.", "/voice river", "Two.", "/voice", "Three."])
    assert house.queries == [{}, {"voice": "river"}, {}]


def test_options_gather_until_they_are_forgotten() -> None:
    house = House()
    typed(house, ["/opt speed=1.5", "/opt warm", "One.", "/opt", "Two."])
    assert house.sessions[0].sent[0] == {"opts": {"speed": 1.5, "warm": True}}
    assert house.sessions[1].sent[0] == {"token": "Two."}


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/voices", "heart\nhush\nriver\n"),
        ("/opt =1", "an option is written key=value, not '=1'\n"),
        ("/sing", "there is no command /sing; /help lists them\n"),
    ],
)
def test_a_command_is_answered_not_spoken(line: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    house = House()
    typed(house, [line])
    assert (capsys.readouterr().out, house.sessions) == (answer, [])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    typed(House(), ["/help"])
    out = capsys.readouterr().out
    assert all(command in out for command in ("/voice NAME", "/voices", "/opt", "/quit"))


def test_quit_leaves() -> None:
    house = House()
    typed(house, ["/quit", "unsaid"])
    assert house.sessions == []


def test_ctrl_c_at_the_prompt_drops_the_line_only() -> None:
    house = House()
    typed(house, [KeyboardInterrupt, "Hello."])
    assert [session.text for session in house.sessions] == ["Hello."]


def test_a_line_that_fails_is_told_and_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = typed(House(is_open=False), ["Hello.", "Again."])
    assert narrator.failed
    assert capsys.readouterr().err == "error cannot_connect: nobody is there\n" * 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("/vo", ["/voice", "/voices"]),
        ("/voice ", VOICES),
        ("/voice h", ["heart", "hush"]),
        ("/opt h", []),
        ("hello h", []),
    ],
)
def test_commands_and_voices_are_completed(line: str, words: list[str]) -> None:
    assert completions(line, VOICES) == words
