"""Mendel's own runs, so that the same questions can be asked of them as of everybody's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mendel.knowledge.importers.run import Points, SourceRun, Unread
from mendel.knowledge.table import TableError
from mendel.records import BITS_PER_BYTE, Recipe, Scalar
from mendel.store import Campaign, RunEntry, RunState, Store

DATABASE = "mendel.db"
STEPS = ("step", "tokens")
"""What a line of metrics.jsonl counts by, the first that it has."""


class MendelStore:
    """A store's folder, by default .mendel, or the folder above it."""

    def recognises(self, source: Path) -> bool:
        return _root(source) is not None

    def read(self, source: Path, columns: object = None) -> Iterator[SourceRun | Unread]:
        root = _root(source)
        if root is None:
            raise TableError(f"{source}: there is no store of Mendel ({DATABASE})")
        with Store(root) as store:
            recipes: dict[str, Recipe] = {}
            labels = store.labels()
            for campaign in store.campaigns():
                for entry in store.runs(campaign.id):
                    recipe = entry.spec.recipe
                    if entry.state is RunState.QUEUED:
                        continue
                    if recipe not in recipes:
                        recipes[recipe] = store.recipe(recipe)
                    yield _run(store, campaign, entry, recipes[recipe], labels.get(recipe, ""))


def _root(source: Path) -> Path | None:
    return next((one for one in (source, source / ".mendel") if (one / DATABASE).is_file()), None)


def _run(store: Store, campaign: Campaign, entry: RunEntry, recipe: Recipe, label: str) -> SourceRun:
    spec, result = entry.spec, entry.result
    points = Points()
    folder = store.run_folder(campaign.id, entry.id)
    note = _curves(folder.out / "metrics.jsonl", points)
    last = points.last
    if result is not None:
        own = campaign.fingerprint.unit == BITS_PER_BYTE
        measured = {
            "bits_per_byte" if own else f"scored.{campaign.fingerprint.unit}": result.bits_per_byte,
            "train_seconds": result.train_seconds,
            "cpu_seconds": result.cpu_seconds,
        }
        for name, value in measured.items():
            if value is not None:
                points.add(name, last, value)
    facts: dict[str, Scalar | None] = {
        "idea": entry.idea or "control",
        "stage": entry.stage,
        "rung": spec.rung,
        "seed": spec.seed,
        "tokens": spec.tokens,
        "shard": spec.shard.value,
        "recipe": label or spec.recipe,
        "base": recipe.base,
        "testbed": recipe.testbed,
        "fingerprint": spec.fingerprint,
        "campaign": campaign.id,
    }
    overrides = {f"set.{key}" if key in facts else key: value for key, value in recipe.overrides.items()}
    return SourceRun(
        id=f"{campaign.id}/{entry.id}",
        name=f"{entry.idea or 'control'}, rung {spec.rung}, seed {spec.seed}",
        status=result.status.value if result else entry.state.value,
        config=facts | overrides,
        curves=points.curves(),
        started=entry.started,
        group=campaign.name,
        file=folder.path.relative_to(store.root).as_posix(),
        note=note or (result.reason if result else ""),
    )


def _curves(file: Path, points: Points) -> str:
    """Add what a run logged; returns what of it cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    broken = 0
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            broken += 1
            continue
        if not isinstance(row, dict):
            broken += 1
            continue
        axis = next((one for one in STEPS if one in row), "")
        step = row.get(axis, number)
        for name, value in row.items():
            if name != axis and isinstance(value, int | float) and isinstance(step, int | float):
                points.add(name, step, float(value))
    return f"{broken} lines of {file.name} cannot be read and are left out" if broken else ""
