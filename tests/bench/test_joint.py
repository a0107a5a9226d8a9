"""Joint confirmation in the bench: who runs may change, what was shown of each idea stays, and no claim is
easier for it."""

import numpy as np
import pytest

from mendel.bench.joint import Joint
from mendel.bench.mendel_policy import Mendel
from mendel.bench.one_by_one import AGAIN
from mendel.bench.regime import Regime
from mendel.bench.score import score, summarise
from mendel.bench.simulated import make_lab, truth_of
from mendel.bench.world import draw_world
from mendel.records import Rule

REGIME = Regime(name="r", ideas=24, budget=400, gain=2.0, harm=2.0)
SD = REGIME.paired_sd
RULE = Rule(
    planned=24, min_loss_gain=REGIME.min_gain * SD, bound=4 * SD, noise=SD, noise_pairs=12, max_pairs=10**6
)


def begin(seed=0, regime=REGIME):
    world = draw_world(regime, seed)
    joint = Joint(make_lab(world), RULE, [], {}, np.zeros((regime.ideas, 2)))
    return world, joint


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
    assert (z**2).mean() == pytest.approx(1, abs=0.8)


def test_a_purchase_that_the_budget_has_no_room_for_is_no_look():
    _, joint = begin(regime=REGIME.model_copy(update={"budget": 5.0}))
    joint.choose([0, 1, 2], *VAGUE)
    claims, stopped, used = joint.look(1, 0)
    assert (claims, stopped, used) == ([], [], 2)
    assert joint.look(1, 2) is None


def test_ideas_at_the_edge_of_the_null_are_not_claimed_beside_strong_ones():
    edge = Regime(name="edge", ideas=40, budget=300, nulls=0.7, edge=1.0, harms=0.0, gain=4.0)
    scores = []
    for seed in range(20):
        world = draw_world(edge, seed)
        lab = make_lab(world)
        scores.append(score(truth_of(world), Mendel().run(lab), lab.adopted, lab.spent))
    found = summarise(scores)
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
    scores, alone = [], 0
    for seed in range(8):
        policy, world = Mendel(), draw_world(tangled, seed)
        lab = make_lab(world)
        scores.append(score(truth_of(world), policy.run(lab), lab.adopted, lab.spent))
        assert policy.joint.wider > 1.5
        alone += policy.alone
    assert alone
    found = summarise(scores)
    assert found["false_discovery_proportion"] <= 0.05
    assert found["gain_recovered"] > 0.5
    plain = Mendel()
    plain.run(make_lab(draw_world(tangled.model_copy(update={"tangle": 0.0}), 0)))
    assert plain.joint.wider < 1.3
    assert not plain.alone


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
