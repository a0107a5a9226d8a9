"""Screening: what another pair of an idea is worth, and whether the idea is worth confirming.

It spends no error budget, because nothing is claimed from it, and its seeds are never seen again. All ideas
compete for the campaign's compute, those that still wait included: the price of a run is that at which the
budget is just spent (`mendel.plans.index`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mendel.plans.index import GRID, Evidence, allocate, beliefs, weigh
from mendel.records import Record

Floats = NDArray[np.float64]

ENTRY_FEE = 3.0
"""Pairs that an entry costs the others: it takes a share of the error budget, so each of them needs a little
more."""
WIDTH = np.gradient(GRID)
OVERHEAD = 0.08
"""Share of a control run that goes with each run of an idea."""


@dataclass(frozen=True)
class Subject:
    """An idea as screening sees it; gains in bits per byte."""

    name: str
    idea_class: str
    proposer: str
    forecast: float
    pairs: Mapping[int, float] = field(default_factory=dict)
    """Clipped differences by seed; empty where it was not trained on this control."""
    known: tuple[float, float] | None = None
    """A gain measured elsewhere (another trunk, another campaign) with its standard error."""
    open: bool = True
    """Whether anything can still be done with it; others only teach what ideas of their kind are worth."""


@dataclass(frozen=True)
class Outlook:
    """What a screen knows beside the ideas: the noise, and what a confirmation finds and takes."""

    sd: float
    """Usual paired sd, bits per byte."""
    alike: int
    """Pairs that it counts for in each idea's own."""
    min_gain: float
    """m, bits per byte."""
    power: Floats
    """Chance of a claim by gain, (GRID,)."""
    pairs: Floats
    """Pairs of a confirmation by gain, (GRID,)."""


class Prospect(Record):
    """What screening says of one idea; gains in bits per byte."""

    name: str
    mean: float
    """Posterior mean of the gain."""
    probability: float
    """P(gain > m)."""
    confirm: float
    """Expected gain of confirming it now, less the price of that: the index of what enters."""
    error: float = 0.0
    """Posterior standard deviation of it."""
    pairs: int
    """Further screening pairs that are worth more than that; 0: none are."""
    beside: bool = False
    """Whether it was measured beside other ideas already, and not on the control alone."""


def price_of_compute(subjects: Sequence[Subject], outlook: Outlook, left: float) -> float:
    """Gain (paired sd) that a run must bring so that the budget of `left` control runs is just spent."""
    posterior, cost = _posterior(subjects, outlook), np.ones(len(subjects))
    fee = outlook.pairs + ENTRY_FEE
    return allocate(posterior, outlook.power, fee, cost, max(left, 1.0), OVERHEAD).price


def prospects(subjects: Sequence[Subject], outlook: Outlook, price: float) -> dict[str, Prospect]:
    """What to do with each open subject at a price of compute, by name."""
    posterior, sd = _posterior(subjects, outlook), outlook.sd
    cost = np.full(len(subjects), 1 + OVERHEAD)
    options = weigh(posterior, outlook.power, outlook.pairs + ENTRY_FEE, cost, price)
    above, means = posterior @ (GRID * sd > outlook.min_gain), posterior @ GRID * sd
    # A point of the grid stands for all gains next to it.
    errors = np.sqrt(np.maximum(posterior @ ((GRID * sd) ** 2 + (WIDTH * sd) ** 2 / 12) - means**2, 0.0))
    for place, one in enumerate(subjects):
        # The grid ends where it makes no difference to what is bought; a gain beyond it is what was measured.
        measured = float(np.mean(list(one.pairs.values()))) if one.pairs else 0.0
        if not GRID[0] < measured / sd < GRID[-1]:
            means[place], errors[place] = measured, sd / len(one.pairs) ** 0.5
    return {
        one.name: Prospect(
            name=one.name,
            mean=float(means[place]),
            error=float(errors[place]),
            probability=float(above[place]),
            confirm=float(options.confirm[place]) * sd,
            pairs=int(options.pairs[place]) if options.screens[place] else 0,
        )
        for place, one in enumerate(subjects)
        if one.open
    }


def entering(said: Sequence[Prospect], most: int, everything: bool = False) -> list[str]:
    """Names of the ideas that go to confirmation, those that gain most first (ties by name): all that are
    worth it, or everything."""
    able = [one for one in said if everything or one.confirm > 0]
    ranked = sorted(able, key=lambda one: (-one.confirm, one.name))
    return [one.name for one in ranked[:most]]


def _posterior(subjects: Sequence[Subject], outlook: Outlook) -> Floats:
    sd = outlook.sd
    seeds = {seed: column for column, seed in enumerate(sorted({s for one in subjects for s in one.pairs}))}
    gains = np.full((len(subjects), max(len(seeds), 1)), np.nan)
    known = np.zeros((len(subjects), 2))
    for row, one in enumerate(subjects):
        for seed, value in one.pairs.items():
            gains[row, seeds[seed]] = value / sd
        if one.known is not None and not one.pairs:
            mean, error = one.known
            known[row] = mean / sd, (sd / max(error, 1e-3 * sd)) ** 2
    evidence = Evidence(
        gains=gains,
        idea_class=_numbered([one.idea_class for one in subjects]),
        proposer=_numbered([one.proposer for one in subjects]),
        forecast=np.array([one.forecast for one in subjects]) / sd,
        alike=outlook.alike,
        known=known,
    )
    posterior = beliefs(evidence)
    posterior[[not one.open for one in subjects]] = np.eye(len(GRID))[0]  # as if the worst of harms: no value
    return posterior


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    kinds = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([kinds[name] for name in names], dtype=np.intp)
