"""Exact search/replace edits, and an error that shows how to repair one that misses.

A search text must occur exactly once in the file as the patch's earlier edits left it. That is stricter
than a diff with fuzz: a patch either means one thing or is refused, so a measured result always belongs
to the code its author wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher
from typing import NamedTuple

from mendel.patches.check import PatchError, allowed, check_patched
from mendel.patches.tree import Tree
from mendel.records import Edit, Patch

SHOWN_LINES = 6
"""Lines of a file that an error message shows."""
SHOWN_WIDTH = 120
ALIKE = 0.5
"""Similarity (difflib ratio) below which two lines are called unrelated."""


class Miss(NamedTuple):
    """An edit whose search text does not occur exactly once."""

    number: int
    """Position in the patch, from 1."""
    edit: Edit
    text: str
    """The file as the earlier edits left it."""
    places: list[int]
    """Offsets where the search text occurs."""


def apply_patch(tree: Mapping[str, str], patch: Patch, editable: Collection[str]) -> Tree:
    """A new tree with the patch's edits; `tree` is left as it is. Overrides belong to the recipe.

    PatchError for a file that does not exist or is not editable, a search text that does not occur
    exactly once, edits that change nothing, and a result that does not parse.
    """
    check_paths(tree, patch, editable)
    result = replay(tree, patch.edits)
    if isinstance(result, Miss):
        raise _explain(result, len(patch.edits), tree)
    if patch.edits and result == tree:
        raise PatchError(f"{patch.edits[0].path}: the edits leave every file as it was")
    check_patched(tree, result, editable)
    return result


def check_paths(tree: Mapping[str, str], patch: Patch, editable: Collection[str]) -> None:
    """PatchError unless every edit is to an existing, editable file."""
    for number, edit in enumerate(patch.edits, 1):
        where = f"{edit.path}: edit {number} of {len(patch.edits)}"
        if edit.path not in tree:
            raise PatchError(f"{where}: the testbed has no such file; {allowed(editable)}")
        if edit.path not in editable:
            raise PatchError(f"{where}: this file is not editable; {allowed(editable)}")


def replay(tree: Mapping[str, str], edits: Iterable[Edit]) -> Tree | Miss:
    """The edited tree, or the first edit that misses. Explains nothing and checks nothing, so that
    asking whether thousands of pairs of patches fit stays quick. KeyError for an unknown file."""
    result = dict(tree)
    for number, edit in enumerate(edits, 1):
        text = result[edit.path]
        places = _occurrences(text, edit.search)
        if len(places) != 1:
            return Miss(number, edit, text, places)
        start = places[0]
        result[edit.path] = text[:start] + edit.replace + text[start + len(edit.search) :]
    return result


def miss_summary(miss: Miss, count: int) -> str:
    """One line: which edit missed, and how often its search text occurs."""
    times = f"{len(miss.places)} time{'' if len(miss.places) == 1 else 's'}"
    return (
        f"{miss.edit.path}: edit {miss.number} of {count}: the search text {_short(miss.edit.search)!r} "
        f"occurs {times}, it must occur exactly once"
    )


def nearest_lines(text: str, search: str) -> str:
    """The lines of `text` most like `search`, numbered, beside those of `search` they differ from."""
    wanted, have = search.strip("\n").split("\n"), text.split("\n")
    alike = [_likenesses(line, have) for line in wanted]
    width = min(len(wanted), len(have))
    starts = range(len(have) - width + 1)
    scores = [sum(alike[k][start + k] for k in range(width)) for start in starts]
    start = max(starts, key=scores.__getitem__)
    if not scores[start]:
        return "no line of the file is like the search text"
    differ = [k for k in range(width) if have[start + k] != wanted[k]]
    telling = [k for k in differ if alike[k][start + k]] or differ or [0]
    first = max(0, telling[0] - 1)  # one line for orientation, then the trouble
    rows = ["nearest lines of the file:"]
    for k in range(first, min(width, first + SHOWN_LINES)):
        rows += _beside(start + k + 1, have[start + k], wanted[k])
    return "\n".join(rows)


def _occurrences(text: str, search: str) -> list[int]:
    # Overlapping occurrences count: "aa" is as ambiguous in "aaa" as in "aa aa".
    places = []
    place = text.find(search)
    while place >= 0:
        places.append(place)
        place = text.find(search, place + 1)
    return places


def _explain(miss: Miss, count: int, tree: Mapping[str, str]) -> PatchError:
    search, text = miss.edit.search, miss.text
    if miss.places:
        lines = [str(text.count("\n", 0, place) + 1) for place in miss.places[:SHOWN_LINES]]
        more = ", ..." if len(miss.places) > SHOWN_LINES else ""
        detail = f"it begins at lines {', '.join(lines)}{more}: add neighbouring lines until it is unique"
        return PatchError(miss_summary(miss, count), detail)
    notes = []
    if len(_occurrences(tree[miss.edit.path], search)) == 1:
        notes.append("it is in the file before the patch: an earlier edit of this patch changed it")
    elif search.strip() and "".join(search.split()) in "".join(text.split()):
        notes.append("it is there apart from white space: indentation, line ends or blank lines differ")
    return PatchError(miss_summary(miss, count), "\n".join([*notes, nearest_lines(text, search)]))


def _likenesses(wanted: str, have: list[str]) -> list[float]:
    """Similarity of one line with every line of the file, 0 for blank lines and below ALIKE."""
    if not wanted.strip():
        return [0.0] * len(have)
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted.strip())
    known: dict[str, float] = {}
    for line in have:
        if line not in known:
            matcher.set_seq1(line.strip())
            likely = matcher.real_quick_ratio() >= ALIKE and matcher.quick_ratio() >= ALIKE
            ratio = matcher.ratio() if likely else 0.0
            # Equal up to indentation is near, not equal.
            known[line] = ratio * (1.0 if line == wanted or ratio < 1.0 else 0.99)
    return [known[line] if known[line] >= ALIKE else 0.0 for line in have]


def _beside(number: int, line: str, want: str) -> list[str]:
    if line == want:
        return [f"{number:6d} | {_short(line)}"]
    # White space that differs is only seen in quotes.
    shown = repr if line.split() == want.split() else str
    return [f"{number:6d} | {shown(_short(line))}", f"search | {shown(_short(want))}"]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_WIDTH else text[: SHOWN_WIDTH - 3] + "..."
