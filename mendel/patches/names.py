"""Where the names of a source file come from: what lets an audit look through aliases.

Nothing is executed. A name may be bound in several places; all of them count, whatever the order in which
they would run. So the answer to "what may this be?" can name too much, and of what a program computes
(elements of a list that a loop filled, names that arrive as data) too little.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mendel.patches.fold import NotConstant, fold

DEEP = 40
"""Steps that are followed from alias to alias, or into an expression."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, *_COMPREHENSIONS)


class Binding(NamedTuple):
    """One way in which a name gets a value."""

    node: ast.AST
    """The statement, parameter or target that binds it."""
    value: ast.expr | None = None
    path: str = ""
    """What is imported, dotted."""
    element: bool = False
    """It gets the elements of `value`."""


@dataclass(eq=False)
class Scope:
    node: ast.AST
    parent: Scope | None
    names: dict[str, list[Binding]] = field(default_factory=dict)
    elsewhere: dict[str, Scope] = field(default_factory=dict)
    """Names declared global or nonlocal."""


class Source:
    """A parsed file. `given`: names of objects that are handed to it by code it may not change."""

    def __init__(self, path: str, tree: ast.Module, given: Iterable[str] = ()) -> None:
        self.path, self.tree, self.given = path, tree, frozenset(given)
        self.scope: dict[ast.AST, Scope] = {}
        """The scope a node is evaluated in."""
        self.parent: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        self.stars: list[str] = []
        self.attributes: dict[str, list[Binding]] = {}
        """Values assigned to attributes of that name, of whatever object."""
        self.fed: dict[str, list[ast.expr]] = {}
        """What is put into containers of that name, by a method or as an item."""
        self.functions: dict[str, list[Function]] = {}
        self._known: dict[ast.AST, frozenset[str]] = {}
        self._walk(tree)
        for node in self.nodes:
            self._bind(node)
        for node in self.nodes:
            if isinstance(node, ast.Call):
                self._bind_arguments(node)

    def give(self, given: Iterable[str]) -> None:
        """Name the given objects once they are known."""
        self.given = frozenset(given)
        self._known.clear()

    # --- questions ---------------------------------------------------------------------------------------

    def bindings(self, name: ast.Name) -> list[Binding] | None:
        """How a name may have got its value; None where nothing in the file binds it."""
        scope: Scope | None = self.scope[name]
        first = scope
        while scope is not None:
            found = scope.elsewhere.get(name.id, scope)
            # A class's own names are not seen from inside its methods.
            visible = scope is first or not isinstance(scope.node, ast.ClassDef)
            if visible and name.id in found.names:
                return found.names[name.id]
            scope = scope.parent
        return None

    def paths(self, node: ast.AST, depth: int = 0) -> frozenset[str]:
        """Dotted names, as in an import, of what an expression may be: `{"torch.nn.functional.gelu"}`, of
        given objects `{"given:run.log"}`; "[]" at the end for a container of it. Empty: it is computed."""
        if node in self._known:
            return self._known[node]
        if depth > DEEP:
            return frozenset()
        self._known[node] = frozenset()  # ends circles
        self._known[node] = frozenset(self._paths(node, depth + 1))
        return self._known[node]

    def called(self, call: ast.Call) -> list[Function]:
        """The functions of this file that a call may mean, by name."""
        func = call.func
        if isinstance(func, ast.Name):
            return self.functions.get(func.id, []) if not self.paths(func) else []
        if isinstance(func, ast.Attribute) and not self.paths(func):
            return self.functions.get(func.attr, [])
        return []

    def imports(self) -> set[str]:
        """Modules that the file imports, or imports from."""
        plain = {alias.name for node in self.nodes if isinstance(node, ast.Import) for alias in node.names}
        return plain | {node.module or "" for node in self.nodes if isinstance(node, ast.ImportFrom)}

    def function(self, node: ast.AST) -> ast.AST:
        """The function or module that `node` stands in."""
        while not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            node = self.parent[node]
        return node

    def is_docstring(self, node: ast.AST) -> bool:
        return isinstance(self.parent.get(node), ast.Expr)

    def bound(self, name: str, binding: Binding) -> str:
        """A way in which a name gets a value, as text."""
        operator = type(getattr(binding.node, "op", None)).__name__
        return f"{name} {operator} {self.text(binding.value) if binding.value else ''}"

    def all_bound(self) -> set[str]:
        every = {id(scope): scope for scope in self.scope.values()}.values()
        return {
            self.bound(name, one) for scope in every for name, ways in scope.names.items() for one in ways
        }

    def text(self, node: ast.AST) -> str:
        """The source of a node with the names of imports written out, so that aliases make no difference."""
        names = {}
        for name in ast.walk(node):
            if isinstance(name, ast.Name):
                paths = [path for path in self.paths(name) if not path.startswith(("builtins.", "given:"))]
                if paths:
                    names[name] = "|".join(sorted(paths))
        old = {name: name.id for name in names}
        try:
            for name, path in names.items():
                name.id = path
            return ast.unparse(node)
        except RecursionError:
            return f"{type(node).__name__} nested deeply"
        finally:
            for name, called in old.items():
                name.id = called

    # --- reading -----------------------------------------------------------------------------------------

    def _walk(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, Scope]] = [(tree, Scope(tree, None))]
        while waiting:
            node, outer = waiting.pop()
            self.nodes.append(node)
            self.scope[node] = outer
            inner = Scope(node, outer) if isinstance(node, _SCOPES) else outer
            outside = _outside(node)
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
                if isinstance(child, ast.arguments):  # defaults and annotations belong to the outside
                    for part in (*ast.walk(child),):
                        if isinstance(part, ast.arg):
                            inner.names.setdefault(part.arg, []).append(Binding(part))
                    for name, default in _defaults(child):
                        inner.names[name].append(Binding(child, default))
                    waiting.append((child, outer))
                else:
                    waiting.append((child, outer if child in outside else inner))
            if isinstance(node, (ast.Global, ast.Nonlocal)):
                for name in node.names:
                    is_global = isinstance(node, ast.Global)
                    outer.elsewhere[name] = (
                        _module_scope(outer) if is_global or not outer.parent else outer.parent
                    )
        self.nodes.reverse()

    def _bind(self, node: ast.AST) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    path = alias.name if alias.asname else alias.name.split(".")[0]
                    self._add(node, alias.asname or path, Binding(node, path=path))
            case ast.ImportFrom():
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(node.module or "")
                    else:
                        path = f"{node.module}.{alias.name}" if node.module else alias.name
                        self._add(node, alias.asname or alias.name, Binding(node, path=path))
            case ast.Assign():
                for target in node.targets:
                    self._target(node, target, node.value)
            case ast.AnnAssign() | ast.AugAssign():
                self._target(node, node.target, node.value)
            case ast.NamedExpr():
                self._target(node, node.target, node.value)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._target(node, node.target, node.iter, element=True)
            case ast.withitem(optional_vars=ast.expr()):
                self._target(node, node.optional_vars, node.context_expr)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions.setdefault(node.name, []).append(node)
                self._add(node, node.name, Binding(node))
            case ast.ClassDef():
                self._add(node, node.name, Binding(node))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
                self.fed.setdefault(name, []).extend(node.args)
            case ast.ExceptHandler(name=str()) | ast.MatchAs(name=str()) | ast.MatchStar(name=str()):
                self._add(node, str(node.name), Binding(node))
            case ast.MatchMapping(rest=str()):
                self._add(node, str(node.rest), Binding(node))

    def _target(
        self, node: ast.AST, target: ast.AST | None, value: ast.expr | None, element: bool = False
    ) -> None:
        match target, value:
            case ast.Name(), _:
                self._add(target, target.id, Binding(node, value, element=element))
            case ast.Attribute(), _:
                self.attributes.setdefault(target.attr, []).append(Binding(node, value, element=element))
            case ast.Subscript(value=ast.Name(id=name)), ast.expr():
                self.fed.setdefault(name, []).append(value)
            case ast.Starred(), _:
                self._target(node, target.value, value)
            case ((ast.Tuple() | ast.List()), (ast.Tuple() | ast.List())) if not element and _pairs(
                target, value
            ):
                for one, its in zip(target.elts, value.elts, strict=True):
                    self._target(node, one, its)
            case ((ast.Tuple() | ast.List()), _):
                for one in target.elts:
                    self._target(node, one, value, element=True)

    def _add(self, node: ast.AST, name: str, binding: Binding) -> None:
        scope = self.scope[node]
        while isinstance(binding.node, ast.NamedExpr) and isinstance(scope.node, _COMPREHENSIONS):
            scope = scope.parent or scope
        scope = scope.elsewhere.get(name, scope)
        scope.names.setdefault(name, []).append(binding)

    def given_to(self, function: Function, call: ast.Call) -> list[tuple[str, ast.expr]]:
        """Parameters of a function of this file and what a call hands to them."""
        parameters = [*function.args.posonlyargs, *function.args.args]
        if isinstance(call.func, ast.Attribute) and isinstance(self.parent[function], ast.ClassDef):
            parameters = parameters[1:]
        placed = [(p.arg, value) for p, value in zip(parameters, call.args, strict=False)]
        placed += [(word.arg, word.value) for word in call.keywords if word.arg]
        return [(name, value) for name, value in placed if not isinstance(value, ast.Starred)]

    def _bind_arguments(self, call: ast.Call) -> None:
        """What a function of this file is called with is what its parameters may be."""
        for function in self.called(call):
            inner = self.scope[function.body[0]]
            for name, value in self.given_to(function, call):
                if name in inner.names:
                    inner.names[name].append(Binding(call, value))
        self._known.clear()

    # --- what an expression may be -----------------------------------------------------------------------

    def _paths(self, node: ast.AST, depth: int) -> Iterator[str]:
        match node:
            case ast.Name():
                yield from self._of_name(node, depth)
            case ast.Attribute():
                known = self.paths(node.value, depth)
                yield from (f"{path}.{node.attr}" for path in known if not path.endswith("[]"))
                if not known:
                    yield from self._of_bindings(self.attributes.get(node.attr, []), depth)
            case ast.Call():
                yield from self._of_call(node, depth)
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
                parts = node.values if isinstance(node, ast.Dict) else node.elts
                yield from {f"{path}[]" for part in parts for path in self.paths(part, depth)}
            case ast.Subscript() | ast.Starred():
                yield from self._elements(node.value, depth)
            case ast.IfExp():
                yield from self.paths(node.body, depth) | self.paths(node.orelse, depth)
            case ast.BoolOp():
                yield from frozenset().union(*(self.paths(part, depth) for part in node.values))
            case ast.NamedExpr() | ast.Await():
                yield from self.paths(node.value, depth)

    def _of_name(self, node: ast.Name, depth: int) -> Iterator[str]:
        found = self.bindings(node)
        if found is None:
            yield from (f"{module}.{node.id}" for module in self.stars)
            if hasattr(builtins, node.id) or (node.id.startswith("__") and node.id.endswith("__")):
                yield f"builtins.{node.id}"
            return
        yield from self._of_bindings(found, depth)
        if node.id in self.given and not any(b.path for b in found):
            yield f"given:{node.id}"

    def _of_bindings(self, bindings: list[Binding], depth: int) -> Iterator[str]:
        for binding in bindings:
            if binding.path:
                yield binding.path
            elif binding.value is not None and not isinstance(binding.node, ast.AugAssign):
                of = self._elements if binding.element else self.paths
                yield from of(binding.value, depth)

    def _elements(self, node: ast.AST, depth: int) -> frozenset[str]:
        return frozenset(path[:-2] for path in self.paths(node, depth) if path.endswith("[]"))

    def _of_call(self, node: ast.Call, depth: int) -> Iterator[str]:
        func = self.paths(node.func, depth)
        if "builtins.getattr" in func and len(node.args) > 1:
            name = self.word(node.args[1])
            yield from (f"{path}.{name}" for path in self.paths(node.args[0], depth) if name)
        elif func & {"builtins.__import__", "importlib.import_module"} and node.args:
            yield from filter(None, [self.word(node.args[0])])
        elif func & {"builtins.type", "functools.partial", "builtins.iter", "builtins.next"} and node.args:
            yield from self.paths(node.args[0], depth)
        for function in self.called(node):
            for part in ast.walk(function):
                if isinstance(part, ast.Return) and part.value is not None:
                    yield from self.paths(part.value, depth)

    def word(self, node: ast.AST) -> str | None:
        """A text that the expression always is, as far as that can be computed without running it."""
        try:
            value = fold(self, node)
        except NotConstant:
            return None
        return (
            value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else None
        )


def parse(path: str, text: str, given: Iterable[str] = ()) -> Source | None:
    """None for a file that is not Python or does not parse here: not for an audit of its names to judge."""
    tree = read(text) if path.endswith(".py") else None
    return Source(path, tree, given) if tree is not None else None


def read(text: str) -> ast.Module | None:
    """None where the text does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def sources(tree: Mapping[str, str], editable: Iterable[str], given: Iterable[str] = ()) -> list[Source]:
    """The editable files of a tree that parse."""
    parsed = (parse(path, tree[path], given) for path in sorted(editable) if path in tree)
    return [source for source in parsed if source is not None]


def _outside(node: ast.AST) -> set[ast.AST]:
    """Children that are evaluated outside the scope that `node` opens."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return {*node.decorator_list, *filter(None, [node.returns])}
        case ast.ClassDef():
            return {*node.decorator_list, *node.bases, *node.keywords}
    return set()


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    yield from zip((arg.arg for arg in last), arguments.defaults, strict=True)
    for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield arg.arg, default


def _module_scope(scope: Scope) -> Scope:
    while scope.parent is not None:
        scope = scope.parent
    return scope


def _pairs(target: ast.Tuple | ast.List, value: ast.Tuple | ast.List) -> bool:
    starred = any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
    return len(target.elts) == len(value.elts) and not starred
