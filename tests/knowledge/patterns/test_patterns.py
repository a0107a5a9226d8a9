"""Patterns: what was planted is found, what was not is hardly ever, and it is said in words that hold."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from test_cli import mendel

from mendel.ideas.userfile import load_ideas
from mendel.knowledge.patterns.report import patterns
from mendel.knowledge.table import Table, TableError

ROOT = Path(__file__).parents[3]


def planted_patterns():
    spec = importlib.util.spec_from_file_location("planted_patterns", ROOT / "benchmarks/planted_patterns.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(columns):
    return Table("runs", pa.table({name: pa.array(list(x)) for name, x in columns.items()}))


def sweep(n=400, seed=0):
    """Knobs of a sweep, and a generator for the noise."""
    rng = np.random.default_rng(seed)
    return rng, {
        "run_name": [f"run-{k}" for k in range(n)],
        "lr": 2.0 ** rng.uniform(-12, -5, n),
        "width": rng.choice([128, 256, 512, 1024], n),
        "depth": rng.integers(2, 12, n),
        "optimizer": rng.choice(["adamw", "muon", "sgd"], n),
        "qk_norm": rng.choice([True, False], n),
        "dropout": rng.uniform(0, 0.3, n),
        "seed": rng.integers(0, 5, n),
    }


def kinds(found):
    return {(one["kind"], *sorted(one["columns"])): one for one in found["patterns"]}


def test_planted_stores_are_read_right_as_often_as_the_page_says():
    """Forty of the stores of `benchmarks/planted_patterns.py`; all 200 are in its results."""
    bench = planted_patterns()
    told = bench.summary([bench.judge(seed) for seed in range(300, 340)])
    found, above = told["found_above_detectable"]
    assert above > 40 and found >= 0.9 * above
    assert told["false_discovery_rate"] <= 0.05
    assert told["pure_noise"][0] <= 1
    assert told["inert"][0] > 0.5 * told["inert"][1]


def test_every_kind_is_found_and_said_in_words():
    rng, c = sweep(1200)
    y = 3 + 0.1 * rng.standard_normal(1200)
    y -= 0.08 * (c["optimizer"] == "muon")
    y -= 0.15 * c["qk_norm"] * (c["depth"] > 6)
    y += 0.03 * (np.log2(c["lr"]) + 8.5) ** 2
    y += 0.05 * ((np.log2(c["width"]) - 8.5) / 1.1) * ((c["dropout"] - 0.15) / 0.09)
    failed = c["lr"] * c["width"] > 10
    c["status"] = np.where(failed, "crashed", "finished")
    c["val_loss"] = [None if bad else v for bad, v in zip(failed, y, strict=True)]
    c["train_loss"] = y - 0.1 + 0.01 * rng.standard_normal(1200)
    found = patterns(table(c), "val_loss")
    by = kinds(found)
    assert "lower with optimizer=muon than with the other 2" in by["main", "optimizer"]["statement"]
    assert by["main", "optimizer"]["low"] < -0.08 < by["main", "optimizer"]["high"]
    assert by["main", "lr"]["form"] == "bend" and "lower at lr 0.002" in by["main", "lr"]["statement"]
    regime = by["regime", "depth", "qk_norm"]
    assert "qk_norm=True instead of False lowers val_loss by 0.1" in regime["statement"]
    assert "only where depth > 6.5" in regime["statement"]
    assert ("interaction", "dropout", "width") in by
    failure = by["failure", "lr", "width"]
    assert failure["rule"].startswith("lr*width>") and failure["effect"] > 0.9
    assert found["failures"] == [failure]
    assert "rank runs alike" in by["agreement", "train_loss", "val_loss"]["statement"]
    assert found["measured"] == ["status", "train_loss"] and found["ignored"] == ["run_name"]
    assert found["failed"] == int(failed.sum())
    for one in found["patterns"]:
        assert one["q"] <= 0.05 and one["p"] <= one["q"]
        assert one["low"] <= one["effect"] <= one["high"]
        assert not one["low"] <= 0 <= one["high"] or one["kind"] == "never"
        assert -1 <= one["test_score"] <= 1
        assert all(len(table(c).where([rows])) > 0 for rows in one.get("where", ())), one["where"]
    muon, others = (table(c).where([rows]) for rows in by["main", "optimizer"]["where"][::-1])
    assert set(muon.labels("optimizer")) == {"muon"} and len(muon) + len(others) == 1200
    assert by["regime", "depth", "qk_norm"]["where"][-1] == "qk_norm=True and depth>6.5"


def test_the_order_of_rows_and_the_unit_of_the_target_change_nothing():
    rng, c = sweep(300)
    c["loss"] = (
        3 + 0.1 * rng.standard_normal(300) - 0.2 * (c["optimizer"] == "muon") + 0.05 * np.log2(c["lr"])
    )
    plain = patterns(table(c), "loss")
    order = rng.permutation(300)
    shuffled = patterns(table({name: np.array(x)[order] for name, x in c.items()}), "loss")
    assert [one["columns"] for one in shuffled["patterns"]] == [one["columns"] for one in plain["patterns"]]
    assert [one["q"] for one in shuffled["patterns"]] == pytest.approx(
        [one["q"] for one in plain["patterns"]], rel=0.2
    )
    other = patterns(table({**c, "loss": 100 * c["loss"] - 7}), "loss")
    assert [one["columns"] for one in other["patterns"]] == [one["columns"] for one in plain["patterns"]]
    assert [one["effect"] for one in other["patterns"] if one["kind"] == "main"] == pytest.approx(
        [100 * one["effect"] for one in plain["patterns"] if one["kind"] == "main"], rel=1e-6
    )


def test_intervals_of_chosen_effects_cover_as_often_as_they_say():
    inside = total = 0
    for seed in range(60):
        rng, c = sweep(200, seed)
        effect = {"muon": -0.25, "qk": -0.2}
        y = (
            0.3 * rng.standard_t(4, 200)
            + effect["muon"] * (c["optimizer"] == "muon")
            + effect["qk"] * c["qk_norm"]
        )
        found = kinds(patterns(table({**c, "loss": y}), "loss"))
        for key, truth in ((("main", "optimizer"), effect["muon"]), (("main", "qk_norm"), effect["qk"])):
            if key in found and "=muon" in found[key]["statement"] + "=muon" * (key[1] == "qk_norm"):
                total += 1
                inside += found[key]["low"] <= truth <= found[key]["high"]
    assert total > 10 and inside / total > 0.85, (inside, total)


def test_repeated_settings_are_one_piece_of_evidence():
    """Settings that differ by chance, each run five times: their runs are no five-fold evidence."""
    false = 0
    for seed in range(40):
        rng, c = sweep(60, seed)
        each = {name: np.repeat(np.array(x), 5) for name, x in c.items() if name not in ("seed", "run_name")}
        loss = np.repeat(rng.standard_normal(60), 5) + 0.05 * rng.standard_normal(300)
        found = patterns(table({**each, "seed": np.tile(np.arange(5), 60), "loss": loss}), "loss")
        assert found["settings"] == 60 and found["noise"] == pytest.approx(0.05, rel=0.2)
        false += bool(found["patterns"])
    assert false <= 4


def test_campaigns_shift_their_runs_without_being_taken_for_effects():
    false = seen = 0
    for seed in range(30):
        rng, c = sweep(240, seed)
        campaign = rng.integers(0, 8, 240)
        shift = rng.normal(0, 1, 8)[campaign]
        # One knob is nearly the same in all runs of a campaign: its apparent effect is the campaigns'.
        c["dataset"] = np.where((campaign < 4) ^ (rng.random(240) < 0.02), "a", "b")
        loss = shift + 0.3 * rng.standard_normal(240) - 0.3 * (c["optimizer"] == "muon")
        found = kinds(patterns(table({**c, "campaign": [f"c{k}" for k in campaign], "loss": loss}), "loss"))
        false += ("main", "dataset") in found
        seen += ("main", "optimizer") in found
    assert false <= 3 and seen >= 22


def test_what_is_always_changed_together_is_said_to_be():
    rng, c = sweep(200)
    c["n_params"] = 12 * c["width"] ** 2.0
    c["loss"] = 3 - 0.2 * np.log2(c["width"]) + 0.1 * rng.standard_normal(200)
    found = patterns(table(c), "loss")
    assert found["alike"] == [["width", "n_params"]]
    assert "width (with n_params)" in kinds(found)["main", "width"]["statement"]
    assert any("cannot be told apart" in line for line in found["words"])


def test_knobs_that_do_nothing_are_said_to_do_so_and_how_little_they_may_do():
    rng, c = sweep(600)
    c["loss"] = 3 + 0.1 * rng.standard_normal(600) - 0.2 * (c["optimizer"] == "muon")
    found = patterns(table(c), "loss")
    inert = {one["column"]: one for one in found["inert"]}
    assert {"width", "depth", "qk_norm", "dropout", "lr"} <= inert.keys() and "optimizer" not in inert
    assert 0 < inert["depth"]["high"] < 0.05


def test_a_knob_that_changes_no_digit_is_found_by_its_copies():
    rng, c = sweep(80)
    twice = {name: np.repeat(np.array(x), 2) for name, x in c.items() if name != "run_name"}
    twice["fused"] = np.tile(["yes", "no"], 80)
    twice["loss"] = np.repeat(3 + 0.1 * rng.standard_normal(80), 2)
    found = patterns(table(twice), "loss")
    words = next(one["statement"] for one in found["inert"] if one["column"] == "fused")
    assert "80 of 80 pairs of runs that differ in it alone have equal results" in words


def test_the_better_level_is_counted_in_matched_settings():
    rng = np.random.default_rng(3)
    grid = [(w, d, o) for w in range(6) for d in range(6) for o in ("adamw", "muon")]
    c = {
        name: np.array(x)
        for name, x in zip(("width", "depth", "optimizer"), zip(*grid, strict=True), strict=True)
    }
    c["loss"] = 3 - 0.3 * (c["optimizer"] == "muon") - 0.1 * c["width"] + 0.02 * rng.standard_normal(72)
    found = kinds(patterns(table(c), "loss"))
    assert "lower in 36 of 36 pairs of settings" in found["main", "optimizer"]["statement"]


def test_recipes_keep_their_order_at_another_scale():
    rng = np.random.default_rng(4)
    lr, beta = (np.repeat(x, 2) for x in (2.0 ** rng.uniform(-12, -6, 60), rng.uniform(0.8, 0.99, 60)))
    width = np.tile([128, 1024], 60)
    loss = 4 - 0.2 * np.log2(width) + 0.05 * np.abs(np.log2(lr) + 9) + 0.01 * rng.standard_normal(120)
    found = kinds(patterns(table({"lr": lr, "beta2": beta, "width": width, "loss": loss}), "loss"))
    assert "at width=128 and at 1024 rank settings alike" in found["scales", "loss", "width"]["statement"]


def test_few_runs_are_told_to_be_few_and_bad_input_is_refused():
    _, c = sweep(20)
    found = patterns(table({**c, "loss": np.arange(20.0)}), "loss")
    assert found["patterns"] == [] and "at least 30 settings" in found["words"][1]
    with pytest.raises(TableError, match="no column 'los'"):
        patterns(table({**c, "loss": np.arange(20.0)}), "los")
    with pytest.raises(TableError, match="it is the target"):
        patterns(table({**c, "loss": np.arange(20.0)}), "loss", knobs=["loss"])
    with pytest.raises(TableError, match="--rate 1.5: must lie between 0 and 1"):
        patterns(table({**c, "loss": np.arange(20.0)}), "loss", rate=1.5)
    with pytest.raises(TableError, match="no column is a knob"):
        patterns(table({"loss": np.arange(20.0), "id": range(20)}), "loss")


def test_higher_may_be_better():
    rng, c = sweep(400)
    c["accuracy"] = 0.5 + 0.05 * (c["optimizer"] == "muon") + 0.03 * rng.standard_normal(400)
    one = kinds(patterns(table(c), "accuracy", higher=True))["main", "optimizer"]
    assert "higher with optimizer=muon" in one["statement"] and one["try"] == {"optimizer": "muon"}


def test_the_command_prints_patterns_writes_a_page_and_queues_what_would_test_them(tmp_path):
    rng, c = sweep(400)
    c["val_loss"] = (
        3 + 0.1 * rng.standard_normal(400) - 0.2 * (c["optimizer"] == "muon") + 0.05 * (c["depth"] > 6)
    )
    file, ideas, page = tmp_path / "runs.csv", tmp_path / "ideas.toml", tmp_path / "page.html"
    pa.csv.write_csv(pa.table({name: pa.array(list(x)) for name, x in c.items()}), file)
    code, out, err = mendel(
        tmp_path, "patterns", "--data", file, "--target", "val_loss", "--page", page, "--queue", ideas
    )
    assert code == 0, err
    assert "400 runs, 400 settings of 6 knobs with a result." in out and "with optimizer=muon" in out
    queued = {idea.name: idea for idea in load_ideas(ideas)}
    assert queued["optimizer-muon"].patch.overrides == {"optimizer": "muon"}
    assert queued["optimizer-muon"].idea_class == "optimiser"
    few = tmp_path / "few.toml"
    code, out, _ = mendel(
        tmp_path, "patterns", "--data", file, "--target", "val_loss", "--knobs", "width", "--queue", few
    )
    assert code == 0 and "few.toml is not written" in out and not few.exists()
    assert "Columns not named as knobs: run_name" in " ".join(out.split())
    html = page.read_text()
    assert "<svg" in html and "with optimizer=muon" in html and "<script" not in html
    found = json.loads(mendel(tmp_path, "patterns", "--data", file, "--target", "val_loss", "--json")[1])
    assert {"patterns", "inert", "failures", "importance", "detectable"} <= found.keys()
    assert {"kind", "columns", "statement", "effect", "low", "high", "test_score", "q"} <= found["patterns"][
        0
    ].keys()
    assert found["importance"][0]["column"] == "optimizer"
    code, _, err = mendel(tmp_path, "patterns", "--data", file, "--target", "val_los")
    assert code == 2 and "no column 'val_los'" in err and "val_loss" in err


def test_imported_runs_are_read_by_their_short_names_and_with_their_curves(tmp_path):
    rng, c = sweep(80)
    end = 3 + 0.1 * rng.standard_normal(80) - 0.4 * (c["optimizer"] == "muon")
    lines = ["run,lr,optimizer,step,val_loss"]
    for k in range(80):
        for step in range(0, 101, 10):
            loss = end[k] + 2 * (1 - step / 100) + (0.3 * rng.standard_normal() if step < 100 else 0)
            lines.append(f"run-{k},{c['lr'][k]:.6g},{c['optimizer'][k]},{step},{loss:.4f}")
    (tmp_path / "points.csv").write_text("\n".join(lines))
    code, out, err = mendel(
        tmp_path, "import", "points.csv", "--into", "sweep",
        "--columns", "run=run", "step=step", "metric=val_loss", "--store", "store",
    )  # fmt: skip
    assert code == 0, out + err
    folder = tmp_path / "store" / "imports" / "sweep"
    for target in ("val_loss", "final.val_loss"):
        code, out, err = mendel(tmp_path, "patterns", "--data", folder, "--target", target, "--json")
        assert code == 0, err
        found = json.loads(out)
        assert found["knobs"] == ["lr", "optimizer"] and found["target"] == target
        by = kinds(found)
        assert "optimizer=muon" in by["main", "optimizer"]["statement"]
        tau = {one["columns"][0]: one["effect"] for one in found["patterns"] if one["kind"] == "early"}
        assert tau["val_loss at 50% of a run"] > 0.2
        assert "the better half then has" in next(
            one["statement"] for one in found["patterns"] if one["kind"] == "early"
        )
