"""The command that repeats a run, as a person would type it.

The command's form is the testbed's, so it is read from its `testbed.toml`; the files are those the store
keeps. A run repeated by hand trains the same model but is not scored and not recorded.
"""

from __future__ import annotations

import shlex
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from mendel.records import RunSpec
from mendel.report.facts import Facts


def repeat_command(facts: Facts, spec: RunSpec, out: str = "again") -> str | None:
    """A shell command that trains `spec` again into the folder `out`; None if the testbed is not here."""
    testbed = _testbed(facts.campaign.testbed)
    if testbed is None:
        return None
    store, recipe = facts.store, facts.store.recipe(spec.recipe)
    source = store.run_folder(facts.campaign.id, spec.id).source
    if not source.is_dir():
        source = store.tree_folder(recipe.tree)
    corpus = store.root / "corpora" / facts.campaign.fingerprint.corpus / "train" / "train.bin"
    values: dict[str, Any] = {"recipe": recipe.base, "rung": spec.rung, "seed": spec.seed}
    values |= {"tokens": spec.tokens, "data": _near(corpus), "out": out}
    try:
        script, *arguments = (str(part).format(**values) for part in testbed["command"])
        for key, value in sorted(recipe.overrides.items()):
            arguments += [str(part).format(key=key, value=value) for part in testbed["override"]]
    except (KeyError, IndexError, ValueError, TypeError):
        return None
    python = str(testbed.get("python", "python"))
    # -B: a __pycache__ in a stored tree would make it look changed.
    command = shlex.join([python, "-B", _near(source / script), *arguments])
    return f"OMP_NUM_THREADS={facts.campaign.fingerprint.threads} {command}"


def _testbed(name: str) -> dict[str, Any] | None:
    folder = Path(name)
    if not (folder / "testbed.toml").is_file():
        folder = Path(str(resources.files("mendel"))) / "testbeds" / name
    try:
        table = tomllib.loads((folder / "testbed.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return table if {"command", "override"} <= table.keys() else None


def _near(path: Path) -> str:
    """`path` relative to the working folder where it lies in it: shorter, and says less of the machine."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def settings_toml(config: dict[str, Any]) -> str:
    """The settings of a campaign as a mendel.toml."""
    lines, tables = [], []
    for key, value in config.items():
        if key == "budget":
            value = f"{value['runs']}runs" if value.get("runs") else f"{value.get('seconds', 0):g}s"
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None)]
        elif value is not None:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines + tables)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        pairs = (f"{_toml(str(key))} = {_toml(one)}" for key, one in value.items() if one is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    return str(value)
