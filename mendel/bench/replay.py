"""Replay: real runs from a table in the place of the simulation, policies and truth on disjoint seeds.

The table is a Parquet file, one row a run, as `benchmarks/real_runs.py` writes it. It must have the columns
idea ("control" for the control), rung, seed and loss (bits per byte; empty or not finite where the run
failed), each idea trained on each seed. It may have class, slot (alternatives to the same thing share one; of
these the best stays), proposer, forecast_mean (log2 CM), flops, and curve (training loss in nats over equal
parts of the run), without which no run can be looked at early.

Each replayed campaign shuffles the seeds and sells two thirds of them to the policies. The truth is the mean
of the others; a claim is false by the probability that the effect is at most m, Student's t with each
idea's own noise moderated by that of all. The table has runs of single ideas only: where a policy stacks
them, gains are taken to add up.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from scipy.special import stdtr

from mendel.bench.lab import Lab, Shelf, Terms
from mendel.bench.score import Truth
from mendel.inputs import refusal
from mendel.records import Record
from mendel.verdicts.effects import pooled_sd
from mendel.verdicts.noise import Noise, learn_noise

Floats = NDArray[np.float64]
CONTROL = "control"
NEEDED = ("idea", "rung", "seed", "loss")
OPTIONAL = ("class", "slot", "proposer", "forecast_mean", "flops", "curve")
BOUND = 10.0
"""A failed treatment scores minus this many paired sd."""
MIN_GAIN = 0.0035
"""m in bits per byte, unless the command gives one: a log2 CM of 0.01 where doubling compute gains 0.35."""
BITS_PER_DOUBLING = 0.35
"""By which forecasts of log2 CM are put on the scale of losses; policies go by their order and spread."""
SOLD = 2 / 3
"""Share of the seeds that policies may buy; the truth is measured on the others."""


class TableError(ValueError):
    """A table that cannot be replayed: the message names the file and what is wrong."""


class Replay(Record):
    """How a table is replayed."""

    rung: int = Field(default=0, ge=0)
    budget: float | None = Field(default=None, gt=0, le=1e6)
    """Control runs; four for each idea where none is given."""
    min_gain: float = Field(default=MIN_GAIN, ge=0, allow_inf_nan=False)
    """m, bits per byte."""


def how_to_replay(given: Mapping[str, float]) -> Replay:
    """As the command line says. Raises TableError."""
    try:
        return Replay.model_validate(given)
    except ValidationError as error:
        raise TableError(f"command line: {refusal(error, Replay)}") from None


@dataclass(frozen=True)
class Table:
    """Runs of one rung. Arrays (ideas, seeds) are whole: every idea was trained on every seed."""

    name: str
    ideas: tuple[str, ...]
    idea_class: NDArray[np.intp]
    slot: NDArray[np.intp]
    """Of ideas without one, a number of its own."""
    proposer: NDArray[np.intp]
    forecast: Floats
    """Bits per byte, (ideas,)."""
    cost: Floats
    control: Floats
    """Loss of the control by seed, (seeds,)."""
    gains: Floats
    """Control loss minus loss, nan where the treatment failed."""
    early: Floats | None
    """Training loss in bits by part of the run, (ideas + 1, seeds, parts), the control last."""
    sd: float
    """Paired standard deviation, pooled over ideas."""
    noise: Noise


def read_table(path: Path, rung: int) -> Table:
    """The runs of a rung. Raises TableError."""
    rows, columns = _rows(path, rung)
    names = sorted({row["idea"] for row in rows} - {CONTROL})
    seeds = sorted({row["seed"] for row in rows})
    if len(seeds) < 8:
        raise TableError(f"{path}: rung {rung} has {len(seeds)} seeds; a replay needs 8 at least")
    if {row["idea"] for row in rows} == set(names):
        raise TableError(f"{path}: rung {rung} has no rows of the idea {CONTROL!r}")
    if len(rows) != (len(names) + 1) * len(seeds):
        raise TableError(
            f"{path}: rung {rung} has {len(rows)} rows; {len(names)} ideas and the control, each on "
            f"{len(seeds)} seeds, are {(len(names) + 1) * len(seeds)}"
        )
    place = {name: i for i, name in enumerate([*names, CONTROL])}
    when = {seed: i for i, seed in enumerate(seeds)}
    loss = np.full((len(place), len(seeds)), np.nan)
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["loss"] is not None:
            loss[place[row["idea"]], when[row["seed"]]] = row["loss"]
        first.setdefault(row["idea"], row)
    loss[~np.isfinite(loss)] = np.nan
    if np.isnan(loss[-1]).any():
        raise TableError(f"{path}: rung {rung}: a run of the control failed; its pairs cannot be told")
    gains = loss[-1] - loss[:-1]
    shelf = [first[name] for name in names]
    differing = [row[np.isfinite(row)] for row in gains if np.isfinite(row).sum() > 1 and np.nanstd(row) > 0]
    if not differing:
        raise TableError(f"{path}: rung {rung}: no idea differs from the control by more than a constant")
    flops = np.array([one.get("flops") or 1.0 for one in shelf]) / (first[CONTROL].get("flops") or 1.0)
    return Table(
        name=path.name,
        ideas=tuple(names),
        idea_class=_numbered([one.get("class") or "" for one in shelf]),
        slot=_numbered([one.get("slot") or f" {one['idea']}" for one in shelf]),
        proposer=_numbered([one.get("proposer") or "" for one in shelf]),
        forecast=np.array([(one.get("forecast_mean") or 0.0) * BITS_PER_DOUBLING for one in shelf]),
        cost=flops,
        control=loss[-1],
        gains=gains,
        early=_curves(rows, place, when) if "curve" in columns else None,
        sd=pooled_sd(differing),
        noise=learn_noise(differing),
    )


def _rows(path: Path, rung: int) -> tuple[list[dict[str, Any]], list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: no Parquet file that can be read: {error}") from None
    missing = [name for name in NEEDED if name not in found.column_names]
    if missing:
        raise TableError(f"{path}: columns {', '.join(missing)} are missing; needed are {', '.join(NEEDED)}")
    columns = [name for name in (*NEEDED, *OPTIONAL) if name in found.column_names]
    rows = found.select(columns).to_pylist()
    rungs = sorted({row["rung"] for row in rows})
    if rung not in rungs:
        raise TableError(f"{path}: rung {rung} is not in it; allowed are {', '.join(map(str, rungs))}")
    return [row for row in rows if row["rung"] == rung], columns


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    kinds = sorted(set(names))
    return np.array([kinds.index(name) for name in names], dtype=np.intp)


def _curves(rows: list[dict[str, Any]], place: dict[str, int], when: dict[int, int]) -> Floats:
    parts = max(len(row["curve"] or ()) for row in rows)
    out = np.full((len(place), len(when), parts), np.nan)
    for row in rows:
        curve = row["curve"] or ()
        out[place[row["idea"]], when[row["seed"]], : len(curve)] = curve
    return np.asarray(out / np.log(2))


@dataclass(frozen=True)
class RecordedTill:
    """Sells the recorded runs."""

    control: Floats
    found: Floats
    early: Floats | None
    slot: NDArray[np.intp]

    def slowdown(self, progress: float) -> float:
        return 1.0

    def gains(self, ideas: NDArray[np.intp], seed: int) -> Floats:
        return np.asarray(self.found[ideas, seed])

    def loss(self, ideas: tuple[int, ...], seed: int, share: float, progress: float) -> float:
        if share < 1 and self.early is None:
            raise ValueError("a table without curves has whole runs only")
        base, gains = self.control[seed], self.found
        if share < 1 and self.early is not None:
            part = max(0, round(share * self.early.shape[-1]) - 1)
            base, gains = self.early[-1, seed, part], self.early[-1, :, part] - self.early[:-1, :, part]
        if not ideas:
            return float(base)
        held = sorted({int(self.slot[idea]): idea for idea in ideas}.values())  # a later one takes its place
        if np.isnan(gains[held, seed]).any():
            return math.nan
        # The effects add up, with the noise of one of the runs, whichever.
        noisy = held[zlib.crc32(repr((held, seed)).encode()) % len(held)]
        below = sum(float(np.nanmean(gains[idea])) for idea in held if idea != noisy)
        return float(base - gains[noisy, seed] - below)


def draw_replay(table: Table, how: Replay, alpha: float, strong: float, seed: int) -> tuple[Lab, Truth]:
    """One campaign: a part of the seeds for sale, the truth from the others. `strong` in paired sd."""
    count = table.gains.shape[1]
    order = np.random.default_rng((seed, 2)).permutation(count)
    sold, kept = order[: round(SOLD * count)], order[round(SOLD * count) :]
    bound = BOUND * table.sd
    scored = np.maximum(np.where(np.isnan(table.gains), -bound, table.gains), -bound)[:, kept]
    gain, freedom = scored.mean(axis=1), len(kept) - 1 + table.noise.pairs
    squares = ((scored - gain[:, None]) ** 2).sum(axis=1) + table.noise.pairs * table.noise.sd**2
    error = (squares / freedom / len(kept)) ** 0.5
    null = np.asarray(stdtr(freedom, (how.min_gain - gain) / error))
    ideas = len(table.ideas)
    shelf = Shelf(table.idea_class, table.proposer, table.forecast, table.cost, table.slot)
    unpaired = float(table.control.std(ddof=1)) * 2**0.5
    terms = Terms(how.min_gain, bound, alpha, table.sd, unpaired, len(sold))
    budget = 4.0 * ideas if how.budget is None else how.budget
    early = None if table.early is None else table.early[:, sold]
    lab = Lab(
        shelf, terms, budget, RecordedTill(table.control[sold], table.gains[:, sold], early, table.slot)
    )
    winner = (gain >= strong * table.sd) & (null < 0.5)
    return lab, Truth(gain, null, np.arange(ideas), winner, how.min_gain, table.slot)
