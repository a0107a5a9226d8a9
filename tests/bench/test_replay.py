"""Replay of a table of pairs: what it must hold, disjoint seeds, and the score by probability."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mendel.bench.lab import OutOfSeeds
from mendel.bench.replay import Replay, TableError, bench_rows, draw_replay, read_table
from mendel.bench.run import bench_table


@pytest.fixture
def table_file(tmp_path):
    rng = np.random.default_rng(0)
    gains = {"good": 0.06, "null": 0.0, "bad": -0.06} | {f"other{i}": 0.0 for i in range(5)}
    path = tmp_path / "runs.parquet"
    rows = bench_rows(
        (name, "a" if gain else "b", seed, 2.0, 2.0 - gain - 0.015 * float(rng.standard_normal()))
        for name, gain in gains.items()
        for seed in range(20)
    )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_policies_and_truth_have_different_seeds(table_file):
    table = read_table(table_file, 0)
    assert (table.gains.shape, table.ideas[:2]) == ((8, 20), ("bad", "good"))
    assert table.sd == pytest.approx(0.015, rel=0.2)
    lab, truth = draw_replay(table, Replay(), 0.05, 2.0, seed=4)
    sold = np.array([lab.pair(1, seed) for seed in range(10)])
    with pytest.raises(OutOfSeeds):
        lab.pair(1, 10)
    kept = (table.gains[1].sum() - sold.sum()) / 10
    assert truth.gain[1] == pytest.approx(kept)
    assert truth.null[1] < 0.001 < 0.2 < truth.null[table.ideas.index("null")]


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
        (lambda rows: rows[1:], "rung 0 has 159 rows"),
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
