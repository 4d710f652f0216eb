"""Speak through a running server: sends a text token by token and shows, plays or writes what comes back.

python client.py --text "Hello there." --output hello.wav
python client.py --url ws://example.org:8000/stream-tokens --token SECRET --opt speed=1.2 --play
"""

from __future__ import annotations

import argparse
import functools
import os
import sys

from voice_server.terminal.arguments import DEFAULT_OUTPUT, add_speech_arguments, narrator_of, run_program, text_of
from voice_server.terminal.lasting import connect_lasting
from voice_server.terminal.session import connect_remote

DEMO_TEXT = (
    "Hello! I am speaking while I am still thinking. Each sentence is rendered as soon as it is complete, "
    "and the next one is ready before this one ends. So you never have to wait for me."
)


def parse_arguments(argv: list[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="client.py", description="Speak through a running server.")
    parser.add_argument("--url", default="ws://localhost:8000/stream-tokens", help="default: %(default)s")
    parser.add_argument(
        "--token", default=os.environ.get("VOICE_SERVER_TOKEN", ""), help="the server's (default: VOICE_SERVER_TOKEN)"
    )
    parser.add_argument("--resume", action="store_true", help="when the connection is lost, come back and go on")
    add_speech_arguments(parser)
    return parser, parser.parse_args(argv)


async def run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    text = text_of(args, parser) or DEMO_TEXT
    if not args.play and args.output is None:
        args.output = DEFAULT_OUTPUT
    connect = functools.partial(connect_lasting if args.resume else connect_remote, args.url, token=args.token)
    narrator = narrator_of(args, parser, connect, token_delay_s=args.token_delay, play=args.play)
    await narrator.say(text)
    return narrator.exit_code


def main(argv: list[str]) -> int:
    return run_program(run(*parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
