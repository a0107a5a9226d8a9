"""The index: beliefs that learn, prices that fit the budget, choices that are quick."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.plans.index import (
    GRID,
    Evidence,
    Running,
    allocate,
    base_shape,
    beliefs,
    next_item,
    updated,
    weigh,
    worth_continuing,
)

POWER, PAIRS = np.where(GRID > 1, 1.0, 0.0), np.where(GRID > 1, 6.0, 3.0)


def evidence(gains, forecast=None, proposer=None):
    count = len(gains)
    zeros = np.zeros(count, dtype=np.intp)
    return Evidence(
        np.asarray(gains, dtype=float),
        zeros,
        zeros if proposer is None else proposer,
        np.zeros(count) if forecast is None else forecast,
    )


def test_without_any_pair_an_idea_is_what_ideas_are():
    assert np.allclose(beliefs(evidence(np.full((3, 1), np.nan))), base_shape())


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_beliefs_are_probabilities_and_rise_with_the_pairs_of_one_seed(seed):
    gains = np.sort(np.random.default_rng(seed).normal(0, 2, (30, 1)), axis=0)
    posterior = beliefs(evidence(gains))
    assert np.allclose(posterior.sum(axis=1), 1)
    assert (np.diff(posterior @ GRID) >= -1e-9).all()


def test_one_wild_forecast_among_thousands_is_not_heard():
    forecast = np.zeros(3000)
    forecast[7] = 50.0
    found = beliefs(evidence(np.full((3000, 1), np.nan), forecast))
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), 1)


def test_an_unlucky_control_is_seen_through():
    rng = np.random.default_rng(0)
    gains = np.where(rng.random((200, 2)) < 2, rng.normal(0, 0.7, (200, 2)), 0.0)
    gains[:, 1] += 1.0
    gains[:100, 1] = gains[100:, 0] = np.nan
    mean = beliefs(evidence(gains)) @ GRID
    assert mean[100:].mean() - mean[:100].mean() < 0.5


def test_a_proposer_whose_forecasts_come_true_is_believed():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1.5, 200)
    proposer = np.arange(200) % 2
    forecast = np.where(proposer == 0, truth, rng.normal(0, 1.5, 200))
    gains = (truth + rng.standard_normal(200))[:, None]
    gains[100:] = np.nan
    mean = beliefs(evidence(gains, forecast, proposer)) @ GRID
    skill = [
        np.corrcoef(forecast[100:][proposer[100:] == p], mean[100:][proposer[100:] == p])[0, 1]
        for p in (0, 1)
    ]
    spread = [mean[100:][proposer[100:] == p].std() for p in (0, 1)]
    assert skill[0] > 0.9
    assert spread[0] > 2 * spread[1]


def test_the_price_of_compute_makes_the_plan_fit_the_budget():
    posterior = beliefs(evidence(np.random.default_rng(2).normal(0, 2, (200, 1))))
    for left in (20.0, 100.0, 400.0):
        options = allocate(posterior, POWER, PAIRS, np.ones(200), left)
        assert options.spending.sum() <= left
    assert allocate(posterior, POWER, PAIRS, np.ones(200), 20.0).price > options.price


def test_a_sure_gain_is_confirmed_a_doubtful_one_screened_and_a_sure_harm_left():
    sure, harm = np.eye(len(GRID))[[np.argmin(np.abs(GRID - 4)), 0]]
    options = weigh(np.array([sure, base_shape(), harm]), POWER, PAIRS, np.ones(3), 0.02)
    assert options.enters.tolist() == [True, False, False]
    assert options.screens.tolist() == [False, True, False]
    assert next_item(options, np.ones(3)) == (0, True)
    assert next_item(weigh(np.array([harm]), POWER, PAIRS, np.ones(1), 0.02), np.ones(1)) is None


def test_pairs_narrow_a_belief():
    after = updated(base_shape()[None], np.array([2.0]), 16)
    assert after @ GRID == pytest.approx(2.0, abs=0.2)


def test_confirmations_go_on_where_a_claim_is_near_and_stop_where_none_will_come():
    good, null = np.eye(len(GRID))[[np.argmin(np.abs(GRID - 2)), np.argmin(np.abs(GRID))]]
    running = Running(np.array([good, null]), np.array([2.0, -1.0]), 4, np.ones(2))
    assert worth_continuing(running, 4.0, 0.25, 24, 5, 100.0).tolist() == [True, False]
