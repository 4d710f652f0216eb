"""Draws what bench.simulate found, for docs/scheduling.md: small SVG files, readable on white and on black."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.outcomes import Row, Scaled

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


def _draw(path: Path, onto: Callable[[Axes], None]) -> None:
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    onto(axes)
    axes.legend()
    figure.savefig(path, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


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
