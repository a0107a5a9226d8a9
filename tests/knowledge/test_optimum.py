"""The best learning rate of each cell, the law through them, and what neither can tell."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import mendel

from mendel.knowledge.cells import best_by
from mendel.knowledge.law_report import Choice, law_report
from mendel.knowledge.optimum import EDGE, FLAT, SHORT, Sweep, _fieller, line_through, minima
from mendel.knowledge.table import Table, TableError, read_table

A, B = -0.5, 0.2
COLUMNS = {"n": "n", "d": "d", "knob": "lr", "loss": "loss"}


def best_at(n, d):
    return 2e-3 * (n / 1e8) ** A * (d / 1e10) ** B


def sweeps(rng, sizes=4, tokens=4, noise=0.002, scatter=0.05, values=8, bend=0.02):
    """Cells whose true minimum scatters about the law, and whose loss rises faster above it than below."""
    found = []
    for n in 10 ** np.linspace(7, 9, sizes):
        for d in 10 ** np.linspace(9, 10.5, tokens):
            middle = math.log(best_at(n, d))
            x = middle + np.linspace(-2.5, 2.5, values) + rng.uniform(-0.5, 0.5)
            off = x - middle - scatter * rng.standard_normal()
            log_loss = 1.1 - 0.1 * math.log(n / 1e8) + bend * off**2 * (1 + 0.3 * np.tanh(off))
            found.append(Sweep((n, d), np.exp(x), np.exp(log_loss + noise * rng.standard_normal(values))))
    return found


def table_of(tmp_path, cells, **more) -> Table:
    rows = [
        {"n": s.scales[0], "d": s.scales[1], "lr": knob, "loss": loss, **more}
        for s in cells
        for knob, loss in zip(s.knob.tolist(), s.loss.tolist(), strict=True)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    return read_table(tmp_path / "runs.json")


@settings(max_examples=25, deadline=None)
@given(st.floats(-1.5, 1.5), st.floats(0.003, 0.2), st.integers(0, 1000))
def test_the_vertex_of_a_parabola_is_found(middle, bend, seed):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-3, 3, 9))
    x[0], x[-1] = -3.2, 3.2
    noise = 1e-5
    y = 1 + bend * (x - middle) ** 2 + noise * rng.standard_normal(9)
    ((found,), _) = minima([Sweep((1.0,), np.exp(x), np.exp(y))], noise)
    if not found.why:
        # Within its interval, widened: one in twenty lies outside.
        assert abs(math.log(found.knob) - middle) < 3 * (math.log(found.high) - math.log(found.low)) + 1e-6
        assert found.low < found.knob < found.high


def test_intervals_of_minima_cover_the_truth():
    inside = count = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found, _ = minima(sweeps(rng, 3, 3, noise=0.003, scatter=0.0))
        for one in found:
            if not one.why:
                count += 1
                inside += one.low <= best_at(*one.sweep.scales) <= one.high
    assert count > 200 and inside / count > 0.88


@pytest.mark.parametrize("how", [{}, {"scatter": 0.2}, {"noise": 0.005}, {"sizes": 3, "tokens": 3}])
def test_intervals_of_exponents_cover_the_truth_also_where_minima_scatter(how):
    inside, widths = 0, []
    for seed in range(60):
        found, _ = minima(sweeps(np.random.default_rng(seed), **how))
        line = line_through([one for one in found if not one.why])
        halves = line.quantile() * np.sqrt(np.diag(line.covariance))[1:]
        inside += int((np.abs(line.exponents - [A, B]) <= halves).sum())
        widths.append(halves[0])
    assert inside / 120 > 0.88
    assert np.median(widths) < 0.2, "and they are no wider than is of use"


def test_a_minimum_at_the_edge_of_the_sweep_is_none():
    rng = np.random.default_rng(1)
    cells = sweeps(rng)
    cut = [Sweep(one.scales, one.knob[:4], one.loss[:4]) if n == 5 else one for n, one in enumerate(cells)]
    found, _ = minima(cut)
    assert [one.why for one in found].count(EDGE) == 1 and found[5].why == EDGE
    with_it = line_through([one for one in found if not one.why])
    assert np.abs(with_it.exponents - [A, B]).max() < 0.08


def test_the_best_value_at_the_edge_is_no_minimum_although_a_parabola_turns_before_it():
    x = np.arange(6.0)
    ((found,), _) = minima([Sweep((1.0,), np.exp(x), np.exp(1 + 0.02 * (x - 4.6) ** 2))], 1e-4)
    assert found.why == EDGE and math.log(found.knob) < 5


def test_a_vertex_has_no_interval_where_the_curve_may_as_well_be_straight_or_bend_down():
    spread = np.diag([1e-4, 1e-4])
    assert _fieller(0.01, 0.01, spread, 2.0) is None and _fieller(0.01, -1.0, spread, 2.0) is None
    low, high = _fieller(-0.4, 0.2, spread, 2.0)  # at tilt / 2 bend = 1
    assert low < 1 < high and high - low < 0.5


def test_flat_sweeps_are_hardly_ever_used():
    """One in twenty bends by chance."""
    rng, x = np.random.default_rng(12), np.linspace(-2.5, 2.5, 8)
    flat = [Sweep((1.0 + n,), np.exp(x), np.exp(1 + 0.002 * rng.standard_normal(8))) for n in range(60)]
    found, _ = minima(flat)
    assert sum(not one.why for one in found) <= 5 and sum(one.why == FLAT for one in found) >= 20


def test_how_far_minima_scatter_about_the_law_is_told():
    told = []
    for seed in range(20):
        found, _ = minima(sweeps(np.random.default_rng(seed), scatter=0.2, noise=0.001))
        told.append(line_through([one for one in found if not one.why]).scatter)
    assert np.median(told) == pytest.approx(0.2, abs=0.05)


def test_with_a_second_knob_its_best_value_counts_and_repeats_are_averaged():
    knob, other = np.array([1.0, 1, 1, 1, 2, 2]), np.array([8.0, 8, 16, 16, 8, 16])
    loss = np.array([3.0, 3.2, 2.0, 4.4, 5.0, 4.0])
    values, best, tried = best_by(knob, loss, other)
    assert (values.tolist(), best.tolist(), tried.tolist()) == ([1, 2], pytest.approx([3.1, 4.0]), [2, 2])
    assert best_by(knob, loss)[1].tolist() == pytest.approx([3.15, 4.5])


def test_a_flat_sweep_has_no_minimum_and_a_short_one_neither():
    rng = np.random.default_rng(2)
    flat = [
        Sweep((1e9, 1e10), one.knob, np.exp(1 + 0.002 * rng.standard_normal(8))) for one in sweeps(rng)[:1]
    ]
    short = [Sweep((2e9, 1e10), one.knob[:3], one.loss[:3]) for one in sweeps(rng)[:1]]
    found, _ = minima([*sweeps(rng), *flat, *short])
    assert found[-2].why in (FLAT, EDGE) and found[-1].why == SHORT
    assert not any(one.why for one in found[:-2])


def test_runs_that_broke_do_not_bend_the_parabola():
    rng = np.random.default_rng(3)
    cells = sweeps(rng, noise=0.001, scatter=0.0, values=16)
    worse = np.where(np.arange(16) == 6, 1.03, 1.0)
    bad = [Sweep(one.scales, one.knob, one.loss * worse) for one in cells[:3]]
    for one in minima([*bad, *cells[3:]])[0][:3]:
        assert 6 in one.used
        assert abs(math.log(one.knob / best_at(*one.sweep.scales))) < 0.1


def test_the_report_says_the_law_and_what_following_it_costs_at_the_largest_cell(tmp_path):
    report = law_report(table_of(tmp_path, sweeps(np.random.default_rng(4))), "optimum", COLUMNS)
    parameters = report["parameters"]
    for name, truth in (("n", A), ("d", B)):
        assert parameters[name]["low"] < truth < parameters[name]["high"] and parameters[name]["identified"]
    (ahead,) = report["predicted"]["cells"]
    assert ahead["n"] == pytest.approx(1e9) and report["predicted"]["fitted_to"] == 15
    assert ahead["low"] < best_at(ahead["n"], ahead["d"]) < ahead["high"]
    assert 0 <= ahead["costs"] < 0.005
    assert report["cost_of_a_factor_of_2"] == pytest.approx(np.expm1(0.02 * math.log(2) ** 2), rel=0.3)
    assert "predicts" in " ".join(report["words"]) and "off by a factor of" in " ".join(report["words"])


def test_scales_that_move_together_are_not_told_apart(tmp_path):
    rng = np.random.default_rng(5)
    cells = [
        one for one in sweeps(rng, 6, 6) if math.isclose(one.scales[1], 1e9 * (one.scales[0] / 1e7) ** 0.75)
    ]
    assert len(cells) == 6
    with pytest.raises(ValueError, match="the scales move together over the cells"):
        law_report(table_of(tmp_path, cells), "optimum", COLUMNS)
    nearly = [Sweep((n, d * (1 + 0.08 * (k % 2))), one.knob, one.loss)
              for k, one in enumerate(cells) for n, d in [one.scales]]  # fmt: skip
    report = law_report(table_of(tmp_path, nearly), "optimum", COLUMNS)
    assert not report["parameters"]["n"]["identified"] and "move together" in " ".join(report["words"])
    alone = law_report(table_of(tmp_path, cells), "optimum", {k: v for k, v in COLUMNS.items() if k != "d"})
    assert alone["parameters"]["n"]["value"] == pytest.approx(A + 0.75 * B, abs=0.05)


def test_no_dependence_is_not_called_one(tmp_path):
    rng = np.random.default_rng(6)
    cells = [Sweep(one.scales, one.knob / best_at(*one.scales) * 2e-3, one.loss) for one in sweeps(rng)]
    words = " ".join(law_report(table_of(tmp_path, cells), "optimum", COLUMNS)["words"])
    assert "That it changes with n is not shown." in words and "That it changes with d is not shown." in words


def test_a_published_exponent_is_tested_alone(tmp_path):
    table = table_of(tmp_path, sweeps(np.random.default_rng(7)))
    true, wrong = (
        law_report(table, "optimum", COLUMNS, Choice(reference=text))["reference"]
        for text in ("n=-.5", "n=-.7")
    )
    assert not true["rejected"] and wrong["rejected"] and true["freedom"][0] == 1
    both = law_report(table, "optimum", COLUMNS, Choice(reference="n=-.5,d=.2"))["reference"]
    assert not both["rejected"] and both["freedom"][0] == 2


def test_a_second_knob_that_was_tuned_besides_counts_at_its_best(tmp_path):
    rng = np.random.default_rng(8)
    rows = []
    for one in sweeps(rng):
        # The other batch size has its best learning rate elsewhere, and is never better.
        for batch, losses in ((32.0, one.loss), (64.0, one.loss[::-1] * 1.2)):
            for knob, loss in zip(one.knob.tolist(), losses.tolist(), strict=True):
                rows.append(
                    {"n": one.scales[0], "d": one.scales[1], "lr": knob, "batch": batch, "loss": loss}
                )
    (tmp_path / "two.json").write_text(json.dumps(rows))
    table = read_table(tmp_path / "two.json")
    report = law_report(table, "optimum", {**COLUMNS, "other": "batch"})
    assert report["middle"] and report["parameters"]["n"]["value"] == pytest.approx(A, abs=0.06)
    middle = math.exp(np.mean([math.log(one["best"]) for one in report["minima"] if one["used"]]))
    assert middle == pytest.approx(
        math.exp(np.mean([math.log(best_at(*s.scales)) for s in sweeps(rng)])), rel=0.15
    )


@pytest.mark.parametrize(
    ("columns", "how", "words"),
    [
        ({"knob": "lr", "loss": "loss"}, Choice(), "optimum needs a scale beside knob and loss"),
        ({"n": "n", "loss": "loss"}, Choice(), "optimum needs the columns knob"),
        ({"n": "n", "x": "lr", "loss": "loss"}, Choice(), "column 'x' is none of optimum's"),
        (COLUMNS, Choice(cluster="n"), "--cluster has no meaning for --form optimum"),
        (COLUMNS, Choice(reference="m=1"), "'m' is none of coefficient, n, d"),
        (COLUMNS, Choice(fit=("n<2e7",)), "a law of 2 scales takes 5"),
        ({**COLUMNS, "knob": "d"}, Choice(), "no cell has 4 values of the knob"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_line(tmp_path, columns, how, words):
    table = table_of(tmp_path, sweeps(np.random.default_rng(9)))
    with pytest.raises(ValueError, match=re.escape(words)):
        law_report(table, "optimum", columns, how)


def test_a_column_below_zero_names_its_row(tmp_path):
    cells = sweeps(np.random.default_rng(10))
    cells[0].knob[2] = -1
    with pytest.raises(TableError, match=r"column 'lr', row 3: -1 must be a number above 0"):
        law_report(table_of(tmp_path, cells), "optimum", COLUMNS)


def test_the_command_prints_words_numbers_and_a_page(tmp_path):
    table_of(tmp_path, sweeps(np.random.default_rng(11)))
    arguments = (
        "laws",
        "--data",
        "runs.json",
        "--form",
        "optimum",
        "--columns",
        "n=n",
        "d=d",
        "knob=lr",
        "loss=loss",
    )
    code, out, err = mendel(tmp_path, *arguments, "--page", "page.html")
    assert code == 0 and "The best lr is" in out and "coefficient" in out, err
    assert (tmp_path / "page.html").read_text().count("<svg") == 4
