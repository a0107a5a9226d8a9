"""The value of an expression of constants, computed without running it.

Enough arithmetic and text to see through names that were put together from pieces and through seeds that
were multiplied by zero; whatever could take long, need much memory or do something is refused.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import math
import operator
import re
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mendel.patches.names import Source

LARGE = 2_000
"""Characters, elements or bits of the largest value that is computed."""
DEEP = 40
"""Names and operations inside each other."""
_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512", "md5", "blake2b", "blake2s")
_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.USub: operator.neg, ast.UAdd: operator.pos,
    ast.Invert: operator.invert, ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"builtins.{f.__name__}": f for f in (abs, bool, chr, divmod, float, hex, len, max, min, ord, sum)},
    **{f"builtins.{f.__name__}": f for f in (int, list, repr, sorted, str, tuple)},
    **{f"math.{f.__name__}": f for f in (math.ceil, math.floor, math.gcd, math.sqrt, math.sin, math.cos)},
    **{f"hashlib.{name}": getattr(hashlib, name) for name in _HASHES},
    "builtins.int.from_bytes": int.from_bytes,
    "builtins.bytes.fromhex": bytes.fromhex,
    "builtins.reversed": lambda values: values[::-1],
    "builtins.round": lambda value: round(value),
    "base64.b64decode": base64.b64decode,
    "binascii.unhexlify": bytes.fromhex,
    "zlib.crc32": zlib.crc32,
}
_METHODS = {
    *("decode", "encode", "join", "lower", "upper", "replace", "strip", "lstrip", "rstrip", "removeprefix"),
    *("removesuffix", "title", "swapcase", "hex", "digest", "hexdigest", "bit_length", "split", "format"),
}


class NotConstant(Exception):
    """The expression is not one of constants, or too large to compute."""


def fold(source: Source, node: ast.AST, known: Mapping[ast.AST, Any] | None = None, depth: int = 0) -> Any:
    """The value of `node`, where `known` holds the values of what binds certain names (nodes of `Binding`).
    NotConstant otherwise."""
    if depth > DEEP:
        raise NotConstant
    try:
        value = _fold(source, node, known or {}, depth + 1)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError):
        raise NotConstant from None
    if size(value) > LARGE:
        raise NotConstant
    return value


def size(value: object) -> int:
    """Characters, elements or bits."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (list, tuple)):
        return sum(1 + size(one) for one in value)
    return value.bit_length() if isinstance(value, int) else 0


def _fold(source: Source, node: ast.AST, known: Mapping[ast.AST, Any], depth: int) -> Any:
    def of(part: ast.AST) -> Any:
        return fold(source, part, known, depth)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _name(source, node, known, depth)
        case ast.Attribute() if node in known:
            return known[node]
        case ast.Tuple() | ast.List():
            values = [of(part) for part in node.elts]
            return tuple(values) if isinstance(node, ast.Tuple) else values
        case ast.BinOp():
            return _binary(type(node.op), of(node.left), of(node.right))
        case ast.UnaryOp():
            return _OPERATIONS[type(node.op)](of(node.operand))
        case ast.BoolOp():
            values = [of(part) for part in node.values]
            stops = [value for value in values[:-1] if bool(value) is isinstance(node.op, ast.Or)]
            return (stops or values[-1:])[0]
        case ast.Compare() if len(node.ops) == 1:
            return _OPERATIONS[type(node.ops[0])](of(node.left), of(node.comparators[0]))
        case ast.IfExp():
            return of(node.body) if of(node.test) else of(node.orelse)
        case ast.Subscript():
            return of(node.value)[of(node.slice)]
        case ast.Slice():
            return slice(*(of(part) if part else None for part in (node.lower, node.upper, node.step)))
        case ast.JoinedStr():
            return "".join(str(of(part)) for part in node.values)
        case ast.FormattedValue() if node.format_spec is None:
            return repr(of(node.value)) if node.conversion == ord("r") else str(of(node.value))
        case ast.Call() if not node.keywords or isinstance(node.func, ast.Attribute):
            return _call(source, node, of)
    raise NotConstant


def _name(source: Source, node: ast.Name, known: Mapping[ast.AST, Any], depth: int) -> Any:
    bindings = source.bindings(node) or []
    for binding in bindings:
        if binding.node in known:
            return known[binding.node]
    if len(bindings) != 1 or bindings[0].value is None or bindings[0].element:
        raise NotConstant
    if isinstance(bindings[0].node, ast.AugAssign):
        raise NotConstant
    return fold(source, bindings[0].value, known, depth)


def _binary(kind: type[ast.operator], left: Any, right: Any) -> Any:
    """An operation whose result cannot be much larger than what goes in."""
    long = isinstance(left, (str, bytes, list, tuple)) or isinstance(right, (str, bytes, list, tuple))
    times = [value for value in (left, right) if isinstance(value, int)]
    too_large = (
        (kind is ast.Mult and long and max(times, default=0) * max(size(left), size(right)) > LARGE)
        or (kind is ast.Mod and long and _wide(left))
        or (kind is ast.LShift and right > LARGE)
        or (kind is ast.Pow and (abs(right) > 64 or size(left) > 64))
    )
    if too_large:
        raise NotConstant
    return _OPERATIONS[kind](left, right)


def _call(source: Source, node: ast.Call, of: Callable[[ast.AST], Any]) -> Any:
    paths = source.paths(node.func)
    arguments = [of(part) for part in node.args]
    words = {word.arg or "": of(word.value) for word in node.keywords}
    if paths == {"builtins.bytes"} and isinstance(arguments[0], (list, tuple)):
        return bytes(*arguments)
    if paths == {"builtins.hash"} and not _holds_text(arguments[0]):  # of text, it changes from run to run
        return hash(arguments[0])
    if paths == {"builtins.pow"} and len(arguments) == 2:
        return _binary(ast.Pow, *arguments)
    for path in paths:
        if len(paths) == 1 and path in _FUNCTIONS:
            return _FUNCTIONS[path](*arguments, **words)
    func = node.func
    if paths or not isinstance(func, ast.Attribute):
        raise NotConstant
    value = of(func.value)
    if func.attr == "to_bytes" and isinstance(value, int) and arguments[0] <= LARGE:
        return value.to_bytes(*arguments, **words)
    if func.attr not in _METHODS or (func.attr == "format" and ":" in value):
        raise NotConstant
    if func.attr == "replace" and size(value) * max(map(size, arguments)) > LARGE**2:
        raise NotConstant
    return getattr(value, func.attr)(*arguments, **words)


def _wide(pattern: object) -> bool:
    """A format that could ask for a long text."""
    return re.search(r"\d{3}|\*", str(pattern)) is not None


def _holds_text(value: object) -> bool:
    return isinstance(value, (str, bytes)) or (isinstance(value, tuple) and any(map(_holds_text, value)))
