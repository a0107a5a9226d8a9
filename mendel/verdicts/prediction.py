"""What the cheap rungs say about an expensive one: the posterior of L(C) = E + A C^-alpha, and predictions.

The value of a prediction is that of the least-squares curve. Three rungs fix its three parameters exactly, so
it says nothing of what it does not know: for the interval every (E, alpha) of a grid is weighed by how well
it fits and by a weak prior, and a prediction's interval is that of the mixture of what all of them predict.
`benchmarks/prediction.py` measures how often the intervals hold, and how far off the values are beside those
of the mixture's median and of a power law that has no floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from mendel.records import Interval
from mendel.verdicts.curve import ALPHAS, ScalingCurve, check_runs, fit_curve

Floats = NDArray[np.float64]

ALPHA, ALPHA_SPREAD = 0.17, 0.6
"""Prior of the exponent: log-normal, median and sd of its logarithm. With a floor, loss falls with compute to
the power -0.154 (Hoffmann et al. 2022, approach 3: 0.34 * 0.28 / (0.34 + 0.28)) or -0.178 (the same data
fitted again, Besiroglu et al. 2024); without one to the power -0.050 (Kaplan et al. 2020), the prior's lower
2 %."""
WOBBLE = 0.004
"""Relative sd by which the true mean of a rung lies off the curve: shapes and steps are whole numbers,
learning rates are never tuned to the last percent, and a power law is only nearly true."""
FLOORS: Floats = np.linspace(0.0, 0.98, 50)
"""Floors that are tried, as shares of the lowest mean loss; each is as likely as any other beforehand."""
PSEUDO = 2.0
"""Degrees of freedom that a rung's seed noise borrows from the other rungs: few seeds tell little of it."""


@dataclass(frozen=True)
class LadderFit:
    """L(C) = floor + scale (C / reference)^-alpha in bits per byte, with all that fits the runs."""

    floor: Interval
    scale: Interval
    alpha: Interval
    """The values are of the least-squares curve, each interval of all that fit, the others averaged over."""
    curve: ScalingCurve | None
    """The least-squares curve; None from two rungs, which leave a floor open: medians stand in its place."""
    reference: float
    """Geometric mean of the measured budgets, FLOPs."""
    noise: float
    """Sd of a single run over its mean, at the largest measured budget."""
    floors_E: Floats
    scales_AE: Floats
    """For each alpha (ALPHAS) and floor the best scale, its sd, and the weight of the three together."""
    scale_sd_A: Floats
    weights_AE: Floats

    def predict(self, flops: float, runs: int | None = None, level: float = 0.95) -> Interval:
        """The mean loss of `runs` runs at `flops`, noise and wobble included; without `runs`, the curve's."""
        basis_A = (flops / self.reference) ** -ALPHAS
        mean_AE = self.floors_E + self.scales_AE * basis_A[:, None]
        sd_AE = np.broadcast_to((self.scale_sd_A * basis_A)[:, None], mean_AE.shape)
        if runs is not None:
            sd_AE = np.hypot(sd_AE, mean_AE * np.hypot(WOBBLE, self.noise / runs**0.5))
        value = float(self.curve.loss(flops)) if self.curve else None
        return _around(value, mixture(mean_AE, sd_AE, self.weights_AE, level))


def fit_ladder(flops: ArrayLike, bits_per_byte: ArrayLike) -> LadderFit:
    """The posterior from single runs: `flops` and `bits_per_byte`, both (runs,), several seeds per budget.

    Raises ValueError for fewer than two budgets, for values that are not finite and positive, where no budget
    has a second seed to tell the noise from, and where loss does not fall with compute.
    """
    c, loss, budgets = check_runs(flops, bits_per_byte)
    groups = [loss[c == budget] for budget in budgets]
    mean_R = np.array([group.mean() for group in groups])
    noise_R = _relative_noise(groups)
    if float(np.cov(np.log(budgets), mean_R)[0, 1]) >= 0:
        raise ValueError("the loss does not fall with compute: no larger budget can be predicted")
    counts_R = np.array([len(group) for group in groups])
    sd_R = mean_R * np.hypot(WOBBLE, noise_R / counts_R**0.5)
    reference = float(np.exp(np.log(budgets).mean()))
    floors_E = FLOORS * mean_R.min()
    scales_AE, scale_sd_A, weights_AE = _weigh(budgets / reference, mean_R, sd_R, floors_E)
    every = np.ones_like(weights_AE)
    curve = fit_curve(c, loss) if len(budgets) > 2 else None
    floor = mixture(floors_E * every, np.zeros_like(every), weights_AE)
    scale = mixture(scales_AE, scale_sd_A[:, None] * every, weights_AE)
    alpha = mixture(ALPHAS[:, None] * every, np.zeros_like(every), weights_AE)
    return LadderFit(
        floor=_around(curve.floor if curve else None, floor),
        scale=_around(curve.scale if curve else None, scale),
        alpha=_around(curve.alpha if curve else None, alpha),
        curve=curve,
        reference=reference,
        noise=float(noise_R[-1]),
        floors_E=floors_E,
        scales_AE=scales_AE,
        scale_sd_A=scale_sd_A,
        weights_AE=weights_AE,
    )


def _weigh(
    relative_R: Floats, mean_R: Floats, sd_R: Floats, floors_E: Floats
) -> tuple[Floats, Floats, Floats]:
    """Scale (alphas, floors), its sd (alphas,) and the posterior weight (alphas, floors).

    The scale has a flat prior and is integrated out in closed form.
    """
    weight_R = 1 / sd_R**2
    basis_AR = np.exp(-ALPHAS[:, None] * np.log(relative_R))
    above_ER = mean_R - floors_E[:, None]
    square_A = basis_AR**2 @ weight_R
    cross_AE = (basis_AR * weight_R) @ above_ER.T
    misfit_AE = above_ER**2 @ weight_R - cross_AE**2 / square_A[:, None]
    prior_A = -0.5 * (np.log(ALPHAS / ALPHA) / ALPHA_SPREAD) ** 2 - 0.5 * np.log(square_A)
    log_AE = prior_A[:, None] - 0.5 * misfit_AE
    weights_AE = np.exp(log_AE - log_AE.max())
    return cross_AE / square_A[:, None], square_A**-0.5, weights_AE / weights_AE.sum()


def _relative_noise(groups: Sequence[Floats]) -> Floats:
    """Sd of single runs over their mean, by budget: its own, drawn towards the geometric mean of all budgets,
    because noise falls along a ladder by factors and few seeds tell little of it."""
    freedom = np.array([len(group) - 1 for group in groups])
    if not freedom.any():
        raise ValueError("no budget has a second seed: nothing tells the noise of a run")
    variance = np.array([(group.std() / group.mean()) ** 2 * len(group) for group in groups])
    variance = np.maximum(variance / np.maximum(freedom, 1), 1e-12)
    shared = float(np.exp(np.log(variance[freedom > 0]).mean()))
    return np.asarray(np.sqrt((freedom * variance + PSEUDO * shared) / (freedom + PSEUDO)))


def _around(value: float | None, interval: Interval) -> Interval:
    """`interval` with `value` in it, stretched where it does not reach."""
    if value is None:
        return interval
    low, high = min(interval.low, value), max(interval.high, value)
    return interval.model_copy(update={"value": value, "low": low, "high": high})


def mixture(mean: Floats, sd: Floats, weights: Floats, level: float = 0.95) -> Interval:
    """Median and central interval of a mixture of normals; those without width are points of a grid."""
    keep = weights > 1e-9
    mean, sd, weights = mean[keep], sd[keep], weights[keep] / weights[keep].sum()
    if not sd.any():
        order = np.argsort(mean)
        # Half of a point's weight lies below it: the step function becomes a line through the middles.
        middle = np.cumsum(weights[order]) - weights[order] / 2
        quantiles = np.interp([0.5, (1 - level) / 2, (1 + level) / 2], middle, mean[order])
    else:
        x = np.linspace((mean - 5 * sd).min(), (mean + 5 * sd).max(), 1001)
        below = np.array([weights @ ndtr((at - mean) / sd) for at in x])
        quantiles = np.interp([0.5, (1 - level) / 2, (1 + level) / 2], below, x)
    value, low, high = map(float, quantiles)
    return Interval(value=value, low=low, high=high, level=level)
