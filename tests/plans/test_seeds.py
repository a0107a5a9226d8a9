"""Blocks of seeds are fresh: no two stages, rounds, rungs or campaigns share one."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.plans.seeds import BLOCK, is_first, seed_block
from mendel.records import PlanKind

PLACES = st.tuples(
    st.integers(0, 2**31 - 1), st.integers(0, 999), st.sampled_from(PlanKind), st.integers(0, 9)
)


@given(PLACES, PLACES)
def test_blocks_never_overlap(one, other):
    first, second = (
        seed_block(campaign, number, kind, BLOCK, rung) for campaign, number, kind, rung in (one, other)
    )
    assert (set(first) == set(second)) if one == other else not set(first) & set(second)


@given(PLACES, st.integers(2, BLOCK))
def test_only_the_first_seed_of_a_block_is_its_first(place, count):
    campaign, number, kind, rung = place
    seeds = seed_block(campaign, number, kind, count, rung)
    assert [seed for seed in seeds if is_first(seed)] == [seeds[0]]


def test_neighbouring_blocks_never_overlap():
    places = product((1, 2), range(4), PlanKind, range(3))
    blocks = [seed_block(campaign, number, kind, BLOCK, rung) for campaign, number, kind, rung in places]
    assert len({seed for block in blocks for seed in block}) == len(blocks) * BLOCK


@given(PLACES, st.integers(1, BLOCK), st.integers(1, BLOCK))
def test_a_longer_block_begins_with_the_shorter_one(place, one, other):
    campaign, number, kind, rung = place
    short, long = sorted((one, other))
    assert seed_block(campaign, number, kind, long, rung)[:short] == seed_block(
        campaign, number, kind, short, rung
    )


@given(PLACES)
def test_seeds_fit_into_what_generators_take(place):
    campaign, number, kind, rung = place
    assert 0 <= max(seed_block(campaign, number, kind, BLOCK, rung)) < 2**63


@pytest.mark.parametrize(
    ("number", "count", "rung"), [(0, 0, 0), (0, BLOCK + 1, 0), (1000, 1, 0), (0, 1, 10)]
)
def test_a_block_that_would_run_into_the_next_is_refused(number, count, rung):
    with pytest.raises(ValueError, match=f"round {number}, rung {rung}, {count} seeds"):
        seed_block(1, number, PlanKind.SCREEN, count, rung)
