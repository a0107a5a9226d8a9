"""When a cohort is confirmed together: only where that finds more per run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.records import Rule
from mendel.verdicts.together import (
    APART,
    BESIDE,
    LEAST,
    LEAST_ERROR,
    MOST,
    SPARE,
    Hopes,
    beside_others,
    hopes_of,
    longest,
    most_together,
    next_look,
    together,
)

RULE = Rule(planned=12, min_loss_gain=0.003, noise=0.01, noise_pairs=8)


def hopes(*gains, doubt=0.5, need=4.5, null=0.3):
    doubts = np.broadcast_to(np.asarray(doubt, dtype=float), len(gains))
    return Hopes(np.array(gains, dtype=float), doubts, np.full(len(gains), need), null)


@pytest.mark.parametrize(
    ("gains", "doubt", "seeds", "pays"),
    [
        ([8.0] * 12, 0.5, 40, True),
        ([8.0] * 10 + [0.0] * 2, 0.5, 40, True),
        ([8.0] * 2, 0.5, 40, False),
        ([8.0] * 12, 0.5, 4, False),  # fewer seeds than any claim takes
        ([0.6] * 4, 2.0, 5, False),  # five pairs of halves say little of gains like the noise
    ],
)
def test_halves_are_for_gains_that_stand_out_and_for_many_seeds(gains, doubt, seeds, pays):
    mean, error = beside_others(gains, doubt**0.5, 1.0)
    assert together(hopes(*mean, doubt=error**2), hopes(*gains, doubt=doubt), 12, seeds) is pays


def test_beside_others_a_gain_is_a_share_of_what_it_is_alone():
    rng = np.random.default_rng(0)
    alone = np.array([8.0, 1.0, -2.0]) + np.array([0.3, 2.0, 0.5]) * rng.standard_normal((100_000, 3))
    beside = alone * (BESIDE + APART * rng.standard_normal((100_000, 3)))
    mean, error = beside_others([8.0, 1.0, -2.0], [0.3, 2.0, 0.5], 0.1)
    assert mean == pytest.approx(beside.mean(axis=0), abs=0.02)
    assert error == pytest.approx(beside.std(axis=0), rel=0.02)
    assert beside_others([0.0], [0.0], 1.0)[1] == LEAST_ERROR


@given(st.lists(st.floats(-3, 10), min_size=3, max_size=16), st.floats(0.05, 3), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_look_is_never_longer_than_there_is_room_or_shorter_than_a_claim_takes(gains, doubt, done):
    said = hopes(*gains, doubt=doubt)
    look = next_look(said, done, most=20)
    assert look.seeds == 0 or max(1, 5 - done) <= look.seeds <= 20
    assert ((look.chance >= 0) & (look.chance <= 1)).all()
    dear = next_look(said, done, most=20, price=0.3)
    assert dear.seeds <= look.seeds
    assert next_look(said, done, most=20, price=100).seeds == 0
    assert next_look(said, done, most=max(0, 4 - done)).seeds == 0 or done > 0


def test_what_is_sure_needs_the_fewest_seeds_and_what_is_hopeless_has_no_chance():
    look = next_look(hopes(9.0, 9.0, 9.0, 9.0, -1.0, doubt=0.1), 0, 40)
    assert look.seeds == 5 + SPARE
    assert look.chance[:4] == pytest.approx(1, abs=0.01) and look.chance[4] < 0.01


def test_halves_take_more_seeds_than_pairs_the_more_ideas_there_are():
    few, many = (longest(hopes(*[1.0] * size), 12) for size in (3, 12))
    assert 12 < few < many <= 12 + 2 * 12


def test_a_claim_takes_less_beside_others():
    def need(standing, means):
        return hopes_of(RULE, [4, 5, 6], standing, means, [0.005] * 3, [0.0] * 3).need

    promising, hopeless = [0.05] * 3, [0.05, -0.05, -0.05]
    assert (need([0, 1], promising) < need([], promising)).all()
    assert need([], promising)[0] < need([], hopeless)[0]
    some = hopes_of(RULE, [4, 5, 6], [], promising, [0.005] * 3, [2.0, 99.0, -5.0])
    assert need([], promising) - some.need == pytest.approx([2.0, need([], promising)[1] - 0.2, 0.0])


def test_a_cohort_is_small_where_single_runs_fail():
    assert most_together(0.0) == MOST
    assert LEAST <= most_together(0.02) < MOST
    assert most_together(0.05) < LEAST
