"""How a run of a testbed is started: what the placeholders of its command stand for, and the command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mendel.records import Recipe, Testbed


def run_values(
    testbed: Testbed, recipe: Recipe, rung: int, seed: int, budget: int, out: Path | str, data: Path | str
) -> dict[str, Any]:
    """What the placeholders of a command stand for."""
    values: dict[str, Any] = {"recipe": recipe.base, "rung": rung, "seed": seed, "out": out, "data": data}
    parts = testbed.budget.parts
    values[testbed.budget.told] = f"{budget / parts:g}" if parts > 1 else budget
    device = "cuda" if testbed.gpus else "cpu"
    return values | {"device": device, "cpus": testbed.cpus, "gpus": testbed.gpus}


def run_command(testbed: Testbed, recipe: Recipe, rung: int, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Script and arguments of a run."""
    command = [part.format(**values) for part in testbed.command]
    overrides = {**testbed.set, **testbed.rungs[rung].set, **recipe.overrides}
    for key, value in sorted(overrides.items()):
        command += [part.format(key=key, value=value) for part in testbed.override]
    return tuple(command)


def run_env(testbed: Testbed, values: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables that the testbed gives a run."""
    return {name: text.format(**values) for name, text in testbed.env.items()}
