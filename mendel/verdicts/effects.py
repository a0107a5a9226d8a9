"""Effect sizes: mean paired differences, compute multipliers, and what a screen should believe.

Intervals here are for a number of pairs that was fixed beforehand. Read at the moment of a claim they flatter
the idea; published effects therefore come from fresh pairs, or are shrunk towards what was expected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, fdtri, gammaincinv, stdtrit

from mendel.records import Interval, Verdict
from mendel.verdicts.curve import REACH, ScalingCurve, fit_batch, fit_curve
from mendel.verdicts.noise import UNKNOWN, Noise

Floats = NDArray[np.float64]

UNKNOWN_FLOOR = 0.8
"""With two budgets the curve's floor may be anything up to this share of the smallest measured loss."""

NEAR = 0.25
"""Doublings beyond the longest run, or the place that a gain is read from, which the slope there bears."""

FINITE = 64.0
"""A drawn curve may be flat; its log2 CM is cut at minus this, so that records stay finite."""


def paired_interval(differences: ArrayLike, level: float = 0.95, noise: Noise = UNKNOWN) -> Interval:
    """Mean of the paired differences (pairs,) in bits per byte, with Student's t interval.

    Differences without variance give an interval without width. With `noise` their variance is moderated by
    that of other ideas (Smyth 2004), and a single pair has an interval, too. Raises ValueError below two
    pairs if nothing is known of the noise.
    """
    d = np.asarray(differences, dtype=float)
    freedom = len(d) - 1 + noise.pairs
    if not len(d) or not freedom:
        raise ValueError(f"an interval needs two pairs at least, found {len(d)}")
    mean = float(d.mean())
    sd = ((float(((d - mean) ** 2).sum()) + noise.pairs * noise.sd**2) / freedom) ** 0.5
    half = float(stdtrit(freedom, (1 + level) / 2)) * sd / len(d) ** 0.5
    return Interval(value=mean, low=mean - half, high=mean + half, level=level)


def shrunken(
    differences: ArrayLike, mean: float, error: float, noise: Noise, level: float = 0.95
) -> Interval:
    """Gain by the paired differences (pairs,) and by what was expected before them, a normal distribution of
    this mean and standard error, all in bits per byte; the noise is moderated by that of other ideas.

    Whoever was chosen for its pairs, or stopped by them, is flattered by their mean and not by this one, as
    far as what was expected was right; where the pairs contradict it, the interval is as much wider. Raises
    ValueError as `paired_interval` does.
    """
    own = paired_interval(differences, level, noise)
    count = len(np.asarray(differences))
    quantile = float(stdtrit(count - 1 + noise.pairs, (1 + level) / 2))
    precision = (quantile / max(own.high - own.value, 1e-12)) ** 2
    total = precision + error**-2
    value = (precision * own.value + mean * error**-2) / total
    apart = abs(own.value - mean) / (error**2 + 1 / precision) ** 0.5
    half = quantile * total**-0.5 * max(1.0, apart)
    return Interval(value=value, low=value - half, high=value + half, level=level)


def compute_multiplier(
    curve_points: Sequence[tuple[float, float]],
    flops: float,
    differences: ArrayLike,
    level: float = 0.95,
    rng_seed: int = 0,
    draws: int = 1000,
    by_window: ArrayLike | None = None,
) -> Interval:
    """log2 of the compute multiplier at `flops`, from pairs trained at equal cost.

    `curve_points` are the (FLOPs, bits per byte) of single control runs; `differences` (pairs,) are control
    loss minus treatment loss in bits per byte. With the mean difference d, the control would need C' with
    L(C') = L(C) - d, and CM = C' / C. Costs count as equal, without error: charge what is unsure in full.

    The interval is a parametric bootstrap: d is drawn from Student's t about its estimate, and the curve is
    refitted to draws of its runs with their noise drawn too (few runs: t rather than normal tails). With
    `by_window`, the differences window by window of the text (pairs, windows), other text could have been
    drawn as well as other seeds (`crossed_error`). Two budgets cannot tell a floor, so it is drawn as well.
    No multiplier is read beyond four times the largest measured budget: draws are cut there. An estimate that
    is cut is `bounded`, an upper end `high_bounded`; one that is read NEAR doublings and more beyond the
    largest measured budget is `extrapolated`.

    Raises ValueError as `fit_curve` does, for fewer than two pairs, for a curve without any replicate to tell
    its noise from, and for `flops` out of reach.
    """
    windows = None if by_window is None else np.asarray(by_window, dtype=float)
    return _multiplier(
        tuple((float(c), float(loss)) for c, loss in curve_points),
        float(flops),
        tuple(np.asarray(differences, dtype=float).tolist()),
        level,
        rng_seed,
        draws,
        None if windows is None else tuple(map(tuple, windows.tolist())),
    )


@lru_cache(maxsize=512)  # a campaign that goes on decides again what it had decided, from the same runs
def _multiplier(
    curve_points: tuple[tuple[float, float], ...],
    flops: float,
    differences: tuple[float, ...],
    level: float,
    rng_seed: int,
    draws: int,
    by_window: tuple[tuple[float, ...], ...] | None,
) -> Interval:
    points = np.array(curve_points).reshape(-1, 2)
    curve = fit_curve(points[:, 0], points[:, 1])
    d = np.array(differences)
    if len(d) < 2:
        raise ValueError(f"an interval needs two pairs at least, found {len(d)}")
    rng = np.random.default_rng(rng_seed)
    cap = float(np.log2(REACH * curve.max_flops / flops))
    if cap <= 0:
        raise ValueError(
            f"the curve ends at {curve.max_flops:.3g} FLOPs, too far below {flops:.3g} to be read"
        )
    target = float(curve.loss(flops) - d.mean())
    value = float(np.log2(curve.flops_for(target) / flops))

    error, freedom = float(d.std(ddof=1)) / len(d) ** 0.5, len(d) - 1.0
    if by_window is not None:
        error, freedom = crossed_error(by_window)
    gain = d.mean() + error * rng.standard_t(freedom, draws)
    multipliers = log2_cm_of(gain, *draw_curves(curve, points, flops, draws, rng))
    low, high = np.quantile(np.clip(multipliers, -FINITE, cap), [(1 - level) / 2, (1 + level) / 2])
    upper = max(float(high), value)
    beyond = value > max(0.0, float(np.log2(curve.max_flops / flops))) + NEAR
    return Interval(
        value=min(value, cap),
        low=min(float(low), value, cap),
        high=min(upper, cap),
        level=level,
        bounded=value >= cap,
        high_bounded=upper >= cap,
        extrapolated=beyond,
    )


def crossed_error(by_window: ArrayLike) -> tuple[float, float]:
    """Standard error of a mean difference over seeds *and* text, and its degrees of freedom.

    `by_window` (pairs, windows) in bits per byte. Other seeds and other windows would both have given another
    mean: two crossed random effects, whose variances add (Cornfield & Tukey 1956), with Satterthwaite's
    degrees of freedom. What belongs to neither is counted in both, which errs on the safe side, as the
    pigeonhole bootstrap does (Owen 2007).
    """
    d = np.asarray(by_window, dtype=float)
    pairs, windows = d.shape
    if windows < 2:
        raise ValueError(f"an error over text needs two windows at least, found {windows}")
    of_seeds, of_text = d.mean(axis=1).var(ddof=1) / pairs, d.mean(axis=0).var(ddof=1) / windows
    total = of_seeds + of_text
    if total == 0:
        return 0.0, pairs - 1.0
    return float(total**0.5), float(total**2 / (of_seeds**2 / (pairs - 1) + of_text**2 / (windows - 1)))


def standard_errors(verdicts: Sequence[Verdict]) -> list[float]:
    """Standard error of the log2 CM of each verdict of one campaign, in log2 CM.

    Read off a verdict's own interval it would be hopeless: two pairs know their noise with one degree of
    freedom. All runs of a campaign are equally noisy, so the paired sd behind the intervals of the loss is
    pooled over its verdicts, as in a screen. What a bit per byte is worth there is `per_bit`; of a verdict
    without it, the width of the interval of log2 CM over that of the loss. Verdicts with failures, or with
    pairs that were stopped early, do not tell the noise. A joint confirmation has no pairs: its interval
    says what it is worth.
    """
    widths = [_half_width(verdict.difference) for verdict in verdicts]
    squares, freedom = 0.0, 0
    for verdict, half in zip(verdicts, widths, strict=True):
        odd = verdict.failures or verdict.stopped or verdict.together
        if half is not None and not odd and verdict.pairs > 1:
            sd = half / _quantile(verdict) * verdict.pairs**0.5
            squares += (verdict.pairs - 1) * sd**2
            freedom += verdict.pairs - 1
    pooled = (squares / freedom) ** 0.5 if freedom else None
    errors = []
    for verdict, half in zip(verdicts, widths, strict=True):
        of_cm = _half_width(verdict.log2_cm)
        assert of_cm is not None, "only verdicts with a multiplier have an error"
        own = of_cm / _quantile(verdict) if verdict.freedom or verdict.pairs > 1 else of_cm
        per_bit = verdict.per_bit or (of_cm / half if half else None)
        if per_bit and pooled and not verdict.together:
            own = per_bit * pooled / verdict.pairs**0.5
        errors.append(own)
    return errors


def _half_width(interval: Interval | None) -> float | None:
    return None if interval is None else (interval.high - interval.low) / 2


def _quantile(verdict: Verdict) -> float:
    """Student's t of its two-sided 95 % interval."""
    return float(stdtrit(verdict.freedom or verdict.pairs - 1, 0.975))


def draw_curves(
    curve: ScalingCurve, points: Floats, flops: float, draws: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Curves that the runs `points` (runs, 2) could as well have come from, each (draws,): the part of the
    loss at `flops` that compute can remove, in bits per byte, and the exponent."""
    c, loss = points[:, 0] / curve.reference, points[:, 1]
    fitted = curve.loss(points[:, 0])
    noise, freedom = _relative_noise(points, curve)
    noises = noise * np.sqrt(freedom / rng.chisquare(freedom, draws))
    losses = fitted * (1 + noises[:, None] * rng.standard_normal((draws, len(loss))))
    free_floor = curve.form == "floor"
    if not free_floor:
        losses = losses - rng.uniform(0, UNKNOWN_FLOOR * loss.min(), (draws, 1))
    _, scale, alpha = fit_batch(c, losses, 1 / fitted**2, free_floor)
    return scale * (flops / curve.reference) ** -alpha, alpha


def log2_cm_of(gain: ArrayLike, removable: ArrayLike, alpha: ArrayLike) -> Floats:
    """log2 CM of a gain in bits per byte on a curve with so much left to remove; infinite below its floor."""
    gains, here = np.asarray(gain, dtype=float), np.asarray(removable, dtype=float)
    ratio = 1 - gains / np.where(here > 0, here, np.nan)
    safe = np.where(ratio > 0, ratio, 1.0)
    return np.where(ratio > 0, -np.log2(safe) / alpha, np.where(gains > 0, np.inf, -np.inf))


def run_noise(curve_points: Sequence[tuple[float, float]], flops: float) -> float:
    """Standard deviation of a control run at `flops` from seed to seed, in bits per byte. Raises ValueError
    as `compute_multiplier` does."""
    points = np.asarray(curve_points, dtype=float).reshape(-1, 2)
    curve = fit_curve(points[:, 0], points[:, 1])
    return _relative_noise(points, curve)[0] * float(curve.loss(flops))


def seed_noise(curve_points: Sequence[tuple[float, float]]) -> float:
    """Standard deviation from seed to seed within a budget, pooled over budgets with two runs or more; unlike
    `run_noise` it has nothing of a curve that fits poorly. ValueError where no budget has two runs."""
    budgets: dict[float, list[float]] = {}
    for budget, loss in curve_points:
        budgets.setdefault(budget, []).append(loss)
    return pooled_sd([losses for losses in budgets.values() if len(losses) > 1])


def _relative_noise(points: Floats, curve: ScalingCurve) -> tuple[float, int]:
    """Standard deviation of a control run relative to its loss, and its degrees of freedom.

    Taken from replicates within budgets, where there are any, and from the fit's residuals where these are
    larger: a curve of the wrong form is then at least known poorly.
    """
    budgets, group = np.unique(points[:, 0], return_inverse=True)
    fitted = curve.loss(points[:, 0])
    parameters = 3 if curve.form == "floor" else 2
    freedom_fit = len(points) - parameters
    freedom = len(points) - len(budgets)
    if freedom_fit <= 0:
        raise ValueError(
            "the curve has no replicate runs: train a second seed at one of its budgets at least"
        )
    about_fit = float((((points[:, 1] - fitted) / fitted) ** 2).sum()) / freedom_fit
    if freedom == 0:
        return about_fit**0.5, freedom_fit
    means = np.bincount(group, points[:, 1]) / np.bincount(group)
    within = float((((points[:, 1] - means[group]) / fitted) ** 2).sum()) / freedom
    return max(within, about_fit) ** 0.5, freedom


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> Interval:
    """A probability after `hits` in `trials`, with its exact two-sided interval (Clopper & Pearson 1934).

    Raises ValueError without a trial.
    """
    if not 0 <= hits <= trials or not trials:
        raise ValueError(f"{hits} hits in {trials} trials give no rate")
    tail = (1 - level) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return Interval(value=hits / trials, low=low, high=high, level=level)


def pooled_sd(differences: Iterable[ArrayLike]) -> float:
    """Standard deviation of paired differences within ideas, pooled over ideas (each (pairs,)).

    A screen has two or three pairs per idea, too few to know its noise; all ideas together do. Raises
    ValueError if no idea has two pairs.
    """
    squares, freedom = 0.0, 0
    for one in differences:
        d = np.asarray(one, dtype=float)
        if len(d) > 1:
            squares += float(((d - d.mean()) ** 2).sum())
            freedom += len(d) - 1
    if freedom == 0:
        raise ValueError("a pooled sd needs an idea with two pairs at least")
    return float((squares / freedom) ** 0.5)


def sd_interval(sd: float, freedom: int, level: float = 0.95) -> Interval:
    """A standard deviation that was measured with so many degrees of freedom, with its interval for Gaussian
    noise: freedom sd^2 over quantiles of chi-squared. Raises ValueError without a degree of freedom."""
    if freedom < 1:
        raise ValueError(f"an sd needs one degree of freedom at least, found {freedom}")
    tail = (1 - level) / 2
    low, high = (sd * float(freedom / (2 * gammaincinv(freedom / 2, q))) ** 0.5 for q in (1 - tail, tail))
    return Interval(value=sd, low=low, high=high, level=level)


def variance_ratio(
    above: float, freedom_above: int, below: float, freedom_below: int, level: float = 0.95
) -> Interval:
    """Ratio of two variances, of sds that were measured apart, with its F interval for Gaussian noise. Raises
    ValueError without a degree of freedom, or where the sd below is zero."""
    if min(freedom_above, freedom_below) < 1 or below <= 0:
        raise ValueError("a ratio needs two sds with a degree of freedom each, and the second above zero")
    ratio, tail = (above / below) ** 2, (1 - level) / 2
    low, high = (ratio / float(fdtri(freedom_above, freedom_below, q)) for q in (1 - tail, tail))
    return Interval(value=ratio, low=low, high=high, level=level)
