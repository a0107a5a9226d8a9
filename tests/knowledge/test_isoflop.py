"""The best size at each compute, and how it grows."""

import numpy as np
import pytest

from mendel.knowledge.isoflop import growth, roughness


def isoflop_runs(rng, exponent=0.5, noise=0.0, count=9):
    c = np.repeat(10 ** np.linspace(17, 20, 7), count)
    best = 1e8 * (c / 1e18) ** exponent
    n = best * 10 ** np.tile(np.linspace(-0.8, 0.8, count), 7) * 10 ** rng.uniform(-0.05, 0.05, len(c))
    loss = 3 * (c / 1e18) ** -0.05 + 0.1 * np.log(n / best) ** 2
    return c, n, loss * np.exp(noise * rng.standard_normal(len(c)))


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.75])
def test_the_growth_of_the_best_size_is_found(exponent):
    found = growth(*isoflop_runs(np.random.default_rng(1), exponent))
    assert found.exponent == pytest.approx(exponent, abs=0.01)
    assert all(one.inside for one in found.minima)


def test_its_interval_covers_the_truth():
    inside = 0
    for seed in range(15):
        found = growth(*isoflop_runs(np.random.default_rng(seed), 0.5, noise=0.004), seed=seed)
        inside += found.low <= 0.5 <= found.high
    assert inside >= 13


def test_noise_is_measured_by_neighbours():
    rng = np.random.default_rng(3)
    c, n, loss = isoflop_runs(rng, noise=0.004, count=25)
    groups = [(np.sort(n[c == one]), loss[c == one][np.argsort(n[c == one])]) for one in np.unique(c)]
    assert roughness(groups) == pytest.approx(0.004, rel=0.35)


def test_a_minimum_at_the_end_of_the_sizes_is_none():
    c, n, loss = isoflop_runs(np.random.default_rng(4))
    largest = c == c.max()
    small = ~largest | (n < 1e8 * (c / 1e18) ** 0.5 / 1.5)
    found = growth(c[small], n[small], loss[small])
    assert [one.inside for one in found.minima] == [True] * 6 + [False]
    with pytest.raises(ValueError, match="1 of 1 computes have a minimum"):
        growth(c[largest], n[largest], loss[largest])
