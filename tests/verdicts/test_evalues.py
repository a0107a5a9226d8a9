"""The two e-values are fair bets, blind to scale, and strong enough to be worth their price."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad
from scipy.special import gammaln

from mendel.verdicts import log_sign_flip, log_t_mixture
from mendel.verdicts.evalues import (
    _EFFECTS,
    _LOG_WEIGHTS,
    _SHARPNESS,
    _SHARPNESS_WEIGHTS,
    log_t_final,
)
from mendel.verdicts.noise import Noise

BOTH = [log_t_mixture, log_sign_flip]
DIFFERENCES = arrays(float, st.integers(1, 12), elements=st.floats(-3, 3).map(lambda v: round(v, 3)))


def pairs_for_power(log_e, threshold, power=0.8):
    reached = np.maximum.accumulate(log_e, axis=1) >= np.log(threshold)
    return 1 + int(np.argmax(reached.mean(axis=0) >= power))


@pytest.mark.parametrize("x", [[0.4, -0.1, 0.7], [1.0, 1.1, 0.9, 1.0, 1.05], [-2.0, -1.0, -3.0, -2.2]])
def test_t_mixture_equals_its_integral_by_adaptive_quadrature(x):
    x = np.array(x)
    n, r = len(x), x.sum() / np.sqrt((x**2).sum())
    normaliser = np.exp((n / 2 - 1) * np.log(2) + gammaln(n / 2))

    def e(delta):
        top = max(0.0, delta * r)
        integral, _ = quad(
            lambda u: u ** (n - 1) * np.exp(-u * u / 2 + delta * r * u - n * delta**2 / 2), 0, top + 12
        )
        return integral / normaliser

    expected = sum(np.exp(w) * e(d) for w, d in zip(_LOG_WEIGHTS, _EFFECTS, strict=True))
    assert log_t_mixture(x)[-1] == pytest.approx(np.log(expected), abs=1e-4)
    assert log_t_final(x) == pytest.approx(log_t_mixture(x)[-1], abs=1e-12)


def test_sign_flip_is_a_product_of_stakes_set_by_magnitudes_alone():
    x = np.array([0.4, -0.1, 0.7, 0.2])
    rms = np.sqrt(np.cumsum(x**2) / np.arange(1, 5))
    wealth = [np.prod(1 + np.tanh(s * np.abs(x) / rms) * np.sign(x)) for s in _SHARPNESS]
    assert np.exp(log_sign_flip(x)[-1]) == pytest.approx(np.dot(_SHARPNESS_WEIGHTS, wealth))


@pytest.mark.parametrize("e_value", BOTH)
def test_a_fair_bet_neither_gains_nor_loses_on_average(e_value):
    e = np.exp(e_value(np.random.default_rng(0).standard_normal((100_000, 5))))
    # Heavy-tailed averages: only the first few pairs can be checked to a few per cent.
    assert e[:, :4].mean(axis=0) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("e_value", BOTH)
@pytest.mark.parametrize("threshold", [10, 20])
def test_looking_after_every_pair_is_allowed(e_value, threshold):
    path = e_value(np.random.default_rng(1).standard_normal((20_000, 40)))
    ever = (path.max(axis=1) >= np.log(threshold)).mean()
    assert ever <= 1 / threshold


def test_sign_flip_withstands_noise_without_a_variance():
    path = log_sign_flip(np.random.default_rng(2).standard_cauchy((20_000, 40)))
    assert (path.max(axis=1) >= np.log(20)).mean() <= 1 / 20


@pytest.mark.parametrize("e_value", BOTH)
@given(x=DIFFERENCES, scale=st.floats(1e-150, 1e150))
def test_the_unit_of_loss_does_not_matter(e_value, x, scale):
    assert e_value(x * scale) == pytest.approx(e_value(x), rel=1e-6, abs=1e-6)


@given(x=DIFFERENCES, shift=st.floats(0, 5))
def test_t_mixture_grows_with_a_common_shift_after_every_pair(x, shift):
    if not x.any():
        return  # identically zero differences are worth nothing by definition
    assert (log_t_mixture(x + shift) >= log_t_mixture(x) - 1e-9)[np.cumsum(x**2) > 0].all()


@pytest.mark.parametrize("e_value", BOTH)
def test_differences_of_zero_are_worth_nothing(e_value):
    with np.errstate(divide="raise", invalid="raise"):
        assert e_value(np.zeros(6)).tolist() == [0.0] * 6
        assert np.isfinite(e_value(np.array([0.0, 0.0, 1e-300, 5.0]))).all()


def test_one_pair_is_worth_at_most_its_sign():
    assert np.exp(log_t_mixture(np.array([1e6]))[0]) <= 2
    assert log_t_mixture(np.array([-1.0]))[0] < 0


@given(sizes=arrays(float, 5, elements=st.floats(0.5, 1.5)))
def test_five_pluses_of_similar_size_reach_the_level_that_a_claim_needs(sizes):
    e = np.exp(log_sign_flip(sizes)[-1])
    assert 20 <= e <= 32


def test_many_paths_at_once_equal_one_at_a_time():
    x = np.random.default_rng(3).normal(0.5, 1, (2, 3, 7))
    for e_value in BOTH:
        assert np.allclose(e_value(x)[1, 2], e_value(x[1, 2]))


@pytest.mark.parametrize(
    ("effect", "expected"), [(1, (17, 24, 30)), (2, (7, 10, 13)), (3, (5, 7, 9)), (6, (5, 5, 6))]
)
def test_pairs_needed_for_a_claim_with_80_percent_power(effect, expected):
    x = np.random.default_rng(4).normal(effect, 1, (4000, 40))
    enough = (log_sign_flip(x) >= np.log(20)) & (np.arange(40) >= 4)
    needed = [pairs_for_power(np.where(enough, log_t_mixture(x), -np.inf), t) for t in (20, 160, 800)]
    slack = (1, 0, 0)  # at a threshold of 20 and small effects the sign flip is the slower of the two
    assert all(n <= e + s for n, e, s in zip(needed, expected, slack, strict=True)), needed


@pytest.mark.parametrize("pairs", [2, 8, 32])
def test_known_noise_may_be_looked_at_after_every_pair_where_noise_is_spread_that_way(pairs):
    rng = np.random.default_rng(5)
    sd = 0.3 * np.sqrt(pairs / rng.chisquare(pairs, (20_000, 1)))
    path = log_t_mixture(sd * rng.standard_normal((20_000, 30)), Noise(0.3, pairs))
    ever = (path.max(axis=1) >= np.log(20)).mean()
    assert 0.005 < ever <= 1 / 20  # honest, and not by being blind


def test_known_noise_agrees_with_the_two_integrals_over_it():
    x, noise = np.array([0.4, -0.1, 0.7]), Noise(0.5, 4)

    def marginal(delta):
        def density(sigma):
            prior = sigma ** (-noise.pairs - 1) * np.exp(-noise.pairs * noise.sd**2 / (2 * sigma**2))
            return prior * np.prod(np.exp(-((x - delta * sigma) ** 2) / (2 * sigma**2)) / sigma)

        return quad(density, 0, 60, points=(0.2, 0.5, 1.0), limit=200)[0]

    ratios = [np.exp(w) * marginal(d) / marginal(0) for w, d in zip(_LOG_WEIGHTS, _EFFECTS, strict=True)]
    assert log_t_final(x, noise) == pytest.approx(np.log(sum(ratios)), abs=1e-3)


@given(x=DIFFERENCES, scale=st.floats(1e-100, 1e100), pairs=st.sampled_from([2, 8, 32]))
def test_noise_and_differences_share_a_unit(x, scale, pairs):
    assert log_t_final(x * scale, Noise(0.3 * scale, pairs)) == pytest.approx(
        log_t_final(x, Noise(0.3, pairs)), rel=1e-5, abs=1e-5
    )


def test_known_noise_is_not_fooled_by_losses_that_no_pair_has_met_yet():
    nearly_all = np.full(12, 0.1)
    assert log_t_final(nearly_all) > 6
    assert log_t_final(nearly_all, Noise(0.3, 8)) < 3


def test_the_more_is_known_the_fewer_pairs_a_large_effect_needs():
    x = np.array([1.8, 2.2, 2.0, 2.4])
    evidence = [log_t_final(x + 1, Noise(1.0, pairs)) for pairs in (2, 8, 32)]
    assert evidence == sorted(evidence)
