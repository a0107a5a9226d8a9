"""Replay of a table of pairs: what it must hold, disjoint seeds, and the score by probability."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mendel.bench.lab import OutOfSeeds
from mendel.bench.replay import Replay, TableError, draw_replay, read_table
from mendel.bench.run import bench_table

GAINS = {"good": 0.06, "null": 0.0, "bad": -0.06, "quiet": 0.0} | {f"other{i}": 0.0 for i in range(4)}


@pytest.fixture
def table_file(tmp_path):
    """Eight ideas and the control on 21 seeds; "quiet" hardly disturbs a run."""
    rng = np.random.default_rng(0)
    control = 2.0 + 0.03 * rng.standard_normal(21)
    rows = [row("control", seed, loss) for seed, loss in enumerate(control)]
    for name, gain in GAINS.items():
        sd = 0.0005 if name == "quiet" else 0.015
        rows += [row(name, s, control[s] - gain - sd * float(rng.standard_normal())) for s in range(21)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "runs.parquet")
    return tmp_path / "runs.parquet"


def row(idea, seed, loss):
    curve = [loss * np.log(2) * (2 - part / 4) for part in range(1, 5)]
    kind = "a" if idea in ("good", "bad") else "b"
    return {"idea": idea, "class": kind, "rung": 0, "seed": seed, "loss": loss, "flops": 1.0, "curve": curve}


def test_policies_and_truth_have_different_seeds(table_file):
    table = read_table(table_file, 0)
    assert (table.gains.shape, table.ideas[:2]) == ((8, 21), ("bad", "good"))
    lab, truth = draw_replay(table, Replay(), 0.05, 2.0, seed=4)
    sold = np.array([lab.pair(1, seed) for seed in range(14)])
    with pytest.raises(OutOfSeeds):
        lab.pair(1, 14)
    kept = (table.gains[1].sum() - sold.sum()) / 7
    assert truth.gain[1] == pytest.approx(kept)
    assert truth.null[1] < 0.001 < 0.2 < truth.null[table.ideas.index("null")]


def test_what_is_false_goes_by_each_ideas_own_noise(table_file):
    table = read_table(table_file, 0)
    nulls = [draw_replay(table, Replay(), 0.05, 2.0, seed)[1].null for seed in range(8)]
    quiet, null = np.mean(nulls, axis=0)[[table.ideas.index("quiet"), table.ideas.index("null")]]
    assert quiet > 0.8 > null


def test_a_look_before_the_horizon_is_that_of_the_curve(table_file):
    lab, _ = draw_replay(read_table(table_file, 0), Replay(), 0.05, 2.0, seed=0)
    whole = lab.run([], 0) - lab.run([1], 0)
    assert lab.run([], 0, 0.5) - lab.run([1], 0, 0.5) == pytest.approx(1.5 * whole)
    assert lab.spent == 2


def test_the_planted_gain_is_found_and_a_harm_is_not_claimed(table_file):
    found = bench_table(read_table(table_file, 0), Replay(budget=120), campaigns=3)
    ours = found["policies"]["mendel"]
    assert found["name"] == "runs.parquet"
    assert ours["gain_recovered"] > 0.75  # of what noise makes of the nulls a little is attainable, too
    assert ours["false_discovery_proportion"] < 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: [{k: v for k, v in row.items() if k != "loss"} for row in rows],
            "columns loss are missing",
        ),
        (lambda rows: [row for row in rows if row["seed"] < 3], "rung 0 has 3 seeds"),
        (lambda rows: [{**row, "rung": 2} for row in rows], "rung 0 is not in it; allowed are 2"),
        (lambda rows: rows[:-1], "rung 0 has 188 rows; 8 ideas and the control"),
        (lambda rows: [row for row in rows if row["idea"] != "control"], "no rows of the idea 'control'"),
        (lambda rows: [{**rows[0], "loss": None}, *rows[1:]], "a run of the control failed"),
    ],
)
def test_a_bad_table_is_one_clear_line(table_file, change, said):
    pq.write_table(pa.Table.from_pylist(change(pq.read_table(table_file).to_pylist())), table_file)
    with pytest.raises(TableError, match=said):
        read_table(table_file, 0)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(TableError, match=r"x\.parquet"):
        read_table(tmp_path / "x.parquet", 0)
