"""Effects of claims without fresh pairs of their own: by confirmation and what was expected before it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.verdicts.effects import paired_interval, run_noise, shrunken
from mendel.verdicts.noise import UNKNOWN, Noise

NOISE = Noise(1.0, 8)


def claimed(rng, ideas=4000, least=5, most=12):
    """(truth, mean of the pairs, shrunken interval) of ideas that a noisy screen chose and that stopped at
    the first pair at which they looked good enough."""
    for truth in rng.normal(0.5, 1.0, ideas):
        seen, error = truth + rng.normal(0, 0.7), (1 / (1 + 0.7**-2)) ** 0.5
        expected = (0.5 + seen * 0.7**-2) / (1 + 0.7**-2)
        if expected < 0.5:
            continue
        x = truth + rng.standard_normal(most)
        z = np.cumsum(x) / np.arange(1, most + 1) ** 0.5
        stops = np.flatnonzero((z > 2.5) & (np.arange(1, most + 1) >= least))
        if len(stops):
            pairs = x[: stops[0] + 1]
            yield truth, float(pairs.mean()), shrunken(pairs, expected, error, NOISE)


def test_a_claim_is_flattered_by_the_pairs_that_made_it_and_not_by_its_shrunken_effect():
    found = list(claimed(np.random.default_rng(1)))
    truth = np.array([one[0] for one in found])
    assert len(found) > 800
    assert np.mean([mean for _, mean, _ in found] - truth) > 0.1
    assert abs(np.mean([said.value for *_, said in found] - truth)) < 0.03
    held = np.mean([said.low < true < said.high for true, _, said in found])
    assert 0.935 < held < 0.985


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=8),
    st.floats(-3, 3),
    st.floats(0.01, 3),
    st.floats(0.1, 3),
)
def test_it_lies_between_what_was_expected_and_what_was_seen(pairs, mean, error, sd):
    said = shrunken(pairs, mean, error, Noise(sd, 4))
    low, high = sorted([float(np.mean(pairs)), mean])
    assert low - 1e-9 <= said.value <= high + 1e-9


def test_where_the_pairs_contradict_what_was_expected_it_is_less_sure():
    pairs = np.linspace(-1, 1, 8)
    agreeing, other = (shrunken(pairs + mean, 0.0, 0.3, NOISE) for mean in (0.0, 2.0))
    assert other.high - other.low > 3 * (agreeing.high - agreeing.low)
    assert agreeing.low < 0 < agreeing.high


def test_a_single_pair_has_an_interval_where_the_noise_is_known_and_else_none():
    covered = 0
    rng = np.random.default_rng(2)
    for _ in range(2000):
        sd = (4 / rng.chisquare(4)) ** 0.5  # an idea's own noise, as a screen of many lets one expect it
        said = paired_interval([0.3 + sd * rng.standard_normal()], noise=Noise(1.0, 4))
        covered += said.low < 0.3 < said.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="two pairs at least, found 1"):
        paired_interval([0.3], noise=UNKNOWN)
    with pytest.raises(ValueError, match="two pairs at least, found 0"):
        paired_interval([], noise=NOISE)


def test_the_noise_of_a_run_is_read_off_the_curves_replicates():
    rng = np.random.default_rng(3)
    flops = [budget for budget in (0.5, 1.0, 2.0, 4.0) for _ in range(3)]
    found = []
    for _ in range(200):
        points = [(c, 1.0 + 2.0 * c**-0.3 + 0.02 * rng.standard_normal()) for c in flops]
        found.append(run_noise(points, 1.0))
    assert np.median(found) == pytest.approx(0.02, rel=0.15)
