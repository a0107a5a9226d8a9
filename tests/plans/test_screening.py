"""What a screen sends on, and what it looks at again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.plans.screening import Belief, entering

ENTER, GAIN = 0.75, 0.01
BELIEFS = st.lists(
    st.builds(Belief, name=st.text("abc", min_size=1, max_size=4), mean=st.floats(-1, 1), sd=st.floats(0, 1)),
    max_size=12,
    unique_by=lambda belief: belief.name,
)


def test_the_probability_is_that_of_a_normal():
    assert Belief(name="a", mean=0.01, sd=1.0).probability_above(0.01) == pytest.approx(0.5)
    assert Belief(name="a", mean=0.1, sd=0.05).probability_above(0.0) == pytest.approx(0.97725, abs=1e-5)
    assert Belief(name="a", mean=0.1, sd=0.0).probability_above(0.05) == 1.0
    assert Belief(name="a", mean=0.1, sd=0.0).probability_above(0.1) == 0.0


@given(BELIEFS, st.integers(1, 6))
def test_the_most_promising_enter_in_order_and_nobody_unlikely_does(beliefs, most):
    names = entering(beliefs, GAIN, ENTER, most)
    by_name = {belief.name: belief for belief in beliefs}
    able = [belief for belief in beliefs if belief.probability_above(GAIN) >= ENTER]
    assert len(names) == min(most, len(able))
    chosen = [by_name[name] for name in names]
    assert all(belief in able for belief in chosen)
    assert [belief.mean for belief in chosen] == sorted((b.mean for b in chosen), reverse=True)
    left_out = [belief.mean for belief in able if belief.name not in names]
    assert not left_out or max(left_out) <= chosen[-1].mean


@given(BELIEFS, st.integers(1, 6))
def test_the_order_of_the_queue_does_not_matter(beliefs, most):
    assert entering(beliefs, GAIN, ENTER, most) == entering(beliefs[::-1], GAIN, ENTER, most)


@pytest.mark.parametrize(
    ("mean", "doubt"),
    [(-1.0, False), (-0.2, False), (0.0, True), (0.08, True), (0.12, True), (0.3, False)],
)
def test_more_pairs_go_to_what_they_could_still_decide(mean, doubt):
    assert Belief(name="a", mean=mean, sd=0.1).in_doubt(GAIN, ENTER) is doubt


@given(st.floats(-1, 1), st.floats(0.001, 1))
def test_the_hopeless_and_the_certain_are_not_in_doubt(mean, sd):
    belief = Belief(name="a", mean=mean, sd=sd)
    probability = belief.probability_above(GAIN)
    if probability <= 1 - ENTER or probability >= 0.99:
        assert not belief.in_doubt(GAIN, ENTER)
