"""The law of the best learning rate or batch size, as one JSON object with its words first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f

from mendel.inputs import nearest
from mendel.knowledge.cells import Columns, best_by, cells, centre, read
from mendel.knowledge.optimum import (
    EDGE,
    FLAT,
    LEAST_VALUES,
    SHORT,
    Line,
    Minimum,
    Sweep,
    line_through,
    minima,
)
from mendel.knowledge.table import Table, TableError

NEEDED, MAY = ("knob", "loss"), ("n", "d", "c", "other")
SCALES = ("n", "d", "c")
WIDE = 0.5
"""Width of an exponent's interval from which on it is not identified."""
TOGETHER = 0.975
SENSITIVE = 10
"""Cells whose absence moves the exponents most, that are told."""
REJECTED = 0.05
NOT_USED = {
    EDGE: "the best value is the smallest or the largest tried",
    FLAT: "the sweep is flat beside its noise",
    SHORT: f"fewer than {LEAST_VALUES} values were tried",
}


def optimum_report(
    table: Table, columns: Mapping[str, str], chosen: NDArray[np.bool_], noise: float | None,
    reference: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Fit the minima of the `chosen` rows. TableError and ValueError say what is wrong."""
    if noise is not None and not 0 < noise < 1:
        raise ValueError(f"--noise {noise:g}: must be between 0 and 1, such as 0.005")
    names, found, lost = _scales(table, columns, chosen)
    sweeps, tried = _sweeps(found, names)
    all_minima, sd = minima(sweeps, noise)
    good = [one for one in all_minima if not one.why]
    line = line_through(good)
    against = read_reference(names, reference) if reference else None
    report: dict[str, Any] = {
        "form": "optimum",
        "knob": columns["knob"],
        "runs": int(len(found.numbers["loss"])),
        "not_numbers": lost,
        "parameters": _parameters(line, names, good),
        "middle": dict(zip(names, np.exp(line.centre).tolist(), strict=True)),
        "scatter": line.scatter,
        "noise": sd,
        "cost_of_a_factor_of_2": float(np.median([one.cost(2 * one.knob) for one in good])),
        "minima": [_told(one, names, line) for one in all_minima],
        "predicted": _ahead(good, names),
        "sensitivity": _without_each(good, line, names),
    }
    if against:
        report["reference"] = _against(line, names, against)
    report["warnings"] = _warnings(report, tried)
    return {**report, "words": _words(report, names)}


def _scales(
    table: Table, columns: Mapping[str, str], chosen: NDArray[np.bool_]
) -> tuple[tuple[str, ...], Columns, int]:
    """The scales of the law, the runs that have a loss, and how many have none. d is c / 6 n where it is not
    given."""
    found = read(table, "optimum", columns, NEEDED, MAY).take(chosen)
    numbers = dict(found.numbers)
    if "n" in numbers and "c" in numbers:
        numbers.setdefault("d", numbers["c"] / 6 / numbers["n"])
        numbers.pop("c")
    names = tuple(name for name in SCALES if name in numbers)
    if not names:
        raise TableError("optimum needs a scale beside knob and loss: n=COLUMN d=COLUMN, or c=COLUMN")
    kept = np.isfinite(numbers["loss"])
    return names, Columns(numbers).take(kept), int((~kept).sum())


def _sweeps(found: Columns, names: tuple[str, ...]) -> tuple[list[Sweep], list[int]]:
    numbers = found.numbers
    sweeps, tried = [], []
    for places in cells([numbers[name] for name in names]):
        other = numbers["other"][places] if "other" in numbers else None
        knob, loss, count = best_by(numbers["knob"][places], numbers["loss"][places], other)
        sweeps.append(Sweep(tuple(centre(numbers[name][places]) for name in names), knob, loss))
        tried += count.tolist()
    return sweeps, tried


def _parameters(line: Line, names: tuple[str, ...], good: Sequence[Minimum]) -> dict[str, Any]:
    quantile, errors = line.quantile(), np.sqrt(np.diag(line.covariance))
    shift = np.concatenate([[1.0], -line.centre])
    level = float(shift @ np.concatenate([[line.level], line.exponents]))
    error = float(shift @ line.covariance @ shift) ** 0.5
    value, half = math.exp(level), quantile * error
    ends = {"low": value * math.exp(-half), "high": value * math.exp(half)}
    found: dict[str, Any] = {"coefficient": {"value": value, "se": value * error, **ends, "identified": True}}
    together = _together(names, good)
    for place, name in enumerate(names):
        value, half = float(line.exponents[place]), quantile * float(errors[place + 1])
        wide = f"flat: {value - half:.2f} to {value + half:.2f}" if 2 * half > WIDE else ""
        why = together or wide
        found[name] = {
            "value": value, "se": float(errors[place + 1]), "low": value - half, "high": value + half,
            "identified": not why, **({"why": why} if why else {}),
        }  # fmt: skip
    spread = math.log(found["coefficient"]["high"] / found["coefficient"]["low"])
    if why := together or ("its interval spans a factor of 100" if spread > math.log(100) else ""):
        found["coefficient"] |= {"identified": False, "why": why}
    return found


def _together(names: tuple[str, ...], good: Sequence[Minimum]) -> str:
    """Why exponents of two scales cannot be told apart; empty if they can."""
    if len(names) < 2:
        return ""
    logs = np.log([one.sweep.scales for one in good])
    spans = np.ptp(logs, axis=0)
    if (spans < math.log(2)).any():
        flat = names[int(np.argmin(spans))]
        return f"{flat} hardly varies over the cells"
    apart = float(np.corrcoef(logs.T)[0, 1])
    both = " and ".join(names)
    return f"{both} move together (correlation {apart:.3f})" if abs(apart) >= TOGETHER else ""


def _told(one: Minimum, names: tuple[str, ...], line: Line) -> dict[str, Any]:
    finite = math.isfinite(one.se)
    return {
        **dict(zip(names, one.sweep.scales, strict=True)),
        "best": one.knob,
        "low": one.low if finite else None,
        "high": one.high if finite else None,
        "loss": one.loss,
        "law": math.exp(line.at(one.sweep.scales)[0]),
        "values": len(one.sweep.knob),
        "used": not one.why,
        "why": NOT_USED.get(one.why, ""),
        "bend": one.bend,
        "knobs": one.sweep.knob.tolist(),
        "losses": one.sweep.loss.tolist(),
        "fitted": list(one.used),
    }


def _ahead(good: Sequence[Minimum], names: tuple[str, ...]) -> dict[str, Any] | None:
    """The largest cells from the others: how far off the law is there, and what following it would cost."""
    size = np.array([math.prod(one.sweep.scales) for one in good])
    far = size >= size.max() * (1 - 1e-9)
    try:
        line = line_through([one for one, out in zip(good, far, strict=True) if not out])
    except (ValueError, np.linalg.LinAlgError):
        return None
    rows = []
    for one in (one for one, out in zip(good, far, strict=True) if out):
        centre_, variance = line.at(one.sweep.scales)
        half = line.quantile() * (variance + line.scatter**2 + one.se**2) ** 0.5
        predicted = math.exp(centre_)
        rows.append(
            {
                **dict(zip(names, one.sweep.scales, strict=True)),
                "predicted": predicted,
                "low": math.exp(centre_ - half),
                "high": math.exp(centre_ + half),
                "measured": one.knob,
                "factor": predicted / one.knob,
                "costs": one.cost(predicted),
                "inside": bool(abs(math.log(one.knob) - centre_) <= half),
            }
        )
    return {"fitted_to": int((~far).sum()), "cells": rows}


def _without_each(good: Sequence[Minimum], line: Line, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The exponents without each cell, those that move most first."""
    rows = []
    for place, one in enumerate(good):
        try:
            other = line_through([*good[:place], *good[place + 1 :]])
        except (ValueError, np.linalg.LinAlgError):
            return []
        where = ", ".join(f"{n} {v:.3g}" for n, v in zip(names, one.sweep.scales, strict=True))
        moved = float(np.abs(other.exponents - line.exponents).max())
        told = {"coefficient": math.exp(other.level - float(other.exponents @ other.centre))}
        told |= dict(zip(names, other.exponents.tolist(), strict=True))
        rows.append((moved, {"what": f"without {where}", "parameters": told}))
    return [row for _, row in sorted(rows, key=lambda row: -row[0])[:SENSITIVE]]


# --- a published law --------------------------------------------------------------------------------------


def read_reference(names: tuple[str, ...], text: str) -> dict[str, float]:
    """Published parameters, all or some: `coefficient=1.79,n=-0.713`. TableError for unknown ones."""
    known = ("coefficient", *names)
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (one.strip() for one in part.partition("="))
        try:
            found[name] = float(value)
        except ValueError:
            raise TableError(f"reference {text!r}: write NAME=NUMBER, of {', '.join(known)}") from None
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise TableError(f"reference {text!r}: {name!r} is none of {', '.join(known)}{hint}")
        if name == "coefficient" and found[name] <= 0:
            raise TableError(f"reference {text!r}: coefficient must be above 0")
    return found


def _against(line: Line, names: tuple[str, ...], other: Mapping[str, float]) -> dict[str, Any]:
    """F test of the named parameters, the others left free."""
    turn = np.eye(1 + len(names))
    turn[0, 1:] = -line.centre  # from the level in the middle to that at 1
    inside = turn @ np.concatenate([[line.level], line.exponents])
    covariance = turn @ line.covariance @ turn.T
    places = [("coefficient", *names).index(name) for name in other]
    wanted = np.array([math.log(v) if name == "coefficient" else v for name, v in other.items()])
    off = inside[places] - wanted
    inverse = np.linalg.pinv(covariance[np.ix_(places, places)])
    statistic = float(off @ inverse @ off) / len(places)
    p = float(f.sf(statistic, len(places), line.freedom))
    return {"parameters": dict(other), "f": statistic, "freedom": [len(places), line.freedom], "p": p,
            "rejected": p < REJECTED}  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------


def _warnings(report: Mapping[str, Any], tried: Sequence[int]) -> list[str]:
    said = []
    if lost := report["not_numbers"]:
        said.append(f"{lost} runs have no number for a loss and are left out: see that no edge hides there.")
    if len({*tried}) > 1:
        said.append(
            f"Between {min(tried)} and {max(tried)} values of the other knob were tried with each value of "
            f"this one: where more were, the best of them is lower by luck."
        )
    return said


def _words(report: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    parameters, knob = report["parameters"], report["knob"]
    used = [one for one in report["minima"] if one["used"]]
    powers = " ".join(f"{name}^{parameters[name]['value']:.3f}" for name in names)
    ends = "; ".join(f"{n} {_ends(parameters[n])}" for n in names)
    words = [
        f"The best {knob} is {parameters['coefficient']['value']:.4g} {powers} (exponents {ends}), through "
        f"the minima of {len(used)} of {len(report['minima'])} cells."
    ]
    for name in names:
        one = parameters[name]
        if not one["identified"]:
            words.append(f"The exponent of {name} is not identified ({one['why']}).")
        elif one["low"] <= 0 <= one["high"]:
            words.append(f"That it changes with {name} is not shown.")
    for text in NOT_USED.values():
        count = sum(one["why"] == text for one in report["minima"])
        if count:
            words.append(f"{count} cell{'s are' if count > 1 else ' is'} not used: {text}.")
    words.append(
        f"A factor of 2 off the best costs {report['cost_of_a_factor_of_2']:.2%} of the loss (median cell); "
        f"true minima scatter by a factor of {math.exp(report['scatter']):.2f} about the law."
    )
    words += [_ahead_words(one, knob) for one in (report["predicted"] or {"cells": ()})["cells"]]
    if "reference" in report:
        one = report["reference"]
        verdict = "rejected" if one["rejected"] else "not rejected"
        what = ", ".join(f"{name}={value:g}" for name, value in one["parameters"].items())
        freedom = " and ".join(map(str, one["freedom"]))
        words.append(f"The published {what} is {verdict}: p {one['p']:.2g} (F {one['f']:.1f} on {freedom}).")
    return [*words, *report["warnings"]]


def _ahead_words(one: Mapping[str, Any], knob: str) -> str:
    where = ", ".join(f"{name} {one[name]:.3g}" for name in SCALES if name in one)
    return (
        f"Fitted to the other cells, the law predicts {one['predicted']:.4g} [{one['low']:.4g}, "
        f"{one['high']:.4g}] at {where}; measured {one['measured']:.4g}, off by a factor of "
        f"{one['factor']:.2f}, which costs {one['costs']:.3%} of the loss."
    )


def _ends(one: Mapping[str, Any]) -> str:
    return f"[{one['low']:.3f}, {one['high']:.3f}]"
