"""What a confirmation is going to cost and to find: chance of a claim and pairs it takes, by true gain.

Planning asks this of every idea, so it is simulated once per kind of confirmation and remembered.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mendel.verdicts.evalues import log_sign_flip, log_t_mixture
from mendel.verdicts.fdr import PLANNED_SHARE
from mendel.verdicts.judge import SIGN_FLIP_LEVEL
from mendel.verdicts.noise import Noise

Floats = NDArray[np.float64]

CLAIMED_SHARE = 0.5
"""Share of the ideas in confirmation that is expected to be claimed: it sets the bar that planning reckons
with."""
FIRST_LOOK = 3
"""Pairs before the first decision of a confirmation."""
CAMPAIGNS = 160
"""Simulated confirmations per gain: a chance is known to about 0.04."""


def expected_bar(alpha: float, share: float = CLAIMED_SHARE) -> float:
    """Log e-value that a claim is going to need where `share` of the entries are claimed: between what the
    last one alone needs (`log_threshold`) and what all of them need together."""
    return math.log((1 / PLANNED_SHARE - share / 2) / (alpha * share))


@lru_cache(maxsize=64)
def confirmation(
    gains: tuple[float, ...],
    bar: float,
    min_gain: float,
    max_pairs: int,
    patience: int = 40,
    noise_pairs: int = 0,
) -> tuple[Floats, Floats]:
    """(chance of a claim, pairs), each (gains,), of a confirmation that needs a log e-value of `bar`.

    `gains` and `min_gain` in paired sd; `noise_pairs` say how well the noise is known. By simulation with
    Gaussian noise: the judge's e-values; an idea is given up where one standard error above its mean would
    need more than `patience` further pairs.
    """
    rng = np.random.default_rng(0)
    noise, known = rng.standard_normal((CAMPAIGNS, max_pairs)), Noise(1.0, noise_pairs)
    power, pairs = np.zeros(len(gains)), np.zeros(len(gains))
    count = np.arange(1, max_pairs + 1)
    for place, gain in enumerate(gains):
        x = noise + (gain - min_gain)
        log_e = np.minimum(log_t_mixture(x, known), 8 + bar)
        claimed = (log_e >= bar) & (log_sign_flip(x) >= math.log(SIGN_FLIP_LEVEL)) & (count >= 5)
        hoped = np.maximum(np.cumsum(x, axis=1) / count + 1 / count**0.5, 0.05)
        futile = (2 * (bar - log_e) / hoped**2 > patience) & (count >= FIRST_LOOK)
        ends = claimed | futile
        ends[:, -1] = True
        stop = ends.argmax(axis=1)
        power[place] = claimed[np.arange(len(x)), stop].mean()
        pairs[place] = (stop + 1).mean()
    return power, pairs
