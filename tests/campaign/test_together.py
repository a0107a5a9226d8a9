"""Ideas that are confirmed together, in random halves of their cohort against each other."""

import math

import pytest
import toy
from cohorts import ALL, BUDGET, CLEAR, GAINS, IDLE, cohort, halves, holds, verdicts

from mendel.campaign.summary import summarise
from mendel.records import PlanKind, VerdictKind
from mendel.verdicts.halves import draw_signs


@pytest.fixture(scope="module")
def clear(toy_data, fast_disk):
    """Four composing gains and an idle change, together and one by one: (ideas, store, id) of both."""
    ideas, opened = [*CLEAR, IDLE], []
    file = toy.write_ideas(fast_disk / "clear.toml", ideas)
    for together in (True, False):
        settings = toy.config(file, toy_data, budget=BUDGET, policy={**ALL, "together": together})
        store, campaign, _ = toy.run_fake(settings, fast_disk / f"clear-{together}")
        opened.append((store, campaign.id))
    yield ideas, *opened
    for store, _ in opened:
        store.close()


# --- what is trained --------------------------------------------------------------------------------------


def test_each_run_holds_the_ideas_that_its_coins_say(clear):
    ideas, (store, found), _ = clear
    members = cohort(store, found)
    assert sorted(members) == ["a", "b", "c", "idle", "source"]
    plans, begun = halves(store, found), 0
    while begun < len(plans):
        count = store.decision(found, f"0/halves/{begun}")["seeds"]
        looked = plans[begun : begun + count]
        stopped = {
            name for name in members if not any(name in holds(store, p.control, ideas) for p in looked)
        }
        stopped &= {n for n in members if not any(n in holds(store, p.treatment, ideas) for p in looked)}
        assert begun or not stopped
        signs = draw_signs((1, 0, begun), count, [name not in stopped for name in members])
        for plan, coins in zip(looked, signs.tolist(), strict=True):
            first = {name for name, coin in zip(members, coins, strict=True) if coin > 0}
            second = {name for name, coin in zip(members, coins, strict=True) if coin < 0}
            assert holds(store, plan.treatment, ideas) == first
            assert holds(store, plan.control, ideas) == second
        begun += count
    assert begun == len(plans) >= 5


def test_a_plan_of_halves_is_one_fresh_seed_and_stored_before_its_runs(clear):
    _, (store, found), _ = clear
    plans = halves(store, found)
    others = {seed for plan in store.plans(found) if plan.kind is not PlanKind.HALVES for seed in plan.seeds}
    assert all(len(plan.seeds) == 1 and plan.idea is None for plan in plans)
    assert len({plan.seeds for plan in plans}) == len(plans)
    assert not others & {plan.seeds[0] for plan in plans}
    fingerprint = store.campaign(found).fingerprint.id
    planned = {spec.id for plan in plans for spec in plan.runs(plan.seeds[0], fingerprint)}
    assert {run.id for run in store.runs(found, stage="halves")} == planned
    assert {run.idea for run in store.runs(found, stage="halves")} == {"cohort"}


def test_plans_are_on_record_when_the_first_run_of_halves_begins(toy_data, lab_root):
    seen = []

    def stopping(job):
        if '"halves"' in (job.source.parent / "config.json").read_text():
            seen.append(job.id)
            raise KeyboardInterrupt
        return toy.train_here(job)

    file = toy.write_ideas(lab_root / "ideas.toml", CLEAR)
    settings = toy.config(file, toy_data, budget=BUDGET, policy=ALL)
    with pytest.raises(KeyboardInterrupt):
        toy.run_fake(settings, lab_root, answer=stopping)
    with toy.Store(lab_root) as store:
        found = store.campaign().id
        assert len(halves(store, found)) == store.decision(found, "0/halves/0")["seeds"]


# --- what comes of it -------------------------------------------------------------------------------------


def test_gains_are_claimed_adopted_and_measured_with_fewer_runs(clear):
    _, (store, found), (alone, other) = clear
    told = verdicts(store, found)
    assert {name for name, one in told.items() if one.kind is VerdictKind.BETTER} == set(GAINS)
    assert {one.together for one in told.values()} == {5}
    assert {one.together for one in verdicts(alone, other).values()} == {0}
    assert {name for name, one in toy.states(store, found).items() if one[0] == "adopted"} == set(GAINS)
    for finding in store.findings(found):
        cm, truth = finding.log2_cm, math.log2(GAINS[finding.idea.name])
        beside = 0.01  # effects do not quite add up, and that is in no interval
        assert cm.low - beside < truth < cm.high + beside and cm.high - cm.low < 0.25
        assert abs(cm.value - truth) < 0.05
        assert finding.runs == 2 * told[finding.idea.name].pairs
        low, high = told[finding.idea.name].selected.low, told[finding.idea.name].selected.high
        assert 0 < low < high
    runs = [
        len(s.runs(c, stage=k)) for s, c in (clear[1], clear[2]) for k in ("halves", "confirm", "estimate")
    ]
    assert runs[1] == 0 and runs[3] == 0
    assert runs[0] < runs[4] and runs[2] == runs[5]


def test_only_the_stack_is_measured_after_a_joint_claim(clear):
    _, (store, found), _ = clear
    (plan,) = [one for one in store.plans(found, PlanKind.ESTIMATE) if one.round == 0]
    assert plan.idea is None and holds(store, plan.treatment, CLEAR) == set(GAINS)


@pytest.mark.parametrize("seed", [2, 3])
def test_what_changes_nothing_is_not_claimed(campaign, seed):
    store, found = campaign([*CLEAR, IDLE], budget=BUDGET, seed=seed, policy=ALL)
    told = verdicts(store, found)["idle"]
    assert told.together == 5
    assert told.kind is not VerdictKind.BETTER and told.selected is None
    assert toy.states(store, found)["idle"][0] == "dropped"


# --- what is planted --------------------------------------------------------------------------------------


def seconds_by_tokens(job):
    """The toy trainer, taking as long as it trains."""
    result = toy.train_here(job)
    return result.model_copy(update={"cpu_seconds": result.tokens / 1e4})


def test_a_known_gain_takes_its_grant_into_the_halves_that_hold_it(campaign):
    ideas = [*CLEAR, IDLE]
    store, found = campaign(ideas, seconds_by_tokens, blanks={"idle": "gain 1"}, budget=BUDGET, policy=ALL)
    assert "idle" in cohort(store, found)
    (plain,) = {plan.control_tokens for plan in store.plans(found, PlanKind.CONFIRM)}
    for plan in halves(store, found):
        arms = ((plan.control, plan.control_tokens), (plan.treatment, plan.treatment_tokens))
        for recipe, tokens in arms:
            assert tokens == (2 * plain if "idle" in holds(store, recipe, ideas) else plain)
    told = verdicts(store, found)
    assert told["idle"].kind is VerdictKind.BETTER and told["idle"].selected is None
    assert toy.states(store, found)["idle"][1].endswith("known gain of 1 log2 CM: found")
    for name in cohort(store, found):
        if told[name].kind is VerdictKind.BETTER:
            (cost,) = [
                audit
                for audit in store.decision(found, f"audits/{told[name].id}")
                if audit["name"] == "compute" and "scoring" not in audit["reason"]
            ]
            assert cost["passed"] and cost["evidence"]["ratio"] == pytest.approx(1, rel=1e-3)
    assert "idle" not in {one.idea.name for one in store.findings(found)}


def test_a_planted_claim_is_unblinded_and_never_adopted(campaign):
    store, found = campaign(CLEAR, blanks={"a": "initial stream"}, budget=BUDGET, policy=ALL)
    assert "a" in cohort(store, found)
    assert verdicts(store, found)["a"].kind is VerdictKind.BETTER
    assert verdicts(store, found)["a"].selected is None, "it is no claim of the campaign"
    assert toy.states(store, found)["a"][1].endswith("a false claim of this campaign")
    assert summarise(store, store.campaign(found))["blanks_claimed"] == 1
    assert "a" not in {row["id"] for row in summarise(store, store.campaign(found))["adopted"]}


# --- kills and budgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_a_campaign_killed_in_its_joint_confirmation_ends_the_same(clear, toy_data, lab_root, every):
    """Killed before each run of halves, or every third, and once more in each smoke run of one."""
    ideas, (store, found), _ = clear
    file = store.root.parent / "clear.toml"
    settings = toy.config(file, toy_data, budget=BUDGET, policy={**ALL, "together": True})
    calls, died = [], set()

    def dying(job):
        about = (job.source.parent / "config.json").read_text()
        if '"halves"' in about:
            calls.append(job.id)
            if len(calls) % (every + 1) == 0:
                died.add(job.id)
                raise KeyboardInterrupt
        return toy.train_here(job)

    with pytest.raises(KeyboardInterrupt):
        toy.run_fake(settings, lab_root, answer=dying)
    with toy.Store(lab_root) as again:
        other = again.campaign()
        for _ in range(100):
            try:
                toy.continue_fake(settings, again, other, answer=dying)
                break
            except KeyboardInterrupt:
                continue
        assert len(died) > 1
        toy.continue_fake(settings, again, other)  # all of it once more, from the first line
        assert toy.verdict_records(again, other.id) == toy.verdict_records(store, found)
        assert toy.finding_records(again, other.id) == toy.finding_records(store, found)
        assert toy.states(again, other.id) == toy.states(store, found)
        ours, theirs = (
            sorted((run.id, run.stage) for run in one.runs(c))
            for one, c in ((again, other.id), (store, found))
        )
        assert ours == theirs
