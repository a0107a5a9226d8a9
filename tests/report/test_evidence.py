"""Pages of what tables say: words, figures, numbers, the command; of hostile tables, too."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_cli import mendel

from mendel.knowledge.compare import compare
from mendel.knowledge.law_report import Choice, law_report
from mendel.knowledge.laws import LAWS
from mendel.knowledge.rejudge import rejudge
from mendel.knowledge.table import Table, read_table
from mendel.report import law_figures, table_figures
from mendel.report.evidence import compare_sections, law_sections, rejudge_sections
from mendel.report.evidence_page import Numbers, Picture, Section, evidence_page

HOSTILE = "<script>alert(1)</script> $x^$ \x1b[31mred"


def table(tmp_path: Path, rows: list[dict]) -> Table:
    file = tmp_path / "runs.json"
    file.write_text(json.dumps(rows))
    return read_table(file)


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    rng, chinchilla = np.random.default_rng(1), LAWS["chinchilla"]
    n, d = (grid.ravel() for grid in np.meshgrid(10 ** np.linspace(7.5, 9.5, 5), 10 ** np.linspace(9, 11, 7)))
    inside = chinchilla.inside({"A": 400.0, "B": 1200.0, "E": 1.8, "alpha": 0.34, "beta": 0.35})
    loss = np.exp(chinchilla.log_loss(inside, np.stack([n, d], 1)) + 0.005 * rng.standard_normal(len(n)))
    loss[3] *= 1.2
    rows = [{"n": a, "d": b, "loss": c} for a, b, c in zip(n, d, loss, strict=True)]
    return law_report(
        table(tmp_path_factory.mktemp("law"), rows),
        "chinchilla",
        {k: k for k in ("n", "d", "loss")},
        Choice(draws=50),
    )


@pytest.fixture
def groups(tmp_path):
    rng = np.random.default_rng(2)
    rows = [
        {"group": g, "loss": 3.0 + shift + 0.01 * z, "seed": s}
        for g, shift in (("baseline", 0.0), (HOSTILE, -0.03))
        for s, z in enumerate(rng.standard_normal(6))
    ]
    return table(tmp_path, rows)


@pytest.fixture
def log(tmp_path):
    values = [1.0, 0.998, 0.999, 0.97, 0.971, 0.969, 0.973, 0.972, 0.9689, 0.97]
    kept = [0, 1, 3, 5, 8]
    return table(
        tmp_path,
        [
            {"val_bpb": v, "status": "keep" if i in kept else "discard", "description": f"{HOSTILE} {i}"}
            for i, v in enumerate(values)
        ],
    )


def points(figure: Figure) -> set[tuple[float, float]]:
    """All points of a figure, drawn by lines or scattered."""
    axes = figure.axes[0]
    found = {
        (round(float(x), 6), round(float(y), 6))
        for line in axes.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    offsets = [one.get_offsets() for one in axes.collections]
    return found | {(round(float(x), 6), round(float(y), 6)) for some in offsets for x, y in np.asarray(some)}


@pytest.mark.parametrize("narrow", [False, True])
def test_a_law_is_drawn_with_every_run_and_marks_what_it_left_out(law, narrow):
    figure = law_figures.law_figure(law, narrow)
    told = law["points"]
    drawn = points(figure)
    each = zip(told["c"], told["loss"], strict=True)
    assert {(round(c, 6), round(loss, 6)) for c, loss in each} <= drawn
    assert told["used"].count("left out") == len(law["dropped"]) == 1
    labels = [one.get_text() for one in figure.axes[0].get_legend().get_texts()]
    assert {"fitted", "left out"} <= {*labels}


def test_the_curve_of_sizes_and_tokens_lies_below_all_runs_but_for_noise(law):
    told, curve = law["points"], law["curve"]
    least = np.interp(np.log(told["c"]), np.log(curve["x"]), curve["loss"])
    assert (np.array(told["loss"]) > least * 0.98).all()
    assert (np.array(told["loss"]) < least * 1.01).sum() >= 5  # and some sizes are nearly the best
    assert (np.array(curve["low"]) <= curve["loss"]).all() and (
        np.array(curve["high"]) >= curve["loss"]
    ).all()


def test_held_out_runs_are_drawn_where_the_law_of_the_others_misses_them(law):
    ahead = law["predicted"]
    off = {round(100 * (m / p - 1), 6) for m, p in zip(ahead["measured"], ahead["predicted"], strict=True)}
    assert off <= {y for _, y in points(law_figures.off_figure(law))}


def test_every_run_of_a_group_is_a_point_and_the_target_a_line(groups):
    found = compare(groups, "loss", "group", target=2.99)
    drawn = {x for x, _ in points(table_figures.groups_figure(found))}
    assert {round(v, 6) for row in found["groups"] for v in row["values"]} <= drawn
    assert 2.99 in drawn


def test_the_sign_of_a_difference_is_its_colour(groups):
    found = compare(groups, "loss", "group", against="baseline", pair="seed")
    figure = table_figures.differences_figure(found)
    (row,) = found["differences"]
    assert row["low"] > 0
    assert {round(one, 6) for one in row["gains"].values()} <= {x for x, _ in points(figure)}
    assert table_figures.TEAL in {line.get_color() for line in figure.axes[0].lines}


def test_a_keep_within_the_noise_is_drawn_apart_from_one_beyond_it(log):
    found = rejudge(log)
    figure = table_figures.log_figure(found)
    by_label = {line.get_label(): line for line in figure.axes[0].lines}
    doubted = [row["row"] for row in found["keeps"] if row["within_noise"]]
    assert doubted and list(by_label["kept, but within the noise"].get_xdata()) == doubted
    sure = [row["row"] for row in found["keeps"] if not row["within_noise"]]
    assert sure and list(by_label["kept"].get_xdata()) == sure


def test_pages_hold_words_figures_numbers_and_the_command_and_nothing_external(law, groups, log):
    pages = {
        "law": (law_sections([law]), law["words"]),
        "groups": (compare_sections(c := compare(groups, "loss", "group", target=2.99)), c["words"]),
        "log": (rejudge_sections(r := rejudge(log)), r["words"]),
    }
    for sections, words in pages.values():
        page = evidence_page(HOSTILE, sections, f"mendel laws --where '{HOSTILE}'")
        assert "<script" not in page and "\x1b" not in page
        assert not re.search(r'(?:src|href)="(?!#)', page), "nothing external"
        assert page.count("<svg") >= 2 and "<table" in page and "mendel laws --where" in page
        text = re.sub(r"<[^>]+>", "", page)
        assert all(
            one.split("(")[0][:30] in text.replace("&lt;", "<").replace("&gt;", ">")
            for one in words
            if HOSTILE not in one
        )


def test_a_law_that_could_not_be_fitted_has_its_reason_on_the_page():
    page = evidence_page("t", law_sections([{"form": "power", "error": "e", "words": ["too few runs"]}]), "c")
    assert "too few runs" in page and "<svg" not in page


def test_a_section_takes_any_figure():
    drawn = []

    def draw(narrow: bool) -> Figure:
        drawn.append(narrow)
        return Figure()

    section = Section("A pattern", ["Words."], [Picture("about", draw)], [Numbers(("a",), [["1"]])])
    page = evidence_page("Title", [section], "mendel patterns")
    assert drawn == [False, True] and 'aria-label="about"' in page


@pytest.mark.parametrize("command", ["compare", "rejudge", "laws"])
def test_a_command_writes_its_page(tmp_path, groups, log, command):
    rng = np.random.default_rng(3)
    runs = [{"x": x, "loss": 2 + x**-0.3 + 0.001 * rng.standard_normal()} for x in np.geomspace(1, 100, 12)]
    (tmp_path / "power.json").write_text(json.dumps(runs))
    arguments = {
        "compare": ["compare", "--data", "runs.json", "--value", "val_bpb", "--group", "status"],
        "rejudge": ["rejudge", "runs.json"],
        "laws": ["laws", "--data", "power.json", "--form", "power", "--columns", "x=x", "loss=loss"],
    }[command]
    code, out, err = mendel(tmp_path, *arguments, "--page", "out/page.html", "--json")
    assert code == 0, err
    assert json.loads(out)["words"] and "page.html" in err
    assert "<svg" in (tmp_path / "out" / "page.html").read_text()
