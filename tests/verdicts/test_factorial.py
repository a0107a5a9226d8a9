"""Effects of designs: intervals cover, Holm holds its error, shares add up, multipliers are those planted."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp

from mendel.verdicts.factorial import estimate, gains, holm, in_compute, shares, within_seeds

TRIALS = 2000
MISSED = binom.ppf([1e-4, 1 - 1e-4], TRIALS, 0.05) / TRIALS
"""Between these lies the share of misses of a correct 95 % procedure."""
CUBE = np.array(list(itertools.product((-1, 1), repeat=3)), dtype=float)
MAIN = (CUBE / 4).T
PAIRS = np.stack([CUBE[:, i] * CUBE[:, j] / 2 for i, j in itertools.combinations(range(3), 2)])


def experiments(effects, seeds, count=TRIALS, unequal=False):
    """(count, seeds, 8) gains with large seed noise; `unequal`: cells differ in their own noise tenfold."""
    random = np.random.default_rng(len(effects) + seeds)
    own = np.linspace(0.1, 1.0, 8) if unequal else 1.0
    mean = CUBE @ np.asarray(effects) / 2
    return mean + random.normal(size=(count, seeds, 8)) * own + 5 * random.normal(size=(count, seeds, 1))


# --- intervals and p-values ---------------------------------------------------------------------------


@pytest.mark.parametrize("unequal", [False, True])
def test_intervals_cover_one_by_one_and_all_at_once(unequal):
    effects = np.array([0.0, 1.0, -2.0])
    alone, together = np.zeros(3), 0
    for table in experiments(effects, 4, unequal=unequal):
        found = estimate(within_seeds(table, MAIN))
        alone += [not one.low <= true <= one.high for one, true in zip(found, effects, strict=True)]
        together += any(
            not one.all_low <= true <= one.all_high for one, true in zip(found, effects, strict=True)
        )
    assert (alone / TRIALS >= MISSED[0]).all() and (alone / TRIALS <= MISSED[1]).all()
    # Bonferroni wastes little on three effects: more than half of what it may miss.
    assert 0.025 < together / TRIALS <= MISSED[1]


def test_under_the_global_null_holm_rejects_anything_in_at_most_five_percent():
    any_of_six = 0
    weights = np.concatenate([MAIN, PAIRS])
    for table in experiments(np.zeros(3), 5):
        any_of_six += min(one.p_holm for one in estimate(within_seeds(table, weights))) <= 0.05
    assert 0.025 < any_of_six / TRIALS <= MISSED[1]


def test_with_some_true_effects_holm_still_rejects_a_null_in_at_most_five_percent():
    false = 0
    for table in experiments(np.array([9.0, 0.0, 0.0]), 5):
        found = estimate(within_seeds(table, MAIN))
        assert found[0].p_holm <= 0.05 or found[0].value > 0
        false += min(one.p_holm for one in found[1:]) <= 0.05
    assert 0.025 < false / TRIALS <= MISSED[1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_holm_is_the_step_down_procedure(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all() and (adjusted <= 1).all()
    for alpha in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for rank, place in enumerate(np.argsort(p, kind="stable")):
            if p[place] * (len(p) - rank) > alpha:
                break
            rejected.add(int(place))
        assert rejected == {place for place, value in enumerate(adjusted) if value <= alpha}


def test_an_effect_is_students_t_over_seeds():
    (table,) = experiments(np.ones(3), 6, count=1)
    contrast = table @ MAIN[0]
    found, expected = estimate(contrast[:, None])[0], ttest_1samp(contrast, 0.0)
    assert found.p == pytest.approx(expected.pvalue) == pytest.approx(found.p_holm)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.all_low, found.all_high) == (found.low, found.high)


def test_what_a_seed_does_to_all_cells_cancels():
    (table,) = experiments(np.ones(3), 4, count=1)
    moved = table + np.array([[3.0], [-7.0], [0.5], [100.0]])
    assert within_seeds(moved, MAIN) == pytest.approx(within_seeds(table, MAIN))


def test_effects_without_noise_have_no_width():
    found = estimate(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert [(one.low, one.high, one.p) for one in found] == [(1.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    with pytest.raises(ValueError, match="two seeds at least, found 1"):
        estimate(np.array([[1.0]]))


# --- failures -------------------------------------------------------------------------------------------


def test_failures_stand_at_the_bound_below_their_seeds_reference():
    table, cut = gains([[3.0, None, 2.9], [3.2, 3.1, 9.0], [None, 3.0, 3.4]], reference=0, bound=0.5)
    assert table.tolist() == [[-3.0, -3.5, -2.9], [-3.2, -3.1, -3.7], [-3.7, -3.0, -3.4]]
    assert cut == [(0, 1), (1, 2), (2, 0)]
    with pytest.raises(ValueError, match="one run that ended well"):
        gains([[None, None]], 0, 1.0)


# --- shares -----------------------------------------------------------------------------------------------


def test_shares_cover_the_true_ones_and_add_up_to_one():
    true = np.array([0.5, 0.3, 0.2])
    random, missed = np.random.default_rng(1), np.zeros(3)
    for _ in range(TRIALS):
        parts = true + random.normal(0, 0.1, (5, 3)) + random.normal(0, 0.1, (5, 1)) * true
        found = shares(parts, parts.sum(axis=1))
        assert sum(one.value for one in found) == pytest.approx(1)
        missed += [not one.low <= share <= one.high for one, share in zip(found, true, strict=True)]
    assert (missed / TRIALS <= MISSED[1]).all() and (missed / TRIALS >= MISSED[0]).all()


def test_shares_of_a_whole_that_is_not_told_from_nothing_have_no_interval():
    parts = np.array([[1.0, -1.2], [-1.0, 0.9], [0.5, 0.1]])
    assert all(one.low is one.high is None for one in shares(parts, parts.sum(axis=1)))
    assert shares(np.zeros((3, 1)), np.zeros(3))[0].value is None


# --- compute ----------------------------------------------------------------------------------------------

FLOOR, SCALE, ALPHA, FLOPS = 1.0, 2.0, 0.3, 1e11


def loss_at(log2_cm, multiple=1.0):
    return FLOOR + SCALE * (multiple * 2.0 ** np.asarray(log2_cm)) ** -ALPHA


def curve_points(random, noise):
    return [
        (multiple * FLOPS, float(loss_at(0.0, multiple) * (1 + noise * random.normal())))
        for multiple in (0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0)
    ]


def planted(random, seeds, noise):
    """Two factors of 0.5 and 0.4 log2 CM that lose 0.1 together: gains of the four cells, seed by seed."""
    log2_cm = np.array([0.0, 0.5, 0.4, 0.8])
    seed = random.normal(0, 0.03, (seeds, 1))
    return -(loss_at(log2_cm) + seed + random.normal(0, noise, (seeds, 4)))


FOUR_MAIN = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]])
FOUR_PAIR = np.array([[1.0, -1.0, -1.0, 1.0]])


def test_multipliers_add_up_where_bits_do_not():
    """Without noise: two changes that multiply have an interaction in bits per byte and none in log2 CM."""
    random = np.random.default_rng(0)
    table = np.tile(-loss_at([0.0, 0.5, 0.4, 0.9]), (3, 1))
    assert (table @ FOUR_PAIR.T)[0, 0] < -0.01
    scale = in_compute(curve_points(random, 1e-6), FLOPS, table, 0)
    assert scale.estimate(FOUR_PAIR)[0].value == pytest.approx(0.0, abs=1e-3)
    assert [one.value for one in scale.estimate(FOUR_MAIN)] == pytest.approx([0.5, 0.4], abs=1e-3)
    assert scale.bounded == ()


def test_intervals_of_multipliers_hold_with_a_noisy_curve():
    random, trials = np.random.default_rng(5), 200
    missed, edge = np.zeros(3), binom.ppf(1 - 1e-4, 200, 0.05) / 200
    for _ in range(trials):
        scale = in_compute(curve_points(random, 0.003), FLOPS, planted(random, 4, 0.004), 0)
        found = [*scale.estimate(FOUR_MAIN), *scale.estimate(FOUR_PAIR)]
        missed += [
            not one.low <= true <= one.high for one, true in zip(found, (0.45, 0.35, -0.1), strict=True)
        ]
    assert (missed / trials <= edge).all(), missed


def test_cells_beyond_the_curve_are_bounds():
    random = np.random.default_rng(0)
    table = np.tile(-loss_at([0.0, 0.5, 0.4, 6.0]), (3, 1))
    scale = in_compute(curve_points(random, 1e-6), FLOPS, table, 0)
    assert scale.bounded == (3,)
    assert scale.cells.max() == pytest.approx(3.0)  # four times the largest budget, twice the rung's
    with pytest.raises(ValueError, match="does not fall"):
        in_compute([(c, 5 - loss) for c, loss in curve_points(random, 0.001)], FLOPS, table, 0)
