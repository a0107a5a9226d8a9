"""Random streams in source code: which calls start one, and whether it follows the seed of the run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Sequence

from mendel.patches.names import Function, Source

GLOBAL = frozenset(
    {
        *("torch.manual_seed", "torch.random.manual_seed", "torch.cuda.manual_seed", "torch.mps.manual_seed"),
        *("torch.cuda.manual_seed_all", "torch.default_generator.manual_seed", "torch.xpu.manual_seed"),
        *("torch.random.default_generator.manual_seed", "random.seed", "numpy.random.seed"),
    }
)
"""Calls that start the streams which all code of the process shares."""
LOCAL = frozenset(
    {
        *(
            f"numpy.random.{name}"
            for name in ("default_rng", "RandomState", "SeedSequence", "PCG64", "Philox")
        ),
        *("numpy.random.MT19937", "numpy.random.SFC64", "random.Random", "jax.random.PRNGKey"),
    }
)
MACHINE = ("time.", "datetime.", "secrets.", "uuid.uuid", "os.urandom", "os.getpid", "builtins.id")
"""Values that differ from run to run."""
_COMPUTES = ("builtins.", "hashlib.", "zlib.", "binascii.", "math.", "struct.")
_METHODS = frozenset(
    {"encode", "digest", "hexdigest", "to_bytes", "from_bytes", "join", "format", "hex", "spawn"}
)
_DRAWS = frozenset({"getrandbits", "integers", "randint", "random", "randrange", "generate_state"})
_TORCH_DRAWS = frozenset({"rand", "randn", "rand_like", "randn_like", "randint", "randperm", "normal"})
_FILLS = frozenset(
    {
        *("normal_", "uniform_", "bernoulli_", "trunc_normal_", "orthogonal_", "sparse_", "xavier_normal_"),
        *("xavier_uniform_", "kaiming_normal_", "kaiming_uniform_", "exponential_", "cauchy_"),
    }
)


def starts_stream(source: Source, call: ast.Call) -> bool:
    """Whether a call starts a random stream from its arguments."""
    paths = source.paths(call.func)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    method = not paths and name in ("manual_seed", "seed", "PRNGKey") and bool(call.args or call.keywords)
    return method or bool(paths & (GLOBAL | LOCAL))


def draws(name: str) -> bool:
    """Whether a function of this name draws random numbers from a stream."""
    last = name.split(".")[-1]
    return last in _TORCH_DRAWS or (last in _FILLS and name.startswith(("torch.", ".")))


def arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(word.value for word in call.keywords)]


def seed_parameters(source: Source, before: Source | None = None) -> set[ast.AST]:
    """Parameters that receive the seed of the run: called `seed`, or, in a function that `before` has too,
    standing where its `seed` stands. What stands in another place is not what the caller hands over."""
    old = {_qualified(before, f): f for f in _functions(before)} if before else {}
    found: set[ast.AST] = set()
    for function in _functions(source):
        places = _parameters(function)
        known = _parameters(old[_qualified(source, function)]) if _qualified(source, function) in old else []
        seeds = [place for place, arg in enumerate(known) if arg.arg == "seed"]
        if seeds and len(places) > seeds[0]:
            found.add(places[seeds[0]])
        elif not seeds:
            found |= {arg for arg in [*places, *function.args.kwonlyargs] if arg.arg == "seed"}
        else:
            found |= {arg for arg in function.args.kwonlyargs if arg.arg == "seed"}
    return found


def _functions(source: Source) -> list[Function]:
    return [function for functions in source.functions.values() for function in functions]


def _parameters(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args]


def _qualified(source: Source, function: Function) -> str:
    parent = source.parent[function]
    return f"{parent.name}.{function.name}" if isinstance(parent, ast.ClassDef) else function.name


class Streams:
    """What follows the seed in one file."""

    def __init__(self, source: Source, before: Source | None = None) -> None:
        self.source = source
        self.seeds = seed_parameters(source, before)
        self._seeded = bool(self.seeds) or any(map(self.is_seed, source.nodes))
        self._followed: dict[ast.AST, bool] = {}
        self._loaded: dict[ast.AST, set[str]] = {}

    def is_seed(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            called = isinstance(parent := self.source.parent.get(node), ast.Call) and parent.func is node
            return node.attr == "seed" and not called and not self.source.paths(node.value)
        bindings = self.source.bindings(node) if isinstance(node, ast.Name) else None
        return any(binding.node in self.seeds for binding in bindings or [])

    def follows(self, node: ast.AST) -> bool:
        """Whether a value comes from the seed by computing, hashing or starting streams."""
        if node not in self._followed:
            self._followed[node] = self._seeded and self._comes_from(node, self.is_seed, self._passes)
        return self._followed[node]

    def from_machine(self, node: ast.AST) -> bool:
        """Whether it depends on the clock, the process or the system's random numbers."""
        paths = self.source.paths

        def is_machine(part: ast.AST) -> bool:
            return isinstance(part, (ast.Name, ast.Attribute)) and any(
                p.startswith(MACHINE) for p in paths(part)
            )

        return self._comes_from(node, is_machine, arguments_and_function)

    def sinks(self) -> Iterator[tuple[str, ast.Call]]:
        """Calls that do something, with the name of what is called."""
        for node in self.source.nodes:
            if isinstance(node, ast.Call):
                paths = sorted(self.source.paths(node.func))
                method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                own = f".{method}" if method else getattr(node.func, "id", "")
                if not any(path.startswith(_COMPUTES) for path in paths) and method not in _METHODS:
                    yield (paths[0] if paths else own), node

    def _comes_from(
        self,
        node: ast.AST,
        is_leaf: Callable[[ast.AST], bool],
        passes: Callable[[ast.Call], Sequence[ast.AST]],
    ) -> bool:
        waiting, seen = [node], {id(node)}
        while waiting:
            part = waiting.pop()
            if is_leaf(part):
                return True
            if isinstance(part, ast.Call):
                more: Collection[ast.AST] = passes(part)
            elif isinstance(part, ast.Name):
                more = [b.value for b in self.source.bindings(part) or [] if b.value is not None]
            else:
                more = list(ast.iter_child_nodes(part))
            fresh = [one for one in more if id(one) not in seen]
            seen.update(map(id, fresh))
            waiting += fresh
        return False

    def _passes(self, call: ast.Call) -> list[ast.AST]:
        """The parts of a call that its value is computed from."""
        functions = self.source.called(call)
        if functions:
            pairs = ((f, given) for f in functions for given in self.source.given_to(f, call))
            return [value for function, (name, value) in pairs if name in self._names(function)]
        paths = self.source.paths(call.func)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        computes = any(path.startswith(_COMPUTES) for path in paths) or name in _METHODS | _DRAWS
        if computes or starts_stream(self.source, call):
            return arguments_and_function(call)
        return []

    def _names(self, function: Function) -> set[str]:
        """Names that stand in the body of a function."""
        if function not in self._loaded:
            parts = (part for statement in function.body for part in ast.walk(statement))
            self._loaded[function] = {part.id for part in parts if isinstance(part, ast.Name)}
        return self._loaded[function]


def arguments_and_function(call: ast.Call) -> list[ast.AST]:
    return [call.func, *arguments(call)]
