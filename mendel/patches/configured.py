"""A knob's value in a configuration file, YAML or JSON, and the same file with another one.

One scalar is changed and not a byte beside it. The file is read again afterwards: it must say the same as
before but for this one value. Readers of YAML differ, so a value is written as all of them read it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import yaml

from mendel.records import Scalar

CONFIGURATION = (".yaml", ".yml", ".json")
"""Ends of names of files that are read here."""
_LATER_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""A number in YAML 1.2; 1.1 wants a point and a sign of the exponent, and reads text without them."""


class Configured(NamedTuple):
    """A scalar of a configuration file."""

    path: str
    line: int
    start: int
    """Where its code begins in the text, in characters."""
    end: int
    alone: bool
    """Whether it stands on one line, with no anchor, tag or alias that ties it to others."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class _Leaves:
    """The scalars of a file in their order, each once."""

    found: list[tuple[str, yaml.ScalarNode, frozenset[int]]] = field(default_factory=list)
    """Dotted key, node, and ids of the node and of those that it is in."""
    shared: set[int] = field(default_factory=set)
    """Nodes that an alias names again."""
    seen: set[int] = field(default_factory=set)

    def walk(self, node: yaml.Node, key: str = "", above: frozenset[int] = frozenset()) -> None:
        if id(node) in self.seen:
            self.shared.add(id(node))
            return
        self.seen.add(id(node))
        here = above | {id(node)}
        if isinstance(node, yaml.ScalarNode):
            self.found.append((key, node, here))
        for part, below in _below(node):
            self.walk(below, f"{key}.{part}" if key else part, here)


def _below(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (plain(key.value) if isinstance(key, yaml.ScalarNode) else "?"), value
    elif isinstance(node, yaml.SequenceNode):
        yield from ((str(place), value) for place, value in enumerate(node.value))


def plain(key: str) -> str:
    """A knob's name as options, code and configuration files have it alike."""
    return key.lstrip("-").replace("-", "_")


def find_configured(path: str, text: str, name: str) -> list[Configured] | None:
    """The scalars of a file that a plain name, dotted where it is in a section, stands for. None where the
    file cannot be read."""
    leaves = _leaves(path, text, name)
    if leaves is None:
        return None
    found = []
    for key, node, here in leaves.found:
        if key == name:
            start, end = node.start_mark, node.end_mark
            tied = text[start.index : start.index + 1] in ("&", "!") or bool(here & leaves.shared)
            alone = not tied and start.line == end.line and node.style not in ("|", ">")
            found.append(Configured(path, start.line + 1, start.index, end.index, alone))
    return found


def with_configured(text: str, place: Configured, value: Scalar) -> str:
    """The text with another value there. ValueError, with the reason, where that cannot be."""
    code = text[place.start : place.end]
    before = _value(place.path, code) if place.alone else None
    if before == value and (type(before) is type(value) or _same_number(before, value)):
        return text
    if not place.alone:
        raise ValueError(
            f"{place} cannot be changed by itself: an anchor, a tag or another line is part of it"
        )
    for new in _codes(place.path, value, before, code):
        after = text[: place.start] + new + text[place.end :]
        if _only(place, text, after, new, value):
            return after
    raise ValueError(f"{shown(value)} is of another kind than {code or 'nothing'} in {place}")


def named_files(paths: Iterable[str], words: Sequence[str]) -> list[str]:
    """The configuration files among `paths` that words of a command name; placeholders stand for anything."""
    ends = [word.rpartition("=")[2].removeprefix("./") for word in words]
    forms = [re.sub(r"\\\{.*?\\\}", ".*", re.escape(end)) for end in ends if end.endswith(CONFIGURATION)]
    return [
        path
        for path in paths
        if path.endswith(CONFIGURATION) and any(re.fullmatch(f"(.*/)?{form}", path) for form in forms)
    ]


def is_spoken_of(path: str, tree: Mapping[str, str], words: Sequence[str]) -> bool:
    """Whether code or command say the name of a configuration file, with its end or as a text without it."""
    pure = PurePosixPath(path)
    quoted = (f'"{pure.stem}"', f"'{pure.stem}'")
    code = [text for name, text in tree.items() if name.endswith(".py")]
    return any(pure.name in text or any(one in text for one in quoted) for text in code) or any(
        word.rpartition("=")[2] == pure.stem or pure.name in word for word in words
    )


def shown(value: Scalar) -> str:
    """A value for a reader; text as it is."""
    return f"'{value}'" if isinstance(value, str) else repr(value)


# --- reading ------------------------------------------------------------------------------------------


def _leaves(path: str, text: str, name: str) -> _Leaves | None:
    """The scalars of a file, at least where one has this name."""
    leaves = _Leaves()
    try:
        if path.endswith(".json"):
            if name not in (key for key, _, _ in _flat(json.loads(text))):
                return leaves  # a vocabulary of a megabyte, say: YAML is read slowly
            text = text.replace("\t", " ")  # YAML has no tabs there; all else stays in its place
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                leaves.walk(node)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return leaves


def _value(path: str, code: str) -> Any:
    """What the code of a scalar means; None where that is nothing, or not clear."""
    try:
        if path.endswith(".json"):
            return json.loads(code)
        value = yaml.safe_load(code)
    except (yaml.YAMLError, ValueError):
        return None
    return float(code) if isinstance(value, str) and _LATER_FLOAT.fullmatch(code) else value


def _only(place: Configured, before: str, after: str, code: str, value: Scalar) -> bool:
    """Whether a file says the same as before but for one value, and there what it should."""
    found = _value(place.path, code)
    if type(found) is not type(value) and not _same_number(found, value) or found != value:
        return False
    if place.path.endswith(".json"):
        old, new = list(_flat(json.loads(before))), list(_flat(json.loads(after)))
    else:
        old, new = _said(place.path, before), _said(place.path, after)
    changes = [pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]]
    return len(old) == len(new) and len(changes) == 1 and changes[0][0][0] == changes[0][1][0]


def _same_number(found: object, value: Scalar) -> bool:
    """1 for 1.0: a whole number where numbers have a point."""
    return isinstance(found, float) and isinstance(value, int) and not isinstance(value, bool)


def _said(path: str, text: str) -> list[tuple[str, str, str]]:
    leaves = _leaves(path, text, "")
    return [(key, node.tag, node.value) for key, node, _ in leaves.found] if leaves else []


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for part, below in pairs:
            yield from _flat(below, f"{key}.{plain(str(part))}" if key else plain(str(part)))
    else:
        yield key, type(value).__name__, value


# --- writing ------------------------------------------------------------------------------------------


def _codes(path: str, value: Scalar, before: object, code: str) -> list[str]:
    """A value as it may be written where `code` means `before`; none where that is of another kind. As in
    Python, a number without a point may get one, and not lose it."""
    if isinstance(value, bool) or isinstance(before, bool):
        return [str(value).lower()] if type(value) is type(before) else []
    if isinstance(value, int | float) and isinstance(before, int | float):
        number = float(value) if isinstance(before, float) else value
        return [_number(number)] if math.isfinite(number) else []
    if not isinstance(value, str) or not isinstance(before, str):
        return []
    quoted = json.dumps(value, ensure_ascii=False)
    if path.endswith(".json") or code.startswith('"'):
        return [quoted]
    if code.startswith("'"):
        return ["'" + value.replace("'", "''") + "'", quoted]
    return [value, quoted]


def _number(number: int | float) -> str:
    """Python writes 1e-05, which YAML 1.1 takes for text."""
    text = repr(number)
    mantissa, sign, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if sign and "." not in mantissa else text
