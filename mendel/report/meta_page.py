"""The page of `mendel meta`: a forest of studies for each idea, from its JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from mendel.report.drawing import BLUE, INK, MUTED, PALE, TEAL, cm_axis
from mendel.report.evidence_page import Numbers, Picture, Section
from mendel.report.table_figures import legend_below, rows_figure

Found = Mapping[str, Any]
CM = "log2 CM"


def meta_sections(found: Sequence[Found]) -> list[Section]:
    """A section for each idea."""
    return [_section(one) for one in found]


def _section(one: Found) -> Section:
    head = ("study", "effect", "se", "effects", "what it is")
    rows = [
        [row["study"], f"{row['effect']:+.4g}", f"{row['se']:.3g}", str(row["effects"]), row["where"]]
        for row in one["studies"]
    ]
    caption = "The light bar is where 95 % of new testbeds like these would lie."
    picture = Picture(
        "Effects of each study and together", partial(forest, one), caption if len(one["studies"]) > 2 else ""
    )
    numbers = Numbers(head, rows, f"Studies ({one['unit']})", (1, 2, 3))
    return Section(one["idea"] or "The effect", one["words"], [picture], [numbers])


def forest(one: Found, narrow: bool = False) -> Figure:
    """Each study with its interval, the mean of all, and where a new testbed would lie."""
    pooled, studies = one["pooled"], one["studies"]
    several = len(studies) > 1
    names = [row["study"] for row in studies] + ["together"] * several
    figure, axes = rows_figure("Studies, and together", names, narrow)
    ends = [(row["effect"] - 1.96 * row["se"], row["effect"] + 1.96 * row["se"]) for row in studies]
    seen = [value for pair in ends for value in pair]
    for place, (row, (low, high)) in enumerate(zip(studies, ends, strict=True)):
        axes.plot([low, high], [-place, -place], color=BLUE, lw=1.8, zorder=3)
        axes.plot([row["effect"]], [-place], "s", ms=5.5, color=BLUE, mec="white", zorder=4)
    if several:
        place = -len(studies)
        if pooled["new_low"] is not None:
            new = [pooled["new_low"], pooled["new_high"]]
            axes.plot(new, [place, place], color=PALE, lw=5, label="a new testbed, 95 %", zorder=2)
            seen += new
        axes.plot([pooled["low"], pooled["high"]], [place, place], color=TEAL, lw=2.2, zorder=3)
        axes.plot([pooled["mean"]], [place], "D", ms=7, color=TEAL, mec="white", label="mean", zorder=4)
        seen += [pooled["low"], pooled["high"]]
    axes.plot([], [], "s-", color=BLUE, ms=5.5, label="a study, 95 % interval")
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    if one["least"]:
        axes.axvline(one["least"], color=INK, lw=1.0, ls=(0, (4, 3)), label="least that counts", zorder=1)
    if one["unit"] == CM:
        cm_axis(axes.xaxis, axes, seen)
        axes.set_xlabel("compute multiplier (log scale)")
    else:
        axes.set_xlabel(one["unit"])
    legend_below(figure, axes)
    return figure
