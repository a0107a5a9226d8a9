"""The random stream: ideas that are run whatever triage thinks of them, and what that makes known.

Triage runs what it expects to gain, so the outcomes it sees are no sample of what was proposed: a forecaster
looks too hopeful because the most hopeful forecasts were picked. Every round therefore runs a few ideas drawn
by chance from all that wait. An idea of the ranking is run with probability one, one that only chance could
have chosen with a known small one, and outcomes weighted by the inverse (Horvitz & Thompson 1952) speak for
all ideas that were proposed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

STREAM = 0.05
"""Probability with which a waiting idea is run regardless of its rank, in each round."""
MOST = 0.1
"""Share of a round's places that the stream may take on average: a queue of thousands must not fill it."""


def choose(ranked: Sequence[str], waiting: int, count: int, seed: int, round: int) -> dict[str, float]:
    """The ideas of a round, best first, each with the probability with which it is run.

    `ranked`: all ideas that could be run, best first; the first `waiting` of them were never run, and these
    may be drawn. `count`: places; drawn ideas take theirs from the lowest ranks, so there are more than
    `count` only where more are drawn than there are places. The draw follows from `seed`, `round` and name.

    The draws are independent. Given all draws but its own, an idea of place j (from 0) is run for sure if
    j + (drawn ideas below it) < count, and otherwise exactly if it is drawn: that is its probability.
    """
    chance = min(STREAM, MOST * count / max(waiting, 1))
    drawn = {name for name in ranked[:waiting] if _uniform(seed, round, name) < chance}
    chosen: dict[str, float] = {}
    below = len(drawn)
    for place, name in enumerate(ranked):
        below -= name in drawn
        if place + below < count:
            chosen[name] = 1.0
        elif name in drawn:
            chosen[name] = chance
    return chosen


def selection_weights(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The weight of each idea's outcome, from the rounds of a campaign as `choose` gave them.

    With y the outcome of an idea (zero outside the sum), round r by itself estimates the total of the queue
    without bias: t_r = (sum of y over ideas run before r) + (sum of y / p over those run in r). The mean of
    all R such estimates (Des Raj, JASA 51, 1956) gives an idea that was first run in round r the weight

        w = (1 / p + R - 1 - r) / R

    which on average is one for every idea, run or not. Weighing by 1 / p alone would count an idea that waits
    for long once for every round in which it could have been drawn.
    """
    weights: dict[str, float] = {}
    for number, chosen in enumerate(rounds):
        for name, probability in chosen.items():
            weights.setdefault(name, (1 / probability + len(rounds) - 1 - number) / len(rounds))
    return weights


def _uniform(seed: int, round: int, name: str) -> float:
    """A number in [0, 1) that follows from its arguments on every machine."""
    digest = hashlib.sha256(f"stream/{seed}/{round}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
