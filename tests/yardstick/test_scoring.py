"""The trusted side of the wire, against real processes that answer well, lie, hang and die."""

import contextlib
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.yardstick.prefixes import ask_prefixes
from mendel.yardstick.scoring import ScoringError, Violation, log_probabilities, windows
from mendel.yardstick.stream import ask_stream


@contextlib.contextmanager
def scorer(behaviour):
    """A channel to a child process, and the process."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, str(Path(__file__).with_name("scorer.py")), str(theirs.fileno()), behaviour]
    child = subprocess.Popen(
        command,
        pass_fds=[theirs.fileno()],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    theirs.close()
    try:
        yield ours, child
    finally:
        ours.close()
        child.kill()
        child.communicate()


def tokens(count=10, length=16):
    return np.random.default_rng(0).integers(0, 256, (count, length + 1), dtype=np.uint8)


def test_a_uniform_model_scores_exactly_eight_bits_per_byte():
    with scorer("Uniform") as (channel, child):
        assert ask_stream(channel, tokens()).bits_per_byte == pytest.approx(8.0, abs=1e-6)
        assert child.communicate(timeout=10)[0] == "done\n"


@pytest.mark.parametrize("count", [1, 2, 3, 10, 64])
def test_each_target_counts_once_and_at_its_place(count):
    sent = tokens(count)
    with scorer("ByToken") as (channel, _):
        answers = ask_stream(channel, sent, groups={"beside": tokens(5, 3)})
    assert answers.log_p == pytest.approx(-(sent[:, 1:].astype(float) + 1) / 100)
    assert answers.bits_per_byte == pytest.approx(-answers.log_p.mean() / math.log(2))
    assert answers.window_bits_per_byte == pytest.approx(-answers.log_p.mean(axis=1) / math.log(2))


def test_a_group_is_scored_beside_the_windows_on_its_own_bytes():
    beside = {"short": tokens(3, 5), "full": tokens(7, 16)}
    with scorer("ByToken") as (channel, _):
        answers = ask_stream(channel, tokens(), groups=beside)
    for name, rows in beside.items():
        nats = (rows[:, 1:].astype(float) + 1) / 100
        assert answers.groups[name].nats == pytest.approx(nats.sum(axis=1), rel=1e-6)
        assert answers.group_bits_per_byte(name) == pytest.approx(nats.mean() / math.log(2))


def test_a_stream_is_a_quarter_longer_than_its_windows():
    with scorer("Uniform") as (channel, _):
        answers = ask_stream(channel, tokens(128))
    assert answers.audit_share == pytest.approx(0.2)  # of all rows


def test_a_batch_larger_than_the_socket_buffer_is_scored():
    with scorer("ByToken") as (channel, _):
        sent = tokens(4, 65536)
        assert ask_stream(channel, sent).log_p == pytest.approx(-(sent[:, 1:].astype(float) + 1) / 100)


def test_rounding_just_above_zero_is_accepted():
    with scorer("rounded") as (channel, _):
        assert ask_stream(channel, tokens()).bits_per_byte < 8.0


def test_probes_leave_the_conversation_open():
    with scorer("ByToken") as (channel, _):
        for _ in range(2):
            assert log_probabilities(channel, tokens()) == pytest.approx(-(tokens()[:, 1:] + 1.0) / 100)
        ask_stream(channel, tokens())


REFUSED = {
    "transposed": "a reply of kind and rows (1, 16), (1, 4) expected",
    "too many": "a reply has not 16 columns",
    "huge": "a reply of kind and rows (1, 4294967295), (1, 4) expected",
    "another kind": "a reply of kind and rows (2, 4), (1, 4) expected",
    "dies": "connection",
    "dies halfway": "closed the connection after",
}


@pytest.mark.parametrize("behaviour", REFUSED)
def test_a_scorer_that_lies_or_dies_is_refused_in_one_line(behaviour):
    with scorer(behaviour) as (channel, _), pytest.raises(ScoringError) as caught:
        ask_stream(channel, tokens(), timeout=20)
    assert REFUSED[behaviour] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caught.value.diverged and not isinstance(caught.value, Violation)


@pytest.mark.parametrize("behaviour", ["above zero", "infinity"])
def test_a_log_probability_above_zero_is_a_violation(behaviour):
    with scorer(behaviour) as (channel, _), pytest.raises(Violation, match="is above 0") as caught:
        ask_stream(channel, tokens())
    assert caught.value.audit == "sums"


@pytest.mark.parametrize("behaviour", ["nan", "minus infinity"])
def test_a_loss_that_is_not_finite_is_flagged_as_diverged(behaviour):
    with (
        scorer(behaviour) as (channel, _),
        pytest.raises(ScoringError, match="1 of 64 .* not finite") as caught,
    ):
        ask_stream(channel, tokens())
    assert caught.value.diverged


@pytest.mark.parametrize("behaviour", ["hangs", "drips", "never reads"])
def test_no_scorer_gets_more_than_its_time(behaviour):
    sent = tokens(4, 65536) if behaviour == "never reads" else tokens()
    started = time.monotonic()
    with (
        scorer(behaviour) as (channel, _),
        pytest.raises(ScoringError, match=r"no full answer within 0\.5 s"),
    ):
        ask_stream(channel, sent, timeout=0.5)
    assert time.monotonic() - started < 30, "each of them would go on for about a minute"


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("SmallVocabulary", "its vocabulary of 100 lacks token"),
        ("nan", "a distribution is not finite"),
        ("infinity", "a distribution is not finite"),
        ("another kind", "a reply of kind and rows"),
        ("dies", "connection"),
    ],
)
def test_a_bad_answer_after_a_prefix_is_refused(behaviour, said):
    with scorer("Uniform") as (channel, _):
        answers = ask_stream(channel, tokens(1))
    with scorer(behaviour) as (channel, _), pytest.raises(ScoringError, match=said):
        ask_prefixes(channel, tokens(1), answers, timeout=2)


def test_wrong_arguments_are_the_callers_fault():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for bad in (tokens()[0], tokens().astype(np.int64), tokens(0), tokens(4, 0)):
            with pytest.raises(ValueError, match="windows"):
                ask_stream(ours, bad)
        with pytest.raises(ValueError, match="group 'train'"):
            ask_stream(ours, tokens(), groups={"train": tokens(4, 17)})
        with pytest.raises(ValueError, match="others"):
            ask_stream(ours, tokens(), others=tokens(1, 15))
        with pytest.raises(ValueError, match="timeout 0"):
            ask_stream(ours, tokens(), timeout=0)


# --- windows and shards -----------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 3000), st.integers(0, 2**40))
def test_windows_are_evenly_spaced_whole_and_repeatable(count, length, extra, seed):
    shard = np.arange(length + 1 + extra, dtype=np.uint32)  # a token is its own position
    found = windows(shard, count, length, seed)
    assert found.shape == (count, length + 1)
    assert (np.diff(found.astype(np.int64), axis=1) == 1).all()
    gaps = np.diff(found[:, 0].astype(np.int64))
    spacing = (extra + 1) / count
    assert all(math.floor(spacing) <= gap <= math.ceil(spacing) for gap in gaps)
    assert found[0, 0] <= spacing
    assert (windows(shard, count, length, seed) == found).all()


def test_the_seed_moves_the_windows():
    shard = np.arange(100_000, dtype=np.uint32)
    starts = {int(windows(shard, 10, 64, seed)[0, 0]) for seed in range(20)}
    assert len(starts) == 20


def test_a_shard_shorter_than_a_window_is_refused():
    with pytest.raises(ValueError, match="the shard has 64 tokens; length 64 needs at least 65"):
        windows(np.zeros(64, np.uint8), 1, 64, seed=0)
    with pytest.raises(ValueError, match="count 0"):
        windows(np.zeros(64, np.uint8), 0, 8, seed=0)
