"""Whether a gain hangs on constants that choose random streams: simulated honest ideas and lucky draws."""

import random

import pytest

from mendel.verdicts.constants import compare_constants


def simulated(draw: random.Random, idea: float, luck: float, pairs: int = 8, sd: float = 0.015):
    """Gains of `pairs` seeds: controls, treatments and mutants each have noise of their own."""
    noise = sd / 2**0.5
    control = [draw.gauss(0, noise) for _ in range(pairs)]
    original = [c + idea + luck + draw.gauss(0, noise) for c in control]
    return original, [c + idea + draw.gauss(0, noise) for c in control]


def rejected(idea: float, luck: float, selected_above: float = -1.0, count: int = 1500) -> float:
    draw, found, tried = random.Random(1), 0, 0
    while tried < count:
        original, mutated = simulated(draw, idea, luck)
        if sum(original) / len(original) > selected_above:
            tried += 1
            found += not compare_constants(original, mutated).passed
    return found / count


def test_a_gain_of_the_idea_is_hardly_ever_called_luck():
    assert rejected(idea=0.03, luck=0.0) == 0
    assert rejected(idea=0.015, luck=0.0, selected_above=0.015) < 0.002  # only the fortunate are claimed
    assert rejected(idea=0.0, luck=0.0) < 0.02


def test_a_lucky_draw_is_seen():
    assert rejected(idea=0.0, luck=0.03) > 0.6
    assert rejected(idea=0.0, luck=0.06) > 0.99


def test_what_is_said_of_the_gains():
    audit = compare_constants([0.05, 0.04, 0.06, 0.05], [0.001, -0.002, 0.0, 0.002])
    assert audit.name == "seed" and not audit.passed
    assert audit.reason.startswith("the gain is gone with other constants")
    assert audit.evidence["original"] == pytest.approx(0.05)
    assert compare_constants([0.05] * 4, [0.0] * 4).passed is False  # no spread at all
    assert compare_constants([0.05, 0.04, 0.06], [0.05, 0.05, 0.05]).passed
    assert compare_constants([0.05, 0.04, 0.06], [0.0, 0.0, 0.0], min_gain=0.1).passed  # no gain to explain
    assert compare_constants([0.05, 0.05], [0.0, 0.0]).passed  # too few to say
    with pytest.raises(ValueError, match="3 original and 2 mutated gains"):
        compare_constants([1, 2, 3], [1, 2])
