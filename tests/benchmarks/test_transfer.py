"""The sweep of learning rates: what it concludes from losses, and that it goes on where it was stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from transfer import steps_apart, summarise_rung  # noqa: E402


def parabola(best):
    """(factor, losses of two seeds) of a sweep that is best at `best` factors of two from 1."""
    shape = [(2.0**x, 2.0 + 0.1 * (x - best) ** 2) for x in (-2, -1, 0, 1, 2)]
    return [(factor, [loss - 0.01, loss + 0.01]) for factor, loss in shape]


@pytest.mark.parametrize(("best", "nearest"), [(0.3, 1.0), (0.7, 2.0), (-1.2, 0.5)])
def test_the_vertex_lies_between_the_factors_that_were_tried(best, nearest):
    found = summarise_rung(parabola(best))
    assert found["best_factor"] == nearest
    assert found["vertex_factor"] == pytest.approx(2**best)
    assert found["sweep"][0]["se"] == pytest.approx(0.01)


def test_at_the_edge_of_a_sweep_there_is_no_vertex():
    found = summarise_rung(parabola(5.0))
    assert (found["best_factor"], found["vertex_factor"]) == (4.0, None)


def test_a_rate_that_diverges_with_any_seed_is_never_the_best():
    points = parabola(1.0)
    points[3] = (2.0, [1.0, None])
    found = summarise_rung(points)
    assert found["best_factor"] == 1.0
    assert found["vertex_factor"] is None, "a neighbour of the best is missing"
    assert found["sweep"][3]["bits_per_byte"] is None and found["sweep"][3]["losses"] == [1.0, None]
    assert summarise_rung([(1.0, [None])])["best_factor"] is None


def test_steps_are_factors_of_two_from_the_first_rung_to_the_last():
    rungs = [{"best_factor": 2.0}, {"best_factor": 4.0}, {"best_factor": 0.5}]
    assert steps_apart(rungs, "best_factor") == -2.0
    assert steps_apart([*rungs, {"best_factor": None}], "best_factor") is None


def test_a_small_sweep_ends_as_json_and_trains_nothing_twice(tmp_path, toy_data):
    arguments = ["--recipes", "modern", "--rungs", "0", "--factors", "1", "2", "--seeds", "1"]
    arguments += ["--share", "0.003", "--json", "--out", str(tmp_path / "result.json")]
    arguments += ["--data", str(toy_data), "--root", str(tmp_path / "root"), "--work", str(tmp_path / "work")]
    command = [sys.executable, str(ROOT / "benchmarks" / "transfer.py"), *arguments]

    def points():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("*.json")}

    first = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (first.returncode, first.stderr) == (0, "")
    kept = points()
    assert len(kept) == 2
    next(iter(kept)).unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(again.stdout)
    assert found == json.loads(first.stdout) == json.loads((tmp_path / "result.json").read_text())
    after = points()
    assert after.keys() == kept.keys()
    assert sum(after[path] == kept[path] for path in kept) == 1, "only the lost point was trained again"
    rung = found["recipes"]["modern"]["rungs"][0]
    assert [row["factor"] for row in rung["sweep"]] == [1.0, 2.0]
    best = found["best_lr"]["modern"]["0"]
    assert best == {knob: rung["best_factor"] * value for knob, value in rung["knobs"].items()}
    assert best.keys() == {"lr", "muon_lr"}, "both of its optimisers are swept together"
