"""Many campaigns of a regime, the same ones for every policy."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mendel.bench.baselines import Asha, FixedPairs, Greedy, Halving, Random
from mendel.bench.lab import Lab, Policy, Shelf, Terms
from mendel.bench.mendel import Mendel, Oracle, confirmation
from mendel.bench.regime import Regime
from mendel.bench.score import Score, Truth, score
from mendel.bench.world import World, draw_world
from mendel.plans.index import GRID

Floats = NDArray[np.float64]
ALPHA = 0.05
STRONG_BAR = 5.0
"""Log e-value of the confirmation by which a winner counts as having 80 % power: 20 ideas, three claims."""

BUILT_IN: dict[str, Callable[[], Policy]] = {
    "greedy": Greedy,
    "n=1": lambda: FixedPairs(1),
    "n=3": lambda: FixedPairs(3),
    "random": Random,
    "halving": Halving,
    "asha": Asha,
    "mendel, no error control": lambda: Mendel(control=False),
    "mendel": Mendel,
}


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
        gain = sum(world.trained[i] * factor[i] for i in {int(world.original[i]) for i in ideas})
        gain += column.gains[last] - world.trained[last] + (1 - share) * column.early[last]
        return float(column.control - gain + slower)


def make_lab(world: World) -> Lab:
    regime = world.regime
    shelf = Shelf(world.idea_class.copy(), world.proposer, world.forecast, world.cost)
    sd = regime.paired_sd
    terms = Terms(world.min_gain, regime.bound * sd, ALPHA, sd, regime.unpaired * sd)
    return Lab(shelf, terms, regime.budget, SimulatedTill(world))


def truth_of(world: World) -> Truth:
    null = (world.truth <= world.min_gain * (1 + 1e-9)).astype(float)
    detectable = strong_gain(round(world.regime.min_gain, 2)) * world.regime.paired_sd
    return Truth(world.truth, null, world.original, world.is_winner & (world.truth >= detectable))


@lru_cache(maxsize=32)
def strong_gain(min_gain: float) -> float:
    """Smallest gain, in paired sd, that a plain confirmation of at most 12 pairs finds with 80 % power."""
    power, _ = confirmation(STRONG_BAR, min_gain, 12)
    return float(GRID[np.flatnonzero(power >= 0.8)[0]])


def run_campaign(regime: Regime, policies: dict[str, Callable[[], Policy]], seed: int) -> dict[str, Score]:
    """One campaign under every policy, the oracle last."""
    world = draw_world(regime, seed)
    truth = truth_of(world)
    found = {}
    for name, make in policies.items():
        found[name] = _play(make(), world, truth)
    found["oracle"] = _play(Oracle(world.truth.copy(), world.is_winner), world, truth)
    return found


def _play(policy: Policy, world: World, truth: Truth) -> Score:
    lab = make_lab(world)
    claims = list(policy.run(lab))
    return score(truth, claims, lab.adopted, lab.spent)
