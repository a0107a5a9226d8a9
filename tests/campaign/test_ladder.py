"""A ladder measures cheap rungs, predicts a dear one, and never trains a run twice."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import toy
from test_cli import inside, mendel, one_object, start

from mendel.campaign.config import CampaignConfig, ConfigError, Settings
from mendel.campaign.lab import LabError
from mendel.campaign.ladder import FOLDER, Question, ask, climb
from mendel.campaign.progress import Progress
from mendel.runs.sandbox.none import below
from mendel.store import RunState, Store, StoreError
from mendel.testbeds import TestbedError

MORE_RUNGS = "".join(f"\n[[rungs]]\ntokens = {40_000 * 4**rung}\ntimeout = 4\n" for rung in (2, 3))


@pytest.fixture(scope="module")
def testbed(fast_disk):
    """The toy testbed with four rungs."""
    folder = fast_disk / "tall-toy"
    shutil.copytree(toy.TESTBED, folder)
    with (folder / "testbed.toml").open("a") as file:
        file.write(MORE_RUNGS)
    return folder


@pytest.fixture
def climbed(testbed, toy_data, lab_root):
    """climbed(question, **changes): the result of a ladder in real processes."""

    def run(question, **changes):
        settings = {"testbed": str(testbed), "data": str(toy_data), "workers": 2, **changes}
        return climb(CampaignConfig(**settings), question, Settings(root=lab_root), Progress())

    return run


def runs(root):
    """Run -> (attempts, when it finished) of everything that is kept."""
    try:
        with Store(root / FOLDER) as store:
            found = store.runs(store.campaign().id, RunState.FINISHED)
            return {run.id: (run.attempts, run.finished) for run in found}
    except StoreError:
        return {}


SMALL = Question(rungs=(0, 1, 2), predict=3, seeds=2)


def test_a_ladder_predicts_its_top_rung_and_tells_how(climbed, testbed):
    found = climbed(SMALL)
    assert [(row["rung"], row["runs"], row["tokens"]) for row in found["rungs"]] == [
        (0, 8, 40_000),
        (1, 4, 160_000),
        (2, 2, 640_000),
    ]
    assert (found["top"]["runs"], found["top"]["flops"], found["currency"]) == (1, 2_560_000, "tokens")
    assert found["predicted_low"] < found["measured"] < found["predicted_high"]
    assert found["relative_error"] == pytest.approx(found["predicted"] / found["measured"] - 1)
    assert abs(found["relative_error"]) < 0.1
    fit = found["fit"]
    # The toy's own curve: a floor of 1 and an exponent of 0.3.
    assert fit["E"]["low"] < 1.0 < fit["E"]["high"] and fit["alpha"]["low"] < 0.3 < fit["alpha"]["high"]
    seeds = [seed for row in (*found["rungs"], found["top"]) for seed in row["seeds"]]
    assert len(seeds) == len(set(seeds)) == 15
    assert found["rungs"][0]["shape"]["gain_a"] == 1.0, "what the run wrote of its configuration"
    losses = [point["value"] for point in found["curve"]]
    assert losses == sorted(losses, reverse=True) and found["curve"][-1]["flops"] == pytest.approx(2_560_000)
    assert found["made"]["fingerprint"]["libraries"]["numpy"] and found["made"]["mendel"]
    json.dumps(found, allow_nan=False)


def test_asking_again_trains_nothing_and_more_seeds_only_what_is_new(climbed, lab_root):
    first = climbed(replace(SMALL, measure=False))
    assert first["measured"] is first["relative_error"] is first["top"] is None
    before = runs(lab_root)
    assert len(before) == 14
    again = climbed(replace(SMALL, measure=False))
    assert (again, runs(lab_root)) == (first, before)
    with_top = climbed(SMALL)
    assert with_top["rungs"] == first["rungs"]
    assert len(runs(lab_root)) == 15
    climbed(replace(SMALL, seeds=3))
    after = runs(lab_root)
    assert {run: after[run] for run in before} == before, "a finished run was touched"
    assert len(after) == 12 + 6 + 3 + 2


def test_a_recipe_whose_loss_does_not_fall_is_refused(climbed):
    with pytest.raises(LabError, match="recipe flat: the loss does not fall with compute"):
        climbed(SMALL, recipe="flat")


def test_a_recipe_that_does_not_run_is_told_in_one_line(climbed):
    with pytest.raises(
        LabError, match="recipe broken does not run at rung 0: crashed, RuntimeError"
    ) as error:
        climbed(SMALL, recipe="broken")
    assert "\n" not in str(error.value)


def test_runs_that_the_machine_lost_are_tried_again(climbed, lab_root, testbed, tmp_path):
    """Here by a time limit that is too short, which the user then mends."""
    slow = tmp_path / "slow"
    shutil.copytree(testbed, slow)
    text = (slow / "train.py").read_text()
    text = text.replace('"spin": 0.0', '"spin": 0.6').replace(
        'knobs["spin"]', 'knobs["spin"] * (args.tokens > 1e6)'
    )
    (slow / "train.py").write_text(text)
    toml = (slow / "testbed.toml").read_text()
    head, _, tail = toml.rpartition("timeout = 4")
    (slow / "testbed.toml").write_text(f"{head}timeout = 0.2{tail}")
    with pytest.raises(LabError, match="all 1 runs at rung 3 failed: timed out"):
        climbed(SMALL, testbed=str(slow))
    (slow / "testbed.toml").write_text(toml)
    assert climbed(SMALL, testbed=str(slow))["top"]["runs"] == 1
    assert max(attempts for attempts, _ in runs(lab_root).values()) == 1


@pytest.mark.parametrize(
    ("rungs", "predict", "asked"),
    [
        (None, None, ((0, 1, 2), 3)),
        ([0, 1], None, ((0, 1), 2)),
        (None, 2, ((0, 1), 2)),
        ([0, 2], 3, ((0, 2), 3)),
    ],
)
def test_rungs_that_are_not_given_follow_from_those_that_are(testbed, rungs, predict, asked):
    question = ask(str(testbed), rungs, predict, 4, True)
    assert (question.rungs, question.predict) == asked
    assert [question.runs(rung) for rung in (*asked[0][-2:], asked[1])][1:] == [4, 2]


@pytest.mark.parametrize(
    ("rungs", "predict", "seeds", "message"),
    [
        ([0], None, 4, r"rungs: a curve needs two at least \(found \[0\]\)"),
        (None, 1, 4, r"rungs: a curve needs two at least \(found \[0\]\)"),
        ([0, 1, 2], 1, 4, r"predict: rung 1 is not above the measured ones, \[0, 1, 2\]"),
        (None, None, 0, "seeds: 0 found; allowed are 1 to 64"),
    ],
)
def test_a_question_without_an_answer_is_refused(testbed, rungs, predict, seeds, message):
    with pytest.raises(ConfigError, match=message):
        ask(str(testbed), rungs, predict, seeds, True)


def test_rungs_beyond_the_testbed_are_refused(testbed):
    with pytest.raises(TestbedError, match="rung 4 is unknown; allowed are 0 to 3"):
        ask(str(testbed), [0, 1, 2, 3], None, 4, True)


def test_the_command_survives_ctrl_c_and_prints_a_table_or_one_object(testbed, toy_data, fast_disk):
    folder = fast_disk / "ladder-command"
    folder.mkdir()
    command = ("ladder", "--testbed", str(testbed), "--data", str(toy_data), "--seeds", "8", "--workers", "1")
    process = start(folder, *command)
    toy.wait_until(lambda: len(list(folder.glob(".mendel/ladders/runs/*/*/status.json"))) >= 5, 60)
    family = below(process.pid)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.endswith("mendel: stopped; everything is stored. Continue with the same command.\n")
    toy.wait_until(lambda: not any(map(toy.alive, family)), 5)
    before = runs(folder / ".mendel")
    assert 5 <= len(before) < 60
    code, out, err = mendel(folder, *command)
    assert code == 0, err
    assert err.startswith("rung 3 predicted: 1.")
    lines = out.splitlines()
    assert lines[0].split() == [
        "rung",
        "tokens",
        "tokens",
        "runs",
        "bits",
        "per",
        "byte",
        "sd",
        "seconds",
        "each",
    ]
    assert lines[1].split()[:4] == ["0", "4e+04", "40,000", "32"]
    assert "predicted 1." in out and "measured 1." in out and "(mean of 4 runs)" in out
    after = runs(folder / ".mendel")
    assert {run: after[run] for run in before} == before
    code, out, err = mendel(folder, *command, "--json")
    assert (code, err) == (0, "")
    found = one_object(out)
    assert {"fit", "predicted", "measured", "relative_error", "rungs"} <= found.keys()
    with inside(folder):
        code, out, err = mendel(folder, "status")
    assert (code, err.count("\n")) == (2, 1), "a ladder is no campaign"


def test_a_killed_ladder_continues(testbed, toy_data, fast_disk):
    folder = fast_disk / "ladder-killed"
    folder.mkdir()
    command = (
        "ladder",
        "--testbed",
        str(testbed),
        "--data",
        str(toy_data),
        "--seeds",
        "4",
        "--workers",
        "2",
        "--json",
    )
    process = start(folder, *command)
    toy.wait_until(lambda: len(runs(folder / ".mendel")) >= 3, 60)
    family = below(process.pid)
    process.kill()
    process.communicate()
    toy.wait_until(lambda: not any(map(toy.alive, family)), 10)
    before = runs(folder / ".mendel")
    code, out, err = mendel(folder, *command)
    assert (code, err) == (0, "")
    assert one_object(out)["top"]["runs"] == 2
    after = runs(folder / ".mendel")
    assert {run: after[run] for run in before} == before
    assert len(after) == 16 + 8 + 4 + 2
