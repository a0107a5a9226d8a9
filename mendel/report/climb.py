"""How gains fared at higher rungs: a sentence, a picture of CM against compute, the scores of forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mendel.records import Finding, Interval, Transfer
from mendel.report.drawing import (
    BLUE,
    FAINT,
    MUTED,
    NARROW,
    RUST,
    SLATE,
    WIDTH,
    cm_axis,
    label_at,
    new_figure,
    put_legend,
    put_title,
    short_flops,
)
from mendel.report.html import Html, el, join, table
from mendel.report.svg import two_widths
from mendel.report.text import signed

COLOURS = {Transfer.TRANSFERS: BLUE, Transfer.DOES_NOT: RUST}


def climb_block(finding: Finding, place: int) -> Html | None:
    """What its rungs say of one finding; nothing where it did not climb."""
    if finding.extrapolation is None:
        return None
    title = f"{finding.idea.name}: compute multiplier against compute"
    rows = [
        [f"rung {one.rung}", f"{one.flops:.3g}", str(one.pairs), _text(one.log2_cm)]
        for one in finding.by_rung
    ]
    ahead = finding.extrapolation
    rows.append(["target", f"{ahead.flops:.3g}", "", f"{_text(ahead.log2_cm)} by the trend"])
    lowest = f", at the lowest {finding.measured}" if finding.shrunk else ""
    caption = (
        f"Points: the gain on fresh pairs at each rung{lowest}, with 95 % intervals. Band: the "
        "trend with its 95 % interval, up to the target scale (dotted); it allows for errors of measurement, "
        "for the slope, and for how much ideas differ."
    )
    return join(
        el("h4", "At higher rungs"),
        el("p", finding.transfer_words),
        el("figure", two_widths(f"climb{place}", title, climb_figure, finding), el("figcaption", caption)),
        table(("scale", ahead.currency, "pairs", "log2 CM"), rows, numeric=(1, 2, 3)),
    )


def climb_figure(finding: Finding, narrow: bool = False) -> Figure:
    """CM against compute, both on log scales: interval bars, the extrapolated band, the target."""
    figure, axes = new_figure(2.9, NARROW if narrow else WIDTH)
    ahead = finding.extrapolation
    assert ahead is not None
    flops, value, low, high = ([row[column] for row in ahead.band] for column in range(4))
    axes.set_xscale("log")
    axes.fill_between(flops, low, high, color=SLATE, alpha=0.16, lw=0, zorder=1)
    axes.plot(flops, value, color=SLATE, lw=1.4, label="trend, 95 % interval", zorder=2)
    colour = COLOURS.get(finding.transfer, SLATE)
    for place, one in enumerate(finding.by_rung):
        bar, label = one.log2_cm, f"measured: {finding.transfer.value}" if place == 0 else None
        axes.plot([one.flops] * 2, [bar.low, bar.high], color=colour, lw=2.2, zorder=3)
        axes.plot([one.flops], [bar.value], "o", ms=6.2, color=colour, mec="white", label=label, zorder=4)
        label_at(axes, one.flops, bar.high, f"rung {one.rung}", (0, 5), ha="center", color=MUTED)
    axes.axhline(0, color=MUTED, lw=1.0, zorder=1)
    axes.axvline(ahead.flops, color=MUTED, lw=1.2, ls=":", zorder=1, label="target scale")
    ends = [*low, *high, *(end for one in finding.by_rung for end in (one.log2_cm.low, one.log2_cm.high))]
    cm_axis(axes.yaxis, axes, [*ends, 1.25 * max(ends)], symmetric=False)
    first, last = finding.by_rung[0].flops, max(ahead.flops, finding.by_rung[-1].flops)
    margin = (last / first) ** 0.12
    axes.set_xlim(first / margin, last * margin)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short_flops(x)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x", color=FAINT, lw=0.9, zorder=0)
    axes.set_xlabel(f"training compute of a run, {ahead.currency}")
    axes.set_ylabel("compute multiplier")
    put_legend(axes, loc="upper right" if narrow else "upper center", ncols=1 if narrow else 3)
    put_title(axes, f"{finding.idea.name}: compute multiplier against compute")
    return figure


def climb_scores(summary: Mapping[str, Any]) -> Html | None:
    """How P(transfer) and the gains that were expected at the next rung came true."""
    found = summary.get("climb")
    if not found or not found["forecasts"]["outcomes"]:
        return None
    scores = found["forecasts"]
    rows = [
        [name, f"{kept['ideas']}", f"{100 * kept['per_rung']:.0f} ± {100 * kept['per_rung_sd']:.0f} %"]
        for name, kept in [("all", found["retention"]["all"]), *found["retention"]["classes"].items()]
    ]
    bias, inside, log_score = (
        scores["bias"]["value"],
        scores["within_90"]["value"],
        scores["log_score"]["value"],
    )
    told = (
        f"{found['words'].replace('+-', '±')} Of the gains expected at the next rung the bias is "
        f"{signed(bias, 2)} log2 CM, 90 % intervals covered {100 * inside:.0f} %, and the log score is "
        f"{signed(log_score, 2)}; that of P(transfer) is {signed(scores['p_log_score']['value'], 2)}. The "
        "lab's noise is allowed for in all of them."
    )
    head = ("class", "changes", "share of a gain that four times the compute leaves")
    return join(el("h3", "Climbs"), el("p", told), table(head, rows, numeric=(1, 2)))


def _text(log2_cm: Interval) -> str:
    bound = "≥ " if log2_cm.bounded else ""
    return f"{bound}{signed(log2_cm.value, 3)} [{signed(log2_cm.low, 3)}, {signed(log2_cm.high, 3)}]"
