"""The pictures of an ablation: effects with their intervals, a map of interactions, Shapley bars.

Each takes the result of `mendel ablate` as a mapping and returns a Figure. On the log2 CM scale axes are
marked with plain multipliers; an interaction's multiplier is that of two factors together over the product
of each one's own. Blue is a gain, rust a loss: the two are told apart without red and green, and filled
points from open ones without any colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from mendel.report.drawing import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    NARROW,
    RULE,
    RUST,
    SLATE,
    WIDTH,
    cm_axis,
    new_figure,
    plain,
    put_text,
    put_title,
)
from mendel.report.text import cm_number, signed

Found = Mapping[str, Any]

MOST_ROWS = 40
MOST_NAME, MOST_NARROW = 26, 18
"""Characters of a name beside an axis."""
ENDS = ("value", "low", "high", "all_low", "all_high")


def in_cm(found: Found) -> bool:
    """Whether effects are told as compute, rather than in the unit of the loss."""
    return bool(found["scale"] == "log2_cm")


def unit_of(found: Found) -> str:
    """What effects are told in."""
    return "log2 CM" if in_cm(found) else str(found["unit"])


def name_of(row: Found, most: int = MOST_NAME) -> str:
    """A row's factors, cut to what fits beside an axis; a short name leaves its room to the other."""
    names = list(row["factors"])
    if len(names) == 1:
        return short(names[0], most)
    half = (most + 2) // 2
    room = [max(half, 2 * half - len(other)) for other in reversed(names)]
    return " × ".join(short(name, one) for name, one in zip(names, room, strict=True))


def short(name: str, most: int = MOST_NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def ranked(rows: Sequence[Found], scale: str) -> list[Found]:
    """Largest gain first for main effects, largest size first for interactions."""
    if rows and rows[0]["kind"] == "interaction":
        return sorted(rows, key=lambda row: -abs(row[scale]["value"]))
    return sorted(rows, key=lambda row: -float(row[scale]["value"]))


def effects_figure(found: Found, narrow: bool = False) -> Figure:
    """Forest plot: main effects above, interactions below; thick lines are the 95 % intervals of each by
    itself, thin ones hold for all of a family at once."""
    scale = found["scale"]
    main, pairs = ranked(found["main"], scale), ranked(found["interactions"], scale)
    rows = [*main, *pairs][:MOST_ROWS]
    margins = {"left": 2.0, "right": 0.15} if narrow else {"left": 2.75, "right": 1.6}
    height = (1.85 if narrow else 1.6) + 0.26 * max(2, len(rows))
    figure, axes = new_figure(height, NARROW if narrow else WIDTH, **margins, bottom=1.2 if narrow else 0.95)
    span = _effect_axis(axes, found, [row[scale][end] for row in rows for end in ENDS])
    if narrow:
        axes.tick_params(axis="x", labelsize=6.8)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    for place, row in enumerate(rows):
        if place == len(main):
            axes.axhline(place - 0.5, color=RULE, lw=0.9, zorder=0)
        _effect_row(axes, place, row, scale, span, numbers=not narrow)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    cut = f" ({len(rows)} of {len(main) + len(pairs)})" if len(main) + len(pairs) > len(rows) else ""
    inches = axes.get_position().width * figure.get_figwidth()
    what = "What each change does" + (", and each pair beyond its sum" if pairs and not narrow else "")
    put_title(axes, what + cut, x=(0.1 - margins["left"]) / inches)
    if not narrow:
        head = "CM [95 % interval]" if in_cm(found) else f"{found['unit']} [95 %]"
        put_text(axes, 1.02, -0.95, head, transform=axes.get_yaxis_transform(), color=MUTED, size=8)
    _effect_legend(figure, "1" if in_cm(found) else "0", narrow)
    return figure


def _effect_axis(axes: Axes, found: Found, values: Sequence[float]) -> tuple[float, float]:
    if in_cm(found):
        axes.set_xlabel("compute multiplier (log scale)")
        return cm_axis(axes.xaxis, axes, values, least=0.12)
    reach = 1.08 * max(1e-6, *(abs(value) for value in values))
    axes.set_xlim(-reach, reach)
    axes.grid(True, axis="x", color=FAINT, lw=0.9, zorder=0)
    axes.set_xlabel(f"{found['unit']} saved (right is better)")
    return -reach, reach


def _effect_row(
    axes: Axes, place: int, row: Found, scale: str, span: tuple[float, float], numbers: bool
) -> None:
    effect = {end: float(np.clip(row[scale][end], *span)) for end in ENDS}
    shown = row[scale]["all_low"] > 0 or row[scale]["all_high"] < 0
    colour = (BLUE if row[scale]["value"] > 0 else RUST) if shown else SLATE
    axes.plot([effect["all_low"], effect["all_high"]], [place, place], color=colour, lw=1.0, zorder=2)
    axes.plot([effect["low"], effect["high"]], [place, place], color=colour, lw=3.0, alpha=0.85, zorder=3)
    for end, mark in (("all_low", "<"), ("all_high", ">")):
        if effect[end] != row[scale][end]:
            axes.plot([effect[end]], [place], mark, ms=4.5, color=colour, clip_on=False, zorder=4)
    face = colour if shown else "white"
    axes.plot([effect["value"]], [place], "o", ms=6.2, color=face, mec=colour, mew=1.4, zorder=5)
    mark = " *" if row["uses_failures"] else ""
    mark += " ≡" if row["kind"] == "interaction" and row["aliases"] else ""
    side = axes.get_yaxis_transform()
    name = name_of(row, MOST_NAME if numbers else MOST_NARROW)
    put_text(axes, -0.018, place, name + mark, ha="right", va="center", transform=side, color=INK)
    if numbers:
        put_text(
            axes, 1.02, place, effect_text(row[scale], scale), va="center", transform=side, color=INK, size=8
        )


def effect_text(effect: Found, scale: str) -> str:
    """Estimate with its own 95 % interval, as a multiplier or in the unit of the loss."""
    if scale == "log2_cm":
        return f"{cm_number(effect['value'])} [{cm_number(effect['low'])}, {cm_number(effect['high'])}]"
    return f"{signed(effect['value'])} [{signed(effect['low'])}, {signed(effect['high'])}]"


def _effect_legend(figure: Figure, middle: str, narrow: bool) -> None:
    handles = [
        Line2D([], [], color=BLUE, lw=0, marker="o", ms=6, label=f"shown above {middle}"),
        Line2D([], [], color=RUST, lw=0, marker="o", ms=6, label=f"shown below {middle}"),
        Line2D([], [], color=SLATE, lw=0, marker="o", ms=6, mfc="white", label="not shown"),
        Line2D([], [], color=MUTED, lw=3.0, label="95 % interval"),
        Line2D([], [], color=MUTED, lw=1.0, label="95 % for all of a kind at once"),
    ]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.04 / figure.get_figheight()),
        frameon=False, ncols=2 if narrow else 5, fontsize=8, handlelength=1.6, columnspacing=1.3,
        labelcolor=INK,
    )  # fmt: skip


# --- interactions ---------------------------------------------------------------------------------------


def interaction_figure(found: Found, narrow: bool = False) -> Figure:
    """Each pair of factors: what they gain together beyond the sum of what each gains.

    Bold values are shown by their simultaneous interval. `≡`: the design cannot tell this pair from another;
    hatched: nothing at all is known of the pair by itself.
    """
    names = [factor["name"] for factor in found["factors"]]
    count, scale = len(names), found["scale"]
    width, left = (NARROW, 1.35) if narrow else (WIDTH, 1.75)
    side = min(1.05 * (count - 1), width - left - 1.0)
    tall = max(1.0, 0.48 * (count - 1))
    height = tall + 0.62 + 1.05
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((left / width, 1.05 / height, side / width, tall / height))
    plain(axes)
    values: dict[tuple[int, int], tuple[Found, bool]] = {}
    for row in found["interactions"]:
        for pair, sign, own in _cells_of(row, names):
            values[pair] = ({**row[scale], "value": sign * row[scale]["value"]}, own)
    # As far as the widest interval: an unshown value is pale, however small they all are.
    sizes = [abs(effect["value"]) for effect, _ in values.values()]
    most = max([1e-9, *sizes, *((e["all_high"] - e["all_low"]) / 2 for e, _ in values.values())])
    colours = LinearSegmentedColormap.from_list("rust-white-blue", [RUST, "#ffffff", BLUE])
    norm = Normalize(-most, most)
    for low in range(count):
        for high in range(low + 1, count):
            _map_cell(
                axes, low, high, values.get((low, high)), colours, norm, roomy=count <= (4 if narrow else 8)
            )
    axes.set_xlim(-0.5, count - 1.5)
    axes.set_ylim(count - 0.5, 0.5)
    axes.set_xticks(
        range(count - 1),
        [short(name, 18) for name in names[:-1]],
        rotation=30,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(1, count), [short(name, 18) for name in names[1:]])
    axes.tick_params(length=0, labelcolor=INK)
    for edge in axes.spines.values():
        edge.set_visible(False)
    _colour_bar(figure, axes, colours, norm, found)
    notes = ["bold: shown by its simultaneous interval"] + ["≡ not told from another pair"] * any(
        not own for _, own in values.values()
    )
    notes += ["hatched: not told from a main effect"] * (len(values) < count * (count - 1) // 2)
    figure.text(left / width, 0.08 / height, ";  ".join(notes), fontsize=7.8, color=MUTED)
    put_title(axes, "What pairs gain beyond their sum", x=-left / side + 0.1 / side)
    return figure


def _cells_of(row: Found, names: Sequence[str]) -> list[tuple[tuple[int, int], float, bool]]:
    """The pairs that a row speaks of: its own, and those it is mixed with, with their sign."""
    found = [(tuple(sorted(names.index(name) for name in row["factors"])), 1.0, not row["aliases"])]
    for alias in row["aliases"]:
        if len(alias["factors"]) == 2:
            pair = tuple(sorted(names.index(name) for name in alias["factors"]))
            found.append((pair, float(np.sign(alias["share"])), False))
    return [((pair[0], pair[1]), sign, own) for pair, sign, own in found]


def _map_cell(
    axes: Axes,
    low: int,
    high: int,
    value: tuple[Found, bool] | None,
    colours: LinearSegmentedColormap,
    norm: Normalize,
    roomy: bool,
) -> None:
    box = {"xy": (low - 0.5, high - 0.5), "width": 1.0, "height": 1.0}
    if value is None:
        axes.add_patch(Rectangle(**box, facecolor="white", edgecolor=RULE, hatch="///", lw=0.8))  # type: ignore[arg-type]
        return
    effect, own = value
    colour = colours(norm(effect["value"]))
    axes.add_patch(Rectangle(**box, facecolor=colour, edgecolor=RULE, lw=0.8))  # type: ignore[arg-type]
    shown = effect["all_low"] > 0 or effect["all_high"] < 0
    dark = sum(c * w for c, w in zip(colour[:3], (0.299, 0.587, 0.114), strict=True)) < 0.55
    text = signed(effect["value"], 3 if abs(effect["value"]) < 0.1 else 2) + ("" if own else " ≡")
    put_text(
        axes, low, high, text, size=8.6 if roomy else 6.6, ha="center", va="center",
        color="white" if dark else INK, fontweight="bold" if shown else "normal",
    )  # fmt: skip


def _colour_bar(
    figure: Figure, axes: Axes, colours: LinearSegmentedColormap, norm: Normalize, found: Found
) -> None:
    box = axes.get_position()
    width = figure.get_figwidth()
    bar = figure.add_axes((box.x1 + 0.14 / width, box.y0, 0.13 / width, box.height))
    steps = np.linspace(float(norm.vmin or 0.0), float(norm.vmax or 0.0), 128)
    bar.imshow(steps[:, None], aspect="auto", origin="lower", cmap=colours, norm=norm)
    ticks = np.linspace(0, 127, 3)
    bar.set_yticks(ticks, [signed(float(value), 2) for value in np.linspace(steps[0], steps[-1], 3)])
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.tick_params(colors=MUTED, labelsize=7.5, length=2)
    for edge in bar.spines.values():
        edge.set_visible(False)
    bar.set_title(unit_of(found), fontsize=7.5, color=MUTED, loc="left", pad=4)


# --- shares -----------------------------------------------------------------------------------------------


def shapley_figure(found: Found, narrow: bool = False) -> Figure:
    """Shapley values of the whole gain, with 95 % intervals, and the share of the whole where it is told."""
    parts = sorted(found["shapley"]["parts"], key=lambda part: -part["value"])
    margins = {"left": 2.0, "right": 0.15} if narrow else {"left": 2.75, "right": 1.6}
    figure, axes = new_figure(
        1.3 + 0.32 * max(2, len(parts)), NARROW if narrow else WIDTH, **margins, bottom=0.62
    )
    ends = [0.0, *(end for part in parts for end in (part["low"], part["high"]))]
    room = 0.06 * (max(ends) - min(ends) or 1.0)
    axes.set_xlim(min(ends) - (room if min(ends) < 0 else 0.0), max(ends) + room)
    axes.grid(True, axis="x", color=FAINT, lw=0.9, zorder=0)
    side = axes.get_yaxis_transform()
    for place, part in enumerate(parts):
        colour = BLUE if part["value"] > 0 else RUST
        axes.barh(place, part["value"], height=0.56, color=colour, alpha=0.75, zorder=2)
        axes.plot([part["low"], part["high"]], [place, place], color=INK, lw=1.3, zorder=4)
        for end in (part["low"], part["high"]):
            axes.plot([end, end], [place - 0.13, place + 0.13], color=INK, lw=1.3, zorder=4)
        put_text(
            axes, -0.018, place, short(part["factor"]), ha="right", va="center", transform=side, color=INK
        )
        if not narrow:
            put_text(axes, 1.02, place, share_text(part), va="center", transform=side, color=INK, size=8)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=3)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    unit = "log2 compute multiplier" if in_cm(found) else f"{found['unit']} saved"
    axes.set_xlabel(f"Shapley value ({unit}), 95 % interval")
    inches = axes.get_position().width * figure.get_figwidth()
    put_title(axes, "Each change's share of the whole gain", x=(0.1 - margins["left"]) / inches)
    return figure


def share_text(part: Found) -> str:
    """A share of the whole with its interval, or that the whole is not told from nothing."""
    if part["share"] is None or part["share_low"] is None:
        return "share not told"
    return f"{part['share']:.0%} [{part['share_low']:.0%}, {part['share_high']:.0%}]".replace("-", "−")
