"""What a policy's claims were worth, by the truth that it could not see.

An adopted change is worth its gain less m, the smallest gain worth having: that is what a change costs to
carry along, and a change that does nothing is not free. The plain sum of gains is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What the ideas of a campaign are worth, arrays by idea; the judge of the judges."""

    gain: Floats
    """Expected gain; what adopting the idea adds."""
    null: Floats
    """Probability that the gain is at most the smallest of interest: 0 or 1 where it is known."""
    original: NDArray[np.intp]
    """The idea of which it is a copy; copies count once."""
    strong: NDArray[np.bool_]
    """Winners that a plain confirmation would find with 80 % power, copies left out."""
    min_gain: float = 0.0
    slot: NDArray[np.intp] | None = None
    """Ideas of one slot are alternatives to the same thing: of those adopted the best stays."""

    @property
    def attainable(self) -> float:
        """Sum of the gains of all winners above the smallest of interest, copies once."""
        return self._over_winners(self.gain - self.min_gain)

    @property
    def attainable_sum(self) -> float:
        """Sum of their whole gains."""
        return self._over_winners(self.gain)

    def _over_winners(self, worth: Floats) -> float:
        first = np.flatnonzero(self.original == np.arange(len(self.original)))
        expected = worth * (1 - self.null)
        if self.slot is None:
            return float(expected[first].sum())
        best: dict[int, float] = {}
        for idea in first.tolist():
            best[int(self.slot[idea])] = max(best.get(int(self.slot[idea]), 0.0), float(expected[idea]))
        return sum(best.values())

    def staying(self, ids: Sequence[int]) -> list[int]:
        """Of adopted ideas, those that the trunk ends up with."""
        if self.slot is None:
            return list(ids)
        best: dict[int, int] = {}
        for idea in ids:
            held = best.setdefault(int(self.slot[idea]), idea)
            if self.gain[idea] > self.gain[held]:
                best[int(self.slot[idea])] = idea
        return list(best.values())

    def lost(self, strong: NDArray[np.intp], ids: NDArray[np.intp]) -> NDArray[np.intp]:
        """Which of `strong` were not adopted, nor an alternative to them."""
        if self.slot is None:
            return strong[~np.isin(strong, ids)]
        return strong[~np.isin(self.slot[strong], self.slot[ids])]

    def worth(self, ids: Sequence[int]) -> tuple[float, float]:
        """What adopted ideas gain above the smallest gain of interest, and in all."""
        gain = self.gain[self.staying(ids)]
        return float((gain - self.min_gain).sum()), float(gain.sum())


@dataclass(frozen=True)
class Score:
    """One policy's campaign."""

    claims: int
    false: float
    """Claims that are false; a fraction where the truth is a probability."""
    false_weight: float
    weight: float
    """Sums of |true gain| over the false and over all claims."""
    gain: float
    attainable: float
    """Gains less the smallest worth having: a claim that does nothing counts below zero."""
    gain_sum: float
    attainable_sum: float
    """Plain sums of gains."""
    strong: int
    lost: int
    to_80: float
    """Compute until 80 % of the attainable gain was adopted; infinite where it never was."""
    spent: float


def score(truth: Truth, claims: Iterable[int], adopted: Sequence[tuple[float, int]], spent: float) -> Score:
    """Score the final `claims` of a campaign that `spent` so much compute.

    `adopted` are (compute, idea) in time; a claim that is not among them counts from the end.
    """
    ids = np.unique(truth.original[np.array(sorted(set(claims)), dtype=np.intp)])
    null, gain = truth.null[ids], truth.gain[ids]
    when = {int(i): spent for i in ids}
    for compute, idea in reversed(adopted):
        place = int(truth.original[idea])
        if place in when:
            when[place] = compute
    order = sorted(when, key=lambda place: when[place])
    attainable, to_80 = truth.attainable, float("inf")
    for count, place in enumerate(order, start=1):
        if attainable > 0 and truth.worth(order[:count])[0] >= 0.8 * attainable:
            to_80 = when[place]
            break
    above, whole = truth.worth(order)
    strong = np.flatnonzero(truth.strong)
    return Score(
        claims=len(ids),
        false=float(null.sum()),
        false_weight=float((null * np.abs(gain)).sum()),
        weight=float(np.abs(gain).sum()),
        gain=above,
        attainable=attainable,
        gain_sum=whole,
        attainable_sum=truth.attainable_sum,
        strong=len(strong),
        lost=len(truth.lost(strong, ids)),
        to_80=to_80,
        spent=spent,
    )


def summarise(scores: Sequence[Score]) -> dict[str, float | int | None]:
    """Over campaigns: mean proportions with their bounds, gains as a share of all that was attainable."""
    fdp = np.array([s.false / s.claims if s.claims else 0.0 for s in scores])
    weighted = np.array([s.false_weight / s.weight if s.weight > 0 else 0.0 for s in scores])
    strong = sum(s.strong for s in scores)
    to_80 = float(np.median([s.to_80 for s in scores]))
    recovered, error = _ratio([s.gain for s in scores], [s.attainable for s in scores])
    plain, _ = _ratio([s.gain_sum for s in scores], [s.attainable_sum for s in scores])
    return {
        "campaigns": len(scores),
        "claims": float(np.mean([s.claims for s in scores])),
        "false_discovery_proportion": float(fdp.mean()),
        "false_discovery_upper95": upper95(fdp),
        "false_discovery_by_gain": float(weighted.mean()),
        "false_discovery_by_gain_upper95": upper95(weighted),
        "gain_recovered": recovered,
        "gain_recovered_se": error,
        "plain_gain_recovered": plain,
        "winners_lost": sum(s.lost for s in scores) / strong if strong else None,
        "compute_to_80": to_80 if np.isfinite(to_80) else None,
        "spent": float(np.mean([s.spent for s in scores])),
    }


def _ratio(gains: Sequence[float], attainable: Sequence[float]) -> tuple[float, float]:
    """Ratio of the sums over campaigns, and its standard error (linearised); zero where there was nothing."""
    got, total = np.array(gains), np.array(attainable)
    if total.sum() <= 0:
        return 0.0, 0.0
    ratio = got.sum() / total.sum()
    return float(ratio), float(((got - ratio * total) ** 2).sum() ** 0.5 / total.sum())


def upper95(proportions: Floats) -> float:
    """One-sided 95 % upper bound of a mean proportion: normal, but no smaller than that of Clopper and
    Pearson for as many zeros: a few tiny proportions show no more than none does."""
    count = len(proportions)
    error = proportions.std(ddof=1 if count > 1 else 0) / count**0.5
    least = float(betaincinv(1, count, 0.95))
    return min(1.0, max(least, float(proportions.mean() + 1.645 * error)))
