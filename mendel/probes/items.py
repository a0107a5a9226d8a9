"""The questions: two prompts and two answers each; only who reads the prompts can tell what belongs to which.

A prompt asked alone flatters a model that knows nothing but which bytes are common. So a question is a pair
of *twins*: two prompts that differ in a few early bytes, the right answer of each being the foil of the
other, and what is asked is which answer belongs to which. Whoever does not use those bytes gives an answer
the same probability after both prompts and cannot tell: unigrams, n-grams shorter than what the twins share
at their end, a bias for a position. But for brackets and arithmetic the twins hold the same bytes in another
order, and half of them ask for what stands first and half for what stands last, so that repeating what was
seen, or what was seen last, is no help either.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

VERSION = 1
"""Raise it with any change of the questions: answers to other ones cannot be compared."""
SPANS = (32, 64, 128)
"""Bytes that a model must be able to look back on. Prompts of a longer span are longer, and harder."""
TWINS = 16
"""Questions of each skill at each span; an even number."""


@dataclass(frozen=True)
class Twins:
    """Two prompts of one length, and the answer to each; `answers[0]` is the foil of `prompts[1]`."""

    prompts: tuple[bytes, bytes]
    answers: tuple[bytes, bytes]

    def rows(self) -> tuple[bytes, bytes, bytes, bytes]:
        """First prompt with answer and with foil, then the second prompt with answer and with foil."""
        (p, q), (a, b) = self.prompts, self.answers
        return p + a, p + b, q + b, q + a


def copying(rng: random.Random, span: int, late: bool) -> Twins:
    """A random string begins again: how does it go on? Many bytes match, and three follow."""
    stretch = {32: 4, 64: 18, 128: 39}[span]
    while True:
        (first, second), (u, v) = (tuple(_letters(rng, n) for _ in "uv") for n in (stretch, 3))
        whole = f"{first}{u}{second}{v} {first} {second}"
        if u[0] != v[0] and (whole.count(u), whole.count(v)) == (1, 1):
            break
    again = second if late else first
    return _swapped(lambda u, v: f"{first}{u}{second}{v} {again}", u, v, late)


def induction(rng: random.Random, span: int, late: bool) -> Twins:
    """One byte stands there a second time: which one followed it?"""
    size, alphabet = {
        32: (16, string.ascii_lowercase),
        64: (50, string.ascii_letters),
        128: (92, string.ascii_letters + string.digits + string.punctuation),
    }[span]
    line = rng.sample(alphabet, size)
    places = sorted(rng.sample(range(1, len(line), 2), 2))
    asked = line[places[late] - 1]

    def prompt(u: str, v: str) -> str:
        line[places[0]], line[places[1]] = u, v
        return f"{''.join(line)} {asked}"

    return _swapped(prompt, line[places[0]], line[places[1]], late)


def recall(rng: random.Random, span: int, late: bool) -> Twins:
    """Keys and values; one key is asked for."""
    width, digits, count = {32: (1, 1, 4), 64: (1, 2, 12), 128: (2, 2, 20)}[span]
    keys = _distinct(lambda: _letters(rng, width), count)
    values = _distinct(lambda: "".join(rng.choices(string.digits, k=digits)), count)
    i, j = sorted(rng.sample(range(count), 2))

    def prompt(u: str, v: str) -> str:
        values[i], values[j] = u, v
        pairs = "".join(f"{key}={value}," for key, value in zip(keys, values, strict=True))
        return f"{pairs}{keys[j if late else i]}="

    return _swapped(prompt, values[i], values[j], late)


def brackets(rng: random.Random, span: int, late: bool) -> Twins:
    """Nested brackets of several kinds; which closes next? Where `late`, the innermost is closed already, so
    that closing what was opened last is right in half of the questions."""
    depth, size = {32: (2, 15), 64: (4, 61), 128: (6, 125)}[span]
    kinds = rng.sample(_KINDS, 2)
    for _ in range(depth - 2):
        kinds.insert(0, rng.choice([kind for kind in _KINDS if kind != kinds[0]]))
    outer, inner = kinds[-2:]
    marks = [kind[0] for kind in kinds] + ([inner[1]] if late else [])
    gaps = _parts(rng, size - 3 - len(marks), len(marks) + 1)
    text = _letters(rng, gaps[0])
    for mark, gap in zip(marks, gaps[1:], strict=True):
        text += mark + _letters(rng, gap)
    text += _letters(rng, 3)
    exchanged = text.translate(str.maketrans(outer + inner, inner + outer))
    right, foil = (outer, inner) if late else (inner, outer)
    return Twins((text.encode(), exchanged.encode()), (right[1].encode(), foil[1].encode()))


def arithmetic(rng: random.Random, span: int, late: bool) -> Twins:
    """Sums of two numbers, after a few that are worked out. The twin's number differs in its first digit. The
    digit in which the answers differ stands in neither question, so that nothing can be copied."""
    digits, examples = {32: (2, 1), 64: (3, 4), 128: (3, 9)}[span]
    unit = 10 ** (digits - 1)
    shown = ""
    for _ in range(examples):
        a, b = _addends(rng, unit)
        shown += f"{a}+{b}={a + b};"
    while True:
        a, b = _addends(rng, unit)
        step = unit * rng.randint(1, 7)
        other = (a, b + step) if late else (a + step, b)
        questions, sums = [f"{a}+{b}=", f"{other[0]}+{other[1]}="], [a + b, sum(other)]
        if max(*other, sums[1]) < 10 * unit and not {str(s)[0] for s in sums} & set("".join(questions)):
            break
    if rng.random() < 0.5:
        questions.reverse()
        sums.reverse()
    first, second = ((shown + question).encode() for question in questions)
    return Twins((first, second), (str(sums[0]).encode(), str(sums[1]).encode()))


def identifiers(rng: random.Random, span: int, late: bool) -> Twins:
    """A name is defined in Python code and begun again where it is used."""
    define, count, half = {
        32: ("{name}={n}\n", 2, 1),
        64: ("def {name}():\n return {n}\n", 2, 1),
        128: ("def {name}():\n    return {n}\n\n", 3, 2),
    }[span]
    parts = _distinct(lambda: _syllables(rng, half), 2 * count)
    heads, tails = parts[:count], parts[count:]
    i, j = sorted(rng.sample(range(count), 2))

    def prompt(u: str, v: str) -> str:
        tails[i], tails[j] = u, v
        names = [head + tail for head, tail in zip(heads, tails, strict=True)]
        code = "".join(define.format(name=name, n=n) for n, name in enumerate(names, 1))
        return f"{code}print({heads[j if late else i]}"

    return _swapped(prompt, tails[i], tails[j], late)


SKILLS: dict[str, Callable[[random.Random, int, bool], Twins]] = {
    "copying": copying,
    "induction": induction,
    "recall": recall,
    "brackets": brackets,
    "arithmetic": arithmetic,
    "identifiers": identifiers,
}


def make_twins(skill: str, span: int, seed: int) -> tuple[Twins, ...]:
    """The `TWINS` questions of a skill at a span; every row is of one length, at most span + 1 bytes.

    They follow from `seed`: the runs of a pair, which share it, are asked the same, and the spread over seeds
    holds the luck of the questions too.
    """
    rng = random.Random(f"{seed} {skill} {span}")
    return tuple(SKILLS[skill](rng, span, bool(number % 2)) for number in range(TWINS))


_KINDS = ("()", "[]", "{}")


def _swapped(prompt: Callable[[str, str], str], u: str, v: str, late: bool) -> Twins:
    """Twins that differ in which of `u` and `v` stands first; asked is for the first, or the last."""
    answers = (v, u) if late else (u, v)
    return Twins((prompt(u, v).encode(), prompt(v, u).encode()), (answers[0].encode(), answers[1].encode()))


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=count))


def _syllables(rng: random.Random, count: int) -> str:
    """A part of a name, none that stands in the words of the code around it."""
    while True:
        part = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(count))
        if part not in "def return print":
            return part


def _distinct(draw: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def _parts(rng: random.Random, total: int, count: int) -> list[int]:
    """`count` lengths that add up to `total`, some of them zero."""
    cuts = sorted(rng.randint(0, total) for _ in range(count - 1))
    return [end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True)]


def _addends(rng: random.Random, unit: int) -> tuple[int, int]:
    """Two numbers of as many digits as `unit`, and their sum too."""
    while True:
        a, b = rng.randrange(unit, 9 * unit), rng.randrange(unit, 9 * unit)
        if a + b < 10 * unit:
            return a, b
