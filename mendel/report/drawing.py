"""How the report's pictures look: colours, axes and text, shared by all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

INK, MUTED, RULE, FAINT = "#1c2733", "#66717e", "#d9dee4", "#eef1f4"
TEAL, BLUE, SLATE, RUST, PALE = "#0b7a6b", "#2c66b8", "#7b8794", "#bf4a26", "#bcc4cd"
MINT = "#8cc8bd"
WIDTH, NARROW = 9.0, 4.7
"""Inches: for a page on a desk, and for a telephone or half a page."""


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


def new_figure(
    height: float, width: float = WIDTH, left: float = 0.76, right: float = 0.2, bottom: float = 0.6
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; all lengths in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + 0.42) / height)
    axes = figure.add_axes(box)
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """The house's look: no box, muted ticks."""
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3, width=0.8)
    axes.tick_params(axis="both", which="minor", length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=MUTED, fontsize=8.8)


def put_text(axes: Axes, x: float, y: float, text: str, size: float = 8.6, **how: Any) -> None:
    """Plain text: a dollar sign in a name is not mathematics."""
    axes.text(x, y, text, fontsize=size, parse_math=False, zorder=6, **how)


def label_at(
    axes: Axes, x: float, y: float, text: str, offset: tuple[float, float], size: float = 8.6, **how: Any
) -> None:
    """Plain text beside the point (x, y), `offset` in points: a page would swallow spaces."""
    axes.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        fontsize=size,
        parse_math=False,
        zorder=6,
        **how,
    )


def put_title(axes: Axes, text: str, x: float = 0.0) -> None:
    """A title over the left edge of the axes, or `x` of their width from it."""
    axes.set_title(
        text, loc="left", x=x, fontsize=10.5, color=INK, fontweight="bold", pad=10, parse_math=False
    )


def put_legend(axes: Axes, **where: Any) -> None:
    """A legend; a dollar sign in a name is not mathematics."""
    legend = axes.legend(frameon=False, fontsize=8.3, labelcolor=INK, handlelength=1.6, **where)
    for text in legend.get_texts():
        text.set_parse_math(False)


def short_flops(value: float) -> str:
    """FLOPs on an axis: 2e11."""
    exponent = math.floor(math.log10(value) + 1e-9)
    raised = str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    lead = round(value / 10.0**exponent)
    return f"10{raised}" if lead == 1 else f"{lead}·10{raised}"
