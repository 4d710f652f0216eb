"""The dashboard and the alerts that we ship speak of metrics that a server has, and of labels that those have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import ask, running_server, tone_config
from tests.process.hearing_driver import listening, pitch_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD: dict[str, Any] = json.loads((DOCS / "deploy" / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
METRIC = re.compile(r"\b(?:voice|process)_[a-z_]+")
OF_THE_SCRAPE = {"instance", "job"}  # labels that Prometheus adds
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


def dashboard() -> list[str]:
    asked = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    return asked + [target["expr"] for panel in PANELS for target in panel["targets"]]


def alerts() -> list[str]:
    section = (DOCS / "operations.md").read_text().split("## Alerts")[1].split("\n## ")[0]
    rows = [line.replace(r"\|", "or").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [row[2] for row in rows[2:]]


def labels_of(expression: str) -> set[str]:
    """Those that are asked for, and those by which is summed."""
    grouped = ",".join(re.findall(r"by \(([^)]*)\)", expression))
    return {*re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression), *re.findall(r"\w+", grouped)}


async def scraped(python: Path) -> tuple[set[str], set[str]]:
    """The metrics of a server that has spoken, refused and listens, and all their labels."""
    async with listening(python, pitch_config()) as recogniser:
        async with running_server(tone_config(), python, recognisers=[recogniser]) as server:
            await ask(server.ws, {"token": "Hello there. How are you?", "done": True})
            async with httpx.AsyncClient() as client:
                await client.get(f"{server.http}/nowhere")
                text = (await client.get(f"{server.http}/metrics")).text
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    names = {name + suffix for name, kind in types for suffix in SUFFIXES.get(kind, ("",))}
    return names, set(re.findall(r"(\w+)=\"", text))


@pytest.mark.parametrize("expressions", [dashboard(), alerts()], ids=["dashboard", "alerts"])
async def test_every_metric_that_is_named_is_exported_with_its_labels(
    tone_python: Path, expressions: list[str]
) -> None:
    names, labels = await scraped(tone_python)
    assert len(expressions) > 8
    for expression in expressions:
        asked = set(METRIC.findall(expression))
        assert asked, expression
        assert asked <= names, expression
        assert labels_of(expression) <= labels | OF_THE_SCRAPE, expression


def test_a_panel_shows_what_it_is_about_and_stands_beside_the_others() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert all(panel["title"] and panel["targets"] for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
