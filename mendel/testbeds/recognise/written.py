"""A validation loss that a trainer writes to a JSON file in its folder: by itself, or by a function or a
method that it hands a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mendel.testbeds.recognise.printed import SAYS
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import Place, Said, keys_of, names_validation, unit
from mendel.testbeds.recognise.source import HOLE, assigned, constant, dotted, parts

Function = ast.Module | ast.FunctionDef
FILE = re.compile(rf"[^{HOLE}]*{HOLE}/?([\w./-]+\.jsonl?)")
METRICS = re.compile(r"metric|log|histor|result|score|eval|progress|stat|report|record|summary|curve|loss")
"""Names of files that nothing else in the source ties to the row."""


@dataclass(frozen=True)
class Writer:
    """A function or method that writes rows as JSON."""

    name: str
    scope: ast.AST
    """Itself, or the class that it is of: where its file is named."""
    method: bool
    place: Place


@dataclass(frozen=True)
class Row:
    """A value that gets a key, and the variable that holds the dictionary; empty where none does."""

    key: str
    value: ast.expr
    node: ast.AST
    holder: str = ""


def written_losses(repo: Repository, files: list[str]) -> list[Said]:
    """The losses that files of JSON in the run's folder have."""
    writers = [one for path in files for one in _writers(repo, path)]
    found = []
    for path in files:
        tree = repo.tree(path)
        for function in _functions(tree) if tree else ():
            for row in _rows(function):
                found += list(_told(repo, files, path, function, row, writers))
    return found


def _functions(tree: ast.Module) -> list[Function]:
    return [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module or function without those of functions in it."""
    queue = [*ast.iter_child_nodes(function)]
    while queue:
        node = queue.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue += ast.iter_child_nodes(node)


def _writers(repo: Repository, path: str) -> Iterator[Writer]:
    """Functions and methods of a file that write what they are given."""
    tree = repo.tree(path)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] if tree else []
    owners = {id(one): node for node in classes for one in node.body}
    for function in _functions(tree)[1:] if tree else ():
        assert isinstance(function, ast.FunctionDef)
        given = {one.arg for one in ast.walk(function.args) if isinstance(one, ast.arg)}
        if any(_names(node) & given for node in _dumps(function)):
            place = (path, function.lineno, function.end_lineno or function.lineno)
            owner = owners.get(id(function))
            yield Writer(function.name, owner or function, owner is not None, place)


def _dumps(function: ast.AST) -> list[ast.Call]:
    """Calls that make JSON and do not print it."""
    calls = [node for node in _own(function) if isinstance(node, ast.Call)]
    printing = [one for one in calls if SAYS.search(dotted(one.func).rpartition(".")[2].lower())]
    shown = {
        id(below)
        for one in printing
        if not dotted(one.func).endswith((".write", ".writelines"))
        for below in ast.walk(one)
    }
    return [one for one in calls if id(one) not in shown and dotted(one.func) in ("json.dump", "json.dumps")]


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _rows(function: Function) -> Iterator[Row]:
    """Values that a function gives a key that names a validation loss."""
    for node in _own(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key, base = constant(node.targets[0].slice), node.targets[0].value
            if isinstance(key, str) and names_validation(key) and isinstance(base, ast.Name):
                yield Row(key, node.value, node, base.id)
        for key, value in keys_of(node):
            yield Row(key, value, node, _holder(function, node))
        if isinstance(node, ast.Call) and dotted(node.func) != "dict":
            for one in node.keywords:
                if one.arg and names_validation(one.arg):
                    yield Row(one.arg, one.value, node)


def _holder(function: Function, node: ast.AST) -> str:
    """The variable that a dictionary becomes, or is put into."""
    for one in _own(function):
        if isinstance(one, ast.Assign) and one.value is node and isinstance(one.targets[0], ast.Name):
            return one.targets[0].id
        if isinstance(one, ast.Call) and node in one.args and dotted(one.func).endswith(".update"):
            return dotted(one.func).removesuffix(".update")
    return ""


def _told(
    repo: Repository, files: list[str], path: str, function: Function, row: Row, writers: list[Writer]
) -> Iterator[Said]:
    """The row as it reaches a file; nothing where it reaches none."""
    direct = {id(one) for one in _dumps(function)}
    for call in (node for node in _own(function) if isinstance(node, ast.Call)):
        inside = [*call.args, *(one.value for one in call.keywords)]
        handed = call is row.node or any(one is row.node for part in inside for one in ast.walk(part))
        if not handed and not (row.holder and any(row.holder in _names(part) for part in inside)):
            continue
        by = next((one for one in writers if _calls(call, one)), None)
        if id(call) not in direct and by is None:
            continue
        name = _file_name(repo, files, path, function, call, by)
        if name:
            why = f"{path}: it writes {row.key!r} to {name}"
            table = {"file": name, "key": row.key, "unit": unit(row.key)}
            line, last = getattr(row.node, "lineno", call.lineno), call.end_lineno or call.lineno
            row_last = getattr(row.node, "end_lineno", line) or line
            places = ((path, line, row_last), (path, call.lineno, last), *([by.place] if by else []))
            yield Said(table, why, True, {}, ast.unparse(row.value), path, line, places)
            return


def _calls(call: ast.Call, writer: Writer) -> bool:
    owner, _, name = dotted(call.func).rpartition(".")
    name = name or (call.func.attr if isinstance(call.func, ast.Attribute) else "")
    module = writer.place[0].rpartition("/")[2].removesuffix(".py")
    if writer.method:
        return name == writer.name and isinstance(call.func, ast.Attribute)
    return name == writer.name and owner.rpartition(".")[2] in ("", module)


def _file_name(
    repo: Repository, files: list[str], path: str, function: Function, call: ast.Call, by: Writer | None
) -> str:
    """Path below the run's folder of the file that a row goes to: named in the call, in the function that
    makes it, where it is written, or else in just one place of the source. The folder is unknown, the name is
    not."""
    tree = repo.tree(path)
    names = {**(assigned(tree) if tree else {}), **assigned(function)}
    near = _paths(ast.walk(call), names) or _paths(_opened(function), names)
    near = near or {one: None for one in _paths(_own(function), names) if METRICS.search(one)}
    if not near and by:
        home = repo.tree(by.place[0])
        inner = assigned(home) if home else {}
        inner |= assigned(by.scope) if isinstance(by.scope, ast.FunctionDef) else {}
        near = _paths(ast.walk(by.scope), inner)
    if near:
        return sorted(near, key=lambda one: not one.endswith(".jsonl"))[0]
    far: dict[str, None] = {}
    for tree in (tree for one in files if (tree := repo.tree(one))):
        for here in _functions(tree):
            far |= _paths(_own(here), {**assigned(tree), **assigned(here)})
    fit = [one for one in far if METRICS.search(one)]
    return fit[0] if len(fit) == 1 else ""


def _opened(function: Function) -> Iterator[ast.AST]:
    """What a function opens to write, or writes as a whole."""
    for node in _own(function):
        name = dotted(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if not isinstance(node, ast.Call) or name not in ("open", "write_text"):
            continue
        modes = [str(constant(one)) for one in (*node.args, *(one.value for one in node.keywords))]
        method = isinstance(node.func, ast.Attribute) and dotted(node.func.value) not in ("io", "gzip")
        if name == "write_text" or any(re.fullmatch(r"[wax]\+?t?", mode) for mode in modes):
            yield from [node.func.value] if method and isinstance(node.func, ast.Attribute) else node.args[:1]


def _paths(nodes: Iterator[ast.AST], names: dict[str, ast.expr]) -> dict[str, None]:
    """Names of JSON files below a folder that is not known, in their order."""
    made = (
        parts(node, names)
        for node in nodes
        if isinstance(node, ast.BinOp | ast.Call | ast.JoinedStr | ast.Name)
    )
    return {found[1]: None for text in made if (found := FILE.fullmatch(text))}
