"""E-values of paired differences: evidence that may be looked at after every pair.

An e-value is the money that a bettor starting with 1 holds after betting, at fair odds, that a null
hypothesis is wrong. Whatever the stopping rule, 20 or more happens at most once in 20 nulls. Both bets here
say "the mean is above zero", and neither needs to know the noise. Shift the differences by the smallest gain
of interest before you call them.

`log_t_mixture` trusts the noise to be Gaussian and is the sharper one; what a screen has taught about the
noise makes it sharper still, and careful where the first few pairs agree too well. `log_sign_flip` trusts it
only to be symmetric, however heavy its tails. Neither survives strong skewness; `docs/decisions.md` prints
how badly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, log_ndtr, logsumexp

from mendel.verdicts.noise import UNKNOWN, Noise

if TYPE_CHECKING:  # it takes longer to load than most commands take, and few of them judge anything
    from scipy.interpolate import PchipInterpolator

Floats = NDArray[np.float64]
LogMoment = Callable[[Floats], Floats]

_EFFECTS: Floats = np.geomspace(0.15, 10.0, 33)
# Half-normal prior with standard deviation 2 on the effect size, as the weights of log-spaced atoms.
_PRIOR: Floats = -((_EFFECTS / 2.0) ** 2) / 2 + np.log(_EFFECTS)
_LOG_WEIGHTS: Floats = _PRIOR - logsumexp(_PRIOR)

_SHARPNESS: Floats = np.array([0.7, 1.4, 2.8, 5.6, 11.2])
_SHARPNESS_WEIGHTS: Floats = np.array([0.15, 0.25, 0.2, 0.2, 0.2])


def log_t_mixture(x: ArrayLike, noise: Noise = UNKNOWN) -> Floats:
    """Log e-value after each of the n differences `x`, shape (..., n), against `mean <= 0`.

    The likelihood ratio of effect size delta = mean / sd against zero, with the right-Haar prior 1/sigma on
    the noise, depends on the data through r = sum(x) / sqrt(sum(x^2)) alone:

        E_delta = exp(-n delta^2 / 2) * Int u^(n-1) exp(-u^2/2 + delta r u) du / Int u^(n-1) exp(-u^2/2) du

    over u > 0; the e-value is its average over a half-normal delta > 0 with sd 2 (33 atoms). It grows with a
    common shift of `x`, so the value at mean = 0 bounds all means below. The first difference can only show
    its sign, and is worth at most a factor of 2; differences that are all zero are worth nothing (e = 1).

    Where `noise` is known to some degree, sigma^2 has the scaled inverse chi-squared prior of Smyth's
    moderated t, with f = `noise.pairs` degrees of freedom about s = `noise.sd`: n is n + f in both
    integrals and in the power of u, and r = sum(x) / sqrt(sum(x^2) + f s^2). That is an e-value on average
    over ideas whose noise is spread that way, which is what a rate over ideas asks for ("compound"): with
    small f each idea still speaks for itself, with large f the noise is simply known.

    Source: Smyth, "Linear models and empirical Bayes methods" (2004); Ignatiadis, Wang and Ramdas,
    "Asymptotic and compound e-values" (2025); Perez-Ortiz, Lardy, de Heide and Grunwald, "E-statistics, group
    invariance and anytime-valid testing" (2024); Wang and Ramdas, "Anytime-valid t-tests and confidence
    sequences" (2025).
    """
    x, prior = _rescaled(x, noise)
    total, squares = np.cumsum(x, axis=-1), np.cumsum(x * x, axis=-1) + prior
    out = np.zeros(x.shape)
    for n in range(1, x.shape[-1] + 1):
        out[..., n - 1] = _log_t_at(n, noise.pairs, total[..., n - 1], squares[..., n - 1])
    return out


def log_t_final(x: ArrayLike, noise: Noise = UNKNOWN) -> float:
    """The last value of `log_t_mixture` for one path (n,), without the ones before it."""
    x, prior = _rescaled(x, noise)
    return float(_log_t_at(len(x), noise.pairs, x.sum(), (x * x).sum() + prior.item()))


def _rescaled(x: ArrayLike, noise: Noise) -> tuple[Floats, Floats]:
    """`x` with its largest magnitude along the last axis one, and the prior's sum of squares in this unit:
    squares neither overflow nor vanish."""
    x = np.asarray(x, dtype=float)
    scale = np.max(np.abs(x), axis=-1, keepdims=True, initial=noise.sd if noise.pairs else 0.0)
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(x / scale), np.asarray(noise.pairs * (noise.sd / scale) ** 2)


def _log_t_at(n: int, freedom: int, total: ArrayLike, square: ArrayLike) -> Floats:
    some = np.asarray(square) > 0
    rho = np.asarray(total) / np.sqrt(n * np.where(some, square, 1.0))
    return np.where(some, _table(n, freedom)(np.clip(rho, -1.0, 1.0)), 0.0)


@lru_cache(maxsize=2048)
def _table(n: int, freedom: int) -> PchipInterpolator:
    """Log e-value after `n` differences by rho = r / sqrt(n), interpolated monotonically."""
    from scipy.interpolate import PchipInterpolator

    rho = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 257))
    return PchipInterpolator(rho, log_t_of_rho(n, rho, freedom, _moments(n + freedom)))


def log_t_of_rho(n: int, rho: Floats, freedom: int = 0, log_moment: LogMoment | None = None) -> Floats:
    """Log e-value after `n` differences with rho = r / sqrt(n); without `log_moment` by quadrature."""
    power = n + freedom
    a = np.sqrt(n) * rho[:, None] * _EFFECTS
    log_integral = log_moment(a) if log_moment else _log_moment(power, a)
    log_normaliser = (power / 2 - 1) * np.log(2) + gammaln(power / 2)
    return np.asarray(logsumexp(log_integral - n * _EFFECTS**2 / 2 - log_normaliser + _LOG_WEIGHTS, axis=1))


@lru_cache(maxsize=256)
def _moments(power: int) -> LogMoment:
    """`_log_moment` by splines, for all a that so many differences can make."""
    from scipy.interpolate import CubicSpline

    a = np.linspace(-1.0, 1.0, 1025) * np.sqrt(power) * _EFFECTS[-1]
    found: LogMoment = CubicSpline(a, _log_moment(power, a))
    return found


def _log_moment(power: int, a: Floats) -> Floats:
    """Log of Int u^(power-1) exp(-u^2/2 + a u) du over u > 0."""
    if power == 1:
        return np.asarray(a * a / 2 + np.log(2 * np.pi) / 2 + log_ndtr(a))
    # Trapezoid in s = log u, centred on the mode of u^power exp(-u^2/2 + a u) and scaled by its curvature;
    # the left tail falls only like exp(power s), hence the lopsided range.
    step = 0.25
    z = np.arange(-24.0, 8.0 + step, step)
    mode = (a + np.sqrt(a * a + 4 * power)) / 2
    width = 1 / np.sqrt(mode**2 + power)
    s = np.log(mode)[..., None] + width[..., None] * z
    u = np.exp(s)
    return np.asarray(logsumexp(power * s - u * u / 2 + a[..., None] * u, axis=-1) + np.log(step * width))


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
    size = np.abs(_rescaled(x, UNKNOWN)[0])
    count = np.arange(1, x.shape[-1] + 1)
    rms = np.sqrt(np.cumsum(size**2, axis=-1) / count)
    relative = size / np.where(rms > 0, rms, 1.0)
    # log(1 +- tanh z) = log 2 + log sigmoid(+-2z), written without cancellation.
    z = 2 * np.sign(x) * relative * _SHARPNESS.reshape(-1, *([1] * x.ndim))
    wealth = np.cumsum(np.log(2) - np.logaddexp(0.0, -z), axis=-1)
    top = wealth.max(axis=0)
    return np.asarray(top + np.log(np.tensordot(_SHARPNESS_WEIGHTS, np.exp(wealth - top), axes=1)))
