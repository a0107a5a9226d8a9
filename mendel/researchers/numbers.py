"""Every number in what an analyst writes must be a number of the evidence, or a rounding of one.

    wrong = unsupported("CM 1.42 (1.31 to 1.55) over 6 pairs", [1.4179, 1.309, 1.552, 6])   # []

A number stands for another if that, rounded to as many digits as are shown, is the same. Per cent may be told
of a share, and a gain of 9 % of a multiplier of 1.09. A sign that is written must be right; one may be left
to words. Number words count like digits; `one` does not, for it is a pronoun. Whose number it is tells its
name: digits glued to `CM` or `x`, in marks of code, or in other scripts are numbers, too. This finds invented
numbers and not invented meanings: a true number in a false sentence passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+\u2212]?\.\d+)"
    r"(?=(\s?(?:%|per ?cent))?)"
)
_WORDS = {
    "twice": 2, "thrice": 3, "half": 0.5, "double": 2, "doubles": 2, "doubled": 2, "two": 2, "three": 3,
    "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18,
    "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "thousand": 1000,
}  # fmt: skip
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_NAME = re.compile(
    r"`[A-Za-z_][A-Za-z0-9_-]*`|\b[a-z]+[a-z0-9]*(?:[-_](?=[a-z0-9]*[a-z])[a-z0-9]+)+\b|\b[A-Za-z]+\d+\b"
)
"""Names of ideas, knobs and recipes have digits that are no numbers."""
_MULTIPLIER = re.compile(r"\b(?:CM|x)[-_=]?(?=[\d.])", re.IGNORECASE)
"""What a number may be glued to without becoming a name."""
_INTERVAL = re.compile(r"(?P<low>[-+]?\d+(?:\.\d+)?)(?:\s*(?:,|to|-|\u2013)\s*)(?P<high>[-+]?\d+(?:\.\d+)?)")
MOST_DIGITS = 30
"""On either side of the point; a number that needs more is no rounding of anything."""
_EXACT = Context(prec=4 * MOST_DIGITS)


class Told(NamedTuple):
    """A number in a text."""

    text: str
    value: Decimal
    percent: bool


def unsupported(text: str, evidence: Iterable[float], names: Sequence[str] = ()) -> list[str]:
    """The numbers of `text` that no number of the evidence supports, as written, in their order.

    `names` are names in the text whose digits are no numbers (of ideas, say).
    """
    known = [Decimal(repr(float(value))) for value in evidence if abs(value) < float("inf")]
    return [told.text for told in _told(text, names) if not any(_stands_for(told, one) for one in known)]


def numbers_in(evidence: Any) -> Iterator[float]:
    """All numbers of a JSON-like value, those in its texts among them."""
    if isinstance(evidence, bool) or evidence is None:
        return
    if isinstance(evidence, int | float):
        yield float(evidence)
    elif isinstance(evidence, str):
        yield from (float(told.value) for told in _told(evidence, ()))
    elif isinstance(evidence, Mapping):
        for value in evidence.values():
            yield from numbers_in(value)
    else:
        for value in evidence:
            yield from numbers_in(value)


def swapped(text: str, intervals: Iterable[tuple[float, float]]) -> list[str]:
    """The intervals (low, high) of the evidence that `text` tells with their ends swapped, as written."""
    known = [tuple(Decimal(repr(float(end))) for end in ends) for ends in intervals]
    found = []
    for match in _INTERVAL.finditer(unicodedata.normalize("NFKC", text)):
        first, second = Decimal(match["low"]), Decimal(match["high"])
        if first > second and any(_rounds_to(h, first) and _rounds_to(low, second) for low, h in known):
            found.append(match[0])
    return found


def intervals_in(evidence: Any) -> Iterator[tuple[float, float]]:
    """(low, high) of all intervals of a JSON-like value."""
    if isinstance(evidence, Mapping):
        low, high = evidence.get("low"), evidence.get("high")
        if isinstance(low, int | float) and isinstance(high, int | float):
            yield float(low), float(high)
    if isinstance(evidence, Mapping | list | tuple):
        for value in evidence.values() if isinstance(evidence, Mapping) else evidence:
            yield from intervals_in(value)


def _told(text: str, names: Sequence[str]) -> Iterator[Told]:
    text = unicodedata.normalize("NFKC", text)
    for name in sorted(names, key=len, reverse=True):
        # A name of digits alone would hide every number that has them.
        if not name.isdigit():
            text = re.sub(rf"(?<![A-Za-z0-9_.]){re.escape(name)}(?![A-Za-z0-9_])", " ", text)
    text = _NAME.sub(" ", _MULTIPLIER.sub(" ", text))
    for match in _NUMBER.finditer(text):
        value = match[1].replace(",", "").replace("\u2212", "-")
        yield Told(match[0] + (match[2] or ""), Decimal(value), bool(match[2]))
    for match in _WORD.finditer(text):
        yield Told(match[0], Decimal(repr(_WORDS[match[0].lower()])), False)


def _stands_for(told: Told, known: Decimal) -> bool:
    meant = (known, known * 100, (known - 1) * 100) if told.percent else (known,)
    return any(_rounds_to(one, told.value) and _may_have(told, one) for one in meant)


def _may_have(told: Told, known: Decimal) -> bool:
    """Whether the sign of `told`, where one is written, is that of `known`; of nothing either is right."""
    if told.text[0] not in "+-\u2212" or told.value == 0:
        return True
    return (known < 0) == (told.value < 0)


def _rounds_to(known: Decimal, told: Decimal) -> bool:
    """Whether `known` rounds to `told` at the digits that `told` shows, its sign aside: that may be told in
    words. A half may go either way."""
    places = int(told.as_tuple().exponent)
    if max(abs(places), abs(told.adjusted()), known.adjusted()) > MOST_DIGITS:
        return known.copy_abs() == told.copy_abs()
    step = Decimal(1).scaleb(places)
    ways = (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_HALF_EVEN)
    shown = _EXACT.divide(known.copy_abs(), step)
    rounded = (shown.quantize(Decimal(1), way, _EXACT) for way in ways)
    return any(_EXACT.multiply(one, step) == told.copy_abs() for one in rounded)
