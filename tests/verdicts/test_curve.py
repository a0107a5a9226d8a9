"""Scaling curves recover what they were drawn from, and say what they cannot know."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.verdicts import fit_curve

BUDGETS = 1e12 * 4.0 ** np.arange(4)


def law(flops, floor=1.2, scale=1.5, alpha=0.25):
    return floor + scale * (np.asarray(flops) / 1e12) ** -alpha


@given(floor=st.floats(0.3, 2), scale=st.floats(0.5, 3), alpha=st.floats(0.1, 0.6))
def test_a_noiseless_law_is_recovered(floor, scale, alpha):
    flops = np.repeat(BUDGETS, 2)
    curve = fit_curve(flops, law(flops, floor, scale, alpha))
    assert curve.form == "floor"
    assert curve.loss(flops) == pytest.approx(law(flops, floor, scale, alpha), abs=2e-3)
    between = 2.5e12
    step = law(between, floor, scale, alpha) - law(2 * between, floor, scale, alpha)
    assert curve.loss(between) - curve.loss(2 * between) == pytest.approx(step, abs=2e-3)


@given(st.floats(1e12, 2.5e14))
def test_reading_a_budget_undoes_reading_a_loss(flops):
    curve = fit_curve(np.repeat(BUDGETS, 2), law(np.repeat(BUDGETS, 2)))
    assert curve.flops_for(curve.loss(flops)) == pytest.approx(flops, rel=1e-9)
    numeric = (curve.loss(flops / 1.001) - curve.loss(flops * 1.001)) / (2 * np.log2(1.001))
    assert curve.slope(flops) == pytest.approx(numeric, rel=1e-3)


def test_no_compute_reaches_the_floor():
    curve = fit_curve(BUDGETS, law(BUDGETS))
    assert curve.flops_for(curve.floor) == np.inf
    assert np.all(np.diff(curve.flops_for(np.array([3.0, 2.5, 2.0, 1.5]))) > 0)


def test_two_budgets_give_a_power_law():
    curve = fit_curve([1e12, 1e12, 4e12, 4e12], [3.0, 3.02, 2.5, 2.48])
    assert (curve.form, curve.floor) == ("power law", 0.0)
    assert curve.loss([1e12, 4e12]) == pytest.approx([3.01, 2.49], abs=2e-3)


def test_one_stray_run_hardly_bends_the_curve():
    flops = np.repeat(BUDGETS, 3)
    loss = law(flops) + np.random.default_rng(0).normal(0, 0.005, len(flops))
    stray = loss.copy()
    stray[4] += 0.6
    assert fit_curve(flops, stray).loss(BUDGETS) == pytest.approx(law(BUDGETS), abs=0.03)


def test_a_steeper_than_any_floor_fit_stays_at_zero():
    curve = fit_curve(BUDGETS, 3 - 0.2 * np.log2(BUDGETS / 1e12) - 0.02 * np.log2(BUDGETS / 1e12) ** 2)
    assert curve.floor == 0.0


@pytest.mark.parametrize(
    ("flops", "loss", "message"),
    [
        ([1e12, 1e12], [3.0, 3.1], "two budgets"),
        ([1e12, 4e12], [3.0], "one length"),
        ([1e12, 4e12], [3.0, float("nan")], "finite"),
        ([1e12, 4e12, 1.6e13], [2.0, 2.5, 3.0], "does not fall"),
        ([1e12, 4e12], [2.0, 2.5], "does not fall"),
    ],
)
def test_points_that_make_no_curve_are_refused(flops, loss, message):
    with pytest.raises(ValueError, match=message):
        fit_curve(flops, loss)
