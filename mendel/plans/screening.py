"""Screening: a few pairs per idea, shrunk towards its forecast, decide what is worth confirming.

It spends no error budget, because nothing is claimed from it, and its seeds are never seen again.
"""

from __future__ import annotations

from scipy.special import ndtr

from mendel.records import Record


class Belief(Record):
    """Posterior of an idea's log2 compute multiplier after screening: normal."""

    name: str
    mean: float
    sd: float

    def probability_above(self, gain: float) -> float:
        """P(log2 CM > gain)."""
        if self.sd == 0:
            return float(self.mean > gain)
        return float(ndtr((self.mean - gain) / self.sd))

    def in_doubt(self, gain: float, enter: float) -> bool:
        """Whether more pairs could still change what happens to the idea: it would not enter now, and is
        not hopeless; or it would enter, but not surely."""
        probability = self.probability_above(gain)
        return 1 - enter < probability < 1 - (1 - enter) / 4


def entering(beliefs: list[Belief], gain: float, enter: float, most: int) -> list[str]:
    """Names of the ideas that go to confirmation, the most promising first (ties by name)."""
    able = [belief for belief in beliefs if belief.probability_above(gain) >= enter]
    ranked = sorted(able, key=lambda belief: (-belief.mean, belief.name))
    return [belief.name for belief in ranked[:most]]
