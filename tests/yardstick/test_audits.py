"""The audits of the answers, against real processes: what cheats is named, what is honest passes."""

import numpy as np
import pytest

from mendel.yardstick.checks import check_prefixes, check_stream
from mendel.yardstick.prefixes import ask_prefixes
from mendel.yardstick.scoring import Violation
from mendel.yardstick.stream import ask_stream
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
