"""The commands about a testbed as such: prove its testbed.toml, print the schema. cli.py names them."""

from __future__ import annotations

import json as text_of
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mendel.campaign.config import FILE, CampaignConfig, read_config, read_settings
from mendel.campaign.progress import Progress
from mendel.recipe_commands import Json, Unsafe, print_json, sandbox_of
from mendel.terminal import watching
from mendel.testbeds import TestbedError, load_testbed
from mendel.testbeds.contract import schema as contract_schema

GRADES = {"good": "green", "weak": "yellow", "error": "bold red"}


def check(
    folder: Path | None = None, /, *, rung: int = 0, fresh: bool = False, workers: int | None = None,
    unsafe: Unsafe = False, json: Json = False,
) -> None:  # fmt: skip
    """Prove a testbed.toml with a few runs: what works, what is weak, what to change.

    Exit code 0 if a campaign can use it, 1 if not, 2 if the file itself is refused.

    Parameters
    ----------
    folder
        With a testbed.toml; default the testbed of mendel.toml, or else the working folder.
    rung
        The lowest rung to look at; one run of the next one is made, too.
    fresh
        Measure again what an earlier check measured.
    workers
        Runs at a time; default one per core.
    """
    from mendel.campaign.testbed_check import check as run_check

    changes: dict[str, Any] = {} if workers is None else {"workers": workers}
    config = _config(folder, changes | sandbox_of(unsafe))
    progress = Progress()
    with watching(progress, Console(stderr=True), quiet=json):
        found = run_check(config, rung, fresh, read_settings(), progress)
    found["next"] = _next(found)
    print_json(found) if json else show_check(Console(), found)
    if not found["ok"]:
        raise SystemExit(1)


def _config(folder: Path | None, changes: dict[str, Any]) -> CampaignConfig:
    if folder is None and "testbed" not in read_config(None, {}).model_fields_set:
        folder = Path()
    if folder is not None:  # the recipe of mendel.toml is that of its own testbed
        changes = {**changes, "testbed": str(folder), "recipe": ""}
    return read_config(None, changes)


def _next(found: dict[str, Any]) -> str:
    """What to type next: less of it where mendel.toml names the testbed."""
    own = read_config(None, {})
    try:
        named = "testbed" in own.model_fields_set and load_testbed(own.testbed).folder == found["folder"]
    except TestbedError:  # it names one that is not there, and another was checked
        named = False
    if not named or not found["ok"]:
        return str(found["next"])
    return f"mendel run (its budget, {own.budget}, and its ideas, {_shown(own.ideas)}, are those of {FILE})"


def _shown(path: str) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if Path(path).is_absolute() else path


def schema() -> None:
    """Print the JSON schema of testbed.toml, for editors."""
    sys.stdout.write(text_of.dumps(contract_schema(), indent=2) + "\n")


def show_check(console: Console, found: dict[str, Any]) -> None:
    """One line for each check, what to change, and what to do next."""
    console.print(
        f"{found['testbed']}, rung {found['rung']}: a smoke run and {found['runs']} runs, losses in "
        f"{found['unit']}",
        markup=False, highlight=False,
    )  # fmt: skip
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in found["checks"]:
        table.add_row(Text(one["grade"], GRADES[one["grade"]]), one["name"], Text(one["said"]))
    console.print(table)
    changes = sorted(
        (one for one in found["checks"] if one["change"]), key=lambda one: one["grade"] != "error"
    )
    if changes:
        console.print("\nWhat to change:")
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for one in changes:
            table.add_row(Text(one["name"], GRADES[one["grade"]]), Text(one["change"]))
            for line in one["numbers"].get("last_lines", ()):
                table.add_row("", Text(f"| {line}", "dim"))
        console.print(table)
    verdict = "A campaign can use it." if found["ok"] else "No campaign can use it yet."
    console.print(f"\n{verdict} Next: {found['next']}", markup=False, highlight=False, soft_wrap=True)
