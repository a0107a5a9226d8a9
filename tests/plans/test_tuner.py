"""A search asks for points within its ranges, repeats itself, and comes near what is best."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.plans.tuner import BATCH, Search, best_of, rounded
from mendel.records import Range

LR = Range(low=1e-3, high=2e-2, log=True)
DECAY = Range(low=0.0, high=0.3)
WARMUP = Range(low=5, high=100, integer=True)


@st.composite
def ranges(draw):
    integer, log = draw(st.booleans()), draw(st.booleans())
    low = draw(st.integers(1, 50) if integer else st.floats(1e-6, 1e3))
    if not log:
        low -= draw(st.sampled_from([0, 100]))
    high = low + draw(st.integers(1, 100) if integer else st.floats(1e-3, 1e3))
    return Range(low=low, high=high, log=log, integer=integer)


KNOBS = st.dictionaries(st.sampled_from("abc"), ranges(), min_size=1)


def run(search, loss):
    """Points in the order in which they were asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # optuna tells of the future
        while asked := search.ask():
            search.tell([loss(point) for point in asked])
    return [point for point, _ in search.told]


def bowl(best, start):
    """A loss that is lowest at `best`, in octaves; `start` stands where a point sets nothing."""
    return lambda point: sum(math.log2({**start, **point}[key] / best[key]) ** 2 for key in best)


@settings(max_examples=40, deadline=None)
@given(knobs=KNOBS, trials=st.integers(1, 12), sampler=st.sampled_from(["tpe", "cma-es"]), data=st.data())
def test_the_first_point_is_the_recipe_as_it_stands_and_all_others_lie_in_their_ranges(
    knobs, trials, sampler, data
):
    losses = st.none() | st.floats(allow_nan=True, allow_infinity=True)
    points = run(Search(knobs, trials, sampler), lambda point: data.draw(losses))
    assert len(points) == trials and points[0] == {}
    for point in points[1:]:
        assert point.keys() == knobs.keys()
        for key, value in point.items():
            assert knobs[key].low <= value <= knobs[key].high
            assert type(value) is (int if knobs[key].integer else float)


@pytest.mark.parametrize("sampler", ["tpe", "cma-es"])
def test_what_is_asked_follows_from_what_was_told(sampler):
    knobs, start = {"lr": LR, "decay": DECAY, "warmup": WARMUP}, {"lr": 6e-3, "decay": 0.1, "warmup": 20}
    loss = bowl({"lr": 3e-3}, start)
    first, again = (run(Search(knobs, 20, sampler, 2**40 + 7, start), loss) for _ in range(2))
    assert first == again
    assert run(Search(knobs, 20, sampler, 8, start), loss) != first
    other = run(Search(knobs, 20, sampler, 2**40 + 7, start), bowl({"lr": 2e-2}, start))
    assert other[:BATCH] == first[:BATCH] and other != first


def test_two_searches_with_one_seed_begin_with_the_same_points():
    """So an idea and its control are compared at the same values as far as these are drawn by chance."""
    one, other = (run(Search({"lr": LR}, 8, start=start), lambda point: 1.0) for start in ({}, {"lr": 5e-3}))
    assert one[:BATCH] == other[:BATCH]


@pytest.mark.parametrize(("sampler", "worst"), [("tpe", 0.6), ("cma-es", 0.6)])
def test_it_comes_near_the_best_values_and_nearer_than_chance(sampler, worst):
    knobs, start = {"lr": LR, "decay": Range(low=0.01, high=0.3, log=True)}, {"lr": 2e-2, "decay": 0.01}
    found, chance = [], []
    for seed in range(12):
        draw = np.random.default_rng(seed)
        best = {"lr": 1e-3 * 20 ** draw.uniform(0.2, 0.8), "decay": 0.01 * 30 ** draw.uniform(0.2, 0.8)}
        loss = bowl(best, start)
        search = Search(knobs, 40, sampler, seed, start)
        run(search, loss)
        found.append(loss(search.best))
        drawn = [{"lr": 1e-3 * 20 ** draw.uniform(), "decay": 0.01 * 30 ** draw.uniform()} for _ in range(39)]
        chance.append(min(map(loss, drawn)))
    assert np.mean(found) < worst * np.mean(chance)


def test_a_run_without_a_loss_is_never_best_and_ends_nothing():
    search = Search({"lr": LR}, 8)
    run(search, lambda point: None if point.get("lr", 0) > 5e-3 else 3.0 - point.get("lr", 0))
    assert 0 < search.best["lr"] <= 5e-3
    nothing = Search({"lr": LR}, 8)
    run(nothing, lambda point: math.nan)
    assert nothing.best == {} and all(loss is None for _, loss in nothing.told)


def test_of_equal_losses_the_first_is_best():
    assert best_of([({}, 1.0), ({"a": 2}, 1.0)]) == {}
    assert best_of([({}, None), ({"a": 2}, 1.0), ({"a": 3}, 1.0)]) == {"a": 2}


def test_one_knob_or_whole_numbers_are_nothing_for_cma_es():
    """With one dimension its sampler would draw at random, and say so."""
    for knobs in ({"lr": LR}, {"lr": LR, "warmup": WARMUP}):
        assert run(Search(knobs, 16, "cma-es"), lambda p: sum(p.values())) == run(
            Search(knobs, 16, "tpe"), lambda p: sum(p.values())
        )


@given(ranges(), st.floats(0, 1))
def test_a_rounded_value_stays_in_its_range(range, share):
    value = range.low + share * (range.high - range.low)
    assert range.low <= rounded(value, range) <= range.high


def test_a_value_is_told_in_as_many_digits_as_mean_something():
    assert rounded(0.00412345678, LR) == 0.004123
    assert rounded(0.0009999, Range(low=0.00099999, high=1)) == 0.00099999
