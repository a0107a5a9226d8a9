"""What the runs of `mendel testbed check` show of a testbed, graded, with what to change.

`good`; `weak`: it works, and could be better; `error`: no campaign can use it.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from mendel.campaign import testbed_hints as hints
from mendel.campaign.testbed_budget import budget_point, clock_point, slope_of
from mendel.campaign.testbed_costs import cost_point, rungs_point, seconds_by_rung
from mendel.campaign.testbed_failures import failure
from mendel.campaign.testbed_noise import noise_fields, noise_points, spread_of
from mendel.campaign.testbed_order import order_point
from mendel.campaign.testbed_seen import Grade, Point, Seen, counted, good, loss_of, weak, wrong
from mendel.patches import read_tree
from mendel.records import RunStatus, Trust
from mendel.testbeds.source import describe


def result(seen: Seen) -> dict[str, Any]:
    """The check as one JSON object."""
    testbed, spread = seen.testbed, spread_of(seen)
    slope = slope_of(seen, spread)
    points = _points(seen)
    failed = [point for point in points if point.grade is Grade.ERROR]
    return {
        "testbed": testbed.name,
        "folder": testbed.folder,
        "source": testbed.root,
        "recipe": seen.recipe,
        "trust": testbed.trust.value,
        "unit": testbed.unit,
        "currency": testbed.budget.words,
        "rung": seen.rung,
        "budgets": {f"{multiple:g}": budget for multiple, budget in sorted(seen.budgets.items())},
        "sandbox": seen.sandbox,
        "workers": seen.workers,
        "deterministic": seen.deterministic,
        "checks": [{**asdict(point), "grade": point.grade.value} for point in points],
        "ok": not failed,
        "noise": noise_fields(spread, slope, seen),
        "seconds": seconds_by_rung(seen),
        "runs": len(seen.runs) + len(seen.again) + bool(seen.above and seen.above.result),
        "next": _next(seen, points),
    }


def _points(seen: Seen) -> list[Point]:
    """In the order in which they were looked at; what could not be measured is left out."""
    found = [
        _contract(seen),
        _source(seen),
        _environment(seen),
        _trust(seen),
        _protected(seen),
        _sandbox(seen),
    ]
    order = order_point(seen.testbed)
    found += [order] if order else []
    found += _smoke(seen)
    if seen.refused:
        change = f"rungs.{seen.rung}: a larger budget, or a smaller `smoke` ({seen.smoke_budget} now)"
        found.append(wrong("budget", seen.refused, change))
    found += _failures(seen)
    if seen.finished:
        spread = spread_of(seen)
        found += _loss(seen)
        found += noise_points(seen, spread, slope_of(seen, spread))
        more = [
            clock_point(seen, spread),
            budget_point(seen, spread),
            rungs_point(seen, spread),
            cost_point(seen),
        ]
        found += [point for point in more if point]
    return found


def _next(seen: Seen, points: list[Point]) -> str:
    folder = seen.testbed.folder
    ideas = Path(folder, "ideas.toml")
    if any(point.grade is Grade.ERROR for point in points):
        return f"mendel testbed check {folder}"
    named = ideas if ideas.is_file() else "IDEAS.toml"
    return f"mendel run --testbed {folder} --ideas {named} --budget 100runs"


# --- before any run -------------------------------------------------------------------------------------


def _contract(seen: Seen) -> Point:
    testbed = seen.testbed
    first = testbed.rungs[0].compute
    ladder = " ".join(f"{rung.compute / first:g}x" for rung in testbed.rungs)
    count, words = counted(len(testbed.rungs), "rung"), testbed.budget.words
    said = f"{testbed.folder}/testbed.toml; {count} from {first:g} {words} ({ladder})"
    ratios = [high.compute / low.compute for low, high in zip(testbed.rungs, testbed.rungs[1:], strict=False)]
    if len(testbed.rungs) < 2:
        change = "rungs: add a second one of about four times the budget, to see whether gains survive scale"
        return weak("contract", said, change, rungs=1)
    if any(ratio <= 1 for ratio in ratios):
        return weak("contract", said, "rungs: order them from the cheapest to the dearest", ratios=ratios)
    return good("contract", said, rungs=len(testbed.rungs), ratios=ratios)


def _source(seen: Seen) -> Point:
    testbed = seen.testbed
    found = describe(testbed, read_tree(testbed))
    where = f"{counted(len(testbed.files), 'file')} in {testbed.root}"
    if found.commit is None:
        return good("source", f"{where}, in no git repository: known by their content", commit="")
    changed = list(found.dirty)
    dirty = (
        f", {len(changed)} of them changed since ({', '.join(changed[:3])})"
        if changed
        else ", nothing changed since"
    )
    commit = found.commit[:12]
    said = f"{where}, commit {commit}{dirty}; each run keeps them all"
    return good("source", said, commit=commit, dirty=bool(changed), changed=changed)


def _environment(seen: Seen) -> Point:
    libraries = seen.fingerprint.libraries
    listed = ", ".join(f"{name} {version}" for name, version in libraries.items()) or "nothing preloaded"
    parts = [f"{seen.testbed.python}: {listed}"]
    if seen.testbed.inputs:
        parts.append(f"found {counted(len(seen.testbed.inputs), 'input')}")
    if seen.testbed.prepare:
        parts.append("[prepare] made its files")
    said = "; ".join(parts)
    if not seen.testbed.preload:
        change = (
            "preload: name the modules that take long to import, such as torch: each run then starts without"
        )
        return weak("environment", said, change, libraries=libraries)
    return good("environment", said, libraries=libraries)


def _trust(seen: Seen) -> Point:
    trust = seen.testbed.trust
    if trust is Trust.SCORED:
        said = f"{trust.value}: losses are {trust.words}, on text that runs do not see, and audited"
        return good("trust", said)
    return weak(
        "trust",
        f"{trust.value}: losses are {trust.words}, and what it reports is believed: a patch that "
        "only reports less is not found, wherever `protected` does not stop it; findings say so",
        "a score file with load(dir) in place of [metric]: Mendel then scores and audits the runs",
    )


def _protected(seen: Seen) -> Point:
    testbed = seen.testbed
    others = len(testbed.files) - len(testbed.editable)
    counts = (
        (others, "other file"),
        (len(testbed.protected), "protected span"),
        (len(testbed.edits), "searched text"),
    )
    held = [counted(count, what) for count, what in counts if count] or ["nothing else"]
    said = (
        f"patches may change {', '.join(testbed.editable[:4])}{', ...' * (len(testbed.editable) > 4)}; what "
        f"touches {' or '.join(held)} is refused (each is there once)"
    )
    return good("editable", said, editable=list(testbed.editable))


def _sandbox(seen: Seen) -> Point:
    if seen.warning:
        change = "a better sandbox, above all for patches of models: `mendel doctor` says what is missing"
        return weak("sandbox", f"{seen.sandbox}: {seen.warning}", change, name=seen.sandbox)
    return good("sandbox", seen.sandbox, name=seen.sandbox)


# --- single runs ----------------------------------------------------------------------------------------


def _smoke(seen: Seen) -> list[Point]:
    smoke, testbed = seen.smoke, seen.testbed
    if smoke.status is not RunStatus.DONE:
        what = f"the smoke run ({seen.smoke_budget} {testbed.budget.words})"
        return [failure(seen, "smoke", what, seen.rung, smoke, seen.out)]
    written = sum(
        path.stat().st_size for path in seen.out.rglob("*") if path.is_file() and not path.is_symlink()
    )
    said = (
        f"{seen.smoke_budget} {testbed.budget.words} take {smoke.train_seconds:.1f} s, below "
        f"{testbed.memory / 1e9:.3g} GB of memory; loss {loss_of(smoke):.5g} {testbed.unit}"
    )
    return [good("smoke", said, seconds=smoke.train_seconds, disk=written, loss=loss_of(smoke))]


def _failures(seen: Seen) -> list[Point]:
    """Of the whole runs: the first of each kind, with how many there were."""
    found = []
    for names in ([1.0], [multiple for multiple in seen.budgets if multiple != 1.0]):
        own = {key: one for key, one in seen.runs.items() if key[0] in names}
        bad = {key: one for key, one in own.items() if one.status is not RunStatus.DONE}
        if bad:
            key, first = next(iter(bad.items()))
            words = f"{seen.budgets[key[0]]:,} {seen.testbed.budget.words}"
            what = f"{len(bad)} of {len(own)} runs of {words} did not end well: the first"
            found.append(failure(seen, "runs", what, seen.rung, first, seen.outs[key]))
    return found


def _loss(seen: Seen) -> list[Point]:
    """That what is read can be a loss."""
    loss, testbed = fmean(seen.losses), seen.testbed
    if min(seen.losses) <= 0:
        change = (
            "metric: report a positive number of which less is better; a loss, not its negative or a score"
        )
        return [wrong("metric", f"the loss is {min(seen.losses):.5g}", change, loss=loss)]
    if testbed.metric is None:
        return []
    digits = hints.decimals(testbed.metric, seen.outs[1.0, next(iter(seen.finished))])
    where = "in what it prints" if testbed.metric.pattern else f"in {testbed.metric.file}"
    said = f"found {where}: {loss:.5g} {testbed.unit} after {seen.budgets[1.0]:,} {testbed.budget.words}"
    if digits is not None and 10.0**-digits > 1e-3 * abs(loss) and math.isfinite(loss):
        change = f"metric: it is printed with {digits} digits behind the point; small gains need five or more"
        return [weak("metric", said, change, loss=loss, digits=digits)]
    return [good("metric", said, loss=loss, digits=digits)]
