"""Whether models know the text that they are scored on: two statistical tests over the pairs of an idea.

They are the last line: they see what a model learned, however the text reached it, but only where it gained
much by it. A small gain, or one on training text too, passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

from mendel.records import Audit, Scalar

ALPHA = 1e-3
"""Chance that one test stops an idea whose differences are noise."""
CANARY = 0.3
"""Bits per byte by which fixed random strings may suit an honest idea better than their decoys."""
TIMES = 1.5
"""An honest gain on scored text is at most this many times the gain on training text."""
MARGIN = 0.03
"""Bits per byte that it may have beyond that."""
LEAST = 3
"""Pairs."""

Losses = Mapping[str, float]
"""Bits per byte of a run by text: "scored", "train", "canary", "decoy"; what was not asked is missing."""


def memorised(pairs: Sequence[tuple[Losses, Losses]], epochs: float, skip: str = "") -> Audit:
    """Tests the (control, treatment) runs of an idea; `epochs` is how often its training text was read.

    canaries: the gain over the control on canaries beyond that on decoys is not above CANARY.
    gains: the gain on the scored text is not above TIMES that on training text, plus MARGIN. What helps to
    predict text helps on both alike (docs/data.md); who knows a text gains on
    that text. Left out where training text was read more than once, since then an idea that memorises less
    gains on new text alone, and where `skip` says why, such as for an idea that trains on other text.

    Each is a one-sided t test at ALPHA over the pairs that were asked, LEAST at least.
    """
    evidence: dict[str, Scalar] = {"pairs": len(pairs)}
    repeated = f"training text was read {epochs:.1f} times" if epochs > 1 else ""
    tests = (
        ("canaries", ("canary", "decoy"), CANARY, ""),
        ("gains", ("scored", "train"), MARGIN, skip or repeated),
    )
    said, passed = [], True
    for name, (known, other), margin, left_out in tests:
        gains = _gains(pairs, known, other)
        if left_out or len(gains) < LEAST:
            said.append(f"{name} not compared: {left_out or f'{len(gains)} pairs, {LEAST} are needed'}")
            continue
        times = 1.0 if name == "canaries" else TIMES * bool(gains[:, 1].mean() > 0)
        beyond = gains[:, 0] - times * gains[:, 1]
        error = float(beyond.std(ddof=1)) / math.sqrt(len(beyond))
        low = float(beyond.mean()) - float(stdtrit(len(beyond) - 1, 1 - ALPHA)) * error
        passed = passed and low <= margin
        evidence |= {f"{known}_gain": float(gains[:, 0].mean()), f"{other}_gain": float(gains[:, 1].mean())}
        evidence[f"{name}_low"] = low
        told = ", ".join(f"{key} {float(evidence[f'{key}_gain']):.3f}" for key in (known, other))
        said.append(f"bits per byte gained: {told}; {low:.3f} of it unexplained, {margin:g} is let through")
    return Audit(name="leak", passed=passed, reason="; ".join(said), evidence=evidence)


def _gains(pairs: Sequence[tuple[Losses, Losses]], *texts: str) -> np.ndarray:
    """Control - treatment on each text, (pairs that have them all, texts)."""
    asked = [pair for pair in pairs if all(text in run for run in pair for text in texts)]
    return np.array([[control[t] - run[t] for t in texts] for control, run in asked]).reshape(-1, len(texts))
