"""`mendel patterns`: what many runs say together, and the experiments that could refute it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mendel.knowledge.table import Runs, Table
from mendel.knowledge_commands import Data, Page, Where, put_page, table_of
from mendel.recipe_commands import Json, print_json

Some = Annotated[list[str], Parameter(consume_multiple=True)]
EARLY = (0.05, 0.1, 0.25, 0.5)
"""Parts of a run at which its curve is looked at."""
METRICS = 3
"""Metrics whose curves are looked at: the target's, if it has one, and others."""
POINTS = 4
"""Points of a run from which a metric has a curve."""
SHOWN = 40
"""Patterns that a terminal is shown."""
RANKS = 3
"""Columns that rank runs alike, of those."""


def patterns(
    *,
    data: Data,
    target: str,
    knobs: Some = [],  # noqa: B006
    shared: Some = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    higher: bool = False,
    rate: float = 0.05,
    queue: Path | None = None,
    page: Page = None,
    json: Json = False,
) -> None:
    """Find what many runs say together: effects, interactions, regimes, failures, knobs that do nothing.

    Patterns are found on one part of the runs and tested on the other; the share of false ones is held.

    Parameters
    ----------
    target
        The column of results, such as a final loss. Runs without one failed, as those whose status says so.
    knobs
        Columns that were set (default: all that are not results, names or constant).
    shared
        Columns whose runs have something in common (default: those called seed, campaign, sweep, ...).
    higher
        More is better.
    rate
        Expected share of false ones among the patterns that are told.
    queue
        A file to write with ideas that would test the patterns, for `mendel run --ideas`.
    """
    from mendel.knowledge.patterns.report import patterns as find

    table = table_of(data).where(where)
    found = find(
        table, target, knobs=knobs, shared=shared, higher=higher, rate=rate,
        curves=curves_of(table, target), points=page is not None,
    )  # fmt: skip
    if page is not None:
        from mendel.report.pattern_figures import pattern_sections

        put_page(page, f"Patterns of {data.name}", pattern_sections(found))
        for one in found["patterns"]:
            one.pop("points", None)
    if queue is not None:
        from mendel.knowledge.patterns.queue import write_ideas

        found["words"].append(write_ideas(queue, found, Path(table.name).name))
    print_json(found) if json else show_patterns(Console(), found)


def curves_of(table: Table, target: str) -> dict[str, Any]:
    """What the curves of imported runs were at parts of the way, the target's and others', for each row."""
    if not isinstance(table, Runs):
        return {}
    from mendel.knowledge.collection import early_values, metrics_of

    folder = Path(table.name)
    found: dict[str, Any] = {}
    own = table.full(target).partition(".")[2]
    metrics = sorted(metrics_of(folder), key=lambda one: (one != own, one))
    for metric in [one for one in metrics if _is_curve(table, one)][:METRICS]:
        names, values = early_values(folder, metric, EARLY)
        place = {name: number for number, name in enumerate(names)}
        rows = [place.get(name, len(names)) for name in table.labels("run")]  # the last one is of no points
        padded = np.vstack([values, np.full((1, len(EARLY)), np.nan)])
        found |= {f"{metric} at {share:.0%} of a run": padded[rows, k] for k, share in enumerate(EARLY)}
    return found


def _is_curve(table: Table, metric: str) -> bool:
    return float(np.median(table.numbers(f"points.{metric}"))) >= POINTS


def show_patterns(console: Console, found: dict[str, Any]) -> None:
    """Words first, then the patterns with their numbers, then how much each knob matters."""
    for line in found["words"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    ranks = [one for one in found["patterns"] if one["kind"] == "agreement"]
    shown = [one for one in found["patterns"] if one["kind"] != "agreement"] + ranks[:RANKS]
    for number, one in enumerate(shown[:SHOWN], 1):
        console.print()
        console.print(f"{number}. {one['statement']}", markup=False, highlight=False, soft_wrap=True)
        scores = f"{one['kind']}, q {one['q']:.2g}, test score {one['test_score']:.2f}"
        refute = one.get("refute", {}).get("refuted_by", "")
        console.print(f"   {scores}", style="dim", markup=False, highlight=False)
        if refute:
            console.print(
                f"   to refute: {refute}", style="dim", markup=False, highlight=False, soft_wrap=True
            )
    if len(ranks) > RANKS:
        least, most = (f"{pick(one['effect'] for one in ranks):.2f}" for pick in (min, max))
        console.print(
            f"\n{len(ranks) - RANKS} columns more rank runs alike (tau {least} to {most}): --json has all."
        )
    if len(shown) > SHOWN:
        console.print(f"\n{len(shown) - SHOWN} patterns more: --json has all.")
    if found["inert"]:
        console.print("\nInert", style="bold")
        for one in found["inert"]:
            console.print(f"   {one['statement']}", markup=False, highlight=False, soft_wrap=True)
    if found["importance"]:
        console.print()
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("knob", "share of the variance", "of what sets the best apart"):
            grid.add_column(name, justify="left" if name == "knob" else "right")
        for one in found["importance"]:
            ends = [
                f"{one[k]['value']:.2f} [{one[k]['low']:.2f}, {one[k]['high']:.2f}]"
                for k in ("variance", "best")
            ]
            grid.add_row(escape(one["column"]), *ends)
        console.print(grid)
