"""Whether an idea fits what a campaign starts from, told before anything is trained for it.

An idea may be written for a later trunk: what it lacks there is then brought by another idea. Only what
nobody brings can never run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mendel.inputs import allowed
from mendel.patches.check import PatchError
from mendel.patches.edits import Miss, apply_patch, replay
from mendel.records import Idea, Patch, Range


class Misfit(NamedTuple):
    """Why an idea does not fit a recipe."""

    words: str
    """One line: where in the patch, what was found, what is allowed."""
    waits_for: tuple[str, ...] = ()
    """Ideas that bring what it lacks; without any it can never run."""


def misfit(
    idea: Idea,
    others: Sequence[Idea],
    tree: Mapping[str, str],
    editable: Collection[str],
    knobs: Mapping[str, Any] | None,
) -> Misfit | None:
    """Why an idea does not fit the recipe of a `tree` and `knobs`; None where it does, as far as can be told.

    `others`: ideas that may be adopted before it. `knobs`: the recipe's, with their values; None where the
    testbed does not tell them.
    """
    patch = idea.patch
    try:
        apply_patch(tree, patch, editable)
    except PatchError as error:
        return Misfit(error.summary, _bringers(patch, others, tree, editable))
    if knobs is None:
        return None
    for where, key, value in _settings(patch):
        if _names(key, patch):  # its own edits make it, or make something else of it
            continue
        if key not in knobs:
            bringers = tuple(other.name for other in others if _names(key, other.patch))
            return Misfit(f"{where}: the recipe has no knob {key!r}{allowed(key, knobs)}", bringers)
        if wanted := _wanted(value, knobs[key]):
            return Misfit(f"{where}: {value!r} is not allowed; the knob takes {wanted}")
    return None


# --- edits ----------------------------------------------------------------------------------------------


def _bringers(
    patch: Patch, others: Iterable[Idea], tree: Mapping[str, str], editable: Collection[str]
) -> tuple[str, ...]:
    """Ideas that put a search text of the patch in its place, or make it unique."""
    if any(edit.path not in tree or edit.path not in editable for edit in patch.edits):
        return ()
    missed = replay(tree, patch.edits)
    if not isinstance(missed, Miss):
        return ()
    return tuple(other.name for other in others if _brings(other.patch, patch, missed, tree))


def _brings(other: Patch, patch: Patch, missed: Miss, tree: Mapping[str, str]) -> bool:
    # Two texts in one: an idea may need several others, of which each brings a part.
    wanted = missed.edit
    if any(edit.path == wanted.path and wanted.search in edit.replace for edit in other.edits):
        return True
    if any(edit.path not in tree for edit in other.edits):
        return False
    after = replay(tree, other.edits)
    return not isinstance(after, Miss) and not isinstance(replay(after, patch.edits), Miss)


# --- knobs ----------------------------------------------------------------------------------------------


def _settings(patch: Patch) -> list[tuple[str, str, Any]]:
    """Where a patch sets a knob, which one, and a value of it."""
    set_ = [(f"overrides.{key}", key, value) for key, value in patch.overrides.items()]
    return set_ + [(f"tune.{key}", key, _sample(one)) for key, one in patch.tune.items()]


def _sample(range: Range) -> int | float:
    return int(range.low) if range.integer else range.low


def _names(key: str, patch: Patch) -> bool:
    """Whether a patch writes code that names a knob."""
    word = re.compile(rf"\b{re.escape(key)}\b")
    return any(word.search(edit.replace) for edit in patch.edits)


def _wanted(value: Any, held: Any) -> str:
    """What a knob takes that holds such a value, in words; empty where another value is of the same kind."""
    kind = type(value)
    if isinstance(held, bool):
        return "" if kind is bool else "true or false"
    if isinstance(held, int):
        return "" if kind is int else "whole numbers"
    if isinstance(held, float):
        return "" if kind in (int, float) else "numbers"
    if isinstance(held, str):
        return "" if kind is str else "text"
    return ""
