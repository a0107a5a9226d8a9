"""What a stream session asks: rows of text dealt into frames of one shape, in a secret order.

What will be compared stands at the same place of two frames of one shape: there a function of the row gives
the same numbers to the last bit, in whatever precision it computes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mendel.yardstick.scoring import Encode, Tokens

BATCH = 4
"""Rows of a frame: few, so that there are many frames whose noise is independent."""
TWINS, AGAIN, EXACT = 11, 16, 13
"""A twin for so many windows, a window again for so many, a frame again for so many: of 128 windows in 37
frames, 12 twins, 8 windows and 3 frames, a quarter more than the score alone."""

_RANDOM = random.SystemRandom()
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a frame."""

    tokens: NDArray[np.uint16]
    """As many as in all rows: what the row is about, and whatever fills it up."""
    size: int
    """Tokens that it is about."""
    window: int = -1
    """Which window it is, or is a twin of."""
    cut: int = 0
    """Tokens that a twin shares with its window; 0 for the window itself."""
    group: str = ""


def make_rows(
    windows: Tokens, groups: Mapping[str, Tokens], others: Tokens, encode: Encode | None
) -> list[Row]:
    """The windows in their order, then the groups, all of one length.

    A group's shorter row goes on with text of `others` up to a window's length; NUL fills what is left where
    texts of one length have different numbers of tokens.
    """
    found = [(encoded(row.tobytes(), encode), 0, i, "") for i, row in enumerate(windows)]
    text, length = others.tobytes(), windows.shape[1]
    for name, rows in groups.items():
        missing = length - rows.shape[1]
        for row in rows:
            own, start = encoded(row.tobytes(), encode), _RANDOM.randrange(len(text) - missing + 1)
            after = encoded(text[start : start + missing], encode) if missing else []
            found.append((own + after, len(own), -1, name))
    longest = max(len(tokens) for tokens, _, _, _ in found)
    return [
        Row(_filled(tokens, longest), size or len(tokens), window, group=group)
        for tokens, size, window, group in found
    ]


def make_frames(rows: Sequence[Row], others: Tokens, encode: Encode | None) -> list[list[Row]]:
    """All rows, twins and windows again. A frame takes one row of each of BATCH columns, each in an order of
    its own; a window, its twin and its repetition are in one column."""
    text = [token for row in others for token in encoded(row.tobytes(), encode)]
    windows = _shuffled([row for row in rows if row.group == ""])
    batch = min(BATCH, len(windows))
    dealt = [windows[place::batch] for place in range(batch)]
    columns = []
    for mine in dealt:
        twins = [_twin(row, text) for row in mine[: math.ceil(len(mine) / TWINS)] if row.size > 2]
        columns.append(mine + twins + mine[-math.ceil(len(mine) / AGAIN) :])
    for number, row in enumerate(row for row in rows if row.group):
        columns[number % batch].append(row)
    height = max(map(len, columns))
    for column, mine in zip(columns, dealt, strict=True):
        column += _RANDOM.choices(mine, k=height - len(column))
    return [list(frame) for frame in zip(*map(_shuffled, columns), strict=True)]


def with_repeats(frames: list[list[Row]]) -> tuple[list[list[Row]], list[tuple[int, int]]]:
    """The frames with the first and some of the first half again in the second, and their numbers: (first,
    again). Before the first a model has learned nothing yet."""
    half = (len(frames) + 1) // 2
    more = min(half - 1, math.ceil(len(frames) / EXACT) - 1)
    first = [0, *_RANDOM.sample(range(1, half), more)]
    late = [(frame, -1) for frame in frames[half:]] + [(frames[number], number) for number in first]
    late = _shuffled(late)
    repeats = [(number, half + place) for place, (_, number) in enumerate(late) if number >= 0]
    return frames[:half] + [frame for frame, _ in late], repeats


def _twin(row: Row, text: list[int]) -> Row:
    """`row` up to a secret cut, then real text that begins with another token."""
    cut = _RANDOM.randint(max(2, row.size // 8), row.size - 1)
    places = max(1, len(text) - (row.size - cut) + 1)
    starts = [_RANDOM.randrange(places) for _ in range(64)]
    start = next((start for start in starts if text[start] != row.tokens[cut]), starts[0])
    tokens = [*row.tokens[:cut].tolist(), *text[start : start + row.size - cut]]
    return Row(_filled(tokens, len(row.tokens)), row.size, row.window, cut)


def encoded(text: bytes, encode: Encode | None) -> list[int]:
    """Tokens of a text: its bytes, where nothing encodes them."""
    return list(text) if encode is None else encode(text)


def _filled(tokens: Sequence[int], length: int) -> NDArray[np.uint16]:
    row = np.zeros(length, np.uint16)
    row[: len(tokens)] = tokens
    return row


def _shuffled(items: Sequence[T]) -> list[T]:
    return _RANDOM.sample(items, len(items))
