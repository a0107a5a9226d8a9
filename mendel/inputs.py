"""What is said of an input that cannot be used: its key, the value found, what is allowed, and the nearest
name where there may be a typo. In words of this house, because pydantic's are for programmers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

ALTERNATIVES = ("bool", "int", "float", "str")
"""With these pydantic ends the place of an error where a key may have values of several types."""
RULES = {
    "missing": "missing",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "literal_error": "allowed are {expected}",
    "enum": "allowed are {expected}",
    "string_too_short": "must have a length of at least {min_length}",
    "string_too_long": "must have a length of at most {max_length}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "too_short": "must have a length of at least {min_length}",
}
"""Type of pydantic's error -> what is allowed."""
KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
}
"""How the type of an error begins where a value is of another type -> what it must be."""


def refusal(error: ValidationError, model: type[BaseModel], names: Mapping[str, str] | None = None) -> str:
    """The first thing wrong with a table that was to be a `model`: `policy.alpha: must be below 1 (found 3)`.

    `names`: beginning of a key in the model -> beginning of the user's own, where they differ.
    """
    first = first_of(error)
    place, found = list(first["loc"]), first["input"]
    if len(place) > 1 and place[-1] in ALTERNATIVES:
        place.pop()
        words = "must be a number, text, true or false"
    else:
        words = _rule(first)
    key = ".".join(map(str, place))
    for begins, own in (names or {}).items():
        if key == begins.removesuffix(".") or key.startswith(begins):
            key = own + key[len(begins) :]
    shown = "" if isinstance(found, dict) or not key else f" (found {found!r:.60})"
    if first["type"] == "extra_forbidden":
        words, shown = f"unknown key{shown}", allowed(place[-1], _fields(model, place[:-1]))
    return f"{key}: {words}{shown}" if key else f"{words}{shown}"


def first_of(error: ValidationError) -> Mapping[str, Any]:
    """The error to tell: a typo explains what is missing, and not the other way round."""
    return min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")


def allowed(word: object, names: Iterable[str]) -> str:
    """`; did you mean budget? allowed are goal, budget, ...`, to follow what is said of an unknown `word`."""
    known = list(names)
    near = nearest(str(word), known)
    return f"; {f'did you mean {near}? ' if near else ''}allowed are {', '.join(known)}"


def nearest(word: str, names: Iterable[str]) -> str:
    """The name that was probably meant; empty if there is none."""
    return next(iter(difflib.get_close_matches(word.lower(), list(names), n=1)), "")


def _rule(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in RULES:
        limits = error.get("ctx", {}).items()
        return RULES[kind].format(**{k: f"{v:g}" if isinstance(v, float) else v for k, v in limits})
    begins, _, ends = kind.partition("_")
    if begins in KINDS and ends in ("type", "parsing", "from_float", "attributes_type"):
        return f"must be {KINDS[begins]}"
    return str(error["msg"]).removeprefix("Value error, ")


def _fields(model: type[BaseModel], place: Iterable[object]) -> list[str]:
    """Names of the fields of the record that stands at a place in a model."""
    for part in place:
        field = model.model_fields.get(str(part))
        model = _record(field.annotation) or model if field else model
    return list(model.model_fields)


def _record(kind: Any) -> type[BaseModel] | None:
    """The record in an annotation such as `tuple[Edit, ...]`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for inner in get_args(kind) if (found := _record(inner))), None)
