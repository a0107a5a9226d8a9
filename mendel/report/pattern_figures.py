"""Pictures of patterns: each effect with the runs that test it, and how much every knob matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from mendel.report.evidence_page import Numbers, Picture, Section
from mendel.report.text import clean

Found = Mapping[str, Any]
Floats = NDArray[np.float64]
BINS = 8
"""Bins of a number whose means are drawn."""
MOST = 20
"""Knobs of the figure of importance; the table has all."""
PICTURES = 12
"""Patterns with a figure of their own; all are in the table."""


def pattern_sections(found: Found) -> list[Section]:
    """The page of `mendel patterns`."""
    told = found["patterns"]
    names = {"main": "Effects of single knobs", "pair": "Effects that depend on another knob",
             "failure": "What fails", "other": "What else was found"}  # fmt: skip
    groups: dict[str, list[Found]] = {key: [] for key in names}
    for one in told:
        key = "pair" if one["kind"] in ("interaction", "regime") else one["kind"]
        groups[key if key in names else "other"].append(one)
    sections = [Section("What these runs say", found["words"], (), [_table(told)] if told else [])]
    for key, some in groups.items():
        if some:
            pictures = [p for p in map(partial(_picture, found), some[:PICTURES]) if p]
            sections.append(Section(names[key], [one["statement"] for one in some], pictures))
    if found["importance"]:
        about = "Share of the variance of the results, and of what sets the best runs apart, by knob"
        picture = Picture(
            about, partial(importance_figure, found), "Bars are 95 % intervals of resampled settings."
        )
        sections.append(
            Section("How much each knob matters", _inert_words(found), [picture], [_importance(found)])
        )
    return sections


def _inert_words(found: Found) -> list[str]:
    return [one["statement"] for one in found["inert"]]


def _table(told: Sequence[Found]) -> Numbers:
    head = ("kind", "columns", "effect", "95 % interval", "test score", "q", "what could refute it")
    rows = [
        (
            one["kind"], ", ".join(one["columns"]), f"{one['effect']:.4g}",
            f"{one['low']:.3g} to {one['high']:.3g}",
            f"{one['test_score']:.3f}", f"{one['q']:.2g}", one.get("refute", {}).get("refuted_by", ""),
        )
        for one in told
    ]  # fmt: skip
    return Numbers(head, rows, "All patterns", (2, 4, 5))


def _importance(found: Found) -> Numbers:
    rows = [
        (one["column"], *(f"{one[key]['value']:.3f} [{one[key]['low']:.3f}, {one[key]['high']:.3f}]"
                          for key in ("variance", "best")))
        for one in found["importance"]
    ]  # fmt: skip
    return Numbers(("knob", "share of the variance", "share of what sets the best apart"), rows, "By knob")


def _picture(found: Found, one: Found) -> Picture | None:
    draw: Callable[..., Figure] | None = None
    if "points" in one:
        draw = effect_figure
    elif "rates" in one:
        draw = rates_figure
    return Picture(one["statement"], partial(draw, found, one)) if draw else None


def effect_figure(found: Found, one: Found, narrow: bool = False) -> Figure:
    """The runs that test an effect, beside all other effects, with means; of a pair, each side's colour."""
    figure, axes = new_figure(3.4, NARROW if narrow else WIDTH)
    points = one["points"]
    x, y = np.array(points["x"], dtype=float), np.array(points["y"], dtype=float)
    sides: list[tuple[Any, str, str]] = [
        (np.ones(len(x), dtype=bool), TEAL, "mean of runs nearby, 95 % interval")
    ]
    if "far" in points:
        far, used = (
            np.array(points["far"], dtype=bool),
            np.array(points.get("used", [True] * len(x)), dtype=bool),
        )
        other = one["columns"][1]
        if "near" in points:
            names = (f"{other}={points['near']}", f"{other}={points['cut']}")
        else:
            names = (f"{other} <= {points['cut']}", f"{other} > {points['cut']}")
        sides = [(~far & used, BLUE, names[0]), (far & used, RUST, names[1])]
    for place, (mask, colour, name) in enumerate(sides):
        shift = 0.0 if len(sides) == 1 else (place - 0.5) * 0.16
        _side(axes, x[mask], y[mask], points, colour, clean(name, 40), shift)
    _x_axis(axes, points, one["columns"][0])
    low, high = np.quantile(y, [0.01, 0.99])
    axes.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    axes.set_ylabel(f"{clean(found['target'], 30)}, other knobs taken out", parse_math=False)
    axes.grid(True, axis="y", color=FAINT, lw=0.9, zorder=0)
    put_legend(axes, loc="best")
    put_title(axes, clean(_title(one), 60 if narrow else 110))
    return figure


def _title(one: Found) -> str:
    kinds = {"main": "effect", "interaction": "depends on", "regime": "acts on one side of"}
    if one["kind"] == "main":
        return f"{one['columns'][0]}: its effect, on runs that it was not found on"
    return f"The effect of {one['columns'][0]} {kinds[one['kind']]} {one['columns'][1]}"


def _side(axes: Axes, x: Floats, y: Floats, points: Found, colour: str, name: str, shift: float) -> None:
    if points["levels"]:
        spread = 0.06 * np.sin(2.4 * np.arange(len(x)))
        axes.plot(x + shift + spread, y, "o", ms=2.6, color=colour, alpha=0.18, mew=0, zorder=2)
        bins = [(float(code) + shift, y[x == code]) for code in np.unique(x)]
    else:
        axes.plot(x, y, "o", ms=2.6, color=colour, alpha=0.18, mew=0, zorder=2)
        which = np.unique(x, return_inverse=True)[1]
        if which.max() >= 2 * BINS:
            edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
            which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(len(edges) - 2, 0))
        bins = [(float(x[which == k].mean()), y[which == k]) for k in np.unique(which)]
    bins = [(at, some) for at, some in bins if len(some) > 1]
    middle = [float(some.mean()) for _, some in bins]
    half = [1.96 * float(some.std(ddof=1)) / len(some) ** 0.5 for _, some in bins]
    line = "" if points["levels"] else "-"
    axes.errorbar(
        [at for at, _ in bins], middle, yerr=half, fmt=f"o{line}", ms=5.5, lw=1.6, color=colour, mec="white",
        elinewidth=1.6, label=name, zorder=4,
    )  # fmt: skip


def _x_axis(axes: Axes, points: Found, name: str) -> None:
    if points["levels"]:
        axes.set_xticks(
            range(len(points["levels"])), [clean(one, 16) for one in points["levels"]], parse_math=False
        )
        axes.set_xlim(-0.6, len(points["levels"]) - 0.4)
    elif len(set(points["x"])) <= BINS:
        codes = np.unique(points["x"])
        axes.set_xticks(codes, [f"{value:.4g}" for value in _values(codes, points)])
    elif points["scale"] != "linear":
        low, high = min(points["x"]), max(points["x"])
        step = max(1.0, np.ceil((high - low) / 7))
        ticks = np.arange(np.ceil(low), high + 1e-9, step) if high - low > 3 else np.linspace(low, high, 4)
        values = _values(ticks, points)
        axes.set_xticks(ticks, [f"{value:.0f}" if 100 <= value < 1e5 else f"{value:.2g}" for value in values])
    scale = ", logarithmic" if points["scale"] == "log" else ""
    axes.set_xlabel(f"{clean(name, 40)}{scale}", parse_math=False)


def _values(codes: Floats, points: Found) -> Floats:
    """The numbers that codes stand for."""
    if points["scale"] == "linear":
        return codes
    return np.asarray(2.0**codes if points["scale"] == "log" else points["unit"] * (2.0**codes - 1))


def rates_figure(found: Found, one: Found, narrow: bool = False) -> Figure:
    """How many runs fail inside a rule and outside."""
    figure, axes = new_figure(2.2, NARROW if narrow else WIDTH, left=1.6)
    for place, (key, colour) in enumerate((("inside", RUST), ("outside", SLATE))):
        lost, runs = one["rates"][key]
        share = lost / max(runs, 1)
        axes.barh([-place], [share], height=0.5, color=colour, alpha=0.85, zorder=2)
        label = f"{lost} of {runs}"
        axes.annotate(
            label, (share, -place), xytext=(6, -3), textcoords="offset points", fontsize=8.6, color=INK
        )
    axes.set_yticks([0, -1], ["inside the rule", "elsewhere"])
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("runs that failed")
    put_title(axes, clean(f"Runs fail where {one['rule']}", 46 if narrow else 100))
    return figure


def importance_figure(found: Found, narrow: bool = False) -> Figure:
    """Two measures of every knob's importance, with intervals."""
    rows = found["importance"][:MOST]
    width = NARROW if narrow else WIDTH
    longest = max(len(clean(one["column"], 24)) for one in rows)
    figure, axes = new_figure(1.3 + 0.34 * len(rows), width, left=0.35 + 0.085 * longest)
    for place, one in enumerate(rows):
        for key, colour, shift in (("variance", TEAL, 0.13), ("best", PALE, -0.13)):
            ends = one[key]
            axes.plot([ends["low"], ends["high"]], [shift - place] * 2, color=colour, lw=2.2, zorder=3)
            axes.plot([ends["value"]], [shift - place], "o", ms=5.5, color=colour, mec="white", zorder=4)
    axes.set_yticks(
        [-k for k in range(len(rows))], [clean(one["column"], 24) for one in rows], parse_math=False
    )
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    axes.plot([], [], "o-", color=TEAL, label="of the variance of all results")
    axes.plot([], [], "o-", color=PALE, label="of what sets the best tenth apart (PED-ANOVA)")
    axes.set_xlabel("share")
    put_legend(axes, loc="lower right")
    put_title(axes, "How much each knob matters")
    return figure
