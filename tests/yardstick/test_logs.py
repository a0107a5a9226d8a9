"""A log that was measured passes; one that was written by hand is told from it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendel.yardstick.logs import check_log, early_losses
from yardstick.texts import text

TRAINER = Path(__file__).parents[2] / "mendel" / "testbeds" / "gpt" / "train.py"
BPB = 3.2
"""Bits per byte of training text, by the yardstick."""


def lines(count=50, tokens=1024, **changes) -> list[dict]:
    """A log as a trainer leaves it: the loss falls and wavers."""
    return [
        {
            "step": step,
            "tokens": tokens * (step + 1),
            "seconds": 0.02 * (step + 1),
            "loss": 5.5 - 3.2 * math.sqrt((step + 1) / count) + 0.05 * (step % 3),
        }
        | changes
        for step in range(count)
    ]


def check(tmp_path, log, planned=50 * 1024, seconds=2.0, bpb=BPB, **more):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    return check_log(tmp_path, planned, seconds, bpb, **more)


# --- honest logs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs",
    [(), ("context=64", "batch=24")],
    ids=lambda knobs: " ".join(knobs) or "plain",
)
def test_the_log_of_a_real_run_passes(tmp_path, knobs):
    pytest.importorskip("torch")
    (tmp_path / "text").write_text(text(1, words=40_000))
    out = tmp_path / "out"
    command = [
        sys.executable,
        str(TRAINER),
        "--tokens",
        "20000",
        "--data",
        str(tmp_path / "text"),
        "--out",
        str(out),
    ]
    command += [part for knob in knobs for part in ("--set", knob)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    logged = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    audit = check_log(out, 20_000, 60.0, logged[-1] / math.log(2))
    assert audit.passed, audit.reason
    assert audit.evidence["lines"] == len(logged)


def test_steps_that_grow_and_a_rest_below_one_step_pass(tmp_path):
    log = lines()
    for line in log[:20]:
        line["tokens"] //= 2
    for line in log[20:]:
        line["tokens"] -= 10 * 1024
    assert check(tmp_path, log, planned=40 * 1024 + 1000).passed


def test_objectives_that_are_regularised_or_scaled_up_pass(tmp_path):
    assert check(tmp_path, [line | {"loss": 3 * line["loss"]} for line in lines()]).passed
    assert check(tmp_path, [line | {"loss": 0.55 * line["loss"]} for line in lines()]).passed
    tiny = [line | {"loss": line["loss"] / 100} for line in lines()]
    assert not check(tmp_path, tiny).passed
    assert check(tmp_path, tiny, own_objective=True).passed


def test_tokens_of_more_bytes_are_compared_by_the_byte(tmp_path):
    assert not check(tmp_path, lines(), bytes_per_token=4.0).passed
    log = [line | {"loss": 3 * line["loss"]} for line in lines()]
    assert check(tmp_path, log, bytes_per_token=4.0).passed


def test_logs_that_say_little_pass(tmp_path):
    assert check_log(tmp_path, 1000, 1.0).reason == "it left no log"
    assert check(tmp_path, [{"note": "hello"}, {"loss": None}, {"step": True, "loss": "low"}]).passed
    assert check(tmp_path, lines()[:1], planned=1024, bpb=None).passed


# --- written by hand --------------------------------------------------------------------------------


def last(log, **changes):
    return [*log[:-1], log[-1] | changes]


FORGED = {
    "a far lower loss": (lambda log: [line | {"loss": 0.3} for line in log[:10]], "it ends at 0.433 bits"),
    "the same loss": (lambda log: [line | {"loss": 2.2} for line in log], "all 50 losses are 2.2"),
    "more tokens": (lambda log: last(log, tokens=90_000), "it shows 90000 tokens, 51200 were planned"),
    "fewer tokens": (lambda log: log[:40], "it shows 40960 tokens and steps of up to 1024; 51200 were"),
    "steps that go back": (lambda log: [*log[:20], log[5], *log[20:]], "step goes back from 19 to 5"),
    "seconds that go back": (lambda log: last(log, seconds=0.1), "seconds goes back from 0.98 to 0.1"),
    "more seconds": (lambda log: last(log, seconds=5), "it shows 5.0 s, 2.0 s were measured"),
    "a loss that is no number": (lambda log: last(log, loss=math.nan), "a loss is nan"),
    "an infinite loss": (lambda log: last(log, loss=math.inf), "a loss is inf"),
    "negative steps": (lambda log: [line | {"step": line["step"] - 9} for line in log], "step is -9 first"),
    "endless tokens": (lambda log: last(log, tokens=10**400), "tokens is 1024 first and inf last"),
}


@pytest.mark.parametrize("way", FORGED)
def test_numbers_that_cannot_be_are_named(tmp_path, way):
    forge, reason = FORGED[way]
    log = forge(lines())
    planned = 10 * 1024 if way == "a far lower loss" else 50 * 1024
    audit = check(tmp_path, log, planned=planned)
    assert (audit.name, audit.passed) == ("numbers", False)
    assert reason in audit.reason
    assert "\n" not in audit.reason


def test_a_reader_that_counted_otherwise_is_believed_by_nobody(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps({"tokens": 51_200}))
    assert check(tmp_path, lines()).passed
    (tmp_path / "data.json").write_text(json.dumps({"tokens": 153_600}))
    audit = check(tmp_path, lines())
    assert not audit.passed and audit.reason == "it shows 51200 tokens, the reader counted 153600"


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_log_that_is_no_plain_file_is_not_read(tmp_path, kind):
    secret, log = tmp_path / "secret", tmp_path / "out" / "metrics.jsonl"
    log.parent.mkdir()
    secret.write_text(json.dumps(lines()[0]))
    if kind == "link":
        log.symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(log)
    else:
        log.mkdir()
    audit = check_log(log.parent, 1024, 1.0)
    assert not audit.passed and audit.reason == "metrics.jsonl is no plain file"


def test_of_a_huge_log_the_end_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mendel.yardstick.logs.MOST_BYTES", 2000)
    audit = check(tmp_path, lines())
    assert audit.passed and 5 < audit.evidence["lines"] < 40


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_can_be_checked(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("out")
    (out / "metrics.jsonl").write_bytes(data)
    (out / "data.json").write_bytes(data)
    assert "\n" not in check_log(out, 1000, 1.0, 3.0).reason


# --- what a log says on its way ---------------------------------------------------------------------


@given(
    losses=st.lists(
        st.floats(0.1, 9) | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, None]),
        min_size=1,
        max_size=40,
    ),
    cut=st.integers(1, 40),
)
def test_a_log_that_has_grown_says_the_same_of_what_it_had(tmp_path_factory, losses, cut):
    out, planned = tmp_path_factory.mktemp("out"), 100 * len(losses)
    log = [{"step": i, "tokens": 100 * (i + 1), "loss": loss} for i, loss in enumerate(losses)]
    shares = (1 / 3, 1 / 2, 2 / 3)

    def said(lines):
        (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return early_losses(out, planned, shares)

    whole, part = said(log), said(log[:cut])
    assert whole[: len(part)] == part
    assert all(map(math.isfinite, whole))


def test_the_early_loss_is_the_mean_over_the_last_tenth_before_it(tmp_path):
    log = [{"step": i, "tokens": 10 * (i + 1), "loss": float(i)} for i in range(60)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    # Of 1000 planned tokens: lines with more than 400 and at most 500 have the losses 40 to 49.
    assert early_losses(tmp_path, 1000, (1 / 2, 2 / 3)) == (44.5,)


def test_a_sparse_log_is_taken_as_it_stood(tmp_path):
    log = [{"step": i, "tokens": 250 * (i + 1), "loss": float(i)} for i in range(4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    assert early_losses(tmp_path, 1000, (0.2, 1 / 2)) == ()  # nothing is known at the first
    assert early_losses(tmp_path, 1000, (1 / 3, 1 / 2, 2 / 3)) == (0.0, 1.0, 1.0)


def test_a_log_that_is_not_there_yet_says_nothing(tmp_path):
    assert early_losses(tmp_path, 1000, (0.5,)) == ()
