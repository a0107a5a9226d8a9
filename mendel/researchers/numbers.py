"""Every number in what an analyst writes must be a number of the evidence, or a rounding of one.

    wrong = unsupported("CM 1.42 (1.31 to 1.55) over 6 pairs", [1.4179, 1.309, 1.552, 6])   # []

A number stands for another if that, rounded to as many digits as are shown, is the same. Per cent may be told
of a share, and a gain of 9 % of a multiplier of 1.09. Number words count like digits; `one` does not, for it
is a pronoun. This finds invented numbers and not invented meanings: a true number in a false sentence passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
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
_NAME = re.compile(r"`[^`]*`|\b[a-z]+[a-z0-9]*(?:[-_][a-z0-9]+)+\b|\b[A-Za-z]+\d+\b")
"""Names of ideas, knobs and recipes have digits that are no numbers."""


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


def _told(text: str, names: Sequence[str]) -> Iterator[Told]:
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    text = _NAME.sub(" ", text)
    for match in _NUMBER.finditer(text):
        value = match[1].replace(",", "").replace("\u2212", "-")
        yield Told(match[0] + (match[2] or ""), Decimal(value), bool(match[2]))
    for match in _WORD.finditer(text):
        yield Told(match[0], Decimal(repr(_WORDS[match[0].lower()])), False)


def _stands_for(told: Told, known: Decimal) -> bool:
    meant = (known, known * 100, (known - 1) * 100) if told.percent else (known,)
    return any(_rounds_to(one, told.value) for one in meant)


def _rounds_to(known: Decimal, told: Decimal) -> bool:
    """Whether `known` rounds to `told` at the digits that `told` shows. The sign may be told in words, and a
    half may go either way."""
    step = Decimal(1).scaleb(int(told.as_tuple().exponent))
    ways = (ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_HALF_EVEN)
    return any((abs(known) / step).quantize(Decimal(1), way) * step == abs(told) for way in ways)
