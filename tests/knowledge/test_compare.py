"""Comparisons of runs: tests that are wrong as rarely as they say, and what the table says against them."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_cli import mendel

from mendel.knowledge.compare import compare
from mendel.knowledge.significance import adjusted, flips, one_sided, permuted, resolution
from mendel.knowledge.table import TableError, read_table

DATA = Path(__file__).parents[3] / "shared" / "data"


def table_of(tmp_path, text):
    file = tmp_path / "runs.csv"
    file.write_text(text.strip() + "\n")
    return read_table(file)


def rows(name, values, **more):
    return [{"group": name, "loss": float(value), **more} for value in values]


def table(tmp_path, found):
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(map(json.dumps, found)))
    return read_table(file)


def test_p_is_below_its_level_as_often_as_it_says_and_the_sequential_one_at_any_look():
    rng = np.random.default_rng(0)
    looks = {"p": 0, "p_sign_flip": 0, "p_sequential": 0}
    ever = 0
    for _ in range(1500):
        gains = rng.standard_normal(12)
        one = one_sided(gains)
        for name in looks:
            looks[name] += one[name] < 0.05
        ever += (
            min(stats.ttest_1samp(gains[:n], 0, alternative="greater").pvalue for n in range(3, 13)) < 0.05
        )
    assert looks["p"] / 1500 == pytest.approx(0.05, abs=0.017)
    assert looks["p_sign_flip"] / 1500 == pytest.approx(0.05, abs=0.017)
    assert looks["p_sequential"] / 1500 < 0.05
    assert ever / 1500 > 0.08, "looking at the plain p after every run is no test at its level"


def test_the_tests_are_those_of_scipy():
    rng = np.random.default_rng(1)
    x = 0.4 + rng.standard_normal(9)
    assert one_sided(x)["p"] == pytest.approx(stats.ttest_1samp(x, 0, alternative="greater").pvalue)
    exact = np.mean(
        [(s * x).sum() >= x.sum() - 1e-9 for s in np.array(np.meshgrid(*[[1, -1]] * 9)).reshape(9, -1).T]
    )
    assert flips(x) == pytest.approx(exact)
    y = rng.standard_normal(11)
    mine = stats.permutation_test((x, y), lambda a, b: a.mean() - b.mean(), n_resamples=5000, rng=2).pvalue
    assert permuted(x, y) == pytest.approx(mine, abs=0.03)


def test_holm_corrects_for_how_many_there_are():
    assert adjusted([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_two_groups_are_compared_and_an_interval_is_given(tmp_path):
    rng = np.random.default_rng(3)
    before, after = 3.30 + 0.002 * rng.standard_normal(8), 3.29 + 0.002 * rng.standard_normal(6)
    found = compare(table(tmp_path, rows("new", after) + rows("baseline", before)), "loss", "group")
    (one,) = found["differences"]
    assert (one["group"], one["against"]) == ("new", "baseline")
    assert one["p"] == pytest.approx(stats.ttest_ind(after, before, equal_var=False).pvalue)
    assert one["low"] < 0.01 < one["high"] and one["low"] > 0
    assert "new against baseline: +0.0" in found["words"][0]
    higher = compare(
        table(tmp_path, rows("new", after) + rows("baseline", before)), "loss", "group", higher=True
    )
    assert higher["differences"][0]["difference"] == pytest.approx(-one["difference"])


def test_pairs_see_what_groups_do_not(tmp_path):
    rng = np.random.default_rng(4)
    luck = 0.05 * rng.standard_normal(8)
    found = [{"group": "base", "loss": 3.3 + x, "seed": i} for i, x in enumerate(luck)]
    found += [
        {"group": "new", "loss": 3.29 + x + 0.001 * rng.standard_normal(), "seed": i}
        for i, x in enumerate(luck)
    ]
    some = table(tmp_path, found)
    apart, paired = compare(some, "loss", "group"), compare(some, "loss", "group", pair="seed")
    assert apart["differences"][0]["p"] > 0.3 and paired["differences"][0]["p"] < 1e-6
    assert paired["differences"][0]["pairs"] == 8
    with pytest.raises(TableError, match="--pair loss: 0 values are in both 'new' and 'base'"):
        compare(some, "loss", "group", pair="loss")


def test_runs_that_did_not_end_are_left_out_and_what_that_changes_is_said(tmp_path):
    text = "group,loss,last_step,planned_steps\n"
    text += "".join(f"new,{3.27 + i / 1000},100,100\n" for i in range(6)) + "new,3.5,40,100\nnew,,100,100\n"
    found = compare(table_of(tmp_path, text), "loss", "group", target=3.28)
    assert found["n"] == 6 and found["p"] < 0.01
    said = " ".join(found["warnings"])
    assert "1 of 8 runs did not end and are left out" in said
    assert "1 of 8 runs ended without a number" in said
    assert "with the runs that did not end p would be 0.7" in said


def test_a_status_says_which_runs_count(tmp_path):
    text = (
        "loss,status\n"
        + "".join(f"{3.2 + i / 100},finished\n" for i in range(4))
        + "9.0,crashed\n8.0,running\n"
    )
    assert compare(table_of(tmp_path, text), "loss", target=4.0)["n"] == 4


def test_copies_are_told_from_values_that_rounding_makes_equal(tmp_path):
    rng = np.random.default_rng(5)
    fine = 3.3 + 0.01 * rng.standard_normal(10)
    copied = compare(table(tmp_path, rows("a", [*fine, *fine[:3]])), "loss", "group")
    assert any("3 pairs of runs have exactly the same value" in one for one in copied["warnings"])
    coarse = compare(table(tmp_path, rows("a", np.round(fine, 2))), "loss", "group")
    assert not any("same value" in one for one in coarse["warnings"])
    inert = compare(table(tmp_path, rows("base", fine) + rows("knob", fine)), "loss", "group")
    assert "a change that does nothing" in inert["differences"][0]["warnings"][0]
    assert resolution(np.array([3.25, 3.1])) == 0.01


def test_runs_of_one_file_or_one_seed_are_no_evidence_of_their_own(tmp_path):
    found = [{"loss": 3.2 + i / 100, "file": f"log{i % 2}.txt", "seed": 7} for i in range(6)]
    said = " ".join(compare(table(tmp_path, found), "loss", target=3.3)["warnings"])
    assert "up to 3 of 6 runs come from one file, 2 in all" in said
    assert "up to 6 of 6 runs share one seed" in said


def test_a_baseline_that_beats_the_target_too_is_named(tmp_path):
    rng = np.random.default_rng(6)
    values = [3.27 + 0.004 * rng.standard_normal(10) for _ in range(2)]
    found = compare(
        table(tmp_path, rows("x/baseline", values[0]) + rows("x/new", values[1])),
        "loss",
        "group",
        target=3.28,
    )
    assert any("'x/baseline' beats the target, too" in one for one in found["warnings"])
    assert any("no difference is shown" in one for one in found["words"])


def test_many_ablations_of_nothing_show_nothing(tmp_path):
    rng = np.random.default_rng(3)
    found = [one for number in range(30) for one in rows(f"knob-{number}", 3 + 0.01 * rng.standard_normal(4))]
    some = compare(
        table(tmp_path, found + rows("base", 3 + 0.01 * rng.standard_normal(4))),
        "loss",
        "group",
        against="base",
    )
    assert min(row["p"] for row in some["differences"]) < 0.05, "by chance"
    assert all("no difference is shown" in line for line in some["words"])


def test_values_that_were_rounded_are_no_proof_of_no_noise(tmp_path):
    found = compare(table(tmp_path, rows("a", [3.2, 3.2]) + rows("b", [3.3, 3.3])), "loss", "group")
    assert found["differences"][0]["p"] > 0.01
    assert compare(table(tmp_path, rows("a", [3.2, 3.2])), "loss", target=3.3)["p"] > 0.01


def test_a_time_of_the_end_or_a_word_in_a_status_costs_no_run(tmp_path):
    text = "loss,finished,status,last_step,planned_steps\n"
    text += "".join(f"{3.2 + i / 100},2026-01-0{i + 1},early stopped,99,100\n" for i in range(4))
    assert compare(table_of(tmp_path, text), "loss", target=4.0)["n"] == 4
    broken = table_of(tmp_path, "loss,status\n3.1,failed\n3.2,failed\n")
    with pytest.raises(TableError, match="no run that ended .*read off status; --all-runs takes all"):
        compare(broken, "loss")
    assert compare(broken, "loss", all_runs=True)["n"] == 2


def test_runs_that_diverged_count_as_not_ended_and_points_of_one_run_are_told(tmp_path):
    text = "run,opt,diverged,loss\n"
    text += "".join(f"a{k},a,False,{3 + k / 100}\nb{k},b,{k < 3},{3 + k / 100}\n" for k in range(5))
    found = compare(table_of(tmp_path, text), "loss", "opt")
    assert [row["n"] for row in found["groups"]] == [5, 2]
    assert "3 of 5 runs did not end" in found["groups"][1]["warnings"][0]
    text = "run,lr,step,loss\n" + "".join(f"r{k % 4},{k % 2},{k},{3 + k / 100}\n" for k in range(24))
    warnings = compare(table_of(tmp_path, text), "loss", "lr")["groups"][0]["warnings"]
    assert any("up to 6 of 12 runs are of one run" in one for one in warnings)


def test_marks_of_nothing_are_no_numbers_and_nested_rows_have_columns_with_dots(tmp_path):
    text = "opt,loss\n" + "".join(f"a,{3 + k / 10}\nb,{2 + k / 10}\n" for k in range(4)) + "a,N/A\nb,-\n"
    assert [row["n"] for row in compare(table_of(tmp_path, text), "loss", "opt")["groups"]] == [4, 4]
    nested = [{"config": {"lr": k % 2, "opt": {"name": "x"}}, "loss": 3.0 + k} for k in range(6)]
    found = table(tmp_path, nested)
    assert found.columns == ["config.lr", "config.opt.name", "loss"]


def test_several_runs_of_one_key_are_paired_by_their_means(tmp_path):
    found = [
        {"group": g, "loss": v, "seed": s}
        for g, v, s in [
            ("a", 3.0, 1),
            ("a", 3.2, 1),
            ("a", 3.0, 2),
            ("a", 3.1, 3),
            ("b", 3.0, 1),
            ("b", 2.9, 2),
            ("b", 3.02, 3),
        ]
    ]
    (one,) = compare(table(tmp_path, found), "loss", "group", against="a", pair="seed")["differences"]
    assert one["pairs"] == 3 and one["difference"] == pytest.approx((0.1 + 0.1 + 0.08) / 3)
    assert "1 values of seed have several runs" in one["warnings"][0]


def test_a_single_run_is_no_evidence(tmp_path):
    found = compare(
        table(tmp_path, rows("lucky", [3.1]) + rows("other", [3.3, 3.31, 3.32])), "loss", "group", target=3.28
    )
    lucky = found["groups"][0]
    assert lucky["p"] is None and "nothing is known of the noise" in lucky["warnings"][0]
    assert "too few runs" in " ".join(found["words"])


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data of others in {DATA}")
@pytest.mark.parametrize(
    ("record", "group", "n", "p"),
    [
        ("2025-08-23_SparseAttnGate", "", 14, 0.0059),
        ("2025-11-10_CautiousWD", "", 10, 0.0018),
        ("2025-12-22_MultiTokenPrediction", "", 14, 0.0003),
        ("2026-07-17_FP8DownProjection", "/this_pr", 13, 6.69e-4),
    ],
)
def test_published_p_values_of_the_speedrun_are_found(record, group, n, p):
    some = read_table(DATA / "modded_runs.csv").where([f"group=track_1_short/{record}{group}"])
    found = compare(some, "final_val_loss", target=3.28)
    assert found["n"] == n and found["p"] == pytest.approx(p, rel=0.02)


def test_the_command_prints_what_it_finds(tmp_path):
    rng = np.random.default_rng(7)
    table(
        tmp_path,
        rows("a", 3.3 + 0.01 * rng.standard_normal(5)) + rows("b", 3.2 + 0.01 * rng.standard_normal(5)),
    )
    code, out, err = mendel(
        tmp_path, "compare", "--data", "runs.jsonl", "--group", "group", "--value", "loss"
    )
    assert code == 0, err
    assert "b against a: +0.09877" in out and "a difference is shown" in out
    code, _, err = mendel(tmp_path, "compare", "--data", "runs.jsonl", "--group", "grup", "--value", "loss")
    assert code == 2 and "no column 'grup'; did you mean group?" in " ".join(err.split())
    code, out, _ = mendel(
        tmp_path,
        "compare",
        "--data",
        "runs.jsonl",
        "--value",
        "loss",
        "--where",
        "group=a",
        "--target",
        "4",
        "--json",
    )
    found = json.loads(out)
    assert (
        code == 0 and found["n"] == 5 and found["low"] < found["mean"] < found["high"] and found["p"] < 1e-4
    )
