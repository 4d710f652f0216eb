"""The files of docs/deploy, as far as they can be judged where neither systemd runs nor containers do."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from voice_server.__main__ import _parser
from voice_server.config import ConfigError
from voice_server.core.limits import Limits

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"


def service() -> dict[str, str]:
    """The last value of each setting."""
    unit = RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "voice-server.service")
    return dict(unit["Service"])


def containerfile() -> list[tuple[str, str]]:
    """Its instructions."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "voice-server.service"
    text = (DEPLOY / "voice-server.service").read_text()
    unit.write_text(text.replace("/opt/voice-server/bin/python", sys.executable))
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")


def test_the_unit_starts_the_server_with_flags_that_it_has() -> None:
    command = service()["ExecStart"].split(" -m voice_server ", 1)[1]
    assert _parser().parse_args(command.split()).host == "0.0.0.0"


def test_the_unit_waits_longer_than_a_drain_and_does_not_retry_a_wrong_configuration() -> None:
    settings = service()
    assert int(settings["TimeoutStopSec"]) > Limits().drain_s + Limits().worker.stop_s
    assert settings["RestartPreventExitStatus"] == str(ConfigError.exit_code)
    assert int(settings["LimitNOFILE"]) > 2 * Limits().stream.connections
    assert (settings["KillMode"], settings["ExecReload"]) == ("mixed", "/bin/kill -HUP $MAINPID")


def test_what_engines_need_is_not_locked_away() -> None:
    assert not {"MemoryDenyWriteExecute", "PrivateDevices", "DynamicUser"} & set(service())


def test_the_container_copies_only_what_is_there() -> None:
    copied = [path for kind, rest in containerfile() if kind == "COPY" for path in rest.split()[:-1]]
    assert copied and all((ROOT / path).exists() for path in copied)


def test_the_container_can_be_built_with_what_a_cluster_needs() -> None:
    optional = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    asked = re.findall(r"EXTRAS=([a-z,]+)", "".join(path.read_text() for path in DEPLOY.iterdir() if path.is_file()))
    known = re.findall(r"^(\w+) = ", optional, re.MULTILINE)
    assert set(asked) == {"otel", "otel,kuberay"} and {"otel", "kuberay"} <= set(known)
    assert ("ARG", "EXTRAS=otel") in containerfile()


def test_the_container_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    kinds = [kind for kind, _ in containerfile()]
    told = dict(containerfile())
    assert kinds[0] == "FROM" and kinds.index("USER") < kinds.index("ENTRYPOINT")
    assert told["USER"] not in ("0", "root")
    assert "/health" in told["HEALTHCHECK"]
    assert {"/var/cache/voice-server", "/var/lib/voice-server/voice_samples"} == set(
        re.findall(r'"([^"]+)"', told["VOLUME"])
    )
    arguments = yaml.safe_load(told["CMD"])
    assert _parser().parse_args(arguments).host == "0.0.0.0"


def test_the_container_s_health_check_is_python_that_can_be_read() -> None:
    code = yaml.safe_load(dict(containerfile())["HEALTHCHECK"].split("CMD", 1)[1])[2]
    compile(code, "healthcheck", "exec")


def haproxy_s() -> dict[str, str]:
    """What stands behind each directive that is there once."""
    lines = [line.strip() for line in (DEPLOY / "haproxy.cfg").read_text().splitlines()]
    return {
        " ".join(line.split()[:2]): " ".join(line.split()[2:]) for line in lines if line and not line.startswith("#")
    }


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_understands_every_line_of_its_configuration() -> None:
    told = subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True, timeout=60)
    assert (told.returncode, "WARNING" in told.stderr) == (0, False), told.stderr


def test_haproxy_waits_longer_than_the_gateway_is_ever_silent() -> None:
    settings, limits = haproxy_s(), Limits()
    assert float(settings["timeout tunnel"].removesuffix("s")) > 2 * limits.stream.ping_s
    assert float(settings["timeout server"].removesuffix("m")) * 60 > limits.drain_s + limits.worker.load_s
    assert int(settings["default-server check"].split()[-1]) < limits.stream.connections


def test_haproxy_asks_the_door_that_says_no_during_a_drain() -> None:
    assert (haproxy_s()["option httpchk"], haproxy_s()["http-check expect"]) == ("GET /ready", "status 200")


def test_the_compose_file_builds_that_container_and_keeps_what_it_must() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    voice = compose["services"]["voice"]
    assert (DEPLOY / voice["build"]["context"] / voice["build"]["dockerfile"]).resolve() == DEPLOY / "Containerfile"
    kept = {volume.split(":")[1] for volume in voice["volumes"]}
    assert kept == set(re.findall(r'"([^"]+)"', dict(containerfile())["VOLUME"]))
    assert {volume.split(":")[0] for volume in voice["volumes"]} == set(compose["volumes"])
