"""Trends of gains over compute: what is extrapolated, what past climbs teach, what a measurement is worth."""

import math

import numpy as np
import pytest

from mendel.records import Interval, Transfer
from mendel.verdicts import transfer
from mendel.verdicts.transfer import Climbed, Effect, coverage, learn, transfer_of, trend, usual


def climbs(retention, count=12, gain=0.3, idea_class="optimiser", se=0.01):
    """Ideas of which four times the compute leaves so much of the gain."""
    return [Climbed(idea_class, (Effect(0, gain, se), Effect(2, retention * gain, se)))] * count


def interval(low, high, **more):
    return Interval(value=(low + high) / 2, low=low, high=high, **more)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (interval(0.02, 0.3), Transfer.TRANSFERS),
        (interval(-0.2, 0.005), Transfer.DOES_NOT),
        (interval(-0.02, 0.3), Transfer.NOT_SHOWN),
        (interval(0.0, 0.02), Transfer.NOT_SHOWN),
        (interval(-0.3, 0.02), Transfer.NOT_SHOWN),
        (interval(-0.2, 0.005, high_bounded=True), Transfer.NOT_SHOWN),
    ],
)
def test_does_not_transfer_needs_an_upper_bound_below_the_gain(found, said):
    assert transfer_of(found, 0.01) is said


@pytest.mark.parametrize(
    ("mean", "scatter", "past", "rungs", "target"),
    [
        (-0.05, 0.12, 0, (0, 2), 4),
        (-0.15, 0.05, 10, (0, 2), 4),
        (0.05, 0.05, 10, (0, 2, 4), 10),
        (-0.10, 0.20, 10, (0, 2), 6),
    ],
)
def test_extrapolated_intervals_cover_planted_slopes(mean, scatter, past, rungs, target):
    share, _ = coverage(mean, scatter, past, target, rungs, trials=200)
    assert 0.91 <= share <= 0.995  # 200 trials: a standard error of 0.015


def test_coverage_breaks_where_the_differences_between_ideas_are_forgotten(monkeypatch):
    monkeypatch.setattr(transfer.Retention, "sd", property(lambda _: 0.01))
    share, _ = coverage(-0.10, 0.20, 0, 6, trials=200)
    assert share < 0.75


def test_past_climbs_narrow_what_is_expected():
    _, before = coverage(-0.05, 0.03, 0, 6, trials=60)
    _, after = coverage(-0.05, 0.03, 30, 6, trials=60)
    assert after < 0.8 * before


def test_retention_is_learned_and_a_class_is_drawn_towards_all():
    assert usual().mean == pytest.approx(-0.05, abs=0.01) and 0.1 < usual().sd < 0.25
    lost = learn(climbs(0.4))
    assert 1 + 2 * lost.mean == pytest.approx(0.4, abs=0.1) and lost.sd < usual().sd
    mixed = climbs(0.4, idea_class="schedule") + climbs(1.0, idea_class="attention")
    kept, faded, other = (learn(mixed, name).mean for name in ("attention", "schedule", "embedding"))
    assert faded < other < kept
    assert faded < learn(climbs(1.0, 24), "schedule").mean


def test_a_gain_lost_before_makes_the_next_one_doubtful():
    effects = (Effect(0, 0.05, 0.01),)
    hopeful = trend(effects, learn(climbs(1.0))).at(4).above(0.01)
    doubtful = trend(effects, learn(climbs(0.2))).at(4).above(0.01)
    assert hopeful > 0.9 and doubtful < 0.5


def test_the_line_follows_its_own_rungs_where_these_are_sharp():
    sharp = (Effect(0, 0.3, 0.002), Effect(2, 0.24, 0.002), Effect(4, 0.18, 0.002))
    line = trend(sharp, learn(climbs(1.0)))
    assert line.slope().value == pytest.approx(-0.03, abs=0.005)
    assert line.at(6).mean == pytest.approx(0.12, abs=0.03)
    wide = trend((Effect(0, 0.3, 0.1), Effect(2, 0.24, 0.1)), usual()).at(6)
    assert wide.sd > 3 * line.at(6).sd


def test_measuring_is_worth_most_where_the_decision_is_open():
    def worth(gain, se=0.02, measured=2.0):
        return trend((Effect(0, gain, 0.02),), learn(climbs(0.4, 4))).worth(measured, se, 4.0)

    assert worth(0.2) > 0
    assert worth(0.2, se=0.02) > worth(0.2, se=0.2)
    sure = trend((Effect(0, 0.2, 0.01),), learn(climbs(1.0, 40))).worth(2.0, 0.02, 4.0)
    assert sure < worth(0.2) / 10


def test_the_worth_is_the_mean_gain_of_the_better_decision():
    """By simulation: what is decided after the measurement against what is decided without it."""
    retention = learn(climbs(0.5, 3))
    effects = (Effect(0, 0.2, 0.01),)
    line, rng = trend(effects, retention), np.random.default_rng(0)
    before = line.at(4).mean
    then = []
    for _ in range(1500):
        gain = rng.choice(line.gains, p=line.weights)
        k = rng.normal(retention.mean, retention.sd)
        shown = rng.normal(gain * (1 + 2 * k), math.hypot(0.03, transfer.WOBBLE))
        then.append(trend((*effects, Effect(2, shown, 0.03)), retention).at(4).mean)
    gained = np.maximum(then, 0).mean() - max(before, 0)
    assert line.worth(2, 0.03, 4) == pytest.approx(gained, rel=0.25, abs=0.0015)
