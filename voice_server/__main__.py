"""`python -m voice_server`: serve, install, doctor, restart, token, top, voices, transcribe, port."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

from voice_server.assembly import SAMPLES, voice_store
from voice_server.config import ConfigError, load_config
from voice_server.core.doors.chat_protocol import model_settings
from voice_server.core.errors import VoiceError
from voice_server.core.limits import Limits, TerminalLimits
from voice_server.core.listens import NAMES, parse
from voice_server.core.neighbours import parse_name, parse_proxy
from voice_server.core.tokens import BadTokens
from voice_server.gateway.access.tls import BadCertificate, Certificate
from voice_server.gateway.access.tokens import TokenFile, Tokens
from voice_server.gateway.ports import CannotListen, check_listen
from voice_server.gateway.security import InsecureBind, check_bind
from voice_server.logs import FORMATS, let_go, set_up_logs
from voice_server.main import (
    PORTS,
    PortOptions,
    ServeOptions,
    local_gateway,
    local_recogniser,
    serve,
    serve_port,
)
from voice_server.ports.stdio import NotPipes, claim_stdio
from voice_server.terminal import transcribe, voices
from voice_server.terminal.announcer import StandardError
from voice_server.terminal.arguments import tell
from voice_server.terminal.doctor import run_doctor
from voice_server.terminal.install import run_install
from voice_server.terminal.making_tokens import make_token
from voice_server.terminal.restart import run_restart
from voice_server.terminal.top import run_top
from voice_server.venvs import VenvBuildFailed, VenvStore
from voice_server.voices import VoiceStore

LOG_FORMAT_VARIABLE = "VOICE_SERVER_LOG_FORMAT"
TOKEN_VARIABLE = "VOICE_SERVER_TOKEN"
TOKENS_VARIABLE = "VOICE_SERVER_TOKENS"
Parsed = TypeVar("Parsed")


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    set_up_logs(arguments.log_level, arguments.log_format)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        return _fail(str(error), ConfigError.exit_code)
    except (VoiceError, VenvBuildFailed, InsecureBind, BadTokens, BadCertificate, CannotListen) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    finally:
        let_go()


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="a backends.yaml of your own")
    common.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    form = os.environ.get(LOG_FORMAT_VARIABLE, "text")
    common.add_argument("--log-format", default=form, choices=FORMATS, help="json: one object a line")
    parser = argparse.ArgumentParser("voice-server", description=__doc__, parents=[common])
    _add_serve_options(parser)
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="other commands", metavar="COMMAND")
    install = commands.add_parser("install", help="build the environments of backends ahead", parents=[common])
    install.add_argument("backends", nargs="*", metavar="BACKEND", help="default: the one that would be used")
    install.add_argument("--weights", action="store_true", help="also download their models")
    install.add_argument("--prune", action="store_true", help="then remove environments that no backend needs")
    install.set_defaults(run=_install)
    doctor = commands.add_parser("doctor", help="tell what is installed and what is wrong", parents=[common])
    doctor.set_defaults(run=lambda given: run_doctor(load_config(given.config), VenvStore()))
    token = commands.add_parser("token", help="make a token for somebody", parents=[common])
    token.add_argument("name", metavar="NAME", help="whose it is, as it stands in logs")
    token.set_defaults(run=lambda given: make_token(given.name))
    _add_restart(commands.add_parser("restart", help="replace the workers of a backend one by one", parents=[common]))
    _add_top(commands.add_parser("top", help="show what a server is doing", parents=[common]))
    samples = commands.add_parser("voices", help="list, add, show, remove and hear the voices made from recordings")
    voices.add_arguments(samples, common, os.environ.get(TOKEN_VARIABLE, ""))
    samples.set_defaults(run=_voices)
    listen = commands.add_parser("transcribe", help="write down what is said in a file", parents=[common])
    transcribe.add_arguments(listen)
    listen.set_defaults(run=lambda given: asyncio.run(_transcribe(given)))
    _add_port(commands.add_parser("port", help="be the bridge of a program in another language", parents=[common]))
    return parser


def _add_restart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backend", metavar="BACKEND")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE, ""), help=f"default: {TOKEN_VARIABLE}")
    parser.set_defaults(run=lambda given: run_restart(given.url, given.token, given.backend))


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE, ""), help=f"default: {TOKEN_VARIABLE}")
    parser.add_argument("--once", action="store_true", help="print it once, as when standard output is no terminal")
    parser.set_defaults(run=lambda given: run_top(given.url, given.token, once=given.once))


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=PORTS, help="which protocol to speak on standard input and output")
    parser.add_argument("--backend", default="", help="default: the first one that can do it")
    parser.set_defaults(run=_port)


def _add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", action="append", default=[], help="may be given more than once (default: auto)")
    parser.add_argument("--pool-size", type=int, default=0, help="workers per backend (default: as configured)")
    parser.add_argument(
        "--cluster",
        default="",
        metavar="ADDRESS",
        help="workers live on a Ray cluster: auto, HOST:6379 or ray://HOST:10001",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        type=_typed(parse),
        metavar="NAME=HOST:PORT",
        help=f"one more port, for clients of: {', '.join(NAMES)}",
    )
    _add_access_options(parser)
    drain_s = Limits().drain_s
    parser.add_argument(
        "--drain", type=float, default=drain_s, metavar="S", help="that answers may take after SIGTERM (default: 30)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser as soon as it can speak")
    parser.add_argument(
        "--name",
        dest="gateway",
        type=_typed(parse_name),
        help="of this gateway among several behind a balancer: begins the tokens of /stream-tokens?resume=1",
    )


def _add_access_options(parser: argparse.ArgumentParser) -> None:
    limits = Limits()
    parser.add_argument(
        "--allow-prompt-urls", action="store_true", help="fetch recordings that clients of WS /tts name by https URL"
    )
    parser.add_argument("--insecure", action="store_true", help=f"listen to the network without {TOKEN_VARIABLE}")
    parser.add_argument(
        "--tokens",
        type=Path,
        default=os.environ.get(TOKENS_VARIABLE),
        metavar="FILE",
        help=f"of named tokens, read again when it changes (default: {TOKENS_VARIABLE})",
    )
    parser.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="web pages from there may come in; * is all"
    )
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="browsers find this server under that name"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="speak HTTPS and WSS with this chain, as PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (default: in the same file)")
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        type=_typed(parse_proxy),
        metavar="ADDRESS",
        help="of a proxy, or a network of them, that says in X-Forwarded-For who its client is",
    )
    parser.add_argument(
        "--connections-per-address", type=int, default=limits.stream.connections_per_address, metavar="N"
    )
    parser.add_argument(
        "--max-streams-per-client",
        type=int,
        default=limits.access.streams_per_client,
        metavar="N",
        help="that speak at once; 0 is no limit (default)",
    )
    parser.add_argument(
        "--chars-per-minute",
        type=int,
        default=limits.access.chars_per_minute,
        metavar="N",
        help="of text, for each client; 0 is no limit (default)",
    )


def _typed(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    """As the type of an argument: argparse shows what such an error says, and of a ValueError nothing."""

    def typed(text: str) -> Parsed:
        try:
            return parse(text)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from None

    return typed


def _serve(given: argparse.Namespace) -> int:
    tokens = _tokens(given.tokens)
    check_bind(given.host, is_guarded=tokens.are_wanted, insecure=given.insecure)
    for listen in given.listen:
        check_listen(listen, is_guarded=tokens.are_wanted, insecure=given.insecure)
    options = ServeOptions(
        backends=tuple(given.backend),
        pool_size=max(0, given.pool_size),
        cluster=given.cluster,
        host=given.host,
        port=given.port,
        listens=tuple(given.listen),
        config=given.config,
        name=given.gateway or "",
        proxies=tuple(given.trusted_proxy),
        tokens=tokens,
        cors=tuple(given.cors),
        allows_prompt_urls=given.allow_prompt_urls,
        host_names=tuple(given.host_name),
        tls=_certificate(given.tls_cert, given.tls_key),
        opens_browser=given.open,
        model=model_settings(os.environ),
        limits=_limits(given),
    )
    asyncio.run(serve(options, report=StandardError().print))
    return 0


def _tokens(file: Path | None) -> Tokens:
    """Raises BadTokens."""
    return Tokens(os.environ.get(TOKEN_VARIABLE, ""), TokenFile(Path(file)) if file else None)


def _certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """Raises BadCertificate."""
    if chain is None and key is not None:
        raise BadCertificate("--tls-key is of no use without --tls-cert")
    return Certificate(chain, key or chain) if chain else None


def _limits(given: argparse.Namespace) -> Limits:
    limits = Limits()
    access = replace(
        limits.access,
        streams_per_client=max(0, given.max_streams_per_client),
        chars_per_minute=max(0, given.chars_per_minute),
    )
    stream = replace(limits.stream, connections_per_address=given.connections_per_address)
    return replace(limits, stream=stream, access=access, drain_s=max(0.0, given.drain))


def _install(given: argparse.Namespace) -> int:
    config = load_config(given.config)
    return run_install(config, given.backends, VenvStore(), weights=given.weights, prune=given.prune)


def _voices(given: argparse.Namespace) -> int:
    store = voice_store(SAMPLES, Limits().voices)
    if given.act == "preview":
        voices.check_preview(given)
        return asyncio.run(_preview(given, store))
    if given.act == "add":
        return voices.add(store, given)
    if given.act == "list":
        return voices.list_of_server(given.url, given.token) if given.url else voices.list_here(store)
    return voices.show(store, given.name) if given.act == "show" else voices.remove(store, given.name)


def _port(given: argparse.Namespace) -> int:
    stdio = claim_stdio()  # before anything prints
    options = PortOptions(given.name, given.backend, given.config)
    try:
        return asyncio.run(_converse(options, stdio))
    except NotPipes as error:
        return _fail(str(error))


async def _converse(options: PortOptions, stdio: tuple[int, int]) -> NoReturn:
    """Ends the process at once: an environment may still be building in a thread, which nobody can stop."""
    code = await serve_port(options, stdio, report=StandardError().print)
    logging.shutdown()  # what was logged is still on its way
    os._exit(code)


async def _preview(given: argparse.Namespace, store: VoiceStore) -> int:
    await asyncio.to_thread(store.scan)
    async with local_gateway(backend=given.backend, config=given.config, report=tell) as gateway:
        return await voices.preview(gateway, store, given)


async def _transcribe(given: argparse.Namespace) -> int:
    sound = await asyncio.to_thread(transcribe.read_sound, given, TerminalLimits())
    async with local_recogniser(given.backend, given.config, tell) as recogniser:
        return await transcribe.transcribe(recogniser, Limits(), given, sound)


def _fail(message: str, code: int = 1) -> int:
    print(f"voice-server: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
