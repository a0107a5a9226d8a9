"""Meta-analysis of a table of effects, one idea at a time, as JSON objects with their words first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mendel.knowledge.meta import Pooled, error_of, foreseen, of_study, pooled
from mendel.knowledge.table import Table, TableError

CM = "log2 CM"
UNSURE = 1.5
"""Ratio of the two sides of an interval from which on a standard error does not describe it."""


@dataclass(frozen=True)
class Effect:
    """What one study says of an idea: log2 compute multiplier, or whatever is measured."""

    idea: str
    study: str
    effect: float
    se: float
    where: str = ""
    """What it is, in words for a row."""


def read_effects(
    table: Table, effect: str, se: str | None, low: str | None, high: str | None, by: str | None,
    study: str | None, ratio: bool,
) -> tuple[list[Effect], list[str]]:  # fmt: skip
    """Effects from the columns of a table, and what is to be said of them. `ratio`: they are plain
    multipliers, whose log2 is taken. TableError for what is no effect."""
    if (se is None) == (low is None or high is None):
        raise TableError("give --se COLUMN, or --low COLUMN and --high COLUMN of a 95 % interval")
    if ratio and se is not None:
        raise TableError("--ratio: a standard error has no log2; give --low and --high")
    values = _numbers(table, effect, ratio)
    said = []
    if se is not None:
        errors = table.numbers(se)
    else:
        assert low is not None and high is not None
        below, above = values - _numbers(table, low, ratio), _numbers(table, high, ratio) - values
        errors = np.array([error_of(-one, other) for one, other in zip(below, above, strict=True)])
        sides = np.maximum(below, above) / np.maximum(np.minimum(below, above), 1e-12)
        if count := int((sides > UNSURE).sum()):
            said.append(f"{count} of {len(table)} intervals are lopsided: their half width is taken.")
    kept = np.isfinite(values) & np.isfinite(errors)
    if lost := int((~kept).sum()):
        said.append(f"{lost} of {len(table)} rows have no effect or no error and are left out.")
    bad = kept & ~(errors > 0)
    if bad.any():
        raise TableError(
            f"{table.name}: row {table.rows[bad][0]}: an error must be above 0, or high above low"
        )
    ideas = table.labels(by) if by else [""] * len(table)
    studies = table.labels(study) if study else [f"row {row}" for row in table.rows]
    rows = zip(ideas, studies, values.tolist(), errors.tolist(), table.rows, kept, strict=True)
    found = [Effect(i, s, v, e, f"row {row}") for i, s, v, e, row, keep in rows if keep]
    if not found:
        raise TableError(f"{table.name}: no row has an effect with its error")
    return found, said


def _numbers(table: Table, column: str, ratio: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = table.numbers(column)
    if not ratio:
        return values
    bad = values <= 0
    if bad.any():
        raise TableError(
            f"{table.name}: column {column!r}, row {table.rows[bad][0]}: no multiplier is 0 or less"
        )
    return np.asarray(np.log2(values))


def meta_report(effects: Sequence[Effect], least: float, unit: str = CM) -> list[dict[str, Any]]:
    """One object for each idea, in the order in which they come. `least`: the effect that counts."""
    if not math.isfinite(least):
        raise TableError(f"--least {least}: must be a finite number")
    return [
        _one(idea, [one for one in effects if one.idea == idea], least, unit)
        for idea in dict.fromkeys(one.idea for one in effects)
    ]


def _one(idea: str, effects: Sequence[Effect], least: float, unit: str) -> dict[str, Any]:
    studies = []
    for name in dict.fromkeys(one.study for one in effects):
        mine = [one for one in effects if one.study == name]
        effect, se = of_study([one.effect for one in mine], [one.se for one in mine])
        where = mine[0].where if len(mine) == 1 else f"{len(mine)} effects"
        studies.append({"study": name, "effect": effect, "se": se, "effects": len(mine), "where": where})
    values, errors = (np.array([one[key] for one in studies]) for key in ("effect", "se"))
    found, drawn = pooled(values, errors), foreseen(values, errors)
    chance = None if drawn is None else float((drawn > least).mean())
    report = {
        "idea": idea,
        "unit": unit,
        "least": least,
        "studies": studies,
        "pooled": vars(found),
        "chance": chance,
    }
    return {**report, "words": _words(report, found)}


def _words(report: dict[str, Any], found: Pooled) -> list[str]:
    unit, least, k = report["unit"], report["least"], found.studies
    name = report["idea"] or "The effect"
    none = _told(0.0, unit)
    shown = f"not shown to differ from {none}"
    if found.low > 0 or found.high < 0:
        shown = f"{'above' if found.low > 0 else 'below'} {none}"
    prefix = "CM " if unit == CM else ""
    mean, low, high = (_told(one, unit) for one in (found.mean, found.low, found.high))
    ends = f"{prefix}{mean} [{low}, {high}]"
    if k == 1:
        return [
            f"{name}: {ends}, one study: what another testbed would say, and how much they differ, cannot be "
            "known."
        ]
    words = [f"{name}: {ends} on average over {k} studies, {shown}."]
    assert found.tau2 is not None and found.i2 is not None and found.p_q is not None
    words.append(
        f"True effects differ by an sd of {found.tau2**0.5:.3g} (tau^2 {found.tau2:.3g} "
        f"[{found.tau2_low:.3g}, {found.tau2_high:.3g}]); {found.i2:.0%} [{found.i2_low:.0%}, "
        f"{found.i2_high:.0%}] of what is seen between studies is none of measurement (Q {found.q:.1f} on "
        f"{k - 1}, p {found.p_q:.2g})."
    )
    if k == 2:
        words.append("Two studies: what a new testbed would say cannot be known; three are needed.")
        return words
    chance = report["chance"]
    words.append(
        f"On a new testbed like these: {prefix}{_told(found.new_low, unit)} to {_told(found.new_high, unit)} "
        f"(95 %); the probability of more than {prefix}{_told(least, unit)} is {_percent(chance)}."
    )
    if k < 5:
        words.append(f"{k} studies tell little of how much they differ: see the interval of tau^2.")
    return words


def _told(value: float | None, unit: str) -> str:
    if value is None:
        return "?"
    return f"{2 ** min(value, 60.0):.3g}" if unit == CM else f"{value:.4g}"


def _percent(chance: float) -> str:
    """A model's probability is never sure."""
    return f"{100 * min(max(chance, 0.01), 0.99):.0f} %"
