"""The section on what the trunk's changes still earn: in words, as a forest plot, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from mendel.records import Earning, Interval, Recheck, Standing
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
    new_figure,
    put_text,
    put_title,
)
from mendel.report.facts import Facts
from mendel.report.html import Child, Html, el, join, table
from mendel.report.svg import two_widths
from mendel.report.text import signed

COLOURS = {Standing.EARNS: BLUE, Standing.UNDECIDED: SLATE, Standing.EVICTED: RUST}
MOST_NAME, MOST_NARROW = 30, 20
"""Characters of a name beside the axis."""


def recheck_section(found: Facts, summary: Mapping[str, Any]) -> Html:
    """Every recheck, the last one first: it is of the trunk that stands."""
    rechecks = [Recheck.model_validate(one) for one in summary.get("rechecks", ())]
    if not rechecks:
        said = [event.message for event in found.store.events(found.campaign.id) if event.stage == "recheck"]
        why = said[-1] if said else "the trunk was not rechecked: none of two changes or more was due"
        return el("p", f"{why[0].upper()}{why[1:]}.")
    told = (
        "On fresh seeds the trunk was trained beside the original and beside itself without each of its "
        "changes, at equal cost. A change is evicted that is shown to add less than the smallest gain worth "
        "having, or whose mean says so after the most pairs it may have. Intervals hold for all changes at "
        "once, at every look."
    )
    unit = found.fingerprint.unit
    latest_first = reversed([*enumerate(rechecks)])
    return join(el("p", told), [_one(record, place, unit) for place, record in latest_first])


def _one(record: Recheck, place: int, unit: str) -> Html:
    again = f", after {record.attempt} eviction{'s'[: record.attempt > 1]}" if record.attempt else ""
    drawn = two_widths(f"recheck{place}", "What each change still adds", earnings_figure, record)
    caption = (
        "Points: what a change adds to the trunk that has all the others. Open diamonds: what it added when "
        "it was adopted. Dotted: the least that a change must add."
    )
    if record.interactions:
        caption += " Squares: what two changes add together beyond the sum of what each adds."
    return el(
        "article",
        el("h3", f"Before round {record.round}{again}"),
        el("ul", [el("li", sentence) for sentence in record.summary]),
        el("figure", drawn, el("figcaption", caption)),
        el("details", el("summary", "Numbers"), _numbers(record, unit)),
    )


def _numbers(record: Recheck, unit: str) -> Html:
    rows: list[Sequence[Child]] = [
        [
            one.name + (f" (with {', '.join(one.with_it)})" if one.with_it else ""),
            one.standing.value,
            str(one.pairs),
            _text(one.difference, 4),
            _text(one.log2_cm),
            _text(one.at_adoption),
        ]
        for one in record.changes
    ]
    rows += [
        [" × ".join(pair.changes), "interaction", str(pair.pairs), "", _text(pair.log2_cm), ""]
        for pair in record.interactions
    ]
    head = ("change", "standing", "pairs", f"adds, {unit}", "adds, log2 CM", "log2 CM at adoption")
    return table(head, rows, numeric=(2, 3, 4, 5))


def _text(interval: Interval | None, digits: int = 3) -> str:
    if interval is None:
        return "–"
    ends = f"{signed(interval.low, digits)}, {signed(interval.high, digits)}"
    return f"{'≥ ' if interval.bounded else ''}{signed(interval.value, digits)} [{ends}]"


# --- the picture ------------------------------------------------------------------------------------------


def earnings_figure(record: Recheck, narrow: bool = False) -> Figure:
    """Forest plot of what each change adds now and added at its adoption, in log2 CM; interactions below."""
    tested = [one for one in record.changes if one.log2_cm is not None]
    rows = len(tested) + len(record.interactions)
    margins = {"left": 1.72, "right": 0.15} if narrow else {"left": 2.5, "right": 1.7}
    height = (1.75 if narrow else 1.5) + 0.28 * max(2, rows)
    figure, axes = new_figure(height, NARROW if narrow else WIDTH, **margins, bottom=1.1 if narrow else 0.9)
    axes.grid(True, axis="x", color=FAINT, lw=0.9, zorder=0)
    axes.axvline(0, color=MUTED, lw=1.0, zorder=1)
    axes.axvline(record.least, color=MUTED, lw=0.9, ls=":", zorder=1)
    for place, one in enumerate(tested):
        _earning_row(axes, place, one)
        _beside(axes, place, one.name, one.log2_cm, narrow)
    for place, pair in enumerate(record.interactions, len(tested)):
        _bar(axes, place, pair.log2_cm, SLATE, "s")
        _beside(axes, place, " × ".join(pair.changes), pair.log2_cm, narrow)
    if record.interactions:
        axes.axhline(len(tested) - 0.5, color=RULE, lw=0.9, zorder=0)
    axes.set_ylim(max(2, rows) - 0.4, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.set_xlabel(
        "log2 CM, simultaneous 95 % intervals" if narrow else "log2 CM, with intervals that hold at once"
    )
    inches = axes.get_position().width * figure.get_figwidth()
    put_title(axes, "What each change still adds to the trunk", x=(0.1 - margins["left"]) / inches)
    _legend(figure, tested, columns=2 if narrow else 5)
    return figure


def _earning_row(axes: Axes, place: int, one: Earning) -> None:
    assert one.log2_cm is not None
    if one.at_adoption is not None:
        before = one.at_adoption
        axes.plot([before.low, before.high], [place - 0.22] * 2, color=RULE, lw=1.6, zorder=2)
        axes.plot([before.value], [place - 0.22], "D", ms=4.4, color="white", mec=MUTED, mew=1.1, zorder=3)
    _bar(axes, place, one.log2_cm, COLOURS[one.standing], "o")


def _bar(axes: Axes, place: int, interval: Interval, colour: str, mark: str) -> None:
    axes.plot([interval.low, interval.high], [place, place], color=colour, lw=2.2, zorder=4)
    axes.plot([interval.value], [place], mark, ms=6.2, color=colour, mec="white", mew=1.0, zorder=5)


def _beside(axes: Axes, place: int, name: str, interval: Interval | None, narrow: bool) -> None:
    side, most = axes.get_yaxis_transform(), MOST_NARROW if narrow else MOST_NAME
    short = name if len(name) <= most else name[: most - 1] + "…"
    put_text(axes, -0.018, place, short, ha="right", va="center", transform=side, color=INK)
    if not narrow:
        put_text(axes, 1.02, place, _text(interval), va="center", transform=side, color=INK, size=8)


def _legend(figure: Figure, rows: Sequence[Earning], columns: int) -> None:
    held = {one.standing for one in rows}
    handles = [
        Line2D([], [], color=colour, lw=2.2, marker="o", ms=5.5, mec="white", label=standing.value)
        for standing, colour in COLOURS.items()
        if standing in held
    ]
    handles.append(
        Line2D([], [], color=RULE, lw=1.6, marker="D", ms=4.4, mfc="white", mec=MUTED, label="at adoption")
    )
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.04 / figure.get_figheight()),
        frameon=False, ncols=min(columns, len(handles)), fontsize=8, handlelength=1.8, labelcolor=INK,
    )  # fmt: skip
