"""Comparisons of measured runs: a group with a target, groups with another, runs paired by what they share.

Fixed-number tests (Student's t, with sign flips or permutations beside it) and one that may be looked at
after every run. What the table itself says against a comparison is said with it: runs that did not end,
copies, several runs of one process, a baseline that does as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson, shapiro, t

from mendel.knowledge.fits import Floats
from mendel.knowledge.significance import adjusted, flips, one_sided, permuted, resolution
from mendel.knowledge.states import COLUMNS, FINISHED, FLAGS, state
from mendel.knowledge.table import FALSE, TRUE, Table, TableError

LEVEL = 0.95
ALPHA = 0.05
RARE = 0.001
"""Chance of as many equal values as are found, below which they are called copies."""
ODD = 0.01
"""p of Shapiro and Wilk's test below which a t-test of few runs is doubted."""
ENDED = ("complete", "completed", "finished", "done")
REACHED = ("last_step", "step", "steps_done", "final_step")
PLANNED = ("planned_steps", "total_steps", "max_steps", "num_steps")
FILES = ("file", "path", "log", "log_file", "logfile", "run_file")
RUNS = ("run", "run_id", "run_name")
SEEDS = ("seed", "random_seed", "rng_seed")
BASELINE = re.compile(r"(^|[/_\-. ])(baseline|control|base|before|main|reference)([/_\-. ]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Group:
    """The usable values of one group, in the order of its rows, and what is to be said of it."""

    name: str
    values: Floats
    rows: NDArray[np.int64]
    warnings: tuple[str, ...]
    left_out: Floats
    """Values of runs that did not end."""


def split(table: Table, value: str, group: str | None, all_runs: bool = False) -> list[Group]:
    """The groups of a table by a column. TableError where no run has a value."""
    values = table.numbers(value)
    ended = np.ones(len(table), dtype=bool) if all_runs else complete(table)
    labels = table.labels(group) if group else [""] * len(table)
    names = np.array(labels, dtype=object)
    found = []
    for name in dict.fromkeys(labels):
        mine = names == name
        good = mine & ended & np.isfinite(values)
        warnings = _of_rows(table, mine, ended, values)
        left_out = values[mine & ~ended & np.isfinite(values)]
        found.append(Group(str(name), values[good], table.rows[good], tuple(warnings), left_out))
    if not any(len(one.values) for one in found):
        told = {*ENDED, *COLUMNS, *FLAGS, *REACHED, *PLANNED} & {name.lower() for name in table.columns}
        how = f" (what ended is read off {', '.join(sorted(told))}; --all-runs takes all)" if told else ""
        raise TableError(f"{table.name}: no run that ended has a number in column {value!r}{how}")
    return found


def complete(table: Table) -> NDArray[np.bool_]:
    """Which runs ended, by the columns that say so; all, where none does."""
    ended = np.ones(len(table), dtype=bool)
    lower = table.lower()
    for name in ENDED:
        labels = [one.strip().lower() for one in table.labels(lower[name])] if name in lower else []
        if labels and {*labels} <= {*TRUE, *FALSE}:  # a time, say, is no flag
            ended &= np.array([one in TRUE for one in labels], dtype=bool)
    for name in COLUMNS:
        if name in lower:
            ended &= np.array([state(one) == FINISHED for one in table.labels(lower[name])], dtype=bool)
    for name in FLAGS:  # imported runs keep the last finite value of one that diverged
        labels = [one.strip().lower() for one in table.labels(lower[name])] if name in lower else []
        if labels and {*labels} <= {*TRUE, *FALSE}:
            ended &= np.array([one not in TRUE for one in labels], dtype=bool)
    reached = next((lower[one] for one in REACHED if one in lower), None)
    planned = next((lower[one] for one in PLANNED if one in lower), None)
    if reached and planned:
        short = table.numbers(reached) < table.numbers(planned) - 1  # some count from 0
        ended &= ~short
    return ended


def compare(
    table: Table,
    value: str,
    group: str | None = None,
    *,
    target: float | None = None,
    against: str | None = None,
    pair: str | None = None,
    higher: bool = False,
    all_runs: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything about the groups of a table, as one JSON object. `higher`: more is better."""
    if target is not None and not math.isfinite(target):
        raise TableError(f"--target {target}: must be a finite number")
    groups = split(table, value, group, all_runs)
    sign = -1.0 if higher else 1.0
    rows = [_one(one, target, sign, seed) for one in groups]
    if target is not None:
        for row, p in zip(rows, adjusted([row["p"] for row in rows]), strict=True):
            row["p_holm"] = p
    baseline = _baseline(groups, against)
    differences = [
        _two(one, baseline, table, pair, sign, seed) for one in groups if baseline and one is not baseline
    ]
    for row, p in zip(differences, adjusted([row["p"] for row in differences]), strict=True):
        row["p_holm"] = p
    warnings = _across(groups, rows, target, differences)
    found = {
        "value": value,
        "better": "higher" if higher else "lower",
        "target": target,
        "groups": rows,
        "differences": differences,
        "warnings": warnings,
    }
    if len(rows) == 1:
        found = {**rows[0], **found, "warnings": [*rows[0]["warnings"], *warnings]}
    return {**found, "words": _words(found, target)}


# --- one group and a target -------------------------------------------------------------------------------


def _one(group: Group, target: float | None, sign: float, seed: int) -> dict[str, Any]:
    x, warnings = group.values, list(group.warnings)
    count = len(x)
    mean = float(x.mean()) if count else None
    sd = float(x.std(ddof=1)) if count > 1 else None
    half = float(t.ppf((1 + LEVEL) / 2, count - 1)) * sd / count**0.5 if sd is not None else None
    row: dict[str, Any] = {
        "group": group.name,
        "n": count,
        "mean": mean,
        "sd": sd,
        "low": None if half is None or mean is None else mean - half,
        "high": None if half is None or mean is None else mean + half,
        "p": None,
        "values": x.tolist(),
        "rows": group.rows.tolist(),
    }
    if count < 2:
        warnings.append(f"{count} usable run{'s' * (count != 1)}: nothing is known of the noise")
    warnings += _copies(x)
    if target is not None and sd is not None:
        gains = sign * (target - x)
        row |= one_sided(gains, seed, resolution(x))
        warnings += _doubts(gains, row)
        if len(group.left_out):
            both = one_sided(sign * (target - np.concatenate([x, group.left_out])), seed)
            warnings.append(f"with the runs that did not end p would be {both['p']:.2g}")
    return {**row, "warnings": warnings}


def _doubts(gains: Floats, row: dict[str, Any]) -> list[str]:
    said = []
    if 3 <= len(gains) <= 50 and gains.std() > 0 and float(shapiro(gains).pvalue) < ODD:
        said.append(
            f"the values are no normal sample (Shapiro-Wilk p below {ODD:g}): p by sign flips is "
            f"{row['p_sign_flip']:.2g}"
        )
    if row["p"] < ALPHA <= row["p_sequential"]:
        said.append(
            f"the p holds for a number of runs fixed beforehand; had one stopped on looking, it would be "
            f"{row['p_sequential']:.2g}"
        )
    return said


def _of_rows(table: Table, mine: NDArray[np.bool_], ended: NDArray[np.bool_], values: Floats) -> list[str]:
    """What the other columns say of a group's rows."""
    said, total = [], int(mine.sum())
    if short := int((mine & ~ended).sum()):
        said.append(f"{short} of {total} runs did not end and are left out")
    if lost := int((mine & ended & ~np.isfinite(values)).sum()):
        said.append(f"{lost} of {total} runs ended without a number: if the change did that, it is a result")
    lower = table.lower()
    used = np.flatnonzero(mine & ended & np.isfinite(values))
    for names, words in ((FILES, "come from one file"), (RUNS, "are of one run"), (SEEDS, "share one seed")):
        column = next((lower[one] for one in names if one in lower), None)
        if column is None or len(used) < 2:
            continue
        labels = np.array(table.labels(column), dtype=object)[used]
        several = {name: int((labels == name).sum()) for name in dict.fromkeys(labels) if name}
        most = max(several.values(), default=1)
        if most > 1:
            said.append(
                f"up to {most} of {len(used)} runs {words}, {len(several)} in all: they may be no evidence "
                "of their own"
            )
    return said


def _copies(x: Floats, other: Floats | None = None) -> list[str]:
    """More equal values than rounding makes: within a group, or between two."""
    if len(x) < 2 or (other is not None and len(other) < 2):
        return []
    spread = float(np.concatenate([x, x if other is None else other]).std(ddof=1))
    step = resolution(x if other is None else np.concatenate([x, other]))
    if other is None:
        values, counts = np.unique(x, return_counts=True)
        equal, pairs = int((counts * (counts - 1) // 2).sum()), len(x) * (len(x) - 1) / 2
    else:
        values, counts = np.unique(x, return_counts=True)
        there, its = np.unique(other, return_counts=True)
        _, here, yonder = np.intersect1d(values, there, return_indices=True)
        equal, pairs = int((counts[here] * its[yonder]).sum()), len(x) * len(other)
    # Two normal values of this spread are within a step of each other with this chance.
    chance = min(1.0, step / (2 * math.sqrt(math.pi) * spread)) if spread > 0 else 0.0
    if not equal or float(poisson.sf(equal - 1, pairs * chance)) > RARE:
        return []
    whose = "runs" if other is None else "runs of the two groups"
    return [
        f"{equal} pairs of {whose} have exactly the same value, {pairs * chance:.1g} expected: copies, or "
        "a change that does nothing"
    ]


# --- two groups -------------------------------------------------------------------------------------------


def _baseline(groups: Sequence[Group], against: str | None) -> Group | None:
    if against is not None:
        found = next((one for one in groups if one.name == against), None)
        if found is None:
            names = ", ".join(one.name for one in groups[:20])
            raise TableError(f"--against {against!r}: no such group; there are {names}")
        return found
    if len(groups) == 2:
        named = [one for one in groups if BASELINE.search(one.name)]
        return named[0] if len(named) == 1 else groups[0]
    return None


def _two(
    one: Group, baseline: Group, table: Table, pair: str | None, sign: float, seed: int
) -> dict[str, Any]:
    """How much better a group is than the baseline: positive is better."""
    row: dict[str, Any] = {"group": one.name, "against": baseline.name}
    if pair:
        mine, its = (_by_key(table, pair, one_) for one_ in (one, baseline))
        shared = [key for key in mine if key in its]
        gains = sign * np.array([its[key].mean() - mine[key].mean() for key in shared])
        if len(gains) < 2:
            whose = f"{one.name!r} and {baseline.name!r}"
            raise TableError(f"--pair {pair}: {len(gains)} values are in both {whose}")
        step = resolution(np.concatenate([one.values, baseline.values]))
        error = max(float(gains.std(ddof=1)), step / 6**0.5) / len(gains) ** 0.5
        p = float(2 * t.sf(abs(gains.mean()) / error, len(gains) - 1)) if error > 0 else 1.0
        two_sided = min(1.0, 2 * min(flips(gains, seed), flips(-gains, seed)))
        better, worse = (one_sided(g, seed, step)["p_sequential"] for g in (gains, -gains))
        row |= {
            "pairs": len(gains),
            "gains": dict(zip(shared, gains.tolist(), strict=True)),
            "p_permutation": two_sided,
            "p_sequential": min(1.0, 2 * min(better, worse)),
        }
        several = sum(len(found[key]) > 1 for found in (mine, its) for key in shared)
        row["warnings"] = (
            [f"{several} values of {pair} have several runs: their means are paired"] if several else []
        )
        return {**row, **_ends(float(gains.mean()), error, len(gains) - 1.0, p)}
    x, y = one.values, baseline.values
    if len(x) < 2 or len(y) < 2:
        return {**row, "difference": None, "low": None, "high": None, "p": None,
                "warnings": ["a group of fewer than two runs shows no noise"]}  # fmt: skip
    least = resolution(np.concatenate([x, y])) ** 2 / 12  # no spread is less than that of rounding
    a, b = max(float(x.var(ddof=1)), least) / len(x), max(float(y.var(ddof=1)), least) / len(y)
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1)) if a + b else 1.0
    gap = abs(float(x.mean() - y.mean()))
    p = float(2 * t.sf(gap / (a + b) ** 0.5, freedom)) if a + b else 1.0
    row |= {"p_permutation": permuted(x, y, seed), "warnings": _copies(x, y)}
    return {**row, **_ends(float(sign * (y.mean() - x.mean())), float((a + b) ** 0.5), float(freedom), p)}


def _ends(mean: float, error: float, freedom: float, p: float) -> dict[str, float]:
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return {"difference": mean, "low": mean - half, "high": mean + half, "p": p}


def _by_key(table: Table, column: str, group: Group) -> dict[str, Floats]:
    """A group's values by what a column says of their rows; those of which it says nothing are left out."""
    labels = table.labels(column)
    place = {int(row): number for number, row in enumerate(table.rows)}
    found: dict[str, list[float]] = {}
    for row, value in zip(group.rows, group.values, strict=True):
        if key := labels[place[int(row)]]:
            found.setdefault(key, []).append(float(value))
    return {key: np.array(values) for key, values in found.items()}


# --- words ------------------------------------------------------------------------------------------------


def _across(
    groups: Sequence[Group],
    rows: Sequence[dict[str, Any]],
    target: float | None,
    differences: Sequence[dict[str, Any]],
) -> list[str]:
    """What is said of the groups together."""
    said = []
    beating = [row for row in rows if row["p"] is not None and row["p"] < ALPHA]
    if target is not None and beating and len(rows) > 1:
        kept = sum(row["p_holm"] < ALPHA for row in beating)
        words = f"{len(beating)} of {len(rows)} groups have p below {ALPHA:g}"
        said.append(f"{words}, {kept} of them after Holm's correction")
    if target is not None:
        for row in rows:
            if BASELINE.search(row["group"]) and row["p"] is not None and row["p"] < ALPHA:
                said.append(
                    f"{row['group']!r} beats the target, too (p {row['p']:.2g}): to beat it says nothing of "
                    f"a change; compare with --against {row['group']!r}"
                )
    if target is None and len(groups) > 2 and not differences:
        said.append("more than two groups: give --target, or --against one of them")
    return said


def _words(found: dict[str, Any], target: float | None) -> list[str]:
    words = []
    for row in found["groups"] if target is not None else ():
        if row["p"] is None:
            words.append(f"{row['group'] or 'It'}: fewer than two usable runs, no test.")
            continue
        shown = "is shown" if row["p_holm"] < ALPHA else "is not shown"
        words.append(
            f"{row['group'] or 'The mean'}: {row['mean']:.5g} [{row['low']:.5g}, {row['high']:.5g}], "
            f"{row['n']} runs; that it is {found['better']} than {target:g} {shown} "
            f"(one-sided p {_p(row, len(found['groups']))})."
        )
    for row in found["differences"]:
        if row["p"] is None:
            words.append(f"{row['group']} against {row['against']}: too few runs.")
            continue
        shown = "a difference is shown" if row["p_holm"] < ALPHA else "no difference is shown"
        words.append(
            f"{row['group']} against {row['against']}: {row['difference']:+.4g} [{row['low']:+.4g}, "
            f"{row['high']:+.4g}], above 0 is better, {shown} (p {_p(row, len(found['differences']))})."
        )
    return words


def _p(row: dict[str, Any], count: int) -> str:
    """p, and corrected for how many there are."""
    corrected = f", {row['p_holm']:.2g} by Holm for {count}" if count > 1 else ""
    return f"{row['p']:.2g}{corrected}"
