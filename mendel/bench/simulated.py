"""A regime's campaigns as labs that sell simulated runs, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mendel.bench.lab import Lab, Shelf, Terms
from mendel.bench.score import Truth
from mendel.bench.world import World, stack_gain
from mendel.plans.index import GAINS, GRID
from mendel.verdicts.power import confirmation

Floats = NDArray[np.float64]
ALPHA = 0.05
STRONG_BAR = 5.0
"""Log e-value of the confirmation by which a winner counts as having 80 % power: three claims of 20
planned."""
STRONG_PAIRS = 12
"""Most pairs of that confirmation."""


@dataclass(frozen=True)
class SimulatedTill:
    """Sells the runs of a world."""

    world: World

    def slowdown(self, progress: float) -> float:
        return float(2 ** self.world.doublings(progress))

    def gains(self, ideas: NDArray[np.intp], seed: int) -> Floats:
        return np.asarray(self.world.column(seed).gains[ideas])

    def loss(self, ideas: tuple[int, ...], seed: int, share: float, progress: float) -> float:
        world, column = self.world, self.world.column(seed)
        slower = world.regime.loss_per_doubling * world.doublings(progress)
        if not ideas:
            return column.control + slower
        held = frozenset(int(world.original[i]) for i in ideas)  # copies add nothing
        gain = stack_gain(world, held, seed, share)
        return float(column.control - gain + slower)


def make_lab(world: World) -> Lab:
    """The world's runs for sale."""
    regime = world.regime
    ideas, slot = world.idea_class.copy(), np.arange(len(world.truth))
    shelf = Shelf(ideas, world.proposer.copy(), world.forecast.copy(), world.cost.copy(), slot)
    sd = regime.paired_sd
    terms = Terms(world.min_gain, regime.bound * sd, ALPHA, sd, regime.unpaired * sd)
    return Lab(shelf, terms, regime.budget, SimulatedTill(world))


def truth_of(world: World) -> Truth:
    null = (world.truth <= world.min_gain * (1 + 1e-9)).astype(float)
    detectable = strong_gain(round(world.regime.min_gain, 2)) * world.regime.paired_sd
    strong = world.is_winner & (world.truth >= detectable)
    return Truth(world.truth, null, world.original, strong, world.min_gain)


@lru_cache(maxsize=32)
def strong_gain(min_gain: float) -> float:
    """Smallest gain, in paired sd, that a plain confirmation of at most 12 pairs finds with 80 % power."""
    power, _ = confirmation(GAINS, STRONG_BAR, min_gain, STRONG_PAIRS)
    return float(GRID[np.flatnonzero(power >= 0.8)[0]])
