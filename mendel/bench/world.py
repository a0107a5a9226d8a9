"""The truth of a simulated campaign, and the noise of its runs. Policies never see this module's objects.

A run's loss is seed effect - gains - own noise; the seed effect is common to the runs of a pair, and the
noise of a control run to all pairs that share it. Every run is a fixed function of campaign, idea and seed,
so that all policies of a campaign live in the same world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from mendel.bench.regime import Regime

Floats = NDArray[np.float64]

PARETO = 2.5
"""Tail exponent of the heavy-tailed effects."""
SLOWNESS = 3.0
"""In slow classes the effect at a share s of the horizon is s^3 of that at its end; in others it is s^0.5."""


@dataclass(frozen=True)
class Column:
    """All runs of one seed, in bits per byte."""

    control: float
    """Loss of the control, less that of a typical one."""
    common: float
    """What all pairs of the seed share, standard normal."""
    gains: Floats
    """Control loss minus treatment loss, by idea; nan where the treatment diverges."""
    early: Floats
    """Noise of a look before the horizon, by idea, mean zero, one paired sd."""


@dataclass
class World:
    """Ideas and their worth, arrays by idea. Losses in bits per byte."""

    regime: Regime
    seed: tuple[int, ...]
    truth: Floats
    """Expected gain of a pair, failures scored at minus the bound."""
    trained: Floats
    """Expected gain of a pair that trains."""
    original: NDArray[np.intp]
    """The idea of which this is a copy; its own number otherwise."""
    idea_class: NDArray[np.intp]
    proposer: NDArray[np.intp]
    forecast: Floats
    cost: Floats
    """Compute of a run, in control runs."""
    sd: Floats
    """Paired standard deviation, by idea."""
    phase: float
    _columns: dict[int, Column] = field(default_factory=dict)

    @property
    def min_gain(self) -> float:
        return self.regime.min_gain * self.regime.paired_sd

    @property
    def is_winner(self) -> NDArray[np.bool_]:
        """Ideas worth claiming, copies left out."""
        first = self.original == np.arange(len(self.original))
        return np.asarray(first & (self.truth > self.min_gain * (1 + 1e-9)))

    def column(self, seed: int) -> Column:
        """All runs of a seed, drawn when they are first asked for."""
        if seed not in self._columns:
            self._columns[seed] = _draw_column(self, seed)
        return self._columns[seed]

    def early_factor(self, share: float) -> Floats:
        """How much of each idea's effect shows at a share of the horizon."""
        slow = self.idea_class < round(self.regime.slow * self.regime.classes)
        return np.asarray(np.where(slow, share**SLOWNESS, share**0.5))

    def doublings(self, progress: float) -> float:
        """How many times slower the machine is, as log2, when `progress` of the budget is spent."""
        return self.regime.drift * float(np.sin(4 * np.pi * progress + self.phase))


def draw_world(regime: Regime, *seed: int) -> World:
    """A campaign of the regime. The same seed gives the same world, to the digit."""
    rng = np.random.default_rng((*seed, 0))
    count = regime.ideas
    idea_class = rng.integers(regime.classes, size=count)
    common = rng.standard_normal(regime.classes)[idea_class]
    share = regime.class_share
    rank = ndtr(share**0.5 * common + (1 - share) ** 0.5 * rng.standard_normal(count))
    planted = _effects(regime, rank, rng)
    proposer = rng.integers(len(regime.proposers), size=count)
    skill = np.array(regime.proposers)[proposer]
    forecast = _forecasts(regime, planted, skill, rng)
    cost = np.exp(regime.cost_sd * rng.standard_normal(count))
    original = np.arange(count)
    copies = rng.random(count) < regime.clones
    if copies.any() and not copies.all():
        original[copies] = rng.choice(np.flatnonzero(~copies), int(copies.sum()))
    sd, rate, bound = regime.paired_sd, regime.divergence, regime.bound
    planted = planted[original] * sd
    if regime.made_up_for:
        truth, trained = planted, (planted + rate * bound * sd) / (1 - rate)
    else:
        truth, trained = (1 - rate) * planted - rate * bound * sd, planted
    return World(
        regime=regime,
        seed=seed,
        truth=truth,
        trained=trained,
        original=original,
        idea_class=idea_class[original],
        proposer=proposer,
        forecast=forecast * sd,
        cost=cost[original],
        sd=_noise(regime, rng)[original],
        phase=float(rng.uniform(0, 2 * np.pi)) if regime.drift else 0.0,
    )


def _noise(regime: Regime, rng: np.random.Generator) -> Floats:
    """Paired sd by idea: log-normal, its root mean square that of the regime."""
    spread = regime.noise_spread
    return np.asarray(regime.paired_sd * np.exp(spread * rng.standard_normal(regime.ideas) - spread**2))


def _effects(regime: Regime, rank: Floats, rng: np.random.Generator) -> Floats:
    """Planted mean gains in paired sd; the lowest ranks do harm, the highest help."""
    count = len(rank)
    if regime.gain_shape == "exponential":
        size = rng.exponential(1.0, count)
    elif regime.gain_shape == "half-normal":
        size = np.abs(rng.standard_normal(count)) * (np.pi / 2) ** 0.5
    elif regime.gain_shape == "pareto":
        size = (PARETO - 1) * rng.pareto(PARETO, count)
    else:
        size = np.ones(count)
    at_edge = rng.random(len(rank)) < regime.edge
    null = np.where(at_edge, regime.min_gain, 0.0)
    harmful, useless = rank < regime.harms, rank < regime.harms + regime.nulls
    helpful = regime.min_gain + regime.gain * size
    return np.where(harmful, -regime.harm * size, np.where(useless, null, helpful))


def _forecasts(regime: Regime, effects: Floats, skill: Floats, rng: np.random.Generator) -> Floats:
    """Forecast gains in paired sd, correlated with the truth as each proposer's skill says."""
    spread = float(effects.std()) or 1.0
    standard = (effects - effects.mean()) / spread
    heard = skill * standard + (1 - skill**2) ** 0.5 * rng.standard_normal(len(effects))
    return np.asarray(regime.gain / 2 + 0.5 * heard * regime.gain)  # proposers are optimists


def _draw_column(world: World, seed: int) -> Column:
    regime, count = world.regime, len(world.truth)
    rng = np.random.default_rng((*world.seed, 1, seed))
    sd, shared = regime.paired_sd, regime.shared
    common, seed_effect = rng.standard_normal(2)
    own, early = rng.standard_normal((2, count))
    gains = world.trained + _pair_noise(world, world.sd, common, own[world.original])
    if regime.divergence:
        gains = np.where(rng.random(count)[world.original] < regime.divergence, np.nan, gains)
    between = max(0.0, regime.unpaired**2 / 2 - shared)
    control = sd * (shared**0.5 * common + between**0.5 * seed_effect)
    return Column(float(control), float(common), gains, sd * early[world.original])


def stack_gain(world: World, ideas: frozenset[int], seed: int, share: float) -> float:
    """Control loss minus the loss of a run with all of `ideas` (originals) at a share of the horizon; nan
    where one of them diverges.

    Effects add up but for the regime's tangle, which belongs to the ideas and not to the seed. The noise is
    the stack's own: runs that differ in ten things are no further apart by chance than runs that differ in
    one.
    """
    members = np.array(sorted(ideas))
    column = world.column(seed)
    if np.isnan(column.gains[members]).any():
        return math.nan
    factor = world.early_factor(share)[members]
    if len(members) == 1:
        own, early = column.gains[members[0]] - world.trained[members[0]], column.early[members[0]]
    else:
        rng = np.random.default_rng((*world.seed, 2, seed, *members.tolist()))
        draw, look = rng.standard_normal(2)
        sd = np.sqrt(np.mean(world.sd[members] ** 2))
        own = _pair_noise(world, sd, column.common, draw) + share * _tangled(world, members)
        early = world.regime.paired_sd * look
    return float((world.trained[members] * factor).sum() + own + (1 - share) * early)


def _tangled(world: World, members: NDArray[np.intp]) -> float:
    """What the effects of several ideas together are more or less than their sum."""
    if not world.regime.tangle:
        return 0.0
    draw = np.random.default_rng((*world.seed, 3, *members.tolist())).standard_normal()
    return float(world.regime.tangle * draw * (world.trained[members] ** 2).sum() ** 0.5)


def _pair_noise(world: World, sd: Floats, common: float, own: Floats) -> Floats:
    """Noise of control minus treatment: a Gaussian copula, any shape, correlated through the control."""
    shared = world.regime.shared
    return np.asarray(sd * shaped(world.regime.noise, shared**0.5 * common + (1 - shared) ** 0.5 * own))


def shaped(noise: str, latent: Floats) -> Floats:
    """Noise with mean zero and standard deviation one from a standard normal."""
    if noise == "gaussian":
        return latent
    u = np.clip(ndtr(latent), 1e-15, 1 - 1e-15)
    if noise == "t3":
        return np.asarray(stdtrit(3, u) / 3**0.5)
    if noise == "rare gains":
        return np.asarray(-np.log1p(-u) - 1)
    if noise == "rare losses":
        return np.asarray(np.log(u) + 1)
    if noise == "two-valued gains":
        return np.where(latent < ndtri(0.9), -1 / 3, 3.0)
    return np.where(latent > ndtri(0.1), 1 / 3, -3.0)
