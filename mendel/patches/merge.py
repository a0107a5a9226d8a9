"""Three-way merge of texts by line: what a patch and the trunk each changed since their common base.

Small and in-process on purpose: a trunk of many patches is rebuilt often, and the result must not depend
on which `git` is installed. It is careful rather than clever: changes that overlap or touch, with no
unchanged line between them, conflict unless they are equal, as in `git merge`. An idea judged on code
that its author did not mean costs more than an idea called stale.

The method is diff3 (Khanna, Kunal and Pierce, "A formal investigation of diff3", 2007), with differences
found by difflib.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple


class Hunk(NamedTuple):
    """Lines [low, high) of the base, counted from 0, became `lines`."""

    low: int
    high: int
    lines: tuple[str, ...]


class MergeConflict(ValueError):
    """Both sides changed the same or touching lines. `regions`: [low, high) in the base, from 0."""

    def __init__(self, regions: list[tuple[int, int]]) -> None:
        self.regions = regions
        super().__init__(f"both change the base at {', '.join(_named(*region) for region in regions)}")


def _named(low: int, high: int) -> str:
    """A region as people count lines, from 1."""
    if low == high:
        return f"line {low + 1} (inserted before it)"
    return f"line {high}" if high == low + 1 else f"lines {low + 1}-{high}"


def merge3(base: str, ours: str, theirs: str) -> str:
    """`base` with the changes of both sides. The sides are interchangeable. MergeConflict if they clash."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    lines = base.split("\n")
    merged: list[str] = []
    clashes: list[tuple[int, int]] = []
    done = 0
    for low, high, left, right in _groups(hunks(base, ours), hunks(base, theirs)):
        merged += lines[done:low]
        done = high
        mine, yours = _rewrite(lines, low, high, left), _rewrite(lines, low, high, right)
        if left and right and mine != yours:
            clashes.append((low, high))
        merged += mine if left else yours
    if clashes:
        raise MergeConflict(clashes)
    return "\n".join(merged + lines[done:])


@lru_cache(maxsize=512)
def hunks(before: str, after: str) -> tuple[Hunk, ...]:
    """What changed, from top to bottom; at least one unchanged line lies between two hunks."""
    old, new = before.split("\n"), after.split("\n")
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    room = min(len(old), len(new)) - head
    ends = zip(reversed(old[len(old) - room :]), reversed(new[len(new) - room :]), strict=True)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    middle = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    return tuple(
        Hunk(head + low, head + high, tuple(new[head + start : head + stop]))
        for tag, low, high, start, stop in middle.get_opcodes()
        if tag != "equal"
    )


def _groups(
    ours: tuple[Hunk, ...], theirs: tuple[Hunk, ...]
) -> Iterator[tuple[int, int, list[Hunk], list[Hunk]]]:
    """Runs of hunks that overlap or touch, as (low, high, hunks of ours, hunks of theirs)."""
    tagged = sorted(
        [(hunk, 0) for hunk in ours] + [(hunk, 1) for hunk in theirs], key=lambda item: item[0][:2]
    )
    at = 0
    while at < len(tagged):
        low, high = tagged[at][0].low, tagged[at][0].high
        sides: tuple[list[Hunk], list[Hunk]] = ([], [])
        while at < len(tagged) and (tagged[at][0].low <= high):
            hunk, side = tagged[at]
            high = max(high, hunk.high)
            sides[side].append(hunk)
            at += 1
        yield low, high, *sides


def _rewrite(lines: list[str], low: int, high: int, changes: list[Hunk]) -> list[str]:
    """Lines [low, high) of the base as one side has them."""
    result: list[str] = []
    for hunk in changes:
        result += [*lines[low : hunk.low], *hunk.lines]
        low = hunk.high
    return result + lines[low:high]
