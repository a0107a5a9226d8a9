"""Canaries: random strings behind the text of each sealed file, which only a reader of the file can know.

Whatever holds one has read the file. They are no part of the text: not scored, not counted, not in the corpus
hash; each build draws its own. A model that learned from the file predicts them better than decoys, strings
of the same letters in another order (Carlini et al. 2019, The Secret Sharer).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence

STRINGS = 32
"""In each sealed file."""
LETTERS = 48
REPEATS = 4
ROWS = 4
"""Of text in which a model is asked about all strings of a file."""
TAIL = 1 + STRINGS * REPEATS * (LETTERS + 1)
"""Bytes of a tail: a NUL, which ends the text, and the lines."""

_RANDOM = secrets.SystemRandom()


def new_tail() -> bytes:
    """The bytes behind a text: canaries of its own, a line each, repeated in random order."""
    drawn = ["".join(_RANDOM.choices(string.ascii_lowercase, k=LETTERS)) for _ in range(STRINGS)]
    lines = drawn * REPEATS
    _RANDOM.shuffle(lines)
    return b"\0" + "".join(f"{line}\n" for line in lines).encode()


def read_tail(tail: bytes) -> tuple[bytes, ...]:
    """The canaries of a tail, sorted; none for an empty one. ValueError for anything else."""
    if not tail:
        return ()
    nul, *lines = tail[:1], *tail[1:].split(b"\n")
    found = sorted(set(lines[:-1]))
    letters = all(len(line) == LETTERS and line.isalpha() and line.islower() for line in found)
    if nul != b"\0" or len(tail) != TAIL or lines[-1] or len(found) != STRINGS or not letters:
        raise ValueError("what follows the text are no canaries")
    return tuple(found)


def shuffled(canaries: Sequence[bytes]) -> tuple[bytes, ...]:
    """The same strings in another order: rows of sorted lines would be told from their decoys by looks."""
    return tuple(_RANDOM.sample(canaries, len(canaries)))


def decoys(canaries: Sequence[bytes]) -> tuple[bytes, ...]:
    """A string for each canary with the same letters in another order, fresh at each call."""
    return tuple(bytes(_RANDOM.sample(canary, len(canary))) for canary in canaries)
