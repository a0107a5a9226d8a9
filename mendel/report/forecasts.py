"""How forecasts fared: words first, a picture of their calibration, and the scores by proposer and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mendel.report.climb import climb_scores
from mendel.report.drawing import BLUE, FAINT, NARROW, RUST, WIDTH, new_figure, put_legend, put_title
from mendel.report.html import Child, Html, el, join, table
from mendel.report.svg import two_widths
from mendel.report.text import signed

LEAST_DRAWN = 5
"""Outcomes below which a histogram of them shows nothing."""


def forecasts_section(summary: Mapping[str, Any]) -> Html:
    """Everything that `summary["forecasts"]` holds."""
    found, climbs = summary.get("forecasts"), climb_scores(summary)
    if not found or not found["all"]["tried"]:
        return join(el("p", "No forecast has met its outcome yet."), climbs)
    others = found["campaigns"] - 1
    earlier = f", with those of {others} earlier campaign{'s' if others != 1 else ''} on this testbed"
    parts: list[Child] = [
        el("p", [el("b", row["words"].replace("+-", "±")), "."]) for row in found["proposers"]
    ]
    parts.append(
        el(
            "p",
            f"Counted are all forecasts whose outcome is known{earlier if others else ''}. Outcomes are "
            "weighted by the inverse of the probability with which triage and its random stream ran the "
            "idea, so that the scores speak of all that was proposed; the lab's own noise is allowed for.",
        )
    )
    if found["all"]["outcomes"] >= LEAST_DRAWN:
        about = "Where outcomes fell in their forecasts"
        drawn = two_widths("calibration", about, calibration_figure, found["all"])
        told = (
            "Of a calibrated forecaster every bar reaches the dashed line. High bars at both ends: too sure; "
            "at the left end alone: too hopeful."
        )
        parts.append(el("figure", drawn, el("figcaption", told)))
    parts += [_scores("proposer", found["proposers"]), _scores("class", found["classes"])]
    notes = (
        "Mean ± standard error. Bias: outcome less forecast, in log2 CM. Spread: the size of the errors over "
        "the stated standard deviation, shrunken towards 1; triage widens forecasts by it. Log score: ln of "
        "the density that the forecast gave to what was measured, noise included; skill: the same less that "
        "of a forecaster who knows only all the other outcomes, so below 0 the forecasts are worth nothing. "
        "Ran, said: share of ideas that ran, and what was forecast of it; Brier: mean squared error of that."
    )
    parts += [el("p", notes, cls="note"), climbs]
    return join(parts)


def calibration_figure(scores: Mapping[str, Any], narrow: bool = False) -> Figure:
    """Histogram of the probability integral transform: where outcomes fell in their forecasts."""
    figure, axes = new_figure(2.9, NARROW if narrow else WIDTH)
    shares: Sequence[float] = scores["pit"]
    width = 1 / len(shares)
    places = [(number + 0.5) * width for number in range(len(shares))]
    label = f"{scores['outcomes']} outcomes, worth {scores['effective']:.0f} by their weights"
    axes.bar(places, shares, 0.94 * width, color=BLUE, alpha=0.75, label=label, zorder=2)
    axes.axhline(width, color=RUST, lw=1.4, ls=(0, (4, 3)), label="calibrated", zorder=3)
    axes.grid(True, axis="y", color=FAINT, lw=0.9, zorder=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.35 * max(*shares, 2 * width))
    axes.set_xlabel("probability that the forecast gave to less than the outcome")
    axes.set_ylabel("share of outcomes")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    put_legend(axes, loc="upper left", ncols=1 if narrow else 2)
    put_title(axes, "Where outcomes fell in their forecasts")
    return figure


def _scores(kind: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    head = (
        kind,
        "outcomes",
        "bias",
        "spread",
        "in 50 %",
        "in 90 %",
        "log score",
        "skill",
        "ran",
        "said",
        "Brier",
    )
    body = [
        [
            row["name"],
            str(row["outcomes"]),
            _mean(row["bias"]),
            f"{row['spread']:.2f}",
            _share(row["within_50"]),
            _share(row["within_90"]),
            _mean(row["log_score"]),
            _mean(row["skill"]),
            _share(row["runs"]),
            _share(row["said_runs"], error=False),
            "–" if row["brier"] is None else f"{row['brier']['value']:.3f}",
        ]
        for row in rows
    ]
    return table(head, body, numeric=range(1, len(head)))


def _mean(mean: Mapping[str, Any] | None) -> str:
    if mean is None:
        return "–"
    error = "" if mean["se"] is None else f" ± {mean['se']:.2f}"
    return f"{signed(mean['value'], 2)}{error}"


def _share(mean: Mapping[str, Any] | None, error: bool = True) -> str:
    if mean is None:
        return "–"
    told = f" ± {100 * mean['se']:.0f}" if error and mean["se"] is not None else ""
    return f"{100 * mean['value']:.0f}{told} %"
