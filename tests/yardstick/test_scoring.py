"""The trusted side of scoring, against real processes that answer well, lie, hang and die."""

import contextlib
import math
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.records import Shard
from mendel.yardstick.corpus import build_corpus
from mendel.yardstick.scoring import ScoringError, Shards, score, windows
from yardstick.texts import text_folder


@contextlib.contextmanager
def scorer(behaviour):
    """A channel to a child process, and the process."""
    ours, theirs = socket.socketpair()
    command = [
        sys.executable,
        "-S",
        str(Path(__file__).with_name("scorer.py")),
        str(theirs.fileno()),
        behaviour,
    ]
    child = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)
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
    with scorer("uniform") as (channel, child):
        assert score(channel, tokens(), batch=4) == pytest.approx(8.0, abs=1e-6)
        assert child.communicate(timeout=10)[0] == "done\n"


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_each_target_counts_once_whatever_the_batch(batch):
    sent = tokens()
    expected = float((sent[:, 1:].astype(float) + 1).mean()) / 100 / math.log(2)
    with scorer("by token") as (channel, _):
        assert score(channel, sent, batch=batch) == pytest.approx(expected, rel=1e-6)


def test_a_batch_larger_than_the_socket_buffer_is_scored():
    with scorer("uniform") as (channel, _):
        assert score(channel, tokens(64, 8192), batch=64) == pytest.approx(8.0, abs=1e-6)


def test_rounding_just_above_zero_is_accepted_and_a_scorer_may_leave_early():
    with scorer("rounded") as (channel, _):
        assert score(channel, tokens()) < 8.0
    with scorer("leaves early") as (channel, _):
        assert score(channel, tokens(), batch=64) == pytest.approx(8.0, abs=1e-6)


REFUSED = {
    "transposed": "reply has shape (16, 10), (10, 16) expected",
    "too many": "reply has shape (10, 17), (10, 16) expected",
    "huge": "reply has shape (4294967295, 4294967295), (10, 16) expected",
    "above zero": "log-probability 0.5 is above 0",
    "infinity": "log-probability inf is above 0",
    "dies": "connection",
    "dies halfway": "closed the connection after",
}


@pytest.mark.parametrize("behaviour", REFUSED)
def test_a_scorer_that_lies_or_dies_is_refused_in_one_line(behaviour):
    with scorer(behaviour) as (channel, _), pytest.raises(ScoringError) as caught:
        score(channel, tokens(), timeout=20)
    assert REFUSED[behaviour] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caught.value.diverged


@pytest.mark.parametrize("behaviour", ["nan", "minus infinity"])
def test_a_loss_that_is_not_finite_is_flagged_as_diverged(behaviour):
    with (
        scorer(behaviour) as (channel, _),
        pytest.raises(ScoringError, match="1 of 160 .* not finite") as caught,
    ):
        score(channel, tokens())
    assert caught.value.diverged


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("behaviour", ["prefix", "jitters"])
def test_a_model_that_sees_the_past_alone_passes_the_probe(behaviour, count):
    with scorer(behaviour) as (channel, child):
        assert score(channel, tokens(count, 64), batch=4) > 0
        assert child.communicate(timeout=10)[0] == "done\n"


@pytest.mark.parametrize(
    ("behaviour", "count"),
    [("whole window", 1), ("whole window", 2), ("whole window", 10), ("next token", 1), ("next token", 10)]
    + [("chunk of 16", 10)],
)
def test_a_model_that_sees_the_text_it_predicts_gets_no_score(behaviour, count):
    with (
        scorer(behaviour) as (channel, _),
        pytest.raises(ScoringError, match=r"^scorer: a prediction depends on text after it$") as caught,
    ):
        score(channel, tokens(count, 64))
    assert not caught.value.diverged


@pytest.mark.parametrize("length", [1, 2, 3])
def test_windows_too_short_for_a_cut_are_scored_as_they_are(length):
    with scorer("prefix") as (channel, _):
        assert score(channel, tokens(3, length)) > 0


@pytest.mark.parametrize("behaviour", ["hangs", "drips", "never reads"])
def test_no_scorer_gets_more_than_its_time(behaviour):
    sent = tokens(64, 16384) if behaviour == "never reads" else tokens()
    started = time.monotonic()
    with (
        scorer(behaviour) as (channel, _),
        pytest.raises(ScoringError, match=r"no full answer within 0\.5 s"),
    ):
        score(channel, sent, batch=64, timeout=0.5)
    assert time.monotonic() - started < 3


def test_wrong_arguments_are_the_callers_fault():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for bad in (tokens()[0], tokens().astype(np.int64), tokens(0), tokens(4, 0)):
            with pytest.raises(ValueError, match="score: windows"):
                score(ours, bad)
        with pytest.raises(ValueError, match="batch 0"):
            score(ours, tokens(), batch=0)


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


def test_each_opening_of_the_held_out_shard_is_recorded_before_it_is_read(tmp_path):
    corpus = build_corpus(text_folder(tmp_path / "texts"), tmp_path)
    log = []
    shards = Shards(corpus, on_held_out=lambda: log.append("held out"))
    validation = shards.open(Shard.VALIDATION)
    assert (log, shards.held_out_openings) == ([], 0)
    assert bytes(validation) == corpus.shard_file(Shard.VALIDATION).read_bytes()
    assert not validation.flags.writeable
    held_out = shards.open(Shard.HELD_OUT)
    assert (log, shards.held_out_openings) == (["held out"], 1)
    assert bytes(held_out) == corpus.shard_file(Shard.HELD_OUT).read_bytes()
    assert windows(held_out, 4, 32, seed=1).dtype == np.uint8

    def refuse():
        raise PermissionError("not in this round")

    with pytest.raises(PermissionError):
        Shards(corpus, refuse).open(Shard.HELD_OUT)
