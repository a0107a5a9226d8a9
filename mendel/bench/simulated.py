"""A regime's campaigns as labs that sell simulated runs, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mendel.bench.lab import Lab, Shelf, Terms
from mendel.bench.score import Truth
from mendel.bench.world import World
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
        last = ideas[-1]
        factor = world.early_factor(share)
        # The noise of a stack is that of its last idea; copies add nothing.
        gain = sum(float(world.trained[i] * factor[i]) for i in {int(world.original[i]) for i in ideas})
        gain += float(column.gains[last] - world.trained[last] + (1 - share) * column.early[last])
        return float(column.control - gain + slower)


def make_lab(world: World) -> Lab:
    """The world's runs for sale."""
    regime = world.regime
    shelf = Shelf(world.idea_class.copy(), world.proposer.copy(), world.forecast.copy(), world.cost.copy())
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
