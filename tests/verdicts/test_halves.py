"""A cohort proved together, in random halves: fair coins are all that its tests rest on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.records import Interval, Rule, VerdictKind
from mendel.verdicts.effects import paired_interval
from mendel.verdicts.evalues import log_sign_flip
from mendel.verdicts.halves import (
    Contrasts,
    Gains,
    Halves,
    as_pairs,
    difference,
    draw_signs,
    learned,
    score,
    worth_in_pairs,
)
from mendel.verdicts.judge import Action, decide

SD, NULL, BOUND = 0.01, 0.003, 1.0
RULE = Rule(planned=12, min_loss_gain=NULL, bound=BOUND, noise=SD, noise_pairs=16, max_pairs=40)


def train(rng, signs, gains, noise=None, interactions=None):
    """Losses of (first, second) halves; effects add up but for `interactions` (ideas, ideas) of pairs."""
    held = [(signs > 0).astype(float), (signs < 0).astype(float)]
    draws = rng.standard_normal((2, len(signs))) / 2**0.5 if noise is None else noise((2, len(signs)))
    losses = []
    for half, draw in zip(held, draws, strict=True):
        both = 0.0 if interactions is None else np.einsum("si,ij,sj->s", half, interactions, half)
        losses.append(3.0 - half @ gains - both + SD * draw)
    return list(zip(*([None if math.isnan(x) else x for x in one] for one in losses), strict=True))


def begin(rng, gains, pairs=2):
    """A cohort after a screen of so many pairs each."""
    return Halves(RULE, Gains.apart(gains + SD * rng.standard_normal(len(gains)) / pairs**0.5, SD))


# --- coins ------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(1, 40), st.lists(st.booleans(), min_size=1, max_size=16))
def test_an_idea_that_runs_is_in_one_half_of_every_seed(seed, seeds, running):
    signs = draw_signs((seed, 1), seeds, running)
    assert signs.shape == (seeds, len(running))
    assert ((signs != 0) == np.array(running)).all()
    assert (signs == draw_signs((seed, 1), seeds, running)).all()


def test_coins_are_fair_and_independent_between_ideas_and_seeds():
    signs = draw_signs((4,), 20_000, [True] * 4).astype(float)
    assert np.abs(signs.mean(axis=0)).max() < 4 / len(signs) ** 0.5
    assert np.abs(np.corrcoef(signs.T) - np.eye(4)).max() < 4 / len(signs) ** 0.5
    assert abs(np.mean(signs[1:, 0] * signs[:-1, 0])) < 4 / len(signs) ** 0.5


# --- scores -----------------------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32),
    st.integers(2, 8),
    st.integers(2, 12),
    st.sampled_from([0.0, 0.003, 0.5]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_of_an_idea_worth_the_null_the_coin_alone_decides_the_sign_of_its_score(
    seed, ideas, seeds, null, data
):
    """Whatever the others do, together or alone, whatever the noise and whatever was believed of them."""
    rng = np.random.default_rng(seed)
    signs = draw_signs((seed,), seeds, [True] * ideas)
    rest = rng.standard_cauchy(seeds)
    before = Gains.apart(rng.standard_normal(ideas), rng.exponential(size=ideas))
    flipped = np.array(data.draw(st.lists(st.booleans(), min_size=seeds, max_size=seeds)))
    other = signs.copy()
    other[flipped, 0] *= -1

    def scores(coins):
        return score(Contrasts(coins, rest + coins[:, 0] * null), before, 0, null, 1.0, 1e9)

    assert scores(other) == pytest.approx(np.where(flipped, -1, 1) * scores(signs), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("batches", [1, 3])
def test_a_batch_is_scored_by_what_was_known_before_it(batches):
    """Or the coins of a null would no longer be all there is to its signs."""

    def last(side):
        rng, halves = np.random.default_rng(12), Halves(RULE, Gains.apart([0.0, 0.05, 0.02], 0.02))
        for batch in range(batches):
            signs = draw_signs((12, batch), 4, [True] * 3)
            rest = rng.standard_normal(4)
            if batch == batches - 1:
                signs[:, 0] *= side
            halves.add(signs, [(0.0, float(d)) for d in rest + NULL * signs[:, 0]])
        return halves.scores(0, NULL)[-4:]

    assert last(-1) == pytest.approx(-last(1))


def test_a_failure_counts_against_the_ideas_of_its_half_and_for_the_others():
    signs = np.array([[1, -1], [-1, 1], [1, 1], [1, -1]], dtype=np.int8)
    pairs = [(None, 3.0), (3.0, None), (None, None), (3.0, 2.9)]
    found = Contrasts(signs, np.array([difference(*pair) for pair in pairs]))
    before = Gains.apart([0.0, 0.0], [SD, SD])
    first, second = (score(found, before, idea, NULL, SD, 0.5) for idea in (0, 1))
    assert first[:3].tolist() == [-0.5, -0.5, 0.0]
    assert second[:3].tolist() == [0.5, 0.5, 0.0]
    assert -0.5 <= first[3] < 0 < second[3] <= 0.5
    after = learned(found, before, SD)
    assert after.mean == pytest.approx(learned(Contrasts(signs[3:], np.array([-0.1])), before, SD).mean)


def test_seeds_without_an_idea_say_nothing_of_it():
    signs = np.array([[1, -1], [0, 1], [-1, 1]], dtype=np.int8)
    found = Contrasts(signs, np.array([0.1, 0.2, -0.1]))
    assert len(score(found, Gains.apart([0, 0], [1, 1]), 0, 0.0, 1.0, 9.0)) == 2


# --- what is learned --------------------------------------------------------------------------------------


def test_gains_are_the_posterior_of_a_linear_model():
    rng = np.random.default_rng(2)
    signs, before = draw_signs((2,), 6, [True] * 4), Gains.apart([0.1, 0.0, -0.1, 0.3], [0.1, 0.2, 0.3, 0.4])
    d = rng.standard_normal(6)
    precision = np.diag(1 / before.error**2) + signs.T.astype(float) @ signs / SD**2
    mean = np.linalg.solve(precision, before.mean / before.error**2 + signs.T @ d / SD**2)
    after = learned(Contrasts(signs, d), before, SD)
    assert after.mean == pytest.approx(mean) and after.error == pytest.approx(
        np.diag(np.linalg.inv(precision)) ** 0.5
    )


def test_what_runs_alone_measure_covers_the_truth_and_comes_from_no_screen():
    rng, covered, values = np.random.default_rng(3), [], []
    gains = np.array([0.05, 0.0, -0.02, 0.01, 0.03])
    for trial in range(300):
        halves = Halves(RULE, Gains.apart(gains + 5, SD))  # a screen that is far off
        for batch in range(2):
            signs = draw_signs((trial, batch), 6, [True] * 5)
            halves.add(signs, train(rng, signs, gains))
        found = [halves.measured(idea) for idea in range(5)]
        covered += [one.low <= truth <= one.high for one, truth in zip(found, gains, strict=True)]
        values.append([one.value for one in found])
    assert np.mean(values, axis=0) == pytest.approx(gains, abs=4 * SD / 300**0.5)
    assert 0.92 < np.mean(covered) < 0.98


def test_many_seeds_are_worth_nearly_as_many_pairs_and_few_tell_little_of_many_ideas():
    for ideas, seeds, doubt in ((12, 8, 1.0), (12, 20, 1.0), (16, 24, 2.0), (4, 6, 1.0)):
        exact = []
        for trial in range(200):
            signs = draw_signs((trial, 1), seeds, [True] * ideas).astype(float)
            rest = np.delete(signs, 0, axis=1)
            exact.append(signs[:, 0] @ np.linalg.solve(np.eye(seeds) + doubt * rest @ rest.T, signs[:, 0]))
        assert worth_in_pairs(np.full(ideas, doubt), seeds)[0] == pytest.approx(np.mean(exact), rel=0.15)


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.integers(2, 40))
def test_an_estimate_as_pairs_has_its_interval(value, reach, pairs):
    made = paired_interval(as_pairs(Interval(value=value, low=value - reach, high=value + reach), pairs))
    assert (made.value, made.low, made.high) == pytest.approx((value, value - reach, value + reach), abs=1e-9)


# --- decisions --------------------------------------------------------------------------------------------


def confirm(rng, gains, looks=(8, 6, 6), **how):
    """Names claimed, and the cohort. A fixed number of seeds a look; what is claimed leaves."""
    halves, names = begin(rng, gains), [str(idea) for idea in range(len(gains))]
    running, claims, frozen = dict(enumerate(names)), [], {}
    for count in looks:
        signs = draw_signs(
            rng.integers(0, 2**31, 2).tolist(), count, [i in running for i in range(len(gains))]
        )
        halves.add(signs, train(rng, signs, gains, **how))
        judged = {name: lambda bar, i=i: halves.judged(i, bar) for i, name in running.items()}
        after = decide(RULE, names, judged, frozen)
        frozen = after.frozen
        claims += [int(n) for n, one in after.decisions.items() if one.action is Action.CLAIM]
        running = {i: n for i, n in running.items() if after.decisions[n].action is Action.CONTINUE}
        if not running:
            break
    return claims, halves


@pytest.mark.parametrize(
    "how",
    ["gaussian", "heavy tails", "one run in ten is worse", "interactions", "one run in ten fails"],
)
def test_what_does_nothing_is_not_claimed_beside_strong_changes(how):
    """Four at the edge of the null, the hardest there is, beside four of three to ten paired sd."""
    rng, false, true = np.random.default_rng(6), [], 0
    noise = {
        "heavy tails": lambda shape: rng.standard_t(3, shape) / 6**0.5,
        "one run in ten is worse": lambda shape: np.where(rng.random(shape) < 0.9, -1 / 3, 3.0) / 2**0.5,
        "one run in ten fails": lambda shape: np.where(rng.random(shape) < 0.1, np.nan, 0.7),
    }.get(how)
    for _ in range(60):
        gains = np.array([NULL] * 4 + [0.03, 0.05, 0.07, 0.1])
        both = None
        if how == "interactions":  # of the strong ones with each other: the others' gain stays what it is
            both = np.zeros((8, 8))
            both[4:, 4:] = np.triu(0.02 * rng.standard_normal((4, 4)), 1)
        claims, _ = confirm(rng, gains, noise=noise, interactions=both)
        false.append(sum(idea < 4 for idea in claims) / max(1, len(claims)))
        true += sum(idea >= 4 for idea in claims)
    assert np.mean(false) < 0.05
    assert true > (25 if how == "one run in ten fails" else 180)


def test_the_sign_flip_of_a_null_is_fair_in_every_noise():
    """An e-value is at most 1 on average, by the coins alone: here under one-sided outliers."""
    rng, before, e = np.random.default_rng(7), Gains.apart([0.0, 0.05, 0.02, 0.08], 2 * SD), []
    for trial in range(6000):
        signs = draw_signs((7, trial), 6, [True] * 4)
        d = signs @ np.array([NULL, 0.08, 0.02, 0.05]) + SD * np.where(rng.random(6) < 0.8, -0.5, 2.0)
        e.append(math.exp(log_sign_flip(score(Contrasts(signs, d), before, 0, NULL, SD, BOUND))[-1]))
    assert np.mean(e) < 1 + 3 * np.std(e) / len(e) ** 0.5
    assert np.mean(np.array(e) >= 20) < 0.05 / 2


def test_few_runs_prove_a_dozen_strong_changes():
    rng = np.random.default_rng(8)
    found = [confirm(rng, np.full(12, 0.1), looks=(8, 4, 4)) for _ in range(30)]
    assert np.mean([len(claims) for claims, _ in found]) > 11
    assert np.mean([2 * halves.seeds for _, halves in found]) < 34, "five pairs of each are 65 runs"


def test_a_harmful_change_is_called_worse_and_a_claim_says_better():
    _, halves = confirm(np.random.default_rng(9), np.array([0.1, -0.1, 0.05, 0.0]), looks=(12,))
    kinds = [halves.judged(idea, math.log(20)).kind for idea in range(4)]
    assert kinds[:2] == [VerdictKind.BETTER, VerdictKind.WORSE]
    said = halves.judged(3, math.log(20))
    assert said.kind is not VerdictKind.BETTER and said.pairs == 12 and said.failures == 0


def test_intervals_after_selection_hold_the_truth():
    rng, missed, shown = np.random.default_rng(10), 0, 0
    for _ in range(60):
        gains = np.array([0.02] * 6)
        claims, halves = confirm(rng, gains)
        for idea in claims:
            one = halves.selected(idea, idea, len(claims))
            missed, shown = missed + (not one.low <= 0.02 <= one.high), shown + 1
            assert one.low <= one.value <= one.high
    assert shown > 100 and missed / shown < 0.05


def test_the_shrunken_estimate_of_claims_is_not_flattering():
    """Of claims among many small gains: what the runs alone say is too large, what is expected is not."""
    rng, over, alone = np.random.default_rng(11), [], []
    for _ in range(150):
        gains = SD * rng.standard_normal(8)
        halves = Halves(RULE, Gains.apart(np.zeros(8), SD))
        signs = draw_signs(rng.integers(0, 2**31, 2).tolist(), 12, [True] * 8)
        halves.add(signs, train(rng, signs, gains))
        best = int(np.argmax(halves.gains.mean))
        over.append(halves.expected(best).value - gains[best])
        alone.append(halves.measured(best).value - gains[best])
    assert abs(np.mean(over)) < 3 * np.std(over) / 150**0.5
    assert np.mean(alone) > 3 * np.std(alone) / 150**0.5
