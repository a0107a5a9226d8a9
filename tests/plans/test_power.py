"""The power plan holds what it promises when experiments are simulated."""

import numpy as np
import pytest
from scipy.stats import nct, t, ttest_1samp

from mendel.plans.designs import make_design
from mendel.plans.power import contrast_sd, detectable, power, seeds_needed

TRIALS = 20_000


def simulated(effect, sd, seeds, alpha):
    values = np.random.default_rng(0).normal(effect, sd, (TRIALS, seeds))
    return float((ttest_1samp(values, 0.0, axis=1).pvalue < alpha).mean())


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize(("effect", "seeds"), [(0.0, 5), (1.0, 3), (1.0, 10), (2.0, 5), (0.4, 30), (9.0, 3)])
def test_the_power_is_that_of_simulated_tests(effect, seeds, alpha):
    assert power(effect, 1.0, seeds, alpha) == pytest.approx(simulated(effect, 1.0, seeds, alpha), abs=0.012)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 15, 0.05 / 66])
def test_power_grows_from_alpha_to_one_without_holes(alpha):
    for seeds in (2, 3, 5, 12, 60, 400):
        found = [power(shift, seeds**0.5, seeds, alpha) for shift in np.linspace(0, 60, 121)]
        assert found[0] == pytest.approx(alpha, rel=1e-4)
        assert (np.diff(found) >= -1e-9).all() and found[-1] <= 1
        assert seeds == 2 or power(40, 0.01, seeds, alpha) == pytest.approx(1)


def test_the_power_is_that_of_the_noncentral_t():
    """Where SciPy's distribution has no holes."""
    for seeds, shift in ((3, 1.0), (5, 2.5), (20, 3.0)):
        edge = t.ppf(0.975, seeds - 1)
        expected = nct.sf(edge, seeds - 1, shift) + nct.cdf(-edge, seeds - 1, shift)
        assert power(shift, seeds**0.5, seeds) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("effect", [0.3, 0.8, 2.0])
def test_the_seeds_that_are_needed_have_the_power_and_one_less_has_not(effect):
    needed = seeds_needed(effect, 1.0, 0.01)
    assert power(effect, 1.0, needed, 0.01) >= 0.8 > power(effect, 1.0, needed - 1, 0.01)
    assert simulated(effect, 1.0, needed, 0.01) == pytest.approx(power(effect, 1.0, needed, 0.01), abs=0.012)


def test_the_smallest_effect_that_is_shown_is_the_one_with_that_power():
    assert power(detectable(0.3, 5, 0.01), 0.3, 5, 0.01) == pytest.approx(0.8, abs=1e-6)


def test_what_no_number_of_seeds_shows_is_said_so():
    assert seeds_needed(1e-4, 1.0) is None
    assert power(1.0, 1.0, 1) == 0.0
    assert power(1e6, 1e-3, 2) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["full", "fraction", "pb", "loo", "add"])
def test_the_spread_of_a_contrast_is_that_of_simulated_cells(kind):
    design = make_design(kind, 4)
    cells = np.random.default_rng(1).normal(0, 0.5, (TRIALS, len(design.rows)))
    for contrast in (*design.main, *design.interactions):
        assert contrast_sd(contrast.weights, 0.5) == pytest.approx((cells @ contrast.weights).std(), rel=0.03)


def test_a_planned_factorial_finds_its_effects_as_often_as_planned():
    """Through the whole analysis: Holm over a family of three, of which one has the planned effect."""
    from mendel.verdicts.factorial import estimate, within_seeds

    design, sd, effect = make_design("full", 3), 0.02, 0.05
    weights = [contrast.weights for contrast in design.main]
    own = contrast_sd(weights[0], sd)
    seeds = seeds_needed(effect, own, 0.05 / 3)
    random, found, trials = np.random.default_rng(2), 0, 1500
    mean = effect / 2 * np.array(design.rows)[:, 0]
    for _ in range(trials):
        gains = mean + random.normal(0, sd, (seeds, 8)) + random.normal(0, 0.2, (seeds, 1))
        found += estimate(within_seeds(gains, weights))[0].p_holm <= 0.05
    planned = power(effect, own, seeds, 0.05 / 3)
    assert found / trials == pytest.approx(planned, abs=0.04) and planned >= 0.8
