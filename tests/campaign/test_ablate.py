"""An ablation finds what was planted, names what does not compose, and never trains a run twice."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from io import StringIO
from itertools import count

import ablations
import pytest
import toy
from rich.console import Console
from test_cli import inside as working_in
from test_cli import mendel, one_object, start

from mendel.ablate_commands import _asked, show_ablation
from mendel.campaign.config import ConfigError
from mendel.campaign.factors import Factor, finished_campaign, of_campaign, of_ideas, of_knob
from mendel.campaign.lab import LabError
from mendel.records import RunResult, RunStatus
from mendel.store import CampaignState, Store
from mendel.testbeds import TestbedError

SMALL = toy.idea("small", {"gain_c": 1.15})
THREE = (*toy.GOOD, SMALL)


@pytest.fixture(scope="module")
def planted(fast_disk):
    """The toy testbed, where good-knob and good-source together lose 0.322 log2 CM (a factor of 0.8)."""
    folder = fast_disk / "planted-toy"
    shutil.copytree(toy.TESTBED, folder)
    source = folder / "train.py"
    before = "    exponent = 0.0 if"
    assert source.read_text().count(before) == 1
    source.write_text(source.read_text().replace(before, ablations.PLANTED + before))
    return folder


@pytest.fixture
def ablated(monkeypatch, toy_data, lab_root):
    """ablated(ideas or factors, **question): result of an ablation; `ablated.said` has its lines."""

    def run(what, **asked):
        factors = what if isinstance(what[0], Factor) else ablations.ideas_file(lab_root, what)
        root = asked.pop("root", lab_root)
        found, run.said = ablations.run(monkeypatch, root, toy_data, factors, **asked)
        json.dumps(found, allow_nan=False)
        return found

    return run


def effect(found, *names, scale="log2_cm"):
    rows = [*found["main"], *found["interactions"]]
    (row,) = [row for row in rows if sorted(row["factors"]) == sorted(names)]
    return row[scale]


def inside(interval, true):
    return interval["all_low"] <= true <= interval["all_high"]


# --- what it finds ----------------------------------------------------------------------------------------


def test_a_planted_interaction_is_recovered(ablated, planted):
    found = ablated(THREE, testbed=planted, seeds=5)
    lost = math.log2(0.8)
    assert found["design"]["kind"] == "full" and len(found["cells"]) == 8 and found["scale"] == "log2_cm"
    assert inside(effect(found, "good-knob", "good-source"), lost)
    assert effect(found, "good-knob", "good-source")["p_holm"] < 1e-3
    assert effect(found, "good-knob", "good-source")["value"] == pytest.approx(lost, abs=0.05)
    assert inside(effect(found, "good-knob"), math.log2(1.5) + lost / 2)
    assert inside(effect(found, "good-source"), math.log2(1.6) + lost / 2)
    assert inside(effect(found, "small"), math.log2(1.15))
    for pair in (("good-knob", "small"), ("good-source", "small")):
        assert inside(effect(found, *pair), 0.0)
        assert effect(found, *pair, scale="bits_per_byte")["value"] < 0, "the curve alone bends sums of bits"
    whole = math.log2(1.5 * 1.6 * 1.15) + lost
    parts = {part["factor"]: part for part in found["shapley"]["parts"]}
    assert sum(part["value"] for part in parts.values()) == pytest.approx(found["whole"]["log2_cm"]["value"])
    assert parts["small"]["share_low"] < math.log2(1.15) / whole < parts["small"]["share_high"]
    said = " ".join(found["summary"])
    assert "good-knob and good-source together gain 0.3" in said and "log2 CM less than their sum" in said


def test_one_at_a_time_says_that_the_changes_overlap(ablated, planted):
    last = ablated(THREE, testbed=planted, design="loo")
    assert inside(effect(last, "good-knob"), math.log2(1.5 * 0.8))
    assert last["design"]["reference"] == "good-knob + good-source + small"
    assert "more than the sum of what each gains when it joins last: they overlap" in " ".join(
        last["summary"]
    )
    first = ablated(THREE, testbed=planted, design="add")
    assert inside(effect(first, "good-knob"), math.log2(1.5))
    assert "less than the sum of what each gains when it joins first: they overlap" in " ".join(
        first["summary"]
    )
    assert first["shapley"]["basis"] is None and "not its share of the whole" in first["shapley"]["note"]


def test_a_screening_design_says_that_interactions_hide_in_it(ablated, planted):
    beta = toy.idea("beta", {"gain_b": 1.1})
    found = ablated((toy.GOOD[0], beta, SMALL, toy.GOOD[1], toy.NULL[0]), testbed=planted, design="pb")
    assert (found["design"]["orthogonal_cells"], found["interactions"]) == (8, [])
    (small,) = (row for row in found["main"] if row["factors"] == ["small"])
    alias = next(
        alias for alias in small["aliases"] if sorted(alias["factors"]) == ["good-knob", "good-source"]
    )
    assert abs(alias["share"]) == 0.5
    assert inside(small["log2_cm"], math.log2(1.15) + alias["share"] * math.log2(0.8)), "mixed, as stated"
    said = " ".join(found["summary"])
    assert "small gains" in said and "if no pairs interact" in said
    assert "than the main effects add up to: interactions that this design cannot separate" in said


def test_two_values_of_knobs_are_compared(ablated):
    found = ablated([of_knob("gain_a=1.0,1.5"), of_knob("gain_b=1,0.5")], seeds=3)
    assert inside(effect(found, "gain_a"), math.log2(1.5)) and inside(effect(found, "gain_b"), -1.0)
    assert [(f["off"], f["on"]) for f in found["factors"]] == [("1.0", "1.5"), ("1", "0.5")]
    assert found["cells"][0]["name"] == "gain_a=1.0 + gain_b=1"
    assert any(
        line.startswith("gain_b costs 1.0") or line.startswith("gain_b costs 0.9")
        for line in found["summary"]
    )


def test_runs_that_diverge_stand_at_a_stated_bound_and_are_shown(ablated):
    found = ablated((toy.GOOD[0], toy.idea("bad", {"fail": "late_nan"})), seeds=3)
    bad = [cell for cell in found["cells"] if "bad" in cell["on"]]
    assert [cell["failed"] for cell in bad] == [3, 3]
    assert bad[0]["failure"] == "diverged: loss is nan at step 3" and bad[0]["bits_per_byte"] == [None] * 3
    assert found["at_bound"] == 6 and found["bound"] == pytest.approx(3 * 0.41, rel=0.1)
    gain = effect(found, "good-knob", scale="bits_per_byte")["value"]
    lost = effect(found, "bad", scale="bits_per_byte")["value"]
    assert lost == pytest.approx(-found["bound"] - gain), "both of its cells stand at the bound"
    assert all(row["uses_failures"] for row in found["main"])
    assert f"6 runs failed or ended far off and count as {found['bound']:.2f} bits" in " ".join(
        found["summary"]
    )


def test_every_cell_gets_the_compute_that_its_changes_were_charged(ablated, lab_root):
    (knob,) = ablations.ideas_file(lab_root, toy.GOOD[:1])
    found = ablated([replace(knob, excess=2.0)], seeds=3)
    assert [cell["tokens"] for cell in found["cells"]] == [40_000, 20_000]
    assert inside(effect(found, "good-knob"), math.log2(1.5 / 2))


def test_without_a_curve_effects_are_in_bits(ablated):
    found = ablated(toy.GOOD, curve=False, seeds=3)
    assert found["scale"] == "bits_per_byte" and found["main"][0]["log2_cm"] is None and found["bound"] == 1.0
    assert "bits per byte" in found["summary"][0] and found["curve"] == []


# --- what it refuses --------------------------------------------------------------------------------------


def test_alternatives_are_named_and_can_only_be_added(ablated):
    pair = tuple(toy.idea(name, {"gain_a": gain}, slot="gain") for name, gain in (("one", 1.2), ("two", 1.4)))
    with pytest.raises(ConfigError, match="'one' and 'two' share the slot 'gain'.*--design add"):
        ablated(pair)
    found = ablated(pair, design="add", seeds=3)
    assert len(found["cells"]) == 3 and found["whole"] is None
    assert "No cell has everything: 'one' and 'two' share the slot" in " ".join(found["summary"])


@pytest.mark.parametrize(
    ("ideas", "message"),
    [
        (
            (toy.idea("one", {"gain_a": 1.2}), SMALL, toy.idea("two", {"gain_a": 1.4})),
            "'one' and 'two' do not compose: idea 'two': it sets gain_a = 1.4, but idea 'one' set",
        ),
        (
            (toy.GOOD[1], toy.idea("other", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 2.0")])),
            "'good-source' and 'other' do not compose",
        ),
        (
            (SMALL, toy.idea("lost", edits=[("NOT THERE", "x")])),
            "'lost' does not fit without others",
        ),
    ],
)
def test_changes_that_do_not_compose_are_named(ablated, ideas, message):
    with pytest.raises(ConfigError, match=message):
        ablated(ideas, plan_only=True)


def test_changes_that_crash_together_are_named(ablated, toy_data, lab_root):
    broken = lab_root / "broken-toy"
    shutil.copytree(toy.TESTBED, broken)
    source = (broken / "train.py").read_text()
    crash = '    if knobs["gain_a"] * knobs["gain_c"] > 1.6:\n        raise RuntimeError("too much")\n'
    (broken / "train.py").write_text(source.replace("    exponent = 0.0 if", crash + "    exponent = 0.0 if"))
    with pytest.raises(
        LabError,
        match="'good-knob' and 'small' run alone and do not run together at rung 0: crashed, .*too much",
    ):
        ablated(THREE, testbed=broken)
    with pytest.raises(LabError, match="the cell 'crashes' does not run at rung 0: crashed"):
        ablated((toy.idea("crashes", {"fail": "crash"}), SMALL))


def test_code_that_is_no_idea_is_rejected(ablated):
    reader = toy.idea("reader", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.0\nopen('/etc/passwd').read()")])
    with pytest.raises(LabError, match="the cell 'reader' is rejected: audit code"):
        ablated((reader,))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"seeds": 1}, ConfigError, "seeds: 1 found; allowed are 2 to 64"),
        ({"effect": 0.0}, ConfigError, "effect: 0.0 found; it must be above 0"),
        ({"rung": 7}, TestbedError, "rung 7 is unknown"),
        ({"design": "fraction"}, ConfigError, "design: a fraction needs three factors"),
        ({"design": "pairs"}, ConfigError, "design 'pairs' is unknown"),
    ],
)
def test_a_question_without_an_answer_is_refused(ablated, asked, error, message):
    with pytest.raises(error, match=message):
        ablated(toy.GOOD, **asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "write KEY=FIRST,SECOND"),
        ("lr=1", "write KEY"),
        ("lr=1,2,3", "write KEY"),
        ("lr=2,2", "same value"),
    ],
)
def test_knobs_that_cannot_be_read_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        of_knob(text)


def test_values_of_knobs_keep_their_kind():
    kinds = [of_knob("k=true,2").on.patch.overrides["k"], of_knob("k=2,0.5").on.patch.overrides["k"]]
    kinds += [of_knob("k=adamw,muon").off.patch.overrides["k"], of_knob("k=true,2").off.patch.overrides["k"]]
    assert [(type(value), value) for value in kinds] == [(int, 2), (float, 0.5), (str, "adamw"), (bool, True)]


def test_names_that_are_not_there_are_refused_with_those_that_are(lab_root):
    file = toy.write_ideas(lab_root / "few.toml", toy.GOOD)
    assert [factor.name for factor in of_ideas(str(file), ["good-source"])] == ["good-source"]
    with pytest.raises(ConfigError, match="'rope' is not in .*few.toml; there are good-knob, good-source"):
        of_ideas(str(file), ["rope"])
    with pytest.raises(ConfigError, match="say which ideas of the catalog"):
        of_ideas("catalog")
    with pytest.raises(ConfigError, match="a campaign or --ideas, not both"):
        _asked("abc", str(file), [], [], {})


# --- what is kept -----------------------------------------------------------------------------------------


def test_asking_again_trains_nothing_and_another_question_only_what_is_new(ablated, lab_root):
    plan = ablated(THREE, plan_only=True, seeds=3)["plan"]
    assert (plan["runs"], plan["finished_runs"], plan["cells"]) == (28, 0, 8)
    assert any("how long a run takes was not measured yet" in line for line in ablated.said)
    first = ablated(THREE, seeds=3)
    before = ablations.kept(lab_root)
    assert len(before) == 28
    again = ablated(THREE, seeds=3)
    assert ablations.kept(lab_root) == before
    assert {k: v for k, v in again.items() if k != "plan"} == {k: v for k, v in first.items() if k != "plan"}
    assert again["plan"]["finished_runs"] == 28 and "earlier ablations" in again["plan"]["sd_source"]
    ablated(THREE, seeds=3, design="loo")
    after = ablations.kept(lab_root)
    assert {run: after[run] for run in before} == before
    assert len(after) == 28 + 4, "the curve of the trunk is new, its cells are not"
    ablated(THREE, seeds=5, design="loo")
    assert len(ablations.kept(lab_root)) == 32 + 2 * 5


def test_the_plan_measures_its_noise_and_its_time_once_there_are_runs(ablated):
    ablated(THREE, seeds=5)
    plan = ablated(THREE, plan_only=True, seeds=5, effect=0.05)["plan"]
    assert plan["residual_sd_bits_per_byte"] == pytest.approx(0.004, rel=0.4), "the toy's own noise"
    assert plan["slope"] == pytest.approx(0.41, rel=0.15)
    assert plan["seconds"] == pytest.approx(0.0) or plan["seconds"] < 5
    needed = plan["main"]["seeds_needed"]
    assert 2 <= needed <= 5 and plan["main"]["runs_needed"] == 8 * needed
    assert plan["main"]["power"] > 0.8 > plan["interaction"]["power"] - 0.2


def test_an_interrupted_ablation_goes_on_and_gives_the_same_result(ablated, lab_root):
    left = count(20, -1)

    def dies(job):
        if next(left) == 0:
            raise KeyboardInterrupt
        return toy.train_here(job)

    with pytest.raises(KeyboardInterrupt):
        ablated(THREE, seeds=3, answer=dies)
    before = ablations.kept(lab_root)
    assert 4 < len(before) < 28
    found = ablated(THREE, seeds=3)
    after = ablations.kept(lab_root)
    assert {run: after[run] for run in before} == before and len(after) == 28
    assert all(cell["failed"] == 0 for cell in found["cells"])


def test_runs_that_the_machine_lost_are_tried_again(ablated, lab_root):
    lose = count()

    def unlucky(job):
        result = toy.train_here(job)
        if "--seed" in job.argv and not job.id.startswith("smoke") and next(lose) == 5:
            return RunResult(status=RunStatus.OUT_OF_MEMORY, reason="the machine was full")
        return result

    assert ablated(toy.GOOD, seeds=3, answer=unlucky)["at_bound"] == 1
    assert ablated(toy.GOOD, seeds=3)["at_bound"] == 0


# --- from a campaign --------------------------------------------------------------------------------------


def test_the_last_finished_campaigns_trunk_is_taken_apart(campaign, ablated, lab_root):
    store, id = campaign((*toy.GOOD, *toy.NULL))
    with pytest.raises(ConfigError, match="no finished campaign here adopted anything"):
        finished_campaign(store, None)
    store.set_state(id, CampaignState.FINISHED)
    found = finished_campaign(store, None)
    factors = of_campaign(store, found)
    assert sorted(factor.name for factor in factors) == ["good-knob", "good-source"]
    assert all(factor.excess == pytest.approx(1.0) for factor in factors)
    with pytest.raises(ConfigError, match="'null-one' is not in the trunk of campaign"):
        of_campaign(store, found, ["null-one"])
    store.decide(id, "inputs", {"the testbed's source": "older"})
    with pytest.raises(ConfigError, match="the testbed's source changed since: it was 'older'"):
        of_campaign(store, found)
    result = ablated(factors, root=lab_root / "lab", source=found, seeds=3)
    assert f"the pairs of campaign {id}" in result["plan"]["sd_source"]
    assert result["plan"]["residual_sd_bits_per_byte"] == pytest.approx(0.004, rel=0.6)
    assert inside(effect(result, "good-knob"), math.log2(1.5))


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_plans_survives_ctrl_c_and_writes_a_report(toy_data, fast_disk):
    folder = fast_disk / "ablate-command"
    folder.mkdir()
    toy.write_ideas(folder / "ideas.toml", toy.GOOD)
    settings = f'testbed = "{toy.TESTBED}"\ndata = "{toy_data}"\nworkers = 2\n'
    (folder / "mendel.toml").write_text(settings)
    command = ("ablate", "--ideas", "ideas.toml", "--seeds", "3")
    code, out, err = mendel(folder, *command, "--plan")
    assert (code, err) == (0, "")
    assert out.startswith("full factorial: 2 factors, 4 cells, each with the same 3 seeds")
    assert not list(folder.glob(".mendel/ablations/runs/*/*"))
    process = start(folder, *command)
    toy.wait_until(lambda: len(list(folder.glob(".mendel/ablations/runs/*/*/status.json"))) >= 3, 60)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err.endswith("Continue with the same command.\n")
    code, out, err = mendel(folder, *command, "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    assert {"main", "interactions", "shapley", "summary", "plan", "cells", "report"} <= found.keys()
    page = (folder / found["report"]).read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == 6
    with Store(folder / ".mendel" / "ablations") as store:
        assert len(store.campaigns()) == 1
    with working_in(folder), pytest.raises(ConfigError, match="no lab here yet"):
        _asked(None, None, [], [], {})
    out = StringIO()
    show_ablation(Console(file=out, width=120), found)
    for text in ("good-knob x good-source", "of the whole gain (Shapley)", "Report: "):
        assert text in out.getvalue()
