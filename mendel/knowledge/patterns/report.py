"""All patterns of a table, under one rate of false discoveries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control, norm
from threadpoolctl import threadpool_limits

from mendel.knowledge.fits import Floats
from mendel.knowledge.patterns.agreement import Agreement, between_metrics, between_scales, early
from mendel.knowledge.patterns.best import never
from mendel.knowledge.patterns.diverged import without_diverged
from mendel.knowledge.patterns.experiment import cheapest
from mendel.knowledge.patterns.factors import Factor, Roles, roles
from mendel.knowledge.patterns.failures import LEAST, Settings, failing
from mendel.knowledge.patterns.importance import importance
from mendel.knowledge.patterns.inert import SMALL, copies, shares
from mendel.knowledge.patterns.linear import free_of
from mendel.knowledge.patterns.search import FORMS, PROMISING, SEARCHED, Found, Part, Search
from mendel.knowledge.patterns.shapes import LEVELS, dummies
from mendel.knowledge.patterns.telling import Teller, Tried
from mendel.knowledge.patterns.units import Runs, Units, make_units, read_runs, settings
from mendel.knowledge.patterns.words import account_words
from mendel.knowledge.table import Table, TableError

FALSE = 0.05
"""Expected share of false ones among the patterns."""
FEWEST = 30
"""Settings below which none are looked for: a part of them would show next to nothing."""
POWER = 0.9
FAILING = 30
"""Runs inside a rule of failure from which it is nearly always found (benchmarks/planted_patterns.py)."""
WIDER = 1.05
"""The errors are larger than those of plain least squares: outliers, unequal noise, permutations."""
ALIKE = ("agreement", "scales", "early")
"""Kinds that say what ranks runs alike: a family of their own."""


def patterns(
    table: Table,
    target: str,
    *,
    knobs: Sequence[str] = (),
    shared: Sequence[str] = (),
    higher: bool = False,
    rate: float = FALSE,
    curves: Mapping[str, Floats] | None = None,
    points: bool = False,
) -> dict[str, Any]:
    """Everything that a table's runs say of what its knobs do to the target, as one JSON object.

    `knobs`: the columns that were set (default: read off names and values); `shared`: columns whose runs
    have something in common, such as a campaign. `higher`: more is better. `curves`: what runs had reached
    on their way, such as "loss at 10 %" -> (rows,). `points`: with what a figure of each pattern shows.
    Raises TableError.
    """
    if not 0 < rate < 1:
        raise TableError(f"--rate {rate}: must lie between 0 and 1")
    # Many small matrices: threads would wait for each other, on a busy machine far longer than they work.
    with threadpool_limits(1, "blas"):
        return _patterns(table, target, knobs, shared, higher, rate, curves or {}, points)


def _patterns(
    table: Table,
    target: str,
    knobs: Sequence[str],
    shared: Sequence[str],
    higher: bool,
    rate: float,
    curves: Mapping[str, Floats],
    points: bool,
) -> dict[str, Any]:
    found = roles(table, target, knobs, shared)
    runs = read_runs(table, target)
    if not found.knobs:
        words = "no column is a knob that was set to different values; name some by --knobs"
        raise TableError(f"{table.name}: {words}")
    if not (runs.known & ~runs.failed).any():
        raise TableError(f"{table.name}: no run that ended has a number in column {target!r}")
    units, far, search = make_units(found, runs), 0, None
    mains: list[Found] = []
    pairs: list[Found] = []
    if len(units.target) >= FEWEST:
        runs, units, far = without_diverged(found, runs, units, higher)
        search = Search(units)
        mains, pairs = search.run()
    tried = [_tried(units, "main", one) for one in mains] + [
        _tried(units, "interaction", one) for one in pairs
    ]
    tried += _never(units, search, higher) if search else []
    tried += _failures(found, runs)
    tried += _agreements(table, found, units, target)
    at = {name: values[units.runs] for name, values in curves.items()}
    tried += [_alike(one) for one in early(units.target, at, units.first, target, higher)]
    told = []
    # Two families: among many columns that rank runs alike, as metrics do, a false effect would be lost.
    for family in (
        [one for one in tried if one.kind not in ALIKE],
        [one for one in tried if one.kind in ALIKE],
    ):
        if not family:
            continue
        q = false_discovery_control([one.p for one in family])  # Benjamini & Hochberg 1995
        kept = [place for place in range(len(family)) if q[place] <= rate]
        kept.sort(key=lambda place: (family[place].p, -abs(family[place].score)))
        # Intervals of what was chosen cover as often as they say (Benjamini & Yekutieli 2005).
        level = 1 - FALSE * len(kept) / len(family)
        teller = Teller(
            units, search, pairs, target, level, cheapest(units.factors, found.scales), higher, points
        )
        told += [teller.tell(family[place], float(q[place])) for place in kept]
    account = _account(found, runs, units, search, tried, rate, far)
    return {
        "target": target,
        "better": "higher" if higher else "lower",
        "words": list(account_words(account, found, told, FEWEST)),
        **account,
        "patterns": told,
        "inert": list(_inert(found, runs, units, search, told, target)),
        "failures": [one for one in told if one["kind"] == "failure"],
        "importance": _importances(units, search, pairs, higher),
    }


def _tried(units: Units, kind: str, one: Found) -> Tried:
    columns = tuple(units.factors[place].name for place in one.knobs)
    return Tried(kind, columns, both(one.tested.p), one.tested.score, one)


def both(p: float) -> float:
    """Of both tails, although the first part told the direction: what is kept has intervals without zero."""
    return min(1.0, 2 * p)


def _never(units: Units, search: Search, higher: bool) -> list[Tried]:
    some = never(units.target, units.factors, units.first, higher, search.also_beside)
    return [Tried("never", (units.factors[one.knob].name,), both(one.p), one.score, one) for one in some]


def _failures(found: Roles, runs: Runs) -> list[Tried]:
    """Rules for all failures, or for each kind of them where there are several."""
    rows = np.flatnonzero(runs.known)
    failed = runs.failed[rows]
    if failed.sum() < LEAST or (~failed).sum() < LEAST:
        return []
    why = np.array(runs.why, dtype=object)[rows]
    kinds = [kind for kind in dict.fromkeys(why[failed]) if (why == kind).sum() >= LEAST]
    groups = [(kind, why == kind) for kind in kinds] if len(kinds) > 1 else [("", failed)]
    out = []
    for kind, mine in groups:
        used = rows[mine | ~failed]
        keys, cell = settings(found, used)
        factors = tuple(one.take(used) for one in found.knobs)
        for one in failing(Settings.of(factors, keys, cell, mine[mine | ~failed])):
            columns = tuple(found.knobs[place].name for place in one.rule.knobs)
            words = "fail" + (f" ({kind})" if kind else "")
            out.append(Tried("failure", columns, both(one.p), one.score, one, words))
    return out


def _agreements(table: Table, found: Roles, units: Units, target: str) -> list[Tried]:
    measured = {}
    for column in found.measured:
        try:
            values = table.numbers(column)
        except TableError:
            continue
        measured[column] = values[units.runs]
    some = [
        *between_metrics(units.target, measured, units.first, target),
        *between_scales(units.target, units.factors, found.scales, target),
    ]
    return [_alike(one) for one in some]


def _alike(one: Agreement) -> Tried:
    return Tried(one.kind, one.columns, both(one.p), one.tau, one)


# --- the account ------------------------------------------------------------------------------------------


def _account(
    found: Roles,
    runs: Runs,
    units: Units,
    search: Search | None,
    tried: Sequence[Tried],
    rate: float,
    far: int,
) -> dict[str, Any]:
    tests = sum(one.kind not in ALIKE for one in tried)
    return {
        "runs": len(runs.target),
        "failed": int(runs.failed.sum()),
        "failed_by": dict(Counter(why for why, bad in zip(runs.why, runs.failed, strict=True) if bad)),
        "diverged_by_value": far,
        "unfinished": int((~runs.known).sum()),
        "settings": len(units.target),
        "found_on": int(units.first.sum()),
        "tested_on": int((~units.first).sum()),
        "tried": len(tried),
        "rate": rate,
        "repeats": units.repeats,
        "noise": units.noise if math.isfinite(units.noise) else None,
        "detectable": detectable(search, tests, rate) if search else None,
        "knobs": [one.name for one in found.knobs],
        "shared": list(found.shared),
        "measured": list(found.measured),
        "constant": list(found.constant),
        "ignored": list(found.ignored),
        "alike": [one.columns for one in found.knobs if one.alike],
        "determined": found.determined,
    }


def detectable(search: Search, tried: int, rate: float) -> dict[str, Any]:
    """Effects that are found with a chance of 90 %, in the target's unit: a knob's own, told as in its
    pattern, and of pairs. `main` and `interaction` are those of the knob and the pair that are hardest to
    see."""
    sd, n, m = search.noise, search.second.count, min(search.first.count, SEARCHED)
    alpha = rate / max(tried, 1) / 2
    main = WIDER * float(norm.isf(alpha) + norm.ppf(POWER)) * sd / n**0.5
    each = 1 - (1 - POWER) / 2  # a pair has to pass on both parts
    first = float(norm.isf(PROMISING / FORMS / 2) + norm.ppf(each)) * sd / m**0.5
    pair = WIDER * max(float(norm.isf(alpha) + norm.ppf(each)) * sd / n**0.5, first)
    spread = {
        one.name: _spread(one) / _shared_with_others(search, k) for k, one in enumerate(search.units.factors)
    }
    two = sorted(spread[one.name] for one in search.units.factors if len(one.levels) <= LEVELS)[:2]
    by_knob = {name: main / size for name, size in spread.items()}
    return {
        "power": POWER,
        "main": max(by_knob.values()),
        "interaction": pair / (two[0] * two[1]) if len(two) == 2 else None,
        "by_knob": by_knob,
        "failing_runs": FAILING,
        "pair_of_even_switches": pair / 0.25,
        "spread": spread,
    }


def _shared_with_others(search: Search, knob: int) -> float:
    """By how much the error of a knob's effect is larger than were it set independently of all others, and
    within groups."""
    part = search.second
    factor = part.factors[knob]
    raw = factor.center.scaled(factor.codes)[:, None] if factor.is_number else dummies(factor)
    raw = raw[:, raw.std(axis=0) > 0]
    if not raw.shape[1]:
        return 1e3
    own = ((raw - raw.mean(axis=0)) ** 2).sum(axis=0)
    left = (free_of(part.others(knob), part.white(raw)) ** 2).sum(axis=0)
    return float(np.sqrt((own / np.maximum(left, 1e-6 * own)).max()))


def _spread(factor: Factor) -> float:
    """Standard deviation of a knob in the unit of its effect: a number's ends, a level against the others."""
    if factor.is_number:
        at = factor.center
        return at.width / (at.high - at.low) if at.high > at.low else 0.5
    shares = np.bincount(factor.codes.astype(int)) / len(factor.codes)
    rarest = float(shares[shares > 0].min())
    # With many levels the first part has to find out which one differs.
    return float((rarest * (1 - rarest)) ** 0.5 / (1.0 if len(factor.levels) == 2 else 1.2))


def _inert(
    found: Roles,
    runs: Runs,
    units: Units,
    search: Search | None,
    told: Sequence[dict[str, Any]],
    target: str,
) -> Iterator[dict[str, Any]]:
    rows = np.flatnonzero(runs.known & ~runs.failed)
    seeds = [labels for name, labels in found.shared.items() if "seed" in name.lower()]
    seen = [one.take(rows) for one in found.knobs]
    for labels in seeds:
        codes = np.unique(np.array(labels, dtype=object)[rows].astype(str), return_inverse=True)[1]
        seen.append(Factor("", codes.astype(float)))
    same = copies(runs.target[rows], seen)
    acting = {column for one in told if one["kind"] not in ALIKE for column in one["columns"]}
    most = {}
    if search:
        whole = Part(units, np.arange(len(units.target)), None, [])
        most = {one.name: one for one in shares(whole, units.factors)}
    for factor in found.knobs:
        if factor.name in same and factor.name not in acting:
            equal, pairs = same[factor.name]
            found_ = f"{equal} of {pairs} pairs of runs that differ in it alone have equal results"
            words = f"{factor.label} changes nothing: {found_}"
            yield {"column": factor.name, "columns": factor.columns, "kind": "copies", "statement": words,
                   "effect": 0.0, "low": 0.0, "high": 0.0}  # fmt: skip
        elif factor.name not in acting and factor.name in most and most[factor.name].high < SMALL:
            one = most[factor.name]
            share = f"{max(one.high, 0.001):.1%} of its variance"
            words = f"{factor.label} moves {target} by less than {one.most:.2g} ({share})"
            yield {"column": factor.name, "columns": factor.columns, "kind": "small", "statement": words,
                   "effect": one.share, "low": one.low, "high": one.high}  # fmt: skip


def _importances(
    units: Units, search: Search | None, pairs: Sequence[Found], higher: bool
) -> list[dict[str, Any]]:
    if search is None:
        return []
    found = importance(
        units.target,
        units.factors,
        units.first,
        [(one.knobs, one.feature(units.factors)) for one in pairs],
        higher,
    )
    rows = [
        {
            "column": one.name,
            "variance": {"value": one.variance, "low": one.low, "high": one.high},
            "best": {"value": one.best, "low": one.best_low, "high": one.best_high},
        }
        for one in found
    ]
    return sorted(rows, key=lambda row: -float(row["variance"]["value"]))
