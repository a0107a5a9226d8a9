"""Questions to imported runs are answered from the runs that were chosen, and from their own steps."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.cli import main
from mendel.knowledge import import_files
from mendel.knowledge.collection import (
    at_steps,
    early_values,
    grid_of,
    mean_curve,
    metrics_of,
    points,
    select,
)
from mendel.knowledge.import_files import Parts, State, measured_of, write_state
from mendel.knowledge.importers import Curve
from mendel.knowledge.table import TableError, read_table

Points = dict[str, dict[str, list[tuple[float, float]]]]


def collection(folder, runs, config=None):
    """A folder of imported runs: run -> metric -> points."""
    parts, rows = Parts(folder), {}
    for run, curves in runs.items():
        made = [
            Curve(name, *(np.array(one, float) for one in zip(*some, strict=True)))
            for name, some in curves.items()
        ]
        parts.add(run, made)
        facts = {"run": run, "id": run, "source": "s", "status": "finished"} | measured_of(made)
        rows["s", run] = facts | {
            f"config.{key}": value for key, value in (config or {}).get(run, {}).items()
        }
    parts.flush()
    write_state(folder, State(rows, parts.written, {}))
    return folder


@pytest.fixture
def runs(tmp_path):
    some = {
        run: {"loss": [(step, level / (step + 1)) for step in range(11)]}
        for run, level in (("a", 2), ("b", 4), ("c", 9))
    }
    some["c"]["acc"] = [(10, 0.5)]
    return collection(tmp_path / "in", some, {"a": {"lr": 0.1}, "b": {"lr": 0.2}, "c": {"lr": 0.3}})


def test_only_the_chosen_runs_are_averaged(runs):
    mean = mean_curve(points(runs, "loss", ["a", "b"]))
    assert mean.steps.tolist() == list(range(11)) and mean.runs.tolist() == [2] * 11
    assert mean.mean[0] == 3 and mean.sd[0] == pytest.approx(2**0.5)
    assert (mean.low[0], mean.high[0]) == pytest.approx((2.2, 3.8))
    assert points(runs, "acc").runs == ["c"] and points(runs, "acc", ["a"]).runs == []


def test_a_metric_that_is_not_there_is_refused_with_those_that_are(runs):
    with pytest.raises(TableError, match="no metric 'los'; did you mean loss. allowed are acc, loss"):
        points(runs, "los")
    assert metrics_of(runs) == ["acc", "loss"]
    with pytest.raises(TableError, match="no imported runs lie there"):
        points(runs.parent, "loss")


def test_runs_of_unlike_steps_are_compared_between_their_own_points_and_never_beyond(tmp_path):
    folder = collection(
        tmp_path / "in", {"a": {"loss": [(0, 4.0), (10, 2.0)]}, "b": {"loss": [(0, 2.0), (4, 0.0)]}}
    )
    curves = points(folder, "loss")
    assert at_steps(curves, np.array([0.0, 2.0, 5.0, 11.0]))[0] == pytest.approx(
        [4.0, 3.6, 3.0, math.nan], nan_ok=True
    )
    mean = mean_curve(curves, count=6)
    assert mean.steps.tolist() == [0, 2, 4, 6, 8, 10] and mean.runs.tolist() == [2, 2, 2, 1, 1, 1]
    assert mean.mean[1] == pytest.approx((3.6 + 1.0) / 2) and math.isnan(mean.sd[-1])
    assert grid_of(curves, 4).tolist() == [0, 3, 7, 10], "whole steps stay whole"


def test_a_value_that_is_not_finite_is_no_part_of_a_mean_and_is_not_counted(tmp_path):
    folder = collection(
        tmp_path / "in", {"a": {"loss": [(0, 1.0), (1, math.nan)]}, "b": {"loss": [(0, 3.0), (1, 5.0)]}}
    )
    mean = mean_curve(points(folder, "loss"))
    assert mean.mean.tolist() == [2.0, 5.0] and mean.runs.tolist() == [2, 1]


def test_shared_steps_are_thinned_and_keep_their_ends(tmp_path):
    folder = collection(tmp_path / "in", {"a": {"loss": [(step**2, 1.0) for step in range(50)]}})
    grid = grid_of(points(folder, "loss"), 5)
    assert (
        len(grid) == 5
        and (grid[0], grid[-1]) == (0, 49**2)
        and all(math.sqrt(one).is_integer() for one in grid)
    )


def test_early_values_are_the_last_ones_logged_by_then(tmp_path):
    folder = collection(
        tmp_path / "in", {"a": {"loss": [(1, 9.0), (4, 5.0), (10, 1.0)]}, "b": {"loss": [(2, 7.0), (5, 3.0)]}}
    )
    names, values = early_values(folder, "loss", [0.05, 0.39, 0.4, 1.0])
    assert names == ["a", "b"]
    assert values[0] == pytest.approx([math.nan, 9.0, 5.0, 1.0], nan_ok=True)
    assert values[1] == pytest.approx([math.nan, math.nan, 7.0, 3.0], nan_ok=True)
    _, values = early_values(folder, "loss", [0.4, 0.6], horizon=10)
    assert values[1] == pytest.approx([7.0, math.nan], nan_ok=True), "it did not come so far"


def test_rows_are_sorted_by_numbers_and_what_is_missing_comes_last(runs):
    table = read_table(runs)
    assert [row["run"] for row in select(table, ["run"], "final.loss", descending=True)] == ["c", "b", "a"]
    assert [row["run"] for row in select(table, ["run"], "acc", top=2)] == ["c", "a"]
    assert select(table, ["run", "lr"], "lr", top=1) == [{"run": "a", "lr": 0.1}]


def test_short_names_stand_for_configuration_and_last_values_but_not_for_both(tmp_path):
    folder = collection(
        tmp_path / "in", {"a": {"lr": [(0, 1.0)], "loss": [(0, 2.0)]}}, {"a": {"lr": 0.5, "depth": 4}}
    )
    table = read_table(folder)
    assert table.labels("depth") == ["4"] and table.numbers("loss").tolist() == [2.0]
    assert len(table.where(["depth=4 and loss<3"])) == 1
    with pytest.raises(TableError, match="'lr' may be config.lr or final.lr; write which"):
        table.numbers("lr")


CURVE = st.dictionaries(
    st.integers(0, 50), st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=6
)
RUNS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), CURVE, min_size=1),
    min_size=1,
)


@settings(max_examples=25, deadline=None)
@given(RUNS, st.sets(st.sampled_from("abcdefgh")), st.integers(1, 9), st.integers(1, 30))
def test_every_point_is_found_again_however_parts_and_groups_fall(
    tmp_path_factory, runs, chosen, group, part
):
    folder = tmp_path_factory.mktemp("in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_files, "GROUP", group)
        patch.setattr(import_files, "PART", part)
        collection(
            folder, {run: {m: sorted(c.items()) for m, c in curves.items()} for run, curves in runs.items()}
        )
    for metric in {name for curves in runs.values() for name in curves}:
        for some in (None, sorted(chosen)):
            found = {
                run: dict(zip(s.tolist(), v.tolist(), strict=True))
                for run, s, v in points(folder, metric, some)
            }
            assert found == {
                run: curves[metric]
                for run, curves in runs.items()
                if metric in curves and (some is None or run in some)
            }


def test_curves_by_a_column_on_the_command_line(runs, capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["curves", "--data", str(runs), *arguments])
        return stopped.value.code, capsys.readouterr()

    _, said = call("--metric", "loss", "--where", "lr<0.3", "--points", "3", "--json")
    (found,) = json.loads(said.out)["curves"]
    assert found["runs"] == 2 and found["steps"] == [0, 5, 10] and found["mean"][0] == 3
    _, said = call("--metric", "loss", "--by", "lr")
    assert "lr 0.1: loss, 1 runs" in said.out and "lr 0.3: loss, 1 runs" in said.out
    code, said = call("--metric", "acc", "--where", "lr<0.2")
    assert code == 2 and "no run that was chosen has a curve of 'acc'" in said.err
