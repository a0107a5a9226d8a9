"""The knobs of a trainer: what it is told by arguments, by a configuration file, or by constants in its
source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mendel.testbeds.recognise.configs import read_config_file, read_python_config
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.options import READERS
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import assigned, constant, dotted, once, segment


def find_knobs(repo: Repository, entry: Entry) -> Knobs:
    """The knobs of what an entry runs, its own before those of the modules that it imports."""
    found = Knobs()
    files = [entry.path, *repo.imported(entry.path)]
    for reader in READERS:
        reader(repo, files, found)
        if found.arguments:
            break
    read_config_file(repo, entry, files, found)
    read_python_config(repo, found)
    for path in files[:12]:
        found.constants += list(_constants(repo, path))
    return found


def _constants(repo: Repository, path: str) -> Iterator[Knob]:
    """Constants of a module, and those of its records, that a change of the source can set."""
    tree, text = repo.tree(path), repo.text(path)
    if tree is None:
        return
    homes: list[ast.AST] = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    homes += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "main" in node.name]
    holders = {id(one.value): one for one in ast.walk(tree) if isinstance(one, ast.Assign | ast.AnnAssign)}
    settings = [(name, node) for home in homes for name, node in assigned(home).items()]
    for name, node in (*settings, *_attributes(tree)):
        value, shown = constant(node), segment(text, node)
        if value is None and shown != "None":
            continue
        statement = holders.get(id(node))
        search = once(text, statement, lines=0) if statement else ""
        if search.endswith(shown) and shown and "\n" not in search:
            yield Knob(name, value, path, search, shown)


def _attributes(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Settings such as `config.trainer.max_iters = 500`, in whatever function."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Attribute)
        ):
            whole = dotted(node.targets[0])
            if whole and not whole.startswith("self."):
                yield whole, node.value
