"""Pictures of comparisons and of greedy logs: every run as a point, and what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mendel.report.drawing import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    NARROW,
    PALE,
    RUST,
    SLATE,
    TEAL,
    WIDTH,
    new_figure,
    put_legend,
    put_title,
)
from mendel.report.text import clean

Floats = NDArray[np.float64]
MOST = 40
"""Groups in a figure; the table has all."""
LONGEST, SHORTEST = 34, 22
"""Characters of a group's name beside the axis, on a desk and on a telephone."""


def groups_figure(found: Mapping[str, Any], narrow: bool = False) -> Figure:
    """Each run of each group, its mean with the interval, and the target."""
    rows = [row for row in found["groups"] if row["n"]][:MOST]
    figure, axes = rows_figure("The groups", [row["group"] or "all runs" for row in rows], narrow)
    for place, row in enumerate(rows):
        height = -place
        values = np.array(row["values"])
        spread = 0.22 * np.sin(2.4 * np.arange(len(values)))  # apart, and the same on each page
        axes.plot(values, height + spread, "o", ms=3.6, color=PALE, mec="white", mew=0.3, zorder=2)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [height, height], color=BLUE, lw=2.2, zorder=3)
        axes.plot([row["mean"]], [height], "o", ms=6.5, color=BLUE, mec="white", zorder=4)
    if found["target"] is not None:
        axes.axvline(found["target"], color=RUST, lw=1.3, ls=(0, (4, 3)), zorder=1)
        axes.plot([], [], color=RUST, lw=1.3, ls=(0, (4, 3)), label=f"target {found['target']:g}")
    axes.plot([], [], "o", color=PALE, ms=4, label="a run")
    axes.plot([], [], "o-", color=BLUE, ms=6, lw=2.2, label="mean, 95 % interval")
    axes.set_xlabel(f"{short(found['value'])} ({found['better']} is better)", parse_math=False)
    legend_below(figure, axes)
    return figure


def differences_figure(found: Mapping[str, Any], narrow: bool = False) -> Figure:
    """How much better each group is than the baseline, with its interval; the pairs, where there are any."""
    rows = [row for row in found["differences"] if row["low"] is not None][:MOST]
    title = "Differences, with 95 % intervals; right of 0 is better"
    figure, axes = rows_figure(title, [row["group"] for row in rows], narrow, legend=False)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    for place, row in enumerate(rows):
        gains = np.array(list(row.get("gains", {}).values()))
        spread = 0.22 * np.sin(2.4 * np.arange(len(gains)))
        axes.plot(gains, -place + spread, "o", ms=3.6, color=PALE, mec="white", mew=0.3, zorder=2)
        colour = TEAL if row["low"] > 0 else RUST if row["high"] < 0 else SLATE
        axes.plot([row["low"], row["high"]], [-place, -place], color=colour, lw=2.2, zorder=3)
        axes.plot([row["difference"]], [-place], "o", ms=6.5, color=colour, mec="white", zorder=4)
    axes.set_xlabel(f"gain in {short(found['value'])} over {short(rows[0]['against'])}", parse_math=False)
    return figure


def log_figure(found: Mapping[str, Any], narrow: bool = False) -> Figure:
    """The log of a greedy loop: every experiment, the best so far, and the noise of a difference under it."""
    figure, axes = new_figure(4.0, NARROW if narrow else WIDTH)
    log = found["log"]
    rows, values, best = (np.array([one[key] for one in log]) for key in ("row", "value", "best"))
    kept = np.array([one["kept"] for one in log])
    doubted = {row["row"] for row in found["keeps"] if row["within_noise"]}
    least = found["within"]
    side = -1.0 if found["better"] == "lower" else 1.0
    axes.fill_between(
        rows, best, best + side * least, step="mid", color=PALE, alpha=0.35, lw=0,
        label=f"within the noise of a difference, {least:.3g}",
    )  # fmt: skip
    axes.step(rows, best, where="mid", color=MUTED, lw=1.2, label="best so far")
    axes.plot(rows[~kept], values[~kept], "o", ms=3.6, color=PALE, mec="white", mew=0.3, label="not kept")
    sure = np.array([row not in doubted for row in rows])
    axes.plot(rows[kept & sure], values[kept & sure], "o", ms=6, color=TEAL, mec="white", label="kept")
    unsure = kept & ~sure
    how: dict[str, Any] = {"mfc": "white", "mec": RUST, "mew": 1.5, "ls": "none"}
    axes.plot(rows[unsure], values[unsure], "o", ms=6, label="kept, but within the noise", **how)
    _limits(axes, np.concatenate([values[kept], best, best + side * least]), values)
    axes.grid(True, axis="y", color=FAINT, lw=0.9)
    axes.set_xlabel("row of the log")
    axes.set_ylabel(f"value ({found['better']} is better)")
    put_title(axes, "What the loop kept")
    put_legend(axes, loc="best")
    return figure


def keeps_figure(found: Mapping[str, Any], narrow: bool = False) -> Figure:
    """What each keep gained as logged, and what is left of it."""
    rows = found["keeps"][:MOST]
    names = [f"{row['row']}: {row['description']}" for row in rows]
    figure, axes = rows_figure("The keeps, as logged and corrected", names, narrow)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    for place, row in enumerate(rows):
        ends = [row["gain"], row["corrected_gain"]]
        axes.plot(ends, [-place, -place], color=PALE, lw=1.6, zorder=2)
    places = -np.arange(len(rows))
    axes.plot([row["gain"] for row in rows], places, "o", ms=5.5, mfc="white", mec=SLATE, label="as logged")
    corrected = [row["corrected_gain"] for row in rows]
    axes.plot(corrected, places, "o", ms=5.5, color=TEAL, mec="white", label="without luck and noise")
    axes.set_xlabel("gain")
    legend_below(figure, axes)
    return figure


def short(name: object, longest: int = LONGEST) -> str:
    """A name that fits beside an axis, on one line."""
    text = " ".join(clean(name, 400).split())
    return text if len(text) <= longest else f"{text[: longest - 10]}…{text[-9:]}"


def rows_figure(title: str, names: Sequence[str], narrow: bool, legend: bool = True) -> tuple[Figure, Axes]:
    """A figure with a row for each name, the first on top at height 0, and room for a legend below."""
    shown = [short(name, SHORTEST if narrow else LONGEST) for name in names]
    left, bottom = 0.4 + 0.072 * max(map(len, shown)), 0.85 if legend else 0.6
    width = NARROW if narrow else WIDTH
    figure, axes = new_figure(0.55 + bottom + 0.32 * len(names), width, left=left, bottom=bottom)
    put_title(axes, title, x=-(left - 0.1) / (width - left - 0.2))
    axes.set_yticks([-place for place in range(len(names))])
    axes.set_yticklabels(shown, color=INK, parse_math=False)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", color=FAINT, lw=0.9)
    return figure, axes


def legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    how = {"frameon": False, "fontsize": 8.3, "labelcolor": INK, "handlelength": 1.6, "columnspacing": 1.4}
    figure.legend(handles, labels, loc="lower right", ncols=3, **how)


def _limits(axes: Axes, must: Floats, values: Floats) -> None:
    """Show what counts; values far off, such as of runs that broke, are cut and marked at the edge."""
    low, high = float(np.min(must)), float(np.max(must))
    room = 0.9 * max(high - low, 1e-12)
    ends = max(low - room, float(values.min())), min(high + room, float(values.max()))
    span = max(ends[1] - ends[0], 1e-12)
    axes.set_ylim(ends[0] - 0.04 * span, ends[1] + 0.04 * span)
    if above := int((values > ends[1]).sum()) + int((values < ends[0]).sum()):
        axes.annotate(
            f"{above} further off are not shown", (0.995, 0.02), xycoords="axes fraction", ha="right",
            fontsize=8, color=MUTED,
        )  # fmt: skip
