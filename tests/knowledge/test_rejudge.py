"""Logs of loops that keep what beats the best: what they can and cannot claim."""

import json

import numpy as np
import pytest
from test_cli import mendel

from mendel.knowledge.rejudge import mixture, rejudge
from mendel.knowledge.table import TableError, read_table

HEAD = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def greedy(rng, count=100, noise=0.002, helpful=0.15, repeats=0):
    """Rows of a loop over changes of which most do nothing, and what is true of those it kept."""
    effects = np.where(rng.random(count) < helpful, rng.uniform(0.002, 0.02, count), 0.0)
    effects = np.where(rng.random(count) < 0.3, -np.abs(rng.normal(0, 0.02, count)), effects)
    level, best = 1.0, 1.0 + noise * rng.standard_normal()
    rows, truth = [("keep", best, "baseline")], []
    for number, effect in enumerate(effects):
        again = number < repeats
        value = level - (0.0 if again else effect) + noise * rng.standard_normal()
        kept = value < best and not again
        rows.append(
            ("keep" if kept else "discard", value, "repeat of the best" if again else f"idea {number}")
        )
        if kept:
            truth.append(effect)
            level, best = level - effect, value
    return rows, np.array(truth)


def log(tmp_path, rows):
    file = tmp_path / "results.tsv"
    file.write_text(
        HEAD + "".join(f"abc{i:04}\t{v:.6f}\t40.0\t{s}\t{d}\n" for i, (s, v, d) in enumerate(rows))
    )
    return read_table(file)


@pytest.mark.parametrize("repeats", [0, 6])
def test_false_keeps_and_the_gain_are_told_about_right(tmp_path, repeats):
    false, expected, gain, corrected, raw = 0.0, 0.0, 0.0, 0.0, 0.0
    for seed in range(60):
        rows, truth = greedy(np.random.default_rng(seed), repeats=repeats)
        found = rejudge(log(tmp_path, rows))
        assert found["kept"] == len(truth) and found["experiments"] == len(rows)
        false += (truth <= 0).sum()
        expected += found["expected_false_keeps"]
        gain += truth.sum()
        corrected += found["corrected_total"]
        raw += found["total"]
    assert expected == pytest.approx(false, rel=0.4)
    assert abs(corrected - gain) < 0.6 * abs(raw - gain)
    assert raw > gain, "what a loop adds up flatters it"


def test_the_noise_is_that_of_repeats_where_there_are_any(tmp_path):
    rng = np.random.default_rng(1)
    sds = [rejudge(log(tmp_path, greedy(rng, noise=0.003, repeats=10)[0]))["noise"] for _ in range(20)]
    assert {one["from"] for one in sds} == {"repeats"}
    assert np.mean([one["sd"] for one in sds]) == pytest.approx(0.003, rel=0.35)  # the best was lucky, too


def test_without_repeats_it_is_not_too_small(tmp_path):
    rng = np.random.default_rng(2)
    sds = [rejudge(log(tmp_path, greedy(rng, noise=0.003)[0]))["noise"]["sd"] for _ in range(20)]
    assert 0.7 * 0.003 < np.mean(sds) < 2.5 * 0.003


def test_a_log_of_noise_alone_has_nothing_to_show(tmp_path):
    rng = np.random.default_rng(3)
    kept = within = 0
    for _ in range(20):
        rows = [("keep", 1.0, "baseline")]
        best = 1.0
        for number in range(60):
            value = 1.0 + 0.002 * rng.standard_normal()
            rows.append(("keep" if value < best else "discard", value, f"idea {number}"))
            best = min(best, value)
        found = rejudge(log(tmp_path, rows))
        kept, within = kept + found["kept"], within + found["keeps_within_noise"]
        assert found["corrected_total"] < 0.6 * found["total"]
    assert within / kept > 0.85


def test_crashes_are_counted_and_never_taken_for_values(tmp_path):
    rows = [("keep", 1.0, "baseline"), ("crash", 0.0, "oom")]
    rows += [("discard", 1.0 + i / 1000, f"idea {i}") for i in range(8)] + [("keep", 0.9, "big")]
    found = rejudge(log(tmp_path, rows))
    assert (found["experiments"], found["crashed"], found["kept"]) == (11, 1, 1)
    assert found["keeps"][0]["row"] == 11 and not found["keeps"][0]["within_noise"]
    assert found["keeps"][0]["corrected_gain"] == pytest.approx(0.1, rel=0.2)


def test_a_mixture_finds_the_share_of_changes_that_do_nothing():
    rng = np.random.default_rng(4)
    nothing = rng.random(4000) < 0.7
    gains = np.where(nothing, 0, rng.normal(0.5, 2.0, 4000)) + 0.3 * rng.standard_normal(4000)
    share, mean, sd = mixture(gains, 0.3)
    assert share == pytest.approx(0.7, abs=0.05)
    assert mean == pytest.approx(0.5, abs=0.25) and sd == pytest.approx(2.0, rel=0.15)


def test_the_command_and_what_is_no_log(tmp_path):
    rows, _ = greedy(np.random.default_rng(5))
    log(tmp_path, rows)
    code, out, err = mendel(tmp_path, "rejudge", "results.tsv", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert {"experiments", "kept", "noise", "keeps_within_noise", "corrected_total"} <= found.keys()
    code, out, _ = mendel(tmp_path, "rejudge", "results.tsv")
    assert code == 0 and "were kept" in out and "without the luck" in out
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    code, _, err = mendel(tmp_path, "rejudge", "other.csv")
    assert code == 2 and "no log of a loop: it needs a column of values" in " ".join(err.split())
    with pytest.raises(TableError, match="3 experiments and no repeat among them"):
        rejudge(log(tmp_path, rows[:4]))
