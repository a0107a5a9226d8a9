"""Published results, from the data that were published with them."""

import json
from pathlib import Path

import pytest
from test_cli import mendel

from mendel.knowledge.isoflop import growth
from mendel.knowledge.law_report import Choice, law_report
from mendel.knowledge.table import read_table

DATA = Path(__file__).parents[3] / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data of others in {DATA}")
CHINCHILLA = ("--columns", "n=Model Size", "c=Training FLOP", "loss=loss")


@published
def test_chinchilla_is_refitted_to_what_was_published(tmp_path):
    """Besiroglu et al. 2024, who left out five runs: which ones, and what hangs on them, is found."""
    file = str(DATA / "chinchilla_svg_extracted.csv")
    code, out, err = mendel(
        tmp_path, "laws", "--data", file, *CHINCHILLA, "--reference", "hoffmann", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    values = {name: one["value"] for name, one in found["parameters"].items()}
    assert values == pytest.approx(
        {"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658}, rel=5e-4
    )
    errors = {name: one["se"] for name, one in found["parameters"].items()}
    assert errors == pytest.approx(
        {"A": 124.58, "B": 1293.23, "E": 0.03, "alpha": 0.02, "beta": 0.02}, rel=0.3
    )
    assert [one["row"] for one in found["dropped"]] == [1, 2, 3, 4, 5]
    assert found["reference"]["rejected"] and found["reference"]["p"] < 1e-10
    assert found["starts_at_optimum"] == found["starts"]
    everything = found["sensitivity"][0]
    assert everything["what"] == "all runs" and everything["parameters"]["beta"] > 0.44


@published
def test_published_exponents_of_isoflop_curves_are_found():
    table, reference = read_table(DATA / "formll_isoflop.csv"), read_table(DATA / "formll_reference.csv")
    settings_ = zip(
        reference.labels("file"),
        reference.labels("i"),
        reference.numbers("published_n_exponent"),
        strict=True,
    )
    for file, number, exponent in settings_:
        some = table.where([f"file={file} and i={number}"])
        found = growth(*(some.numbers(name) for name in ("flops", "n", "loss")))
        assert found.exponent == pytest.approx(exponent, abs=0.008)
        assert found.low <= exponent <= found.high


@published
def test_over_trained_models_are_predicted_as_well_as_was_published():
    """Gadre et al. 2024, figure 1: 0.7 % for 1.4B parameters at 32 times the tokens and for 6.9B."""
    table = read_table(DATA / "gadre_104models.csv").where(["dataset_name=rpj", "model_name!=d=96_l=8_h=8"])
    how = Choice(
        fit=("cc_mult=1 and N<5e8 or cc_mult=16 and N<2e7",),
        predict=("model_name=open_lm_1b and cc_mult=32 or model_name=open_lm_7b",),
        objective="squares",
        keep_all=True,
        draws=100,
    )
    found = law_report(table, "over-training", {"n": "N", "d": "D", "loss": "loss_c4_val"}, how)["predicted"]
    off = [p / m - 1 for p, m in zip(found["predicted"], found["measured"], strict=True)]
    assert sorted(off) == pytest.approx([0.0071, 0.0073], abs=5e-5)


@published
def test_their_errors_of_downstream_tasks_too():
    """From predicted losses, as in the same figure: 3.6 % and 0.05 %."""
    table = read_table(DATA / "gadre_104models.csv").where(["dataset_name=rpj", "model_name!=d=96_l=8_h=8"])
    near = "cc_mult=1 and N<5e8 or cc_mult=16 and N<2e7"
    how = Choice(
        fit=(near,),
        fit_error=(f"{near} or cc_mult=1 and model_name=open_lm_1b",),
        predict=("model_name=open_lm_1b and cc_mult=32 or model_name=open_lm_7b",),
        objective="squares",
        keep_all=True,
        draws=50,
    )
    columns = {"n": "N", "d": "D", "loss": "loss_c4_val", "error": "err_avg_subset"}
    found = law_report(table, "downstream", columns, how)
    off = [
        p / m - 1
        for p, m in zip(found["predicted"]["predicted"], found["predicted"]["measured"], strict=True)
    ]
    assert sorted(off) == pytest.approx([0.0005, 0.0364], abs=1e-4)
