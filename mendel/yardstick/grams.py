"""Pieces of a text, found again wherever they stand: hashes of all its runs of SIZE bytes.

The hash of a run is sum(random[byte] * BASE^place) mod 2^64 (a polynomial hash, Karp & Rabin 1987, over
random values of the bytes), for all runs at once by doubling. Whoever acts on a hit compares the bytes.

NumPy alone and nothing of mendel: `python grams.py KNOWN.npy SECONDS FOLDER...` also runs under a testbed's
interpreter and inside a sandbox. It searches every file that can be read there and prints, as JSON, those
which hold pieces of the text that KNOWN.npy was made of, and whether it came to the end.
"""

# Paths are strings here: the walk makes very many of them.
# ruff: noqa: PTH116, PTH118, PTH123, PTH208
from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE = 64
"""Bytes of a run; a power of two."""
_BASE = 0x9E3779B97F4A7C15
_WINDOW = 1 << 15
"""Bytes hashed at a time: what is in between fits the cache."""
_FILTER_BITS = 26
_FILTER_SHIFT = np.uint64(64 - _FILTER_BITS)
_READ = 1 << 22

UInt64 = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


def hashes(data: Bytes) -> UInt64:
    """The hash of each run of SIZE bytes, (len(data) - SIZE + 1,); empty when there is none."""
    count = max(0, len(data) - SIZE + 1)
    found: UInt64 = np.empty(count, np.uint64)
    for start in range(0, count, _WINDOW):
        found[start : start + _WINDOW] = _hash_window(data[start : start + _WINDOW + SIZE - 1])
    return found


def block_hashes(data: Bytes) -> UInt64:
    """The hash of each SIZEth run only, (len(data) // SIZE,): of a common piece of 2 * SIZE - 1 bytes one of
    them is always in it."""
    blocks = data[: len(data) // SIZE * SIZE].reshape(-1, SIZE)
    factors = np.array([pow(_BASE, place, 1 << 64) for place in range(SIZE)], np.uint64)
    found: UInt64 = np.empty(len(blocks), np.uint64)
    rows = _WINDOW // SIZE
    for start in range(0, len(blocks), rows):
        found[start : start + rows] = (_values()[blocks[start : start + rows]] * factors).sum(axis=1)
    return found


class Known:
    """A set of hashes that answers for many at once."""

    def __init__(self, known: UInt64) -> None:
        ordered = np.sort(known)  # np.unique takes ten times as long for numbers like these
        self.hashes: UInt64 = ordered[np.diff(ordered, prepend=~ordered[:1]) != 0]
        bits = np.zeros(1 << _FILTER_BITS, np.bool_)
        bits[self.hashes >> _FILTER_SHIFT] = True
        self._filter = np.packbits(bits, bitorder="little")

    def __len__(self) -> int:
        return len(self.hashes)

    def without(self, others: Iterable[UInt64]) -> Known:
        """Those that are not among `others`."""
        keep = np.ones(len(self.hashes), np.bool_)
        for other in others:
            keep[np.searchsorted(self.hashes, other[self.has(other)])] = False
        return Known(self.hashes[keep])

    def has(self, asked: UInt64) -> NDArray[np.int64]:
        """Places in `asked` of the hashes that are known, ascending."""
        parts = [self._has(asked[i : i + _WINDOW]) + i for i in range(0, len(asked), _WINDOW)]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def _has(self, asked: UInt64) -> NDArray[np.int64]:
        # The high bits: the low ones of a polynomial depend on the low bits of its terms alone.
        place = (asked >> _FILTER_SHIFT).astype(np.uint32)
        likely = np.flatnonzero((self._filter[place >> 3] >> (place & 7).astype(np.uint8)) & 1)
        if not len(self.hashes):
            return likely[:0]
        at = np.searchsorted(self.hashes, asked[likely])
        known: NDArray[np.int64] = likely[self.hashes[np.minimum(at, len(self.hashes) - 1)] == asked[likely]]
        return known


class Copy(NamedTuple):
    """A file that holds pieces of the text."""

    path: str
    pieces: int
    """Blocks of SIZE bytes that are runs of the text."""


class Search(NamedTuple):
    """What a search of files found."""

    copies: tuple[Copy, ...]
    files: int
    """Files that were read."""
    bytes: int
    complete: bool
    """False where the time was over before the files were."""


def visible_copies(known: Known, roots: Sequence[str], seconds: float = math.inf) -> Search:
    """Searches all that this process can read below `roots` for pieces of 2 * SIZE - 1 bytes or more. Links
    are not followed, each file is read once. Compressed or compiled text is not found, but for docstrings."""
    end = time.monotonic() + seconds
    copies: list[Copy] = []
    files = size = 0
    for path in _files(roots):
        if time.monotonic() > end:
            return Search(tuple(copies), files, size, complete=False)
        pieces = 0
        for data in _blocks(path):
            pieces += len(known.has(block_hashes(data)))
            size += len(data)
        files += 1
        if pieces:
            copies.append(Copy(path, pieces))
    return Search(tuple(copies), files, size, complete=True)


def _files(roots: Sequence[str]) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    rest = list(roots)
    while rest:
        path = rest.pop()
        try:
            status = os.stat(path, follow_symlinks=False)
            names = os.listdir(path) if stat.S_ISDIR(status.st_mode) else []
        except OSError:  # gone, or not for us
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        rest += [os.path.join(path, name) for name in names]
        if stat.S_ISREG(status.st_mode) and status.st_size >= SIZE:
            yield path


def _blocks(path: str) -> Iterator[Bytes]:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb", buffering=0) as file:
            while data := file.read(_READ):
                yield np.frombuffer(data, np.uint8)
    except OSError:
        return


def _hash_window(data: Bytes) -> UInt64:
    values = _values()[data]
    length = 1
    while length < SIZE:
        values = values[:-length] + values[length:] * np.uint64(pow(_BASE, length, 1 << 64))
        length *= 2
    return values


@functools.cache
def _values() -> UInt64:
    return np.frombuffer(hashlib.shake_256(b"a value for each byte").digest(256 * 8), "<u8").astype(np.uint64)


def main() -> None:
    known, seconds, *roots = sys.argv[1:]
    found = visible_copies(Known(np.load(known)), roots, float(seconds))
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main()
