"""Budgets: what can be written, and how they are counted down."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mendel.campaign.budget import Budget, BudgetError, Meter, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds", "runs"),
    [
        ("90s", 90, None),
        ("20m", 1200, None),
        ("1.5h", 5400, None),
        (" 2 H ", 7200, None),
        ("300runs", None, 300),
        ("1 run", None, 1),
    ],
)
def test_times_and_runs_are_read(text, seconds, runs):
    assert parse_budget(text) == Budget(seconds=seconds, runs=runs)


@pytest.mark.parametrize("text", ["", "5", "5x", "-3s", "0runs", "0.0h", "1.5runs", "inf", "1e3s", "s", "٣s"])
def test_what_is_not_a_budget_is_refused_with_what_is_allowed(text):
    with pytest.raises(BudgetError, match=re.escape(f"budget {text!r}") + ".*(90s, 20m, 1.5h|must be whole)"):
        parse_budget(text)


@given(st.text(alphabet="0123456789.smhrunx -+e٣²", max_size=12) | st.text(max_size=12))
def test_any_text_is_a_budget_or_a_budget_error(text):
    try:
        budget = parse_budget(text)
    except BudgetError as error:
        assert repr(text) in str(error) and "\n" not in str(error)
    else:
        assert (budget.seconds or budget.runs) > 0
        assert str(budget)


@given(st.integers(1, 10**6))
def test_a_budget_prints_as_what_can_be_read_again(number):
    assert parse_budget(str(Budget(runs=number))) == Budget(runs=number)
    assert parse_budget(f"{number}s") == Budget(seconds=number)


@pytest.mark.parametrize("text", ["9" * 5000 + "runs", "9" * 400 + "s"])
def test_absurd_numbers_are_refused_and_not_overflown(text):
    with pytest.raises(BudgetError):
        parse_budget(text)


@pytest.mark.parametrize("fields", [{}, {"seconds": 3, "runs": 3}, {"runs": 0}, {"seconds": -1}])
def test_a_budget_is_either_time_or_runs(fields):
    with pytest.raises(ValidationError):
        Budget(**fields)


def test_a_meter_in_runs_knows_nothing_of_time():
    meter = Meter(Budget(runs=50), workers=2)
    meter.runs, meter.elapsed = 20, 1e9
    assert (meter.remaining(), meter.used(), meter.counts_runs) == (30, 0.4, True)
    meter.runs = 70
    assert meter.used() == 1.0


def test_a_meter_in_seconds_counts_in_runs_of_the_measured_length():
    meter = Meter(Budget(seconds=100), workers=2)
    assert meter.remaining() == float("inf"), "nothing is known of a run's length yet"
    meter.run_seconds, meter.elapsed = 4.0, 40.0
    assert meter.remaining() == pytest.approx(60 * 2 / 4)
    assert meter.used() == pytest.approx(0.4)
