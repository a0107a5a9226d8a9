"""How others spend a budget. None of them holds an error rate; each is given the forecasts to order ideas
by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds

BATCH = 64
"""Pairs bought in one go; only a matter of speed."""


def by_forecast(lab: Lab) -> NDArray[np.intp]:
    """Ideas in the order of forecast gain per compute, the best first."""
    return np.argsort(-lab.ideas.forecast / lab.ideas.cost, kind="stable")


def buy(lab: Lab, ideas: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """Pairs of as many of `ideas`, from the first on, as the budget has room for; failures score the
    bound."""
    found: list[float] = []
    try:
        for start in range(0, len(ideas), BATCH):
            batch = ideas[start : start + BATCH]
            try:
                found += lab.pairs(batch, seed).tolist()
            except OutOfBudget:
                for idea in batch:
                    found.append(lab.pair(int(idea), seed))
    except (OutOfBudget, OutOfSeeds):
        pass
    x = np.array(found)
    return np.where(np.isnan(x), -lab.terms.bound, x)


class Greedy:
    """Keep any single run that beats the best number so far; the next change is tried on top of it."""

    def run(self, lab: Lab) -> Iterable[int]:
        trunk: list[int] = []
        try:
            best = lab.run([], 0)
            for seed, idea in enumerate(self._queue(lab, trunk), start=1):
                loss = lab.run([*trunk, idea], seed if lab.terms.seeds is None else seed % lab.terms.seeds)
                if loss < best:  # a run that diverged is nan, and beats nothing
                    best = loss
                    trunk.append(idea)
                    lab.adopt([idea])
        except OutOfBudget:
            pass
        return trunk

    def _queue(self, lab: Lab, trunk: list[int]) -> Iterator[int]:
        """Every idea, again and again, less what was kept."""
        for _ in range(8):
            for idea in by_forecast(lab).tolist():
                if idea not in trunk:
                    yield idea


@dataclass
class FixedPairs:
    """The same number of pairs for every idea, then a test at 5 % of `gain at most m`.

    One pair is tested with the bank's standard deviation (z), more with their own (Student's t).
    """

    pairs: int

    def run(self, lab: Lab) -> Iterable[int]:
        order, claims = by_forecast(lab), []
        size = len(order) if self.pairs == 1 else 8
        for start in range(0, len(order), size):
            found = [buy(lab, order[start : start + size], seed) for seed in range(self.pairs)]
            whole = min(len(column) for column in found)
            x = np.array([column[:whole] for column in found]) - lab.terms.min_gain
            if whole:
                ids = order[start : start + whole][self._shown(x, lab.terms.paired_sd)].tolist()
                lab.adopt(ids)
                claims += ids
            if whole < len(order[start : start + size]):
                break
        return claims

    def _shown(self, x: NDArray[np.float64], bank_sd: float) -> NDArray[np.bool_]:
        mean = x.mean(axis=0)
        if self.pairs == 1:
            return np.asarray(mean / bank_sd > 1.645)
        error = np.maximum(x.std(axis=0, ddof=1), 1e-12) / self.pairs**0.5
        return np.asarray(stdtr(self.pairs - 1, mean / error) > 0.95)


class Random:
    """One pair each in random order; adopt what looks better than the smallest gain of interest."""

    def run(self, lab: Lab) -> Iterable[int]:
        order = np.random.default_rng(0).permutation(len(lab.ideas))
        found = buy(lab, order, 0)
        claims: list[int] = order[: len(found)][found > lab.terms.min_gain].tolist()
        lab.adopt(claims)
        return claims


@dataclass
class Halving:
    """Successive halving over seeds: one pair each, the best share go on to `eta` times as many, and so
    on."""

    eta: int = 3
    rungs: int = 3

    def run(self, lab: Lab) -> Iterable[int]:
        order = by_forecast(lab)
        # Every rung costs about the same: eta times the pairs for a share 1/eta of the ideas.
        rung_cost = 1 + (self.rungs - 1) * (1 - 1 / self.eta)
        seeds = self.eta ** (self.rungs - 1)
        count = int((lab.left - seeds) / (rung_cost * float(lab.ideas.cost.mean())))
        alive = order[: max(1, min(count, len(order)))]
        total, bought = np.zeros(len(alive)), 0
        spare = lab.left / max(1.0, rung_cost * float(lab.ideas.cost[alive].sum()) + seeds)
        widen = max(1, int(spare))  # with budget to spare, every rung takes more seeds
        for rung in range(self.rungs):
            until = widen * self.eta**rung
            while bought < until:
                found = buy(lab, alive, bought)
                if len(found) < len(alive):
                    break
                total, bought = total + found, bought + 1
            if rung + 1 < self.rungs:
                keep = np.argsort(-total, kind="stable")[: max(1, len(alive) // self.eta)]
                alive, total = alive[keep], total[keep]
        claims: list[int] = alive[total / max(bought, 1) > lab.terms.min_gain].tolist()
        lab.adopt(claims)
        return claims


@dataclass
class Asha:
    """Asynchronous successive halving (Li et al. 2020): a part of a run, a whole one, then more seeds.

    Whenever an idea is among the best 1/eta of its rung it goes up; otherwise a new idea begins.
    """

    eta: int = 3
    first: float = 0.34
    """Share of the horizon of the lowest rung; 1 for whole runs."""
    top: int = 3
    """Rungs of whole runs: 1, eta, eta^2, ... pairs."""

    def run(self, lab: Lab) -> Iterable[int]:
        waiting = by_forecast(lab).tolist()[::-1]
        seeds = [0, *(self.eta**level for level in range(self.top))]
        rungs: list[dict[int, float]] = [{} for _ in seeds]
        risen: list[set[int]] = [set() for _ in seeds]
        claims: list[int] = []
        try:
            while True:
                rung, idea = self._next(rungs, risen, waiting)
                if idea is None:
                    break
                rungs[rung][idea] = self._measure(lab, idea, seeds[rung])
                if rung == len(rungs) - 1 and rungs[rung][idea] > lab.terms.min_gain:
                    claims.append(idea)
                    lab.adopt([idea])
        except (OutOfBudget, OutOfSeeds):
            pass
        return claims

    def _next(
        self, rungs: list[dict[int, float]], risen: list[set[int]], waiting: list[int]
    ) -> tuple[int, int | None]:
        for rung in range(len(rungs) - 2, -1, -1):
            most = len(rungs[rung]) // self.eta if waiting else len(rungs[rung])
            if len(risen[rung]) >= most:
                continue
            for idea in sorted(rungs[rung], key=lambda one: -rungs[rung][one])[:most]:
                if idea not in risen[rung]:
                    risen[rung].add(idea)
                    return rung + 1, idea
        return 0, waiting.pop() if waiting else None

    def _measure(self, lab: Lab, idea: int, seeds: int) -> float:
        if seeds == 0:
            found = lab.run([], 0, self.first) - lab.run([idea], 0, self.first)
            return -lab.terms.bound if np.isnan(found) else found
        # Runs that were bought before are not charged again.
        values = np.array([lab.pair(idea, seed) for seed in range(seeds)])
        return float(np.where(np.isnan(values), -lab.terms.bound, values).mean())
