"""Skills of runs: measured over the real wire, stored with the run, and reported with a finding."""

import json
import math
import shutil

import pytest
import toy
from test_cli import mendel

from mendel.campaign.skills import skill_effects
from mendel.records import PlanKind, RunResult, RunStatus, Skill
from mendel.report.skills import skills_table

COPIER = """
import json, math
from pathlib import Path
import numpy as np

CONTEXT = 64
FAILS = ""

class Model:
    # Copies what it is asked to copy; of the toy texts, of two letters, it knows what any model does.

    def __init__(self, folder):
        bits = json.loads((Path(folder) / "model.json").read_text())["bits_per_byte"]
        self.bits = bits * math.log(2)
        self.text = np.full(256, math.log(max(1e-9, 1 - 2 * math.exp(-self.bits)) / 254))
        self.text[[97, 98]] = -self.bits

    def __call__(self, tokens):
        if FAILS == "size" and tokens.shape[1] <= 200:
            raise ValueError("cannot be asked in this size")
        if FAILS == "nan" and len(tokens) > 2 and tokens.max() > 98:
            return np.full((tokens.shape[0], tokens.shape[1] - 1), math.nan)
        rows = tokens.astype(np.uint8).tolist()
        return np.array([self.row(row) for row in rows])

    def row(self, row):
        if set(row) <= {0, 97, 98}:
            return self.text[row[1:]]
        return [self.one(row, i) for i in range(1, len(row))]

    def one(self, row, i):
        row = row[(i - 1) // CONTEXT * CONTEXT :]
        i = (i - 1) % CONTEXT + 1
        text, before = bytes(row[: i + 1]), bytes(row[:i])
        for size in range(i, 0, -1):
            found = before.rfind(before[-size:], 0, i - 1)
            if found >= 0:
                return math.log(0.9) if before[found + size] == text[i] else math.log(0.1 / 255)
        return -self.bits

    def next_token(self, tokens):
        return np.tile(self.text, (len(tokens), 1))


load = Model
"""


@pytest.fixture
def lab_folder(toy_data, fast_disk, request):
    """lab_folder(...): a working folder whose testbed trains models that copy within their context."""

    def make(fails="", context=64):
        folder = fast_disk / f"skills-{request.node.name[:40]}"
        testbed = folder / "testbed"
        shutil.copytree(toy.TESTBED, testbed)
        code = COPIER.replace('FAILS = ""', f'FAILS = "{fails}"').replace("= 64", f"= {context}")
        (testbed / "score.py").write_text(code)
        settings = {"testbed": str(testbed), "data": str(toy_data)}
        (folder / "mendel.toml").write_text(
            "\n".join(f'{key} = "{value}"' for key, value in settings.items())
        )
        return folder

    return make


def probed(folder, *arguments):
    code, out, err = mendel(folder, "probe", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_probe_prints_each_skill_with_chance_and_spread_and_trains_nothing_twice(lab_folder):
    folder = lab_folder()
    found = probed(folder, "--seeds", "2")
    assert (found["schema"], found["recipe"], found["rung"], found["seeds"]) == (1, "plain", 0, 2)
    assert found["chance"] == 0.5
    for skill in ("copying", "induction", "recall", "identifiers"):
        for span in (32, 64):
            row = found["skills"][f"{skill}/{span}"]
            assert (row["accuracy"], row["accuracy_sd"]) == (1.0, 0.0) and row["advantage"] > 5
    assert 0.2 < found["skills"]["brackets/32"]["accuracy"] < 0.8
    assert all(found["skills"][key] is None for key in found["skills"] if key.endswith("/128"))
    runs = folder / ".mendel" / "probes" / "runs"
    before = sorted(path.stat().st_ctime_ns for path in runs.glob("*/*/status.json"))
    assert probed(folder, "--seeds", "2") == found
    assert sorted(path.stat().st_ctime_ns for path in runs.glob("*/*/status.json")) == before
    code, out, _ = mendel(folder, "probe", "--seeds", "2")
    assert code == 0 and "copying/64" in out and "100.0%" in out
    assert "Beyond the model's context: spans of 128 bytes." in out
    assert not (folder / ".mendel" / "mendel.db").exists(), "no campaign was made"


def test_a_model_without_an_answer_to_probes_keeps_its_score(lab_folder):
    found = probed(lab_folder("nan"), "--seeds", "2")
    assert found["seeds"] == 2 and 0 < found["bits_per_byte"] < 8
    assert found["skills"] == {}


def test_a_model_that_cannot_be_asked_in_short_rows_fails_its_smoke_run(lab_folder):
    code, out, err = mendel(lab_folder("size"), "probe", "--seeds", "2")
    assert (code, out) == (1, "")
    assert "recipe plain does not run at rung 0: crashed, scoring: ValueError: cannot be asked" in err


def test_one_seed_has_no_spread(lab_folder):
    code, _, err = mendel(lab_folder(), "probe", "--seeds", "1")
    assert (code, err) == (2, "mendel: command line: seeds: 1 is too few; allowed are 2 and more\n")


# --- in a campaign --------------------------------------------------------------------------------------


def skilled(job):
    """A run of the toy trainer; what gains in loss gains twice that in copying, and nothing in recall."""
    result = toy.train_here(job)
    if result.bits_per_byte is None or "--tokens" not in job.argv:
        return result
    skills = {
        "copying/32": Skill(accuracy=0.5, advantage=-2 * result.bits_per_byte),
        "recall/32": Skill(accuracy=0.5, advantage=0.25),
        "copying/64": None,
    }
    return result.model_copy(update={"skills": skills})


def test_a_finding_says_which_skill_its_fresh_pairs_gained(toy_data, lab_root):
    file = toy.write_ideas(lab_root / "ideas.toml", [*toy.GOOD, *toy.NULL])
    settings = toy.config(file, toy_data, policy={"together": False})
    store, campaign, _ = toy.run_fake(settings, lab_root / "lab", answer=skilled)
    with store:
        assert store.findings(campaign.id)
        for finding in store.findings(campaign.id):
            copying, recall = finding.skills
            fresh = next(v for v in store.verdicts(campaign.id) if v.id == finding.verdicts[-1])
            assert (copying.skill, copying.pairs) == ("copying/32", fresh.pairs)
            assert copying.gain.value == pytest.approx(2 * fresh.difference.value)
            assert copying.gain.low > 0 and copying.control_sd > 0
            assert (recall.gain.value, recall.control_sd) == (0.0, 0.0)
        assert len(store.findings(campaign.id)) == 2


def test_runs_are_probed_where_they_are_paired_for_a_claim_and_not_in_screening(lab_folder, toy_data):
    folder = lab_folder(context=32)
    toy.write_ideas(folder / "ideas.toml", toy.GOOD)
    settings = toy.config(folder / "ideas.toml", toy_data, testbed=str(folder / "testbed"), budget="90runs")
    store, campaign = toy.run_local(settings, folder / "lab")
    with store:
        asked = {(run.stage, bool(run.result.skills)) for run in store.runs(campaign.id)}
        assert {stage for stage, skills in asked if skills} == {
            kind.value for kind in (PlanKind.CONFIRM, PlanKind.ESTIMATE, PlanKind.VERIFY)
        }
        assert len(asked) == len({stage for stage, _ in asked})
        assert all(finding.skills for finding in store.findings(campaign.id))


# --- the numbers ------------------------------------------------------------------------------------------


def result(**advantages):
    skills = {name: None if a is None else Skill(accuracy=0.5, advantage=a) for name, a in advantages.items()}
    return RunResult(status=RunStatus.DONE, bits_per_byte=2.0, skills=skills)


def test_an_effect_is_the_paired_difference_with_its_interval():
    pairs = [(result(a=0.1), result(a=0.4)), (result(a=0.3), result(a=0.5)), (result(a=0.2), result(a=0.6))]
    (effect,) = skill_effects(pairs)
    assert effect.gain.value == pytest.approx(0.3)
    half = 4.302653 * 0.1 / math.sqrt(3)  # t of 2 degrees of freedom
    assert (effect.gain.low, effect.gain.high) == (pytest.approx(0.3 - half), pytest.approx(0.3 + half))
    assert (effect.control_advantage, effect.control_sd) == (pytest.approx(0.2), pytest.approx(0.1))


def test_failed_runs_and_spans_that_one_arm_cannot_see_are_not_compared():
    failed = RunResult(status=RunStatus.DIVERGED)
    both = (result(a=0.1, b=0.1), result(a=0.2, b=None))
    assert [effect.skill for effect in skill_effects([both, both, (result(a=0.1, b=1), failed)])] == ["a"]
    assert skill_effects([both]) == ()


def test_the_table_shows_the_chance_level_and_says_that_it_claims_nothing():
    pairs = [(result(a=0.1), result(a=0.4)), (result(a=0.3), result(a=0.5))]
    page = skills_table(skill_effects(pairs))
    assert skills_table(()) is None
    assert "chance level is 0, that of accuracy 50%" in page
    assert "describe and claim nothing" in page
    assert "<td>a</td>" in page and "50% → 50%" in page and "+0.250 [" in page
