"""When a run is stopped early: what finished pairs must have shown, and how often that is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.plans.early_stop import CHECKS, HORIZON_ONLY, LEAST_PAIRS, Course, StopRule, learn

M, HOPE = 0.004, 0.01
NOISE = 0.03


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def courses(rng, count, idea_class="optimiser", by=1.0, at=0.0, spread=NOISE):
    """Pairs whose difference at the end follows an early one, closer at later checks."""
    early = rng.normal(-0.05, 0.15, size=(count, 1)) + rng.normal(0, 0.2 * NOISE, size=(count, len(CHECKS)))
    final = at + by * early[:, -1] + rng.normal(0, spread, size=count)
    return [
        Course(idea_class=idea_class, early=tuple(row), final=end)
        for row, end in zip(early.tolist(), final.tolist(), strict=True)
    ]


def test_a_clear_loss_is_stopped_at_the_first_check_and_a_gain_never(rng):
    rule = learn(courses(rng, 40))
    at, expected = rule.hopeless("optimiser", (-0.4, -0.4, -0.4), M, HOPE)
    assert at == CHECKS[0]
    assert expected == pytest.approx(-0.4, abs=0.05)
    assert rule.hopeless("optimiser", (0.1, 0.1, 0.1), M, HOPE) is None
    assert rule.hopeless("optimiser", (0.1, -0.4), M, HOPE)[0] == CHECKS[1]
    assert rule.hopeless("optimiser", (), M, HOPE) is None


def test_a_class_that_shows_nothing_on_its_way_is_left_to_its_end(rng):
    late = courses(rng, 60, "attention", by=0.0, spread=0.1)
    rule = learn([*late, *courses(rng, 60, "optimiser")])
    assert rule.hopeless("attention", (-0.15, -0.15, -0.15), M, HOPE) is None
    assert rule.hopeless("optimiser", (-0.15, -0.15, -0.15), M, HOPE)


def test_a_class_that_catches_up_late_is_not_stopped_for_being_behind(rng):
    slow = courses(rng, 60, "architecture", by=1.0, at=0.15)
    rule = learn([*slow, *courses(rng, 60, "optimiser")])
    assert rule.hopeless("architecture", (-0.1, -0.1, -0.1), M, HOPE) is None
    assert rule.hopeless("optimiser", (-0.1, -0.1, -0.1), M, HOPE)


@pytest.mark.parametrize("idea_class", HORIZON_ONLY)
def test_slow_starters_compare_at_the_horizon_only(rng, idea_class):
    rule = learn([*courses(rng, 60, idea_class), *courses(rng, 60)])
    assert rule.hopeless(idea_class, (-9.0, -9.0, -9.0), M, HOPE) is None


def test_nothing_is_stopped_before_enough_of_its_class_has_ended(rng):
    few, others = courses(rng, LEAST_PAIRS - 1, "attention"), courses(rng, 60)
    assert "attention" not in learn([*few, *others]).lines
    assert "attention" in learn([*few, *courses(rng, 1, "attention"), *others]).lines
    assert learn(few) == learn([]) == StopRule()


def test_a_class_that_has_shown_little_is_taken_to_be_like_the_others(rng):
    """Six pairs that by chance say nothing of the end outweigh what all others show only in part."""
    few = courses(rng, LEAST_PAIRS, "attention", by=0.0, spread=0.01)
    lines = learn([*few, *courses(rng, 200)]).lines
    assert 0.2 < lines["attention"][-1].by < 0.8 < lines["optimiser"][-1].by


def test_of_stopped_runs_hardly_any_would_have_gained():
    """The promise: the chance of a gain above m is at most HOPE for each of them, while the rule is learned
    from few pairs of classes that differ. Simulated: 300 labs, 20 pairs of each of four classes."""
    stopped = gained = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        kinds = [
            (f"c{i}", rng.normal(1, 0.15), rng.normal(0, 0.01), rng.uniform(0.5, 2) * NOISE) for i in range(4)
        ]
        rule = learn([one for kind in kinds for one in courses(rng, 20, *kind)])
        for kind in kinds:
            for one in courses(rng, 25, *kind):
                if rule.hopeless(kind[0], one.early, M, HOPE):
                    stopped += 1
                    gained += one.final > M
    assert stopped > 3000
    assert gained / stopped < HOPE


@given(
    st.lists(
        st.builds(
            Course,
            idea_class=st.sampled_from(("optimiser", "attention")),
            early=st.tuples(*(st.floats(-3, 3) for _ in CHECKS)),
            final=st.floats(-3, 3),
        ),
        max_size=30,
    ),
    st.floats(-3, 3),
)
def test_any_record_gives_chances_that_can_be_used(record, early):
    for lines in learn(record).lines.values():
        for line in lines:
            low, high = line.chance(early, 0.5), line.chance(early, -0.5)
            assert 0 <= low <= high <= 1
