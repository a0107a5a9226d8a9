"""What a policy gets: ideas with their forecasts, a budget, and runs for sale. Never the truth.

A run is charged once, however often its result is asked for; a control run of a seed is bought once. A
purchase that the budget has no room for is refused whole, so no policy can overspend. The seller is reached
through one function and not through an attribute, so that a policy does not read the truth by accident.
Python keeps nothing from code that digs for it: read a policy before you believe its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class OutOfBudget(Exception):
    """The budget has no room for this purchase. Nothing was bought."""


class OutOfSeeds(Exception):
    """A recorded table has no further seed. Nothing was bought."""


@dataclass(frozen=True)
class Terms:
    """What everybody knows before a campaign. Losses and gains in bits per byte."""

    min_gain: float
    """m: a claim is false where the true gain is at most this."""
    bound: float
    """A treatment that diverges scores minus this."""
    alpha: float
    paired_sd: float
    """Standard deviation of a pair's difference in the bank of earlier pairs."""
    unpaired_sd: float
    seeds: int | None = None
    """Seeds there are, numbered from 0; None without limit."""


@dataclass(frozen=True)
class Shelf:
    """The ideas on offer, arrays by idea; an idea is called by its place."""

    idea_class: NDArray[np.intp]
    proposer: NDArray[np.intp]
    forecast: Floats
    """Expected gain according to the proposer, bits per byte."""
    cost: Floats
    """Compute of a run, in control runs."""
    slot: NDArray[np.intp]
    """Ideas that change the same thing share one: of these a recipe holds the last."""

    def __len__(self) -> int:
        return len(self.cost)


class Till(Protocol):
    """The seller's side: what runs cost now, and their results."""

    def slowdown(self, progress: float) -> float: ...

    def gains(self, ideas: NDArray[np.intp], seed: int) -> Floats: ...

    def loss(self, ideas: tuple[int, ...], seed: int, share: float, progress: float) -> float: ...


class Lab:
    """A campaign's runs for sale."""

    def __init__(self, shelf: Shelf, terms: Terms, budget: float, till: Till) -> None:
        self.ideas, self.terms, self.budget = shelf, terms, budget
        self._ledger = _Ledger(budget)
        self._ask = _counter(shelf, terms, till, self._ledger)

    @property
    def left(self) -> float:
        """Budget not yet spent, in control runs at the speed of the beginning."""
        return self._ledger.budget - self._ledger.spent

    @property
    def spent(self) -> float:
        return self._ledger.spent

    @property
    def adopted(self) -> list[tuple[float, int]]:
        """(compute spent, idea) of what was adopted so far."""
        return list(self._ledger.adopted)

    def price(self, ideas: Sequence[int] | NDArray[np.intp], seed: int) -> float:
        """What `pairs` would charge now."""
        return float(self._ask("price", ideas, seed, 1.0))

    def pairs(self, ideas: Sequence[int] | NDArray[np.intp], seed: int) -> Floats:
        """Control loss minus treatment loss of each idea at a seed; nan where the treatment diverged.

        Raises OutOfBudget, OutOfSeeds.
        """
        return np.asarray(self._ask("pairs", ideas, seed, 1.0))

    def pair(self, idea: int, seed: int) -> float:
        """`pairs` for one idea."""
        return float(self.pairs([idea], seed)[0])

    def run(self, ideas: Sequence[int], seed: int, share: float = 1.0) -> float:
        """Loss of a run with all of `ideas` adopted (none: the control), at a share of the horizon; nan if it
        diverged. A fixed time of training, so a slow machine makes it worse. Going on later costs what is
        new.

        Raises OutOfBudget, OutOfSeeds.
        """
        return float(self._ask("run", ideas, seed, share))

    def adopt(self, ideas: Iterable[int]) -> None:
        """Say that ideas are adopted from now on, for `compute_to_80`; what `run` returns is what counts."""
        self._ledger.adopted += [(self._ledger.spent, int(idea)) for idea in ideas]


class Policy(Protocol):
    """How a campaign is spent. `--policy package.module:Class` brings one."""

    def run(self, lab: Lab) -> Iterable[int]:
        """Spend the lab's budget; returns the ideas to adopt."""
        ...


class _Ledger:
    def __init__(self, budget: float) -> None:
        self.budget, self.spent = budget, 0.0
        self.adopted: list[tuple[float, int]] = []
        self.bought: dict[tuple[tuple[int, ...], int], float] = {}
        """Share of the horizon paid for, by recipe and seed; () is the control."""


def _counter(shelf: Shelf, terms: Terms, till: Till, ledger: _Ledger) -> Callable[..., float | Floats]:
    """The one way to the till: prices, refuses, charges, hands over."""

    def charge(
        recipes: list[tuple[int, ...]], costs: list[float], seed: int, share: float, buy: bool
    ) -> float:
        if terms.seeds is not None and not 0 <= seed < terms.seeds:
            raise OutOfSeeds(f"seed {seed}; there are {terms.seeds}")
        factor = till.slowdown(ledger.spent / ledger.budget)
        missing = {
            recipe: cost * (share - ledger.bought.get((recipe, seed), 0.0))
            for recipe, cost in zip(recipes, costs, strict=True)
            if ledger.bought.get((recipe, seed), 0.0) < share
        }
        total = factor * sum(missing.values())
        if buy:
            if total > ledger.budget - ledger.spent + 1e-9:
                raise OutOfBudget(f"costs {total:.2f}, {ledger.budget - ledger.spent:.2f} left")
            ledger.spent += total
            ledger.bought.update(dict.fromkeys([(recipe, seed) for recipe in missing], share))
        return total

    def ask(what: str, ideas: Sequence[int] | NDArray[np.intp], seed: int, share: float) -> float | Floats:
        places = np.asarray(ideas, dtype=np.intp).reshape(-1)
        if len(places) and not (places.min() >= 0 and places.max() < len(shelf)):
            raise IndexError(f"ideas are numbered from 0 to {len(shelf) - 1}, found {places.tolist()}")
        if not 0 < share <= 1:
            raise ValueError(f"share is {share}; it must be above 0 and at most 1")
        if what == "run":
            key = tuple(sorted(set(places.tolist())))
            cost = float(np.prod(shelf.cost[list(key)]))
            progress = ledger.spent / ledger.budget
            charge([key], [cost], seed, share, buy=True)
            return till.loss(tuple(places.tolist()), seed, share, progress)
        recipes: list[tuple[int, ...]] = [(), *((one,) for one in places.tolist())]
        costs = [1.0, *shelf.cost[places].tolist()]
        total = charge(recipes, costs, seed, 1.0, buy=what == "pairs")
        return till.gains(places, seed) if what == "pairs" else total

    return ask
