"""Groups of near-duplicate documents, by MinHash over word shingles.

A document whose near copy was trained on measures memory, not learning; so near duplicates must fall on
the same side of the split. Each document becomes a set of shingles (runs of five words); MinHash
(Broder 1997) keeps a few minima per set, and two sets agree on one minimum with probability J, their
Jaccard similarity. Documents that agree on all rows of any band are linked (locality-sensitive hashing,
Indyk & Motwani 1998), with probability 1 - (1 - J^ROWS)^BANDS: 0.02 % at J = 0.1, 55 % at 0.5, 99.0 % at
0.7, 99.99 % at 0.8. A false link only keeps two documents together, so links are not checked again.

Only integer arithmetic is used: the groups are the same on every machine. A short text contained in a
much longer one has a low J and is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
"""Words per shingle."""
BANDS = 25
ROWS = 5
_BLOCK = 1 << 20
"""Bytes hashed at a time: bounds memory, at the price of the few shingles across a boundary."""

UInt64 = NDArray[np.uint64]
UInt32 = NDArray[np.uint32]


def duplicate_groups(documents: Sequence[bytes]) -> NDArray[np.int32]:
    """A group number for each document (UTF-8); near duplicates, also through others, share one.

    Documents without a single word belong to a group of their own.
    """
    from scipy.sparse import coo_array  # slow to load, and most commands build no corpus
    from scipy.sparse.csgraph import connected_components

    signatures = [signature(document) for document in documents]
    known = np.array([i for i, s in enumerate(signatures) if s is not None], dtype=np.int64)
    if len(known) == 0:
        return np.arange(len(documents), dtype=np.int32)
    table = np.stack([s for s in signatures if s is not None]).reshape(len(known), BANDS, ROWS)
    rows = _random(ROWS, stream=3) | np.uint64(1)
    links = []
    for band in range(BANDS):
        keys = _mix((table[:, band].astype(np.uint64) * rows).sum(axis=1))
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        links.append(np.stack([known[first[inverse]], known]))
    left, right = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(len(documents),) * 2)
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def signature(document: bytes) -> UInt32 | None:
    """The (BANDS * ROWS,) MinHash signature of a UTF-8 text, or None when it holds no word."""
    factors, offsets = _permutations()
    minima: UInt32 = np.full((len(factors), 1), np.iinfo(np.uint32).max, np.uint32)
    empty = True
    for start in range(0, len(document), _BLOCK):
        hashes = _shingles(document[start : start + _BLOCK])
        for i in range(0, len(hashes), 2048):  # 125 x 2048 products fit the cache
            products = factors * hashes[None, i : i + 2048] + offsets
            minima = np.minimum(minima, products.min(axis=1, keepdims=True))
            empty = False
    return None if empty else minima[:, 0]


def _shingles(text: bytes) -> UInt32:
    """A hash of each run of SHINGLE words; fewer words make one shingle."""
    words = _words(text)
    if len(words) == 0:
        return np.empty(0, np.uint32)
    if len(words) < SHINGLE:
        words = np.pad(words, (0, SHINGLE - len(words)))
    factors = _random(SHINGLE, stream=2) | np.uint64(1)
    count = len(words) - SHINGLE + 1
    total = np.zeros(count, np.uint64)
    for i in range(SHINGLE):
        total += words[i : i + count] * factors[i]
    return (_mix(total) >> np.uint64(32)).astype(np.uint32)


def _words(text: bytes) -> UInt64:
    """A hash of each word. A word is a run of ASCII letters (case ignored), digits and underscores, or
    one character beyond ASCII, so that scripts without spaces have words too."""
    kinds, letters, places = _tables()
    data = np.frombuffer(text, np.uint8)
    kind = kinds[data]
    before = np.concatenate([np.zeros(1, np.uint8), kind[:-1]])
    starts = np.flatnonzero(((kind == 1) & (before != 1)) | (kind == 2))
    if len(starts) == 0:
        return np.empty(0, np.uint64)
    first = int(starts[0])
    lengths = np.diff(starts, append=len(data))
    position = np.arange(first, len(data)) - np.repeat(starts, lengths)
    # Separators have the value 0, so the rest of each segment adds nothing to its word.
    values = letters[data[first:]] * places[position & 255]
    return np.add.reduceat(values, starts - first)


@cache
def _tables() -> tuple[NDArray[np.uint8], UInt64, UInt64]:
    """For each byte its kind (0 separator, 1 ASCII word, 2 first byte of a character beyond ASCII, 3 a
    later one) and a random value (0 for separators); and a random odd factor for each position."""
    kinds = np.zeros(256, np.uint8)
    kinds[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] = 1
    kinds[0xC0:] = 2
    kinds[0x80:0xC0] = 3
    letters = _random(256, stream=0)
    letters[ord("A") : ord("Z") + 1] = letters[ord("a") : ord("z") + 1]
    letters[kinds == 0] = 0
    return kinds, letters, _random(256, stream=1) | np.uint64(1)


@cache
def _permutations() -> tuple[UInt32, UInt32]:
    """Factors and offsets, each (BANDS * ROWS, 1), of the hash functions h -> a * h + b mod 2^32."""
    numbers = (_random(2 * BANDS * ROWS, stream=4) >> np.uint64(32)).astype(np.uint32)
    factors, offsets = numbers.reshape(2, BANDS * ROWS, 1)
    return factors | np.uint32(1), offsets


def _random(count: int, stream: int) -> UInt64:
    """Fixed numbers that look random: SplitMix64 (Steele, Lea & Flood 2014)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 20)
    return _mix(steps * np.uint64(0x9E3779B97F4A7C15))


def _mix(values: UInt64) -> UInt64:
    """The output function of SplitMix64: every bit of the input moves every bit of the output."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
