"""Rules and faults of a loopback Messages API, read from JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mendel.inputs import refusal
from mendel.testing.messages_faults import Fault, Faults, Schedule
from mendel.testing.messages_scripts import Rule

EXAMPLE_RULE = '{"match": {"system": "REGEX", "user": "REGEX", "turn": 0}, "answer": "text"}'
EXAMPLE_FAULTS = '[{"at": 2, "kind": "rate_limit", "seconds": 1}]'
EXAMPLE_SCHEDULE = '{"seed": 1, "rate": 0.3}'

ModelT = TypeVar("ModelT", bound=BaseModel)


class InputError(Exception):
    """One line: the file, the key, the value found, what is allowed."""


def read_rules(path: Path) -> tuple[Rule, ...]:
    """A list of rules from JSON; InputError."""
    given = _read(path)
    if not isinstance(given, list) or not given:
        raise InputError(f"{path}: must be a list of at least one rule such as {EXAMPLE_RULE}")
    return tuple(_record(Rule, one, f"{path}: {place}") for place, one in enumerate(given))


def read_faults(path: Path) -> Faults:
    """A list of faults, or a schedule, from JSON; InputError."""
    given = _read(path)
    if isinstance(given, dict):
        return _record(Schedule, given, str(path))
    if not isinstance(given, list):
        raise InputError(f"{path}: must be a list such as {EXAMPLE_FAULTS} or a table {EXAMPLE_SCHEDULE}")
    return tuple(_record(Fault, one, f"{path}: {place}") for place, one in enumerate(given))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def _record(model: type[ModelT], given: object, place: str) -> ModelT:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise InputError(f"{place}: {refusal(error, model)}") from None
