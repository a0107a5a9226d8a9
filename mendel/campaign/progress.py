"""What a campaign is doing right now, for whoever watches: plain numbers, no decisions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mendel.records import Interval, RunResult


@dataclass
class Running:
    """A run under way."""

    stage: str
    idea: str | None
    rung: int
    started: float
    """time.monotonic()."""


@dataclass
class Progress:
    """Written by the lab, read by the live view and the final summary."""

    listener: Callable[[str], None] = lambda line: None
    """Called with each new line of the log."""
    stage: str = "starting"
    running: dict[str, Running] = field(default_factory=dict)
    batch: int = 0
    """Runs of the batch under way."""
    batch_done: int = 0
    used: float = 0.0
    """Share of the budget."""
    runs: int = 0
    worker_seconds: float = 0.0
    """Training and scoring, earlier sessions included."""
    smoke_seconds: float = 0.0
    tokens: int = 0
    trunk: tuple[str, ...] = ()
    trunk_cm: Interval | None = None
    """log2."""

    def say(self, line: str) -> None:
        self.listener(line)

    def begin(self, runs: int) -> None:
        """A batch of runs begins."""
        self.batch, self.batch_done = runs, 0

    def start(self, run: str, stage: str, idea: str | None, rung: int) -> None:
        self.stage = stage
        self.running[run] = Running(stage, idea, rung, time.monotonic())

    def end(self, run: str) -> None:
        self.running.pop(run, None)
        self.batch_done += 1

    def account(self, result: RunResult) -> None:
        self.runs += 1
        self.worker_seconds += result.train_seconds + result.score_seconds
        self.tokens += result.tokens
