"""Does an adopted change still earn its place? Pure decisions from paired differences.

A gain here is what a change adds to the trunk: loss of the trunk without it minus loss of the trunk, seed by
seed, in bits per byte. With m the smallest gain worth having,

* a change *earns* its place when its interval lies above m;
* it is *evicted* when its interval lies below m, or when it has all the pairs that it may have and its mean
  is below m;
* in between it gets more pairs, and without room for them it stays.

Intervals are Student's t, corrected by Bonferroni for the changes and for the looks: with probability
1 - alpha all of them hold at once, however often was looked. So doubt is resolved by pairs while that is
affordable, and at the end by the best guess, which for two errors of one price has the least regret at worst
("empirical success": Manski 2004, Stoye 2009). A change is never evicted by one early mean.

Changes are left out of a trunk that has all the others, and two that do the same thing add nothing each. So
one change is evicted at a time, and the others are looked at again without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np

from mendel.records import Interval, Standing
from mendel.verdicts.effects import paired_interval

STEP = 3
"""Pairs added at each look after the first."""

Measure = Callable[[Sequence[str], int, int], Mapping[str, Sequence[float]] | None]
"""measure(names, first, last): gains of the pairs number `first` to `last` (excluded) of each; None where the
budget has no room for them."""


@dataclass(frozen=True)
class Test:
    """Fixed before the first pair."""

    __test__ = False  # keep pytest from collecting it

    least: float
    """m in bits per byte."""
    alpha: float
    first: int
    """Pairs of the first look."""
    most: int

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of pairs at which is looked."""
        return (*range(self.first, self.most, STEP), max(self.first, self.most))


@dataclass(frozen=True)
class Judged:
    """What the pairs of one change say."""

    standing: Standing
    gain: Interval
    """Bits per byte; simultaneous."""
    pairs: int
    shown: bool
    """By its interval; an eviction that is not is one by the mean of all the pairs that it may have."""


def judge(gains: Sequence[float], test: Test, changes: int) -> Judged:
    """One of so many changes at one look. ValueError below two pairs."""
    gain = paired_interval(gains, 1 - test.alpha / (changes * len(test.looks)))
    if gain.low > test.least:
        return Judged(Standing.EARNS, gain, len(gains), shown=True)
    shown, final = gain.high < test.least, len(gains) >= test.looks[-1]
    out = shown or (final and gain.value < test.least)
    return Judged(Standing.EVICTED if out else Standing.UNDECIDED, gain, len(gains), shown)


def settle(names: Sequence[str], test: Test, measure: Measure) -> dict[str, Judged]:
    """Look after look until one change is to be evicted, all have earned their place, or no pairs are left.

    At most one is evicted, the one with the smallest mean; what else would be stays undecided, because it
    may earn its place without that one.
    """
    gains: dict[str, list[float]] = {name: [] for name in names}
    judged: dict[str, Judged] = {}
    live, at = list(names), 0
    for until in test.looks:
        more = measure(live, at, until)
        if more is None:
            break
        for name in live:
            gains[name] += more[name]
            judged[name] = judge(gains[name], test, len(names))
        out = [name for name in live if judged[name].standing is Standing.EVICTED]
        if out:
            worst = min(out, key=lambda name: judged[name].gain.value)
            for name in set(out) - {worst}:
                judged[name] = replace(judged[name], standing=Standing.UNDECIDED)
            break
        live, at = [name for name in live if judged[name].standing is Standing.UNDECIDED], until
        if not live:
            break
    return judged


def against_sum(whole: Interval, rounds: Sequence[Sequence[Interval]]) -> tuple[Interval, Interval]:
    """Sum of effects (log2 CM), and by how much the whole is more than it; both with 95 % intervals.

    Effects of one round share their controls, so within a round half widths are added, the most they can come
    to; rounds are independent of each other and of the whole, and their half widths are added in quadrature
    (MOVER: Zou and Donner 2008, "Construction of confidence limits about effect measures").
    """
    value = sum(effect.value for effects in rounds for effect in effects)
    below = hypot(*(sum(effect.value - effect.low for effect in effects) for effects in rounds))
    above = hypot(*(sum(effect.high - effect.value for effect in effects) for effects in rounds))
    gap = whole.value - value
    return (
        Interval(value=value, low=value - below, high=value + above),
        Interval(
            value=gap,
            low=gap - hypot(whole.value - whole.low, above),
            high=gap + hypot(whole.high - whole.value, below),
        ),
    )


def eviction_rates(
    effects: Sequence[float], least: float, first: int, most: int, trials: int, seed: int = 0
) -> tuple[list[float], float]:
    """Share of simulated trunks in which each of its changes is the first to be evicted, and mean pairs of a
    change.

    `effects` and `least` in standard deviations of a paired difference. Noise is Gaussian; all changes of a
    trunk are compared with the same runs of it, so their differences have a correlation of 0.5.
    """
    rng = np.random.default_rng(seed)
    names = [str(place) for place in range(len(effects))]
    test = Test(least, 0.05, first, most)
    evicted, pairs = np.zeros(len(effects)), 0
    for _ in range(trials):
        noise = rng.standard_normal((test.looks[-1], len(effects) + 1)) * 0.5**0.5
        table = np.asarray(effects) + noise[:, 1:] - noise[:, :1]

        def measure(live: Sequence[str], at: int, until: int) -> dict[str, list[float]]:
            return {name: table[at:until, int(name)].tolist() for name in live}  # noqa: B023

        judged = settle(names, test, measure)
        evicted += [judged[name].standing is Standing.EVICTED for name in names]
        pairs += sum(one.pairs for one in judged.values())
    return [float(share) for share in evicted / trials], pairs / trials / len(effects)
