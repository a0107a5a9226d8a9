"""Intervals of what was claimed hold although it was claimed."""

import numpy as np
import pytest

from mendel.records import Rule
from mendel.verdicts.effects import paired_interval
from mendel.verdicts.judge import judge_round
from mendel.verdicts.selection import after_selection

SD, M = 0.02, 0.004
IDEAS = 10


def claimed(rng, gain):
    """(truth, differences, position, claims) of each claim of a campaign of weak ideas."""
    rule = Rule(planned=IDEAS, min_loss_gain=M, max_pairs=30, noise=SD, noise_pairs=8)
    names = [str(i) for i in range(IDEAS)]
    means = np.array([M + gain * SD] * IDEAS)
    data = means[:, None] + SD * rng.standard_normal((IDEAS, 30))
    frozen, stopped = {}, {}
    for n in range(3, 31):
        live = {name: data[int(name), :n].tolist() for name in names if name not in frozen}
        if not live:
            break
        after = judge_round(rule, names, live, frozen)
        stopped |= {name: n for name in after.claimed if name in live}
        frozen = after.frozen
    claims = [name for name in names if frozen.get(name, -np.inf) > -np.inf]
    return rule, [(means[int(c)], data[int(c), : stopped[c]].tolist(), int(c), len(claims)) for c in claims]


def test_of_the_intervals_of_claims_few_miss_the_truth_where_plain_ones_miss_it_often():
    rng = np.random.default_rng(0)
    missed, plain = [], []
    for _ in range(120):
        rule, claims = claimed(rng, gain=0.5)
        ours = [after_selection(rule, d, place, count) for _, d, place, count in claims]
        missed.append(
            np.mean([not i.low <= t <= i.high for i, (t, *_) in zip(ours, claims, strict=True)] or [0])
        )
        theirs = [paired_interval(d) for _, d, *_ in claims]
        plain.append(
            np.mean([not i.low <= t <= i.high for i, (t, *_) in zip(theirs, claims, strict=True)] or [0])
        )
    assert np.mean(missed) <= 0.05
    assert np.mean(plain) > 0.10


def test_more_claims_make_shorter_intervals_and_the_estimate_lies_inside():
    rule = Rule(planned=10, min_loss_gain=M, noise=SD, noise_pairs=8)
    gains = [0.05, 0.07, 0.06, 0.04, 0.08]
    alone, together = (after_selection(rule, gains, 0, claims) for claims in (1, 5))
    assert alone.low < together.low < together.value < together.high < alone.high
    assert together.value == pytest.approx(0.06)


def test_who_comes_after_the_planned_ideas_has_less_of_the_error_and_a_wider_interval():
    rule = Rule(planned=3, min_loss_gain=M, noise=SD, noise_pairs=8)
    gains = [0.05, 0.07, 0.06, 0.04, 0.08]
    early, late = (after_selection(rule, gains, position, 2) for position in (2, 3))
    assert late.low < early.low < early.high < late.high


def test_pairs_that_refute_nothing_give_the_bounds():
    rule = Rule(planned=10, bound=0.5)
    said = after_selection(rule, [0.1, None], 0, 1)
    assert (said.low, said.high) == (-0.5, 0.5)
