"""Planning ahead in the bench: what ideas are worth, and how many run side by side."""

import numpy as np
import pytest

from mendel.bench.ahead import Contest, side_by_side
from mendel.plans.index import GRID


def near(gains, sd=0.5):
    """(ideas, GRID): posteriors around these gains, in paired sd."""
    weight = np.exp(-0.5 * ((GRID - np.array(gains)[:, None]) / sd) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)


def contest(posterior, need=5.0, pairs=0.0, cost=1.0):
    count = len(posterior)
    return Contest(posterior, np.full(count, need), np.full(count, pairs), np.full(count, cost), 0.25)


def test_what_gains_more_takes_less_proof_or_costs_less_is_worth_more():
    rates = contest(near([-1.0, 0.3, 1.0, 2.0])).rates(5)
    assert (np.diff(rates) > 0).all()
    assert rates[0] < 0.01 * rates[2]
    assert (contest(near([1.0]), need=1.0).rates(5) > rates[2]).all()
    assert contest(near([1.0]), cost=2.0).rates(5) == pytest.approx(rates[2] / 2)


def test_what_certainly_gains_nothing_is_worth_nothing():
    assert contest(near([-5.0], sd=0.1)).rates(5)[0] == pytest.approx(0, abs=1e-9)


def test_few_seeds_dear_ideas_and_failures_allow_few_ideas_side_by_side():
    posterior = near(np.linspace(2.0, 0.5, 16))
    few, many = (side_by_side(contest(posterior), left, 16) for left in (24.0, 120.0))
    assert few < many <= 16
    assert side_by_side(contest(posterior, cost=3.0), 120.0, 16) < many
    assert side_by_side(contest(posterior), 120.0, 5) <= 5
    assert side_by_side(contest(posterior[:1]), 24.0, 16) == 1
