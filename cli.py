"""Speak from the command line: starts a backend here, without a server.

python cli.py --list-voices
python cli.py --text "Hello there." --output hello.wav
python cli.py --repl
python cli.py --stream-tokens --play
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from voice_server.config import ConfigError
from voice_server.main import local_gateway
from voice_server.terminal.arguments import (
    DEFAULT_OUTPUT,
    add_speech_arguments,
    narrator_of,
    run_program,
    tell,
    text_of,
)
from voice_server.terminal.local import LocalGateway
from voice_server.terminal.narrator import FAILED, Narrator
from voice_server.terminal.repl import Repl, line_reader
from voice_server.terminal.session import Session
from voice_server.venvs import VenvBuildFailed


def parse_arguments(argv: list[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="cli.py", description="Speak from the command line, without a server.")
    parser.add_argument("--backend", default="auto", help="a name in backends.yaml (default: the first that fits)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="another backends.yaml")
    parser.add_argument("--pool-size", type=_at_least_one, metavar="N", help="workers (default: as in backends.yaml)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--list-voices", action="store_true", help="print the backend's voices")
    mode.add_argument("--repl", action="store_true", help="read lines and speak each of them")
    mode.add_argument(
        "--stream-tokens", action="store_true", help="speak like a model that writes, and watch; without --text, lines"
    )
    add_speech_arguments(parser)
    return parser, parser.parse_args(argv)


async def run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    text = text_of(args, parser)
    if text is None and not (args.list_voices or args.repl or args.stream_tokens):
        parser.error("nothing to do: give --text, --text-file, --repl, --stream-tokens or --list-voices")
    if text is not None and not (args.play or args.output or args.repl or args.stream_tokens):
        args.output = DEFAULT_OUTPUT

    async def connect(**query: object) -> Session:
        return gateway.connect(**query)

    narrator = narrator_of(
        args,
        parser,
        connect,
        token_delay_s=args.token_delay if args.stream_tokens else None,
        play=True if args.play else None if args.repl else False,
    )
    async with local_gateway(
        backend=args.backend, pool_size=args.pool_size, config=args.config, report=tell
    ) as gateway:
        return await speak(gateway, narrator, args, text)


async def speak(gateway: LocalGateway, narrator: Narrator, args: argparse.Namespace, text: str | None) -> int:
    tell(f"backend {gateway.backend}: {gateway.reason}")
    if args.list_voices:
        sys.stdout.write("".join(f"{voice}\n" for voice in gateway.voices))
        return 0
    if text is not None:
        await narrator.say(text)
    if args.repl or text is None:
        await Repl(narrator, gateway.voices, line_reader(gateway.voices)).run()
    return narrator.exit_code


def _at_least_one(number: str) -> int:
    return max(1, int(number))


def main(argv: list[str]) -> int:
    return run_program(run(*parse_arguments(argv)), {ConfigError: ConfigError.exit_code, VenvBuildFailed: FAILED})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
