"""What a treatment is charged."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.plans.costs import COST_SLACK, audit_cost, charge, cpu_intervals, done_once
from mendel.records import Interval


def table(rng, truth, seeds=2, noise=0.05, hours=0.1):
    """Logs of seconds of ideas of the given true log ratios and of the control that they share."""
    hour = hours * rng.standard_normal(seeds)
    means = {"control": 0.0, **truth}
    return {
        (name, seed): mean + hour[seed] + noise * rng.standard_normal()
        for name, mean in means.items()
        for seed in range(seeds)
    }


def against_control(names):
    return {name: (name, "control") for name in names}


def test_the_interval_covers_the_true_ratio_as_often_as_it_says_although_ideas_share_their_control():
    rng = np.random.default_rng(0)
    truth = {f"idea{i}": math.log(1 + i / 10) for i in range(8)}
    covered = np.zeros(8)
    for _ in range(1500):
        found = cpu_intervals(table(rng, truth), against_control(truth))
        covered += [found[name].low <= math.exp(truth[name]) <= found[name].high for name in truth]
    assert covered.mean() / 1500 == pytest.approx(0.95, abs=0.015)


def test_ideas_with_more_seeds_than_others_have_narrower_intervals_of_the_same_cover():
    rng = np.random.default_rng(3)
    truth = {f"idea{i}": 0.1 * i for i in range(5)}
    covered, widths = np.zeros(5), np.zeros(5)
    for _ in range(1500):
        logs = {
            k: v for k, v in table(rng, truth, seeds=4).items() if k[0] in ("control", "idea0") or k[1] < 2
        }
        found = cpu_intervals(logs, against_control(truth))
        covered += [found[name].low <= math.exp(truth[name]) <= found[name].high for name in truth]
        widths += [math.log(found[name].high / found[name].low) for name in truth]
    assert covered / 1500 == pytest.approx(0.95, abs=0.02)
    assert widths[0] < 0.8 * widths[1:].min()


def test_pooling_makes_intervals_of_two_pairs_useful():
    rng = np.random.default_rng(1)
    logs = table(rng, {f"idea{i}": 0.0 for i in range(12)})
    pooled = cpu_intervals(logs, against_control(f"idea{i}" for i in range(12)))
    widths = [interval.high / interval.low for interval in pooled.values()]
    alone = [
        cpu_intervals({k: v for k, v in logs.items() if k[0] in (name, "control")}, against_control([name]))[
            name
        ]
        for name in pooled
    ]
    assert max(widths) < 1.3 < np.median([interval.high / interval.low for interval in alone])


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["control", "a", "b", "c"]), st.integers(0, 3)),
        st.floats(-3, 3),
        max_size=16,
    )
)
def test_intervals_hold_their_value_and_leave_out_what_was_not_measured(logs):
    intervals = cpu_intervals(logs, against_control("abc"))
    seeds = {name: {seed for one, seed in logs if one == name} for name in ("control", "a", "b", "c")}
    assert set(intervals) <= {name for name in "abc" if seeds[name] & seeds["control"]}
    for interval in intervals.values():
        assert 0 < interval.low <= interval.value <= interval.high
    if len({frozenset(own) for own in seeds.values() if own}) == 1:  # all on the same seeds
        for name, interval in intervals.items():
            ratios = [logs[name, seed] - logs["control", seed] for seed in seeds[name]]
            assert interval.value == pytest.approx(math.exp(sum(ratios) / len(ratios)))


SECONDS = Interval(value=1.3, low=1.2, high=1.4)


@pytest.mark.parametrize(
    ("flops_ratio", "seconds", "by_seconds", "ratio", "by"),
    [
        (1.0, SECONDS, True, 1.4, "CPU seconds"),  # beyond the interval: its upper bound
        (1.25, SECONDS, True, 1.25, "FLOPs"),  # within the interval they agree
        (1.2, SECONDS, True, 1.2, "FLOPs"),
        (2.0, SECONDS, True, 2.0, "FLOPs"),  # FLOPs say more: a fast kernel is no discount
        (1.0, SECONDS, False, 1.0, "FLOPs"),  # the same on any machine
        (1.1, None, True, 1.1, "FLOPs"),
    ],
)
def test_the_larger_instrument_is_charged_beyond_the_interval(flops_ratio, seconds, by_seconds, ratio, by):
    charged = charge(flops_ratio, seconds, by_seconds)
    assert (charged.ratio, charged.by, charged.cpu_ratio) == (ratio, by, seconds)


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(1, 2))
def test_nobody_is_charged_less_than_the_flops(flops_ratio, value, width):
    seconds = Interval(value=value, low=value / width, high=value * width)
    assert charge(flops_ratio, seconds, True).ratio >= flops_ratio


# --- the audit of cost ------------------------------------------------------------------------------------


def seconds_at(ratios):
    return [(1.0, float(ratio)) for ratio in ratios]


@given(st.integers(0, 10_000), st.floats(0.01, 0.15))
def test_equal_cost_is_hardly_ever_called_dear(seed, noise):
    ratios = np.exp(np.random.default_rng(seed).normal(0.0, noise, 5))
    assert audit_cost(seconds_at(ratios), COST_SLACK).passed


def test_false_alarms_at_the_edge_of_what_is_let_through_are_as_rare_as_stated():
    rng = np.random.default_rng(1)
    logs = math.log(COST_SLACK) + rng.normal(0.0, 0.1, (4000, 5))
    alarms = sum(not audit_cost(seconds_at(np.exp(row)), COST_SLACK).passed for row in logs)
    assert alarms <= 14  # 4 expected of 4000; more than 14 has probability below 1e-4


def test_twice_the_cost_is_seen_in_five_pairs():
    rng = np.random.default_rng(2)
    ratios = np.exp(math.log(2.0) + rng.normal(0.0, 0.05, (200, 5)))
    assert all(not audit_cost(seconds_at(row), COST_SLACK).passed for row in ratios)


def test_runs_without_a_time_are_said_to_be_unmeasured():
    audit = audit_cost(seconds_at([0.0, 0.0]), COST_SLACK)
    assert audit.passed and audit.reason == "not measured: 0 pairs have CPU times"


@given(st.floats(0.25, 3.0), st.floats(0.8, 4.0), st.floats(0.1, 3.0), st.floats(0.0, 0.5))
def test_work_that_is_done_once_leaves_less_room_for_tokens(once, per_token, flops_ratio, held):
    """A run takes `held` and `once` at its start, and `per_token` for the tokens of a control run."""
    at_equal_flops = held + once + per_token / flops_ratio
    measured = at_equal_flops * flops_ratio
    charged = charge(flops_ratio, Interval(value=measured, low=measured, high=measured), True, once, held)
    if measured <= flops_ratio:
        assert charged.by == "FLOPs"
    elif held + once < 1:
        seconds = held + once + per_token / charged.ratio
        assert seconds == pytest.approx(1) or (charged.ratio == flops_ratio and seconds < 1)
        assert not charged.too_dear
    else:
        assert charged.ratio == math.inf and charged.too_dear


@given(st.floats(0.0, 3.0), st.floats(0.5, 20.0), st.floats(0.1, 3.0), st.floats(0.001, 0.1))
def test_a_smoke_run_tells_what_is_done_once_from_slow_steps(once, per_token, flops_ratio, share):
    smoke = once + share * (per_token - 1)
    ratio = flops_ratio * once + per_token
    assert done_once(smoke, share, ratio, flops_ratio) == pytest.approx(once, abs=1e-9)


def test_a_little_that_is_done_once_is_taken_for_noise():
    assert charge(1.0, SECONDS, True, 0.15).ratio == SECONDS.high


SHORT = 0.02
"""CPU seconds of a run that is over before the machine's own noise is."""


def test_runs_that_are_over_at_once_are_not_called_dear_for_the_noise_of_the_machine():
    twice = Interval(value=2.5, low=2.0, high=3.0)
    assert charge(1.0, twice, False, control=SHORT).by == "FLOPs"
    assert charge(1.0, twice, False, control=10.0).by == "CPU seconds"
    pairs = [(SHORT, SHORT * ratio) for ratio in (2.1, 2.2, 2.3, 2.2, 2.1)]
    assert audit_cost(pairs, COST_SLACK).passed
    assert not audit_cost(
        [(500 * control, 500 * treatment) for control, treatment in pairs], COST_SLACK
    ).passed
