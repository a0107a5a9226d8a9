"""What a campaign may spend: wall-clock time or a number of runs, and dollars beside either.

A budget in runs makes a campaign repeatable: no decision then depends on how fast the machine was.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field, model_validator

from mendel.records import Record
from mendel.store import RunEntry

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|runs?)")
MOST = 1e9
"""Of any unit."""


class BudgetError(ValueError):
    """A budget that cannot be read."""


class Budget(Record):
    """Either `seconds` of wall-clock time or `runs`."""

    seconds: float | None = Field(default=None, gt=0)
    runs: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_of_them(self) -> Budget:
        if (self.seconds is None) == (self.runs is None):
            raise ValueError("give either seconds or runs")
        return self

    def __str__(self) -> str:
        if self.runs is not None:
            return f"{self.runs} runs"
        seconds = self.seconds or 0.0
        return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def parse_budget(text: str) -> Budget:
    """Read `90s`, `20m`, `1.5h` or `300runs`. Raises BudgetError, naming what is allowed."""
    match = _FORM.fullmatch(text.strip().lower())
    if not match or not 0 < float(match[1]) <= MOST:
        raise BudgetError(
            f"budget {text!r} is not understood; allowed are times (90s, 20m, 1.5h) and runs (300runs)"
        )
    if match[2].startswith("run"):
        if not match[1].isdigit():
            raise BudgetError(f"budget {text!r}: the number of runs must be whole")
        return Budget(runs=int(match[1]))
    return Budget(seconds=float(match[1]) * _UNITS[match[2]])


class Meter:
    """Counts down a budget.

    Time spent is what earlier sessions of the campaign used plus this one's clock; `spent_runs` counts runs
    that were asked for. Prices of stages are in `units`: worker-seconds for a time budget, runs otherwise.
    """

    def __init__(self, budget: Budget, workers: int) -> None:
        self.budget = budget
        self.workers = workers
        self.runs = 0.0
        """Asked for; one that was stopped early counts for the share that it took."""
        self.run_seconds = 0.0
        """Mean worker-seconds of a full run of the lowest rung so far, 0 while unknown."""
        self._observed = 0
        self.elapsed = 0.0
        """Seconds of wall-clock time, earlier sessions included."""

    @property
    def counts_runs(self) -> bool:
        return self.budget.runs is not None

    def remaining(self) -> float:
        """What is left, in runs of the lowest rung."""
        if self.budget.runs is not None:
            return self.budget.runs - self.runs
        assert self.budget.seconds is not None
        left = (self.budget.seconds - self.elapsed) * self.workers
        return left / self.run_seconds if self.run_seconds else float("inf")

    def used(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.budget.runs is not None:
            return min(1.0, self.runs / self.budget.runs)
        assert self.budget.seconds is not None
        return min(1.0, self.elapsed / self.budget.seconds)

    def observe(self, seconds: float) -> None:
        """Count what a full run of the lowest rung took, in worker-seconds."""
        self._observed += 1
        self.run_seconds += (seconds - self.run_seconds) / self._observed


def busy_seconds(finished: Sequence[RunEntry]) -> float:
    """Wall-clock time in which runs were under way: what earlier sessions of a campaign took."""
    total, until = 0.0, None
    for entry in sorted(finished, key=lambda entry: entry.started or entry.created):
        if entry.started is None or entry.finished is None:
            continue
        begin = entry.started if until is None else max(entry.started, until)
        total += max(0.0, (entry.finished - begin).total_seconds())
        until = entry.finished if until is None else max(until, entry.finished)
    return total
