"""Campaigns with a known truth, run through the real judge: does it err as rarely as it says?

A simulated campaign has ideas of known effect in cohorts that share their controls, noise of a chosen kind,
and a decision after every pair. It runs `judge_unaided` itself, not a copy, so a bug there shows here. The
tests run a few hundred campaigns, `benchmarks/error_rates.py` thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from mendel.records import Rule
from mendel.verdicts.effects import compute_multiplier
from mendel.verdicts.judge import Judgement, by_pairs, judge_unaided, strongest_first
from mendel.verdicts.noise import learn_noise

Floats = NDArray[np.float64]

SD = 0.015
"""Paired standard deviation in bits per byte, as measured on small runs."""

MIN_GAIN = 0.005
"""The smallest gain of interest, bits per byte."""

GAINS = (1.0, 1.5, 2.0, 3.0, 6.0)
"""Planted gains above the smallest of interest, in paired standard deviations."""

SHARED = 0.5
"""Correlation between the differences of a cohort, which share their control runs."""

PLANNED, COHORT = 20, 5


@dataclass(frozen=True)
class Noise:
    """Noise with mean zero and standard deviation one, and failures on top of it."""

    name: str
    quantile: Callable[[Floats], Floats]
    failure_rate: float = 0.0
    compensated: bool = False
    """The typical difference makes up for failures: the mean, bound included, is the planted one."""
    bound: float = 1.0


def _exponential(u: Floats) -> Floats:
    return np.asarray(-np.log1p(-u) - 1)


def _two_valued(u: Floats) -> Floats:
    return np.where(u < 0.9, -1 / 3, 3.0)


NOISES: dict[str, Noise] = {
    n.name: n
    for n in (
        Noise("gaussian", ndtri),
        Noise("heavy tails (t3)", lambda u: np.asarray(stdtrit(3, u) / 3**0.5)),
        Noise("skewed, rare gains", _exponential),
        Noise("skewed, rare losses", lambda u: -_exponential(u)),
        Noise("two-valued, rare gains", _two_valued),
        Noise("two-valued, rare losses", lambda u: -_two_valued(u)),
        Noise("5 % diverge", ndtri, failure_rate=0.05),
        Noise("5 % diverge, made up for, bound 0.1", ndtri, 0.05, compensated=True, bound=0.1),
        Noise("5 % diverge, made up for, bound 1", ndtri, 0.05, compensated=True),
    )
}


@dataclass(frozen=True)
class ErrorRates:
    """What went right and wrong over many campaigns of one kind."""

    noise: str
    all_null: bool
    campaigns: int
    max_pairs: int
    nulls: int
    claims: int
    false_claims: int
    false_where_trained: int
    """Of the claims, those with no gain even over the runs that did not fail."""
    fdr: float
    """Mean over campaigns of false claims / claims, 0 where nothing was claimed."""
    fdr_upper: float
    """Its one-sided 95 % upper bound."""
    any_false: float
    """Share of campaigns with a false claim."""
    any_false_upper: float
    """Its one-sided 95 % Clopper-Pearson bound."""
    power: dict[str, float]
    """Share of planted gains claimed, by size in paired sd."""
    pairs_per_idea: float
    claims_covered: float
    """Share of claims whose interval at the moment of the claim covers the truth (nan without claims)."""
    flattery: float
    """Mean of (estimate - truth) at the claim, in paired sd."""
    false_worse: int
    """Ideas that were called worse and are not."""
    false_equivalent: int
    """Ideas that were called equivalent and lie outside the band."""


@dataclass(frozen=True)
class _Outcome:
    """One idea of one campaign."""

    gain: float
    """Planted gain in paired sd; 0 is the edge of the null."""
    truth: float
    trained: float
    """True mean difference of the runs that do not fail."""
    claimed: bool
    planted: bool
    """By the lab, with a known gain: its claim must not help the others, and does not count."""
    judgement: Judgement


def draw_differences(
    noise: Noise, means: Floats, pairs: int, rng: np.random.Generator, shared: float = SHARED
) -> Floats:
    """Differences (ideas, pairs) of one cohort with the planted `means` (ideas,); nan is a failure.

    `shared` is the correlation between ideas.
    """
    common = rng.standard_normal(pairs)
    own = rng.standard_normal((len(means), pairs))
    # A Gaussian copula: any marginal distribution, correlated through the shared controls.
    u = ndtr(shared**0.5 * common + (1 - shared) ** 0.5 * own)
    failed = rng.random(u.shape) < noise.failure_rate
    return np.where(failed, np.nan, mean_when_trained(noise, means)[:, None] + SD * noise.quantile(u))


def mean_when_trained(noise: Noise, planted: Floats) -> Floats:
    """Expected difference of the runs that do not fail."""
    if not noise.compensated:
        return planted
    return (planted + noise.failure_rate * noise.bound) / (1 - noise.failure_rate)


def true_mean(noise: Noise, planted: Floats) -> Floats:
    """Expected difference, failures scored at the bound."""
    if noise.compensated:
        return planted
    return (1 - noise.failure_rate) * planted - noise.failure_rate * noise.bound


def _plant(all_null: bool, rng: np.random.Generator) -> Floats:
    """Planted gains in paired sd above the smallest gain of interest; 0 is the edge of the null."""
    if all_null:
        return np.zeros(PLANNED)
    nothing = [-MIN_GAIN / SD] * 3
    return rng.permutation(np.array([*GAINS, *nothing, -1.0, -2.0, -3.0, *[0.0] * (PLANNED - 11)]))


def run_campaign(
    noise: Noise,
    all_null: bool,
    max_pairs: int,
    rng: np.random.Generator,
    screen_pairs: int = 0,
    controls: int = 0,
    helped: bool = False,
) -> list[_Outcome]:
    """One campaign: cohorts one after the other, a round per pair, until every idea has stopped.

    With `screen_pairs` the noise is learned from so many other pairs of every idea first. So many of the
    ideas as `controls` are positive controls of the largest gain there is; `helped` lets their claims help
    the others, which no campaign does.
    """
    gains = _plant(all_null, rng)
    planted = set(rng.choice(PLANNED, controls, replace=False).tolist()) if controls else set()
    gains[list(planted)] = max(GAINS)
    means = MIN_GAIN + SD * gains
    learned = {}
    if screen_pairs:
        screened = draw_differences(noise, means, screen_pairs, rng)
        found = learn_noise(np.clip(np.nan_to_num(screened, nan=-noise.bound), -noise.bound, noise.bound))
        learned = {"noise": found.sd, "noise_pairs": found.pairs}
    rule = Rule(planned=PLANNED, min_loss_gain=MIN_GAIN, max_pairs=max_pairs, bound=noise.bound, **learned)
    names = [str(i) for i in range(PLANNED)]
    frozen: dict[str, float] = {}
    last: dict[str, Judgement] = {}

    def barred(claims: Mapping[str, Judgement]) -> list[str]:
        """The strongest control among them, as `mendel.campaign.confirm` does it."""
        found = [name for name in strongest_first(claims) if int(name) in planted and not helped][:1]
        last.update({name: claims[name] for name in found})
        return found

    claimed: frozenset[str] = frozenset()
    for start in range(0, PLANNED, COHORT):
        cohort = names[start : start + COHORT]
        drawn = draw_differences(noise, means[start : start + COHORT], max_pairs, rng)
        data = {name: [float(v) for v in row] for name, row in zip(cohort, drawn, strict=True)}
        for n in range(3, max_pairs + 1):  # nothing can be decided before
            running = {name: data[name][:n] for name in cohort if name not in frozen}
            if not running:
                break
            after = judge_unaided(rule, names[: start + COHORT], by_pairs(rule, running), frozen, barred)
            frozen, claimed = after.frozen, after.claimed
            last.update({name: one.judgement for name, one in after.decisions.items()})
    return [
        _Outcome(float(g), float(truth), float(trained), name in claimed, int(name) in planted, last[name])
        for name, g, truth, trained in zip(
            names, gains, true_mean(noise, means), mean_when_trained(noise, means), strict=True
        )
    ]


def simulate(
    noise: Noise,
    campaigns: int,
    all_null: bool = False,
    max_pairs: int = 12,
    seed: int = 0,
    screen_pairs: int = 0,
    controls: int = 0,
    helped: bool = False,
) -> ErrorRates:
    """Run `campaigns` campaigns and count. An idea is null where its true mean is at most `MIN_GAIN`;
    positive controls are left out."""
    rng = np.random.default_rng(seed)
    settings = (noise, all_null, max_pairs, rng, screen_pairs, controls, helped)
    runs = [[idea for idea in run_campaign(*settings) if not idea.planted] for _ in range(campaigns)]
    ideas = [idea for run in runs for idea in run]
    claims = [i for i in ideas if i.claimed]
    false = np.array([sum(i.claimed and _is_null(i) for i in run) for run in runs])
    total = np.array([sum(i.claimed for i in run) for run in runs])
    fdp = false / np.maximum(total, 1)
    wrong = int((false > 0).sum())
    upper = clopper_pearson_upper(wrong, campaigns)
    errors = [(i.judgement.difference.value - i.truth) / SD for i in claims if i.judgement.difference]
    return ErrorRates(
        noise=noise.name,
        all_null=all_null,
        campaigns=campaigns,
        max_pairs=max_pairs,
        nulls=sum(_is_null(i) for i in ideas),
        claims=len(claims),
        false_claims=int(false.sum()),
        false_where_trained=sum(i.trained <= MIN_GAIN * (1 + 1e-9) for i in claims),
        fdr=float(fdp.mean()),
        # With no false claim at all the normal bound would be zero; the binomial one then serves.
        fdr_upper=float(fdp.mean() + 1.645 * fdp.std() / campaigns**0.5) if wrong else upper,
        any_false=wrong / campaigns,
        any_false_upper=upper,
        power={
            f"{g:g}": _share([i.claimed for i in ideas if i.gain == g and not _is_null(i)]) for g in GAINS
        },
        pairs_per_idea=float(np.mean([i.judgement.pairs for i in ideas])),
        claims_covered=_share([_covered(i) for i in claims]),
        flattery=float(np.mean(errors)) if errors else float("nan"),
        false_worse=sum(i.judgement.kind == "worse" and i.truth >= 0 for i in ideas),
        false_equivalent=sum(
            i.judgement.kind == "equivalent" and abs(i.truth) > 1.001 * MIN_GAIN for i in ideas
        ),
    )


def _is_null(idea: _Outcome) -> bool:
    return idea.truth <= MIN_GAIN * (1 + 1e-9)


def _covered(idea: _Outcome) -> bool:
    interval = idea.judgement.difference
    return interval is not None and interval.low <= idea.truth <= interval.high


def _share(hits: list[bool]) -> float:
    return float(np.mean(hits)) if hits else float("nan")


def clopper_pearson_upper(hits: int, trials: int, level: float = 0.95) -> float:
    """One-sided upper confidence bound of a probability after `hits` in `trials`."""
    return 1.0 if hits >= trials else float(betaincinv(hits + 1, trials - hits, level))


def paired_coverage(noise: Noise, pairs: int, trials: int, seed: int = 0) -> float:
    """Share of 95 % t intervals, at a fixed number of pairs, that cover the true mean difference."""
    rng = np.random.default_rng(seed)
    d = draw_differences(noise, np.full(trials, MIN_GAIN), pairs, rng, shared=0.0)
    x = np.clip(np.where(np.isnan(d), -noise.bound, d), -noise.bound, noise.bound)
    half = stdtrit(pairs - 1, 0.975) * x.std(axis=1, ddof=1) / pairs**0.5
    return float((np.abs(x.mean(axis=1) - true_mean(noise, np.array(MIN_GAIN))) <= half).mean())


def multiplier_coverage(budgets: int, seeds: int, pairs: int, trials: int, seed: int = 0) -> float:
    """Share of 95 % intervals of log2 CM that cover the truth, at a fixed number of pairs.

    The control's true curve, the rung and the gain are drawn anew for every trial: exponent 0.2 to 0.4, floor
    0.8 to 1.8 bits per byte, budgets 4x apart, runs with a relative noise of 0.7 %, gains of -0.1 to 0.2
    bits per byte as far as the curve can be read. All noise is Gaussian.
    """
    rng = np.random.default_rng(seed)
    flops = 1e12 * 4.0 ** np.arange(budgets)
    covered: list[bool] = []
    while len(covered) < trials:
        alpha, floor, gain = rng.uniform(0.2, 0.4), rng.uniform(0.8, 1.8), rng.uniform(-0.1, 0.2)
        rung = int(rng.integers(budgets))
        above = (3.0 - floor) * 4.0 ** (-alpha * np.arange(budgets))
        truth = -np.log2(1 - gain / above[rung]) / alpha if gain < above[rung] else np.inf
        if truth > 2 * (budgets - rung):  # beyond four times the largest budget
            continue
        loss = np.repeat(floor + above, seeds)
        loss = loss * (1 + 0.007 * rng.standard_normal(len(loss)))
        d = gain + SD * rng.standard_normal(pairs)
        points = list(zip(np.repeat(flops, seeds).tolist(), loss.tolist(), strict=True))
        interval = compute_multiplier(points, float(flops[rung]), d, draws=500)
        covered.append(bool(interval.low <= truth <= interval.high))
    return _share(covered)
