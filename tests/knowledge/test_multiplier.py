"""Multipliers over a baseline against scale: read where it was measured, bounded beyond, and their trend."""

import json
import math
import re

import numpy as np
import pytest
from test_cli import mendel

from mendel.knowledge.law_report import Choice, law_report
from mendel.knowledge.multiplier import baseline_of, multipliers, trend_of
from mendel.knowledge.table import Table, read_table

COLUMNS = {"c": "flops", "loss": "loss", "recipe": "optimiser"}
HOW = Choice(baseline="adamw")


def loss_at(c, floor=1.8):
    return floor + 1.2 * (np.asarray(c) / 1e19) ** -0.15


def simulated(seed, noise=0.003, computes=6, cells=6, slope=-0.15, level=0.5, scatter=0.0):
    rng = np.random.default_rng(seed)
    c, other = 10 ** np.linspace(18, 21, computes), 10 ** np.linspace(18.2, 20.8, cells)
    log2_cm = level + slope * (np.log10(other) - 19.5) + scatter * rng.standard_normal(cells)
    losses = loss_at(c) * (1 + noise * rng.standard_normal(computes))
    return c, losses, other, loss_at(other * 2**log2_cm) * (1 + noise * rng.standard_normal(cells)), log2_cm


def nothing(values):
    return np.full(len(values), np.nan)


def rows(recipe, c, loss, **more):
    return [
        {"optimiser": recipe, "flops": x, "loss": y, **more}
        for x, y in zip(c.tolist(), loss.tolist(), strict=True)
    ]


def table_of(tmp_path, *parts) -> Table:
    (tmp_path / "runs.json").write_text(json.dumps([row for part in parts for row in part]))
    return read_table(tmp_path / "runs.json")


@pytest.mark.parametrize(
    "how", [{}, {"computes": 4}, {"cells": 4}, {"scatter": 0.15, "computes": 8, "cells": 8}]
)
def test_intervals_of_trend_and_cells_cover_the_truth(how):
    slopes = levels = cells = count = 0
    for seed in range(60):
        c, y, other, its, log2_cm = simulated(seed, **how)
        base = baseline_of(nothing(c), c, y, None, seed)
        found = multipliers(base, nothing(other), other, its, seed)
        trend = trend_of(found)
        slopes += abs(trend.slope + 0.15) <= trend.half
        levels += abs(trend.at(10**19.5) - 0.5) <= trend.level_half * 1.05
        for one, truth in zip(found, log2_cm, strict=True):
            count += not one.bound
            cells += not one.bound and one.low <= truth <= one.high
    assert slopes >= 54 and levels >= 54
    assert cells / count > 0.88


def test_the_error_of_the_curve_is_in_the_trend():
    """It is common to all cells, so that these agree among themselves however wrong they are."""
    outside = 0
    for seed in range(60):
        c, y, other, its, _ = simulated(seed, noise=0.004, computes=5, cells=12, slope=0.0)
        exact = loss_at(other * 2**0.5)  # the other recipe has no noise at all
        base = baseline_of(nothing(c), c, y, None, seed)
        trend = trend_of(multipliers(base, nothing(other), other, exact, seed))
        outside += abs(trend.slope) > trend.half
    assert outside <= 6


def test_beyond_four_times_the_baseline_there_are_bounds_and_the_trend_leaves_them_out(tmp_path):
    c, y, *_ = simulated(1, noise=0.0005)
    far = np.array([1e19, 1e20, 1e21, 1e22, 1e16])
    its = loss_at(far * 1.3)
    report = law_report(
        table_of(tmp_path, rows("adamw", c, y), rows("muon", far, its)), "multiplier", COLUMNS, HOW
    )
    cells = {round(math.log10(one["c"])): one for one in report["recipes"][0]["cells"]}
    assert {key: one["bound"] for key, one in cells.items()} == {16: "<=", 19: "", 20: "", 21: "", 22: ">="}
    assert cells[22]["cm"] == pytest.approx(4e21 / 1e22) and cells[22]["high"] is None
    assert cells[16]["low"] is None
    assert report["recipes"][0]["trend"]["cells"] == 3
    assert "Bounds, and no more, are known of 2" in " ".join(report["words"])


def test_a_shrinking_gain_is_said_with_its_ends_and_a_steady_one_has_no_trend(tmp_path):
    c, y, other, its, _ = simulated(2, noise=0.0005, slope=-0.2)
    steady = loss_at(other * 1.4) * (1 + 0.0005 * np.random.default_rng(3).standard_normal(len(other)))
    table = table_of(tmp_path, rows("adamw", c, y), rows("muon", other, its), rows("soap", other, steady))
    report = law_report(table, "multiplier", COLUMNS, HOW)
    muon, soap = report["recipes"]
    assert muon["trend"]["shown"] == "falls" and soap["trend"]["shown"] == ""
    assert (muon["better"], muon["shown_better"]) == (6, 6)
    words = " ".join(report["words"])
    small, large = (2 ** (0.5 - 0.2 * (x - 19.5)) for x in (18.2, 20.8))
    assert "muon beats adamw in 6 of 6 cells" in words and "The gain shrinks from" in words
    assert [end["cm"] for end in muon["trend"]["ends"]] == pytest.approx([small, large], rel=0.05)
    assert "No trend over compute is shown" in words


def test_each_size_has_its_own_curve(tmp_path):
    """A single curve through all sizes would take the wrong size for a worse recipe."""
    parts = []
    for n, floor in ((1e8, 2.2), (1e9, 1.8)):
        c = 10 ** np.linspace(18, 20.5, 6)
        noise = 0.0005 * np.random.default_rng(int(n) % 97).standard_normal((2, 6))
        parts.append(rows("adamw", c, loss_at(c, floor) * (1 + noise[0]), n=n))
        parts.append(rows("muon", c[1:5], loss_at(c[1:5] * 1.25, floor) * (1 + noise[1][1:5]), n=n))
    table = table_of(tmp_path, *parts)
    report = law_report(table, "multiplier", {**COLUMNS, "n": "n"}, HOW)
    assert [one["cm"] for one in report["recipes"][0]["cells"]] == pytest.approx([1.25] * 8, rel=0.06)
    assert {one["n"] for one in report["curves"]} == {1e8, 1e9}


def test_the_best_of_a_tuned_knob_counts_and_unequal_tuning_is_said(tmp_path):
    c, y, other, its, _ = simulated(4, noise=0.0005, slope=0.0)
    parts = []
    for lr, worse in ((1e-3, 0.0), (1e-2, 0.05)):
        parts.append(rows("adamw", c, y * (1 + worse), lr=lr))
    for lr, worse in ((1e-3, 0.02), (3e-3, 0.0), (1e-2, 0.03), (3e-2, 0.1)):
        parts.append(rows("muon", other, its * (1 + worse), lr=lr))
    report = law_report(table_of(tmp_path, *parts), "multiplier", {**COLUMNS, "knob": "lr"}, HOW)
    assert report["recipes"][0]["trend"]["level"]["value"] == pytest.approx(0.5, abs=0.05)
    assert "muon was tuned over 4.0 values in a cell, adamw over 2.0" in " ".join(report["words"])


@pytest.mark.parametrize(
    ("without", "how", "words"),
    [
        ("", Choice(), "--baseline: say which recipe the others are compared with: adamw, muon"),
        ("", Choice(baseline="adam"), "no such recipe; did you mean adamw?"),
        ("c", HOW, "multiplier needs compute: c=COLUMN"),
        ("recipe", HOW, "multiplier needs the columns recipe"),
        ("", Choice(baseline="adamw", fit=("flops>1e20",)), "a curve takes 3"),
        ("", Choice(baseline="adamw", reference="a=1"), "--reference has no meaning for --form multiplier"),
        ("", Choice(baseline="adamw", noise=2.0), "--noise 2: must be between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_line(tmp_path, without, how, words):
    c, y, other, its, _ = simulated(5)
    table = table_of(tmp_path, rows("adamw", c, y), rows("muon", other, its))
    with pytest.raises(ValueError, match=re.escape(words)):
        law_report(table, "multiplier", {k: v for k, v in COLUMNS.items() if k != without}, how)


def test_the_command_writes_its_page(tmp_path):
    c, y, other, its, _ = simulated(6)
    table_of(tmp_path, rows("adamw", c, y), rows("<b>$muon$", other, its))
    columns = [f"{key}={value}" for key, value in COLUMNS.items()]
    code, out, err = mendel(
        tmp_path, "laws", "--data", "runs.json", "--form", "multiplier", "--columns", *columns,
        "--baseline", "adamw", "--page", "page.html",
    )  # fmt: skip
    assert code == 0 and "per decade" in out, err
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 4 and "<b>$muon$" not in page
