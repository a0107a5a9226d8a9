"""Noise learned from the few pairs of many ideas: its size, and how alike ideas are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.verdicts.noise import PAIRS, UNKNOWN, learn_noise


def screen(freedom, ideas, pairs, seed):
    """Pairs (ideas, pairs) of ideas whose variance is scaled inverse chi-squared about 0.02 squared."""
    rng = np.random.default_rng(seed)
    sd = 0.02 * np.sqrt(freedom / rng.chisquare(freedom, ideas))
    return rng.normal(0.1, 1, (ideas, 1)) + sd[:, None] * rng.standard_normal((ideas, pairs))


def test_the_usual_noise_is_found_whatever_the_effects_are():
    found = [learn_noise(screen(8, 60, 3, seed)).sd for seed in range(40)]
    assert np.median(found) == pytest.approx(0.02, rel=0.08)


def test_ideas_that_differ_are_told_from_ideas_that_are_alike():
    differ = [learn_noise(screen(2, 60, 4, seed)).pairs for seed in range(30)]
    alike = [learn_noise(screen(1000, 60, 4, seed)).pairs for seed in range(30)]
    assert np.median(differ) == 2
    assert np.median(alike) >= 16


def test_with_two_ideas_little_is_known():
    assert learn_noise(screen(1000, 2, 2, 0)).pairs <= 8


def test_changes_that_change_nothing_say_nothing():
    some = [*screen(8, 20, 3, 1)]
    assert learn_noise([*some, np.zeros(3), np.full(3, 0.1), [0.5]]) == learn_noise(some)
    assert learn_noise([np.zeros(3), [1.0]]) == UNKNOWN


@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_loss_does_not_matter(scale):
    pairs = screen(4, 20, 3, 2)
    one, other = learn_noise(pairs), learn_noise(pairs * scale)
    assert other.sd == pytest.approx(one.sd * scale)
    assert other.pairs == one.pairs in PAIRS
