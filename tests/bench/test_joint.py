"""Joint confirmation in the bench: who runs may change, what was shown of each idea stays, and no claim is
easier for it."""

from copy import deepcopy

import numpy as np
import pytest

from mendel.bench.joint import SEEDS, Joint
from mendel.bench.mendel_policy import Mendel, Oracle
from mendel.bench.one_by_one import AGAIN
from mendel.bench.regime import Regime
from mendel.bench.score import score, summarise
from mendel.bench.simulated import make_lab, truth_of
from mendel.bench.world import draw_world
from mendel.records import Rule
from mendel.verdicts.halves import Contrasts

REGIME = Regime(name="r", ideas=24, budget=400, gain=2.0, harm=2.0)
SD = REGIME.paired_sd
RULE = Rule(
    planned=24, min_loss_gain=REGIME.min_gain * SD, bound=4 * SD, noise=SD, noise_pairs=12, max_pairs=10**6
)


def begin(seed=0, regime=REGIME):
    world = draw_world(regime, seed)
    joint = Joint(make_lab(world), RULE, [], {}, np.zeros((regime.ideas, 2)))
    return world, joint


def played(regime, campaigns):
    """What Mendel's campaigns of a regime come to."""
    scores = []
    for seed in range(campaigns):
        world = draw_world(regime, seed)
        lab = make_lab(world)
        scores.append(score(truth_of(world), Mendel().run(lab), lab.adopted, lab.spent))
    return summarise(scores)


VAGUE = np.zeros(24), np.full(24, 4 * SD**2)


def test_an_idea_that_makes_way_keeps_what_its_runs_have_shown():
    _, joint = begin()
    joint.choose([0, 1, 2, 3], *VAGUE)
    joint.look(1, 0)
    before, known = joint.scores[0].copy(), joint.known[0].copy()
    left = [idea for idea in (1, 2, 3) if idea in joint.running]
    joint.choose([*left, 4, 5], *VAGUE)
    joint.look(1, 4)
    assert np.array_equal(joint.scores[0], before)
    assert np.array_equal(joint.known[0], known)
    joint.choose([0, *joint.running], *VAGUE)
    joint.look(1, 8)
    assert len(joint.scores[0]) == len(before) + 4
    assert joint.known[0, 1] > known[1]
    assert joint.entered == [str(idea) for idea in range(6)]


@pytest.mark.parametrize("groups", [1, 3])
def test_what_is_known_of_all_stays_a_covariance_and_comes_near_the_truth(groups):
    world, joint = begin(regime=REGIME.model_copy(update={"budget": 2000.0}))
    joint.choose(range(18), *VAGUE)
    for look in range(40):
        joint.look(groups, 4 * groups * look)
        assert np.linalg.eigvalsh(joint.gains.covariance).min() > -1e-12
        shown = [idea for idea in range(18) if joint.known[idea, 1] > 0]
    error = joint.known[shown, 0] - world.truth[shown] / SD
    z = error * joint.known[shown, 1] ** 0.5
    assert (z**2).mean() == pytest.approx(1, abs=0.6)


def test_the_coins_of_an_idea_decide_the_signs_of_its_scores_and_nothing_else():
    # The e-values rest on this: what is left of a pair does not know how the idea's own coin fell.
    _, joint = begin()
    joint.choose([0, 1, 2, 3, 4], *VAGUE)
    found = joint._train(np.ones(5, dtype=bool), 0)
    other = deepcopy(joint)
    signs, difference = found.signs.copy(), found.difference.copy()
    flipped = [1, 3]
    # Had the coins of idea 2 fallen otherwise, with a gain of exactly the null:
    difference[flipped] -= 2 * signs[flipped, 2] * RULE.min_loss_gain
    signs[flipped, 2] *= -1
    joint._learn(found)
    other._learn(Contrasts(signs, difference))
    sign = np.array([1, -1, 1, -1])
    assert np.allclose(other.scores[2], sign * joint.scores[2])
    assert np.abs(joint.scores[2]).min() > 0


def test_scores_of_useless_ideas_are_as_wide_as_noise_from_the_first_look_on():
    first, later = [], []
    regime = Regime(name="edge", ideas=30, budget=200, nulls=0.6, edge=1.0, harms=0.0, gain=3.0)
    for seed in range(12):
        world, policy = draw_world(regime, seed), Mendel()
        policy.run(make_lab(world))
        useless = set(np.flatnonzero(~world.is_winner).tolist()) & set(policy.joint.scores)
        for idea in useless:
            own = policy.joint.scores[idea] / policy.joint.rule.noise
            first.append((own[:SEEDS] ** 2).mean())
            later.append((own[SEEDS:] ** 2).mean() if len(own) > SEEDS else 1.0)
    assert np.mean(first) < 1.8
    assert np.mean(later) < 1.3


def test_where_effects_do_not_add_up_scores_and_what_is_known_are_less_sure():
    squares, off = [], []
    for seed in range(6):
        world, joint = begin(seed, REGIME.model_copy(update={"budget": 2000.0, "tangle": 1.0}))
        joint.choose(range(16), *VAGUE)
        for look in range(30):
            joint.look(1, 4 * look)
        edge = joint.rule.min_loss_gain
        for idea, scores in joint.scores.items():
            if abs(world.truth[idea] - edge) < SD:  # its own gain adds next to nothing
                squares.append((scores[SEEDS:] ** 2).mean() / SD**2 if len(scores) > SEEDS else 1.0)
        told = [idea for idea in range(16) if joint.known[idea, 1] > 0]
        off.append(((joint.known[told, 0] - world.truth[told] / SD) ** 2 * joint.known[told, 1]).mean())
    # Of halves that are taken for as sure as pairs: 2.0 and 58.
    assert np.mean(squares) < 1.75
    assert np.mean(off) < 30


def test_what_was_not_trained_for_want_of_budget_has_not_entered():
    _, joint = begin(regime=REGIME.model_copy(update={"budget": 9.0}))
    joint.choose(range(18), *VAGUE)
    joint.look(3, 0)
    assert len(joint.entered) == 6
    assert joint.entered == [str(idea) for idea in joint.scores]


@pytest.mark.parametrize("change", [{"cost_sd": 1.0}, {"drift": 2.0}, {"divergence": 0.02}])
def test_dear_ideas_a_slow_machine_or_a_failure_do_not_stop_a_campaign(change):
    regime = Regime(name="r", ideas=20, budget=200, gain=2.0, **change)
    found = played(regime, 6)
    assert found["gain_recovered"] > 0.7
    assert found["spent"] <= 200


def test_the_oracle_gains_at_least_as_much():
    gained = []
    for seed in range(8):
        world = draw_world(REGIME.model_copy(update={"budget": 120.0, "cost_sd": 0.5}), seed)
        truth = truth_of(world)
        policies = Mendel(), Oracle(world.truth, world.is_winner)
        gained.append([score(truth, p.run(make_lab(world)), [], 0.0).gain for p in policies])
    ours, best = np.array(gained).sum(axis=0)
    assert 0 < ours <= best


def test_a_purchase_that_the_budget_has_no_room_for_is_no_look():
    _, joint = begin(regime=REGIME.model_copy(update={"budget": 5.0}))
    joint.choose([0, 1, 2], *VAGUE)
    claims, stopped, used = joint.look(1, 0)
    assert (claims, stopped, used) == ([], [], 2)
    assert joint.look(1, 2) is None


def test_ideas_at_the_edge_of_the_null_are_not_claimed_beside_strong_ones():
    edge = Regime(name="edge", ideas=40, budget=300, nulls=0.7, edge=1.0, harms=0.0, gain=4.0)
    found = played(edge, 20)
    assert found["false_discovery_proportion"] <= 0.05
    assert found["gain_recovered"] > 0.85


def test_where_runs_fail_halves_are_given_up_and_their_ideas_charged_anew():
    # Failures that the first pairs of a few ideas seldom show.
    failing = Regime(name="failing", ideas=12, budget=300, gain=3.0, nulls=0.2, harms=0.2, divergence=0.06)
    charged = 0
    for seed in range(5):
        policy = Mendel()
        policy.run(make_lab(draw_world(failing, seed)))
        assert policy.alone
        assert len(set(policy.entered)) == len(policy.entered)
        again = [name for name in policy.entered if name.endswith(AGAIN)]
        assert {name.removesuffix(AGAIN) for name in again} <= policy.frozen.keys()
        charged += len(again)
    assert charged > 0


def test_effects_that_do_not_add_up_are_noise_and_where_they_are_large_halves_are_given_up():
    tangled = Regime(name="tangled", ideas=40, budget=240, gain=2.0, harm=2.0, tangle=2.0)
    scores, given_up = [], 0
    for seed in range(8):
        policy, world = Mendel(), draw_world(tangled, seed)
        lab = make_lab(world)
        scores.append(score(truth_of(world), policy.run(lab), lab.adopted, lab.spent))
        assert policy.joint.wider > 1.5
        given_up += not policy._in_halves()
    assert given_up
    found = summarise(scores)
    assert found["false_discovery_proportion"] <= 0.05
    assert found["gain_recovered"] > 0.5
    plain = Mendel()
    plain.run(make_lab(draw_world(tangled.model_copy(update={"tangle": 0.0}), 0)))
    assert plain.joint.wider < 1.3
    assert plain._in_halves()


def test_first_pairs_leave_enough_to_prove_what_they_promise():
    spent = []

    class Watched(Mendel):
        def _look(self):
            spent.append(self.lab.spent)
            return super()._look()

    for ideas, budget in ((100, 125.0), (100, 40.0), (30, 200.0)):
        regime = Regime(name="r", ideas=ideas, budget=budget)
        policy = Watched()
        policy.run(make_lab(draw_world(regime, 0)))
        screened = sum(bool(pairs) for pairs in policy.seen)
        first = spent[0]
        spent.clear()
        assert first <= budget - min(52, 0.45 * budget)
        assert screened == 30 if budget == 200 else 0.35 * budget < screened < ideas
