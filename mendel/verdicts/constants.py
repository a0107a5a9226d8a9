"""Whether the gain of a patch hangs on constants that choose its random streams."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from mendel.records import Audit

STAYS = 0.5
"""Share of the gain that must be left with other constants."""
ERROR = 0.01
"""Chance that a gain of which exactly STAYS is left is said to hang on its constants."""


def compare_constants(original: Sequence[float], mutated: Sequence[float], min_gain: float = 0.0) -> Audit:
    """Whether the gain goes when the constants change.

    `original`, `mutated`: gains over the same controls (bits per byte, positive is better) with the patch's
    constants and with others, seed by seed. A violation when the mean original gain is above `min_gain` and
    a one-sided t test of `mutated - STAYS * original`, seed by seed, says at level ERROR that less than STAYS
    of it is left. Ideas whose gain is the same with all constants are accused far less often than ERROR;
    those that gain nothing and were picked for a lucky draw may be, and should.
    """
    if len(original) != len(mutated):
        raise ValueError(f"{len(original)} original and {len(mutated)} mutated gains; they must be pairs")
    if len(original) < 3:
        return Audit(
            name="seed", passed=True, reason=f"not tested: {len(original)} pairs, at least 3 are needed"
        )
    gain, left = float(np.mean(original)), float(np.mean(mutated))
    contrast = np.asarray(mutated, float) - STAYS * np.asarray(original, float)
    mean, error = float(contrast.mean()), float(contrast.std(ddof=1)) / math.sqrt(len(contrast))
    if error > 0:
        chance = float(stdtr(len(contrast) - 1, mean / error))
    else:
        chance = 0.0 if mean < 0 else 1.0
    gone = gain > min_gain and chance < ERROR
    said = "is gone" if gone else "stays"
    return Audit(
        name="seed",
        passed=not gone,
        reason=f"the gain {said} with other constants in what starts random streams: {gain:+.4f} bits per "
        f"byte with the patch's, {left:+.4f} with others, {len(original)} seeds, p = {chance:.2g}",
        evidence={"original": gain, "mutated": left, "p": chance, "pairs": len(original)},
    )
