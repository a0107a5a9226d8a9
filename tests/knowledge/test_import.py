"""An import adds what is new, replaces what has grown, and is never half there."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mendel.cli import main
from mendel.knowledge import import_files
from mendel.knowledge.collection import points
from mendel.knowledge.import_files import curves_of, read_state, typed
from mendel.knowledge.import_runs import folder_of, preview
from mendel.knowledge.table import TableError, read_table
from mendel.records import Recipe, RunResult, RunSpec, RunStatus, Shard
from mendel.store import Store
from mendel.store.folders import file_lock
from tests.knowledge.imports import TRACKED, mlflow_database, take, write_csv
from tests.store.samples import FINGERPRINT

LONG = ("run=run", "step=step", "metric=loss")


def table(file, lengths, shift=0.0):
    rows = [
        (run, step, 10 / step + shift, number)
        for number, (run, n) in enumerate(lengths.items())
        for step in range(1, n + 1)
    ]
    return write_csv(file, ("run", "step", "loss", "seed"), rows)


def contents(folder):
    """Everything below a folder, byte by byte."""
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def curve(folder, run, metric="loss"):
    (found,) = points(folder, metric, [run])
    return found[2].tolist()


def test_the_same_source_again_adds_nothing_and_writes_nothing(tmp_path):
    first = take(TRACKED / "wandb", tmp_path / "in")
    before = contents(tmp_path)
    again = take(TRACKED / "wandb", tmp_path / "in")
    assert (first["new"], first["written"]) == (2, True)
    assert (again["new"], again["grown"], again["unchanged"], again["written"]) == (0, 0, 2, False)
    assert contents(tmp_path) == before


def test_a_run_that_has_grown_is_replaced_and_the_others_stay(tmp_path):
    file = table(tmp_path / "t.csv", {"a": 3, "b": 5})
    take(file, tmp_path / "in", *LONG)
    table(file, {"a": 4, "b": 5, "c": 2})
    found = take(file, tmp_path / "in", *LONG)
    assert (found["new"], found["grown"], found["unchanged"]) == (1, 1, 1)
    assert [len(curve(tmp_path / "in", run)) for run in "abc"] == [4, 5, 2]
    assert read_table(tmp_path / "in").labels("points.loss") == ["4", "5", "2"]


def test_what_a_source_has_lost_since_is_kept(tmp_path):
    file = table(tmp_path / "t.csv", {"a": 5, "b": 5})
    take(file, tmp_path / "in", *LONG)
    before = contents(tmp_path / "in")
    table(file, {"a": 2})
    found = take(file, tmp_path / "in", *LONG)
    assert found["notes"] == [{"name": "a", "reason": "it has 2 points now; the 5 imported before are kept"}]
    assert (found["grown"], found["written"]) == (0, False) and contents(tmp_path / "in") == before


def test_another_source_adds_and_a_name_that_is_taken_gets_its_source(tmp_path):
    take(table(tmp_path / "one.csv", {"a": 3}), tmp_path / "in", *LONG)
    take(table(tmp_path / "two.csv", {"a": 2}, shift=5), tmp_path / "in", *LONG)
    found = read_table(tmp_path / "in")
    assert found.labels("run") == ["a", "a@two"] and found.labels("id") == ["a", "a"]
    assert curve(tmp_path / "in", "a@two") == [15.0, 10.0] and curve(tmp_path / "in", "a") == [
        10.0,
        5.0,
        10 / 3,
    ]


def test_trackers_of_all_kinds_share_a_folder(tmp_path):
    for source in (TRACKED / "wandb", TRACKED / "tensorboard", mlflow_database(tmp_path)):
        take(source, tmp_path / "in")
    found = read_table(tmp_path / "in").where(["status=finished"])
    assert found.labels("kind") == ["wandb", "tensorboard", "mlflow"]
    assert found.numbers("final.train/loss") == pytest.approx([0.3] * 3)
    assert found.labels("grade") == ["imported"] * 3


def test_a_row_tells_the_last_finite_value_the_least_and_that_a_run_diverged(tmp_path):
    file = write_csv(
        tmp_path / "t.csv",
        ("run", "step", "loss"),
        [("a", 1, 2), ("a", 2, 1), ("a", 4, 3), ("a", 5, "inf"), ("b", 1, 2)],
    )
    take(file, tmp_path / "in", *LONG)
    rows = pq.read_table(tmp_path / "in" / "runs.parquet").to_pylist()
    told = [
        (row["final.loss"], row["least.loss"], row["points.loss"], row["last_step"], row["diverged"])
        for row in rows
    ]
    assert told == [(3, 1, 4, 5, True), (2, 2, 1, 1, False)]


def test_many_small_imports_leave_few_parts_and_lose_no_point(tmp_path, monkeypatch):
    monkeypatch.setattr(import_files, "PART", 40)
    monkeypatch.setattr(import_files, "GROUP", 7)
    for number in range(12):
        take(table(tmp_path / f"{number}.csv", {f"r{number}": 9}), tmp_path / "in", *LONG)
    state = read_state(tmp_path / "in")
    assert len(state.parts) <= 4 and sum(state.parts.values()) == 108
    assert {file.name for file in (tmp_path / "in" / "curves").iterdir()} == state.parts.keys()
    assert all(curve(tmp_path / "in", f"r{k}") == curve(tmp_path / "in", "r0") for k in range(12))


def test_points_lie_by_metric_run_and_step_and_a_group_has_one_metric(tmp_path):
    take(TRACKED / "wandb", tmp_path / "in")
    (part,) = (tmp_path / "in" / "curves").iterdir()
    rows = [(row["metric"], row["run"], row["step"]) for row in pq.read_table(part).to_pylist()]
    assert rows == sorted(rows) and {row[0] for row in rows} == {"best", "train/loss", "val/loss"}
    found = pq.ParquetFile(part).metadata
    for group in range(found.num_row_groups):
        told = found.row_group(group).column(0).statistics
        assert told.min == told.max


def test_preview_tells_what_would_be_written_and_writes_nothing(tmp_path):
    before = contents(tmp_path)
    found = preview(TRACKED / "tensorboard", tmp_path / "in", None, {})
    assert (found["new"], found["points"], found["written"]) == (2, 24, False)
    assert found["metrics"] == ["train/loss", "val/loss"] and "lr" in found["config"]
    assert contents(tmp_path) == before and not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], "int64"),
        (["1", "2.5", 3], "double"),
        (["1e-3", "-.5", "inf"], "double"),
        (["true", "False", True], "bool"),
        (["007", "8"], "string"),
        ([True, 1], "string"),
        (["1", "one"], "string"),
        ([None, None], "string"),
        ([2**70, 1], "double"),
    ],
)
def test_a_column_of_configuration_is_of_numbers_only_where_all_are(values, kind):
    assert str(typed(values).type) == kind


# --- killed ------------------------------------------------------------------------------------------------

KILLED = """
import os, shutil, sys
from pathlib import Path
import duckdb, pyarrow.parquet, pyarrow.compute
from mendel.knowledge.import_runs import import_runs
from mendel.knowledge.importers import importer, read_columns

source, before, out, *columns = sys.argv[1:]
columns = read_columns(columns)
importer("table")

def act(folder, left):
    def count(event, args):
        nonlocal left
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if event in ("os.rename", "os.remove") or (writes and str(folder) in str(args[0])):
            left -= 1
            if left < 0:
                os._exit(9)
    sys.addaudithook(count)
    import_runs(Path(source), folder, "table", columns)
    os._exit(0)

for at in range(30):
    folder = Path(out) / str(at)
    shutil.copytree(before, folder)
    child = os.fork()
    if not child:
        act(folder, at)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    if code == 0:
        break
"""


def test_killed_at_any_change_of_the_disk_an_import_is_whole_or_not_there(tmp_path):
    file, folder = table(tmp_path / "t.csv", {"a": 3, "b": 5}), tmp_path / "in"
    take(file, folder, *LONG)
    table(file, {"a": 3, "b": 6, "c": 2})
    command = [sys.executable, "-c", KILLED, str(file), str(folder), str(tmp_path / "out"), *LONG]
    ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    codes = [int(line) for line in ran.stdout.split()]
    assert codes == [9] * (len(codes) - 1) + [0] and len(codes) > 5, ran.stderr
    ends = []
    for at in range(len(codes)):
        killed = tmp_path / "out" / str(at)
        ends.append((len(curve(killed, "b")), len(read_table(killed))))
        found = take(file, killed, *LONG)
        assert found["runs"] == 3 and [len(curve(killed, run)) for run in "abc"] == [3, 6, 2]
        assert {one.name for one in (killed / "curves").iterdir()} == read_state(killed).parts.keys()
        assert json.loads((killed / "source.json").read_text())["runs"] == 3
    assert set(ends) == {(5, 2), (6, 3)} and ends == sorted(ends), "the old state, then the new one"


def test_two_imports_into_one_folder_do_not_meet(tmp_path):
    from mendel.store import StoreError

    with file_lock(tmp_path / ".in.lock"), pytest.raises(StoreError, match="import into in|already holds"):
        take(TRACKED / "wandb", tmp_path / "in")


# --- Mendel's own ------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path):
    with Store(tmp_path / "lab") as store:
        campaign = store.create_campaign("demo", 1, "gpt", "gpt2", {}, FINGERPRINT).id
        recipe = store.put_recipe(
            Recipe(testbed="gpt", tree=store.save_tree({"a.py": "1"}), base="gpt2", overrides={"lr": 0.1})
        )
        specs = [
            RunSpec(
                recipe=recipe, rung=0, seed=seed, tokens=9, shard=Shard.VALIDATION, fingerprint=FINGERPRINT.id
            )
            for seed in (1, 2, 3)
        ]
        for spec in specs[:2]:
            store.enqueue(campaign, [spec], "screen", "wide" if spec.seed == 2 else None)
            store.claim(campaign, spec.id)
            out = store.run_folder(campaign, spec.id).out
            out.mkdir(parents=True)
            (out / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"st')
        store.finish(
            campaign, specs[0].id, RunResult(status=RunStatus.DONE, bits_per_byte=1.5, cpu_seconds=4.0)
        )
        store.enqueue(campaign, [specs[2]], "screen")
    return tmp_path / "lab"


def test_mendels_own_runs_are_asked_as_all_others(lab, tmp_path):
    found = take(lab, tmp_path / "in")
    assert (found["kind"], found["runs"]) == ("mendel", 2), "what is queued has not begun"
    table = read_table(tmp_path / "in")
    assert table.labels("status") == ["done", "running"] and table.labels("grade") == ["measured"] * 2
    assert table.labels("idea") == ["control", "wide"] and table.numbers("lr").tolist() == [0.1, 0.1]
    assert table.numbers("seed").tolist() == [1, 2] and table.numbers("bits_per_byte")[0] == 1.5
    assert curve(tmp_path / "in", table.labels("run")[1]) == [3.0, 2.0]
    assert "1 lines of metrics.jsonl" in table.labels("note")[0]


# --- the command -------------------------------------------------------------------------------------------


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(one) for one in arguments])
    said = capsys.readouterr()
    assert not stopped.value.code, said.err
    return said.out


def test_import_then_runs_then_curves_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = TRACKED / "wandb"
    assert "Nothing was written" in call(capsys, "import", source, "--into", "letters", "--preview")
    assert not (tmp_path / ".mendel").exists()
    assert "2 new, 0 grown" in call(capsys, "import", source, "--into", "letters")
    assert "Nothing is new" in call(capsys, "import", source, "--into", "letters")
    listed = call(capsys, "runs", "--data", "letters", "--metric", "val/loss", "--where", "status=finished")
    assert "seed-1" in listed and "seed-2" not in listed
    found = json.loads(
        call(capsys, "curves", "--data", "letters", "--metric", "train/loss", "--by", "seed", "--json")
    )
    assert [(one["by"], one["runs"]) for one in found["curves"]] == [({"seed": "1"}, 1), ({"seed": "2"}, 1)]
    compared = json.loads(
        call(
            capsys,
            "compare",
            "--data",
            ".mendel/imports/letters",
            "--value",
            "val/loss",
            "--target",
            1,
            "--all-runs",
            "--json",
        )
    )
    assert compared["groups"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "nowhere", "--into", "a"), "nowhere: no such file or folder"),
        (("import", ".", "--into", "../a"), "--into '../a': must be letters"),
        (("import", ".", "--into", "a", "--kind", "mlflw"), "'mlflw' is unknown; did you mean mlflow?"),
        (("import", ".", "--into", "a", "--kind", "wandb"), "no run of kind wandb can be read"),
        (("runs", "--data", "a"), "nothing was imported into"),
        (("curves", "--data", "a", "--metric", "loss", "--points", 1), "--points 1: must be at least 2"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([str(one) for one in arguments])
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_what_is_said_of_tables_is_said_of_imported_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for row in range(12):
        value, status = 1 - row / 1000 + (row % 3) / 400, "discard" if row % 3 else "keep"
        log.append(f"c{row}\t{value:.6f}\t44.0\t{status}\ttry {row}")
    (tmp_path / "results.tsv").write_text("\n".join(log) + "\n")
    call(capsys, "import", "results.tsv", "--into", "loop")
    direct = json.loads(call(capsys, "rejudge", "results.tsv", "--json"))
    assert (
        json.loads(call(capsys, "rejudge", ".mendel/imports/loop", "--json")) == direct
        and direct["kept"] == 3
    )
    rows = [("a", 1, 2.0), ("a", 1, 2.1), ("b", 2, 3.0), ("b", 2, 3.2)]
    write_csv(tmp_path / "t.csv", ("group", "seed", "loss"), rows)
    call(capsys, "import", "t.csv", "--into", "t", "--columns", "metric=loss")
    told = json.loads(
        call(
            capsys,
            "compare",
            "--data",
            ".mendel/imports/t",
            "--value",
            "loss",
            "--group",
            "config.group",
            "--json",
        )
    )
    assert any("share one seed" in line for line in told["groups"][0]["warnings"])
    assert not any("one file" in line for line in told["groups"][0]["warnings"])


def test_markup_in_the_names_of_others_runs_is_shown_as_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_csv(tmp_path / "t.csv", ("run", "loss", "lr[/x]"), [("[bold]a[/nope]", 1, "[red]0.1")])
    said = call(capsys, "import", file, "--into", "t", "--columns", "run=run", "metric=loss")
    assert "lr[/x]" in said
    assert "[bold]a[/nope]" in call(
        capsys, "runs", "--data", "t", "--metric", "loss", "--columns", "run", "lr[/x]"
    )


def test_a_name_is_no_path(tmp_path):
    with pytest.raises(TableError, match="--into '/etc'"):
        folder_of(tmp_path, "/etc")


def test_a_part_that_is_damaged_is_named(tmp_path):
    take(TRACKED / "wandb", tmp_path / "in")
    (part,) = (tmp_path / "in" / "curves").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(TableError, match=f"{part.name}: cannot be read"):
        points(tmp_path / "in", "train/loss")
    with pytest.raises(TableError, match="cannot be read"):
        list(curves_of(part))
