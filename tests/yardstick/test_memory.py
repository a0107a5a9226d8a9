"""A model that knows the scored text is told from one that predicts text better."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.yardstick.memory import ALPHA, CANARY, MARGIN, TIMES, memorised

NOISE = 0.015
"""Of a paired gain, from seed to seed, in bits per byte (docs/data.md)."""


def pairs(count, scored, train, canary=0.0, decoy=0.0, noise=NOISE, seed=0):
    """Pairs whose mean gains are given; a seed's luck is shared by scored and training text."""
    draw = np.random.default_rng(seed)
    found = []
    for luck in draw.normal(0, 2 * noise, count):
        gains = np.array([scored + luck, train + luck, canary, decoy]) + draw.normal(0, noise, 4)
        control = dict(zip(("scored", "train", "canary", "decoy"), (3.2, 3.3, 7.2, 7.1), strict=True))
        treatment = {
            text: value - gain for (text, value), gain in zip(control.items(), gains.tolist(), strict=True)
        }
        found.append((control, treatment))
    return found


@pytest.mark.parametrize(
    ("scored", "train"), [(0.06, 0.06), (0.23, 0.25), (0.46, 0.53), (0.0, 0.0), (-0.22, -0.24)]
)
def test_an_idea_that_helps_on_both_texts_passes(scored, train):
    """The gains that were measured of swiglu, muon, modern, no weight decay and a doubled batch."""
    for seed in range(50):
        audit = memorised(pairs(5, scored, train, canary=0.1, seed=seed), epochs=0.1)
        assert audit.passed, audit.reason


def test_a_model_that_was_trained_on_the_scored_text_is_stopped():
    """As measured: it gains 0.2 bits per byte on that text and loses 0.08 on training text."""
    audit = memorised(pairs(5, scored=0.2, train=-0.08, noise=0.01), epochs=0.1)
    assert (audit.name, audit.passed) == ("leak", False)
    assert "scored 0." in audit.reason and "train -0." in audit.reason


def test_a_real_idea_does_not_cover_for_text_that_is_known():
    assert not memorised(pairs(6, scored=0.35, train=0.1), epochs=0.1).passed


def test_canaries_that_are_predicted_are_stopped_whatever_else_is_gained():
    audit = memorised(pairs(5, 0.1, 0.12, canary=1.5), epochs=3.0)
    assert not audit.passed
    assert audit.evidence["canaries_low"] > CANARY


def test_repeated_training_text_and_ideas_with_other_text_are_not_compared():
    known = pairs(6, scored=0.3, train=-0.3)
    repeated = memorised(known, epochs=2.5)
    assert repeated.passed and "gains not compared: training text was read 2.5 times" in repeated.reason
    other = memorised(known, epochs=0.1, skip="it reads other text")
    assert other.passed and "gains not compared: it reads other text" in other.reason


def test_failed_runs_and_old_corpora_are_left_out():
    few = memorised([*pairs(2, 0.3, 0.0), ({"scored": 3.0, "train": 3.0}, {})], epochs=0.1)
    assert few.passed and "gains not compared: 2 pairs, 3 are needed" in few.reason
    old = [
        ({"scored": 3.0, "train": 3.1}, {"scored": 2.9 - i / 100, "train": 3.0 - i / 100}) for i in range(4)
    ]
    audit = memorised(old, epochs=0.1)
    assert audit.passed and "canaries not compared: 0 pairs" in audit.reason
    assert "gains_low" in audit.evidence
    assert memorised([], epochs=0.1).passed


def test_false_alarms_are_as_rare_as_stated_where_an_idea_stands_at_the_limit():
    """Gains at the very margin: the worst case that is let through."""
    stopped = sum(
        not memorised(pairs(5, scored=TIMES * 0.1 + MARGIN, train=0.1, seed=seed), epochs=0.1).passed
        for seed in range(4000)
    )
    assert stopped <= 12  # 4000 x ALPHA are expected; above 12 once in 4000 such tests
    assert ALPHA == 1e-3


@given(st.integers(3, 12), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 1000))
def test_more_known_text_is_never_less_suspicious(count, scored, train, seed):
    less = memorised(pairs(count, scored, train, seed=seed), epochs=0.1).evidence["gains_low"]
    more = memorised(pairs(count, scored + 0.1, train, seed=seed), epochs=0.1).evidence["gains_low"]
    assert more == pytest.approx(less + 0.1)
