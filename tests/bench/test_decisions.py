"""The bench of decisions: fair prices, a hidden truth, known answers; a broken judge is caught."""

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from mendel.bench import run
from mendel.bench.baselines import Asha, FixedPairs, Greedy, Halving, Random
from mendel.bench.lab import OutOfBudget
from mendel.bench.mendel_policy import Mendel, Oracle
from mendel.bench.regime import Regime, RegimeError, load_regime, shipped
from mendel.bench.run import PolicyError, bench_regime, load_policy
from mendel.bench.score import Truth, score, summarise, upper95
from mendel.bench.simulated import make_lab, truth_of
from mendel.bench.tpe import Tpe
from mendel.bench.world import draw_world, shaped, stack_gain
from mendel.cli import main

SMALL = Regime(name="small", ideas=30, budget=120, gain=2.0, harm=2.0)
POLICIES = {
    "greedy": Greedy,
    "one": lambda: FixedPairs(1),
    "three": lambda: FixedPairs(3),
    "random": Random,
    "halving": Halving,
    "asha": Asha,
    "mendel": Mendel,
}


# --- the world -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", ["gaussian", "t3", "rare gains", "rare losses", "two-valued gains", "two-valued losses"]
)
def test_noise_has_mean_zero_sd_one_and_the_promised_lean(noise):
    x = shaped(noise, np.random.default_rng(0).standard_normal(400_000))
    assert x.mean() == pytest.approx(0, abs=0.01)
    assert x.std() == pytest.approx(1, abs=0.03 if noise == "t3" else 0.01)
    lean = {"gains": 1, "losses": -1}.get(noise.split()[-1], 0)
    assert (skew(x) > 1) == (lean > 0) or noise == "t3"
    assert (skew(x) < -1) == (lean < 0) or noise == "t3"
    assert noise != "t3" or kurtosis(x) > 3


def test_a_world_has_the_moments_that_its_regime_claims():
    world = draw_world(Regime(name="r", ideas=4000, nulls=0.3, harms=0.5, edge=0.5, class_share=0.0), 1)
    sd = world.regime.paired_sd
    assert (world.truth < 0).mean() == pytest.approx(0.5, abs=0.02)
    assert world.is_winner.mean() == pytest.approx(0.2, abs=0.02)
    assert np.isclose(world.truth, world.min_gain).mean() == pytest.approx(0.15, abs=0.02)
    noise = np.array([world.column(seed).gains - world.truth for seed in range(200)]) / sd
    assert noise.std() == pytest.approx(1, abs=0.05)
    assert np.corrcoef(noise[:, 0], noise[:, 1])[0, 1] == pytest.approx(0.5, abs=0.15)
    controls = np.array([world.column(seed).control for seed in range(2000)])
    own = controls - np.array([world.column(seed).gains[0] for seed in range(2000)])
    across = (controls[1:] - own[:-1] - np.mean(controls - own)).std() / sd
    assert across == pytest.approx(2.3, abs=0.15)
    for proposer, skill in enumerate(world.regime.proposers):
        of = world.proposer == proposer
        assert np.corrcoef(world.forecast[of], world.truth[of])[0, 1] == pytest.approx(skill, abs=0.08)


@pytest.mark.parametrize("made_up_for", [False, True])
def test_the_mean_with_failures_at_the_bound_is_the_truth(made_up_for):
    regime = Regime(name="r", ideas=50, divergence=0.1, made_up_for=made_up_for, shared=0.0)
    world = draw_world(regime, 0)
    gains = np.array([world.column(seed).gains for seed in range(4000)])
    scored = np.where(np.isnan(gains), -regime.bound * regime.paired_sd, gains)
    assert np.isnan(gains).mean() == pytest.approx(0.1, abs=0.01)
    assert np.abs(scored.mean(axis=0) - world.truth).max() < 5 * scored.std(axis=0).max() / 4000**0.5


def test_copies_behave_alike_and_count_once():
    world = draw_world(Regime(name="r", ideas=60, clones=0.5), 3)
    copies = np.flatnonzero(world.original != np.arange(60))
    assert len(copies) > 10
    column = world.column(0).gains
    assert np.array_equal(column[copies], column[world.original[copies]])
    truth = truth_of(world)
    best = int(np.argmax(world.truth))
    same = np.flatnonzero(world.original == world.original[best]).tolist()
    assert score(truth, same, [], 1.0).gain == pytest.approx(world.truth[best] - world.min_gain)
    assert score(truth, same, [], 1.0).claims == 1


def test_a_world_repeats_to_the_digit_and_another_seed_is_another_world():
    one, same, other = (draw_world(SMALL, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.truth, same.truth)
    assert np.array_equal(one.column(9).gains, same.column(9).gains)
    assert not np.array_equal(one.truth, other.truth)


def test_what_does_not_add_up_belongs_to_the_ideas_and_not_to_the_seed():
    regime = SMALL.model_copy(update={"ideas": 60, "tangle": 0.3, "shared": 0.0})
    worlds = [draw_world(regime, seed) for seed in range(300)]
    left, again = [], []
    for world in worlds:
        size = (world.trained[:8] ** 2).sum() ** 0.5
        sums = [
            stack_gain(world, frozenset(range(8)), seed, 1.0) - world.trained[:8].sum() for seed in range(40)
        ]
        left.append(np.mean(sums) / size)
        again.append(np.std(sums) / regime.paired_sd)
    assert np.std(left) == pytest.approx(0.3, abs=0.05)
    assert np.mean(left) == pytest.approx(0.0, abs=0.06)
    assert np.mean(again) == pytest.approx(1.0, abs=0.05)
    alone = [stack_gain(world, frozenset([3]), 0, 1.0) - world.column(0).gains[3] for world in worlds]
    assert np.allclose(alone, 0)


# --- the lab ---------------------------------------------------------------------------------------------


def test_every_run_is_charged_once_and_a_control_serves_all_pairs_of_its_seed():
    lab = make_lab(draw_world(SMALL, 0))
    first = lab.pair(3, seed=0)
    assert lab.spent == 2
    assert lab.pair(3, seed=0) == first
    lab.run([], 0)
    lab.run([3], 0)
    assert lab.spent == 2
    lab.pairs([4, 5, 6], seed=0)
    assert lab.spent == 5
    lab.run([7], 0, share=0.25)
    lab.run([7], 0, share=1.0)
    assert lab.spent == pytest.approx(6)


def test_a_purchase_beyond_the_budget_is_refused_whole():
    lab = make_lab(draw_world(SMALL.model_copy(update={"budget": 3.0}), 0))
    with pytest.raises(OutOfBudget):
        lab.pairs([0, 1, 2], seed=0)
    assert lab.spent == 0
    lab.pairs([0, 1], seed=0)
    with pytest.raises(OutOfBudget):
        lab.run([2], 0, share=0.1)
    assert lab.left == 0


@given(
    st.sampled_from(sorted(POLICIES)),
    st.integers(0, 50),
    st.floats(1, 90),
    st.floats(0, 0.6),
    st.floats(0, 0.4),
)
@settings(max_examples=25, deadline=None)
def test_no_policy_overspends_or_claims_twice(name, seed, budget, cost_sd, divergence):
    regime = SMALL.model_copy(
        update={"budget": budget, "cost_sd": cost_sd, "divergence": divergence, "drift": 0.2}
    )
    lab = make_lab(draw_world(regime, seed))
    claims = list(POLICIES[name]().run(lab))
    assert lab.spent <= budget + 1e-6
    assert len(set(claims)) == len(claims)
    assert all(0 <= idea < regime.ideas for idea in claims)


def test_the_truth_is_not_among_what_a_lab_shows():
    world = draw_world(SMALL, 0)
    lab = make_lab(world)
    seen, todo = set(), [lab]
    while todo:
        one = todo.pop()
        if id(one) in seen or callable(one):
            continue
        seen.add(id(one))
        assert one is not world
        if isinstance(one, np.ndarray):
            assert not np.array_equal(one, world.truth)
            assert not np.array_equal(one, world.trained)
            continue
        todo += list(vars(one).values()) if hasattr(one, "__dict__") else []
        todo += list(one.values()) if isinstance(one, dict) else []


def test_pairs_ignore_a_slow_machine_and_single_runs_do_not():
    swinging = draw_world(SMALL.model_copy(update={"drift": 1.0}), 0)
    steady = draw_world(SMALL, 0)
    a, b = make_lab(swinging), make_lab(steady)
    assert a.pair(0, 0) == b.pair(0, 0)
    assert a.run([], 1) != b.run([], 1)


# --- scores ----------------------------------------------------------------------------------------------


def test_scores_of_a_known_case():
    truth = Truth(
        gain=np.array([2.0, 1.0, 0.0, -1.0, 2.0]),
        null=np.array([0.0, 0.0, 1.0, 1.0, 0.0]),
        original=np.array([0, 1, 2, 3, 0]),
        strong=np.array([True, True, False, False, False]),
    )
    assert truth.attainable == 3
    one = score(truth, [0, 4, 3], [(5.0, 0), (7.0, 4)], spent=9.0)
    assert (one.claims, one.false, one.gain, one.lost, one.strong) == (2, 1, 1.0, 1, 2)
    assert one.false_weight / one.weight == pytest.approx(1 / 3)
    assert math.isinf(one.to_80)
    assert score(truth, [0, 1], [(5.0, 0), (7.0, 1)], spent=9.0).to_80 == 7.0
    said = summarise([one, replace(one, claims=0, false=0.0, false_weight=0.0, weight=0.0, gain=0.0)])
    assert said["false_discovery_proportion"] == 0.25
    assert said["gain_recovered"] == pytest.approx(1 / 6)
    assert said["winners_lost"] == 0.5
    assert said["compute_to_80"] is None


def test_of_alternatives_to_the_same_thing_the_best_counts_once():
    truth = Truth(
        gain=np.array([2.0, 3.0, 1.0]),
        null=np.zeros(3),
        original=np.arange(3),
        strong=np.ones(3, dtype=bool),
        min_gain=0.5,
        slot=np.array([0, 0, 1]),
    )
    assert truth.attainable == 3.0
    both = score(truth, [0, 1], [(1.0, 0), (2.0, 1)], spent=5.0)
    assert (both.gain, both.gain_sum, both.claims, both.to_80) == (2.5, 3.0, 2, 2.0)


def test_the_upper_bound_without_any_false_claim_is_that_of_a_proportion():
    assert upper95(np.zeros(59)) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper95(np.array([1e-5] + [0.0] * 58)) == upper95(np.zeros(59))
    assert upper95(np.array([0.0, 0.1] * 50)) == pytest.approx(0.05 + 1.645 * 0.0503 / 10, abs=1e-3)


# --- policies --------------------------------------------------------------------------------------------


def false_share(make, regime, campaigns):
    scores = []
    for seed in range(campaigns):
        world = draw_world(regime, seed)
        lab = make_lab(world)
        scores.append(score(truth_of(world), make().run(lab), lab.adopted, lab.spent))
    return summarise(scores)


HARD = Regime(
    name="hard", ideas=40, budget=300, nulls=0.9, edge=1.0, harms=0.0, gain=2.0, noise="two-valued losses"
)


def test_rare_losses_do_not_fool_the_judge():
    honest = false_share(Mendel, HARD, 6)
    assert honest["false_discovery_proportion"] <= 0.05
    assert honest["claims"] > 0.5


def test_a_judge_without_its_threshold_is_caught(monkeypatch):
    judge = importlib.import_module("mendel.verdicts.judge")
    monkeypatch.setattr(judge, "SIGN_FLIP_LEVEL", 1e-9)
    monkeypatch.setattr(judge, "closed_e_bh", lambda log_e, *rest: np.flatnonzero(np.array(log_e) > 0))
    monkeypatch.setattr(judge, "log_threshold", lambda index, others, planned, alpha: 0.0)
    broken = false_share(Mendel, HARD.model_copy(update={"noise": "gaussian"}), 6)
    assert broken["false_discovery_proportion"] > 0.1


def test_strong_gains_are_found_and_the_oracle_finds_at_least_as_many():
    regime = Regime(name="easy", ideas=30, budget=300, gain=4.0, gain_shape="constant", harm=4.0)
    ours = false_share(Mendel, regime, 6)
    assert ours["gain_recovered"] > 0.9
    assert ours["false_discovery_proportion"] == 0
    world = draw_world(regime, 0)
    lab = make_lab(world)
    found = list(Oracle(world.truth, world.is_winner).run(lab))
    assert set(found) <= set(np.flatnonzero(world.is_winner).tolist())


@pytest.mark.parametrize("policy", [Mendel, Tpe])
def test_a_policy_repeats_to_the_digit(policy):
    regime = SMALL.model_copy(update={"budget": 60.0})
    results = [list(policy().run(make_lab(draw_world(regime, 1)))) for _ in range(2)]
    assert results[0] == results[1]


# --- the command -----------------------------------------------------------------------------------------


def test_shipped_regimes_load_and_cover_the_listed_kinds():
    regimes = shipped()
    assert len({regime.name for regime in regimes}) == len(regimes) >= 10
    assert {"t3", "rare gains", "rare losses", "two-valued losses"} <= {regime.noise for regime in regimes}
    assert any(regime.ideas == 2000 and regime.budget == 4000 for regime in regimes)
    assert any(regime.divergence for regime in regimes)
    assert any(regime.clones for regime in regimes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budgt = 3", "budgt: unknown key (found 3); did you mean budget? allowed are name, ideas, budget"),
        ("ideas = 0", "ideas: must be at least 1 (found 0)"),
        ('noise = "odd"', "noise: allowed are 'gaussian', 't3'"),
        ("nulls = 0.9\nharms = 0.9", "nulls + harms is 1.8; at most 1 is allowed"),
        ("ideas =", "Invalid value"),
    ],
)
def test_a_bad_regime_is_one_clear_line(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RegimeError) as error:
        load_regime(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_prints_json_with_a_users_regime_and_policy(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.toml").write_text("ideas = 12\nbudget = 40\ngain = 3.0\n")
    (tmp_path / "own_policy.py").write_text(
        "class Nothing:\n    def run(self, lab):\n        lab.pair(0, 0)\n        return []\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["bench", "decisions", "--regime", "mine.toml", "--campaigns", "2", "--json"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--policy", "own_policy:Nothing", "--figure", "out.svg"])
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    (regime,) = found["regimes"]
    assert (regime["name"], regime["campaigns"], found["replay"]) == ("mine", 2, None)
    assert {"greedy", "n=1", "n=3", "random", "halving", "asha", "mendel", "oracle"} <= set(
        regime["policies"]
    )
    keys = {
        "claims",
        "false_discovery_proportion",
        "false_discovery_upper95",
        "gain_recovered",
        "winners_lost",
        "compute_to_80",
    }
    assert all(keys <= set(row) for row in regime["policies"].values())
    nothing = regime["policies"]["own_policy:Nothing"]
    assert (nothing["claims"], nothing["gain_recovered"], nothing["spent"]) == (0, 0, 2)
    assert (tmp_path / "out.svg").stat().st_size > 1000


@pytest.mark.parametrize("path", ["nowhere", "no.such.module:Thing", "mendel.bench.lab:Missing", "math:pi"])
def test_a_bad_policy_is_refused_by_name(path):
    with pytest.raises(PolicyError, match=path.partition(":")[0]):
        load_policy(path)


def test_a_policy_that_does_not_expect_a_refusal_is_named(tmp_path, monkeypatch):
    (tmp_path / "reckless.py").write_text(
        "class Buys:\n    def run(self, lab):\n        while True:\n            lab.pair(0, self.next())\n"
        "    seed = 0\n    def next(self):\n        self.seed += 1\n        return self.seed\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "TUNING", 1)
    regime = SMALL.model_copy(update={"ideas": 6, "budget": 20.0})
    with pytest.raises(PolicyError, match=r"reckless:Buys' was refused a purchase .* OutOfBudget, costs 2"):
        bench_regime(regime, 1, own=["reckless:Buys"])


def test_a_regime_of_the_package_goes_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_regime(Path("16-tangled")).tangle > 0
    with pytest.raises(RegimeError, match=r"17-none: .* or one of 01-ordinary, .*16-tangled"):
        load_regime(Path("17-none"))


def test_workers_change_nothing(monkeypatch):
    monkeypatch.setattr(run, "TUNING", 1)
    regime = SMALL.model_copy(update={"ideas": 10, "budget": 30.0})
    assert bench_regime(regime, 2, workers=2) == bench_regime(regime, 2, workers=1)
