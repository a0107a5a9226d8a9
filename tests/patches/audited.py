"""Small patches of the built-in trainer as the audits' tests write them, and what the audits say of them."""

from __future__ import annotations

from functools import cache

from mendel.patches import apply_patch, audit_code, audit_seed, read_tree
from mendel.records import Audit, Edit, Patch, Testbed
from mendel.testbeds import load_testbed

START = "    model = GPT(config)\n"
"""First line of the training function."""
STEP = "        loss = 0.0\n"
"""First line of a step that computes gradients."""
LOG = "        run.log("
LAYERS = "        self.norm = make_norm(config, config.width)\n"


@cache
def gpt() -> tuple[Testbed, dict[str, str]]:
    testbed = load_testbed("gpt")
    return testbed, read_tree(testbed)


def edit(path: str, search: str, replace: str) -> Edit:
    return Edit(path=path, search=search, replace=replace)


def at_top(lines: str, path: str = "loop.py") -> Edit:
    """Lines after the imports of the standard library."""
    return edit(
        path, "from __future__ import annotations\n", f"from __future__ import annotations\n\n{lines}\n"
    )


def before(anchor: str, lines: str, path: str = "loop.py") -> Edit:
    """Lines before `anchor`, indented as it is."""
    indent = anchor[: len(anchor) - len(anchor.lstrip())]
    text = "".join(f"{indent}{line}\n" if line else "\n" for line in lines.strip("\n").split("\n"))
    return edit(path, anchor, text + anchor)


def audits(*edits: Edit, **overrides) -> dict[str, Audit]:
    """What each audit says of a patch of these edits."""
    testbed, tree = gpt()
    after = apply_patch(tree, Patch(edits=edits), testbed.editable) if edits else tree
    found = (*audit_code(tree, after, testbed.editable), audit_seed(tree, after, overrides))
    return {audit.name: audit for audit in found}


def violated(*edits: Edit, **overrides) -> set[str]:
    return {name for name, audit in audits(*edits, **overrides).items() if not audit.passed}
