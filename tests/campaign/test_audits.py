"""Audits in a campaign: what they reject is never claimed, what they let through is, and both are told."""

import json
import math

import numpy as np
import pytest
import toy
from test_cli import mendel
from toy import idea

from mendel.campaign.audits import audit_command, failed, full, terse
from mendel.campaign.claim_audits import audit_runs
from mendel.campaign.config import ConfigError, read_config
from mendel.campaign.intake import admit
from mendel.campaign.scoring import SCORE_LENGTH, SCORE_WINDOWS, Scoring, Text, has_own_objective
from mendel.campaign.summary import summarise
from mendel.records import AUDITS, Audit, PlanKind, RunResult, RunSpec, RunStatus, Shard, VerdictKind
from mendel.runs.sandbox.props import Check
from mendel.store import Store
from mendel.testbeds import load_testbed
from mendel.yardstick import build_corpus


def changed(when, **changes):
    """The toy trainer, with other measurements of the runs whose arguments hold `when`."""

    def answer(job):
        result = toy.train_here(job)
        if (
            result.status is not RunStatus.DONE
            or when not in " ".join(job.argv)
            or job.id.startswith("smoke")
        ):
            return result
        return RunResult.model_validate({**result.model_dump(), **changes})

    return answer


@pytest.mark.parametrize(
    ("command", "key", "passed"),
    [
        (("--max_iters={steps}",), "max_iters", False),
        (("--max-iters", "{steps}"), "max_iters", False),
        (("--override", "run.max_steps={steps}"), "run.max_steps", False),
        (("--run.max_steps={steps}",), "run.max_steps", False),
        (("run.seed={seed}",), "run.seed", False),
        (("--lr_decay_iters={steps}",), "lr", True),
        (("-m", "lr", "config/lr.py"), "lr", True),
    ],
)
def test_what_the_command_gives_to_every_run_no_idea_may_give(command, key, passed):
    testbed = load_testbed(toy.TESTBED).model_copy(update={"command": ("train.py", *command)})
    assert audit_command(testbed, {key: 5}).passed is passed


def last_verdict(store, campaign, name):
    plans = {plan.id for plan in store.plans(campaign, PlanKind.CONFIRM, idea=name)}
    return [verdict for verdict in store.verdicts(campaign) if verdict.plan in plans][-1]


def audits_of(store, campaign, verdict):
    return [Audit.model_validate(audit) for audit in store.decision(campaign, f"audits/{verdict.id}")]


def test_an_honest_gain_is_claimed_and_all_its_audits_are_kept(campaign):
    store, found = campaign([*toy.GOOD, *toy.NULL])
    verdict = last_verdict(store, found, "good-knob")
    audits = audits_of(store, found, verdict)
    assert verdict.kind is VerdictKind.BETTER and all(audit.passed for audit in audits)
    assert {"code", "numbers", "seed", "leak", "compute"} <= {audit.name for audit in audits}
    assert summarise(store, store.campaign(found))["rejected"] == []


def test_a_gain_that_was_bought_with_compute_is_rejected(campaign):
    """Its FLOPs and screening pairs look the same; in confirmation it takes twice the time of its control."""
    answer = late(changed("gain_a=1.5", cpu_seconds=2.0))
    store, found = campaign([*toy.GOOD, *toy.NULL], answer)
    verdict = last_verdict(store, found, "good-knob")
    assert verdict.kind is VerdictKind.REJECTED and failed(audits_of(store, found, verdict)).name == "compute"
    assert toy.states(store, found)["good-knob"][0] == "rejected"
    assert "2.00 times the control's CPU seconds" in toy.states(store, found)["good-knob"][1]
    assert {finding.idea.name for finding in store.findings(found)} == {"good-source"}
    (told,) = summarise(store, store.campaign(found))["rejected"]
    assert (told["id"], told["told"]) == ("good-knob", "rejected: it used more compute than it was charged")
    assert len(store.plans(found, PlanKind.SCREEN, idea="good-knob")) == 1, "it gets no second chance"


def stage_of(job):
    """What the lab trains it for; smoke runs have a stage of none."""
    kept = json.loads((job.source.parent / "config.json").read_text())
    return PlanKind(kept["stage"]) if "stage" in kept else None


def is_screening(job):
    return stage_of(job) is PlanKind.SCREEN


def test_what_a_run_was_rejected_for_is_what_its_idea_is_rejected_for(campaign):
    seen = Audit(name="future", passed=False, reason="a prediction depends on text after it")
    rejected = {"status": RunStatus.REJECTED, "bits_per_byte": None, "audits": (seen,)}
    answer = changed("gain_a=1.5", **rejected, reason="future: a prediction depends on text after it")
    store, found = campaign([*toy.GOOD, *toy.NULL], answer)
    state, note = toy.states(store, found)["good-knob"]
    assert (state, note) == ("rejected", "audit future: a prediction depends on text after it")
    store, found = campaign([*toy.GOOD, *toy.NULL], late(changed("gain_a=1.5", **rejected)))
    verdict = last_verdict(store, found, "good-knob")
    assert verdict.kind is VerdictKind.REJECTED
    assert audits_of(store, found, verdict) == [audit_runs_of(seen, verdict.pairs)]


def late(answer):
    """`answer` from confirmation on."""
    return lambda job: (toy.train_here if is_screening(job) else answer)(job)


def audit_runs_of(audit, runs):
    return audit.model_copy(update={"reason": f"{runs} runs: {audit.reason}"})


def test_who_knows_the_text_that_it_is_scored_on_is_rejected(campaign):
    """The patch gains on the scored text and not on the text that it was trained on."""

    def answer(job):
        result = toy.train_here(job)
        if result.bits_per_byte is None:
            return result
        control = result.bits_per_byte + (0.3 if "gain_a=1.5" in " ".join(job.argv) else 0.0)
        return result.model_copy(update={"beside": {"train": control}})

    store, found = campaign([idea("good-knob", {"gain_a": 1.5}), *toy.NULL], late(answer))
    verdict = last_verdict(store, found, "good-knob")
    assert verdict.kind is VerdictKind.REJECTED and failed(audits_of(store, found, verdict)).name == "leak"


def test_a_rejected_blank_that_its_numbers_claimed_is_a_false_claim_all_the_same(campaign):
    ideas = [idea("impostor", {"gain_a": 1.5}), *toy.NULL]
    answer = late(changed("gain_a=1.5", cpu_seconds=2.0))
    store, found = campaign(ideas, answer, blanks={"impostor": "initial stream"})
    assert summarise(store, store.campaign(found))["blanks_claimed"] == 1


def test_a_patch_that_reaches_for_files_costs_no_run(campaign):
    sneaky = idea("sneaky", edits=[("EFFICIENCY = 1.0", "import socket\nEFFICIENCY = 1.5")])
    store, found = campaign([sneaky, *toy.GOOD, *toy.NULL])
    state, note = toy.states(store, found)["sneaky"]
    assert state == "rejected" and note.startswith("audit code: train.py:") and "socket" in note
    assert not store.runs(found, idea="sneaky")


def test_a_claim_that_is_gone_on_fresh_seeds_is_withdrawn(campaign):
    def answer(job):
        result = toy.train_here(job)
        fades = "gain_a=1.5" in " ".join(job.argv) and stage_of(job) in (PlanKind.ESTIMATE, PlanKind.VERIFY)
        if not fades or result.bits_per_byte is None:
            return result
        return result.model_copy(update={"bits_per_byte": result.bits_per_byte + 0.5})

    store, found = campaign([*toy.GOOD, *toy.NULL], answer)
    state, note = toy.states(store, found)["good-knob"]
    assert state == "rejected" and note.startswith("audit fresh: 4 pairs on fresh seeds show a loss")
    assert [row["id"] for row in summarise(store, store.campaign(found))["adopted"]] == ["good-source"]


BOTH = (idea("first", {"gain_a": 1.5}), idea("second", {"gain_b": 1.7}))
"""Two gains that stack; each is told by its knob."""


def clocked(seconds, knobs=("gain_a=1.5", "gain_b=1.7")):
    """The toy trainer with `seconds(stage, gains, share)` of CPU time: how many of `knobs` are in, those of
    BOTH, and its tokens over the control's."""
    whole = load_testbed(str(toy.TESTBED)).rungs[0].compute

    def answer(job):
        result = toy.train_here(job)
        gains = sum(knob in " ".join(job.argv) for knob in knobs)
        stage = "smoke" if job.id.startswith("smoke") else stage_of(job)
        return result.model_copy(update={"cpu_seconds": seconds(stage, gains, result.tokens / whole)})

    return answer


def test_what_changes_do_once_adds_up_in_their_stack(campaign):
    store, found = campaign(
        [*BOTH, *toy.NULL],
        clocked(lambda _, gains, share: 0.3 * gains + share),
        budget="10m",
        policy={"together": False},
    )
    (stack,) = [plan for plan in store.plans(found, PlanKind.ESTIMATE) if plan.idea is None]
    assert stack.cost_ratio == pytest.approx(1 / (1 - 2 * 0.3), rel=0.01)


@pytest.mark.parametrize(("times", "adopted"), [(2.0, 2), (3.0, 1)])
def test_a_stack_that_costs_more_than_its_changes_is_charged_what_it_costs(campaign, times, adopted):
    """Beyond what the audit lets through; it joins where it still gains more than the best of its changes."""
    strong = [idea("a", {"gain_a": 2.5}), idea("b", {"gain_b": 2.5})]
    store, found = campaign(
        [*strong, *toy.NULL],
        clocked(lambda _, gains, share: times * share if gains == 2 else share, ("gain_a=2.5", "gain_b=2.5")),
    )
    words = f"the stack takes {times:.2f} times the CPU seconds that it is charged"
    assert any(event.message.startswith(words) for event in store.events(found))
    assert len(summarise(store, store.campaign(found))["adopted"]) == adopted
    if adopted == 2:
        (check,) = store.plans(found, PlanKind.VERIFY)
        assert check.cost_ratio == pytest.approx(times, rel=0.01)
        (recheck,) = summarise(store, store.campaign(found))["rechecks"]
        for change in recheck["changes"]:  # without it the other costs what it costs alone
            assert change["log2_cm"]["low"] < math.log2(2.5 / times) < change["log2_cm"]["high"], change


def test_a_stack_whose_cost_no_charge_covers_is_not_adopted(campaign):
    store, found = campaign([*BOTH, *toy.NULL], clocked(lambda _, gains, share: 3.0 if gains == 2 else share))
    assert any("the stack is not adopted: audit compute" in event.message for event in store.events(found))
    assert len(summarise(store, store.campaign(found))["adopted"]) == 1


def test_a_trunk_that_costs_more_in_the_last_check_is_rejected(campaign):
    def seconds(stage, gains, share):
        return 2 * share if gains and stage is PlanKind.VERIFY else share

    store, found = campaign([BOTH[0], *toy.NULL], clocked(seconds))
    plans = {plan.id for plan in store.plans(found, PlanKind.VERIFY)}
    (verdict,) = [verdict for verdict in store.verdicts(found) if verdict.plan in plans]
    assert verdict.kind is VerdictKind.REJECTED and verdict.reason.startswith("audit compute: 2.00 times")


def test_treatments_are_asked_twice_and_controls_that_are_trusted_once(toy_data, lab_root):
    text = Text(build_corpus(toy_data, lab_root), lambda run: None)
    spec = RunSpec(recipe="r", rung=0, seed=1, tokens=1, shard=Shard.VALIDATION, fingerprint="f")
    asked = {
        (stage, trusted): len(Scoring(text, lab_root, spec, stage, trusted).sessions)
        for stage in (PlanKind.SCREEN, PlanKind.CONFIRM, PlanKind.ESTIMATE, PlanKind.VERIFY)
        for trusted in (True, False)
    }
    assert {key for key, sessions in asked.items() if sessions == 2} == {
        (stage, False) for stage in (PlanKind.CONFIRM, PlanKind.ESTIMATE, PlanKind.VERIFY)
    }
    assert len(Scoring(text, lab_root, None, "smoke").sessions) == 2


def test_each_opening_of_the_held_out_shard_is_recorded_before_it_is_read(toy_data, lab_root):
    corpus = build_corpus(toy_data, lab_root)
    log = []
    text = Text(corpus, log.append)
    assert text.shard(Shard.VALIDATION).shape == (SCORE_WINDOWS, SCORE_LENGTH + 1) and log == []
    assert text.shard(Shard.HELD_OUT, "first").dtype == np.uint8
    text.shard(Shard.HELD_OUT, "second")
    assert log == ["first", "second"]

    def refuse(run):
        raise PermissionError("not in this round")

    with pytest.raises(PermissionError):
        Text(corpus, refuse).shard(Shard.HELD_OUT, "first")


# --- put together -----------------------------------------------------------------------------------------


def test_audits_of_runs_are_put_together_by_kind():
    good = Audit(name="sums", passed=True, reason="fine")
    bad = Audit(name="future", passed=False, reason="it peeks")
    done = RunResult(status=RunStatus.DONE, bits_per_byte=2.0, audits=(good,))
    peeks = RunResult(status=RunStatus.REJECTED, audits=(good, bad))
    found = audit_runs([(done, done), (done, peeks)])
    assert [(audit.name, audit.passed, audit.reason) for audit in found] == [
        ("sums", True, "2 runs: fine"),
        ("future", False, "1 run: it peeks"),
    ]


# --- who is told what, and who may run --------------------------------------------------------------------


def test_whoever_proposed_a_patch_is_told_the_class_and_nothing_more():
    for name, phrase in AUDITS.items():
        seen = full(Audit(name=name, passed=False, reason="12 of 256 answers at cut 77 moved"))
        assert terse(f"confirmation: rejected after 5 pairs; {seen}") == f"rejected: {phrase}"


def test_a_settings_file_cannot_switch_the_sandbox_off(tmp_path):
    file = tmp_path / "mendel.toml"
    file.write_text('sandbox = "none"')
    with pytest.raises(ConfigError, match="sandbox: 'none' is not for a file; give --unsafe-no-sandbox"):
        read_config(file, {})
    assert read_config(None, {"sandbox": "none"}).sandbox == "none"


def settings_for(folder, toy_data, proposer):
    file = toy.write_ideas(folder / "ideas.toml", [toy.GOOD[0], toy.NULL[0]])
    file.write_text(file.read_text().replace('proposer = "user"', f'proposer = "{proposer}"'))
    return toy.config(file, toy_data, budget="52runs")


@pytest.fixture
def leaking(monkeypatch):
    """A sandbox in which one wall has fallen."""
    fallen = (Check("network", False, "a packet came through"),)
    monkeypatch.setattr("mendel.campaign.tier.check", lambda executor, near=None: fallen)


def test_patches_that_nobody_vouches_for_need_a_sandbox_that_holds(lab_root, toy_data, leaking):
    settings = settings_for(lab_root, toy_data, "a-model")
    with pytest.raises(ConfigError, match="'good-.*written by 'a-model'.*network: a packet came through"):
        toy.run_local(settings, lab_root / "lab")


def test_what_joins_while_a_campaign_runs_is_held_to_the_same(lab_root, toy_data, leaking, monkeypatch):
    def admit_and_join(round):
        admit(round)
        late = toy.idea("late", {"gain_c": 1.4}).model_copy(update={"proposer": "a-model"})
        round.lab.store.add_ideas(round.campaign, [late])

    monkeypatch.setattr("mendel.campaign.loop.admit", admit_and_join)
    with pytest.raises(ConfigError, match="'late': written by 'a-model'.*network: a packet came through"):
        toy.run_local(settings_for(lab_root, toy_data, "user"), lab_root / "lab")
    with Store(lab_root / "lab") as store:
        campaign = store.campaign()
        assert campaign.state.value == "stopped"
        assert "late" not in {run.idea for run in store.runs(campaign.id)}
        assert "late" not in {row.idea for row in store.ledger(campaign.id)}, "nor a smoke run of it"


def test_a_users_own_patches_run_in_what_there_is(lab_root, toy_data, leaking):
    store, found = toy.run_local(settings_for(lab_root, toy_data, "user"), lab_root / "lab")
    with store:
        assert found.state.value == "finished"


def test_without_a_sandbox_the_report_says_so_in_red(lab_root, toy_data):
    settings = settings_for(lab_root, toy_data, "user")
    (lab_root / "mendel.toml").write_text(
        f'testbed = "{settings.testbed}"\ndata = "{settings.data}"\nideas = "{settings.ideas}"\n'
        f'budget = "52runs"\n[policy]\n'
        + "\n".join(f"{key} = {json.dumps(v)}" for key, v in toy.POLICY.items())
    )
    code, out, _ = mendel(lab_root, "run", "--unsafe-no-sandbox", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["sandbox"]["name"] == "none"
    page = open(summary["report"], encoding="utf-8").read()  # noqa: PTH123, SIM115
    assert '<p class="bad banner" role="alert">No sandbox:' in page


def test_the_real_sandbox_holds_for_patches_that_nobody_vouches_for(lab_root, toy_data):
    store, found = toy.run_local(settings_for(lab_root, toy_data, "a-model"), lab_root / "lab")
    with store:
        assert found.state.value == "finished"


@pytest.mark.parametrize(
    ("added", "own"),
    [
        ("        loss = 2 * loss_of(x)", True),
        ("        width = 3", False),
        ("        run.backward(loss)\n        run.log(step, 0.5 * loss)", False),
    ],
)
def test_only_what_is_learned_from_makes_an_objective_of_its_own(added, own):
    """A log that is written by hand is no new objective: its losses are compared with the true ones."""
    known = (
        "def train():\n        loss = loss_of(x)\n        run.backward(loss)\n        run.log(step, loss)\n"
    )
    line = (
        "        run.backward(loss)\n        run.log(step, loss)"
        if "log" in added
        else "        loss = loss_of(x)"
    )
    assert has_own_objective({"loop.py": known.replace(line, added)}, {"loop.py": known}) is own
    assert not has_own_objective({"loop.py": known}, {"loop.py": known})
