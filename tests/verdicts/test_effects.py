"""Effect sizes come with intervals that hold what they promise."""

import math

import numpy as np
import pytest
from scipy import stats

from mendel.records import Interval, Verdict, VerdictKind
from mendel.verdicts import compute_multiplier, paired_interval, pooled_sd
from mendel.verdicts.effects import (
    clopper_pearson,
    crossed_error,
    sd_interval,
    standard_errors,
    variance_ratio,
)

BUDGETS = 1e12 * 4.0 ** np.arange(4)
FLOPS = np.repeat(BUDGETS, 3)
NOISE = np.random.default_rng(0).normal(0, 0.004, len(FLOPS))


def law(flops):
    return 1.2 + 1.5 * (np.asarray(flops) / 1e12) ** -0.25


POINTS = list(zip(FLOPS.tolist(), (law(FLOPS) + NOISE).tolist(), strict=True))


def pairs(gain, n=8, sd=0.01):
    noise = np.random.default_rng(1).normal(0, 1, n)
    return gain + sd * (noise - noise.mean()) / noise.std(ddof=1)


def test_paired_interval_is_students():
    d = [0.02, 0.05, 0.01, 0.04]
    low, high = stats.t.interval(0.9, 3, np.mean(d), stats.sem(d))
    interval = paired_interval(d, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    with pytest.raises(ValueError, match="two pairs"):
        paired_interval([0.1])


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3, 2.0])
def test_a_treatment_worth_a_factor_of_compute_is_read_as_that_factor(factor):
    at = 4e12
    interval = compute_multiplier(POINTS, at, pairs(float(law(at) - law(factor * at))))
    assert interval.value == pytest.approx(np.log2(factor), abs=0.06)
    assert interval.low < np.log2(factor) < interval.high
    assert not interval.bounded


def test_no_multiplier_is_read_beyond_four_times_the_largest_control():
    interval = compute_multiplier(POINTS, BUDGETS[-1], pairs(0.5))
    assert interval.bounded and interval.high_bounded
    assert interval.value == interval.high == pytest.approx(2.0)
    with pytest.raises(ValueError, match="too far"):
        compute_multiplier(POINTS, 5 * BUDGETS[-1], pairs(0.1))


def test_an_upper_end_that_was_cut_is_marked_even_where_the_estimate_is_not():
    cut = compute_multiplier(
        POINTS, BUDGETS[-1], pairs(float(law(BUDGETS[-1]) - law(3 * BUDGETS[-1])), sd=0.1)
    )
    assert cut.high_bounded and not cut.bounded
    assert cut.high == pytest.approx(2.0)
    assert not compute_multiplier(POINTS, 4e12, pairs(0.05)).high_bounded


def test_fewer_budgets_and_a_higher_level_widen_the_interval():
    def width(points=POINTS, **how):
        interval = compute_multiplier(points, 4e12, pairs(0.05), **how)
        return interval.high - interval.low

    assert width(level=0.5) < width()
    two_rungs = [p for p in POINTS if p[0] in (1e12, 4e12)]
    assert width(two_rungs) > width()


def test_the_same_seed_gives_the_same_interval():
    assert compute_multiplier(POINTS, 4e12, pairs(0.05)) == compute_multiplier(POINTS, 4e12, pairs(0.05))


def test_differences_without_variance_still_carry_the_curve_uncertainty():
    interval = compute_multiplier(POINTS, 4e12, [0.1] * 5)
    assert interval.low < interval.value < interval.high


def test_a_huge_harm_stays_finite():
    interval = compute_multiplier(POINTS, 4e12, pairs(-1.0, sd=0.3))
    assert np.isfinite([interval.value, interval.low, interval.high]).all()
    assert interval.value < -2


def test_a_curve_without_replicates_is_refused_when_nothing_tells_its_noise():
    with pytest.raises(ValueError, match="replicate"):
        compute_multiplier([(1e12, 2.7), (4e12, 2.3)], 1e12, pairs(0.05))


def test_pooling_ignores_how_large_the_effects_are():
    assert pooled_sd([[1.0, 2.0], [101.0, 102.0], [7.0]]) == pytest.approx(0.5**0.5)
    with pytest.raises(ValueError, match="two pairs"):
        pooled_sd([[1.0], []])


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 4, 0.0, 0.6024), (1, 10, 0.0025, 0.4450), (4, 4, 0.3976, 1.0), (5, 100, 0.0164, 0.1128)],
)
def test_clopper_pearson_as_tabled(hits, trials, low, high):
    found = clopper_pearson(hits, trials)
    assert (found.value, found.low, found.high) == pytest.approx((hits / trials, low, high), abs=1e-4)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="0 hits in 0 trials give no rate"):
        clopper_pearson(0, 0)


def test_standard_errors_are_right_although_each_verdict_has_two_pairs():
    """Two pairs know their noise with one degree of freedom; a screen of twenty ideas knows it well."""
    rng = np.random.default_rng(7)
    points = [
        (c, 1.0 + 2.0 * c**-0.3 + 0.001 * rng.standard_normal()) for c in (0.5, 1, 2, 4) for _ in range(3)
    ]
    slope = 2.0 * 0.3 * math.log(2)  # bits per byte of a doubling at compute 1
    noise, verdicts, pairs = 0.02, [], []
    for number in range(24):
        count = 2 if number % 2 else 6
        gain = 0.1 * rng.standard_normal()
        found = gain * slope + noise * rng.standard_normal(count)
        interval = compute_multiplier(points, 1.0, found, rng_seed=number)
        kind = VerdictKind.NO_DIFFERENCE_SHOWN
        verdict = Verdict(
            plan="p", kind=kind, pairs=count, difference=paired_interval(found), log2_cm=interval
        )
        verdicts.append(verdict)
        pairs.append(count)
    wild = verdicts[0].model_copy(update={"failures": 1, "difference": Interval(value=0, low=-9, high=9)})
    # Pairs of halves are no pairs: their interval is what is known, and says nothing of the noise of others.
    joint = wild.model_copy(
        update={"failures": 0, "together": 5, "pairs": 12, "log2_cm": Interval(value=0, low=-0.3, high=0.3)}
    )
    *errors, _, of_halves = standard_errors([*verdicts, wild, joint])
    assert of_halves == pytest.approx(0.3 / 2.2, rel=0.02)
    for count in (2, 6):
        mean = np.mean([error for error, n in zip(errors, pairs, strict=True) if n == count])
        assert mean == pytest.approx(noise / slope / count**0.5, rel=0.25)


def test_pairs_without_any_noise_have_an_error_of_the_curve_alone():
    flat = Interval(value=0.01, low=0.01, high=0.01)
    cm = Interval(value=0.02, low=0.0, high=0.04)
    verdict = Verdict(plan="p", kind=VerdictKind.BETTER, pairs=2, difference=flat, log2_cm=cm)
    (error,) = standard_errors([verdict])
    assert 0 < error < 0.01


def crossed(rng, pairs, windows, seeds_sd, text_sd, rest_sd):
    """Differences of one gain of zero, (pairs, windows), over other seeds and other text."""
    return (
        rng.normal(0, seeds_sd, (pairs, 1))
        + rng.normal(0, text_sd, (1, windows))
        + rng.normal(0, rest_sd, (pairs, windows))
    )


@pytest.mark.parametrize(
    ("seeds_sd", "text_sd", "rest_sd"),
    [(0.03, 0.05, 0.1), (0.005, 0.1, 0.05), (0.03, 0.0, 0.1), (0.0, 0.0, 0.1)],
)
def test_the_error_over_seeds_and_text_covers_what_other_seeds_and_other_text_would_have_shown(
    seeds_sd, text_sd, rest_sd
):
    rng, hits, alone = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        d = crossed(rng, 6, 128, seeds_sd, text_sd, rest_sd)
        error, freedom = crossed_error(d)
        hits += abs(d.mean()) <= stats.t.ppf(0.975, freedom) * error
        own = paired_interval(d.mean(axis=1))
        alone += own.low <= 0 <= own.high
    assert hits / 2000 > 0.94
    if text_sd > 5 * seeds_sd:
        assert alone / 2000 < 0.75  # seeds alone know nothing of the text


def test_text_only_ever_widens_the_error_of_the_seeds():
    rng = np.random.default_rng(1)
    for text_sd in (0.0, 0.02, 0.2):
        d = crossed(rng, 5, 40, 0.02, text_sd, 0.1)
        assert crossed_error(d)[0] >= d.mean(axis=1).std(ddof=1) / 5**0.5 * (1 - 1e-12)
    with pytest.raises(ValueError, match="two windows at least, found 1"):
        crossed_error(np.zeros((5, 1)))


def test_a_multiplier_over_seeds_and_text_is_no_narrower_than_over_seeds():
    d = crossed(np.random.default_rng(2), 6, 64, 0.003, 0.05, 0.02) + 0.02
    alone = compute_multiplier(POINTS, 1e12, d.mean(axis=1))
    both = compute_multiplier(POINTS, 1e12, d.mean(axis=1), by_window=d)
    assert both.value == alone.value
    assert both.high - both.low > 1.5 * (alone.high - alone.low)


def test_standard_errors_do_not_depend_on_how_much_of_an_interval_is_text():
    rng = np.random.default_rng(3)
    verdicts, plain = [], []
    for n in range(30):
        d = crossed(rng, 4, 64, 0.01, 0.08 if n % 2 else 0.0, 0.02)
        gains = d.mean(axis=1)
        common = {"plan": str(n), "kind": VerdictKind.NO_DIFFERENCE_SHOWN, "pairs": 4, "per_bit": 3.0}
        common["difference"] = paired_interval(gains)
        verdicts.append(Verdict(**common, log2_cm=compute_multiplier(POINTS, 1e12, gains, by_window=d)))
        plain.append(Verdict(**common, log2_cm=compute_multiplier(POINTS, 1e12, gains)))
    assert standard_errors(verdicts) == pytest.approx(standard_errors(plain))
    told = verdicts[0].model_copy(
        update={"stopped": 1, "difference": Interval(value=0, low=-9, high=9, level=0.95)}
    )
    assert standard_errors([told, *verdicts])[1:] == pytest.approx(
        standard_errors(verdicts)
    )  # no measurement


@pytest.mark.parametrize("freedom", [1, 2, 8])
def test_an_sd_from_few_runs_has_an_interval_that_covers(freedom):
    rng = np.random.default_rng(freedom)
    found = [sd_interval(float(rng.normal(0, 2, freedom + 1).std(ddof=1)), freedom) for _ in range(4000)]
    covered = np.mean([one.low <= 2 <= one.high for one in found])
    assert covered == pytest.approx(0.95, abs=0.012)
    with pytest.raises(ValueError, match="one degree of freedom at least"):
        sd_interval(1.0, 0)


def test_a_ratio_of_variances_has_an_interval_that_covers():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        above, below = rng.normal(0, 3, 3).std(ddof=1), rng.normal(0, 1, 4).std(ddof=1)
        found.append(variance_ratio(float(above), 2, float(below), 3))
    assert np.mean([one.low <= 9 <= one.high for one in found]) == pytest.approx(0.95, abs=0.012)
    with pytest.raises(ValueError, match="the second above zero"):
        variance_ratio(1.0, 2, 0.0, 1)


@pytest.mark.parametrize(("multiple", "extrapolated"), [(2.0, False), (4.4, False), (6.0, True)])
def test_a_multiplier_that_is_read_well_beyond_the_longest_run_says_so(multiple, extrapolated):
    """The curve is measured from half the compute to four times it, with two seeds each."""
    flops = [c for c in (0.5, 1.0, 2.0, 4.0) for _ in range(2)]
    points = [(c, 2.0 + c**-0.3 + 0.0005 * (-1) ** place) for place, c in enumerate(flops)]
    gain = 1.0 - multiple**-0.3
    found = compute_multiplier(points, 1.0, [gain - 0.0002, gain, gain + 0.0002])
    assert 2**found.value == pytest.approx(multiple, rel=0.05)
    assert found.extrapolated is extrapolated
    assert ("extrapolated" in found.model_dump()) is extrapolated, "older verdicts have no such key"
