"""The pictures of the report, as matplotlib figures without pyplot and without global state.

Each function takes plain values and returns a Figure, so that a script may save it as a PNG; `svg.inline`
puts it into a page. Axes are honest: compute multipliers stand on a logarithmic axis that is symmetric
around 1, and what is cut off at an edge is marked with an arrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from mendel.records import Interval, PlanKind
from mendel.report.drawing import (
    BLUE,
    FAINT,
    INK,
    MINT,
    MUTED,
    NARROW,
    PALE,
    RULE,
    RUST,
    SLATE,
    TEAL,
    WIDTH,
    cm_axis,
    label_at,
    new_figure,
    put_legend,
    put_text,
    put_title,
    short_flops,
    time_unit,
)  # fmt: skip
from mendel.report.facts import Judged, ScalingPanel, planted_as
from mendel.report.text import cm_number, cm_text

Floats = NDArray[np.float64]

COLOURS = {
    "adopted": TEAL,
    "claimed": BLUE,
    "carried": MINT,
    "not claimed": SLATE,
    "worse": RUST,
    "screened": PALE,
}
MEANINGS = {
    "adopted": "adopted",
    "claimed": "claimed, not adopted",
    "carried": "carried: proved with the trunk, not apart",
    "not claimed": "confirmation, not claimed",
    "worse": "confirmation, worse",
    "screened": "screened only: selected, not a claim",
}
LIGHT = ("screened", "carried")
"""Groups whose own intervals are of screening alone."""
MOST_ROWS = 60
"""Rows of the forest plot; a larger campaign is cut to its weightiest ideas."""


def trunk_figure(
    points: Sequence[Mapping[str, Any]], recipe: str, by_runs: bool, total: float, narrow: bool = False
) -> Figure:
    """The trunk's CM over the original recipe against what the campaign had spent by then.

    `points` are those of `mendel.campaign.summary.trunk_points`, `total` is all that was spent, in runs
    (`by_runs`) or worker seconds.
    """
    figure, axes = new_figure(3.7, NARROW if narrow else WIDTH)
    unit, scale = ("runs", 1.0) if by_runs else time_unit(total)
    key = "runs" if by_runs else "worker_seconds"
    rungs = sorted({int(point["rung"]) for point in points}) or [0]
    intervals = [Interval.model_validate(point["log2_cm"]) for point in points]
    span = cm_axis(
        axes.yaxis, axes, [b for i in intervals for b in (i.value, i.low, i.high)], symmetric=False
    )
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
    axes.set_xlim(-0.015 * end, 1.04 * end)
    places = [float(point[key]) / scale for point in points]
    _annotate_joins(axes, points, intervals, places, rungs[0])
    label_at(axes, 0, 0, f"{recipe}, unchanged", (7, 3), ha="left", va="bottom", color=MUTED)
    axes.set_xlabel(f"spent on training and scoring ({unit})" if not by_runs else "runs done")
    axes.set_ylabel("compute multiplier (log scale)")
    put_title(axes, f"The trunk against the original recipe, {recipe}")
    if points:
        put_legend(axes, loc="upper left")
    return figure


def _whisker(axes: Axes, x: float, interval: Interval, span: tuple[float, float], colour: str) -> None:
    low, high = max(interval.low, span[0]), min(interval.high, span[1])
    axes.plot([x, x], [low, high], color=colour, lw=2.0, alpha=0.85, zorder=3)
    if interval.high > span[1] or interval.high_bounded:
        axes.plot([x], [high], "^", ms=5, color=colour, clip_on=False, zorder=3)


def _annotate_joins(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    intervals: Sequence[Interval],
    places: Sequence[float],
    rung: int,
) -> None:
    """Beside each point of `rung`: what joined and left the trunk, or that it was checked."""
    names: list[str] = []
    level, end = 0.0, axes.get_xlim()[1]
    for point, interval, x in zip(points, intervals, places, strict=True):
        if point["rung"] != rung:
            continue
        now = list(point["adopted"])
        lines = [f"+ {name}" for name in now if name not in names]
        lines += [f"− {name}" for name in names if name not in now]
        if not lines:
            low = max(interval.low, axes.get_ylim()[0])
            side = "right" if x > 0.85 * end else "center"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            text = f"checked: {cm_text(interval)}"
            label_at(axes, x, low, text, (0, -6), ha=side, va="top", color=MUTED, bbox=box)
        else:
            gaps = (
                x - max([0.0, *(p for p in places if p < x)]),
                min([end, *(p for p in places if p > x)]) - x,
            )
            _stack(axes, x, (level, interval.value), lines, gaps)
        names, level = now, interval.value


MOST_LINES = 8
"""Names beside one point of the trunk."""


def _stack(
    axes: Axes, x: float, levels: tuple[float, float], lines: list[str], gaps: tuple[float, float]
) -> None:
    """Lines of text beside the rise at `x` from one level to the next, in the wider of the gaps to the points
    before and after it. Each line is its own element: a page lays it out in its own font."""
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"and {len(lines) - MOST_LINES + 1} more"]
    figure = axes.get_figure(root=True)
    assert figure is not None
    inches = axes.get_position().width * figure.get_figwidth() / (axes.get_xlim()[1] - axes.get_xlim()[0])
    needed = 0.066 * max(len(line) for line in lines) + 0.15
    # Left of the rise and above the old level, or right of it and below the new one: both are empty.
    if gaps[0] * inches >= min(needed, gaps[1] * inches):
        at, first, side, edge = levels[0], (-7.0, 5 + 11.5 * (len(lines) - 1)), "right", "bottom"
    else:
        at, first, side, edge = levels[1], (7.0, -6.0), "left", "top"
    for place, line in enumerate(lines):
        label_at(axes, x, at, line, (first[0], first[1] - 11.5 * place), ha=side, va=edge, color=INK)


# --- forest -----------------------------------------------------------------------------------------------


def forest_figure(rows: Sequence[Judged], narrow: bool = False) -> Figure:
    """Every judged idea with its interval, on a logarithmic CM axis that is symmetric around 1.

    `rows` come weightiest first; of more than MOST_ROWS only the first are drawn.
    """
    shown = list(rows[:MOST_ROWS])
    height = 1.45 + 0.235 * max(1, len(shown))
    margins = {"left": 1.72, "right": 0.15} if narrow else {"left": 2.02, "right": 2.35}
    figure, axes = new_figure(height, NARROW if narrow else WIDTH, **margins, bottom=1.1 if narrow else 0.84)
    weighty = [r.log2_cm for r in shown if r.group not in LIGHT]
    ends = [b for i in weighty for b in (i.value, i.low, i.high)]
    ends += [row.log2_cm.value for row in shown if row.group in LIGHT]
    span = cm_axis(axes.xaxis, axes, ends)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    before = shown[0].group if shown else ""
    for place, row in enumerate(shown):
        if row.group != before:
            axes.axhline(place - 0.5, color=RULE, lw=0.8, zorder=0)
            before = row.group
        _forest_row(axes, place, row, span, numbers=not narrow)
    axes.set_ylim(max(1, len(shown)) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    over = "CM over its round's trunk" if narrow else "compute multiplier over the trunk of its round"
    axes.set_xlabel(f"{over}, 95 % interval (log scale)")
    cut = f" ({len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""
    inches = axes.get_position().width * figure.get_figwidth()
    put_title(axes, f"Every judged idea{cut}", x=(0.1 - margins["left"]) / inches)
    _forest_legend(figure, shown, columns=2 if narrow else 6)
    return figure


def _forest_row(axes: Axes, place: int, row: Judged, span: tuple[float, float], numbers: bool) -> None:
    colour, light = COLOURS[row.group], row.group in LIGHT
    low, high = max(row.log2_cm.low, span[0]), min(row.log2_cm.high, span[1])
    value = min(max(row.log2_cm.value, span[0]), span[1])
    axes.plot([low, high], [place, place], color=colour, lw=1.1 if light else 2.2, zorder=2)
    beyond = row.log2_cm.high > span[1] or row.log2_cm.high_bounded
    for cut, edge, mark in ((row.log2_cm.low < span[0], low, "<"), (beyond, high, ">")):
        if cut:
            axes.plot([edge], [place], mark, ms=4.5, color=colour, clip_on=False, zorder=3)
    fresh = row.stage is PlanKind.ESTIMATE
    face = colour if fresh else "white"
    shape = "D" if row.blank else "o"
    size = 4.2 if light else 6.2
    axes.plot([value], [place], shape, ms=size, color=face, mec=colour, mew=1.3, zorder=4)
    left, right = axes.get_yaxis_transform(), axes.get_yaxis_transform()
    name = f"{row.name} ({planted_as(row.blank)})" if row.blank else row.name
    put_text(
        axes, -0.018, place, name, ha="right", va="center", transform=left, color=MUTED if light else INK
    )
    if not numbers:
        return
    failed = f", {row.failures} failed" if row.failures else ""
    shade = MUTED if light else INK
    put_text(
        axes,
        1.02,
        place,
        cm_text(row.log2_cm, marked=False),
        va="center",
        transform=right,
        color=shade,
        size=8,
    )
    pairs = f"{row.pairs} pair{'s'[: row.pairs != 1]}{failed}"
    put_text(axes, 1.32, place, pairs, va="center", transform=right, color=MUTED, size=8)


def _forest_legend(figure: Figure, rows: Sequence[Judged], columns: int) -> None:
    groups = [group for group in COLOURS if any(row.group == group for row in rows)]
    handles = [
        Line2D(
            [],
            [],
            color=COLOURS[group],
            lw=1.1 if group in LIGHT else 2.2,
            marker="o",
            ms=5.5,
            mec=COLOURS[group],
            mfc="white" if group not in ("adopted", "claimed") else COLOURS[group],
            label=MEANINGS[group],
        )
        for group in groups
    ]
    if any(row.blank for row in rows):
        handles.append(Line2D([], [], color=MUTED, lw=0, marker="D", ms=4.5, mfc="white", label="planted"))
    if handles:
        low = 0.04 / figure.get_figheight()
        figure.legend(
            handles=handles, loc="lower center", bbox_to_anchor=(0.5, low), frameon=False,
            ncols=min(columns, len(handles)), fontsize=8, handlelength=1.8, columnspacing=1.4, labelcolor=INK,
        )  # fmt: skip


# --- scaling ----------------------------------------------------------------------------------------------

ALPHAS = np.geomspace(0.02, 2.5, 240)
"""Exponents tried for the drawn curve."""


def scaling_figure(panel: ScalingPanel, recipe: str, narrow: bool = False) -> Figure:
    """What a compute multiplier is: the original's loss against compute at one rung, and how far along its
    curve one would have to go to reach the trunk."""
    figure, axes = new_figure(3.9 if narrow else 4.3, NARROW if narrow else WIDTH)
    axes.set_ylabel(panel.unit)
    _scaling_panel(axes, panel, recipe, roomy=not narrow)
    put_title(axes, f"What the compute multiplier means (rung {panel.rung})")
    return figure


def fit_for_drawing(points: Sequence[tuple[float, float]]) -> tuple[float, float, float] | None:
    """(E, A, alpha) of L(C) = E + A (C / C1)^-alpha through (C, L) points, C1 the smallest C; None with fewer
    than three budgets. Least squares of relative errors, E >= 0: only for the picture."""
    c, loss = np.array(points, dtype=float).reshape(-1, 2).T
    if len(np.unique(c)) < 3:
        return None
    best: tuple[float, tuple[float, float, float]] | None = None
    for alpha in ALPHAS:
        basis = (c / c.min()) ** -alpha
        for columns in (np.stack([np.ones_like(basis), basis], axis=1), basis[:, None]):
            solution = np.linalg.lstsq(columns / loss[:, None], np.ones_like(loss), rcond=None)[0]
            floor, scale = (0.0, *solution) if len(solution) == 1 else tuple(solution)
            cost = float((((floor + scale * basis) / loss - 1) ** 2).sum())
            if floor >= 0 and scale > 0 and (best is None or cost < best[0]):
                best = cost, (float(floor), float(scale), float(alpha))
    return best[1] if best else None


def _scaling_panel(axes: Axes, panel: ScalingPanel, recipe: str, roomy: bool) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(f"training compute ({panel.currency})")
    axes.grid(True, color=FAINT, lw=0.9, zorder=0)
    if not panel.points:
        return
    c, loss = np.array(panel.points).T
    fit = fit_for_drawing(panel.points)

    def curve(flops: Any) -> Any:
        if fit is None:
            budgets = np.unique(c)
            means = [loss[c == budget].mean() for budget in budgets]
            return np.interp(np.log(flops), np.log(budgets), means)
        return fit[0] + fit[1] * (np.asarray(flops) / c.min()) ** -fit[2]

    measured = np.geomspace(c.min(), c.max(), 100)
    axes.plot(measured, curve(measured), color=SLATE, lw=2.0, zorder=2)
    axes.plot(c, loss, "o", ms=5, color=SLATE, mec="white", mew=0.8, zorder=3)
    low, high = float(c.min()), float(c.max())
    if panel.flops and panel.log2_cm is not None:
        end = panel.flops * 2.0 ** min(panel.log2_cm.high, 12.0)
        high = max(high, panel.flops * 2.0**panel.log2_cm.value)
        if high > c.max() and fit is not None:
            beyond = np.geomspace(c.max(), high * 1.15, 40)
            axes.plot(beyond, curve(beyond), color=SLATE, lw=1.4, ls=(0, (4, 3)), zorder=2)
        end_of_way = float(curve(panel.flops * 2.0**panel.log2_cm.value))
        _distance(axes, panel, recipe, float(curve(panel.flops)), end_of_way, roomy)
        high = max(high, min(end, 4 * high))
    label_at(axes, low, float(curve(low)), recipe, (9, 0), color=MUTED, va="center", ha="left")
    axes.set_xlim(low * 0.8, high * 1.35)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_flops(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def _distance(axes: Axes, panel: ScalingPanel, recipe: str, here: float, there: float, roomy: bool) -> None:
    """The trunk's point, and the horizontal way from it to the curve: the compute multiplier."""
    assert panel.flops and panel.log2_cm is not None
    cm, flops = panel.log2_cm, panel.flops
    gain = panel.difference
    reached = flops * 2.0**cm.value
    # Where the last check has not been made yet, the loss is the one its multiplier stands for.
    fitted = here - gain.value if gain else there
    axes.plot([flops], [here], "o", ms=8, color="white", mec=SLATE, mew=1.6, zorder=4)
    axes.plot([flops, flops], [here, fitted], color=TEAL, lw=1.0, ls=(0, (1, 2)), zorder=2)
    band = [flops * 2.0 ** min(edge, 12.0) for edge in (cm.low, cm.high)]
    axes.plot(band, [fitted, fitted], color=TEAL, lw=9, alpha=0.16, solid_capstyle="butt", zorder=2)
    axes.annotate(
        "", (reached, fitted), (flops, fitted),
        arrowprops={"arrowstyle": "-|>", "color": TEAL, "lw": 2.0, "shrinkA": 5, "shrinkB": 0}, zorder=4,
    )  # fmt: skip
    if gain:
        axes.plot([flops, flops], [here - gain.low, here - gain.high], color=TEAL, lw=2.2, zorder=4)
    axes.plot([flops], [fitted], "o", ms=8.5, color=TEAL, mec="white", mew=1.2, zorder=5)
    low = axes.get_ylim()[0]
    bottom = min(low, fitted - 0.2 * (axes.get_ylim()[1] - low))
    axes.plot([reached, reached], [bottom, fitted], color=TEAL, lw=1.0, ls=(0, (1, 2)), zorder=2)
    axes.set_ylim(bottom=bottom)
    # Below the arrow and left of its end: there the falling curve never is.
    text = f"CM {cm_text(cm)}"
    size = 9.5 if roomy else 8.3
    label_at(axes, reached, fitted, text, (-5, -8), size, ha="right", va="top", color=TEAL, weight="bold")
    if roomy:
        least = "at least " if cm.bounded else ""
        more = f"{recipe} needs {least}{cm_number(cm.value)} times the compute for this loss"
        label_at(axes, reached, fitted, more, (-5, -21), 8.4, ha="right", va="top", color=MUTED)
        label_at(axes, flops, fitted, "trunk", (-9, 0), ha="right", va="center", color=TEAL, weight="bold")
