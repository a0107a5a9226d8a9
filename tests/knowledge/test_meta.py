"""Several studies of one idea: the mean, how much they differ, a new testbed, and what cannot be known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.knowledge.meta import paule_mandel, pooled, reml
from mendel.knowledge.meta_report import Effect, meta_report, read_effects
from mendel.knowledge.table import TableError, read_table

BCG = [  # Colditz et al. 1994: log risk ratios of 13 trials, as in metafor's dat.bcg
    (-0.8893, 0.3256), (-1.5854, 0.1946), (-1.3481, 0.4154), (-1.4416, 0.0200), (-0.2175, 0.0512),
    (-0.7861, 0.0069), (-1.6209, 0.2230), (0.0120, 0.0040), (-0.4694, 0.0564), (-1.3713, 0.0730),
    (-0.3394, 0.0124), (0.4459, 0.5325), (-0.0173, 0.0714),
]  # fmt: skip


def test_a_published_meta_analysis_comes_out_again():
    """The BCG trials by metafor 4 (Viechtbauer 2010): rma(yi, vi, test="knha")."""
    y, v = map(np.array, zip(*BCG, strict=True))
    found = pooled(y, np.sqrt(v))
    assert found.mean == pytest.approx(-0.7145, abs=2e-3)
    assert found.tau2 == pytest.approx(0.3132, abs=2e-3)
    assert (found.tau2_low, found.tau2_high) == pytest.approx((0.1197, 1.1115), abs=5e-3)
    assert found.q == pytest.approx(152.23, abs=1.0) and found.i2 == pytest.approx(0.9222, abs=2e-3)
    assert (found.i2_low, found.i2_high) == pytest.approx((0.8190, 0.9768), abs=3e-3)
    assert paule_mandel(y, np.sqrt(v)) == pytest.approx(0.3181, abs=3e-3)


@pytest.mark.parametrize(("k", "tau"), [(3, 0.0), (3, 0.3), (5, 0.1), (5, 0.3), (10, 0.1), (10, 0.3)])
def test_intervals_cover_the_truth_for_few_studies_that_differ(k, tau):
    rng, inside, width, new = np.random.default_rng(k), 0, 0, 0
    for _ in range(200):
        errors = rng.uniform(0.05, 0.2, k)
        y = 0.2 + tau * rng.standard_normal(k) + errors * rng.standard_normal(k)
        found = pooled(y, errors)
        inside += found.low <= 0.2 <= found.high
        width += found.tau2_low <= tau**2 <= found.tau2_high
        new += found.new_low <= 0.2 + tau * rng.standard_normal() <= found.new_high
    assert inside >= 182 and width >= 178 and new >= 182


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.05, 1.0)), min_size=2, max_size=8),
    st.floats(-2, 2), st.floats(0.2, 5.0),
)  # fmt: skip
def test_shifts_and_scales_of_all_effects_go_through(rows, shift, scale):
    y, e = map(np.array, zip(*rows, strict=True))
    plain, moved = pooled(y, e), pooled(scale * y + shift, scale * e)
    assert moved.mean == pytest.approx(scale * plain.mean + shift, abs=1e-4)
    assert moved.tau2 == pytest.approx(scale**2 * plain.tau2, rel=1e-3, abs=1e-5)
    assert y.min() - 1e-9 <= plain.mean <= y.max() + 1e-9
    assert plain.low <= plain.mean <= plain.high and 0 <= plain.i2_low <= plain.i2 <= plain.i2_high <= 1


def test_studies_that_agree_are_not_made_surer_than_their_errors():
    found = pooled(np.array([0.2, 0.2, 0.2]), np.array([0.1, 0.1, 0.1]))
    assert found.tau2 == 0 and found.se == pytest.approx(0.1 / 3**0.5)
    assert reml(np.array([0.0, 5.0]), np.array([0.1, 0.1])) == pytest.approx(12.49, abs=0.02)


def told(values, errors=None, studies=None, least=0.0):
    errors = errors or [0.1] * len(values)
    studies = studies or [f"bed {n}" for n in range(len(values))]
    rows = [Effect("rope", s, v, e) for v, e, s in zip(values, errors, studies, strict=True)]
    return meta_report(rows, least)[0]


def test_with_one_or_two_studies_it_says_what_cannot_be_known():
    one, two, three = told([0.3]), told([0.3, 0.4]), told([0.3, 0.4, 0.5])
    assert one["pooled"]["tau2"] is None and "cannot be known" in " ".join(one["words"])
    assert two["chance"] is None and two["pooled"]["new_low"] is None
    assert "three are needed" in " ".join(two["words"])
    assert 0.5 < three["chance"] < 1 and "On a new testbed" in " ".join(three["words"])


def test_the_chance_of_a_gain_falls_with_what_counts_as_one():
    chances = [told([0.1, 0.3, 0.5, 0.2], least=least)["chance"] for least in (-0.5, 0.0, 0.25, 1.0)]
    assert chances == sorted(chances, reverse=True) and chances[0] > 0.9 > 0.1 > chances[-1]


def test_several_effects_of_one_study_are_one_piece_of_evidence():
    once = told([0.3, 0.5, 0.1])
    often = told([0.3] * 5 + [0.5, 0.1], studies=["a"] * 5 + ["b", "c"])
    assert often["pooled"]["studies"] == 3
    assert often["pooled"]["mean"] == pytest.approx(once["pooled"]["mean"])
    assert often["pooled"]["se"] == pytest.approx(once["pooled"]["se"])


def table(tmp_path, text):
    (tmp_path / "effects.csv").write_text(text)
    return read_table(tmp_path / "effects.csv")


def test_multipliers_with_intervals_are_read_as_log2(tmp_path):
    found, said = read_effects(
        table(tmp_path, "cm,lo,hi,idea,bed\n2,1,4,rope,a\n1,.5,2,rope,b\n4,3.9,8,muon,a\n"),
        "cm", None, "lo", "hi", "idea", "bed", ratio=True,
    )  # fmt: skip
    assert [e.effect for e in found] == [1.0, 0.0, 2.0] and found[0].se == pytest.approx(1 / 1.96, rel=1e-3)
    assert [e.study for e in found] == ["a", "b", "a"] and "lopsided" in said[0]
    assert [one["idea"] for one in meta_report(found, 0.0)] == ["rope", "muon"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"se": None, "low": "lo", "high": None}, "give --se COLUMN, or --low COLUMN and --high COLUMN"),
        ({"se": "lo", "low": "lo", "high": "hi"}, "give --se COLUMN"),
        ({"se": "lo", "ratio": True}, "a standard error has no log2"),
        ({"se": "zero"}, "row 1: an error must be above 0"),
        (
            {"se": None, "low": "lo", "high": "hi", "ratio": True, "effect": "neg"},
            "'neg', row 1: no multiplier is 0",
        ),
        ({"se": "nothing"}, "no column 'nothing'"),
    ],
)
def test_effects_that_cannot_be_read_name_the_row_and_what_is_allowed(tmp_path, how, words):
    given_ = {
        "effect": "cm",
        "se": "lo",
        "low": None,
        "high": None,
        "by": None,
        "study": None,
        "ratio": False,
    }
    with pytest.raises(TableError, match=words):
        read_effects(table(tmp_path, "cm,lo,hi,zero,neg\n2,1,4,0,-1\n"), **given_ | how)


def test_rows_without_a_number_are_left_out_and_said(tmp_path):
    found, said = read_effects(
        table(tmp_path, "x,se\n.1,.1\n,.1\n.3,.1\n"), "x", "se", None, None, None, None, ratio=False
    )
    assert [e.effect for e in found] == [0.1, 0.3] and "1 of 3 rows" in said[0]
    assert math.isfinite(meta_report(found, 0.0)[0]["pooled"]["mean"])
