"""The pictures and the page of an ablation: every effect drawn where it is, names that are only text."""

import numpy as np
import pytest

from mendel.campaign.ablation_result import Cells, analyse
from mendel.campaign.ablation_words import sentences
from mendel.plans.designs import make_design
from mendel.report.ablation import make_ablation_page
from mendel.report.ablation_figures import effects_figure, interaction_figure, shapley_figure, share_text

HOSTILE = "<script>$x_1$ a very long name of a change"
CURVE = [(c * 1e10, 1 + 2 * c**-0.3 + e) for c in (0.5, 1.0, 2.0) for e in (-0.001, 0.0, 0.001)]


def result(kind, names, curve=CURVE, cells=None, lost=()):
    """What the command would make of factors of 0.3 log2 CM each, the first two of which overlap by 0.2."""
    design = make_design(kind, len(names), cells)
    on = (np.array(design.rows) > 0).astype(float)
    log2_cm = 0.3 * on.sum(axis=1) - 0.2 * (on[:, :2].sum(axis=1) == 2)
    noise = np.random.default_rng(0).normal(0, 0.001, (4, len(on)))
    losses = (1 + 2 * 2 ** (-0.3 * log2_cm) + noise).tolist()
    for seed, cell in lost:
        losses[seed][cell] = None
    found = analyse(Cells(design, tuple(names), losses, 0.8, curve, 1e10))
    on_names = [[n for n, level in zip(names, row, strict=True) if level > 0] for row in design.rows]
    labels = [" + ".join(row) or "none" for row in on_names]
    rows = [
        {
            "name": label, "bits_per_byte": [block[cell] for block in losses], "tokens": 1000, "seconds": 1.0,
            "mean": 2.5, "failed": sum(block[cell] is None for block in losses), "failure": "diverged: nan",
        }
        for cell, label in enumerate(labels)
    ]  # fmt: skip
    power = {"effects": 3, "power": 0.9, "detectable": 0.1, "seeds_needed": 4}
    fields = {
        "recipe": "plain", "rung": 0, "currency": "FLOPs", "flops": 1e10, "seeds": [1, 2, 3, 4],
        "trust": "scored", "cells": rows,
        "factors": [{"name": name, "off": "out", "on": "in"} for name in names],
        "design": {
            "kind": kind, "resolution": design.resolution, "rows": [list(row) for row in design.rows],
            "words": [[names[place] for place in word] for word in design.words],
            "reference": labels[design.reference],
        },
        "plan": {
            "runs": 40, "flops": 1e12, "currency": "FLOPs", "seconds": None, "workers": 2, "effect": 0.1,
            "residual_sd_bits_per_byte": 0.004, "sd_source": "a default", "main": power, "interaction": None,
        },
        "made": {"mendel": "0", "python": "3", "source": "abc", "kept": "there", "fingerprint": {}},
        **found,
    }  # fmt: skip
    return {**fields, "summary": sentences(fields)}


FIVE = ("alpha", "beta", "gamma", "delta", HOSTILE)


@pytest.mark.parametrize("narrow", [False, True])
def test_each_effect_is_drawn_at_its_value_with_its_two_intervals(narrow):
    found = result("full", FIVE[:3])
    axes = effects_figure(found, narrow).axes[0]
    rows = [*sorted(found["main"], key=lambda row: -row["log2_cm"]["value"]),
            *sorted(found["interactions"], key=lambda row: -abs(row["log2_cm"]["value"]))]  # fmt: skip
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert points == pytest.approx([row["log2_cm"]["value"] for row in rows])
    thick = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 3.0]
    ends = [(row["log2_cm"]["low"], row["log2_cm"]["high"]) for row in rows]
    assert np.array(thick) == pytest.approx(np.array(ends))
    assert axes.get_xlabel() == "compute multiplier (log scale)" and axes.get_title(loc="left")
    low, high = axes.get_xlim()
    assert low == -high, "gains and losses have the same room"


def test_the_map_shows_the_overlap_and_marks_what_is_mixed():
    exact = interaction_figure(result("full", FIVE[:4]))
    assert sum("−0.20" in text.get_text() for text in exact.axes[0].texts) == 1
    assert len(exact.axes[0].texts) == 6 and not any("≡" in text.get_text() for text in exact.axes[0].texts)
    mixed = interaction_figure(result("fraction", FIVE, cells=8), narrow=True)
    assert any("≡" in text.get_text() for text in mixed.axes[0].texts)
    assert any(patch.get_hatch() for patch in mixed.axes[0].patches), "pairs that are main effects"
    assert "not told from another pair" in mixed.texts[0].get_text()


def test_shares_are_bars_with_their_fraction():
    found = result("full", FIVE[:3])
    axes = shapley_figure(found).axes[0]
    parts = sorted(found["shapley"]["parts"], key=lambda part: -part["value"])
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([part["value"] for part in parts])
    assert any(share_text(parts[0]) == text.get_text() for text in axes.texts)
    assert share_text({"share": 0.5, "share_low": None, "share_high": None}) == "share not told"


@pytest.mark.parametrize(
    ("kind", "names", "lost", "figures"),
    [("full", FIVE[:1], (), 4), ("loo", FIVE, (), 2), ("fraction", FIVE, ((0, 2),), 6), ("pb", FIVE, (), 4)],
)
def test_the_page_stands_alone_and_escapes_names(kind, names, lost, figures):
    found = result(kind, names, lost=lost)
    page = make_ablation_page(found)
    assert (
        page.count("<svg") == figures
        and "<script" not in page
        and "http" not in page.replace("http://www.w3", "")
    )
    assert ("diverged: nan" in page) == bool(lost) == ("failed or ended far off" in page)
    assert all(line.split("<")[0][:20] in page for line in found["summary"])


def test_without_a_curve_everything_is_in_bits_per_byte():
    found = result("full", FIVE[:2], curve=())
    assert effects_figure(found).axes[0].get_xlabel() == "bits per byte saved (right is better)"
    assert "bits per byte" in interaction_figure(found).axes[1].get_title(loc="left")
    assert "as compute" not in make_ablation_page(found)
