"""Regular two-level fractions 2^(k-p): the generators with the best resolution and least aberration.

A fraction is told by k vectors over {0, 1}, one for each factor: `basic` of them are the letters of a full
factorial, the others (generators) are products of letters. Products of factors that come to nothing are the
words of the defining relation; a short word confounds low orders (Box and Hunter 1961, "The 2^(k-p)
fractional factorial designs"). Of two fractions with the same resolution (the shortest word) the one with
fewer shortest words has less aberration, then the one with fewer words of the next length (Fries and Hunter
1980, "Minimum aberration 2^(k-p) designs").
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_FACTORS = 11
"""Beyond, the search below would take too long; Plackett-Burman designs take more."""
MOST_BASIC = 7
"""128 cells."""
KEPT = 160
"""Partial fractions that the search goes on with, the best first; with ten times as many it finds none
better."""


@cache
def generators(factors: int, basic: int) -> tuple[int, ...]:
    """Generators of the `factors - basic` factors beyond the basic ones, as bit masks of basic factors.

    Columns are added one at a time to all partial fractions that differ in what their words show (the classes
    of Chen, Sun and Wu 1993, "A catalogue of two-level and three-level fractional factorial designs"),
    keeping the best. Raises ValueError for sizes with no fraction, or too large to search.
    """
    if not 0 < basic < factors <= min(MOST_FACTORS, 2**basic - 1) or basic > MOST_BASIC:
        raise ValueError(
            f"no fraction of {2**basic} cells for {factors} factors; allowed are up to {MOST_FACTORS} "
            f"factors in 4 to {2**MOST_BASIC} cells, fewer cells than 2^factors and more than factors"
        )
    candidates = sorted(
        (mask for mask in range(1, 2**basic) if mask.bit_count() > 1), key=lambda m: (-m.bit_count(), m)
    )
    dots = _parities(basic)
    best: list[tuple[int, ...]] = [()]
    for size in range(basic + 1, factors + 1):
        found: dict[bytes, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for chosen in best:
            fresh = [mask for mask in candidates if mask not in chosen]
            columns = [1 << place for place in range(basic)] + list(chosen)
            weights = dots[columns].sum(axis=0) + dots[fresh]
            for row, mask in zip(weights, fresh, strict=True):
                key = _fine_key(row, dots, [*columns, mask])
                if key not in found:
                    found[key] = (word_lengths(row, size), (*chosen, mask))
        best = [chosen for _, chosen in sorted(found.values())[:KEPT]]
    return best[0]


def _parities(basic: int) -> Ints:
    """(2^basic, 2^basic): whether two masks share an odd number of letters."""
    masks = np.arange(2**basic)
    both = masks[:, None] & masks
    return np.array([[int(value).bit_count() % 2 for value in row] for row in both], dtype=np.int64)


def _fine_key(weights: Ints, dots: Ints, columns: list[int]) -> bytes:
    """What two equivalent fractions share: how often each weight occurs, in all and column by column."""
    per_column = sorted(np.bincount(weights[dots[mask] == 1], minlength=16).tolist() for mask in columns)
    return np.array([np.bincount(weights, minlength=16).tolist(), *per_column], dtype=np.int16).tobytes()


def word_lengths(weights: Ints, factors: int) -> tuple[int, ...]:
    """How many words of the defining relation have 1, 2, ... `factors` letters.

    `weights` (2^basic,) are the numbers of columns at their high level of each contrast's rows: the weights
    of a linear code, whose dual is the defining relation (MacWilliams' identity).
    """
    counts = np.bincount(weights, minlength=factors + 1)
    total = len(weights)
    found = []
    for length in range(1, factors + 1):
        krawtchouk = [
            sum((-1) ** j * comb(weight, j) * comb(factors - weight, length - j) for j in range(length + 1))
            for weight in range(factors + 1)
        ]
        found.append(int(sum(int(n) * value for n, value in zip(counts, krawtchouk, strict=True))) // total)
    return tuple(found)


def defining_words(masks: tuple[int, ...], basic: int) -> tuple[tuple[int, ...], ...]:
    """The words of the defining relation, each a tuple of factors from 0, shortest first."""
    relations = [(1 << (basic + place)) | mask for place, mask in enumerate(masks)]
    words = []
    for size in range(1, len(relations) + 1):
        for chosen in combinations(relations, size):
            word = 0
            for relation in chosen:
                word ^= relation
            words.append(tuple(place for place in range(basic + len(masks)) if word >> place & 1))
    return tuple(sorted(words, key=lambda word: (len(word), word)))
