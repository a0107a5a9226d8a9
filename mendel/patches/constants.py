"""Constants that choose a random stream, and the same patch with others.

A fixed random projection is an idea; a number that was tried until the draw was good is not, and no code
tells the one from the other. So the same patch is trained with other constants on the same seeds: the gain
of an idea stays, the gain of a lucky draw goes.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mendel.patches.fold import NotConstant, fold
from mendel.patches.found import short
from mendel.patches.names import Source, parse
from mendel.patches.splice import code_of, splice
from mendel.patches.streams import Streams, arguments, starts_stream
from mendel.patches.tree import Tree
from mendel.records import Scalar

KNOB = re.compile(r"(.+_)?(seed|salt|stream)")
"""Names of knobs that choose a stream."""
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.BitXor, ast.BitOr)


class SeedConstant(NamedTuple):
    """A number or text of a patch that chooses a random stream."""

    path: str
    """File; "overrides" for one of these."""
    line: int
    construct: str
    value: Scalar
    """The number, or the code of a text that is mixed into a seed."""


class _Place(NamedTuple):
    source: Source
    node: ast.expr
    construct: str
    value: Scalar
    key: str


def seed_constants(
    before: Mapping[str, str], after: Mapping[str, str], overrides: Mapping[str, Scalar]
) -> tuple[SeedConstant, ...]:
    """All that the patch brought along; empty where training it again with others would show nothing."""
    knobs = [
        SeedConstant("overrides", 0, f"{key} = {value!r}", value)
        for key, value in overrides.items()
        if _is_knob(key, value)
    ]
    places = [
        SeedConstant(place.source.path, place.node.lineno, place.construct, place.value)
        for place in _places(before, after)
    ]
    return (*knobs, *places)


def mutate(
    before: Mapping[str, str], after: Mapping[str, str], overrides: Mapping[str, Scalar], number: int
) -> tuple[Tree, dict[str, Scalar]]:
    """The patched tree and the patch's overrides with other constants in the places of `seed_constants`.

    The same `number` gives the same ones; places that held the same constant hold the same one again.
    """
    tree = dict(after)
    places = _places(before, after)
    for path in {place.source.path for place in places}:
        here = [place for place in places if place.source.path == path]
        lines = after[path].encode().splitlines(keepends=True)
        for place in sorted(here, key=lambda one: (one.node.lineno, one.node.col_offset), reverse=True):
            _replace(lines, place, _draw(number, place.value))
        tree[path] = b"".join(lines).decode()
    knobs = {k: _draw(number, v) if _is_knob(k, v) else v for k, v in overrides.items()}
    return tree, knobs


# --- finding them ----------------------------------------------------------------------------------------


def _is_knob(key: str, value: Scalar) -> bool:
    return KNOB.fullmatch(key) is not None and isinstance(value, int) and not isinstance(value, bool)


def _places(before: Mapping[str, str], after: Mapping[str, str]) -> list[_Place]:
    """Where the constants stand that the patch brought along."""
    found: list[_Place] = []
    for path in sorted(before.keys() & after.keys()):
        if before[path] == after[path]:
            continue
        old, new = parse(path, before[path]), parse(path, after[path])
        if old and new:
            known = {place.key for place in (*_started(Streams(old)), *_knobs(old))}
            names = {key.split(" = ")[0] for key in known}
            places = {
                id(place.node): place for place in _started(Streams(new, old)) if place.key not in known
            }
            for place in _knobs(new):
                # A new knob may be called a stream and count something else; one that was there may not.
                if place.key not in known and (
                    place.key.split(" = ")[0] in names or "stream" not in place.key
                ):
                    places.setdefault(id(place.node), place)
            found += places.values()
    return found


def _knobs(source: Source) -> Iterator[_Place]:
    """Whole numbers given to names that choose a stream."""
    for node in source.nodes:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=int(value)) as place):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int(value)) as place):
                pass
            case ast.keyword(arg=str(name), value=ast.Constant(value=int(value)) as place):
                pass
            case _:
                continue
        if _is_knob(name, value):
            text = f"{name} = {value!r}"
            yield _Place(source, place, text, value, text)


def _started(streams: Streams) -> Iterator[_Place]:
    """Constants from which streams are started."""
    source = streams.source
    for node in source.nodes:
        if isinstance(node, ast.Call) and starts_stream(source, node):
            for argument in arguments(node):
                for part in _constants(streams, argument, set()):
                    value = _value(source, part)
                    key = f"{source.text(node)} from {source.text(part)}"
                    yield _Place(
                        source, part, short(node), ast.unparse(part) if value is None else value, key
                    )


def _constants(streams: Streams, node: ast.expr, seen: set[int]) -> Iterator[ast.expr]:
    """The parts of a seed that are constant: numbers it is computed from, texts that are hashed into it."""
    source = streams.source
    value = _value(source, node)
    if id(node) in seen or isinstance(value, bool):
        return
    seen.add(id(node))
    if value is not None:
        yield node
        return
    parts: list[ast.expr] = []
    match node:
        case ast.BinOp():
            parts = [node.left, node.right] if isinstance(node.op, _ARITHMETIC) else [node.left]
        case ast.Tuple() | ast.List():
            parts = node.elts
        case ast.UnaryOp():
            parts = [node.operand]
        case ast.Subscript() | ast.Attribute() | ast.Starred():
            parts = [node.value]
        case ast.Call() if not source.called(node):
            parts = [*([node.func.value] if isinstance(node.func, ast.Attribute) else []), *node.args[:1]]
        case ast.Name():
            values = [b.value for b in source.bindings(node) or [] if b.value is not None and not b.element]
            # A plain constant may have other uses: it is only replaced where it stands in the seed itself.
            parts = [value for value in values if _value(source, value) is None]
        case ast.JoinedStr() if any(isinstance(part, ast.Constant) for part in node.values):
            yield node
    for part in parts:
        yield from _constants(streams, part, seen)


def _value(source: Source, node: ast.expr) -> int | str | None:
    """A constant that another one can stand for."""
    try:
        value = fold(source, node)
    except NotConstant:
        return None
    if isinstance(value, bytes):
        return repr(value)
    return value if isinstance(value, (int, str)) else None


# --- changing them ---------------------------------------------------------------------------------------


def _draw(number: int, value: Scalar) -> int:
    return random.Random(f"other constants/{number}/{value!r}").randrange(1, 2**31)


def _replace(lines: list[bytes], place: _Place, drawn: int) -> None:
    """Change the code of one place."""
    if isinstance(place.value, int):
        new = str(drawn).encode()
    else:  # a text stays and gets an ending
        end = (b' + b"/%d")' if str(place.value).startswith("b") else b' + "/%d")') % drawn
        new = b"(" + code_of(lines, place.node) + end
    splice(lines, place.node, new)
