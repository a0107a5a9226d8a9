"""Untrusted text and small numbers, made fit for a page or a terminal."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from mendel.records import Interval

# Control characters would move a terminal's cursor; direction overrides make a line read as another one.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_ESCAPES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|.)")


def clean(text: object, limit: int = 100_000) -> str:
    """`text` without terminal escapes, control characters and direction overrides, at most `limit` long."""
    plain = str(text).replace("\r\n", "\n")
    plain = _UNSAFE.sub("", _ESCAPES.sub("", plain[: 2 * limit]))
    return plain if len(plain) <= limit else plain[:limit] + " …"


def unified_diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The difference of two source trees (path -> text), in the order of the file names; empty if equal."""
    parts: list[str] = []
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old != new:
            lines = ("" if old is None else old).split("\n"), ("" if new is None else new).split("\n")
            names = ("/dev/null" if old is None else path, "/dev/null" if new is None else path)
            parts += difflib.unified_diff(*lines, *names, lineterm="")
    return "\n".join(parts)


def cm_text(log2_cm: Interval, marked: bool = True) -> str:
    """A compute multiplier in words: `1.42 [1.31, 1.55]`, or `9.1 [6.2, > 16.00]` where the curve ends;
    `marked` where it is extrapolated."""
    cut = "> " if log2_cm.high_bounded else ""
    beyond = " (extrapolated)" if log2_cm.extrapolated and marked else ""
    return f"{cm_value(log2_cm)} [{cm_number(log2_cm.low)}, {cut}{cm_number(log2_cm.high)}]{beyond}"


def cm_row(row: Mapping[str, Any]) -> str:
    """The same of a row of the summary, which has plain multipliers."""
    least, cut = "≥ " if row["bounded"] else "", "> " if row["high_bounded"] else ""
    beyond = " (extrapolated)" if row["extrapolated"] else ""
    return f"{least}{row['cm']:.2f} [{row['cm_low']:.2f}, {cut}{row['cm_high']:.2f}]{beyond}"


def cm_value(log2_cm: Interval) -> str:
    return f"{'≥ ' if log2_cm.bounded else ''}{cm_number(log2_cm.value)}"


def cm_number(log2: float) -> str:
    """Plain multiplier of a log2 one, with digits that fit its size."""
    if not math.isfinite(log2) or log2 > 30:
        return "∞" if log2 > 0 else "0"
    value = 2.0**log2
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def counted(number: int, noun: str) -> str:
    """`1 blank`, `2 blanks`."""
    return f"{number:,} {noun}{'s'[: number != 1]}"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign; a true minus sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def e_value(log_e: float) -> str:
    """An e-value from its natural logarithm."""
    if log_e > 690:
        return "> 10³⁰⁰"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def quantity(value: float) -> str:
    """A large count in short: 203 k, 1.4 M, 6.0 × 10¹²."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if scale <= value < 1000 * scale:
            return f"{value / scale:.3g}\u00a0{unit}"
    if value < 1e3:
        return f"{value:.4g}"
    exponent = math.floor(math.log10(value))
    raised = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10**exponent:.1f}\u00a0×\u00a010{raised}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.2f} h"
