"""The pictures of the report, as matplotlib figures without pyplot and without global state.

Each function takes plain values and returns a Figure, so that a script may save it as a PNG; `svg.inline`
puts it into a page. Axes are honest: compute multipliers stand on a logarithmic axis that is symmetric
around 1, and what is cut off at an edge is marked with an arrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from mendel.records import Interval, PlanKind
from mendel.report.facts import Judged
from mendel.report.text import cm_text

INK, MUTED, RULE, FAINT = "#1c2733", "#66717e", "#d9dee4", "#eef1f4"
TEAL, BLUE, SLATE, RUST, PALE = "#0b7a6b", "#2c66b8", "#7b8794", "#bf4a26", "#bcc4cd"
COLOURS = {"adopted": TEAL, "claimed": BLUE, "not claimed": SLATE, "worse": RUST, "screened": PALE}
MEANINGS = {
    "adopted": "adopted (fresh pairs)",
    "claimed": "claimed, not adopted",
    "not claimed": "confirmation, not claimed",
    "worse": "confirmation, worse",
    "screened": "screened only: selected, not a claim",
}
WIDTH = 9.0
MOST_ROWS = 60
"""Rows of the forest plot; a larger campaign is cut to its weightiest ideas."""


def trunk_figure(points: Sequence[Mapping[str, Any]], recipe: str, by_runs: bool, total: float) -> Figure:
    """The trunk's CM over the original recipe against what the campaign had spent by then.

    `points` are those of `mendel.campaign.summary.trunk_points`, `total` is all that was spent, in runs
    (`by_runs`) or worker seconds.
    """
    figure, axes = _figure(3.7)
    unit, scale = ("runs", 1.0) if by_runs else time_unit(total)
    key = "runs" if by_runs else "worker_seconds"
    rungs = sorted({int(point["rung"]) for point in points}) or [0]
    intervals = [Interval.model_validate(point["log2_cm"]) for point in points]
    span = cm_axis(axes.yaxis, axes, [b for i in intervals for b in (i.value, i.low, i.high)], symmetric=False)
    end = max(total / scale, 1e-9)
    for rung, colour in zip(rungs, (TEAL, BLUE, RUST, SLATE), strict=False):
        own = [(p, i) for p, i in zip(points, intervals, strict=True) if p["rung"] == rung]
        x = np.array([0.0, *(float(p[key]) / scale for p, _ in own)])
        y = np.array([0.0, *(i.value for _, i in own)])
        if rung == rungs[0]:
            steps = np.append(x, max(end, x[-1])), np.append(y, y[-1])
            axes.plot(*steps, color=colour, drawstyle="steps-post", lw=1.6, alpha=0.55, zorder=2)
        for place, (_, interval) in zip(x[1:], own, strict=True):
            _whisker(axes, place, interval, span, colour)
        label = f"rung {rung}" if len(rungs) > 1 else "trunk, with 95 % interval"
        axes.plot(x[1:], y[1:], "o", ms=6.5, color=colour, mec="white", mew=1.0, label=label, zorder=4)
    axes.plot([0], [0], "o", ms=6.5, color="white", mec=MUTED, mew=1.3, zorder=4, clip_on=False)
    _annotate_joins(axes, points, intervals, key, scale, end, rungs[0])
    _text(axes, 0, 0, f"  {recipe}, unchanged", ha="left", va="bottom", color=MUTED)
    axes.set_xlim(-0.015 * end, 1.04 * end)
    axes.set_xlabel(f"spent on training and scoring ({unit})" if not by_runs else "runs done")
    axes.set_ylabel("compute multiplier (log scale)")
    _title(axes, f"The trunk against the original recipe, {recipe}")
    if points:
        _legend(axes, loc="lower right")
    return figure


def forest_figure(rows: Sequence[Judged]) -> Figure:
    """Every judged idea with its interval, on a logarithmic CM axis that is symmetric around 1.

    `rows` come weightiest first; of more than MOST_ROWS only the first are drawn.
    """
    shown = list(rows[:MOST_ROWS])
    figure, axes = _figure(1.45 + 0.235 * max(1, len(shown)), left=0.225, right=0.755)
    weighty = [r.log2_cm for r in shown if r.group != "screened"]
    ends = [b for i in weighty for b in (i.value, i.low, i.high)]
    ends += [row.log2_cm.value for row in shown if row.group == "screened"]
    span = cm_axis(axes.xaxis, axes, ends)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    before = shown[0].group if shown else ""
    for place, row in enumerate(shown):
        if row.group != before:
            axes.axhline(place - 0.5, color=RULE, lw=0.8, zorder=0)
            before = row.group
        _forest_row(axes, place, row, span)
    axes.set_ylim(max(1, len(shown)) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_xlabel("compute multiplier over the trunk of its round, 95 % interval (log scale)")
    cut = f" ({len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
    _title(axes, f"Every judged idea{cut}", x=-0.42)
    _forest_legend(figure, axes, shown)
    return figure


def _forest_row(axes: Axes, place: int, row: Judged, span: tuple[float, float]) -> None:
    colour, light = COLOURS[row.group], row.group == "screened"
    low, high = max(row.log2_cm.low, span[0]), min(row.log2_cm.high, span[1])
    value = min(max(row.log2_cm.value, span[0]), span[1])
    axes.plot([low, high], [place, place], color=colour, lw=1.1 if light else 2.2, zorder=2)
    for cut, edge, mark in ((row.log2_cm.low < span[0], low, "<"), (row.log2_cm.high > span[1], high, ">")):
        if cut:
            axes.plot([edge], [place], mark, ms=4.5, color=colour, clip_on=False, zorder=3)
    fresh = row.stage is PlanKind.ESTIMATE
    face = colour if fresh else "white"
    shape = "D" if row.blank else "o"
    size = 4.2 if light else 6.2
    axes.plot([value], [place], shape, ms=size, color=face, mec=colour, mew=1.3, zorder=4)
    left, right = axes.get_yaxis_transform(), axes.get_yaxis_transform()
    name = f"{row.name}  (blank)" if row.blank else row.name
    _text(axes, -0.018, place, name, ha="right", va="center", transform=left, color=MUTED if light else INK)
    failed = f", {row.failures} failed" if row.failures else ""
    numbers = f"{cm_text(row.log2_cm)}   {row.pairs} pairs{failed}"
    _text(axes, 1.02, place, numbers, va="center", transform=right, color=MUTED if light else INK, size=8)


def _forest_legend(figure: Figure, axes: Axes, rows: Sequence[Judged]) -> None:
    groups = [group for group in COLOURS if any(row.group == group for row in rows)]
    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[group],
            lw=1.1 if group == "screened" else 2.2,
            marker="o",
            ms=5.5,
            mec=COLOURS[group],
            mfc="white" if group not in ("adopted", "claimed") else COLOURS[group],
            label=MEANINGS[group],
        )
        for group in groups
    ]
    if any(row.blank for row in rows):
        handles.append(Line2D([], [], color=MUTED, lw=0, marker="D", ms=4.5, mfc="white", label="blank"))
    if handles:
        low = 0.04 / figure.get_figheight()
        figure.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, low), ncols=len(handles), frameon=False,
            fontsize=8, handlelength=1.8, columnspacing=1.4, labelcolor=INK,
        )  # fmt: skip


# --- shared -----------------------------------------------------------------------------------------------


def cm_axis(
    axis: Any, axes: Axes, values: Sequence[float], symmetric: bool = True, least: float = 0.4
) -> tuple[float, float]:
    """Make `axis` (of `axes`) one of log2 CM with plain multipliers as labels; returns its limits in log2.

    `values` are to fit in; further out than a factor of 64 nothing is shown.
    """
    finite = [value for value in values if math.isfinite(value)]
    reach = min(6.0, 1.08 * max([least, *(abs(value) for value in finite)]))
    low = -reach if symmetric else max(-6.0, 1.12 * min([-0.08 * reach, *finite]))
    if reach <= 0.45:
        ticks = [0.75, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.3]
    elif reach <= 1.1:
        ticks = [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2]
    elif reach <= 2.4:
        ticks = [0.2, 0.25, 1 / 3, 0.5, 2 / 3, 1, 1.5, 2, 3, 4, 5]
    else:
        ticks = [2.0**k for k in range(-6, 7)]
    inside = [tick for tick in ticks if low <= math.log2(tick) <= reach]
    axis.set_major_locator(FixedLocator([math.log2(tick) for tick in inside]))
    axis.set_major_formatter(FixedFormatter([tick_label(tick) for tick in inside]))
    axis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x" if axis is axes.xaxis else "y", color=FAINT, lw=0.9, zorder=0)
    set_limits = axes.set_xlim if axis is axes.xaxis else axes.set_ylim
    set_limits(low, reach)
    return low, reach


def tick_label(multiplier: float) -> str:
    """A multiplier on an axis: 0.25, 1/16, 4."""
    if multiplier < 0.2:
        return f"1/{round(1 / multiplier)}"
    return f"{multiplier:.2f}".rstrip("0").rstrip(".")


def time_unit(seconds: float) -> tuple[str, float]:
    """A unit of worker time that suits `seconds`, and its length."""
    if seconds < 300:
        return "worker seconds", 1.0
    return ("worker minutes", 60.0) if seconds < 3 * 3600 else ("worker hours", 3600.0)


def _figure(height: float, left: float = 0.085, right: float = 0.975) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    axes = figure.add_axes((left, 0.62 / height, right - left, 1 - (0.62 + 0.42) / height))
    if left > 0.2:  # the forest keeps a line for its legend
        axes.set_position((left, 0.82 / height, right - left, 1 - (0.82 + 0.42) / height))
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """The house's look: no box, muted ticks."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3, width=0.8)
    axes.tick_params(axis="both", which="minor", length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=MUTED, fontsize=8.8)


def _text(axes: Axes, x: float, y: float, text: str, size: float = 8.6, **how: Any) -> None:
    """Plain text: a dollar sign in a name is not mathematics."""
    axes.text(x, y, text, fontsize=size, parse_math=False, zorder=6, **how)


def _title(axes: Axes, text: str, x: float = 0.0) -> None:
    axes.set_title(text, loc="left", x=x, fontsize=10.5, color=INK, fontweight="bold", pad=10, parse_math=False)


def _legend(axes: Axes, **where: Any) -> None:
    axes.legend(frameon=False, fontsize=8.3, labelcolor=INK, handlelength=1.6, **where)


def _whisker(axes: Axes, x: float, interval: Interval, span: tuple[float, float], colour: str) -> None:
    low, high = max(interval.low, span[0]), min(interval.high, span[1])
    axes.plot([x, x], [low, high], color=colour, lw=2.0, alpha=0.85, zorder=3)
    if interval.high > span[1]:
        axes.plot([x], [high], "^", ms=5, color=colour, clip_on=False, zorder=3)


def _annotate_joins(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    intervals: Sequence[Interval],
    key: str,
    scale: float,
    end: float,
    rung: int,
) -> None:
    """Beside each point of the lowest rung: what joined and left the trunk, or that it was checked."""
    before: list[str] = []
    for point, interval in zip(points, intervals, strict=True):
        if point["rung"] != rung:
            continue
        names = list(point["adopted"])
        lines = [f"+ {name}" for name in names if name not in before]
        lines += [f"− {name}" for name in before if name not in names]
        if len(lines) > 6:
            lines = [*lines[:5], f"and {len(lines) - 5} more"]
        x = float(point[key]) / scale
        text = "\n".join(lines) or f"checked: {cm_text(interval)}"
        after_middle = x > 0.55 * end
        _text(
            axes,
            x - 0.012 * end if after_middle else x + 0.012 * end,
            interval.value,
            text,
            ha="right" if after_middle else "left",
            va="top" if lines else "bottom",
            color=INK,
            linespacing=1.35,
        )
        before = names
