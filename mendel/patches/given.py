"""The objects that a trainer's editable code is handed by code it may not change: its run, its reader.

A testbed does not declare them. They are recognised in the code before the patch: a name whose attributes, at
least two of them and one a method, all belong to one class of the protected files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from mendel.patches.names import Source, read

REPORTING = frozenset({"close", "finish", "log", "log_metrics", "record", "report", "save", "write"})
"""Methods that leave numbers or results behind."""


@dataclass
class Members:
    """What a class has, by its own text."""

    methods: set[str] = field(default_factory=set)
    """Properties too."""
    attributes: set[str] = field(default_factory=set)
    counters: set[str] = field(default_factory=set)
    """Attributes that the class itself adds to."""

    @property
    def reports(self) -> bool:
        return {"log", "save"} <= self.methods or "report" in self.methods


def given_objects(protected: Mapping[str, str], editable: Iterable[Source]) -> dict[str, Members]:
    """Name -> what the object of that name has. `protected`: path -> text; `editable`: before the patch."""
    known = [its for path, text in protected.items() if path.endswith(".py") for its in _classes(text)]
    found: dict[str, Members] = {}
    for source in editable:
        for name, used in _uses(source).items():
            for its in known:
                if len(used) > 1 and used & its.methods and used <= its.methods | its.attributes:
                    found[name] = its
    return found


@lru_cache(maxsize=64)  # the protected files of a testbed are read again with every patch
def _classes(text: str) -> tuple[Members, ...]:
    """What each class in a file has; nothing of one that does not parse."""
    tree = read(text)
    nodes = ast.walk(tree) if tree else ()
    return tuple(_members(node) for node in nodes if isinstance(node, ast.ClassDef))


def _members(node: ast.ClassDef) -> Members:
    methods = [part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))]
    found = Members(set(methods))
    for part in ast.walk(node):
        match part:
            case ast.AugAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                found.counters.add(name)
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=name), attr="append")
            ):
                found.counters.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.attributes.add(name)
    return found


def _uses(source: Source) -> dict[str, set[str]]:
    """Local names and parameters -> attributes used of them; "__call__" where they are called."""
    used: dict[str, set[str]] = {}
    for node in source.nodes:
        match node:
            case ast.Attribute(value=ast.Name() as name):
                what = node.attr
            case ast.Call(func=ast.Name() as name):
                what = "__call__"
            case _:
                continue
        bindings = source.bindings(name)
        if bindings and name.id not in ("self", "cls") and not any(binding.path for binding in bindings):
            used.setdefault(name.id, set()).add(what)
    return used
