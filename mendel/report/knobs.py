"""Knobs of a recipe: the values that its smoke run wrote down, and what is said of one that was changed."""

from __future__ import annotations

import json
from typing import Any

from mendel.report.curves import read_text
from mendel.report.facts import Facts, overrides_between
from mendel.store import Store, smoke_name


def written_knobs(store: Store, campaign: str, recipe: str, rung: int) -> dict[str, Any] | None:
    """The knobs of a recipe and their values, as its smoke run wrote them into `config.json`; None where it
    wrote no JSON object. A run wrote it, so it is for telling and for where a search begins."""
    out = store.run_folder(campaign, smoke_name(recipe, rung)).out
    try:
        found = json.loads((not out.is_symlink() and read_text(out / "config.json")) or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def changed_knobs(facts: Facts, control: str, treatment: str, rung: int) -> list[dict[str, Any]]:
    """Configuration keys in which two recipes differ: `key`, its override in the `control` and in the
    `treatment`, None where one has none; `recipe` is what that one had all the same, None where not known."""
    store, rows = facts.store, []
    recipes = store.recipe(control), store.recipe(treatment)
    for key, old, new in overrides_between(recipes[0].overrides, recipes[1].overrides):
        without = control if old is None else treatment
        had = (written_knobs(store, facts.campaign.id, without, rung) or {}).get(key)
        rows.append({"key": key, "control": old, "treatment": new, "recipe": had})
    return rows


def knob_text(value: object, recipe: object) -> str:
    """An override, or what stands in its place."""
    if value is not None:
        return repr(value)
    return "as in the recipe" if recipe is None else f"{recipe!r:.80} as in the recipe"
