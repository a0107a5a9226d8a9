"""Errors of downstream tasks from the loss: error = epsilon - k exp(-gamma loss) (Gadre et al. 2024).

The loss of a model that is to be predicted is itself predicted, from its size and tokens by a law of loss; so
an error of the chain is what somebody would have made who had not trained it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from mendel.knowledge.fits import Floats

NAMES = ("epsilon", "k", "gamma")
STEEPNESS = (0.3, 1.0, 2.0, 4.0)
DRAWS = 500
CURVE = 60
"""Points of a curve."""
LEAST_RUNS = 10
"""Runs from which on resamples say something of three parameters."""


def error_of(parameters: Floats, loss: Floats) -> Floats:
    """Error at a loss; `parameters` are epsilon, k and gamma."""
    epsilon, k, gamma = parameters
    return np.asarray(epsilon - k * np.exp(-gamma * loss))


def fit_error(loss: Floats, error: Floats) -> Floats:
    """Least squares of the error, from several starts. ValueError for fewer than four runs, or no numbers."""
    if len(loss) < len(NAMES) + 1:
        raise ValueError(f"errors: {len(NAMES) + 1} runs at least, found {len(loss)}")
    if not (np.isfinite(loss) & np.isfinite(error)).all():
        raise ValueError("errors: every run that is fitted needs a loss and an error")
    span = float(np.ptp(error)) or 1e-3
    found = []
    for gamma in STEEPNESS:
        start = [float(error.max()) + 0.1 * span, np.log(span) + gamma * float(loss.min()), gamma]
        found.append(
            least_squares(lambda p: p[0] - np.exp(np.clip(p[1] - p[2] * loss, -50, 50)) - error, start)
        )
    epsilon, log_k, gamma = min(found, key=lambda one: float(one.cost)).x
    return np.array([epsilon, np.exp(np.clip(log_k, -100, 100)), gamma])


def error_parameters(loss: Floats, error: Floats, seed: int) -> tuple[Floats, dict[str, Any]]:
    """The fit, and its parameters with intervals where there are runs enough."""
    best = fit_error(loss, error)
    found: dict[str, Any] = {name: {"value": float(v)} for name, v in zip(NAMES, best, strict=True)}
    if len(loss) < LEAST_RUNS:
        why = f"{len(loss)} runs: too few for an interval"
        return best, {name: {**one, "identified": False, "why": why} for name, one in found.items()}
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [fit_error(loss[i], error[i]) for i in (rng.integers(0, len(loss), len(loss)) for _ in range(DRAWS))]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for place, one in enumerate(found.values()):
        one |= {
            "se": float(drawn[:, place].std(ddof=1)),
            "low": float(min(low[place], best[place])),
            "high": float(max(high[place], best[place])),
            "identified": bool(low[place] > 0 and high[place] < 10 * low[place]),
        }
    return best, found


def chained(best: Floats, loss: Floats, error: Floats, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Errors at predicted losses beside those that were measured; differences are relative."""
    predicted = error_of(best, loss)
    off = predicted / error - 1
    return {
        "runs": len(error),
        "mean_absolute_error": float(np.abs(off).mean()),
        "mean_error": float(off.mean()),
        "rows": rows.tolist(),
        "predicted": predicted.tolist(),
        "measured": error.tolist(),
    }


def drawn_errors(best: Floats, loss: Floats, error: Floats, used: NDArray[np.bool_]) -> dict[str, Any]:
    """What there is to draw: errors at measured losses, which of them were fitted, and the curve."""
    x = np.linspace(loss.min(), loss.max(), CURVE)
    return {
        "loss": loss.tolist(),
        "error": error.tolist(),
        "used": ["fitted" if one else "predicted" for one in used],
        "curve": {"loss": x.tolist(), "error": error_of(best, x).tolist()},
    }
