"""Replay: real runs from a table in the place of the simulation, policies and truth on disjoint seeds.

The table is a Parquet file, one row a pair, with the columns idea, class, rung, seed, control_loss, loss
(bits per byte; empty, or not finite, where the treatment failed) and cost (of the treatment's run, in
control runs). Each replayed campaign shuffles the seeds and gives half to the policies. The truth is the
mean of the other half; a claim is false by the probability that the effect is at most m, Gaussian with the
noise pooled over all ideas. The table has runs of single ideas only: where a policy stacks them, gains are
taken to add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mendel.bench.lab import Lab, Shelf, Terms
from mendel.bench.score import Truth
from mendel.records import Record

Floats = NDArray[np.float64]
COLUMNS = ("idea", "class", "rung", "seed", "control_loss", "loss", "cost")
BOUND = 4.0
"""A failed treatment scores minus this many paired sd."""
MIN_GAIN = 0.25
"""m in paired sd, unless the command gives one."""


class TableError(ValueError):
    """A table that cannot be replayed: the message names the file and what is wrong."""


class Replay(Record):
    """How a table is replayed."""

    rung: int = 0
    budget: float | None = None
    """Control runs; four for each idea where none is given."""
    min_gain: float | None = None
    """m, bits per byte."""


@dataclass(frozen=True)
class Table:
    """Runs of one rung. Arrays (ideas, seeds) are whole: every idea was trained on every seed."""

    name: str
    ideas: tuple[str, ...]
    idea_class: NDArray[np.intp]
    control: Floats
    """Loss of the control by seed, (seeds,)."""
    gains: Floats
    """Control loss minus loss, nan where the treatment failed."""
    cost: Floats
    sd: float
    """Paired standard deviation, pooled over ideas."""


def read_table(path: Path, rung: int) -> Table:
    """The runs of a rung. Raises TableError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: no Parquet file that can be read: {error}") from None
    missing = [name for name in COLUMNS if name not in found.column_names]
    if missing:
        raise TableError(f"{path}: columns {', '.join(missing)} are missing; needed are {', '.join(COLUMNS)}")
    rows = [row for row in found.select(list(COLUMNS)).to_pylist() if row["rung"] == rung]
    names, seeds = sorted({row["idea"] for row in rows}), sorted({row["seed"] for row in rows})
    if not rows or len(seeds) < 8:
        raise TableError(f"{path}: rung {rung} has {len(seeds)} seeds; a replay needs 8 at least")
    if len(rows) != len(names) * len(seeds):
        raise TableError(
            f"{path}: rung {rung} has {len(rows)} rows; {len(names)} ideas x {len(seeds)} seeds are"
        )
    place, when = {name: i for i, name in enumerate(names)}, {seed: i for i, seed in enumerate(seeds)}
    gains, control = np.full((len(names), len(seeds)), np.nan), np.zeros(len(seeds))
    cost, kind = np.ones(len(names)), [""] * len(names)
    for row in rows:
        i, s = place[row["idea"]], when[row["seed"]]
        control[s], cost[i], kind[i] = row["control_loss"], row["cost"], row["class"]
        loss = np.nan if row["loss"] is None else float(row["loss"])
        gains[i, s] = row["control_loss"] - loss if np.isfinite(loss) else np.nan
    kinds = sorted(set(kind))
    freedom = np.isfinite(gains).sum(axis=1) - 1
    squares = np.array([np.nansum((row - np.nanmean(row)) ** 2) for row in gains[freedom > 0]])
    sd = float((squares.sum() / freedom[freedom > 0].sum()) ** 0.5)
    idea_class = np.array([kinds.index(one) for one in kind], dtype=np.intp)
    return Table(path.name, tuple(names), idea_class, control, gains, cost, sd)


@dataclass(frozen=True)
class RecordedTill:
    """Sells the recorded runs."""

    control: Floats
    found: Floats

    def slowdown(self, progress: float) -> float:
        return 1.0

    def gains(self, ideas: NDArray[np.intp], seed: int) -> Floats:
        return np.asarray(self.found[ideas, seed])

    def loss(self, ideas: tuple[int, ...], seed: int, share: float, progress: float) -> float:
        if share < 1:
            raise ValueError("a table has whole runs only")
        if not ideas:
            return float(self.control[seed])
        below = sum(float(np.nanmean(self.found[i])) for i in set(ideas[:-1]) - {ideas[-1]})
        return float(self.control[seed] - self.found[ideas[-1], seed] - below)


def draw_replay(table: Table, how: Replay, alpha: float, strong: float, seed: int) -> tuple[Lab, Truth]:
    """One campaign: half of the seeds for sale, the truth from the others. `strong` in paired sd."""
    count = table.gains.shape[1]
    order = np.random.default_rng((seed, 2)).permutation(count)
    sold, kept = order[: count // 2], order[count // 2 :]
    bound = BOUND * table.sd
    scored = np.maximum(np.where(np.isnan(table.gains), -bound, table.gains), -bound)
    m = MIN_GAIN * table.sd if how.min_gain is None else how.min_gain
    gain = scored[:, kept].mean(axis=1)
    null = ndtr((m - gain) / (table.sd / len(kept) ** 0.5))
    ideas = len(table.ideas)
    nothing = np.zeros(ideas)
    shelf = Shelf(table.idea_class, nothing.astype(np.intp), nothing, table.cost)
    terms = Terms(m, bound, alpha, table.sd, float(table.control.std(ddof=1)) * 2**0.5, len(sold))
    budget = 4.0 * ideas if how.budget is None else how.budget
    lab = Lab(shelf, terms, budget, RecordedTill(table.control[sold], table.gains[:, sold]))
    truth = Truth(gain, np.asarray(null), np.arange(ideas), (gain >= strong * table.sd) & (null < 0.5), m)
    return lab, truth


def bench_rows(pairs: Iterable[tuple[str, str, int, float, float]], rung: int = 0) -> list[dict[str, object]]:
    """Rows of a table from (idea, class, seed, control's loss, loss), all runs of one rung and equal cost."""
    return [
        {
            "idea": idea,
            "class": kind,
            "rung": rung,
            "seed": seed,
            "control_loss": control,
            "loss": loss,
            "cost": 1.0,
        }
        for idea, kind, seed, control, loss in pairs
    ]
