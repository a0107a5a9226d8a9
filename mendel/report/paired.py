"""The picture of a paired comparison: loss curves of both arms, and the scored difference of each pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mendel.report.curves import Evidence, LossCurve
from mendel.report.drawing import (
    FAINT,
    MUTED,
    PALE,
    RUST,
    SLATE,
    TEAL,
    new_figure,
    put_legend,
    put_title,
    short_flops,
)

Floats = NDArray[np.float64]


def loss_figure(found: Evidence, title: str) -> Figure:
    """Training loss of both arms against compute: a thin line for each run, a thick one for their median."""
    figure, axes = new_figure(3.3, 5.4)
    _loss_curves(axes, found)
    put_title(axes, title)
    return figure


def differences_figure(found: Evidence) -> Figure:
    """The scored difference of each pair, with the mean of the fresh ones and its interval."""
    figure, axes = new_figure(3.3, 3.6)
    _seed_differences(axes, found)
    put_title(axes, f"{'Reported' if found.reported else 'Scored'} difference of each pair")
    return figure


def _loss_curves(axes: Axes, found: Evidence) -> None:
    arms = ((found.control, SLATE, found.control_name), (found.treatment, TEAL, found.treatment_name))
    axes.set_xlabel(f"training compute, as charged ({found.compute})")
    axes.set_ylabel("training loss as printed (gpt: nats per byte)")
    if not found.control and not found.treatment:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5, 0.5, "the run folders are not here", color=MUTED, ha="center", transform=axes.transAxes
        )
        return
    end = max(float(curve.compute[-1]) for curves, _, _ in arms for curve in curves)
    start = 0.03 * end
    lowest, highest = math.inf, -math.inf
    for curves, colour, name in arms:
        for curve in curves:
            axes.plot(curve.compute, curve.loss, color=colour, lw=0.6, alpha=0.4, zorder=2)
        if curves:
            x, y = median_curve(curves, start)
            axes.plot(x, y, color=colour, lw=2.3, zorder=3, label=f"{name}, median of {len(curves)}")
            lowest, highest = min(lowest, float(y.min())), max(highest, float(y.max()))
    margin = 0.08 * (highest - lowest)
    axes.set_xscale("log")
    axes.set_xlim(start, end * 1.05)
    axes.set_ylim(lowest - margin, highest + margin)
    axes.grid(True, color=FAINT, lw=0.9, zorder=0)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_flops(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    put_legend(axes, loc="upper right")


def median_curve(curves: Sequence[LossCurve], start: float) -> tuple[Floats, Floats]:
    """Median over `curves` from `start` to where the shortest of them ends."""
    end = min(float(curve.compute[-1]) for curve in curves)
    grid = np.geomspace(min(start, end / 2), end, 80)
    values = [np.interp(grid, curve.compute, curve.loss) for curve in curves]
    return grid, np.median(values, axis=0)


def _seed_differences(axes: Axes, found: Evidence) -> None:
    axes.axhline(0, color=MUTED, lw=1.0, zorder=1)
    axes.set_ylabel(f"control − treatment ({found.unit})")
    if found.mean and found.fresh:
        value, low, high = found.mean
        first, last = len(found.selected) + 0.55, len(found.selected) + len(found.fresh) + 0.45
        axes.fill_between([first, last], low, high, color=TEAL, alpha=0.14, lw=0, zorder=1)
        axes.plot([first, last], [value, value], color=TEAL, lw=1.4, zorder=2)
    groups = (
        (found.selected, 1, PALE, "confirmation"),
        (found.fresh, 1 + len(found.selected), TEAL, "fresh"),
    )
    for values, first_pair, colour, label in groups:
        places = range(first_pair, first_pair + len(values))
        done = [(x, d) for x, d in zip(places, values, strict=True) if d is not None]
        failed = [x for x, d in zip(places, values, strict=True) if d is None]
        if done:
            axes.plot(
                *zip(*done, strict=True),
                "o",
                ms=5.5,
                color=colour,
                mec="white",
                mew=0.8,
                label=label,
                zorder=3,
            )
        if failed:
            axes.plot(
                failed,
                [-found.bound] * len(failed),
                "x",
                ms=6,
                color=RUST,
                mew=1.6,
                label="failed: at the bound",
                zorder=3,
            )
    axes.set_xlim(0.4, max(2, len(found.selected) + len(found.fresh)) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlabel("pair (one seed each)")
    axes.margins(y=0.18)
    low, high = axes.get_ylim()
    low, high = min(low, -0.06 * high), max(high, 0.0)
    axes.set_ylim(low, high + 0.14 * (high - low))
    axes.grid(True, axis="y", color=FAINT, lw=0.9, zorder=0)
    if found.selected or found.fresh:
        put_legend(axes, loc="upper left", ncols=2, columnspacing=1.2, handletextpad=0.2)
