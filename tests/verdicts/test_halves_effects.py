"""Effects in halves: how sure they are where effects do not add up, and where coins tell too little."""

import numpy as np
import pytest

from mendel.records import Rule
from mendel.verdicts.halves import Gains, Halves, draw_signs

RULE = Rule(noise=0.01, noise_pairs=8, bound=0.5, min_loss_gain=0.001)
GAINS = np.array([0.05, 0.03, 0.02, 0.0])


def confirmed(seed: int, interaction: float, seeds: int = 8) -> Halves:
    """A cohort after one look; `interaction` is what the first two ideas do to each other."""
    draw = np.random.default_rng(seed)
    before = Gains.apart(GAINS + draw.normal(0, 0.005, 4), [0.005] * 4)
    found = Halves(RULE, before)
    signs = draw_signs((seed, 0, 0), seeds, [True] * 4)
    losses = []
    for coins in signs:
        halves = [coins > 0, coins < 0]
        first, second = (-(GAINS @ half) + interaction * (half[0] & half[1]) for half in halves)
        losses.append((3 + first + draw.normal(0, 0.007), 3 + second + draw.normal(0, 0.007)))
    found.add(signs, losses)
    return found


def half_widths(found: Halves) -> list[float]:
    return [(one.high - one.low) / 2 for one in (found.expected(idea) for idea in range(4))]


def test_effects_are_less_sure_where_they_do_not_add_up():
    plain, odd = (np.mean([half_widths(confirmed(n, how)) for n in range(20)]) for how in (0.0, 0.05))
    assert odd > 1.4 * plain


def test_intervals_of_effects_hold_the_truth_as_often_as_they_say():
    held = [
        [e.low < gain < e.high for e, gain in ((found.expected(i), GAINS[i]) for i in range(4))]
        for found in (confirmed(n, 0.0) for n in range(300))
    ]
    assert np.mean(held) == pytest.approx(0.96, abs=0.03)


def test_coins_that_fell_alike_leave_an_interval_that_ends_at_the_bound():
    found = Halves(RULE, Gains.apart(GAINS[:2], [0.005] * 2))
    signs = np.array([[1, 1], [-1, -1], [1, 1], [1, 1], [-1, -1]], dtype=np.int8)
    found.add(signs, [(3.0, 3.08) if one > 0 else (3.08, 3.0) for one in signs[:, 0]])
    for idea in (0, 1):
        alone = found.measured(idea)
        assert (alone.low, alone.high) == (-RULE.bound, RULE.bound)
        assert found.expected(idea).low > 0, "screening had told them apart"


def test_what_was_learnt_grows_with_the_seeds():
    few, many = (confirmed(1, 0.0, seeds).learnt(0) for seeds in (3, 30))
    assert 0 < few < many < 1
