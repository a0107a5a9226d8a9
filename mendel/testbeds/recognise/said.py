"""How a loss is told: the words that name one, and what a proposal says of the place where it was found."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mendel.testbeds.recognise.source import constant, dotted

VALIDATION = re.compile(
    r"(?<![a-z])(val|valid|validation|eval|evaluation|test|dev|heldout|held.out)(?![a-z])", re.I
)
LOSS = re.compile(r"loss|bpb|bpc|bits.per|ppl|perplexity|nll|cross.?entropy|(?<![a-z])ce(?![a-z])|xent", re.I)
NOT_LOSS = re.compile(
    r"time|step|iter|acc|lr|token|batch|every|mfu|hellaswag|core|norm|second|size|\bmin\b|best|lowest|minimum",
    re.I,
)
NUMBER = r"([-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)"
UNITS = (
    (r"bpb|bits.per.byte", "bits per byte"),
    (r"bpc|bits.per.char", "bits per character"),
    (r"ppl|perplexity", "perplexity"),
    (r".", "nats per token"),
)
Place = tuple[str, int, int]
"""A file, and its first and last line that count."""


@dataclass(frozen=True)
class Said:
    """A way in which the loss is told."""

    table: dict[str, str]
    """As [metric] has it."""
    why: str
    sure: bool = True
    """Whether it is a validation loss."""
    edit: dict[str, str] = field(default_factory=dict)
    """A change of the source that makes the trainer say it, where it does not."""
    expression: str = ""
    """Source of what is shown."""
    path: str = ""
    line: int = 0
    places: tuple[Place, ...] = ()
    """Lines that tell it, there and elsewhere, and what they call to write it."""


def unit(words: str) -> str:
    return next(name for pattern, name in UNITS if re.search(pattern, words, re.I))


def keys_of(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Keys of a dictionary that name a validation loss, with their values."""
    if isinstance(node, ast.Dict):
        pairs = [
            (str(constant(key)), value) for key, value in zip(node.keys, node.values, strict=True) if key
        ]
    elif isinstance(node, ast.Call) and dotted(node.func) == "dict":
        pairs = [(one.arg, one.value) for one in node.keywords if one.arg]
    else:
        return
    yield from ((key, value) for key, value in pairs if names_validation(key))


def names_validation(key: str) -> bool:
    """Whether a key names a validation loss."""
    words = re.sub(r"[_/.-]", " ", key)
    return bool(VALIDATION.search(words) and LOSS.search(words)) and not NOT_LOSS.search(words)
