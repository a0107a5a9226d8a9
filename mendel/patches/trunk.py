"""The trunk: a base recipe and an ordered list of adopted ideas, rebuilt from scratch whenever asked.

The trunk keeps every idea as its author wrote it, against the base tree. A rebase gives a *tree*, never a
rewritten patch: a patch rewritten for today's trunk would quote the code of other ideas, and removing one
of those would break it. So a build is a pure function of the base and the list; adopting appends, removing
leaves one out, and no order of past changes can leave a trace. `tree.diff` shows what a rebase came to.

A patch written against a trunk rather than the base works too, as long as its search texts still match;
when what it quotes is removed, it is stale, because there is no base to merge from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple

from mendel.patches.check import PatchError, check_patched
from mendel.patches.edits import Miss, apply_patch, check_paths, replay
from mendel.patches.merge import MergeConflict, merge3
from mendel.patches.tree import Tree
from mendel.records import Idea, Patch, Recipe, Scalar, Trunk, tree_hash


class Stale(ValueError):
    """A sound patch that no longer fits on the trunk; the message is the reason, in one line."""


class Rebased(NamedTuple):
    """A trunk's tree with one more patch, and whether that took a three-way merge."""

    tree: Tree
    merged: bool


class Built(NamedTuple):
    """A trunk as something to run; `merged` names the ideas that took a three-way merge."""

    recipe: Recipe
    tree: Tree
    merged: tuple[str, ...] = ()


class Outcome(StrEnum):
    """What comes of putting one idea on top of another."""

    COMMUTES = "commutes"
    """Either order gives the same recipe."""
    ORDER_MATTERS = "order matters"
    """Both orders work and give different recipes."""
    ONE_WAY = "one way"
    """This order works, the other does not."""
    STALE = "stale"
    """The second does not fit on the first."""
    ALTERNATIVES = "alternatives"
    """They share a slot: the second would replace the first."""


class Composition(NamedTuple):
    """The outcome of `second` on top of `first`; `reason` says why it is stale."""

    first: str
    second: str
    outcome: Outcome
    merged: bool = False
    reason: str = ""


def build(trunk: Trunk, base_tree: Mapping[str, str], editable: Collection[str]) -> Built:
    """Replay the adopted ideas in order: their edits on the tree, their overrides on the recipe's.

    Stale or PatchError, naming the idea and the reason, if one does not fit. ValueError if `base_tree` is
    not the tree of the trunk's base: the testbed was changed under the campaign.
    """
    found = tree_hash(base_tree)
    if found != trunk.base.tree:
        raise ValueError(
            f"testbed {trunk.base.testbed!r}: its files have content hash {found}, but the trunk began at "
            f"{trunk.base.tree}; restore the files or start a new campaign"
        )
    layer = _Layer(dict(base_tree), dict(trunk.base.overrides), {}, {}, ())
    for idea in trunk.adopted:
        layer = _stack(layer, idea, base_tree, editable)
    # A fresh record, not a copy with an update: that would carry the base's cached id along.
    recipe = Recipe(
        testbed=trunk.base.testbed,
        tree=tree_hash(layer.tree),
        base=trunk.base.base,
        overrides=layer.overrides,
    )
    return Built(recipe, layer.tree, layer.merged)


def adopt(trunk: Trunk, idea: Idea) -> Trunk:
    """The trunk with `idea` last; the holder of its slot, if any, is superseded (left out).

    Whether the rest still fits is for `build` to say. ValueError if an idea of that name is adopted.
    """
    names = [held.name for held in trunk.adopted]
    if idea.name in names:
        raise ValueError(f"idea {idea.name!r} is already adopted; the trunk holds: {', '.join(names)}")
    slot = idea.patch.slot
    kept = tuple(held for held in trunk.adopted if slot is None or held.patch.slot != slot)
    return Trunk(base=trunk.base, adopted=(*kept, idea))


def remove(trunk: Trunk, name: str) -> Trunk:
    """The trunk without the idea `name`, the others in their order. ValueError if it is not adopted."""
    kept = tuple(held for held in trunk.adopted if held.name != name)
    if len(kept) == len(trunk.adopted):
        names = ", ".join(held.name for held in kept) or "nothing"
        raise ValueError(f"idea {name!r} is not adopted; the trunk holds: {names}")
    return Trunk(base=trunk.base, adopted=kept)


def rebase(
    patch: Patch, base_tree: Mapping[str, str], trunk_tree: Mapping[str, str], editable: Collection[str]
) -> Rebased:
    """The trunk's tree with a patch that was written for `base_tree`.

    Exact replay where every search text still occurs once; otherwise a three-way merge by line of what
    the patch and the trunk each changed since `base_tree`. The result parses. An exact match may lie in
    code that another idea wrote: ideas that rewrite one thing belong in one slot. PatchError for a file that
    may not be edited; Stale, with the reason, where neither way works.
    """
    check_paths(trunk_tree, patch, editable)
    result = replay(trunk_tree, patch.edits)
    merged = isinstance(result, Miss)
    if isinstance(result, Miss):
        result = _merge(patch, base_tree, trunk_tree, editable)
    try:
        check_patched(trunk_tree, result, editable)
    except PatchError as error:
        raise Stale(f"{'merged' if merged else 'replayed'}, but {error.summary}") from error
    return Rebased(result, merged)


def compose_matrix(
    ideas: Sequence[Idea], base_tree: Mapping[str, str], editable: Collection[str]
) -> list[Composition]:
    """Every ordered pair of `ideas` (first, second): does the second fit on the first, and do both orders
    give the same recipe? Stale or PatchError if an idea does not even fit on `base_tree` alone."""
    bare = _Layer(dict(base_tree), {}, {}, {}, ())
    alone = [_stack(bare, idea, base_tree, editable) for idea in ideas]
    rows: dict[tuple[int, int], Composition] = {}
    for i, j in combinations(range(len(ideas)), 2):
        # Both orders at once: they mostly give the same texts, which are then parsed once.
        there = _try_stack(alone[i], ideas[j], base_tree, editable)
        back = _try_stack(alone[j], ideas[i], base_tree, editable)
        rows[i, j] = _composition(ideas[i], ideas[j], there, back)
        rows[j, i] = _composition(ideas[j], ideas[i], back, there)
    return [rows[key] for key in sorted(rows)]


# --- stacking one idea on a tree ----------------------------------------------------------------------


class _Layer(NamedTuple):
    """A trunk half built."""

    tree: Tree
    overrides: dict[str, Scalar]
    owners: dict[str, str]
    """Configuration key -> name of the idea that set it."""
    touched: dict[str, tuple[str, ...]]
    """File -> names of the ideas that edited it."""
    merged: tuple[str, ...]


def _stack(layer: _Layer, idea: Idea, base_tree: Mapping[str, str], editable: Collection[str]) -> _Layer:
    """One more idea on top. Stale, naming the idea, if it clashes or has nothing left to change."""
    patch = idea.patch
    _check_overrides(layer, idea)
    paths = dict.fromkeys(edit.path for edit in patch.edits)
    try:
        tree, merged = rebase(patch, base_tree, layer.tree, editable)
    except Stale as error:
        others = dict.fromkeys(name for path in paths for name in layer.touched.get(path, ()))
        after = f" (also edited by: {', '.join(others)})" if others else ""
        raise Stale(f"idea {idea.name!r}: {error}{after}") from error
    except PatchError as error:
        raise PatchError(f"idea {idea.name!r}: {error.summary}", error.detail) from error
    overrides = {**layer.overrides, **patch.overrides}
    # Equality of the JSON that a recipe's id is made of: 1, 1.0 and True are different settings there.
    if tree == layer.tree and _typed(overrides) == _typed(layer.overrides):
        why = "nothing is left to change, the trunk has all of it already"
        raise Stale(f"idea {idea.name!r}: {'its knobs have no values yet' if patch.only_tunes else why}")
    return _Layer(
        tree,
        overrides,
        {**layer.owners, **dict.fromkeys(patch.overrides, idea.name)},
        {**layer.touched, **{path: (*layer.touched.get(path, ()), idea.name) for path in paths}},
        (*layer.merged, idea.name) if merged else layer.merged,
    )


def _check_overrides(layer: _Layer, idea: Idea) -> None:
    """Two ideas that want different values for one key cannot both be judged as adopted.

    Equal values do not clash. Alternatives never meet here: `adopt` supersedes within a slot. The values
    of the base recipe are nobody's claim and simply give way; so do all to a value that was searched on the
    trunk that holds them.
    """
    for key, value in idea.patch.overrides.items():
        searched = key in idea.patch.tune or key in idea.patch.tuned
        owner = None if searched else layer.owners.get(key)
        if owner is not None and _typed({key: value}) != _typed({key: layer.overrides[key]}):
            raise Stale(
                f"idea {idea.name!r}: it sets {key} = {value!r}, but idea {owner!r} set "
                f"{key} = {layer.overrides[key]!r}, and the two share no slot"
            )


def _typed(overrides: Mapping[str, Scalar]) -> dict[str, tuple[type, Scalar]]:
    return {key: (type(value), value) for key, value in overrides.items()}


def _merge(
    patch: Patch, base_tree: Mapping[str, str], trunk_tree: Mapping[str, str], editable: Collection[str]
) -> Tree:
    try:
        theirs = apply_patch(base_tree, patch, editable)
    except PatchError as error:
        raise Stale(f"it fits neither the trunk nor the tree it was written for: {error.summary}") from error
    result = dict(trunk_tree)
    for path in dict.fromkeys(edit.path for edit in patch.edits):
        try:
            result[path] = merge3(base_tree[path], trunk_tree[path], theirs[path])
        except MergeConflict as error:
            raise Stale(f"{path}: the trunk and the patch {error}") from error
    return result


def _try_stack(
    layer: _Layer, idea: Idea, base_tree: Mapping[str, str], editable: Collection[str]
) -> _Layer | Stale:
    try:
        return _stack(layer, idea, base_tree, editable)
    except Stale as error:
        return error


def _composition(first: Idea, second: Idea, this: _Layer | Stale, other: _Layer | Stale) -> Composition:
    names = first.name, second.name
    if first.patch.slot is not None and first.patch.slot == second.patch.slot:
        return Composition(*names, Outcome.ALTERNATIVES)
    if isinstance(this, Stale):
        return Composition(*names, Outcome.STALE, reason=str(this))
    merged = second.name in this.merged
    if isinstance(other, Stale):
        return Composition(*names, Outcome.ONE_WAY, merged)
    same = this.tree == other.tree and _typed(this.overrides) == _typed(other.overrides)
    return Composition(*names, Outcome.COMMUTES if same else Outcome.ORDER_MATTERS, merged)
