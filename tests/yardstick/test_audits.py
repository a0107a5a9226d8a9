"""The audits of the answers, against real processes: what cheats is named, what is honest passes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendel.records import Audit
from mendel.yardstick.checks import check_prefixes, check_stream, pooled
from mendel.yardstick.prefixes import Prefixes, ask_prefixes
from mendel.yardstick.scoring import Violation
from mendel.yardstick.stream import Answers, ask_stream
from yardstick.test_scoring import scorer

SHARES = 1 / np.arange(1, 257)
WINDOWS = np.random.default_rng(7).choice(256, (96, 49), p=SHARES / SHARES.sum()).astype(np.uint8)
"""48 predictions each, in some 30 frames. Some bytes are far more common than others, which the scorers do
not know before they see it."""


def judge(behaviour, windows=WINDOWS, most=1024):
    """Both sessions of a model in turn, a process each; what was found, and what the model is like."""
    with scorer(behaviour) as (channel, _):
        answers = ask_stream(channel, windows)
    audits = check_stream(answers)
    with scorer(behaviour) as (channel, _):
        prefixes = ask_prefixes(channel, windows, answers, most=most)
    return audits + check_prefixes(answers, prefixes), prefixes


@pytest.mark.parametrize("behaviour", ["Honest", "ShortContext"])
def test_a_function_of_the_prefix_passes_with_few_questions(behaviour):
    audits, prefixes = judge(behaviour)
    assert [audit.name for audit in audits] == [
        "sums",
        "future",
        "state",
        "batch",
        "sums",
        "future",
        "state",
    ]
    assert all(audit.passed and audit.reason for audit in audits)
    assert (prefixes.gain.size, prefixes.moved, prefixes.function) == (256, 0, True)


@pytest.mark.parametrize("behaviour", ["Dropout", "LittleNoise", "LayerDrop"])
def test_a_random_model_passes_with_more_questions(behaviour):
    audits, prefixes = judge(behaviour)
    assert (prefixes.gain.size, prefixes.random) == (1024, True)
    assert 0 < audits[-2].evidence["detectable"] < 2


@pytest.mark.parametrize("behaviour", ["RareNoise", "Seeded", "Coarse", "Flips"])
def test_a_model_that_is_random_at_times_or_in_other_shapes_passes(behaviour):
    for _ in range(3):
        judge(behaviour)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_few_windows_are_enough_for_an_honest_model(count):
    judge("Honest", WINDOWS[:count])
    judge("Dropout", WINDOWS[:count])


CHEATS = {
    "Peeks": "future",
    "PeeksSometimes": "future",
    "PeeksInBatches": "future",
    "PeeksUnderNoise": "future",
    "LooksAhead": "future",
    "LooksOneAhead": "future",
    "LooksAheadUnderNoise": "future",
    "Unnormalised": "sums",
    "BatchNorm": "batch",
    "Neighbours": "batch future",  # under noise it may only show that alone it is worse
    "Learns": "state",
    "LearnsUnderNoise": "state",
    "Remembers": "state",
}


@pytest.mark.parametrize("behaviour", CHEATS)
def test_a_cheat_is_named(behaviour):
    with pytest.raises(Violation) as caught:
        judge(behaviour, most=4096)
    assert caught.value.audit in CHEATS[behaviour].split()
    failed = next(audit for audit in caught.value.audits if not audit.passed)
    assert (failed.name, failed.reason) == (caught.value.audit, str(caught.value))
    assert failed.evidence and "\n" not in failed.reason


@pytest.mark.parametrize("behaviour", ["LooksAhead", "LooksOneAhead", "BatchNorm"])
def test_what_twins_and_other_neighbours_show_needs_no_second_session(behaviour):
    with scorer(behaviour) as (channel, _):
        answers = ask_stream(channel, WINDOWS)
    with pytest.raises(Violation):
        check_stream(answers)


def test_a_few_windows_show_a_model_that_knows_its_targets():
    with pytest.raises(Violation, match="better with the text that follows"):
        judge("Peeks", WINDOWS[:8])


# --- the statistics -----------------------------------------------------------------------------------------


def found(gain, error):
    evidence = {"gain": gain, "error": error}
    return Audit(name="future", passed=True, reason="no gain above the noise", evidence=evidence)


def test_a_gain_below_the_noise_of_one_run_shows_in_all_runs_of_an_idea():
    rng = np.random.default_rng(3)
    twins = Audit(name="future", passed=True, reason="of the stream", evidence={"difference": 9, "error": 1})
    quiet = Audit(name="future", passed=True, reason="nothing moved", evidence={"moved": 0})
    cheat = [found(0.02 + 0.005 * rng.standard_normal(), 0.005) for _ in range(8)]
    honest = [found(0.005 * rng.standard_normal(), 0.005) for _ in range(8)]
    assert not pooled([*cheat, quiet, twins]).passed
    assert pooled([*honest, quiet, twins]).passed
    assert pooled([quiet]).passed and pooled([]).passed


@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.5]), st.sampled_from([0.0, 0.3]))
@settings(max_examples=100, deadline=None)
def test_noise_alone_is_no_gain_and_a_gain_above_it_is(seed, noise, shared):
    """Noise of its own for each position, and shared by those of a frame."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(np.arange(37), 110)
    gain = noise * rng.standard_normal(frames.size) + shared * rng.standard_normal(37)[frames]
    nothing = np.zeros(frames.size)
    made = Prefixes(gain, frames, nothing, replays=(), random=True, function=False)
    answers = Answers(np.zeros((1, 1), np.float32), np.zeros(1, np.int64), 1, (), {}, ())
    (_, future, _) = check_prefixes(answers, made)
    least = future.evidence["detectable"]
    assert least > 3 * max(noise / frames.size**0.5, shared / 37**0.5)
    with pytest.raises(Violation, match="from the text that follows"):
        check_prefixes(answers, replace(made, gain=gain + 2 * least))


def test_a_function_may_be_rounded_otherwise_in_other_shapes_but_not_be_better():
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(4000) < 0.01, rng.choice([-2.0, 2.0], 4000), 0.0)
    frames = np.repeat(np.arange(40), 100)
    made = Prefixes(gain, frames, np.zeros(4000), replays=(), random=False, function=True)
    answers = Answers(np.zeros((1, 1), np.float32), np.zeros(1, np.int64), 1, (), {}, ())
    assert check_prefixes(answers, made)[1].evidence["moved"] == np.count_nonzero(gain)
    with pytest.raises(Violation, match=r"(\d+) of \1 answers that changed are better"):
        check_prefixes(answers, replace(made, gain=np.abs(gain)))


@pytest.mark.parametrize(("off", "passes"), [(1e-6, True), (0.002, True), (0.004, False), (-0.1, False)])
def test_sums_may_be_off_by_rounding_alone(off, passes):
    made = Prefixes(np.zeros(9), np.arange(9), np.full(9, off), replays=(), random=False, function=True)
    answers = Answers(np.zeros((1, 1), np.float32), np.zeros(1, np.int64), 1, (), {}, ())
    if passes:
        assert check_prefixes(answers, made)[0].passed
    else:
        with pytest.raises(Violation, match="probabilities sum to"):
            check_prefixes(answers, made)
