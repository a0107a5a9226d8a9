"""Pictures of what changes with scale: the best value of a knob, and the multiplier of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mendel.report.drawing import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    NARROW,
    RUST,
    SLATE,
    TEAL,
    WIDTH,
    cm_axis,
    new_figure,
    put_legend,
    put_title,
)
from mendel.report.law_figures import NAMES, log_axes, log_ticks, shades
from mendel.report.table_figures import short

Found = Mapping[str, Any]
COLOURS = (TEAL, BLUE, RUST, SLATE, "#8a6d1f", "#7a5ea8")
"""Of recipes, in the order of the table."""
TALLEST = 0.2
"""Loss above a cell's best, relative, that is drawn."""


def sweeps_figure(found: Found, narrow: bool = False) -> Figure:
    """Each cell's losses above its best against the knob over its best: one parabola, where all is well."""
    figure, axes = new_figure(4.0, NARROW if narrow else WIDTH)
    used = [one for one in found["minima"] if one["used"]]
    colours = shades(np.array([math.prod(_scales(one)) for one in used]))
    for one, colour in zip(used, colours, strict=True):
        x, y = np.array(one["knobs"]) / one["best"], np.array(one["losses"]) / one["loss"] - 1
        inside = y < TALLEST
        fitted = np.isin(np.arange(len(x)), one["fitted"]) & inside
        axes.plot(x[inside & ~fitted], 100 * y[inside & ~fitted], ".", ms=3.5, color=colour, alpha=0.5)
        axes.plot(x[fitted], 100 * y[fitted], "o", ms=4.4, color=colour, mec="white", mew=0.4, zorder=3)
        at = np.geomspace(x[fitted].min(), x[fitted].max(), 40)
        axes.plot(at, 100 * np.expm1(one["bend"] * np.log(at) ** 2), color=colour, lw=1.1, zorder=2)
    axes.axvline(1, color=MUTED, lw=0.9, zorder=1)
    axes.set_xscale("log")
    log_ticks(axes.xaxis)
    axes.grid(True, color=FAINT, lw=0.9)
    axes.set_xlabel(f"{short(found['knob'])} over the best of its cell", parse_math=False)
    axes.set_ylabel("loss above the least (%)")
    put_title(axes, "The sweeps, laid over each other; darker: larger")
    return figure


def optimum_figure(found: Found, narrow: bool = False) -> Figure:
    """The minimum of each cell with its interval beside what the law says there, along the largest scale."""
    figure, axes = new_figure(4.0, NARROW if narrow else WIDTH)
    used = [one for one in found["minima"] if one["used"]]
    law, best = (np.array([one[key] for one in used]) for key in ("law", "best"))
    ends = np.array([[one["low"], one["high"]] for one in used])
    line = np.array([law.min(), law.max()])
    axes.plot(line, line, color=TEAL, lw=1.6, label="the law", zorder=1)
    for x, (low, high) in zip(law, ends, strict=True):
        axes.plot([x, x], [low, high], color=BLUE, lw=1.4, alpha=0.8, zorder=2)
    axes.plot(
        law, best, "o", ms=6, color=BLUE, mec="white", label="minimum of a cell, 95 % interval", zorder=3
    )
    for place, one in enumerate((found["predicted"] or {"cells": ()})["cells"]):
        label = "predicted from the other cells" if not place else None
        axes.plot(
            [one["predicted"]], [one["measured"]], "D", ms=7, mfc="none", mec=INK, label=label, zorder=4
        )
    log_axes(axes, law, np.concatenate([best, np.minimum(ends.ravel(), 3 * best.max())]))
    axes.set_xlabel("by the law")
    axes.set_ylabel(f"best {short(found['knob'])}", parse_math=False)
    put_title(axes, "The best value in each cell, and the law")
    put_legend(axes, loc="upper left")
    return figure


def curves_figure(found: Found, narrow: bool = False) -> Figure:
    """The baseline's runs and curve, and the runs of the other recipes."""
    figure, axes = new_figure(4.0, NARROW if narrow else WIDTH)
    for place, one in enumerate(found["curves"]):
        x, y = np.array(one["x"]), np.array(one["curve"])
        told = (x >= one["measured"][0]) & (x <= one["measured"][1])
        label = f"{short(found['baseline'])}, curve" if not place else None
        axes.plot(x, y, color=MUTED, lw=1.1, ls=(0, (4, 3)), zorder=1)
        axes.plot(x[told], y[told], color=INK, lw=1.5, label=label, zorder=2)
        axes.plot(one["c"], one["loss"], "o", ms=4.5, color=INK, mec="white", mew=0.5, zorder=3)
    c = [value for one in found["curves"] for value in one["c"]]
    losses = [value for one in found["curves"] for value in one["loss"]]
    for one, colour in zip(found["recipes"], COLOURS, strict=False):
        mine = [cell["c"] for cell in one["cells"]], [cell["loss"] for cell in one["cells"]]
        axes.plot(*mine, "D", ms=5, color=colour, mec="white", mew=0.5, label=short(one["recipe"]), zorder=4)
        c, losses = [*c, *mine[0]], [*losses, *mine[1]]
    log_axes(axes, np.array(c), np.array(losses))
    axes.set_xlabel(NAMES["c"])
    axes.set_ylabel("loss")
    put_title(axes, "Loss against compute; dashed: read up to 4 times further")
    put_legend(axes, loc="upper right")
    return figure


def multiplier_figure(found: Found, narrow: bool = False) -> Figure:
    """The multiplier of each cell with its interval, and the trend over compute."""
    figure, axes = new_figure(4.0, NARROW if narrow else WIDTH)
    told = [
        cell[key]
        for one in found["recipes"]
        for cell in one["cells"]
        for key in ("log2_cm", "low", "high")
        if cell[key] is not None
    ]
    axes.set_xscale("log")
    span = cm_axis(axes.yaxis, axes, told, symmetric=False)
    axes.axhline(0, color=MUTED, lw=1.0, zorder=1)
    for number, (one, colour) in enumerate(zip(found["recipes"], COLOURS, strict=False)):
        shift = 1.02 ** (number - (len(found["recipes"]) - 1) / 2)
        for cell in one["cells"]:
            low, high = (span[0] if cell["low"] is None else cell["low"]), cell["high"]
            x = cell["c"] * shift
            axes.plot([x, x], [low, span[1] if high is None else high], color=colour, lw=1.5, alpha=0.7)
            marker = {">=": "^", "<=": "v"}.get(cell["bound"], "o")
            face = "white" if cell["bound"] else colour
            axes.plot([x], [cell["log2_cm"]], marker, ms=6, mfc=face, mec=colour, zorder=3)
        axes.plot([], [], "o", ms=6, color=colour, label=short(one["recipe"]))
        if trend := one["trend"]:
            x = np.geomspace(trend["ends"][0]["c"], trend["ends"][1]["c"], 2)
            y = [math.log2(end["cm"]) for end in trend["ends"]]
            axes.plot(x, y, color=colour, lw=1.8, ls="-" if trend["shown"] else (0, (4, 3)), zorder=2)
    log_ticks(axes.xaxis)
    axes.set_xlabel(NAMES["c"])
    axes.set_ylabel("compute multiplier (log scale)")
    put_title(axes, f"Compute multiplier over {short(found['baseline'])}")
    put_legend(axes, loc="best")
    return figure


def _scales(one: Found) -> list[float]:
    return [one[name] for name in ("n", "d", "c") if name in one]
