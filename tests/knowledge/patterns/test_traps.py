"""Stores in which careless statistics see what is not there, and tables that trip a careless reader."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.knowledge.patterns.report import patterns
from mendel.knowledge.table import TableError

from .test_patterns import kinds, sweep, table


def test_a_strong_pair_lends_nothing_to_knobs_that_it_is_not_of():
    false = 0
    for seed in range(12):
        rng, c = sweep(300, seed)
        both = (c["optimizer"] == "muon") & c["qk_norm"]
        found = patterns(table({**c, "loss": 3 - both + 0.02 * rng.standard_normal(300)}), "loss")
        acting = {"optimizer", "qk_norm"}
        false += any(not {*one["columns"]} <= acting for one in found["patterns"])
    assert false <= 2


def test_a_recipe_at_several_widths_is_one_recipe():
    """What recipes do beyond their knobs is noise of the recipe, not of each of its runs."""
    false = seen = 0
    for seed in range(15):
        rng, c = sweep(50, seed)
        c = {name: np.repeat(np.array(x), 3) for name, x in c.items() if name not in ("seed", "width")}
        c["width"] = np.tile([128, 256, 512], 50)
        own = np.repeat(rng.standard_normal(50), 3)
        loss = own - np.log2(c["width"]) + 0.05 * rng.standard_normal(150)
        found = patterns(table({**c, "loss": loss}), "loss")
        assert found["alike"] == [] and not found["determined"]
        effects = [one for one in found["patterns"] if one["kind"] in ("main", "interaction", "regime")]
        false += any(one["columns"] != ["width"] for one in effects)
        seen += any(one["columns"] == ["width"] for one in effects)
    assert false <= 2 and seen == 15


def test_rows_of_one_run_are_no_runs_of_their_own():
    false = 0
    for seed in range(10):
        rng, c = sweep(40, seed)
        c = {name: np.repeat(np.array(x), 10) for name, x in c.items() if name not in ("seed", "run_name")}
        run = np.repeat(np.arange(40), 10)
        loss = np.repeat(rng.standard_normal(40), 10) + 0.1 * rng.standard_normal(400)
        found = patterns(table({**c, "run_id": run, "fold": np.tile(range(10), 40), "loss": loss}), "loss")
        false += bool(found["patterns"])
    assert false <= 2


def test_what_a_few_campaigns_have_in_common_is_no_effect_of_a_knob():
    false = 0
    for seed in range(25):
        rng, c = sweep(200, seed)
        campaign = rng.integers(0, 10, 200)
        c["data_mix"] = rng.choice(["a", "b", "c"], 10)[campaign]
        loss = rng.normal(0, 1, 10)[campaign] + 0.2 * rng.standard_normal(200)
        found = patterns(table({**c, "campaign": [f"c{k}" for k in campaign], "loss": loss}), "loss")
        false += bool(found["patterns"])
    assert false <= 4


def test_settings_that_several_campaigns_tried_tell_the_campaigns_apart():
    rng, c = sweep(60)
    thrice = {name: np.repeat(np.array(x), 3) for name, x in c.items() if name not in ("seed", "run_name")}
    campaign = np.array([rng.choice(9, 3, replace=False) for _ in range(60)]).ravel()
    loss = -0.6 * (thrice["optimizer"] == "muon") + 2 * rng.standard_normal(9)[campaign]
    loss = loss + 0.2 * rng.standard_normal(180)
    found = patterns(table({**thrice, "campaign": [f"c{k}" for k in campaign], "loss": loss}), "loss")
    assert found["noise"] == pytest.approx(0.2, rel=0.3) and ("main", "optimizer") in kinds(found)


def test_of_knobs_that_go_together_less_can_be_told_and_it_is_said():
    rng, c = sweep(300)
    z = np.log2(c["lr"])
    alone = patterns(table({**c, "loss": rng.standard_normal(300)}), "loss")["detectable"]["by_knob"]
    c["warmup"] = np.exp(0.2 * (0.9 * (z - z.mean()) / z.std() + 0.44 * rng.standard_normal(300)))
    beside = patterns(table({**c, "loss": rng.standard_normal(300)}), "loss")["detectable"]["by_knob"]
    assert beside["lr"] > 1.7 * alone["lr"] and beside["depth"] < 1.3 * alone["depth"]


def test_knobs_of_which_nothing_can_be_told_are_named():
    rng, c = sweep(200)
    c["loss"] = rng.standard_normal(200)
    told = []
    for place in range(8):  # where the one row that tells two knobs apart is in the first part, none is left
        c["twin"] = np.where(np.arange(200) == place, ~c["qk_norm"], c["qk_norm"]).astype(int)
        told.append(" ".join(patterns(table(c), "loss")["words"]))
    named = [words.split("Next to nothing can be told of")[1] for words in told if "Next to nothing" in words]
    assert 0 < len(named) < 8 and all("qk_norm" in one and "twin" in one for one in named)


def test_a_level_that_always_fails_is_a_rule_and_no_crash():
    rng, c = sweep(200)
    c["norm"] = np.array(["rms", "none"])[rng.choice(2, 200, p=[0.8, 0.2])]
    loss = [None if norm == "none" else 3 + 0.1 * rng.standard_normal() for norm in c["norm"]]
    found = patterns(table({**c, "loss": loss}), "loss")
    assert kinds(found)["failure", "norm"]["rule"] == "norm=none"
    with pytest.raises(TableError, match="no run that ended has a number in column 'loss'"):
        patterns(table({**c, "loss": [float("nan")] * 200}), "loss")


def test_words_and_monsters_in_place_of_a_result_are_failures():
    rng, c = sweep(100)
    loss = [str(x) for x in 3 + 0.1 * rng.standard_normal(100)]
    loss[:6] = ["diverged", "1e300", "nan", "OOM", "inf", "diverged"]
    found = patterns(table({**c, "loss": loss}), "loss")
    assert found["failed_by"] == {"diverged": 2, "no result": 3, "oom": 1}
    with pytest.raises(TableError, match="'three' is no number"):
        patterns(table({**c, "loss": ["three", *loss[1:]]}), "loss")


def test_a_knob_that_acts_does_not_change_nothing_although_results_are_often_equal():
    rng, c = sweep(200)
    found = patterns(table({**c, "won": (c["lr"] > 2**-8).astype(int)}), "won", higher=True)
    assert not any(one["kind"] == "copies" for one in found["inert"])
    found = patterns(table({**c, "won": rng.integers(0, 2, 200)}), "won", higher=True)
    assert not any(one["kind"] == "copies" for one in found["inert"])


def test_of_many_runs_the_order_of_rows_says_nothing_either():
    rng, c = sweep(6000)
    c["loss"] = 3 - 0.3 * c["qk_norm"] * (c["depth"] > 6) + 0.3 * rng.standard_normal(6000)
    order = np.argsort(c["depth"], kind="stable")
    plain, ordered = (
        kinds(patterns(table({name: np.array(x)[rows] for name, x in c.items()}), "loss"))
        for rows in (np.arange(6000), order)
    )
    assert ("regime", "depth", "qk_norm") in plain and plain.keys() == ordered.keys()


def test_a_column_that_tells_the_results_by_itself_is_suspected_to_be_one():
    rng, c = sweep(200)
    c["loss"] = 3 + 0.1 * rng.standard_normal(200) - 0.2 * (c["optimizer"] == "muon")
    c["rating"] = 100 * c["loss"] + 0.01 * rng.standard_normal(200)
    found = patterns(table(c), "loss")
    assert "rating tells the results nearly by itself: is it a result, too?" in " ".join(found["words"])
    found = patterns(table({**c, "rating": rng.standard_normal(200)}), "loss")
    assert "by itself" not in " ".join(found["words"])


def odd_columns(rng, n):
    """Columns of every kind, also of kinds that no one would wish for."""
    kinds_ = (
        lambda: rng.normal(size=n).tolist(),
        lambda: (10.0 ** rng.uniform(-8, 3, n)).tolist(),
        lambda: rng.choice(["a", "b", "", "c"], n).tolist(),
        lambda: [None if x < 0.3 else float(x) for x in rng.random(n)],
        lambda: rng.integers(0, 3, n).tolist(),
        lambda: [1] * n,
        lambda: (rng.random(n) < 0.1).tolist(),
        lambda: rng.choice([0, 1e-300, 1e300, np.inf], n).tolist(),
    )
    found = {f"k{k}": kinds_[rng.integers(len(kinds_))]() for k in range(rng.integers(1, 9))}
    more = {
        "seed": rng.integers(0, 3, n).tolist(),
        "campaign": [f"c{k}" for k in rng.integers(0, rng.integers(1, 20), n)],
        "status": rng.choice(["finished", "failed", "running", "oom"], n).tolist(),
    }
    return found | {name: x for name, x in more.items() if rng.random() < 0.3}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_no_table_is_too_odd(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 5, 29, 31, 40, 90, 200]))
    targets = (
        lambda: rng.normal(size=n),
        lambda: np.full(n, 3.0),
        lambda: np.where(rng.random(n) < 0.5, np.nan, rng.random(n)),
        lambda: rng.integers(0, 2, n),
        lambda: rng.standard_cauchy(n),
        lambda: 10.0 ** rng.uniform(-5, 50, n),
    )
    loss = targets[rng.integers(len(targets))]()
    columns = {**odd_columns(rng, n), "loss": loss, "acc": rng.random(n)}
    try:
        found = patterns(table(columns), "loss", higher=bool(rng.random() < 0.3), points=True)
    except TableError as error:
        assert "no run that ended" in str(error) or "no column is a knob" in str(error)
        return
    json.dumps(found)
    for one in found["patterns"]:
        assert np.isfinite([one[key] for key in ("effect", "low", "high", "q", "test_score")]).all()
