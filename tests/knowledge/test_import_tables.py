"""Tables and logs: columns mean what was said, rows that are none are named."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.knowledge.importers import read_columns, recognise
from mendel.knowledge.table import TableError
from tests.knowledge.imports import points, read, write_csv

LONG = ("run=id", "step=at", "metric=loss")


@pytest.fixture
def long(tmp_path):
    rows = [
        ("b", 2, 1.5, 0.1),
        ("b", 1, 2.5, 0.1),
        ("a", 1, "nan", 0.2),
        ("b", 3, 1.0, 0.1),
        ("a", 2, "", 0.2),
    ]
    return write_csv(tmp_path / "runs.csv", ("id", "at", "loss", "lr"), rows)


def test_one_row_a_point_becomes_curves_in_the_order_of_steps_and_runs_in_that_of_the_file(long):
    runs, unread = read(long, columns=LONG)
    assert list(runs) == ["b", "a"] and not unread
    assert points(runs["b"], "loss") == [(1, 2.5), (2, 1.5), (3, 1.0)]
    assert len(points(runs["a"], "loss")) == 1 and math.isnan(points(runs["a"], "loss")[0][1])
    assert runs["a"].config == {"lr": "0.2"}


def test_one_row_a_run_has_one_point_a_metric(tmp_path):
    file = write_csv(
        tmp_path / "t.csv",
        ("lr", "loss", "acc", "state"),
        [(0.1, 2.0, 0.5, "Finished"), (0.2, "", 0.6, "Crashed")],
    )
    runs, _ = read(file, columns=("metric=loss", "metric=acc", "status=state"))
    assert [run.id for run in runs.values()] == ["1", "2"]
    assert points(runs["1"], "loss") == [(0, 2.0)] and [c.metric for c in runs["2"].curves] == ["acc"]
    assert [run.status for run in runs.values()] == ["finished", "crashed"]


def test_a_status_is_no_setting_although_nobody_names_it(tmp_path):
    rows = [(0.1, 2.0, "Finished"), (0.2, "-", "Crashed")]
    runs, unread = read(
        write_csv(tmp_path / "t.csv", ("lr", "loss", "state"), rows), columns=("metric=loss",)
    )
    assert [run.status for run in runs.values()] == ["finished", "crashed"] and not unread
    assert runs["2"].config == {"lr": "0.2"} and runs["2"].curves == ()


def test_names_of_metrics_may_stand_in_a_column(tmp_path):
    rows = [("a", "loss", 1, 3.0), ("a", "acc", 1, 0.1), ("a", "loss", 2, 2.0)]
    file = write_csv(tmp_path / "t.csv", ("run", "what", "step", "is"), rows)
    runs, _ = read(file, columns=("run=run", "step=step", "metric=what", "value=is"))
    assert points(runs["a"], "loss") == [(1, 3.0), (2, 2.0)] and points(runs["a"], "acc") == [(1, 0.1)]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_form_of_table_tells_the_same(form, tmp_path):
    rows = [{"id": "a", "at": 1, "loss": 2.5, "on": True}, {"id": "a", "at": 2, "loss": 1.5, "on": True}]
    file = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif form.startswith("json"):
        file.write_text(json.dumps(rows) if form == "json" else "\n".join(map(json.dumps, rows)))
    else:
        separator = "\t" if form == "tsv" else ","
        file.write_text(
            "\n".join(separator.join(map(str, one)) for one in [rows[0], *(row.values() for row in rows)])
        )
    runs, unread = read(file, columns=LONG)
    assert points(runs["a"], "loss") == [(1, 2.5), (2, 1.5)] and not unread
    assert runs["a"].config["on"].lower() == "true"


def test_nested_configuration_in_json_has_dotted_keys(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": "a", "loss": NaN, "model": {"width": 64, "act": null}}\n')
    runs, _ = read(file, columns=("run=id", "metric=loss"))
    assert runs["a"].config == {"model.width": 64}


def test_what_changes_within_a_run_is_neither_kept_nor_passed_over_in_silence(tmp_path):
    file = write_csv(tmp_path / "t.csv", ("id", "at", "loss", "tokens"), [("a", 1, 2, 10), ("a", 2, 1, 20)])
    runs, (one,) = read(file, columns=LONG)
    assert "tokens" not in runs["a"].config
    assert one.name == "column 'tokens'" and "metric=" in one.reason


def test_bad_numbers_and_cut_lines_are_named_and_cost_their_own_run_only(tmp_path):
    rows = [("a", 1, 2.0, 0.1), ("b", 1, "oops", 0.1), ("b", 2, 1.0, 0.1)]
    file = write_csv(tmp_path / "t.csv", ("id", "at", "loss", "lr"), rows)
    with file.open("a") as stream:
        stream.write("a,2,1.")
    runs, unread = read(file, columns=LONG)
    assert list(runs) == ["a"] and points(runs["a"], "loss") == [(1, 2.0)]
    assert [one.name for one in unread] == ["run b", "line 5"]
    assert "row 2: loss is no number: oops" in unread[0].reason


def test_a_row_without_a_step_is_left_out_and_counted(tmp_path):
    file = write_csv(
        tmp_path / "t.csv", ("id", "at", "loss", "row number"), [("a", 1, 2.0, 7), ("a", "", 1.0, 7)]
    )
    runs, _ = read(file, columns=LONG)
    assert points(runs["a"], "loss") == [(1, 2.0)] and runs["a"].config == {"row number": "7"}
    assert runs["a"].note == "1 rows without a step are left out"


def test_a_cut_line_of_json_is_named(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": "a", "at": 1, "loss": 2.0}\n{"id": "a", "at": 2, "lo')
    runs, unread = read(file, columns=LONG)
    assert points(runs["a"], "loss") == [(1, 2.0)] and [one.name for one in unread] == ["line 2"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("metric=los",), "metric=los: no column 'los'; did you mean loss"),
        (("run=id",), "which column is a metric.*its columns are id, at, loss, lr"),
        (("metric=loss", "metric=lr", "value=at"), "value=at: then one metric="),
        (("metrc=loss",), "'metrc' is no meaning; did you mean metric"),
        (("loss",), "write MEANING=COLUMN"),
        (("step=at", "step=lr", "metric=loss"), "step is 'at' already"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_what_is(long, columns, said):
    with pytest.raises(TableError, match=said):
        read(long, columns=columns)


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    file = tmp_path / "t.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match="t.parquet: cannot be read: ") as error:
        read(file, "table", columns=LONG)
    assert "\n" not in str(error.value)


VALUES = st.floats(allow_nan=False, width=32)
LOGS = st.dictionaries(
    st.text("abcXYZ 0-9,'\"é", min_size=1, max_size=6).filter(lambda id: id.strip() == id and id),
    st.dictionaries(st.integers(0, 10**12), VALUES, min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None)
@given(LOGS, st.randoms())
def test_a_table_of_points_comes_back_whatever_the_order_of_its_rows(tmp_path_factory, logs, random):
    rows = [
        {"id": run, "at": at, "loss": value} for run, curve in logs.items() for at, value in curve.items()
    ]
    random.shuffle(rows)
    file = tmp_path_factory.mktemp("t") / "t.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    runs, unread = read(file, "table", columns=LONG)
    assert not unread
    assert {run.id: dict(points(run, "loss")) for run in runs.values()} == logs


# --- autoresearch, and what W&B exports ---------------------------------------------------------------------

LOG = """commit\tval_bpb\tmemory_gb\tstatus\tdescription
a1b2c3d\t0.997900\t44.0\tkeep\tbaseline
b2c3d4e\t0.993200\t44.2\tkeep\tincrease LR to 0.04
c3d4e5f\t0.000000\t0.0\tcrash\tdouble model width (OOM)
a1b2c3d\t1.005000\t44.0\tdiscard\tswitch to "GeLU" activation
d4e5f6a\t0.9
"""


def test_a_log_of_autoresearch_keeps_its_order_its_crashes_and_names_its_cut_line(tmp_path):
    (tmp_path / "results.tsv").write_text(LOG)
    assert recognise(tmp_path) == "autoresearch" == recognise(tmp_path / "results.tsv")
    runs, unread = read(tmp_path)
    assert [run.id for run in runs.values()] == ["a1b2c3d", "b2c3d4e", "c3d4e5f", "a1b2c3d#2"]
    assert [run.status for run in runs.values()] == ["keep", "keep", "crash", "discard"]
    crash = runs["double model width (OOM)"]
    assert not crash.curves and crash.commit == "c3d4e5f"
    assert points(runs["baseline"], "val_bpb") == [(1, 0.9979)]
    assert [(one.name, one.reason) for one in unread] == [("row 5", "it has 2 of 5 columns")]


def test_an_exported_history_is_a_run_and_an_exported_chart_is_its_runs(tmp_path):
    rows = [(0, 3.0, 1.0, 5), (1, 2.0, 2.0, 6)]
    write_csv(tmp_path / "happy-tree-1.csv", ("_step", "loss", "_runtime", "tokens"), rows)
    chart = tmp_path / "chart.csv"
    chart.write_text('"Step","a - loss","a - loss__MIN","a - loss__MAX","b - loss"\n0,3,3,3,\n1,2,2,2,4\n')
    assert recognise(tmp_path) == "wandb" == recognise(chart)
    runs, unread = read(tmp_path)
    assert sorted(runs) == ["a", "b", "happy-tree-1"] and not unread
    assert points(runs["happy-tree-1"], "loss") == [(0, 3.0), (1, 2.0)]
    assert [curve.metric for curve in runs["happy-tree-1"].curves] == ["loss", "tokens"]
    assert points(runs["b"], "loss") == [(1, 4.0)]


def test_what_columns_mean_is_read_in_order():
    assert read_columns(["metric=a", "metric=b", "run=r=1"]) == {"metric": ["a", "b"], "run": ["r=1"]}
