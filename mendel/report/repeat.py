"""The command that repeats a run, as a person would type it.

The command's form is the testbed's, so it is read from its `testbed.toml`; the files are those the store
keeps. A run repeated by hand trains the same model but is not scored and not recorded.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from mendel.records import RunSpec, Testbed
from mendel.report.facts import Facts
from mendel.testbeds import TestbedError, load_testbed
from mendel.testbeds.command import run_command, run_env, run_values
from mendel.testbeds.environment import built


def repeat_command(facts: Facts, spec: RunSpec, out: str = "again") -> str | None:
    """A shell command that trains `spec` again into the folder `out`; None where the testbed is not here, or
    what was made ready for the run in its own source is needed and gone, or would write where that run did.
    """
    testbed = _testbed(facts)
    if testbed is None or any("{out" in edit.replace for edit in testbed.edits):
        return None
    store, recipe = facts.store, facts.store.recipe(spec.recipe)
    source = store.run_folder(facts.campaign.id, spec.id).source
    if not source.is_dir():
        source = store.tree_folder(recipe.tree)
        if testbed.edits or testbed.inputs or testbed.prepare:
            return None
    # Paths of a trainer of its own are relative to its source, as in the lab.
    inside = facts.fingerprint.reported or bool(testbed.inputs) or testbed.command[0] == "-m"
    corpus = store.root / "corpora" / facts.campaign.fingerprint.corpus / "train" / "train.bin"
    data, folder = (corpus, Path.cwd() / out) if inside else (_near(corpus), out)
    try:
        values = run_values(testbed, recipe, spec.rung, spec.seed, spec.tokens, folder, data)
        script, *arguments = run_command(testbed, recipe, spec.rung, values)
        env = run_env(testbed, values)
        python = built(testbed, store.root)
    except (KeyError, IndexError, ValueError, TypeError, OSError):
        return None
    # -B: a __pycache__ in a stored tree would make it look changed.
    script = script if inside else _near(source / script)
    command = shlex.join(["python" if python == sys.executable else python, "-B", script, *arguments])
    threads = {"OMP_NUM_THREADS": str(facts.campaign.fingerprint.threads)}
    named = " ".join(f"{name}={shlex.quote(text)}" for name, text in (threads | env).items())
    if not inside:
        return f"{named} {command}"
    made = f"mkdir -p {shlex.quote(str(folder))} && " if str(folder) in f"{named} {command}" else ""
    return f"{made}cd {shlex.quote(str(source))} && {named} {command}"


def _testbed(facts: Facts) -> Testbed | None:
    """Of the campaign, as it is now; read once."""
    if "testbed" not in facts.kept:
        try:
            facts.kept["testbed"] = load_testbed(facts.campaign.testbed)
        except (TestbedError, OSError):
            facts.kept["testbed"] = None
    found: Testbed | None = facts.kept["testbed"]
    return found


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
