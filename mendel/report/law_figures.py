"""Pictures of fitted laws: the runs with the curve, how far the law is off, isoFLOP minima, errors of tasks.

Each takes the JSON object of a law and whether the screen is narrow, and returns a Figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

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
    new_figure,
    plain,
    put_legend,
    put_title,
    short_flops,
)

Law = Mapping[str, Any]
Floats = NDArray[np.float64]
SIZES = LinearSegmentedColormap.from_list("sizes", ["#c6d8ee", BLUE, "#10264a"])
"""From small to large."""
NAMES = {"c": "compute (FLOPs)", "n": "parameters", "d": "tokens", "x": "x"}
MANY = 400
"""Points from which on they are drawn small."""


def law_figure(found: Law, narrow: bool = False) -> Figure:
    """The runs against compute, or against the one column of the law, and its curve with a band."""
    figure, axes = new_figure(4.2, NARROW if narrow else WIDTH)
    points, curve = found["points"], found["curve"]
    over = curve["over"]
    x, loss, used = (np.array(points[key]) for key in (over, "loss", "used"))
    band = np.array(curve["low"]), np.array(curve["high"])
    # A band that leaves the picture says so by leaving it: the runs set the scale.
    axes.fill_between(curve["x"], *band, color=TEAL, alpha=0.16, lw=0, zorder=1)
    axes.plot(curve["x"], curve["loss"], color=TEAL, lw=1.8, label=curve["what"], zorder=3)
    size = 3.4 if len(x) > MANY else 5
    by_size = "n" in points and over == "c"
    colours = shades(np.array(points["n"])) if by_size else [BLUE] * len(x)
    for state, marker, label in (
        ("fitted", "o", "fitted"),
        ("predicted", "D", "predicted, not fitted"),
        ("left out", "x", "left out"),
    ):
        mine = used == state
        if not mine.any():
            continue
        how: dict[str, Any] = {"marker": marker, "s": size**2, "zorder": 2, "label": label}
        if state == "left out":
            axes.scatter(x[mine], loss[mine], color=RUST, lw=1.4, **how)
            continue
        shown = [colour for colour, one in zip(colours, mine, strict=True) if one]
        edge = "white" if state == "fitted" else RUST
        axes.scatter(x[mine], loss[mine], c=shown, edgecolors=edge, lw=0.5, **how)
    log_axes(axes, x, loss)
    axes.set_xlabel(NAMES.get(over, over))
    axes.set_ylabel("loss")
    put_title(axes, f"Loss against {'compute' if over == 'c' else over}{', darker: larger' * by_size}")
    put_legend(axes, loc="upper right")
    return figure


def off_figure(found: Law, narrow: bool = False) -> Figure:
    """How far each run lies from the law, and the held-out ones from a law that never saw them."""
    figure, axes = new_figure(3.6, NARROW if narrow else WIDTH)
    points, ahead = found["points"], found.get("loss_predicted") or found.get("predicted")
    over = found["curve"]["over"]
    x, loss, law, used = (np.array(points[key]) for key in (over, "loss", "law", "used"))
    off = 100 * (loss / law - 1)
    size = 3.2 if len(x) > MANY else 4.6
    axes.axhline(0, color=MUTED, lw=0.9, zorder=1)
    for state, marker, colour in (("fitted", "o", BLUE), ("left out", "x", RUST)):
        mine = used == state
        if mine.any():
            axes.plot(
                x[mine], off[mine], marker, ms=size, color=colour, label=f"{state} (from the law of all)"
            )
    if ahead:
        place = {row: number for number, row in enumerate(points["rows"])}
        chosen = [place[row] for row in ahead["rows"]]
        there = 100 * (np.array(ahead["measured"]) / np.array(ahead["predicted"]) - 1)
        how: dict[str, Any] = {"ms": size + 1.5, "mfc": "none", "mec": INK, "mew": 1.1}
        label = f"from a law fitted to {ahead['fitted_to']} others"
        axes.plot(x[chosen], there, "D", label=label, zorder=4, **how)
    axes.set_xscale("log")
    log_ticks(axes.xaxis)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(True, axis="y", color=FAINT, lw=0.9)
    axes.set_xlabel(NAMES.get(over, over))
    axes.set_ylabel("measured loss over the law's")
    put_title(axes, "What the law gets wrong")
    put_legend(axes, loc="best")
    return figure


def isoflop_figure(found: Law, narrow: bool = False) -> Figure:
    """The losses at each compute with the curve through them, and the minimum of each."""
    figure, axes = new_figure(4.2, NARROW if narrow else WIDTH)
    budgets = found["budgets"]
    colours = shades(np.array([one["c"] for one in budgets]))
    for one, colour in zip(budgets, colours, strict=True):
        axes.plot(one["n"], one["loss"], "o", ms=3.6, color=colour, mec="white", mew=0.4, zorder=2)
        axes.plot(one["curve"]["n"], one["curve"]["loss"], color=colour, lw=1.3, zorder=2)
    for inside, marker, label in ((True, "o", "minimum"), (False, "x", "at an end: no minimum, not used")):
        mine = [one for one in found["minima"] if one["inside"] is inside]
        if mine:
            face = "white" if inside else RUST
            how: dict[str, Any] = {"mfc": face, "mec": RUST, "mew": 1.5, "ls": "none", "zorder": 4}
            axes.plot([m["n"] for m in mine], [m["loss"] for m in mine], marker, ms=7, label=label, **how)
    log_axes(axes, np.concatenate([b["n"] for b in budgets]), np.concatenate([b["loss"] for b in budgets]))
    axes.set_xlabel(NAMES["n"])
    axes.set_ylabel("loss")
    put_title(axes, "Loss at equal compute, darker: more")
    put_legend(axes, loc="upper right")
    return figure


def growth_figure(found: Law, narrow: bool = False) -> Figure:
    """The best size against compute, and the power law through the minima."""
    figure, axes = new_figure(3.6, NARROW if narrow else WIDTH)
    inside = [one for one in found["minima"] if one["inside"]]
    c, n = (np.array([one[key] for one in inside]) for key in ("c", "n"))
    parameters = found["parameters"]
    exponent = parameters["exponent"]
    x = np.geomspace(c.min() / 2, c.max() * 2, 50)
    middle = parameters["coefficient"]["value"] * x ** exponent["value"]
    centre = float(np.exp(np.log(c).mean()))
    ends = [middle * (x / centre) ** (exponent[end] - exponent["value"]) for end in ("low", "high")]
    axes.fill_between(x, np.minimum(*ends), np.maximum(*ends), color=TEAL, alpha=0.16, lw=0)
    label = f"C to the power {exponent['value']:.3f} [{exponent['low']:.3f}, {exponent['high']:.3f}]"
    axes.plot(x, middle, color=TEAL, lw=1.8, label=label)
    axes.plot(c, n, "o", ms=7, mfc="white", mec=RUST, mew=1.5, label="minimum", zorder=4)
    log_axes(axes, c, n)
    axes.set_xlabel(NAMES["c"])
    axes.set_ylabel("parameters of the best model")
    put_title(axes, "The best size against compute")
    put_legend(axes, loc="upper left")
    return figure


def errors_figure(found: Law, narrow: bool = False) -> Figure:
    """Errors of tasks against the loss, and what is said of models from their predicted losses."""
    figure, axes = new_figure(3.8, NARROW if narrow else WIDTH)
    errors = found["errors"]
    loss, error, used = (np.array(errors[key]) for key in ("loss", "error", "used"))
    axes.plot(errors["curve"]["loss"], errors["curve"]["error"], color=TEAL, lw=1.8, label="the law")
    for state, colour in (("fitted", BLUE), ("predicted", SLATE)):
        mine = used == state
        if mine.any():
            axes.plot(loss[mine], error[mine], "o", ms=4.6, color=colour, mec="white", mew=0.5, label=state)
    ahead = found.get("predicted")
    if ahead:
        for predicted, measured in zip(ahead["predicted"], ahead["measured"], strict=True):
            at = loss[int(np.argmin(np.abs(error - measured)))]
            axes.plot([at, at], [measured, predicted], color=RUST, lw=1.2)
            axes.plot([at], [predicted], "D", ms=6, mfc="none", mec=RUST)
        axes.plot([], [], "D", ms=6, mfc="none", mec=RUST, label="from size and tokens alone")
    axes.grid(True, axis="y", color=FAINT, lw=0.9)
    axes.set_xlabel("loss")
    axes.set_ylabel("error")
    put_title(axes, "Errors against the loss")
    put_legend(axes, loc="best")
    return figure


# --- axes -------------------------------------------------------------------------------------------------


def log_axes(axes: Axes, x: Floats, y: Floats) -> None:
    """Two logarithmic axes around the points, with plain numbers on them."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for values, limits in ((x, axes.set_xlim), (y, axes.set_ylim)):
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        room = 0.06 * max(math.log(high / low), 0.02)
        limits(low * math.exp(-room), high * math.exp(room))
    log_ticks(axes.xaxis)
    log_ticks(axes.yaxis)
    axes.grid(True, color=FAINT, lw=0.9, zorder=0)
    plain(axes)


def log_ticks(axis: Any) -> None:
    """Powers of ten over a long axis, plain numbers between them on a short one."""
    low, high = sorted(axis.get_view_interval())
    span = high / low
    axis.set_minor_locator(NullLocator())
    if span > 30:
        axis.set_major_locator(LogLocator(subs=(1,) if span > 1000 else (1, 3), numticks=9))
        small = low > 1e-3 and high < 1e4
        axis.set_major_formatter(FuncFormatter(lambda value, _: (_plainly if small else short_flops)(value)))
        return
    fine = np.arange(1, 10, 0.5 if span > 1.5 else 0.1).tolist()
    axis.set_major_locator(LogLocator(subs=[1, 2, 3, 5] if span > 3 else fine, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plainly(value)))


def _plainly(value: float) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:.4g}"
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _percent(value: float, _: object) -> str:
    return f"{value:+.3g} %".replace("-", "−") if value else "0"


def shades(values: Floats) -> list[Any]:
    """A shade for each value, darker for larger."""
    logs = np.log(values)
    span = float(np.ptp(logs)) or 1.0
    return [SIZES(float(one)) for one in (logs - logs.min()) / span]
