"""What an ablation found, in sentences. Numbers decide; words say no more than their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST = 6
"""Interactions told one by one."""


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The result in plain language, the main message first.

    An effect is shown where its simultaneous 95 % interval leaves out zero.
    """
    scale, kind = found["scale"], found["design"]["kind"]
    unit = unit_of(found)
    lines = _whole(found, scale, unit)
    lines += _main(found["main"], scale, unit, kind)
    if found["interactions"]:
        lines += _interactions(found["interactions"], scale, unit)
    if found["beyond"] is not None and kind in ("loo", "add"):
        lines.append(_beyond(found["beyond"], scale, unit, kind))
    if found["beyond"] is not None and kind in ("fraction", "pb"):
        lines += _unmixed(found["beyond"], scale, unit)
    lines += _aliases(found)
    if found["at_bound"]:
        lines.append(
            f"{found['at_bound']} runs failed or ended far off and count as {found['bound']:.2f} "
            f"{found['unit']} worse than the reference: effects that use them say so and are as large as "
            "that bound makes them."
        )
    return [*lines, *(f"{note[0].upper()}{note[1:]}." for note in found["notes"])]


def unit_of(found: Mapping[str, Any]) -> str:
    """What its effects are told in."""
    return "log2 CM" if found["scale"] == "log2_cm" else str(found["unit"])


def _whole(found: Mapping[str, Any], scale: str, unit: str) -> list[str]:
    whole = found["whole"]
    if whole is None or len(found["main"]) < 2:
        return []
    all_of_them = "Both" if len(found["main"]) == 2 else f"All {len(found['main'])}"
    text = f"{all_of_them} together gain {_value(whole[scale])} {unit}"
    if scale == "log2_cm":
        text += f", a compute multiplier of {2 ** whole[scale]['value']:.2f}"
    return [text + "."]


def _main(rows: Sequence[Mapping[str, Any]], scale: str, unit: str, kind: str) -> list[str]:
    where = {"loo": " when it joins last", "add": " when it joins first"}.get(
        kind, f" on average, with and without the other{'s' if len(rows) > 2 else ''}"
    )
    if len(rows) == 1:
        where = ""
    if any(row["aliases"] for row in rows):
        where = ", if no pairs interact"
    ranked = sorted(rows, key=lambda row: -float(row[scale]["value"]))
    good = [row for row in ranked if row[scale]["all_low"] > 0]
    bad = [row for row in ranked if row[scale]["all_high"] < 0]
    open_ones = [row for row in ranked if row not in good and row not in bad]
    lines = [f"{_names(row)} gains {_value(row[scale])} {unit}{where}." for row in good]
    lines += [f"{_names(row)} costs {_value(row[scale], -1)} {unit}{where}." for row in bad]
    lines += [
        f"{_names(row)} is not shown to change anything: {_value(row[scale])} {unit}{where}."
        for row in open_ones
    ]
    return lines


def _interactions(rows: Sequence[Mapping[str, Any]], scale: str, unit: str) -> list[str]:
    shown = [row for row in rows if row[scale]["all_low"] > 0 or row[scale]["all_high"] < 0]
    shown.sort(key=lambda row: -abs(row[scale]["value"]))
    lines = []
    for row in shown[:MOST]:
        value = row[scale]["value"]
        sign = -1 if value < 0 else 1
        others = [_names(alias) for alias in row["aliases"]]
        mixed = f" (or {', or '.join(others)}: the design cannot tell)" if others else ""
        word = "less" if value < 0 else "more"
        lines.append(
            f"{_names(row)} together gain {_value(row[scale], sign)} {unit} {word} than their sum{mixed}."
        )
    if len(shown) > MOST:
        lines.append(f"{len(shown) - MOST} smaller interactions are shown, too.")
    if len(shown) < len(rows):
        rest = [row for row in rows if row not in shown]
        most = max(max(abs(row[scale]["all_low"]), abs(row[scale]["all_high"])) for row in rest)
        which = "No interaction of two is shown" if not shown else "No other interaction of two is shown"
        lines.append(f"{which}; any there are, are at most {most:.3f} {unit} at 95 % confidence.")
    return lines


def _beyond(row: Mapping[str, Any], scale: str, unit: str, kind: str) -> str:
    """The whole against the sum of what each gains last or first."""
    effect = row[scale]
    how = "when it joins last" if kind == "loo" else "when it joins first"
    if effect["low"] <= 0 <= effect["high"]:
        return (
            f"The whole is not shown to differ from the sum of what each gains {how}: {_value(effect)} "
            f"{unit} more than it."
        )
    sign, word = (1, "more") if effect["value"] > 0 else (-1, "less")
    overlap = (word == "more") == (kind == "loo")
    because = "they overlap" if overlap else "they help each other"
    size = f"{_value(effect, sign)} {unit} {word}"
    return f"The whole gains {size} than the sum of what each gains {how}: {because}."


def _unmixed(row: Mapping[str, Any], scale: str, unit: str) -> list[str]:
    """A warning where the whole shows that something else than main effects moved them."""
    effect = row[scale]
    if effect["low"] <= 0 <= effect["high"]:
        return []
    word, sign = ("more", 1) if effect["value"] > 0 else ("less", -1)
    return [
        f"The whole gains {_value(effect, sign)} {unit} {word} than the main effects add up to: "
        "interactions that this design cannot separate are in them."
    ]


def _aliases(found: Mapping[str, Any]) -> list[str]:
    mixed = [row for row in found["main"] if row["aliases"]]
    if not mixed:
        return []
    return [
        f"Each main effect is mixed with interactions of other pairs (the table of aliases lists up to "
        f"{max(len(row['aliases']) for row in mixed)} for one): a large one may be theirs."
    ]


def _names(row: Mapping[str, Any]) -> str:
    return " and ".join(row["factors"])


def _value(effect: Mapping[str, float], sign: int = 1) -> str:
    """Estimate with its simultaneous interval; `sign` -1 turns both."""
    ends = sorted((sign * effect["all_low"], sign * effect["all_high"]))
    return f"{sign * effect['value']:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"
