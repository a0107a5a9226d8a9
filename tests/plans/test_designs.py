"""Designs: balanced, orthogonal, with the promised resolution, and contrasts that answer what they say."""

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.plans.designs import DesignError, choose, drop_whole, make_design
from mendel.plans.fractions import defining_words, generators

fractions = st.integers(3, 9).flatmap(
    lambda k: st.tuples(st.just(k), st.sampled_from([2**b for b in range(2, min(k, 7)) if k <= 2**b - 1]))
)
plackett_burman = st.sampled_from([8, 12, 16, 20, 24, 32]).flatmap(
    lambda n: st.tuples(st.integers(max(n // 2, 3), n - 1), st.just(n))
)

seeds = st.integers(0, 2**32 - 1)


def levels(design):
    """The orthogonal part, (cells, factors)."""
    return np.array(design.rows)[: design.core]


def gains_of(design, coefficients):
    """Noise-free gains of the cells: coefficients of products of the levels, by tuple of factors."""
    rows = np.array(design.rows, dtype=float)
    return sum(value * rows[:, list(term)].prod(axis=1) for term, value in coefficients.items())


def answers(contrasts, gains):
    return [float(np.dot(contrast.weights, gains)) for contrast in contrasts]


def check_table(design):
    """Every level as often as the other, all columns uncorrelated, everything off and on among the cells."""
    table = levels(design)
    assert (table.sum(axis=0) == 0).all()
    assert (table.T @ table == design.core * np.eye(design.factors)).all()
    assert len(set(design.rows)) == len(design.rows)
    assert design.rows[design.reference] == (-1,) * design.factors
    assert (1,) * design.factors in design.rows
    for contrast in (*design.main, *design.interactions, *design.shapley, design.whole):
        assert abs(sum(contrast.weights)) < 1e-9


@given(fractions)
@settings(max_examples=30, deadline=None)
def test_a_fraction_is_balanced_orthogonal_and_has_the_resolution_of_its_shortest_word(size):
    factors, cells = size
    design = make_design("fraction", factors, cells)
    check_table(design)
    table = levels(design)
    assert design.core == cells
    shortest = next(
        size
        for size in range(1, factors + 1)
        if any(
            abs(table[:, list(term)].prod(axis=1).sum()) == cells
            for term in combinations(range(factors), size)
        )
    )
    assert design.resolution == shortest == len(design.words[0])
    assert len(design.words) == 2**factors // cells - 1


@given(plackett_burman)
@settings(max_examples=30, deadline=None)
def test_plackett_burman_is_balanced_and_orthogonal(size):
    factors, cells = size
    design = make_design("pb", factors, cells)
    check_table(design)
    assert (design.core, design.interactions, design.resolution) == (cells, (), 3)


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (12, "++-+++---+-"),
        (20, "++--++++-+-+----++-"),
        (24, "+++++-+-++--++--+-+----"),
    ],
)
def test_first_rows_are_those_of_plackett_and_burman(cells, first):
    """As printed in Plackett and Burman 1946; that of 24 is ours turned around, which is as good."""
    row = "".join("+" if level > 0 else "-" for level in make_design("pb", cells - 1, cells).rows[0])
    turned = {row[n:] + row[:n] for n in range(len(row))} | {
        row[::-1][n:] + row[::-1][:n] for n in range(len(row))
    }
    assert first in turned


@pytest.mark.parametrize(
    ("factors", "basic", "words"),
    [
        (5, 4, {5: 1}), (6, 4, {4: 3}), (7, 4, {4: 7}), (8, 4, {4: 14, 8: 1}), (7, 5, {4: 1, 5: 2}),
        (8, 5, {4: 3, 5: 4}), (8, 6, {5: 2, 6: 1}), (9, 4, {3: 4, 4: 14, 5: 8, 7: 4, 8: 1}),
        (9, 5, {4: 6, 5: 8, 8: 1}), (9, 6, {4: 1, 5: 4, 6: 2}), (10, 5, {4: 10, 5: 16, 8: 5}),
        (10, 6, {4: 2, 5: 8, 6: 4, 8: 1}), (11, 5, {4: 25, 6: 27, 8: 10, 10: 1}),
    ],
)  # fmt: skip
def test_generators_have_the_aberration_of_the_published_catalogue(factors, basic, words):
    """Chen, Sun and Wu 1993, tables of 16, 32 and 64 runs."""
    assert Counter(map(len, defining_words(generators(factors, basic), basic))) == words


@given(st.integers(5, 7), st.integers(3, 4))
@settings(max_examples=8, deadline=None)
def test_no_other_choice_of_generators_has_less_aberration(factors, basic):
    if factors > 2**basic - 1 or basic >= factors:
        return

    def pattern(masks):
        counts = Counter(map(len, defining_words(masks, basic)))
        return [counts[size] for size in range(1, factors + 1)]

    candidates = [mask for mask in range(1, 2**basic) if mask.bit_count() > 1]
    best = min(pattern(masks) for masks in combinations(candidates, factors - basic))
    assert pattern(generators(factors, basic)) == best


designs = st.one_of(
    st.integers(1, 5).map(lambda k: ("full", k, None)),
    fractions.map(lambda s: ("fraction", *s)),
    plackett_burman.filter(lambda s: s[0] < 12).map(lambda s: ("pb", *s)),
)


@given(designs, seeds)
@settings(max_examples=40, deadline=None)
def test_an_effect_is_its_own_plus_the_stated_share_of_each_alias(size, seed):
    """Effects in the units of the contrasts: twice a coefficient for one factor, four times for a pair."""
    random = np.random.default_rng(seed)
    design = make_design(*size)
    factors = range(design.factors)
    terms = [(i,) for i in factors] + list(combinations(factors, 2))
    coefficients = {term: random.normal() for term in terms}
    effects = {term: 2 ** len(term) * value for term, value in coefficients.items()}
    gains = gains_of(design, coefficients)
    contrasts = (*design.main, *design.interactions)
    for contrast, found in zip(contrasts, answers(contrasts, gains), strict=True):
        expected = effects[contrast.factors] + sum(
            share * effects[other] for other, share in contrast.aliases
        )
        assert found == pytest.approx(expected, abs=1e-6 * design.core)
    if design.resolution is None or design.resolution >= 5:
        assert all(not contrast.aliases for contrast in contrasts)
        assert len(design.interactions) == len(terms) - design.factors
    if design.resolution == 4:
        assert all(not contrast.aliases for contrast in design.main)


@given(st.integers(1, 5), seeds)
@settings(max_examples=25, deadline=None)
def test_shapley_values_are_averages_over_all_orders_and_add_up_to_the_whole(factors, seed):
    design, random = make_design("full", factors), np.random.default_rng(seed)
    gains = np.array([random.normal() for _ in design.rows])
    worth = dict(zip(design.rows, gains, strict=True))
    found = answers(design.shapley, gains)
    assert sum(found) == pytest.approx(answers([design.whole], gains)[0])
    totals = np.zeros(factors)
    orders = list(permutations(range(factors)))
    for order in orders:
        row = [-1] * factors
        for factor in order:
            before = worth[tuple(row)]
            row[factor] = 1
            totals[factor] += worth[tuple(row)] - before
    assert found == pytest.approx(list(totals / len(orders)))


@given(st.integers(2, 5), seeds)
@settings(max_examples=15, deadline=None)
def test_shapley_values_of_factors_that_do_the_same_are_equal_and_of_one_that_does_nothing_zero(
    factors, seed
):
    design, random = make_design("full", factors), np.random.default_rng(seed)
    by_count = [random.normal() for _ in range(factors + 1)]
    idle = np.array([by_count[sum(level > 0 for level in row[1:])] for row in design.rows])
    found = answers(design.shapley, idle)
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert found[1:] == pytest.approx([found[1]] * (factors - 1))


def test_without_interactions_of_three_a_fraction_has_the_shapley_values_of_the_full_factorial():
    half, full = make_design("fraction", 5), make_design("full", 5)
    random = np.random.default_rng(3)
    terms = [(i,) for i in range(5)] + list(combinations(range(5), 2))
    coefficients = {term: random.normal() for term in terms}
    assert answers(half.shapley, gains_of(half, coefficients)) == pytest.approx(
        answers(full.shapley, gains_of(full, coefficients))
    )


@pytest.mark.parametrize("kind", ["loo", "add"])
def test_one_at_a_time_sees_the_first_or_the_last_gain_and_the_whole(kind):
    design = make_design(kind, 3)
    # 1 for each factor, and the first two lose half a unit together
    on = (np.array(design.rows) > 0).astype(float)
    gains = on.sum(axis=1) - 0.5 * on[:, 0] * on[:, 1]
    assert answers(design.main, gains) == pytest.approx([1, 1, 1] if kind == "add" else [0.5, 0.5, 1])
    assert answers([design.whole], gains) == pytest.approx([2.5])
    assert answers([design.beyond], gains) == pytest.approx([-0.5 if kind == "add" else 0.5])
    assert len(design.rows) == 5 and not design.shapley and not design.interactions
    assert set(design.rows[design.reference]) == ({-1} if kind == "add" else {1})


def test_alternatives_are_added_one_at_a_time_without_the_cell_that_has_them_all():
    design = drop_whole(make_design("add", 3))
    assert len(design.rows) == 4 and design.whole is design.beyond is None
    assert all(len(contrast.weights) == 4 and abs(sum(contrast.weights)) < 1e-9 for contrast in design.main)


@pytest.mark.parametrize(
    ("factors", "kind", "cells", "resolution"),
    [(1, "full", 2, None), (4, "full", 16, None), (5, "fraction", 16, 5), (8, "fraction", 16, 4),
     (11, "fraction", 32, 4), (12, "pb", 16, 3), (20, "pb", 24, 3)],
)  # fmt: skip
def test_what_is_chosen_for_a_number_of_factors(factors, kind, cells, resolution):
    assert choose(factors) == kind
    design = make_design("auto", factors)
    assert (design.kind, design.core, design.resolution) == (kind, cells, resolution)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("pairs", 3), "design 'pairs' is unknown; allowed are auto, loo, add, full, fraction, pb"),
        (("full", 9), "a full factorial of 9 factors has 512 cells; allowed are up to 8"),
        (("full", 3, 8), "cells: 8 given, but a full factorial design has one size"),
        (("fraction", 2), "a fraction needs three factors at least, found 2"),
        (("fraction", 12), "fractions go up to 11 factors, found 12"),
        (("fraction", 6, 12), "no fraction of 12 cells for 6 factors; allowed are 8, 16, 32"),
        (("pb", 48), "Plackett-Burman designs go up to 47 factors, found 48"),
        (("pb", 11, 8), "no Plackett-Burman design of 8 cells for 11 factors; allowed are 12, 16"),
        (("pb", 2, 8), "a Plackett-Burman design of 8 cells has some twice for 2 factors"),
        (("auto", 0), "at least one factor"),
    ],
)
def test_designs_that_do_not_exist_are_refused(asked, message):
    with pytest.raises(DesignError, match=message):
        make_design(*asked)
