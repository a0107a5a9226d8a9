"""What fixes a trainer's randomness: the seed of initial values and of the data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knobs
from mendel.testbeds.recognise.order import Edit, seeded_again
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import dotted, line_once, literal, once, segment

NAMES = (
    "seed",
    "random_seed",
    "manual_seed",
    "rng_seed",
    "global_seed",
    "torch_seed",
    "train_seed",
    "init_seed",
    "data_seed",
)
SEEDERS = (
    *("manual_seed", "manual_seed_all", "seed_everything", "set_seed", "set_random_seed", "PRNGKey"),
    *("default_rng", "RandomState", "seed_all", "fix_seed", "setup_seed"),
)
EXACT = (
    "random.seed",
    "np.random.seed",
    "numpy.random.seed",
    "jax.random.key",
    "mx.random.seed",
    "torch.Generator",
)
OWNERS = re.compile(r"init|train|data|load|batch|shuffle")
"""Of generators of its own: names of those that matter."""


@dataclass
class Seeding:
    """How the seed is given."""

    argument: str = ""
    """Key of the argument."""
    edits: list[Edit] = field(default_factory=list)
    why: str = ""
    sure: bool = True


def find_seeding(repo: Repository, entry: Entry, knobs: Knobs) -> Seeding:
    """The seed as an argument, or as changes of the source, and the seeding before the first batch."""
    files = [entry.path, *repo.imported(entry.path)]
    knob = knobs.find(NAMES)
    calls = _calls(repo, files)
    found = Seeding()
    if knob and knob.is_argument:
        found.argument, found.why = knob.key, f"option {knob.key}"
    elif knob and not any(_is_global(call) for _, call, _ in calls):
        for one in knobs.constants:  # a file may seed initial values and data apart
            if one.name == knob.name and one.path == knob.path:
                head = one.search.removesuffix(one.value)
                found.edits.append(
                    {"path": one.path, "search": one.search, "replace": literal(head) + "{seed}"}
                )
        found.why = f"{knob.path}: {knob.search!r:.60}"
    elif calls:
        wanted = [one for one in calls if _is_global(one[1]) or OWNERS.search(ast.unparse(one[1].func))]
        for path, call, number in wanted or calls:
            edit = _replaced(repo, path, call, number)
            if edit and edit not in found.edits:
                found.edits.append(edit)
        found.why = f"{calls[0][0]}, line {calls[0][1].lineno}: {ast.unparse(calls[0][1])!r:.60}"
    if not found.argument and not found.edits:
        _none_yet(repo, entry, found)
    again = seeded_again(repo, files)
    if again and again["search"] not in [one["search"] for one in found.edits]:
        found.edits.append(again)
    return found


def _calls(repo: Repository, files: list[str]) -> list[tuple[str, ast.Call, ast.Constant]]:
    """Calls that seed a generator with a number, and the number."""
    found = []
    for path in files:
        tree = repo.tree(path)
        for node in ast.walk(tree) if tree else ():
            if not isinstance(node, ast.Call):
                continue
            name = dotted(node.func) or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
            if name.rpartition(".")[2] not in SEEDERS and name not in EXACT:
                continue
            given = [*node.args[:1], *(word.value for word in node.keywords if "seed" in (word.arg or ""))]
            parts = [one for argument in given for one in ast.walk(argument)]
            if any(re.fullmatch(r"(\w*_)?seed", dotted(one).rpartition(".")[2], re.I) for one in parts):
                continue  # the number is added to a seed that comes from elsewhere
            inside = [one for one in parts if isinstance(one, ast.Constant)]
            numbers = [one for one in inside if type(one.value) is int]
            if numbers and not re.search(r"sampl|eval|val_", name) and not _within_evaluation(tree, node):
                found.append((path, node, numbers[0]))
    return found


def _is_global(call: ast.Call) -> bool:
    """Whether a call seeds a library's own generator, and not one that the trainer made."""
    owner = dotted(call.func).rpartition(".")[0]
    return (
        owner.rpartition(".")[2] not in ("rng", "g", "generator", "gen") and "rng" not in owner.split(".")[-1]
    )


def _within_evaluation(tree: ast.AST | None, call: ast.Call) -> bool:
    """Whether a call stands in a function that evaluates or samples: its seed must stay as it is."""
    for node in ast.walk(tree) if tree else ():
        judges = isinstance(node, ast.FunctionDef) and re.search(r"eval|valid|sampl|generat|test", node.name)
        ends = getattr(node, "end_lineno", 0) if judges else 0
        if judges and getattr(node, "lineno", 0) <= call.lineno <= ends:
            return True
    return False


def _replaced(repo: Repository, path: str, call: ast.Call, number: ast.Constant) -> Edit | None:
    """The seed in place of the number."""
    text = repo.text(path)
    own = segment(text, call)
    if "\n" in own or not own or not own.isascii():
        return None
    start = number.col_offset - call.col_offset
    made = literal(own[:start]) + "{seed}" + literal(own[start + len(str(number.value)) :])
    if own[start : start + len(str(number.value))] != str(number.value):
        return None
    search = once(text, call)
    return (
        {"path": path, "search": search, "replace": literal(search).replace(literal(own), made, 1)}
        if search
        else None
    )


def _none_yet(repo: Repository, entry: Entry, found: Seeding) -> None:
    """A trainer that seeds nothing is seeded where it imports its library."""
    for module, call in (
        ("torch", "torch.manual_seed({seed})"),
        ("numpy", "__import__('numpy').random.seed({seed})"),
    ):
        rows = repo.text(entry.path).splitlines()
        for number, row in enumerate(rows, 1):
            if re.fullmatch(rf"import {module}( as \w+)?", row.strip()) and row == row.lstrip():
                text = repo.text(entry.path)
                search = f"{row}\n" if text.count(f"{row}\n") == 1 else line_once(text, number)
                if search:
                    found.edits.append(
                        {
                            "path": entry.path,
                            "search": search,
                            "replace": f"{literal(search.rstrip())}\n{call}\n",
                        }
                    )
                    found.why, found.sure = (
                        f"nothing is seeded in {entry.path}; an edit does it after {row!r}",
                        True,
                    )
                    return
    found.sure = False
