"""The rule that keeps or evicts adopted changes: its error rates, and what it must never do."""

import numpy as np
import pytest

from mendel.records import Interval, Standing
from mendel.verdicts.recheck import Test, against_sum, eviction_rates, judge, settle

TRIALS = 1500
RULE = Test(least=0.5, alpha=0.05, first=6, most=12)


def table(means, seed, pairs=12):
    """measure() of changes with these means, in sd of a paired difference."""
    rng = np.random.default_rng(seed)
    rows = {name: mean + rng.standard_normal(pairs) for name, mean in means.items()}
    return lambda names, first, last: {name: rows[name][first:last].tolist() for name in names}


def test_a_useless_change_is_mostly_evicted_and_one_that_earns_hardly_ever():
    """m is half a paired sd; the other two changes of the trunk earn four sd."""
    useless, _ = eviction_rates((0.0, 4.0, 4.0), 0.5, 6, 12, TRIALS)
    earning, _ = eviction_rates((1.0, 4.0, 4.0), 0.5, 6, 12, TRIALS)  # 2 m, which is one sd here
    assert useless[0] > 0.9 and useless[1:] == [0.0, 0.0]
    assert earning[0] < 0.07 and earning[1:] == [0.0, 0.0]


def test_where_the_noise_is_larger_than_m_errors_are_only_about_gains_of_about_m():
    """m is a quarter of a paired sd, as on the built-in testbed."""
    rates = {mean: eviction_rates((mean, 4.0), 0.25, 6, 12, TRIALS)[0][0] for mean in (-1, 0, 0.25, 0.5, 1)}
    assert rates[-1] > 0.99 and rates[0] > 0.7
    assert 0.4 < rates[0.25] < 0.6
    assert rates[0.5] < 0.25 and rates[1] < 0.02


def test_more_pairs_make_both_errors_rarer():
    few, _ = eviction_rates((0.0, 1.0), 0.5, 6, 6, TRIALS)
    many, _ = eviction_rates((0.0, 1.0), 0.5, 6, 30, TRIALS)
    assert many[0] > few[0]
    wrong = [eviction_rates((1.0, 1.0), 0.5, 6, most, TRIALS)[0] for most in (6, 30)]
    assert sum(wrong[1]) < 0.25 * sum(wrong[0])


def test_evictions_by_their_interval_are_wrong_at_most_at_alpha():
    """Three changes exactly at m, looked at three times: all intervals hold at once with 95 %."""
    wrong = 0
    for seed in range(TRIALS):
        judged = settle(["a", "b", "c"], RULE, table(dict.fromkeys("abc", 0.5), seed))
        wrong += any(one.shown for one in judged.values())
    assert wrong / TRIALS < 0.05 + 2 * (0.05 * 0.95 / TRIALS) ** 0.5


def test_pairs_are_bought_only_for_what_is_in_doubt():
    asked = []
    measure = table({"sure": 6.0, "doubtful": 1.0}, 0)

    def counted(names, first, last):
        asked.append((tuple(names), first, last))
        return measure(names, first, last)

    judged = settle(["sure", "doubtful"], RULE, counted)
    assert asked[0] == (("sure", "doubtful"), 0, 6)
    assert all(names == ("doubtful",) for names, _, _ in asked[1:]) and len(asked) > 1
    assert judged["sure"].standing is Standing.EARNS and judged["sure"].pairs == 6


def test_without_room_for_more_pairs_nothing_is_evicted_on_a_guess():
    measure = table({"useless": 0.0, "good": 4.0}, 3)
    judged = settle(["useless", "good"], RULE, lambda n, a, b: measure(n, a, b) if a == 0 else None)
    assert judged["useless"].gain.value < RULE.least
    assert (judged["useless"].standing, judged["useless"].pairs) == (Standing.UNDECIDED, 6)
    assert settle(["useless", "good"], RULE, measure)["useless"].standing is Standing.EVICTED


def test_one_change_is_evicted_at_a_time_the_worst_one():
    judged = settle(["bad", "worse"], RULE, table({"bad": -4.0, "worse": -6.0}, 1))
    assert {name: one.standing for name, one in judged.items()} == {
        "bad": Standing.UNDECIDED,
        "worse": Standing.EVICTED,
    }


def test_a_change_that_changes_nothing_has_no_noise_and_goes():
    judged = judge([0.0] * 6, RULE, 2)
    assert judged.standing is Standing.EVICTED and judged.shown and judged.gain.low == judged.gain.high == 0


@pytest.mark.parametrize(("least", "standing"), [(0.0, Standing.UNDECIDED), (0.1, Standing.EVICTED)])
def test_at_no_smallest_gain_what_is_exactly_nothing_stays(least, standing):
    assert judge([0.0] * 12, Test(least, 0.05, 6, 12), 1).standing is standing


def test_looks_are_fixed_beforehand():
    assert Test(0.1, 0.05, 6, 12).looks == (6, 9, 12)
    assert Test(0.1, 0.05, 6, 10).looks == (6, 9, 10)
    assert Test(0.1, 0.05, 6, 4).looks == (6,)


def test_the_whole_is_compared_with_the_sum_by_their_joint_interval():
    def of(value, half):
        return Interval(value=value, low=value - half, high=value + half)

    total, gap = against_sum(of(1.0, 0.3), [[of(0.5, 0.1), of(0.7, 0.2)], [of(0.3, 0.4)]])
    assert (total.value, gap.value) == pytest.approx((1.5, -0.5))
    assert total.high - total.value == pytest.approx(0.5)  # 0.1 + 0.2 share controls; 0.4 is of another round
    assert gap.high - gap.value == pytest.approx((0.3**2 + 0.5**2) ** 0.5)


def test_the_joint_interval_covers_even_where_effects_share_their_controls():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(4000):
        shared = rng.normal(0, 0.1)
        effects = [
            Interval(value=v, low=v - 1.96 * 0.02**0.5, high=v + 1.96 * 0.02**0.5)
            for v in (shared + rng.normal(0, 0.1, 2)).tolist()
        ]
        whole = rng.normal(0, 0.2)
        _, gap = against_sum(Interval(value=whole, low=whole - 0.392, high=whole + 0.392), [effects])
        inside += gap.low <= 0 <= gap.high
    assert inside / 4000 > 0.94
