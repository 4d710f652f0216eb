"""Draws what bench.simulate found, for docs/scheduling.md and docs/cluster.md.

Small SVG files, readable on white and on black.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.outcomes import Row, Scaled
from bench.scenarios import Moment, Outcome

GREY = "#808890"  # of text and axes: seen on either ground
COLOURS = {"fifo": "#e5534b", "sentence-EDF": "#c69026", "chunk-EDF": "#2f9e58"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: a tenth of the size
    "svg.hashsalt": "scheduling",  # the same drawing is the same file
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "legend.frameon": False,
}


def draw(rows: Sequence[Row], sizes: Sequence[Scaled], folder: Path) -> None:
    with plt.rc_context(STYLE):
        _draw(folder / "scheduling-first-audio.svg", lambda axes: _first_audio(axes, rows))
        _draw(folder / "scheduling-gap-free.svg", lambda axes: _gap_free(axes, rows))
        if sizes:
            _draw(folder / "scheduling-scale.svg", lambda axes: _scale(axes, sizes))


def draw_nodes(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Those in which nodes were lost."""
    shown = [one for one in outcomes if one.lost_at]
    with plt.rc_context(STYLE):
        _draw(folder / "cluster-nodes-lost.svg", lambda above, below: _nodes(above, below, shown), panels=2)


def _draw(path: Path, onto: Callable[..., None], panels: int = 1) -> None:
    figure, axes = plt.subplots(
        panels, sharex=True, squeeze=False, figsize=(6.4, 1.6 + 1.8 * panels), layout="constrained"
    )
    onto(*axes[:, 0])
    _legend(axes[0, 0], panels)
    figure.savefig(path, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _legend(axes: Axes, panels: int) -> None:
    """Over the drawing, where it has several panels: they are too low to have room for it."""
    if panels == 1:
        axes.legend()
    else:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9)


def _first_audio(axes: Axes, rows: Sequence[Row]) -> None:
    _by_load(axes, rows, lambda row: row.first_p95_ms / 1000)
    axes.set(yscale="log", xlabel="offered load, % of capacity", ylabel="first audio, p95, seconds")


def _gap_free(axes: Axes, rows: Sequence[Row]) -> None:
    _by_load(axes, rows, lambda row: row.gap_free * 100)
    axes.set(ylim=(0, 104), xlabel="offered load, % of capacity", ylabel="answers without a gap, %")


def _by_load(axes: Axes, rows: Sequence[Row], figure: Callable[[Row], float]) -> None:
    for policy, colour in COLOURS.items():
        points = [(row.load * 100, figure(row)) for row in rows if row.policy == policy]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=policy)


def _scale(axes: Axes, sizes: Sequence[Scaled]) -> None:
    for load, colour in zip(sorted({one.row.load for one in sizes}), ("#2f9e58", "#4c8ed9"), strict=True):
        points = [(one.workers, one.row.first_p95_ms) for one in sizes if one.row.load == load]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=f"load {load:.0%}")
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="first audio, p95, ms")


def _nodes(above: Axes, below: Axes, outcomes: Sequence[Outcome]) -> None:
    for axes in (above, below):
        for number, at in enumerate(outcomes[0].lost_at):
            axes.axvline(at, color=GREY, linestyle=":", label="" if number else "a node is lost")
    noticed, silent = outcomes
    for outcome, colour in ((silent, "#e5534b"), (noticed, "#2f9e58")):
        _over_time(above, outcome, lambda one: one.first_worst_ms, colour, label=f"{outcome.name}: the slowest")
        _over_time(below, outcome, lambda one: one.gap_free * 100, colour)
    _over_time(above, noticed, lambda one: one.first_p95_ms, "#c69026", label="95th percentile")
    _over_time(above, noticed, lambda one: one.first_p50_ms, "#4c8ed9", label="median")
    above.set(ylim=(0, None), ylabel="first audio, ms")
    below.set(xlabel="seconds", ylabel="without a gap, %")


def _over_time(
    axes: Axes, outcome: Outcome, figure: Callable[[Moment], float], colour: str, label: str | None = None
) -> None:
    points = [(moment.at, figure(moment)) for moment in outcome.moments]
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, label=label)
