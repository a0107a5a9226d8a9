"""Loss curves of runs, from the files the runs wrote themselves: read with suspicion, only for drawing.

A run may write anything into its folder: a link to another file, a pipe, lines that are not JSON, numbers
that are not finite. None of it may stop a report, and none of it reaches a verdict.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mendel.records import Currency, Plan
from mendel.report.facts import Facts, Pair

Floats = NDArray[np.float64]

MOST_BYTES = 32_000_000
"""Of a file that a run wrote, no more than this is read."""
POINTS = 90
"""Points of a drawn line."""
COUNTS = {
    Currency.FLOPS: "tokens",
    Currency.TOKENS: "tokens",
    Currency.STEPS: "step",
    Currency.SECONDS: "seconds",
}
"""What a line of metrics.jsonl calls how far the run is."""
SMOOTHING = 0.05
"""Share of a run over which its training loss is averaged."""


@dataclass(frozen=True)
class LossCurve:
    """Training loss of one run, as it printed it, smoothed."""

    compute: Floats
    """As charged: FLOPs of the control, or what else its budget is counted in."""
    loss: Floats


@dataclass(frozen=True)
class Evidence:
    """What a paired comparison rests on, ready to be drawn."""

    control_name: str
    treatment_name: str
    control: tuple[LossCurve, ...]
    treatment: tuple[LossCurve, ...]
    compute: str
    """What its compute is counted in."""
    unit: str
    """What losses are counted in."""
    reported: bool
    """Whether the runs say them."""
    selected: tuple[float | None, ...]
    """Paired differences of the confirmation; None where the treatment failed."""
    fresh: tuple[float | None, ...]
    """The same of the pairs measured after the claim."""
    bound: float
    """A failed treatment counts as minus this."""
    mean: tuple[float, float, float] | None
    """Mean difference of the fresh pairs, with its interval (value, low, high)."""

    @property
    def curves(self) -> bool:
        """Whether there are any to draw."""
        return bool(self.control or self.treatment)


def evidence(facts: Facts, fresh: Plan, selected: Plan | None, names: tuple[str, str]) -> Evidence:
    """Curves of the `fresh` plan's pairs, and the scored differences of both plans."""
    pairs = [pair for pair in facts.pairs(fresh) if pair.control_loss is not None]
    per_token = facts.flops_per_token(fresh.control, fresh.rung)
    counted = per_token if facts.fingerprint.counts_flops else None
    cost, told = counted or 1.0, facts.fingerprint.currency.told
    verdicts = [v for v in facts.verdicts_of(fresh.id) if v.difference is not None]
    shown = verdicts[-1].difference if verdicts else None
    return Evidence(
        control_name=names[0],
        treatment_name=names[1],
        control=_curves(facts, [p.control for p in pairs], cost),
        treatment=_curves(facts, [p.treatment for p in pairs], cost * fresh.cost_ratio),
        compute="FLOPs" if counted else f"{told} of the control",
        unit=facts.fingerprint.unit,
        reported=facts.fingerprint.reported,
        selected=_differences(facts.pairs(selected)) if selected else (),
        fresh=_differences(pairs),
        bound=fresh.rule.bound,
        mean=(shown.value, shown.low, shown.high) if shown else None,
    )


def read_text(path: Path, last: int = MOST_BYTES) -> str | None:
    """The last bytes of a file that a run wrote; None if there is no plain file of this name."""
    try:
        # Not a link, and not a pipe that would wait for a writer forever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            return None
        stream.seek(max(0, about.st_size - last))
        return stream.read(last).decode("utf-8", errors="replace")


def read_losses(path: Path, count: str = "tokens") -> tuple[Floats, Floats]:
    """(tokens, training loss) of a metrics.jsonl, both (steps,), tokens ascending; empty if unreadable.
    `count` names what else its lines count the run in."""
    found: list[tuple[float, float]] = []
    for line in (read_text(path) or "").splitlines():
        try:
            row = json.loads(line)
            tokens, loss = float(row[count]), float(row["loss"])
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            continue
        if math.isfinite(tokens) and math.isfinite(loss) and abs(loss) < 1e6 and 0 < tokens < 1e18:
            found.append((tokens, loss))
    table = np.array(sorted(found)).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def smooth(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """A centred running mean over SMOOTHING of the points, thinned to POINTS, evenly in log x."""
    width = max(1, int(len(y) * SMOOTHING)) | 1
    half = width // 2
    sums = np.concatenate([[0.0], np.cumsum(y)])
    place = np.arange(len(y))
    # Narrower at the start, where the loss falls fast; one-sided at the end, where it hardly does.
    before = np.minimum(place, half)
    after = np.minimum(np.minimum(place, half), len(y) - 1 - place)
    mean = (sums[place + after + 1] - sums[place - before]) / (before + after + 1)
    if len(x) > POINTS:
        keep = np.unique(np.searchsorted(x, np.geomspace(x[0], x[-1], POINTS)))
        keep = keep[keep < len(x)]
        x, mean = x[keep], mean[keep]
    return x, mean


def _curves(facts: Facts, runs: Sequence[str], unit: float) -> tuple[LossCurve, ...]:
    curves = []
    for run in dict.fromkeys(runs):
        out = facts.store.run_folder(facts.campaign.id, run).out
        if out.is_symlink():
            continue
        tokens, loss = read_losses(out / "metrics.jsonl", COUNTS[facts.fingerprint.currency])
        if len(tokens) > 3:
            x, y = smooth(tokens * unit, loss)
            curves.append(LossCurve(x, y))
    return tuple(curves)


def _differences(pairs: Sequence[Pair]) -> tuple[float | None, ...]:
    measured = [pair for pair in pairs if pair.failed or pair.difference is not None]
    return tuple(pair.difference for pair in measured)
