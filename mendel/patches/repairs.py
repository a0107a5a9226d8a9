"""Repairs by rule: what a debugger would do without thinking, tried before anyone is asked.

Each rule knows one kind of failure by what the lab said of it, and changes values of the configuration only.
A rule that has nothing to change returns None. What was repaired is another patch, which is tried again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mendel.records import Patch, RunStatus, Scalar

SMALLER = 0.5
"""Factor of a rate, or of a size, that was too large."""
SIZES = ("batch", "batch_size", "context", "block_size", "depth", "n_layer", "mlp_ratio", "head_dim")
"""Knobs that take memory or time, the first of them first. The batch is divided: the tokens stay the same."""
RATES = ("lr", "learning_rate", "muon_lr", "embedding_lr")
_DIVIDE = re.compile(
    r"(?P<key>[a-z_]+)\s*(?:=|of|\s)\s*(?P<value>\d+)\D{0,40}?"
    r"(?:divisible by|multiple of|divide[sd]? by)\D{0,20}?(?P<by>\d+)",
    re.IGNORECASE,
)


class Repaired(NamedTuple):
    """A patch changed by a rule, and what the rule did."""

    patch: Patch
    words: str


def repair_by_rule(
    patch: Patch, status: RunStatus, reason: str, knobs: Mapping[str, Any] | None
) -> Repaired | None:
    """The patch mended by the first rule that knows the failure; None where none does.

    `knobs`: values of the recipe that failed, where it told them.
    """
    for rule in (_divisibility, _memory_or_time, _not_finite):
        changed = rule(patch, status, reason, dict(knobs or {}))
        if changed is not None:
            key, value, words = changed
            overrides = {**patch.overrides, key: value}
            return Repaired(patch.model_copy(update={"overrides": overrides}), words)
    return None


Changed = tuple[str, Scalar, str]
Rule = Callable[[Patch, RunStatus, str, dict[str, Any]], Changed | None]


def _divisibility(patch: Patch, status: RunStatus, reason: str, knobs: dict[str, Any]) -> Changed | None:
    """A number that must be a multiple of another: the nearest one, not below it."""
    told = _DIVIDE.search(reason)
    if told is None or told["key"] not in patch.overrides:
        return None
    value, by = int(told["value"]), int(told["by"])
    if by < 1 or patch.overrides[told["key"]] != value or value % by == 0:
        return None
    nearest = max(by, round(value / by) * by)
    return told["key"], nearest, f"{told['key']} = {nearest} instead of {value}: a multiple of {by}"


def _memory_or_time(patch: Patch, status: RunStatus, reason: str, knobs: dict[str, Any]) -> Changed | None:
    """Out of memory or time: half of the first size that the patch itself sets."""
    if status not in (RunStatus.OUT_OF_MEMORY, RunStatus.TIMED_OUT):
        return None
    for key in SIZES:
        value = patch.overrides.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 1:
            return key, value // 2, f"{key} = {value // 2} instead of {value}: it {status}"
    return None


def _not_finite(patch: Patch, status: RunStatus, reason: str, knobs: dict[str, Any]) -> Changed | None:
    """A loss that is not finite: half of the learning rate that the patch sets, or else of the recipe's."""
    if status is not RunStatus.DIVERGED:
        return None
    for known in (patch.overrides, knobs):
        for key in RATES:
            value = known.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                return key, value * SMALLER, f"{key} = {value * SMALLER:g} instead of {value:g}: it {status}"
    return None
