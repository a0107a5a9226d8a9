"""Online closed e-BH charges every idea that enters, and never takes a frozen claim back."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.verdicts import closed_e_bh
from mendel.verdicts.fdr import log_threshold, weights

LOG_E = st.lists(st.floats(-20, 20) | st.just(float("-inf")), min_size=1, max_size=40)


def may_be_claimed(money, weight, chosen, alpha):
    """The definition, over all sets of ideas: what is not claimed, or has not entered, has no money."""
    others = [i for i in range(len(money)) if i not in chosen]
    yet_to_come = 1 - weight.sum()
    for size in range(1, len(chosen) + 1):
        for some in combinations(chosen, size):
            burden = weight[list(some)].sum() + weight[others].sum() + yet_to_come
            if money[list(some)].sum() < burden * size / (alpha * len(chosen)) * (1 - 1e-9):
                return False
    return True


def brute_force(log_e, planned, alpha):
    weight = weights(len(log_e), planned)
    money = weight * np.exp(np.array(log_e))
    order = np.argsort(-money, kind="stable").tolist()
    for k in range(len(order), 0, -1):
        if may_be_claimed(money, weight, order[:k], alpha):
            return sorted(order[:k])
    return []


def plain_e_bh(log_e, planned, alpha):
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


@given(log_e=st.lists(st.floats(0, 12), min_size=1, max_size=7), planned=st.integers(1, 8))
def test_claims_are_the_largest_set_that_no_set_of_useless_ideas_could_explain(log_e, planned):
    assert closed_e_bh(log_e, planned, 0.05).tolist() == brute_force(log_e, planned, 0.05)


@given(log_e=LOG_E, planned=st.integers(1, 20))
def test_the_closure_claims_what_plain_e_bh_does_and_sometimes_more(log_e, planned):
    assert set(plain_e_bh(log_e, planned, 0.05)) <= set(closed_e_bh(log_e, planned, 0.05).tolist())


def test_a_claim_far_above_its_bar_pays_for_one_near_it():
    strong, near = 9.0, np.log(45.0)
    assert plain_e_bh([strong, near, -1.0, -1.0], 4, 0.05) == [0]
    assert closed_e_bh([strong, near, -1.0, -1.0], 4, 0.05).tolist() == [0, 1]


@given(log_e=LOG_E, later=LOG_E)
def test_a_claim_stands_whatever_enters_later(log_e, later):
    before = closed_e_bh(log_e, 8, 0.05)
    frozen = [e if i in before else float("-inf") for i, e in enumerate(log_e)]
    assert set(before) <= set(closed_e_bh(frozen + later, 8, 0.05, before).tolist())


def test_the_first_claim_of_eight_planned_needs_200():
    bar = log_threshold(0, (), planned=8, alpha=0.05)
    assert np.exp(bar) == pytest.approx(8 / 0.05 / 0.8)
    assert closed_e_bh([bar + 1e-9, 0.0], 8, 0.05).tolist() == [0]
    assert closed_e_bh([bar - 1e-9, 0.0], 8, 0.05).tolist() == []


def test_two_claims_help_each_other():
    alone, together = np.log(8 / 0.05 / 0.8), np.log(8 / 0.05 / 0.8 / 2)
    assert closed_e_bh([together + 1e-9, -1.0], 8, 0.05).tolist() == []
    assert closed_e_bh([together + 1e-9, together + 1e-9], 8, 0.05).tolist() == [0, 1]
    bar = log_threshold(0, (1,), planned=8, alpha=0.05)  # beside one that brings more than its own part
    assert bar < together
    assert closed_e_bh([bar + 1e-9, alone], 8, 0.05).tolist() == [0, 1]
    assert closed_e_bh([bar - 1e-9, alone], 8, 0.05).tolist() == [1]


def test_dependent_nulls_stay_below_alpha():
    """All nulls share one e-value, worth 1 on average: the worst dependence there is."""
    rng = np.random.default_rng(0)
    log_e = np.where(rng.random(20_000) < 1 / 400, np.log(400.0), -np.inf)
    false = [len(closed_e_bh([e] * 10, 10, 0.05)) > 0 for e in log_e]
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize(("planned", "alpha", "name"), [(0, 0.05, "planned"), (5, 1.5, "alpha")])
def test_bad_settings_are_named(planned, alpha, name):
    with pytest.raises(ValueError, match=name):
        closed_e_bh([1.0], planned, alpha)
