"""The pictures: honest axes, curves that fit, names that are not mathematics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.records import Interval, PlanKind
from mendel.report.curves import read_losses, smooth
from mendel.report.drawing import cm_axis, new_figure
from mendel.report.facts import Judged, ScalingPanel
from mendel.report.figures import fit_for_drawing, forest_figure, scaling_figure, trunk_figure
from mendel.report.svg import inline
from mendel.report.text import clean, cm_text


@given(st.lists(st.floats(min_value=-80, max_value=80), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_axis_of_multipliers_is_symmetric_around_one(values: list[float]) -> None:
    _, axes = new_figure(2.0)
    low, high = cm_axis(axes.xaxis, axes, values)
    assert low == -high
    assert high >= min(6.0, max(abs(value) for value in values))
    ticks = axes.get_xticks()
    assert 0.0 in ticks and len(ticks) >= 3


def test_the_drawn_curve_is_the_one_behind_the_points() -> None:
    points = [(c, 1.2 + 2.0 * c**-0.3) for c in (1.0, 2.0, 4.0, 8.0) for _ in range(2)]
    fit = fit_for_drawing(points)
    assert fit == pytest.approx((1.2, 2.0, 0.3), rel=0.05)
    assert fit_for_drawing(points[:4]) is None


@pytest.mark.parametrize("checked", [True, False])
def test_the_arrow_of_the_scaling_figure_ends_at_the_multiplier(checked: bool) -> None:
    points = tuple((c * 1e10, 1.2 + 2.0 * c**-0.3) for c in (0.5, 1.0, 2.0, 4.0))
    gain = 2.0 * (1 - 3.0**-0.3)  # what three times the compute are worth at 1e10
    panel = ScalingPanel(
        rung=0,
        points=points,
        flops=1e10,
        difference=Interval(value=gain, low=gain - 0.01, high=gain + 0.01) if checked else None,
        log2_cm=Interval(value=np.log2(3), low=1.4, high=1.8),
    )
    figure = scaling_figure(panel, "gpt$2")
    arrow = next(
        t for t in figure.axes[0].texts if getattr(t, "arrow_patch", None) is not None and not t.get_text()
    )
    (end, level) = arrow.xy
    assert end == pytest.approx(3e10)
    assert level == pytest.approx(1.2 + 2.0 * 3.0**-0.3, abs=0.01)
    assert "gpt$2" in inline(figure, "scaling", "about")


def test_a_name_with_dollars_is_drawn_as_it_is() -> None:
    row = Judged("a", "adopted", PlanKind.ESTIMATE, 6, 0, Interval(value=0.5, low=0.2, high=99.0), None)
    for figure in (forest_figure([row]), forest_figure([]), trunk_figure([], r"$\frac{$", False, 0.0)):
        text = inline(figure, "name", '"><script>')
        assert text.startswith("<svg") and "<script" not in text and "http" not in text


def test_an_interval_cut_where_the_curve_ends_says_so_in_words_and_in_the_forest() -> None:
    whole = Interval(value=2.0, low=1.0, high=4.0)
    cut = whole.model_copy(update={"high_bounded": True})
    assert cm_text(whole) == "4.00 [2.00, 16.00]"
    assert cm_text(cut) == "4.00 [2.00, > 16.00]"
    assert cm_text(cut.model_copy(update={"value": 4.0, "bounded": True})) == "≥ 16.00 [2.00, > 16.00]"
    rows = [
        Judged(name, "adopted", PlanKind.ESTIMATE, 6, 0, cm, None) for name, cm in (("a", whole), ("b", cut))
    ]
    arrows = [[line.get_marker() for line in forest_figure([row]).axes[0].lines].count(">") for row in rows]
    assert arrows == [0, 1]


@pytest.mark.parametrize(
    "text", ["", "[]\n1\nnull\n{}", '{"tokens": "x", "loss": 1}', '{"tokens": 1, "loss": NaN}', "\x00\xff"]
)
def test_a_metrics_file_may_hold_anything(tmp_path: Path, text: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text)
    tokens, loss = read_losses(file)
    assert len(tokens) == len(loss) == 0


@given(st.lists(st.floats(min_value=-10, max_value=10), min_size=1, max_size=300))
def test_smoothing_stays_within_the_data_and_keeps_the_ends(values: list[float]) -> None:
    x, y = smooth(np.arange(1.0, len(values) + 1), np.array(values))
    assert x[0] == 1 and x[-1] == len(values)
    assert y.min() >= min(values) - 1e-9 and y.max() <= max(values) + 1e-9


@given(st.text(max_size=200))
def test_cleaned_text_is_safe_and_stays_so(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not any(ord(c) < 32 and c not in "\t\n" for c in once) and "\u202e" not in once
    once.encode("utf-8")
