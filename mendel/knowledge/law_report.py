"""What a fit of a law comes to, as one JSON object with its words first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.inputs import allowed
from mendel.knowledge.compare import complete
from mendel.knowledge.downstream import chained, drawn_errors, error_parameters
from mendel.knowledge.fits import OBJECTIVES, Fit, Floats
from mendel.knowledge.isoflop_report import isoflop_report
from mendel.knowledge.law_points import curve_of, points_of
from mendel.knowledge.law_words import words_of
from mendel.knowledge.laws import (
    DRAWS,
    LAWS,
    LEAST_DRAWS,
    PUBLISHED,
    WORK,
    Law,
    Runs,
    against,
    farthest,
    fitted,
    held_out,
    held_to,
    identified,
    likelihood_ratio,
    moves_together,
    named,
    paths,
    predictions,
    resampled,
)
from mendel.knowledge.multiplier_report import multiplier_report
from mendel.knowledge.optimum_report import optimum_report
from mendel.knowledge.table import Table, TableError

FORMS = (*LAWS, "isoflop", "downstream", "optimum", "multiplier")
LOSS_LAW = "over-training"
"""What tells the loss of a model whose downstream errors are predicted."""
ISOFLOP_COLUMNS = ("c", "n", "loss")
REJECTED = 0.05
OFF = 0.05
"""Relative difference of c from 6 n d that is still a matter of how FLOPs are counted."""


def needed(form: str) -> tuple[str, ...]:
    """The columns of a form, the loss last."""
    if form == "isoflop":
        return ISOFLOP_COLUMNS
    if form == "downstream":
        return (*LAWS[LOSS_LAW].columns, "loss", "error")
    if form == "optimum":
        return ("n", "d", "knob", "loss")
    if form == "multiplier":
        return ("c", "loss", "recipe")
    if form not in LAWS:
        raise TableError(f"form {form!r} is unknown{allowed(form, FORMS)}")
    return (*LAWS[form].columns, "loss")


def read_columns(table: Table, form: str, columns: Mapping[str, str]) -> dict[str, Floats]:
    """The numbers of a form's columns, from the user's names for them. `c` stands for 6 n d where it, or one
    of the two, is not given. TableError for what is missing."""
    names = needed(form)
    known = {*names, "c", "d", "n"} if {"n", "d"} & {*names} else {*names}
    for name in columns:
        if name not in known:
            raise TableError(f"column {name!r} is none of {form}'s{allowed(name, sorted(known))}")
    found = {name: table.numbers(column) for name, column in columns.items()}
    if "c" in found and "n" in found and "d" in names:
        found.setdefault("d", found["c"] / 6 / found["n"])
    if "n" in found and "d" in found:
        found.setdefault("c", 6 * found["n"] * found["d"])
    missing = [name for name in names if name not in found]
    if missing:
        raise TableError(f"{form} needs the columns {', '.join(names)}; not given: {', '.join(missing)}")
    return found


def read_reference(law: Law, text: str) -> dict[str, float]:
    """Published parameters, all or some: their name, or `A=406.4,B=410.7,...`. TableError: unknown ones."""
    if text.lower() in PUBLISHED and law.name == "chinchilla":
        return dict(PUBLISHED[text.lower()])
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise TableError(
                f"reference {text!r}: write {'=..,'.join(law.parameters)}=.., or "
                f"one of {', '.join(PUBLISHED)}"
            ) from None
    wrong = sorted({*found} - {*law.parameters})
    if wrong:
        raise TableError(f"reference {text!r}: {wrong[0]!r} is unknown{allowed(wrong[0], law.parameters)}")
    if not all(0 < one < float("inf") for one in found.values()):
        raise TableError(f"reference {text!r}: each parameter must be a number above 0")
    return found


@dataclass(frozen=True)
class Choice:
    """How a law is fitted; the defaults are for a table of which nothing is known."""

    fit: Sequence[str] = ()
    """Conditions of the rows that are fitted; empty: of all that are not predicted."""
    predict: Sequence[str] = ()
    """Of the rows that are predicted; empty: of all others or, where all are fitted, the largest tenth."""
    fit_error: Sequence[str] = ()
    """Of the rows that tell how errors follow the loss (downstream); empty: those of `fit`."""
    reference: str | None = None
    cluster: str | None = None
    baseline: str | None = None
    """The recipe that others are compared with (multiplier)."""
    drop: int = 0
    keep_all: bool = False
    objective: str = "absolute"
    noise: float | None = None
    all_runs: bool = False
    """Runs that did not end, by what the table says of them, too."""
    draws: int = DRAWS
    """Resamples behind the intervals; fewer where there are many runs."""
    seed: int = 0


def law_report(table: Table, form: str, columns: Mapping[str, str], how: Choice = Choice()) -> dict[str, Any]:
    """Fit a form to the rows of a table. TableError and ValueError say what is wrong."""
    if form in ("optimum", "multiplier"):
        return _of_cells(table, form, columns, how)
    found = read_columns(table, form, columns)
    if form == "isoflop":
        only(how, form, "fit", "noise", "all_runs")
        some = table.mask(how.fit) & (complete(table) | how.all_runs)
        c, n, loss = (found[name][some] for name in ISOFLOP_COLUMNS)
        return isoflop_report(c, n, loss, how.noise, how.seed)
    if form == "downstream":
        return _downstream(table, columns, found, how)
    for name in ("fit_error", "baseline", "noise"):
        if getattr(how, name) is not None and getattr(how, name) != ():
            raise TableError(f"--{name.replace('_', '-')} has no meaning for --form {form}")
    if how.objective not in OBJECTIVES:
        raise TableError(f"objective {how.objective!r} is unknown{allowed(how.objective, OBJECTIVES)}")
    law = LAWS[form]
    reference = read_reference(law, how.reference) if how.reference else None
    whole, near, far = _rows(table, law, found, how)
    runs = whole.take(near)
    optimum, kept = fitted(law, runs, how.keep_all, how.drop, how.objective)
    clean = runs.take(kept)
    draws = min(how.draws, max(LEAST_DRAWS, WORK // len(clean)))
    drawn = resampled(law, clean, optimum.parameters, how.seed, draws, how.objective)
    report: dict[str, Any] = {
        "form": form,
        "runs": len(runs),
        "parameters": _parameters(law, optimum, drawn, clean, how.objective),
        "objective": {"name": how.objective, "value": optimum.objective},
        "starts": optimum.starts,
        "starts_at_optimum": optimum.at_optimum,
        "dropped": _dropped(law, optimum.parameters, runs, kept),
        "dropped_by": "highest" if how.drop else "" if how.keep_all else "outliers",
        "not_numbers": int((~np.isfinite(whole.loss)).sum()),
        "sensitivity": _sensitivity(law, runs, clean, how.objective),
    }
    if form == "chinchilla":
        report["allocation"] = _allocation(law, optimum.parameters, drawn)
    if reference:
        report["reference"] = _against(law, optimum, drawn, reference, clean)
    if far.any():
        there = predictions(law, optimum.parameters, whole.take(far))
        report["predicted"] = {"fitted_to": len(clean), **there}
    else:
        # Of all runs: what is left out may be where the law breaks.
        beyond = farthest(found.get("c", whole.x[:, 0])[near])
        report["predicted"] = held_out(law, runs, beyond, how.objective, how.keep_all)
        report["dropped_of_largest"] = int(np.setdiff1d(np.flatnonzero(beyond), kept).size)
    report["points"] = points_of(law, optimum.parameters, whole, near, far, kept, found.get("c"))
    report["curve"] = curve_of(law, optimum.parameters, drawn, report["points"])
    report["warnings"] = _warnings(found, whole, near, optimum, clean, law, how.objective)
    if short := 0 if how.all_runs else int((~complete(table)).sum()):
        report["warnings"].append(f"{short} of {len(table)} runs did not end and are left out.")
    return {**report, "words": words_of(report)}


def _of_cells(table: Table, form: str, columns: Mapping[str, str], how: Choice) -> dict[str, Any]:
    some = table.mask(how.fit) & (complete(table) | how.all_runs)
    if form == "optimum":
        only(how, form, "fit", "noise", "all_runs", "reference")
        return optimum_report(table, columns, some, how.noise, how.reference)
    only(how, form, "fit", "noise", "all_runs", "baseline")
    return multiplier_report(table, columns, some, how.baseline, how.noise, how.seed)


def _rows(
    table: Table, law: Law, found: Mapping[str, Floats], how: Choice
) -> tuple[Runs, NDArray[np.bool_], NDArray[np.bool_]]:
    """All runs, and which of them are fitted and which predicted."""
    clusters = np.arange(len(table))
    if how.cluster:
        clusters = np.unique(table.labels(how.cluster), return_inverse=True)[1]
    whole = Runs(np.stack([found[name] for name in law.columns], axis=1), found["loss"], table.rows, clusters)
    measured = np.isfinite(whole.loss)
    far = table.mask(how.predict) if how.predict else np.zeros(len(table), dtype=bool)
    if how.predict and not far.any():
        raise TableError(f"{table.name}: no row has {' and '.join(how.predict)} (--predict)")
    near = table.mask(how.fit) & ~far
    if how.fit and not how.predict:
        far = ~near
    ended = measured & (complete(table) | how.all_runs)
    return whole, near & ended, far & ended


def _downstream(
    table: Table, columns: Mapping[str, str], found: Mapping[str, Floats], how: Choice
) -> dict[str, Any]:
    """A law of loss, errors from losses, and both in a chain for the rows that are predicted."""
    plain = {name: column for name, column in columns.items() if name != "error"}
    report = law_report(table, LOSS_LAW, plain, replace(how, fit_error=()))
    law = LAWS[LOSS_LAW]
    whole, near, far = _rows(table, law, found, how)
    some = table.mask(how.fit_error) if how.fit_error else near
    best, parameters = error_parameters(found["loss"][some], found["error"][some], how.seed)
    words = words_of({**report, "predicted": None})
    shown = some | (far & np.isfinite(found["error"]))
    report["errors"] = drawn_errors(best, found["loss"][shown], found["error"][shown], some[shown])
    report = {**report, "form": "downstream", "loss_predicted": report["predicted"], "predicted": None}
    report["parameters"] = {**report["parameters"], **parameters}
    far &= np.isfinite(found["error"])
    if far.any():
        inside = law.inside({name: report["parameters"][name]["value"] for name in law.parameters})
        loss = np.exp(law.log_loss(inside, whole.x[far]))
        report["predicted"] = chained(best, loss, found["error"][far], whole.rows[far])
        ahead = report["predicted"]
        words.append(
            f"By predicted losses, the errors of {ahead['runs']} models are predicted within "
            f"{ahead['mean_absolute_error']:.2%} on average ({ahead['mean_error']:+.2%} with sign)."
        )
    return {**report, "words": words}


def only(how: Choice, form: str, *taken: str) -> None:
    """TableError for an option that has no meaning for a form."""
    plain = Choice()
    for one in fields(how):
        if one.name not in (*taken, "draws", "seed") and getattr(how, one.name) != getattr(plain, one.name):
            raise TableError(f"--{one.name.replace('_', '-')} has no meaning for --form {form}")


def explains_nothing(law: Law, optimum: Fit, runs: Runs, objective: str) -> bool:
    """Whether a constant loss does as well, for as many parameters as the law has more."""
    if objective != "absolute":
        return False
    level = np.log(runs.loss)
    constant = float(np.abs(level - np.median(level)).sum())
    more = len(law.parameters) - 1
    return likelihood_ratio(optimum.objective, constant, len(runs), more) > REJECTED


def _parameters(law: Law, optimum: Fit, drawn: Floats, runs: Runs, objective: str) -> dict[str, Any]:
    plain, spread = law.natural(optimum.parameters), law.natural(drawn)
    low, high = np.quantile(spread, [0.025, 0.975], axis=0)
    nothing = "a constant loss does as well" if explains_nothing(law, optimum, runs, objective) else ""
    together = moves_together(law, runs)
    found = {}
    for place, name in enumerate(law.parameters):
        ends = float(min(low[place], plain[place])), float(max(high[place], plain[place]))
        why = (
            nothing
            or ("" if name == "E" else together)
            or identified(law, name, *ends, float(runs.loss.min()))
        )
        found[name] = {
            "value": float(plain[place]),
            "se": float(spread[:, place].std(ddof=1)),
            "low": ends[0],
            "high": ends[1],
            "identified": not why,
            **({"why": why} if why else {}),
        }
    return found


def _warnings(
    found: Mapping[str, Floats],
    whole: Runs,
    near: NDArray[np.bool_],
    optimum: Fit,
    clean: Runs,
    law: Law,
    objective: str,
) -> list[str]:
    """What speaks against a fit, in sentences."""
    said = []
    if lost := int((~np.isfinite(whole.loss)).sum()):
        said.append(f"{lost} of {len(whole)} runs have no number for a loss and are left out.")
    if {"c", "n", "d"} <= found.keys():
        off = np.abs(np.log(found["c"] / (6 * found["n"] * found["d"])))
        if far_off := int((off > OFF).sum()):
            said.append(f"In {far_off} of {len(off)} rows c is more than {OFF:.0%} away from 6 n d.")
    rows = np.column_stack([whole.x[near], whole.loss[near]])
    if copies := len(rows) - len(np.unique(rows, axis=0)):
        said.append(f"{copies} of {len(rows)} rows are copies of others: intervals take them for evidence.")
    if explains_nothing(law, optimum, clean, objective):
        said.append("The law explains nothing that a constant loss does not.")
    return said


def _dropped(law: Law, optimum: Floats, runs: Runs, kept: NDArray[np.int64]) -> list[dict[str, Any]]:
    gone = np.setdiff1d(np.arange(len(runs)), kept)
    off = np.exp(law.log_loss(optimum, runs.x[gone])) / runs.loss[gone] - 1
    return [
        {"row": int(row), "loss": float(loss), "predicted_off_by": float(error)}
        for row, loss, error in zip(runs.rows[gone], runs.loss[gone], off, strict=True)
    ]


def _sensitivity(law: Law, runs: Runs, clean: Runs, objective: str) -> list[dict[str, Any]]:
    """The parameters by other choices: how many of the highest losses are left out, what is made least."""
    rows = []
    for count, optimum in paths(law, runs, objective):
        left = runs.rows[np.sort(np.argsort(-runs.loss, kind="stable")[:count])].tolist()
        what = f"without the {count} highest losses" if count > 1 else "without the highest loss"
        rows.append((what if count else "all runs", len(runs) - count, left, optimum))
    for other in OBJECTIVES:
        if other != objective:
            try:
                optimum = fitted(law, clean, keep_all=True, objective=other)[0].parameters
            except ValueError:
                continue
            rows.append((f"objective {other}", len(clean), [], optimum))
    return [
        {"what": what, "runs": size, "left_out": left, "parameters": named(law, law.natural(optimum))}
        for what, size, left, optimum in rows
    ]


def _allocation(law: Law, optimum: Floats, drawn: Floats) -> dict[str, Any]:
    """n* grows as C^a with a = beta / (alpha + beta)."""
    alpha, beta = drawn[:, -2], drawn[:, -1]
    low, high = np.quantile(beta / (alpha + beta), [0.025, 0.975])
    return {
        "what": "parameters of the best model grow as compute to the power",
        "value": float(optimum[-1] / (optimum[-2] + optimum[-1])),
        "low": float(low),
        "high": float(high),
    }


def _against(law: Law, optimum: Fit, drawn: Floats, other: Mapping[str, float], runs: Runs) -> dict[str, Any]:
    """Both how far published parameters are from the fit, and how much worse they fit, the others left free:
    where parameters make up for each other only the second tells."""
    statistic, p = against(law, optimum.parameters, drawn, other)
    level = np.log(runs.loss)
    mine, its = (
        float(np.abs(law.log_loss(one, runs.x) - level).sum())
        for one in (optimum.parameters, held_to(law, runs, optimum.parameters, other))
    )
    worse = likelihood_ratio(mine, its, len(runs), len(other))
    return {
        "parameters": dict(other),
        "chi_squared": statistic,
        "freedom": len(other),
        "p_wald": p,
        "p_likelihood": worse,
        "p": max(p, worse),
        "rejected": max(p, worse) < REJECTED,
    }
