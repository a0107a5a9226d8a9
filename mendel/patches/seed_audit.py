"""Whether a patch changed the seed or the order of the data instead of an idea, as far as its code shows.

Pairs of runs share a seed, and a claim rests on several seeds that are independent of each other. A patch
that cuts a random stream from the seed turns all runs into one draw, and that draw can be chosen. So streams
may be added, moved and transformed, but those that follow the seed must go on following it.

Constants that start a stream of the patch's own (a fixed random projection) are allowed here; whether a gain
hangs on them is found by training with others (constants.py).

Not seen: streams that are cut by what the code computes from data, and draws without any seed that a patch
adds beside the seeded ones.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from mendel.patches.fold import NotConstant, fold
from mendel.patches.found import Found, short, verdict
from mendel.patches.names import Source, parse
from mendel.patches.streams import GLOBAL, Streams, arguments, draws, starts_stream
from mendel.records import Audit, Scalar

SEED_KNOBS = frozenset({"seed", "global_seed", "manual_seed", "random_seed", "rng_seed", "torch_seed"})
MACHINE_SEEDED = frozenset({"torch.seed", "torch.random.seed", "torch.cuda.seed", "torch.cuda.seed_all"})
SAMPLES = (range(16), range(7_000_000, 7_000_016))
"""Seeds that expressions are computed for: a campaign uses neighbouring ones."""
_VALUES = (ast.BinOp, ast.BoolOp, ast.Call, ast.IfExp, ast.Subscript, ast.UnaryOp)


def audit_seed(before: Mapping[str, str], after: Mapping[str, str], overrides: Mapping[str, Scalar]) -> Audit:
    """Compares whole trees, files that parse; `overrides` are those of the patch."""
    found = [
        Found("overrides", 0, f"{key} = {value!r}", "replaces the seed that the lab gives", "")
        for key, value in overrides.items()
        if key.lower() in SEED_KNOBS
    ]
    old: list[Streams] = []
    new: list[Streams] = []
    for path in sorted(before.keys() & after.keys()):
        if before[path] == after[path]:
            continue
        was, now = parse(path, before[path]), parse(path, after[path])
        if was and now:
            old.append(Streams(was))
            new.append(Streams(now, was))
            found += _rebound(old[-1], new[-1])
    # A trainer that is given no seed has none to follow.
    seeded = any(re.search(r"\bseed\b", text) for text in before.values())
    known = {one.key for streams in old for one in _unfit(streams, seeded)}
    for streams in new:
        found += [one for one in _unfit(streams, seeded) if one.key not in known]
    found += _cut(old, new)
    return verdict("seed", found, "every random stream that followed the seed still does")


def _found(source: Source, node: ast.AST, why: str) -> Found:
    return Found(source.path, getattr(node, "lineno", 1), short(node), why, source.text(node))


# --- what a file does with seeds -------------------------------------------------------------------------


def _unfit(streams: Streams, seeded: bool) -> Iterator[Found]:
    """Streams started from what is not fit for it, and seeds that are computed away."""
    source = streams.source
    for node in source.nodes:
        if isinstance(node, ast.Call):
            paths, given = source.paths(node.func), arguments(node)
            starts = starts_stream(source, node)
            everywhere = (starts and paths & GLOBAL) or (
                "torch.set_rng_state" in paths and _starts(source, given)
            )
            if paths & MACHINE_SEEDED or (starts and any(map(streams.from_machine, given))):
                yield _found(source, node, "takes a seed from the machine, so a run would not repeat")
            elif seeded and everywhere and not any(map(streams.follows, given)) and not _forked(source, node):
                yield _found(source, node, "restarts the randomness of the run without its seed")
        elif streams.is_seed(node):
            whole = _computed(streams, node)
            if whole is not None and not _varies(streams, whole):
                yield _found(source, whole, "is (nearly) the same for every seed")


def _starts(source: Source, nodes: Iterable[ast.AST]) -> bool:
    """Whether a stream is started inside expressions."""
    parts = (part for node in nodes for part in ast.walk(node))
    return any(isinstance(part, ast.Call) and starts_stream(source, part) for part in parts)


def _forked(source: Source, node: ast.AST) -> bool:
    """Inside `with torch.random.fork_rng()`, which puts everything back."""
    while node in source.parent:
        node = source.parent[node]
        if isinstance(node, ast.With):
            calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
            if any("torch.random.fork_rng" in source.paths(call.func) for call in calls):
                return True
    return False


def _computed(streams: Streams, node: ast.AST) -> ast.AST | None:
    """The largest expression around a use of the seed whose value follows from it alone; None for the seed
    itself, and for questions about it."""
    source, whole = streams.source, None
    while isinstance(
        node := source.parent[node], (*_VALUES, ast.Tuple, ast.List, ast.JoinedStr, ast.FormattedValue)
    ):
        if isinstance(node, _VALUES) and _values(streams, node) is not None:
            whole = node
    return None if isinstance(node, (ast.Compare, ast.Assert, ast.Raise)) else whole


def _values(streams: Streams, node: ast.AST, seeds: range = SAMPLES[0]) -> list[object] | None:
    """Values of an expression for several seeds."""
    attributes = [
        part for part in ast.walk(node) if isinstance(part, ast.Attribute) and streams.is_seed(part)
    ]
    found = []
    for seed in seeds:
        try:
            known = dict.fromkeys([*streams.seeds, *attributes], seed)
            found.append(fold(streams.source, node, known))
        except NotConstant:
            return None
    return found


def _varies(streams: Streams, node: ast.AST) -> bool:
    values = [_values(streams, node, seeds) for seeds in SAMPLES]
    return all(found is None or 2 * len(set(map(repr, found))) >= len(found) for found in values)


# --- before and after ------------------------------------------------------------------------------------


def _rebound(old: Streams, new: Streams) -> Iterator[Found]:
    """The seed, or what was made of it, bound to something else."""
    known = old.source.all_bound()
    known |= {old.source.bound("seed", binding) for binding in old.source.attributes.get("seed", [])}
    made = _derived(old)
    if any(isinstance(node, ast.Attribute) and old.is_seed(node) for node in old.source.nodes):
        for binding in new.source.attributes.get("seed", []):
            fixed = binding.value is not None and not new.follows(binding.value)
            if fixed and new.source.bound("seed", binding) not in known:
                yield _found(new.source, binding.node, "replaces the seed that the lab gives")
    for node in new.source.nodes:
        if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Store):
            continue
        bindings = new.source.bindings(node) or []
        seed = new.is_seed(node)
        if not seed and (_where(new.source, node), node.id) not in made:
            continue
        for binding in bindings:
            if not isinstance(binding.node, (ast.stmt, ast.comprehension, ast.NamedExpr)):
                continue
            if binding.value is None or new.source.bound(node.id, binding) in known:
                continue
            if isinstance(binding.node, ast.AugAssign):
                whole = ast.BinOp(left=node, op=binding.node.op, right=binding.value)
                cut = seed and _values(new, whole) is not None and not _varies(new, whole)
            else:
                cut = not new.follows(binding.value) and (seed or _needed_after(old, new, node, binding.node))
            if cut:
                what = "replaces the seed that the lab gives" if seed else "no longer follows the seed"
                yield _found(new.source, binding.node, what)


def _needed_after(old: Streams, new: Streams, node: ast.Name, bound: ast.AST) -> bool:
    """Whether a name still has to hold what it held after it was bound again: a call that took it before the
    patch is not made above that line."""
    where = _where(new.source, node)

    def taken(streams: Streams) -> list[int]:
        calls = [call for _, call in streams.sinks() if _where(streams.source, call) == where]
        parts = ((call, part) for call in calls for one in arguments(call) for part in ast.walk(one))
        return [call.lineno for call, part in parts if isinstance(part, ast.Name) and part.id == node.id]

    return sum(line < getattr(bound, "lineno", 0) for line in taken(new)) < len(taken(old))


def _derived(streams: Streams) -> set[tuple[str, str]]:
    """Names, with the function they stand in, that always held something made of the seed."""
    found = set()
    for node in streams.source.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            values = [binding.value for binding in streams.source.bindings(node) or []]
            if values and all(value is not None and streams.follows(value) for value in values):
                found.add((_where(streams.source, node), node.id))
    return found


def _where(source: Source, node: ast.AST) -> str:
    return getattr(source.function(node), "name", "")


Calls = list[tuple[Streams, ast.Call]]


def _cut(old: list[Streams], new: list[Streams]) -> Iterator[Found]:
    """Calls that were given the seed, or a stream of it, and are no longer."""
    was, now = _calls(old, follow=True), _calls(new, follow=True)
    loose_was, loose_now = _calls(old, follow=False), _calls(new, follow=False)
    for name, calls in sorted(was.items()):
        streams, call = calls[0]
        loose = loose_now.get(name, [])
        if len(now.get(name, [])) >= len(calls):
            continue
        known = {one.source.text(part) for one, part in loose_was.get(name, [])}
        if len(loose) > len(loose_was.get(name, [])):
            fresh = [(one, part) for one, part in loose if one.source.text(part) not in known]
            there, instead = (fresh or loose)[-1]
            yield _found(there.source, instead, "no longer follows the seed of the run")
        elif name in GLOBAL or _direct(was) > _direct(now):
            yield Found(
                streams.source.path, call.lineno, short(call), "is gone, and nothing takes its seed", ""
            )
    for where in {place for place, _ in _drawn(was)}:
        fewer = _at(where, _drawn(now)) < _at(where, _drawn(was))
        more = [call for place, call in _drawn(loose_now) if place == where]
        if fewer and len(more) > _at(where, _drawn(loose_was)):
            streams, call = more[-1]
            yield _found(streams.source, call, "draws without the seed where the trainer drew with it")


def _calls(files: list[Streams], follow: bool) -> dict[str, Calls]:
    """What is called -> its calls that are given something of the seed, or that are not."""
    found: dict[str, Calls] = {}
    for streams in files:
        for name, call in streams.sinks():
            if any(map(streams.follows, arguments(call))) is follow:
                found.setdefault(name, []).append((streams, call))
    return found


def _direct(calls: dict[str, Calls]) -> int:
    """How many calls are given the seed itself."""
    every = (pair for pairs in calls.values() for pair in pairs)
    return sum(any(map(streams.is_seed, arguments(call))) for streams, call in every)


def _drawn(calls: dict[str, Calls]) -> list[tuple[tuple[str, str], tuple[Streams, ast.Call]]]:
    """Draws of random numbers, with the file and function they stand in."""
    return [
        ((streams.source.path, _where(streams.source, call)), (streams, call))
        for name, pairs in calls.items()
        for streams, call in pairs
        if draws(name)
    ]


def _at(where: tuple[str, str], drawn: list[tuple[tuple[str, str], tuple[Streams, ast.Call]]]) -> int:
    return sum(place == where for place, _ in drawn)
