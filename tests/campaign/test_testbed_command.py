"""The commands of `mendel testbed`: what they print, their exit codes, and that a stopped check continues."""

import json
import os
import signal

import pytest
import toy
from test_cli import mendel, one_object, start
from tiny import TOML, TRAIN, runs

from mendel.testbeds.contract import schema


@pytest.fixture
def folder(lab_root):
    """A working folder with the tiny testbed in it."""
    (lab_root / "train.py").write_text(TRAIN)
    (lab_root / "data.py").write_text("")
    (lab_root / "testbed.toml").write_text(TOML)
    return lab_root


def test_a_check_prints_a_line_each_then_what_to_change_then_what_comes_next(folder):
    code, out, err = mendel(folder, "testbed", "check", "--workers", "2", COLUMNS="80")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "tiny, rung 0: a smoke run and 7 runs, losses in nats per token"
    assert max(map(len, lines[:-1])) <= 80
    began = [line.split()[:2] for line in lines if line.startswith(("good ", "weak ", "error "))]
    assert ["good", "seeds"] in began and ["good", "repeats"] in began and ["weak", "trust"] in began
    assert lines.index("What to change:") > lines.index(next(x for x in lines if "good  seeds" in x))
    assert lines[-1].startswith("A campaign can use it. Next: mendel run --testbed ")
    assert lines[-1].endswith(" --ideas IDEAS.toml --budget 100runs")
    before = runs(folder / ".mendel")
    code, out, err = mendel(folder, "testbed", "check", str(folder), "--workers", "2", "--json")
    found = one_object(out)
    assert (code, err, found["ok"], found["testbed"]) == (0, "", True, "tiny")
    assert runs(folder / ".mendel") == before
    (folder / "ideas.toml").write_text("")
    (folder / "mendel.toml").write_text('testbed = "."\nbudget = "40runs"\nideas = "ideas.toml"\n')
    _, out, _ = mendel(folder, "testbed", "check", "--workers", "2")
    said = "mendel run (its budget, 40 runs, and its ideas, ideas.toml, are those of mendel.toml)"
    assert out.splitlines()[-1] == f"A campaign can use it. Next: {said}"
    (folder / "mendel.toml").write_text('testbed = "gpt"\n')
    _, out, _ = mendel(folder, "testbed", "check", str(folder), "--workers", "2")
    assert out.splitlines()[-1].endswith(f"--testbed {folder} --ideas {folder}/ideas.toml --budget 100runs")
    (folder / "mendel.toml").write_text('testbed = "elsewhere"\n')
    code, _, err = mendel(folder, "testbed", "check")
    assert code == 2 and "elsewhere" in err, "the testbed of mendel.toml comes first"


def test_exit_codes_tell_a_failed_run_from_a_file_that_is_refused(folder):
    (folder / "train.py").write_text(TRAIN.replace("loss = 1", "import nothing_like_it\nloss = 1"))
    code, out, _ = mendel(folder, "testbed", "check", "--json")
    smoke = one_object(out)["checks"][-1]
    assert code == 1 and (smoke["name"], smoke["grade"]) == ("smoke", "error")
    assert "does not have nothing_like_it" in smoke["change"]
    code, out, _ = mendel(folder, "testbed", "check")
    assert code == 1 and "No campaign can use it yet. Next: mendel testbed check" in out
    code, out, err = mendel(folder, "testbed", "check", "--rung", "2")
    assert (code, out) == (2, "") and "rung 2 is unknown; allowed are 0 to 1" in err
    (folder / "testbed.toml").write_text(TOML.replace("memory", "memroy"))
    code, out, err = mendel(folder, "testbed", "check")
    assert (code, out) == (2, "") and "memroy: unknown key (found 400000000.0); did you mean memory?" in err
    assert err.count("\n") == 1


def test_a_stopped_check_continues(folder):
    slow = TRAIN.replace("steps * 5e-4", "0.5 + steps * 5e-4")
    (folder / "train.py").write_text(slow)
    process = start(folder, "testbed", "check", "--workers", "1")
    toy.wait_until(lambda: len(runs(folder / ".mendel")) >= 2, 60)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err.endswith("Continue with the same command.\n")
    before = runs(folder / ".mendel")
    assert 2 <= len(before) < 7
    code, out, _ = mendel(folder, "testbed", "check", "--workers", "1", "--json")
    after = runs(folder / ".mendel")
    assert code == 0 and one_object(out)["runs"] == len(after) == 7
    assert {run: after[run] for run in before} == before


def test_the_schema_is_printed_and_the_documented_one_is_up_to_date(folder, pytestconfig):
    code, out, err = mendel(folder, "testbed", "schema")
    assert (code, err) == (0, "") and json.loads(out) == schema()
    kept = pytestconfig.rootpath / "docs" / "testbed.schema.json"
    assert kept.read_text() == out, "mendel testbed schema > docs/testbed.schema.json"
    assert {"command", "rungs", "metric", "prepare"} <= schema()["properties"].keys()
    assert "root" not in schema()["properties"]
