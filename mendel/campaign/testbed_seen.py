"""What `mendel testbed check` has seen, and what it says: the records between its runs and its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from mendel.records import Fingerprint, RunResult, RunStatus, Testbed


class Grade(StrEnum):
    GOOD = "good"
    WEAK = "weak"
    """It works, and could be better."""
    ERROR = "error"
    """No campaign can use it."""


@dataclass(frozen=True)
class Point:
    """One thing that was checked."""

    name: str
    grade: Grade
    said: str
    change: str = ""
    """What to change; empty where it is good."""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def good(name: str, said: str, /, **numbers: Any) -> Point:
    return Point(name, Grade.GOOD, said, "", numbers)


def weak(name: str, said: str, change: str, /, **numbers: Any) -> Point:
    return Point(name, Grade.WEAK, said, change, numbers)


def wrong(name: str, said: str, change: str, /, **numbers: Any) -> Point:
    return Point(name, Grade.ERROR, said, change, numbers)


@dataclass
class Above:
    """What was seen of the next rung."""

    rung: int
    smoke: RunResult
    out: Path
    estimate: float = 0.0
    """Seconds that a run was expected to take."""
    result: RunResult | None = None
    """None where it was too dear, or the budget cannot be met."""
    refused: str = ""


@dataclass
class Seen:
    """All that the runs of a check have shown."""

    testbed: Testbed
    fingerprint: Fingerprint
    recipe: str
    rung: int
    sandbox: str
    warning: str
    workers: int
    seeds: tuple[int, ...]
    smoke: RunResult
    smoke_budget: float
    out: Path
    """What the smoke run wrote."""
    budgets: dict[float, float] = field(default_factory=dict)
    """Multiple of the rung's budget -> what a run is told."""
    refused: str = ""
    """Why the rung's budget cannot be met."""
    runs: dict[tuple[float, int], RunResult] = field(default_factory=dict)
    """(Multiple, seed) -> what came of it."""
    outs: dict[tuple[float, int], Path] = field(default_factory=dict)
    again: dict[int, RunResult] = field(default_factory=dict)
    """Seed -> the same run once more."""
    above: Above | None = None

    @property
    def unit(self) -> str:
        return self.testbed.unit

    @property
    def placeholder(self) -> str:
        """That tells a run its budget."""
        return f"{{{self.testbed.budget.told}}}"

    @property
    def finished(self) -> dict[int, RunResult]:
        """Seed -> its run with the rung's budget, of those that ended well."""
        own = {seed: self.runs[1.0, seed] for seed in self.seeds if (1.0, seed) in self.runs}
        return {seed: result for seed, result in own.items() if result.status is RunStatus.DONE}

    @property
    def losses(self) -> list[float]:
        """Of these runs."""
        return [loss_of(result) for result in self.finished.values()]

    @property
    def repeats(self) -> list[tuple[float, float]]:
        """The losses of one seed, trained twice."""
        both = [(self.finished[seed], again) for seed, again in self.again.items() if seed in self.finished]
        return [(loss_of(one), loss_of(two)) for one, two in both if two.status is RunStatus.DONE]

    @property
    def deterministic(self) -> bool | None:
        """Whether the same seed gives the same loss; None where that was not seen."""
        return all(one == two for one, two in self.repeats) if self.repeats else None

    @property
    def ignores_seed(self) -> bool:
        return len(self.losses) > 1 and len(set(self.losses)) == 1


def counted(number: int, what: str) -> str:
    """A number of things: `1 worker`, `2 workers`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def loss_of(result: RunResult) -> float:
    """Of a run that ended well."""
    assert result.bits_per_byte is not None
    return result.bits_per_byte
