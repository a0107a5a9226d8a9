"""What a screen buys another pair of, what it sends on, and how the budget and what is known change that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.plans.index import GAINS
from mendel.plans.screening import Outlook, Prospect, Subject, entering, price_of_compute, prospects
from mendel.verdicts.power import confirmation, expected_bar

SD, M = 0.02, 0.004
POWER, PAIRS = confirmation(GAINS, round(expected_bar(0.05), 1), M / SD, 12, noise_pairs=8)
OUTLOOK = Outlook(SD, 8, M, POWER, PAIRS)
PROSPECTS = st.lists(
    st.builds(
        Prospect,
        name=st.text("abc", min_size=1, max_size=4),
        mean=st.floats(-1, 1),
        probability=st.floats(0, 1),
        confirm=st.floats(-1, 1),
        pairs=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda one: one.name,
)


def subject(name, *gains, forecast=0.01, idea_class="a", **more):
    return Subject(name, idea_class, "someone", forecast, dict(enumerate(gains)), **more)


def screened(null_pairs=2, ideas=12):
    rng = np.random.default_rng(0)
    return [subject(f"null{i}", *(SD * rng.standard_normal(null_pairs))) for i in range(ideas)]


def said_of(subjects, price=0.02):
    return prospects(subjects, OUTLOOK, price)


def test_a_clear_gain_enters_a_clear_loss_does_not_and_a_doubtful_one_is_looked_at_again():
    said = said_of(
        [*screened(), subject("good", 0.1, 0.11), subject("bad", -0.1, -0.08), subject("who", 0.03, 0.02)]
    )
    assert said["good"].confirm > 0
    assert said["good"].probability > 0.95
    assert said["bad"].confirm < 0
    assert said["bad"].pairs == 0
    assert said["who"].pairs >= 1


def test_the_less_is_left_the_more_a_run_must_bring():
    subjects = screened()
    prices = [price_of_compute(subjects, OUTLOOK, left) for left in (5, 40, 200)]
    assert prices[0] > prices[1] > prices[2]


def test_ideas_that_wait_compete_for_the_budget():
    alone = price_of_compute(screened(), OUTLOOK, 60)
    assert price_of_compute([*screened(), *(subject(f"w{i}") for i in range(100))], OUTLOOK, 60) > alone


def test_what_other_campaigns_measured_of_a_class_moves_the_expectation_and_is_not_itself_proposed():
    def expectation(outcome):
        past = [subject(f"p{i}", known=(outcome, SD / 4), open=False, idea_class="b") for i in range(30)]
        said = said_of([*screened(), *past, subject("new", idea_class="b"), subject("other", idea_class="a")])
        assert set(said) == {"new", "other", *(one.name for one in screened())}
        return said["new"].mean

    assert expectation(0.1) > 0 > expectation(-0.1)


def test_a_noisy_idea_is_believed_less():
    quiet, noisy = subject("quiet", 0.03, 0.031, 0.029), subject("noisy", 0.13, -0.07, 0.03)
    said = said_of([*screened(3), quiet, noisy])
    assert said["quiet"].probability > said["noisy"].probability


def test_at_no_price_at_all_everything_that_could_gain_is_worth_confirming():
    assert all(
        one.confirm >= 0 for one in said_of([subject("a", 0.0, 0.01), subject("b")], price=0.0).values()
    )


@given(PROSPECTS, st.integers(1, 6))
def test_what_is_worth_most_enters_in_order_and_nothing_that_is_worth_nothing(said, most):
    names = entering(said, most)
    by_name = {one.name: one for one in said}
    worth = [by_name[name].confirm for name in names]
    assert all(value > 0 for value in worth)
    assert worth == sorted(worth, reverse=True)
    assert len(names) == min(most, sum(one.confirm > 0 for one in said))
    assert entering(said[::-1], most) == names


def test_an_a_a_campaign_lets_everything_in():
    said = [Prospect(name=str(i), mean=0.0, probability=0.5, confirm=-1.0, pairs=0) for i in range(3)]
    assert entering(said, 5) == []
    assert entering(said, 5, everything=True) == ["0", "1", "2"]


def test_no_noise_at_all_is_no_reason_to_fail():
    said = said_of([subject("same", 0.0, 0.0), subject("twin", 0.0, 0.0)])
    assert said["same"].mean == pytest.approx(said["twin"].mean)


def test_a_gain_beyond_what_a_posterior_tells_apart_is_what_was_measured():
    """Found once: it was read as the end of the grid, without doubt, and the rest blamed on the control."""
    sd = OUTLOOK.sd
    huge = subject("huge", 40 * sd, 41 * sd)
    others = [subject(f"null-{i}", 0.1 * sd * (-1) ** i, -0.1 * sd) for i in range(3)]
    said = said_of([huge, subject("ruin", -30 * sd, -31 * sd), *others])
    assert said["huge"].mean == pytest.approx(40.5 * sd)
    assert said["huge"].error == pytest.approx(sd / 2**0.5)
    assert said["ruin"].mean == pytest.approx(-30.5 * sd)
    assert all(abs(said[one.name].mean) < 0.5 * sd for one in others)
