"""E-values of paired differences: evidence that may be looked at after every pair.

An e-value is the money that a bettor starting with 1 holds after betting, at fair odds, that a null
hypothesis is wrong. Whatever the stopping rule, 20 or more happens at most once in 20 nulls. Both bets here
say "the mean is above zero" and both depend on the differences only up to a common scale, so that no noise
level has to be known. Shift the differences by the smallest gain of interest before you call them. A third,
`log_known_sd`, takes the noise level from elsewhere.

`log_t_mixture` trusts the noise to be Gaussian and is the sharper one. `log_sign_flip` trusts it only to be
symmetric, however heavy its tails. Neither survives strong skewness; `docs/decisions.md` prints how badly.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import gammaln, log_ndtr, logsumexp

Floats = NDArray[np.float64]

_EFFECTS: Floats = np.geomspace(0.15, 10.0, 33)
# Half-normal prior with standard deviation 2 on the effect size, as the weights of log-spaced atoms.
_PRIOR: Floats = -((_EFFECTS / 2.0) ** 2) / 2 + np.log(_EFFECTS)
_LOG_WEIGHTS: Floats = _PRIOR - logsumexp(_PRIOR)

_SHARPNESS: Floats = np.array([0.7, 1.4, 2.8, 5.6, 11.2])
_SHARPNESS_WEIGHTS: Floats = np.array([0.15, 0.25, 0.2, 0.2, 0.2])


def log_t_mixture(x: ArrayLike) -> Floats:
    """Log e-value after each of the n differences `x`, shape (..., n), against `mean <= 0`.

    The likelihood ratio of effect size delta = mean / sd against zero, with the right-Haar prior 1/sigma on
    the noise, depends on the data through r = sum(x) / sqrt(sum(x^2)) alone:

        E_delta = exp(-n delta^2 / 2) * Int u^(n-1) exp(-u^2/2 + delta r u) du / Int u^(n-1) exp(-u^2/2) du

    over u > 0; the e-value is its average over a half-normal delta > 0 with sd 2 (33 atoms). It grows with a
    common shift of `x`, so the value at mean = 0 bounds all means below. The first difference can only show
    its sign, and is worth at most a factor of 2; differences that are all zero are worth nothing (e = 1).

    Source: Perez-Ortiz, Lardy, de Heide and Grunwald, "E-statistics, group invariance and anytime-valid
    testing" (2024); Wang and Ramdas, "Anytime-valid t-tests and confidence sequences" (2025).
    """
    x = _rescaled(x)
    total, squares = np.cumsum(x, axis=-1), np.cumsum(x * x, axis=-1)
    out = np.zeros(x.shape)
    for n in range(1, x.shape[-1] + 1):
        out[..., n - 1] = _log_t_at(n, total[..., n - 1], squares[..., n - 1])
    return out


def log_t_final(x: ArrayLike) -> float:
    """The last value of `log_t_mixture` for one path (n,), without the ones before it."""
    x = _rescaled(x)
    return float(_log_t_at(len(x), x.sum(), (x * x).sum()))


def _rescaled(x: ArrayLike) -> Floats:
    """`x` with its largest magnitude along the last axis one: its squares neither overflow nor vanish."""
    x = np.asarray(x, dtype=float)
    scale = np.max(np.abs(x), axis=-1, keepdims=True, initial=0.0)
    return np.asarray(x / np.where(scale > 0, scale, 1.0))


def _log_t_at(n: int, total: ArrayLike, square: ArrayLike) -> Floats:
    some = np.asarray(square) > 0
    rho = np.asarray(total) / np.sqrt(n * np.where(some, square, 1.0))
    return np.where(some, _table(n)(np.clip(rho, -1.0, 1.0)), 0.0)


def log_known_sd(x: ArrayLike, sd: float) -> float:
    """Log e-value of the differences `x` (n,) against `mean <= 0` when their sd is known to be at most `sd`.

    The average over the same effect sizes delta of exp(delta S / sd - n delta^2 / 2), S = sum(x). It is right
    for Gaussian noise and, by Hoeffding's argument, for any whose upper side is sub-Gaussian with `sd`: with
    rare large *losses* above all, where the t mixture, which learns the noise from pairs that have not met
    the loss yet, fails. Rare large gains are the other way round.

    Source: Robbins, "Statistical methods related to the law of the iterated logarithm" (1970); Howard,
    Ramdas, McAuliffe and Sekhon, "Time-uniform Chernoff bounds via nonnegative supermartingales" (2020).
    """
    x = np.asarray(x, dtype=float)
    if sd <= 0:
        raise ValueError(f"sd is {sd}; it must be above 0")
    return float(logsumexp(_EFFECTS * x.sum() / sd - len(x) * _EFFECTS**2 / 2 + _LOG_WEIGHTS))


@lru_cache(maxsize=512)
def _table(n: int) -> PchipInterpolator:
    """Log e-value after `n` differences by rho = r / sqrt(n), interpolated monotonically."""
    rho = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 257))
    return PchipInterpolator(rho, log_t_of_rho(n, rho))


def log_t_of_rho(n: int, rho: Floats) -> Floats:
    """Log e-value after `n` differences with rho = sum(x) / sqrt(n sum(x^2)), by quadrature, no table."""
    a = np.sqrt(n) * rho[:, None] * _EFFECTS
    if n == 1:
        return np.asarray(logsumexp(np.log(2) + log_ndtr(a) + _LOG_WEIGHTS, axis=1))
    # Trapezoid in s = log u, centred on the mode of u^n exp(-u^2/2 + a u) and scaled by its curvature; the
    # left tail falls only like exp(n s), hence the lopsided range.
    step = 0.25
    z = np.arange(-24.0, 8.0 + step, step)
    mode = (a + np.sqrt(a * a + 4 * n)) / 2
    width = 1 / np.sqrt(mode**2 + n)
    s = np.log(mode)[..., None] + width[..., None] * z
    u = np.exp(s)
    log_integral = logsumexp(n * s - u * u / 2 + a[..., None] * u, axis=-1) + np.log(step * width)
    log_normaliser = (n / 2 - 1) * np.log(2) + gammaln(n / 2)
    log_e = log_integral - n * _EFFECTS**2 / 2 - log_normaliser
    return np.asarray(logsumexp(log_e + _LOG_WEIGHTS, axis=1))


def log_sign_flip(x: ArrayLike) -> Floats:
    """Log e-value after each of the n differences `x`, shape (..., n), against `symmetric about zero`.

    A bettor who sees |x_i| before its sign stakes the share b_i = tanh(lambda |x_i| / rms_i) of what he has
    on a plus, rms_i being the root mean square of x_1..x_i; the e-value averages over five lambdas from
    0.7 (cautious) to 11.2 (nearly everything). Five pluses of similar size make at most 2^5 = 32. A zero
    stakes nothing.

    Source: Ramdas, Ruf, Larsson and Koolen, "Admissible anytime-valid sequential inference must rely on
    nonnegative martingales" (2020), section on symmetry; de la Pena (1999). tanh is the optimal stake for
    Gaussian noise of known scale.
    """
    x = np.asarray(x, dtype=float)
    size = np.abs(_rescaled(x))
    count = np.arange(1, x.shape[-1] + 1)
    rms = np.sqrt(np.cumsum(size**2, axis=-1) / count)
    relative = size / np.where(rms > 0, rms, 1.0)
    # log(1 +- tanh z) = log 2 + log sigmoid(+-2z), written without cancellation.
    z = 2 * np.sign(x) * relative * _SHARPNESS.reshape(-1, *([1] * x.ndim))
    wealth = np.cumsum(np.log(2) - np.logaddexp(0.0, -z), axis=-1)
    weights = np.log(_SHARPNESS_WEIGHTS).reshape(-1, *([1] * x.ndim))
    return np.asarray(logsumexp(wealth + weights, axis=0))
