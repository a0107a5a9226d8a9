"""Cheap rungs predict a dear one, and say how well they can."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.verdicts.prediction import fit_ladder

RUNGS = 2e11 * 4.0 ** np.arange(4)
SEEDS = (16, 8, 4)


def law(flops, floor=1.1, scale=1.6, alpha=0.2):
    return floor + scale * (np.asarray(flops) / 8e11) ** -alpha


def runs(rng, curve, sd=0.006, seeds=SEEDS):
    """(FLOPs, losses) of single runs at the lower rungs."""
    flops = np.repeat(RUNGS[: len(seeds)], seeds)
    return flops, curve(flops) * (1 + rng.normal(0, sd, len(flops)))


def covered(curve, trials=100, sd=0.006, wobble=0.0):
    """Share of predictions whose interval holds the mean of two new runs, and their median relative error."""
    rng = np.random.default_rng(5)
    inside, errors = 0, []
    for _ in range(trials):
        bent = dict(zip(RUNGS, 1 + rng.normal(0, wobble, len(RUNGS)), strict=True))
        true = lambda flops, bent=bent: curve(flops) * np.array([bent[c] for c in np.atleast_1d(flops)])  # noqa: E731
        predicted = fit_ladder(*runs(rng, true, sd)).predict(RUNGS[3], runs=2)
        measured = float(true(RUNGS[3])[0] * (1 + rng.normal(0, sd / 2**0.5)))
        inside += predicted.low <= measured <= predicted.high
        errors.append(abs(predicted.value / measured - 1))
    return inside / trials, float(np.median(errors))


@given(floor=st.floats(0.3, 1.5), scale=st.floats(1, 2), alpha=st.floats(0.1, 0.3))
@settings(max_examples=30, deadline=None)
def test_quiet_runs_of_a_law_predict_its_next_rung_to_a_percent_or_two(floor, scale, alpha):
    def curve(flops):
        return law(flops, floor, scale, alpha)

    fit = fit_ladder(*runs(np.random.default_rng(0), curve, sd=1e-4))
    predicted, truth = fit.predict(RUNGS[3]), float(curve(RUNGS[3]))
    assert predicted.value == pytest.approx(truth, rel=0.02)
    assert predicted.low < truth < predicted.high
    assert fit.floor.low <= floor <= fit.floor.high and fit.alpha.low <= alpha <= fit.alpha.high
    assert fit.scale.low <= scale <= fit.scale.high


@pytest.mark.parametrize(("alpha", "wobble"), [(0.12, 0.0), (0.2, 0.0), (0.3, 0.0), (0.2, 0.004)], ids=str)
def test_nine_in_ten_intervals_hold_at_least(alpha, wobble):
    share, error = covered(lambda flops: law(flops, alpha=alpha), wobble=wobble)
    assert share >= 0.9
    assert error < 0.015


def test_intervals_still_hold_where_two_power_laws_are_mixed():
    share, _ = covered(lambda flops: 0.9 + 1.0 * (flops / 8e11) ** -0.15 + 0.7 * (flops / 8e11) ** -0.3)
    assert share >= 0.85


def test_a_prediction_is_less_sure_further_away_and_with_fewer_seeds():
    def width(interval):
        return interval.high - interval.low

    many = fit_ladder(*runs(np.random.default_rng(1), law, 0.01, (32, 32, 32)))
    few = fit_ladder(*runs(np.random.default_rng(1), law, 0.01, (3, 3, 3)))
    assert width(many.predict(RUNGS[2])) < width(many.predict(RUNGS[3])) < width(many.predict(4 * RUNGS[3]))
    assert width(many.predict(RUNGS[3])) < width(few.predict(RUNGS[3]))
    one, mean = few.predict(RUNGS[3], runs=1), few.predict(RUNGS[3], runs=8)
    assert width(few.predict(RUNGS[3])) < width(mean) < width(one)


def test_two_rungs_leave_the_floor_open():
    fit = fit_ladder(*runs(np.random.default_rng(1), law, 0.003, (8, 8)))
    assert fit.floor.low < 0.2 and fit.floor.high > 1.5
    assert fit.predict(RUNGS[3]).low < law(RUNGS[3]) < fit.predict(RUNGS[3]).high


def test_runs_without_any_noise_are_predicted_too():
    """A testbed may be deterministic."""
    predicted = fit_ladder(*runs(np.random.default_rng(0), law, sd=0.0)).predict(RUNGS[3], runs=2)
    assert predicted.low < law(RUNGS[3]) < predicted.high


def test_a_rung_of_few_seeds_borrows_the_noise_of_the_others():
    rng = np.random.default_rng(2)
    flops, loss = runs(rng, law, sd=0.01, seeds=(16, 8, 1))
    assert fit_ladder(flops, loss).noise == pytest.approx(0.01, rel=0.6)


@pytest.mark.parametrize(
    ("flops", "loss", "message"),
    [
        ([1e12, 1e12], [3.0, 3.1], "two budgets"),
        ([1e12, 4e12], [3.0], "one length"),
        ([1e12, 4e12], [3.0, float("nan")], "finite"),
        ([1e12, 4e12, 1.6e13], [3.0, 2.5, 2.2], "second seed"),
        ([1e12, 1e12, 4e12], [2.0, 2.1, 2.5], "does not fall"),
    ],
)
def test_runs_that_make_no_curve_are_refused(flops, loss, message):
    with pytest.raises(ValueError, match=message):
        fit_ladder(flops, loss)
