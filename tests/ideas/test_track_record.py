"""What a record says of a forecaster: bias and dispersion together, and no single idea settles them."""

from __future__ import annotations

import math
import random

import pytest
from scipy import optimize, stats

from mendel.ideas.track_record import (
    BIAS_SD,
    CAP,
    DISPERSION_WEIGHT,
    NOISE_SD,
    Miss,
    effective,
    habit,
    posterior_bias,
)


def errors(count, bias, ratio, seed, sd=0.1, se=0.05):
    """Of a forecaster whose true errors are `ratio` times as large as it says."""
    draw = random.Random(seed)
    return [Miss(bias + draw.gauss(0, ratio * sd) + draw.gauss(0, se), sd, se) for _ in range(count)]


def test_the_posterior_of_a_bias_is_the_textbook_one():
    """Against a grid: prior times likelihood, normalised."""
    misses = [Miss(0.3, 0.1), Miss(0.1, 0.2), Miss(-0.05, 0.1)]
    grid = [i / 500 - 1 for i in range(1001)]
    weights = [
        stats.norm.pdf(b / BIAS_SD)
        * math.prod(stats.norm.pdf(miss.value, b, math.hypot(miss.sd, NOISE_SD)) for miss in misses)
        for b in grid
    ]
    total = sum(weights)
    mean = sum(w * b for w, b in zip(weights, grid, strict=True)) / total
    variance = sum(w * (b - mean) ** 2 for w, b in zip(weights, grid, strict=True)) / total
    assert posterior_bias(misses) == pytest.approx((mean, variance), rel=1e-4)


def test_the_dispersion_is_the_mode_of_its_posterior():
    """Against a direct search for the mode, with the bias integrated out of the same likelihood."""
    misses = errors(30, 0.05, 1.5, seed=3)
    misses = [miss._replace(value=max(-0.3, min(0.4, miss.value))) for miss in misses]  # none beyond CAP

    def minus_log_posterior(k):
        prior = DISPERSION_WEIGHT / 2 * (math.log(k) + 1 / k)
        values = [miss.value for miss in misses]
        spread = [k * miss.sd**2 + miss.se**2 for miss in misses]
        covariance = [
            [BIAS_SD**2 + (spread[i] if i == j else 0.0) for j in range(len(misses))]
            for i in range(len(misses))
        ]
        return prior - stats.multivariate_normal.logpdf(values, cov=covariance)

    best = optimize.minimize_scalar(minus_log_posterior, bounds=(0.2, 10), method="bounded").x
    found = habit(misses)
    reach = [CAP * math.sqrt(found.dispersion * miss.sd**2 + miss.se**2) for miss in misses]
    assert all(abs(m.value - found.bias.mean) < r for m, r in zip(misses, reach, strict=True))
    assert found.dispersion == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 4.0])
def test_bias_and_dispersion_are_found_from_many_outcomes(ratio):
    found = habit(errors(3000, -0.2, ratio, seed=1))
    assert found.bias.mean == pytest.approx(-0.2, abs=0.025)
    assert math.sqrt(found.dispersion) == pytest.approx(ratio, rel=0.06)


def test_noise_of_the_lab_is_not_taken_for_overconfidence():
    loud = habit(errors(2000, 0.0, 1.0, seed=2, se=0.4))
    assert math.sqrt(loud.dispersion) == pytest.approx(1.0, abs=0.15)


def test_without_a_record_forecasts_stand_as_they_are():
    found = habit([])
    assert (found.bias.mean, found.dispersion) == (0.0, 1.0)
    few = habit(errors(3, 0.0, 4.0, seed=5))
    assert 1.0 < few.dispersion < habit(errors(100, 0.0, 4.0, seed=5)).dispersion


def test_one_idea_that_wrecks_training_does_not_condemn_its_proposer():
    good = errors(20, 0.0, 1.0, seed=4)
    before, after = habit(good), habit([*good, Miss(-8.0, 0.1, 0.05)])
    assert after.bias.mean > before.bias.mean - 0.03
    assert after.dispersion < 1.6 * before.dispersion


def test_weights_are_worth_as_many_outcomes_as_they_spread_over():
    assert effective([1.0] * 7) == pytest.approx(7)
    assert effective([20.0, *[1.0] * 15]) == pytest.approx(35**2 / 415)
    assert effective([]) == 0
