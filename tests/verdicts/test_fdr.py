"""Online e-BH charges every idea that enters, and never takes a frozen claim back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.verdicts import e_bh
from mendel.verdicts.fdr import log_threshold, weights

LOG_E = st.lists(st.floats(-20, 20) | st.just(float("-inf")), min_size=1, max_size=40)


def brute_force(log_e, planned, alpha):
    score = np.exp(np.array(log_e)) * weights(len(log_e), planned) * alpha
    for k in range(len(log_e), 0, -1):
        chosen = np.flatnonzero(score >= (1 - 1e-12) / k)
        if len(chosen) >= k:
            return chosen.tolist()
    return []


@given(planned=st.integers(1, 50), count=st.integers(0, 5000))
def test_the_error_budget_is_never_overspent(planned, count):
    assert weights(count, planned).sum() <= 1 + 1e-12


def test_planned_ideas_get_most_of_the_budget_and_later_ones_still_get_some():
    w = weights(60, 20)
    assert w[:20].sum() == pytest.approx(0.8)
    assert w[20] > w[40] > 0
    assert weights(100_000, 20).sum() == pytest.approx(1.0, abs=1e-3)


@given(log_e=LOG_E, planned=st.integers(1, 20))
def test_claims_are_the_largest_self_consistent_set(log_e, planned):
    assert e_bh(log_e, planned, 0.05).tolist() == brute_force(log_e, planned, 0.05)


@given(log_e=LOG_E, later=LOG_E)
def test_a_claim_stands_whatever_enters_later(log_e, later):
    before = set(e_bh(log_e, 8, 0.05).tolist())
    assert before <= set(e_bh(log_e + later, 8, 0.05).tolist())


def test_the_first_claim_of_eight_planned_needs_200():
    bar = log_threshold(0, 0, planned=8, alpha=0.05)
    assert np.exp(bar) == pytest.approx(8 / 0.05 / 0.8)
    assert e_bh([bar + 1e-9, 0.0], 8, 0.05).tolist() == [0]
    assert e_bh([bar - 1e-9, 0.0], 8, 0.05).tolist() == []


def test_two_claims_help_each_other():
    pair = log_threshold(0, 1, planned=8, alpha=0.05)
    assert e_bh([pair + 1e-9, -1.0], 8, 0.05).tolist() == []
    assert e_bh([pair + 1e-9, pair + 1e-9], 8, 0.05).tolist() == [0, 1]


def test_dependent_nulls_stay_below_alpha():
    """All nulls share one e-value, worth 1 on average: the worst dependence there is."""
    rng = np.random.default_rng(0)
    log_e = np.where(rng.random(20_000) < 1 / 400, np.log(400.0), -np.inf)
    false = [len(e_bh([e] * 10, 10, 0.05)) > 0 for e in log_e]
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize(("planned", "alpha", "name"), [(0, 0.05, "planned"), (5, 1.5, "alpha")])
def test_bad_settings_are_named(planned, alpha, name):
    with pytest.raises(ValueError, match=name):
        e_bh([1.0], planned, alpha)
