"""isoFLOP minima as one JSON object with its words first."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from mendel.knowledge.fits import Floats
from mendel.knowledge.isoflop import LEAST_SIZES, Growth, budgets, growth, lowest

DRAWN = 40
"""Points of an interpolated curve."""


def isoflop_report(
    compute: Floats, size: Floats, loss: Floats, noise: float | None = None, seed: int = 0
) -> dict[str, Any]:
    """The growth of the best size with compute, its minima, and the runs behind each. ValueError as
    `growth`."""
    found = growth(compute, size, loss, noise, seed)
    return {**_told(found), "budgets": [_budget(compute[g], size[g], loss[g]) for g in budgets(compute)]}


def _budget(compute: Floats, size: Floats, loss: Floats) -> dict[str, Any]:
    """The runs of a compute, and the curve whose minimum is taken."""
    sizes, best = lowest(size, loss)
    curve: dict[str, list[float]] = {"n": [], "loss": []}
    if len(sizes) >= LEAST_SIZES:
        x = np.linspace(np.log(sizes[0]), np.log(sizes[-1]), DRAWN)
        y = Akima1DInterpolator(np.log(sizes), np.log(best))(x)
        curve = {"n": np.exp(x).tolist(), "loss": np.exp(y).tolist()}
    centre = float(np.exp(np.log(compute).mean()))
    return {"c": centre, "n": size.tolist(), "loss": loss.tolist(), "curve": curve}


def _told(found: Growth) -> dict[str, Any]:
    edge = [one.compute for one in found.minima if not one.inside]
    inside = len(found.minima) - len(edge)
    words = [
        f"The best model grows as compute to the power {found.exponent:.3f} "
        f"[{found.low:.3f}, {found.high:.3f}], "
        f"by the minima at {inside} computes."
    ]
    if edge:
        words.append(
            f"{len(edge)} of {len(found.minima)} computes have their lowest loss at the largest or smallest "
            "model tried: their minimum lies outside, and they are left out."
        )
    return {
        "form": "isoflop",
        "parameters": {
            "exponent": {
                "value": found.exponent,
                "se": found.se,
                "low": found.low,
                "high": found.high,
                "identified": found.high - found.low < 0.5,
            },
            "coefficient": {"value": found.coefficient},
        },
        "noise": found.noise,
        "minima": [
            {"c": m.compute, "n": m.size, "loss": m.loss, "sizes": m.sizes, "inside": m.inside}
            for m in found.minima
        ],
        "words": words,
    }
