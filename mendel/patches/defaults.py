"""A knob's default in the source, and the same source with another one.

A finding about a knob is a value on a command line. Who takes the finding over wants it in the code: where
exactly one literal in an editable file is the knob's default, or one scalar in a configuration file, another
can stand there. Everything in doubt is refused with its reason: a second place that gives the knob a value of
its own (a recipe, another configuration file, another function's default) may be the one that counts.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mendel.patches.check import syntax_error
from mendel.patches.configured import (
    CONFIGURATION,
    Configured,
    find_configured,
    is_spoken_of,
    named_files,
    plain,
    shown,
    with_configured,
)
from mendel.patches.splice import splice
from mendel.patches.tree import Tree
from mendel.records import Scalar

NO_SETTINGS = (".md", ".rst", ".txt")
"""Ends of names of files that say something of knobs and set none."""
SHOWN = 3
"""Places that a reason names."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Default(NamedTuple):
    """Where a knob's default stands."""

    path: str
    node: ast.expr

    def __str__(self) -> str:
        return f"{self.path}:{self.node.lineno}"


@dataclass
class _Found:
    """Places in one file that give a knob a value."""

    defaults: list[ast.expr] = field(default_factory=list)
    others: list[ast.AST] = field(default_factory=list)


@dataclass(frozen=True)
class Ground:
    """What of a source may be written, and how a run of it is started."""

    editable: Collection[str]
    """Files of code that may be written."""
    locked: Mapping[str, str] = field(default_factory=dict)
    """Configuration files that may not be -> what is said of them."""
    words: Sequence[str] = ()
    """Of the command: where several configuration files have a knob, the one that it names counts."""


def find_default(tree: Mapping[str, str], ground: Ground, key: str) -> Default | Configured | str:
    """The only literal that is the knob's default, or why there is none that can be told."""
    name = plain(key)
    last = name.rpartition(".")[2]
    configured: list[Configured] = []
    defaults: list[Default] = []
    others: list[str] = []
    loose: list[str] = []
    for path, text in sorted(tree.items()):
        if path.endswith(CONFIGURATION) and (words := _mentions(path, text, last)):
            scalars = find_configured(path, text, name)
            configured += scalars or []
            (others if scalars is None else loose).extend([] if scalars else words)
        elif not path.endswith(".py"):
            others += _mentions(path, text, name)
        elif text.startswith("\ufeff") or syntax_error(path, text):
            others += _mentions(path, text, last)
        else:
            found = _search(ast.parse(text), last)
            defaults += [Default(path, node) for node in found.defaults]
            others += [f"{path}:{getattr(node, 'lineno', 1)}" for node in found.others]
    if configured:
        return _chosen(tree, ground, key, configured, [*map(str, defaults), *others])
    others += loose  # the same word in another section says nothing beside the knob's own place
    if not defaults or "." in name:
        return f"no literal in the source is the default of {key}"
    if len(defaults) + len(others) > 1:
        return _several(key, [*map(str, defaults), *others])
    if defaults[0].path not in ground.editable:
        return f"the default of {key} is in {defaults[0].path}, which is not editable"
    return defaults[0]


def with_default(tree: Mapping[str, str], ground: Ground, key: str, value: Scalar) -> Tree | str:
    """The tree with `value` as the knob's default and every other byte as it was, or why not."""
    place = find_default(tree, ground, key)
    if isinstance(place, str):
        return place
    if isinstance(place, Configured):
        try:
            return {**tree, place.path: with_configured(tree[place.path], place, value)}
        except ValueError as error:
            return str(error)
    lines = tree[place.path].encode().splitlines(keepends=True)
    if type(value) is type(before := ast.literal_eval(place.node)) and value == before:
        return dict(tree)
    code = _code(value, before, lines[place.node.lineno - 1][place.node.col_offset :])
    if code is None:
        old = ast.unparse(place.node)
        return f"{shown(value)} is of another kind than the default of {key}, {old} in {place}"
    splice(lines, place.node, code.encode())
    after = b"".join(lines).decode()
    assert syntax_error(place.path, after) is None, "one literal stands for another"
    return {**tree, place.path: after}


def _several(key: str, places: Sequence[str]) -> str:
    once = list(dict.fromkeys(places))
    more = ", ..." if len(once) > SHOWN else ""
    return f"{key} gets a value in more than one place ({', '.join(once[:SHOWN])}{more})"


# --- configuration files ------------------------------------------------------------------------------


def _chosen(
    tree: Mapping[str, str], ground: Ground, key: str, places: list[Configured], others: list[str]
) -> Configured | str:
    """The scalar that counts, of those with the knob's name; `others` give it a value too."""
    files = list(dict.fromkeys(place.path for place in places))
    listed = ", ".join(files[:SHOWN]) + (", ..." if len(files) > SHOWN else "")
    named = named_files(tree, ground.words)
    if named:
        places = [place for place in places if place.path in named]
        others = [one for one in others if _counts(one.rpartition(":")[0], named)]
        if not places:
            return f"{key} is in {listed}, and the testbed's command names {named[0]}"
    elif len(files) > 1:
        return f"{key} is in several files ({listed}), and the testbed's command names none of them"
    if len(places) + len(others) > 1:
        return _several(key, [*others, *map(str, places)])
    path = places[0].path
    if not named and not is_spoken_of(path, tree, ground.words):
        return f"{key} is in {path}, which neither the testbed's command nor the code names"
    return f"{key} is in {path}, which {ground.locked[path]}" if path in ground.locked else places[0]


def _counts(path: str, named: Collection[str]) -> bool:
    """Whether a file may give a run its knobs where the command names these configuration files."""
    return path in named or not path.endswith(CONFIGURATION)


def _mentions(path: str, text: str, name: str) -> list[str]:
    """Where a file that is no Python names the knob as a word."""
    if path.endswith(NO_SETTINGS):
        return []
    return [f"{path}:{text.count(chr(10), 0, found.start()) + 1}" for found in _word(name).finditer(text)]


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name).replace('_', '[-_]')}(?![A-Za-z0-9_])")


# --- finding ------------------------------------------------------------------------------------------


def _search(module: ast.Module, name: str) -> _Found:
    found = _Found(defaults=[value for value in _assigned(module.body, name) if _literal(value)])
    if found.defaults:
        # Another binding of the module's own name, whatever its value, may come after the default.
        stores = (node for node in _module_level(module) if isinstance(node, ast.Name) and node.id == name)
        found.others += [node for node in stores if isinstance(node.ctx, ast.Store)][1:]
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            values = list(_assigned(node.body, name))
            found.defaults += [value for value in values if _literal(value) and _is_dataclass(node)]
            found.others += [value for value in values if not _literal(value)]
        elif isinstance(node, ast.Call) and _is_option(node, name):
            found.defaults += [k.value for k in node.keywords if k.arg == "default" and _literal(k.value)]
        elif isinstance(node, ast.Global) and name in node.names:
            found.others.append(node)
    known = {id(node) for node in found.defaults}
    given = (value for node in ast.walk(module) for value in _given(node, name))
    found.others += [value for value in given if id(value) not in known and _own(value, name)]
    return found


def _assigned(body: list[ast.stmt], name: str) -> Iterator[ast.expr]:
    """What the name alone is set to in a module or a class."""
    for stmt in body:
        match stmt:
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                yield value
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value


def _given(node: ast.AST, name: str) -> Iterator[ast.expr]:
    """The values that a piece of code gives to something of this name."""
    match node:
        case ast.Assign(targets=targets, value=value):
            if any(_names(target, name) for target in targets):
                yield value
        case ast.AnnAssign(target=target, value=ast.expr() as value) if _names(target, name):
            yield value
        case ast.AugAssign(target=target, value=value) if _names(target, name):
            yield value
        case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
            yield value
        case ast.keyword(arg=str(arg), value=value) if arg == name:
            yield value
        case ast.Dict(keys=keys, values=values):
            yield from (v for k, v in zip(keys, values, strict=True) if k and _says(k, name))
        case ast.arguments():
            yield from _parameter(node, name)
        case ast.Call(args=args) if not _adds_option(node):
            # setattr(config, "lr", 1e-3), settings.get("lr", 1e-3)
            place = next((i for i, arg in enumerate(args) if _says(arg, name)), len(args))
            yield from args[place + 1 :]


def _parameter(node: ast.arguments, name: str) -> Iterator[ast.expr]:
    plain = [*node.posonlyargs, *node.args]
    with_default = list(zip(plain[len(plain) - len(node.defaults) :], node.defaults, strict=True))
    for argument, value in (*with_default, *zip(node.kwonlyargs, node.kw_defaults, strict=True)):
        if argument.arg == name and value is not None:
            yield value


def _names(target: ast.expr, name: str) -> bool:
    match target:
        case ast.Name(id=found) | ast.Attribute(attr=found):
            return found == name
        case ast.Subscript(slice=key):
            return _says(key, name)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return any(_names(element, name) for element in elements)
        case ast.Starred(value=value):
            return _names(value, name)
    return False


def _says(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and plain(node.value) == name


def _own(value: ast.expr, name: str) -> bool:
    """Whether a value is one that the code brings itself, and not the knob's, passed on."""
    match value:
        case ast.Constant(value=None):
            return False
        case ast.IfExp(body=first, orelse=second):
            return _own(first, name) or _own(second, name)
        case ast.BoolOp(values=values):
            return any(_own(one, name) for one in values)
        case ast.BinOp(left=left, right=right):
            return (_own(left, name) or _own(right, name)) and not _refers(value, name)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return any(_own(one, name) for one in elements)
    kinds = (ast.Name, ast.Attribute, ast.Subscript, ast.Call)
    return not any(isinstance(node, kinds) for node in ast.walk(value))


def _refers(value: ast.expr, name: str) -> bool:
    return any(_names(node, name) for node in ast.walk(value) if isinstance(node, ast.expr))


def _is_option(call: ast.Call, name: str) -> bool:
    """Whether a call adds this option to a parser of command lines."""
    into = [k.value for k in call.keywords if k.arg == "dest"]
    return _adds_option(call) and any(_says(node, name) for node in (into or call.args))


def _adds_option(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"


def _is_dataclass(node: ast.ClassDef) -> bool:
    plain = (one.func if isinstance(one, ast.Call) else one for one in node.decorator_list)
    return any(getattr(one, "attr", getattr(one, "id", "")) == "dataclass" for one in plain)


def _module_level(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module does, in order."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield child
            yield from _module_level(child)


# --- writing ------------------------------------------------------------------------------------------


def _literal(node: ast.expr) -> bool:
    """A number, text, true or false, as it may stand in code."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = node.operand
        return isinstance(inner, ast.Constant) and type(inner.value) in (int, float)
    return isinstance(node, ast.Constant) and type(node.value) in (bool, int, float, str)


def _code(value: Scalar, before: Scalar, there: bytes) -> str | None:
    """A value as a literal of the same kind as the one `before`, whose code is `there`; None where it is of
    another kind."""
    if type(before) in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value) if isinstance(before, float) else value
        return repr(number) if math.isfinite(number) else None
    if type(before) is not type(value):
        return None
    plain = isinstance(value, str) and not set(value) & set('"\\\n\r') and value.isprintable()
    return f'"{value}"' if plain and there.startswith(b'"') else repr(value)
