"""Laws that are fitted to runs: what made the runs is found again, and what they cannot tell is said."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import mendel

from mendel.knowledge.downstream import error_parameters
from mendel.knowledge.fits import absolute, outliers
from mendel.knowledge.law_report import Choice, _against, law_report
from mendel.knowledge.laws import LAWS, Runs, against, check, farthest, fitted, held_out, held_to, resampled
from mendel.knowledge.table import Table, TableError, read_table

DATA = Path(__file__).parents[3] / "shared" / "data"
COLUMNS, FEW = {"n": "n", "d": "d", "loss": "loss"}, Choice(draws=100)
TRUE = {"A": 400.0, "B": 1200.0, "E": 1.8, "alpha": 0.34, "beta": 0.35}


def plan(rng, count=120):
    """Sizes and tokens over three orders of magnitude each."""
    return np.stack([10 ** rng.uniform(7.5, 10, count), 10 ** rng.uniform(9, 11.5, count)], axis=1)


def made(law, x, noise, rng, true=TRUE):
    loss = np.exp(law.log_loss(law.inside(true), x) + noise * rng.standard_normal(len(x)))
    return Runs(x, loss, np.arange(1, len(x) + 1), np.arange(len(x)))


def table_of(tmp_path, **columns) -> Table:
    file = tmp_path / "runs.csv"
    rows = zip(*columns.values(), strict=True)
    file.write_text("\n".join([",".join(columns), *(",".join(map(repr, map(float, row))) for row in rows)]))
    return read_table(file)


@settings(max_examples=8, deadline=None)
@given(
    st.floats(0.2, 0.6), st.floats(0.2, 0.6), st.floats(1.0, 2.5), st.floats(0.3, 3.0), st.integers(0, 1000)
)
def test_runs_without_noise_give_back_the_law_that_made_them(alpha, beta, floor, ratio, seed):
    law, x = LAWS["chinchilla"], plan(np.random.default_rng(seed))
    # Each term is as large as the floor, or a third or three times as large, at the middle of the runs.
    true = {
        "A": floor * ratio * math.exp(alpha * np.log(x[:, 0]).mean()),
        "B": floor * math.exp(beta * np.log(x[:, 1]).mean()),
        "E": floor,
        "alpha": alpha,
        "beta": beta,
    }
    found, kept = fitted(law, made(law, x, 0.0, np.random.default_rng(seed), true))
    assert dict(zip(law.parameters, law.natural(found.parameters), strict=True)) == pytest.approx(
        true, rel=1e-3
    )
    assert found.at_optimum >= found.starts / 2


@pytest.mark.parametrize("form", LAWS)
def test_the_slope_is_that_of_the_prediction(form):
    law, rng = LAWS[form], np.random.default_rng(1)
    x = plan(rng, 20)
    x = {"power": x[:, :1], "saturating-repeat": np.column_stack([x, 0.1 * x[:, 1]])}.get(form, x)
    at = law.inside({**TRUE, "R": 10.0})
    for place in range(len(at)):
        step = np.zeros(len(at))
        step[place] = 1e-6
        numeric = (law.log_loss(at + step, x) - law.log_loss(at - step, x)) / 2e-6
        assert law.slope(at, x)[:, place] == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_repeated_tokens_are_worth_less_and_less():
    law, rng = LAWS["saturating-repeat"], np.random.default_rng(2)
    x = plan(rng, 200)
    x = np.column_stack([x, x[:, 1] / rng.uniform(1, 40, len(x))])
    runs = made(law, x, 0.002, rng, {**TRUE, "R": 15.0})
    found, _ = fitted(law, runs)
    assert law.natural(found.parameters)[-1] == pytest.approx(15.0, rel=0.15)
    once = np.column_stack([x[:, :2], x[:, 1]])  # nothing repeated: the plain law
    plain = LAWS["chinchilla"]
    assert law.log_loss(law.inside({**TRUE, "R": 15.0}), once) == pytest.approx(
        plain.log_loss(plain.inside(TRUE), once)
    )


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Of exponents and the floor, under Gaussian noise; percentile intervals are a little short."""
    law, inside = LAWS["chinchilla"], 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        runs = made(law, plan(rng, 80), 0.01, rng)
        found, kept = fitted(law, runs, objective="huber")
        drawn = law.natural(resampled(law, runs.take(kept), found.parameters, seed, 120))
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        truth = law.natural(law.inside(TRUE))
        inside += int(((low <= truth) & (truth <= high))[2:].sum())
    assert inside / (25 * 3) > 0.85


def test_the_true_parameters_are_rarely_rejected_and_others_are():
    law, rejected, seen = LAWS["chinchilla"], 0, 0
    for seed in range(25):
        rng = np.random.default_rng(100 + seed)
        runs = made(law, plan(rng, 80), 0.01, rng)
        found, kept = fitted(law, runs, objective="huber")
        drawn = resampled(law, runs.take(kept), found.parameters, seed, 120)
        rejected += against(law, found.parameters, drawn, TRUE)[1] < 0.05
        seen += against(law, found.parameters, drawn, {**TRUE, "E": 1.7, "alpha": 0.31})[1] < 0.05
    assert rejected <= 5 and seen >= 22


def test_some_parameters_may_be_tested_and_the_others_stay_free():
    """A true exponent is rarely rejected, and a wrong one is seen although the others make up for it as well
    as they can."""
    law, rejected, seen, together = LAWS["chinchilla"], 0, 0, 0
    for seed in range(8):
        rng = np.random.default_rng(300 + seed)
        runs = made(law, plan(rng, 80), 0.01, rng)
        found, _ = fitted(law, runs, keep_all=True)
        drawn = resampled(law, runs, found.parameters, seed, 60)
        for other, what in (
            ({"alpha": 0.34}, "true"),
            ({"alpha": 0.42}, "wrong"),
            ({"alpha": 0.34, "E": 1.6}, ""),
        ):
            one = _against(law, found, drawn, other, runs)
            assert one["freedom"] == len(other)
            rejected += what == "true" and one["rejected"]
            seen += what == "wrong" and one["rejected"]
            together += not what and one["rejected"]
    assert rejected <= 2 and seen >= 7 and together >= 7


def test_a_fit_that_is_held_to_parameters_has_them_and_is_best_in_the_others():
    law, rng = LAWS["chinchilla"], np.random.default_rng(7)
    runs = made(law, plan(rng, 60), 0.01, rng)
    found, _ = fitted(law, runs, keep_all=True)
    held = held_to(law, runs, found.parameters, {"alpha": 0.4, "E": 1.9})
    plain = dict(zip(law.parameters, law.natural(held), strict=True))
    assert (plain["alpha"], plain["E"]) == pytest.approx((0.4, 1.9))

    def off(parameters):
        return np.abs(law.log_loss(parameters, runs.x) - np.log(runs.loss)).sum()

    assert off(found.parameters) < off(held)
    for place in (0, 1, 4):
        for step in (-1e-3, 1e-3):
            moved = held.copy()
            moved[place] += step
            assert off(moved) >= off(held) - 1e-9


def test_runs_that_no_noise_explains_are_left_out_and_named(tmp_path):
    law, rng = LAWS["chinchilla"], np.random.default_rng(5)
    runs = made(law, plan(rng), 0.005, rng)
    runs.loss[[3, 50]] *= 1.3
    _, kept = fitted(law, runs)
    assert set(range(len(runs))) - {*kept} == {3, 50}
    table = table_of(tmp_path, n=runs.x[:, 0], d=runs.x[:, 1], loss=runs.loss)
    report = law_report(table, "chinchilla", COLUMNS, FEW)
    assert [one["row"] for one in report["dropped"]] == [4, 51]
    assert any("2 of 120 runs are left out" in line and "rows 4, 51" in line for line in report["words"])
    kept_all = law_report(table, "chinchilla", COLUMNS, Choice(keep_all=True, draws=100))
    assert kept_all["dropped"] == [] and kept_all["runs"] == 120


def test_plain_noise_loses_hardly_a_run():
    rng, lost = np.random.default_rng(6), 0
    for _ in range(300):
        noise = rng.standard_normal(200)
        lost += len(outliers(noise, np.arange(200)))
    assert lost <= 3


def test_what_the_runs_cannot_tell_is_said_to_be_flat(tmp_path):
    """All at one ratio of tokens to parameters: the two terms cannot be told apart."""
    law, rng = LAWS["chinchilla"], np.random.default_rng(7)
    n = 10 ** rng.uniform(8, 8.6, 40)
    runs = made(law, np.stack([n, 20 * n], axis=1), 0.02, rng)
    table = table_of(tmp_path, n=runs.x[:, 0], d=runs.x[:, 1], loss=runs.loss)
    report = law_report(table, "chinchilla", COLUMNS, FEW)
    assert not any(report["parameters"][name]["identified"] for name in ("A", "B", "alpha", "beta"))
    assert any("n and d move together (correlation 1.000)" in line for line in report["words"])
    reference = ",".join(f"{name}={value}" for name, value in TRUE.items())
    judged = law_report(table, "chinchilla", COLUMNS, Choice(draws=100, reference=reference))["reference"]
    assert not judged["rejected"], "the truth fits as well as any"


def test_a_law_that_breaks_at_the_largest_runs_is_not_hidden(tmp_path):
    law, rng = LAWS["chinchilla"], np.random.default_rng(11)
    runs = made(law, plan(rng), 0.002, rng)
    last = np.argsort(runs.x.prod(axis=1))[-3:]
    runs.loss[last] *= 1.06
    table = table_of(tmp_path, n=runs.x[:, 0], d=runs.x[:, 1], loss=runs.loss)
    report = law_report(table, "chinchilla", COLUMNS, FEW)
    assert len(report["dropped"]) == 3 and report["predicted"]["runs"] == 12
    assert report["predicted"]["largest_error"] == pytest.approx(1 / 1.06 - 1, abs=0.01)
    assert any("3 of them of the largest tenth by compute" in line for line in report["words"])


def test_losses_that_follow_no_law_are_said_to(tmp_path):
    rng = np.random.default_rng(12)
    x = plan(rng, 60)
    table = table_of(tmp_path, n=x[:, 0], d=x[:, 1], loss=3 + 0.05 * rng.standard_normal(60))
    report = law_report(table, "chinchilla", COLUMNS, FEW)
    assert "The law explains nothing that a constant loss does not." in report["words"]
    assert not any(one["identified"] for one in report["parameters"].values())
    rising = table_of(tmp_path, n=x[:, 0], d=x[:, 1], loss=0.1 * np.log(x[:, 0]))
    report = law_report(rising, "chinchilla", COLUMNS, FEW)
    assert not report["parameters"]["alpha"]["identified"]


def test_what_speaks_against_a_table_is_said(tmp_path):
    law, rng = LAWS["chinchilla"], np.random.default_rng(13)
    runs = made(law, plan(rng, 40), 0.01, rng)
    x, loss = np.tile(runs.x, (2, 1)), np.tile(runs.loss, 2)
    table = table_of(tmp_path, n=x[:, 0], d=x[:, 1], c=9 * x.prod(axis=1), loss=loss)
    words = " ".join(law_report(table, "chinchilla", {**COLUMNS, "c": "c"}, FEW)["words"])
    assert "In 80 of 80 rows c is more than 5% away from 6 n d" in words
    assert "40 of 80 rows are copies of others" in words


def test_the_largest_runs_are_predicted_from_the_others():
    law, rng = LAWS["chinchilla"], np.random.default_rng(8)
    runs = made(law, plan(rng), 0.002, rng)
    far = farthest(runs.x.prod(axis=1))
    found = held_out(law, runs, far)
    assert far.sum() == 12 and found["runs"] == 12 and found["fitted_to"] == 108
    assert found["mean_absolute_error"] < 0.01
    runs.loss[far] *= 1.1  # a law that breaks there
    assert held_out(law, runs, far)["mean_error"] == pytest.approx(1 / 1.1 - 1, abs=0.01)


def test_absolute_deviations_end_on_their_optimum():
    """On a line, where linear programming tells it."""
    law, rng = LAWS["power"], np.random.default_rng(9)
    x = 10 ** rng.uniform(6, 10, (60, 1))
    runs = made(law, x, 0.03, rng, {"A": 50.0, "E": 1.5, "alpha": 0.3})
    problem = law.problem(runs.x, runs.loss, "absolute")
    at, value = absolute(problem, law.inside({"A": 50.0, "E": 1.5, "alpha": 0.3}))
    for _ in range(300):
        step = 10 ** rng.uniform(-6, -1) * rng.standard_normal(3)
        assert np.abs(problem.residual(at + step)).sum() >= value - 1e-9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": 0.0}, "loss: must be a number above 0"),
        ({"n": math.nan}, "n: must be a number above 0"),
    ],
)
def test_runs_that_are_no_numbers_are_refused(change, words):
    law, rng = LAWS["chinchilla"], np.random.default_rng(10)
    runs = made(law, plan(rng, 20), 0.01, rng)
    if "loss" in change:
        runs.loss[4] = change["loss"]
    else:
        runs.x[4, 0] = change["n"]
    with pytest.raises(ValueError, match=words):
        check(law, runs)
    same = Runs(np.full((20, 2), 1e9), runs.loss + 1, runs.rows, runs.clusters)
    with pytest.raises(ValueError, match="n spans 1e\\+09 to 1e\\+09"):
        check(law, same)
    with pytest.raises(ValueError, match="5 parameters: 6 runs at least, found 3"):
        check(law, runs.take(np.arange(3)))


# --- the command ----------------------------------------------------------------------------------------


def test_errors_that_follow_the_loss_are_told_from_it():
    rng = np.random.default_rng(14)
    loss = rng.uniform(2, 5, 40)
    error = 0.85 - 2.0 * np.exp(-0.8 * loss) + 0.003 * rng.standard_normal(40)
    best, parameters = error_parameters(loss, error, 0)
    assert best == pytest.approx([0.85, 2.0, 0.8], rel=0.1)
    for name, truth in (("epsilon", 0.85), ("k", 2.0), ("gamma", 0.8)):
        assert parameters[name]["low"] < truth < parameters[name]["high"]
    with pytest.raises(ValueError, match="errors: 4 runs at least, found 3"):
        error_parameters(loss[:3], error[:3], 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "n=size", "d=d", "loss=loss"), "no column 'size'; allowed are n, d, loss"),
        (("--columns", "n=n", "d=d"), "not given: loss"),
        (("--columns", "n"), "write NAME=COLUMN, with the names n, d, loss"),
        (("--form", "chinchila", "--columns", "n=n"), "did you mean chinchilla?"),
        (("--columns", "n=n", "d=d", "loss=loss", "--where", "n>x"), "'x' is no number"),
        (("--columns", "n=n", "d=d", "loss=loss", "--where", "n>1e99"), "no row has n>1e99"),
        (
            ("--columns", "n=n", "d=d", "loss=loss", "--reference", "alhpa=.3"),
            "'alhpa' is unknown; did you mean alpha? allowed are A, B, E, alpha, beta",
        ),
        (
            ("--columns", "n=n", "d=d", "loss=loss", "--reference", "alpha=0"),
            "each parameter must be a number above 0",
        ),
        (("--columns", "n=n", "d=d", "loss=loss", "--drop", "25"), "--drop 25: there are 20 runs"),
        (("--columns", "n=n", "d=d", "loss=loss", "--predict", "n>1e99"), "no row has n>1e99 (--predict)"),
        (
            ("--form", "isoflop", "--columns", "c=n", "n=d", "loss=loss", "--drop", "2"),
            "--drop has no meaning",
        ),
        (
            ("--columns", "n=n", "d=d", "loss=loss", "--fit-error", "n>1"),
            "--fit-error has no meaning for --form chinchilla",
        ),
        (("--columns", "n=n", "d=d", "loss=loss", "--objective", "l3"), "objective 'l3' is unknown"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_a_line(tmp_path, arguments, words):
    rng = np.random.default_rng(0)
    runs = made(LAWS["chinchilla"], plan(rng, 20), 0.01, rng)
    table_of(tmp_path, n=runs.x[:, 0], d=runs.x[:, 1], loss=runs.loss)
    code, _, err = mendel(tmp_path, "laws", "--data", "runs.csv", *arguments)
    assert code == 2 and words in " ".join(err.split()) and "Traceback" not in err


def test_one_fit_for_each_value_of_a_column(tmp_path):
    rng, law = np.random.default_rng(1), LAWS["power"]
    x = 10 ** rng.uniform(6, 10, (40, 1))
    steep, flat = (
        np.exp(law.log_loss(law.inside({"A": 50.0, "E": 1.5, "alpha": a}), x)) for a in (0.3, 0.15)
    )
    table_of(
        tmp_path, x=np.tile(x[:, 0], 2), loss=np.concatenate([steep, flat]), kind=np.repeat([1.0, 2.0], 40)
    )
    code, out, err = mendel(
        tmp_path, "laws", "--data", "runs.csv", "--form", "power", "--columns", "x=x", "loss=loss", "--by",
        "kind", "--json",
    )  # fmt: skip
    assert code == 0, err
    groups = json.loads(out)["groups"]
    assert [one["by"] for one in groups] == [{"kind": "1.0"}, {"kind": "2.0"}]
    alphas = [one["parameters"]["alpha"]["value"] for one in groups]
    assert alphas == pytest.approx([0.3, 0.15], rel=1e-3)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(TableError, match="nope.csv: no such file"):
        read_table("nope.csv")
    (tmp_path / "runs.xlsx").write_text("")
    with pytest.raises(TableError, match=r"\.xlsx is unknown; allowed are \.csv, \.tsv"):
        read_table(tmp_path / "runs.xlsx")
    (tmp_path / "text.csv").write_text("n,loss\n1,2\n3,much\n")
    with pytest.raises(TableError, match="column 'loss', row 2: 'much' is no number"):
        read_table(tmp_path / "text.csv").numbers("loss")
