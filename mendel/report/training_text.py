"""What the models of a campaign were trained on, by source and by token, from what their readers counted.

A reader leaves data.json in its run's folder. A run may write anything there, so it is read with suspicion
and only drawn: no verdict rests on it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mendel.records import PlanKind
from mendel.report.curves import read_text
from mendel.report.drawing import FAINT, INK, MUTED, NARROW, SLATE, TEAL, WIDTH
from mendel.report.facts import Facts
from mendel.report.html import Html, el, join, table
from mendel.report.svg import inline
from mendel.report.text import clean, quantity

FILE = "data.json"
MOST_SOURCES = 12
"""Drawn and listed; the smallest of more are left out."""
PANELS = ("share of training tokens (%)", "epochs read", "bytes per token")
COLOURS = (SLATE, TEAL)


@dataclass(frozen=True)
class SourceRead:
    """How a run read one source."""

    name: str
    documents: int
    """That were left to read."""
    share: float
    """Of the tokens the run read."""
    epochs: float
    bytes_per_token: float


@dataclass(frozen=True)
class TrainingText:
    """What one run was trained on."""

    recipe: str
    tokenizer: str
    vocab: int
    tokens: int
    """Read, all sources together."""
    left_out: int
    """Documents that filters and deduplication left out."""
    sources: tuple[SourceRead, ...]

    @property
    def bytes_per_token(self) -> float:
        """Of the text that was read."""
        return sum(source.share * source.bytes_per_token for source in self.sources)


def training_texts(facts: Facts) -> list[TrainingText]:
    """Of the original recipe and of the trunk that was checked last, the largest run that says it; fewer
    where there is none."""
    checks = [plan for plan in facts.plans.values() if plan.kind is PlanKind.VERIFY]
    recipes = [(facts.campaign.recipe, facts.original)]
    if checks and checks[-1].treatment != facts.original:
        recipes.append(("trunk", checks[-1].treatment))
    found = []
    for name, recipe in recipes:
        runs = [run for run in facts.finished if run.spec.recipe == recipe]
        for run in sorted(runs, key=lambda run: -run.spec.tokens):
            out = facts.store.run_folder(facts.campaign.id, run.id).out
            text = None if out.is_symlink() else parse(name, read_text(out / FILE))
            if text is not None:
                found.append(text)
                break
    return found


def parse(recipe: str, content: str | None) -> TrainingText | None:
    """The data.json of a run of `recipe`; None for anything but plain, finite, sensible numbers."""
    try:
        record = json.loads(content or "")
        rows = sorted(record["sources"], key=lambda row: -_number(row["read"]))
        read = sum(_number(row["read"]) for row in rows)
        sources = tuple(_source(row, read) for row in rows[:MOST_SOURCES])
        left_out = sum(_number(count) for count in record["left_out"].values())
        if not sources or read <= 0:
            return None
        return TrainingText(
            recipe=recipe,
            tokenizer=clean(record["tokenizer"], 40),
            vocab=int(_number(record["vocab"])),
            tokens=int(_number(record["tokens"])),
            left_out=int(left_out),
            sources=sources,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _source(row: Any, read: float) -> SourceRead:
    return SourceRead(
        name=clean(row["name"], 40),
        documents=int(_number(row["documents"])),
        share=_number(row["read"]) / max(read, 1.0),
        epochs=_number(row["epochs"]),
        bytes_per_token=_number(row["bytes"]) / max(_number(row["tokens"]), 1.0),
    )


def _number(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number < 1e18):
        raise ValueError(f"{number} is not a count")
    return number


def data_figure(texts: Sequence[TrainingText], narrow: bool = False) -> Figure:
    """Three panels over the sources: share of the tokens read, epochs, bytes per token; a bar per text."""
    names = list(dict.fromkeys(source.name for text in texts for source in text.sources))[:MOST_SOURCES]
    rows, columns = (3, 1) if narrow else (1, 3)
    bars = 0.26 + 0.19 * len(texts)
    body = bars * max(1, len(names))
    top = 0.95 if narrow else 0.68  # title and legend: beside it, or below
    height = top + 0.57 + rows * body + (rows - 1) * 0.75
    width = NARROW if narrow else WIDTH
    figure = Figure(figsize=(width, height), facecolor="white")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    left = min(1.7, 0.35 + 0.075 * max([4, *map(len, names)]))
    figure.subplots_adjust(
        left=left / width, right=1 - 0.2 / width, top=1 - top / height, bottom=0.52 / height,
        wspace=0.14, hspace=0.75 / body,
    )  # fmt: skip
    for panel, axes in enumerate(grid):
        _panel(axes, panel, texts, names)
    figure.text(
        0.1 / width, 1 - 0.24 / height, "What the models were trained on", fontsize=10.5, color=INK,
        fontweight="bold", va="center", parse_math=False,
    )  # fmt: skip
    handles = [grid[0].containers[place] for place in range(len(texts))]
    labels = [f"{text.recipe}: {text.tokenizer}, {quantity(text.tokens)} tokens" for text in texts]
    beside = (1 - 0.1 / width, 1 - 0.24 / height)
    below = (0.05 / width, 1 - 0.6 / height)
    figure.legend(
        handles, [label.replace("$", r"\$") for label in labels], ncols=1 if narrow else 2,
        loc="center left" if narrow else "center right", bbox_to_anchor=below if narrow else beside,
        frameon=False, fontsize=8.3, labelcolor=INK, handlelength=1.2, columnspacing=1.6,
    )  # fmt: skip
    return figure


def _panel(axes: Any, panel: int, texts: Sequence[TrainingText], names: Sequence[str]) -> None:
    thickness = 0.72 / len(texts)
    largest = 0.0
    for place, text in enumerate(texts):
        of = {source.name: source for source in text.sources}
        values = [_value(of.get(name), panel) for name in names]
        at = np.arange(len(names)) + (place - (len(texts) - 1) / 2) * thickness
        axes.barh(at, values, height=0.9 * thickness, color=COLOURS[place], zorder=2)
        largest = max([largest, *values])
        for y, value in zip(at, values, strict=True):
            axes.annotate(
                f"{value:.3g}", (value, y), xytext=(3, 0), textcoords="offset points", fontsize=7.8,
                va="center", color=MUTED, zorder=3,
            )  # fmt: skip
    axes.set_xlim(0, 1.22 * largest or 1.0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.set_xlabel(PANELS[panel], fontsize=8.8, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(labelsize=8.3, colors=MUTED, length=0)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(True, axis="x", color=FAINT, lw=0.9, zorder=0)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _value(source: SourceRead | None, panel: int) -> float:
    if source is None:
        return 0.0
    return (100 * source.share, source.epochs, source.bytes_per_token)[panel]


def data_section(facts: Facts) -> Html:
    """The figure, and the same numbers as a table."""
    texts = training_texts(facts)
    if not texts:
        return el("p", "No finished run has said what it read.")
    about = "Share of training tokens, epochs and bytes per token by source"
    wide = el("div", inline(data_figure(texts), "data", about), cls="on-wide")
    small = el("div", inline(data_figure(texts, narrow=True), "data-narrow", about), cls="on-narrow")
    told = (
        "The longest run of each recipe, as its own reader counted. An epoch is one pass over the text of a "
        "source that filters and deduplication left; below 1, most of it was never seen."
    )
    rows = [
        [
            text.recipe,
            source.name,
            f"{source.documents:,}",
            f"{100 * source.share:.1f} %",
            f"{source.epochs:.3g}",
            f"{source.bytes_per_token:.2f}",
        ]
        for text in texts
        for source in text.sources
    ]
    head = ("recipe", "source", "documents", "share of tokens", "epochs", "bytes per token")
    words = "; ".join(
        f"{text.recipe}: {text.tokenizer}, {text.vocab:,} different tokens, {quantity(text.tokens)} read, "
        f"{text.bytes_per_token:.2f} bytes each, {text.left_out:,} documents left out"
        for text in texts
    )
    return join(
        el("figure", wide, small, el("figcaption", told)),
        el("p", f"{words}."),
        el("details", el("summary", "By source"), table(head, rows, numeric=(2, 3, 4, 5))),
    )
