"""From an idea's patch to a source tree that can run: read, edit, check, merge, stack.

A patch never touches the testbed's own folder. A tree is read once into memory, edited as a value, and
written to the folder of a run; every function here returns a new tree and leaves its input alone.
"""

from mendel.patches.check import PatchError, check_patched
from mendel.patches.code_audit import audit_code
from mendel.patches.constants import SeedConstant, mutate, seed_constants
from mendel.patches.edits import apply_patch
from mendel.patches.merge import MergeConflict, merge3
from mendel.patches.seed_audit import audit_seed
from mendel.patches.tree import Tree, diff, read_tree, write_tree
from mendel.patches.trunk import (
    Built,
    Composition,
    Outcome,
    Rebased,
    Stale,
    adopt,
    build,
    compose_matrix,
    rebase,
    remove,
)

__all__ = [
    "Built",
    "Composition",
    "MergeConflict",
    "Outcome",
    "PatchError",
    "Rebased",
    "SeedConstant",
    "Stale",
    "Tree",
    "adopt",
    "apply_patch",
    "audit_code",
    "audit_seed",
    "build",
    "check_patched",
    "compose_matrix",
    "diff",
    "merge3",
    "mutate",
    "read_tree",
    "rebase",
    "remove",
    "seed_constants",
    "write_tree",
]
