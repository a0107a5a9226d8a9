"""Whether a patch is an idea at all: what is looked for in its code before it costs anything.

Whoever proposed the patch is told the class of a violation and no more; the user sees everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mendel.campaign.lab import Lab
from mendel.patches import audit_code, audit_seed
from mendel.patches.kept import audit_kept
from mendel.records import AUDITS, Audit, Recipe, Scalar, Testbed
from mendel.yardstick import audit_text


def audit_patch(lab: Lab, control: str, treatment: str) -> tuple[Audit, ...]:
    """What a patched recipe's source does that its control's does not; both are recipe ids."""
    before, after = lab.store.recipe(control), lab.store.recipe(treatment)
    old, new = lab.store.load_tree(before.tree), lab.store.load_tree(after.tree)
    text = "\n".join(_added(old.get(path, ""), new[path]) for path in sorted(new))
    audits = [
        *audit_code(old, new, lab.testbed.editable),
        audit_seed(old, new, new_overrides(before, after)),
        audit_kept(lab.testbed, old, new),
        audit_command(lab.testbed, new_overrides(before, after)),
    ]
    if lab.ground.corpus:
        audits.append(audit_text(text, lab.ground.corpus))
    return tuple(audits)


def audit_command(testbed: Testbed, overrides: Mapping[str, Scalar]) -> Audit:
    """Whether an idea sets what the testbed's command says, such as a run's budget: the last word counts."""
    given = {_option(word) for word in testbed.command if word.startswith("-") or "=" in word}
    for key in overrides:
        if _option(key) in given:
            reason = f"{key}: the testbed's command sets it for every run"
            return Audit(name="protected", passed=False, reason=reason)
    return Audit(name="protected", passed=True, reason="what the command sets is as it was")


def _option(word: str) -> str:
    """What a word of a command line names, whichever way it is written: `--max-steps=5`, `max_steps=5`."""
    return word.partition("=")[0].lstrip("-").replace("-", "_")


def new_overrides(before: Recipe, after: Recipe) -> dict[str, Scalar]:
    """The knobs that `after` sets and `before` does not."""
    return {key: value for key, value in after.overrides.items() if before.overrides.get(key) != value}


def failed(audits: Sequence[Audit]) -> Audit | None:
    """The first violation."""
    return next((audit for audit in audits if not audit.passed), None)


def full(audit: Audit) -> str:
    """What the user is told of a violation."""
    return f"audit {audit.name}: {audit.reason}"


def terse(note: str) -> str:
    """What whoever proposed the patch is told of a note that `full` made: the class of the violation, not how
    it was seen."""
    found = re.search(r"audit (\w+):", note)
    return f"rejected: {AUDITS.get(found[1] if found else '', 'an audit found a violation')}"


def _added(old: str, new: str) -> str:
    """The lines of `new` that `old` does not have."""
    known = set(old.splitlines())
    return "\n".join(line for line in new.splitlines() if line not in known)
