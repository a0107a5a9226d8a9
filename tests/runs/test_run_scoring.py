"""The run's own score file, asked from outside through frames of tokens."""

import math
import struct

import numpy as np
import pytest

from mendel.records import RunStatus

TRAIN = "import sys; open(sys.argv[1] + '/model', 'w').write('0.25')"
SCORE = """
    import math, numpy as np
    def load(folder):
        p = float(open(folder + "/model").read())
        def model(tokens):
            assert tokens.dtype == np.int64 and tokens.ndim == 2
            return np.full((tokens.shape[0], tokens.shape[1] - 1), math.log(p))
        return model
    """


def ask(sock, batches=1):
    """Bits per byte of random tokens: the trusted side of the protocol, in short."""
    stream = sock.makefile("rwb")
    total, count = 0.0, 0
    for batch in range(1, batches + 1):
        tokens = np.random.default_rng(batch).integers(0, 256, (batch, 9), dtype=np.uint8)
        stream.write(struct.pack("<II", *tokens.shape) + tokens.astype("<u2").tobytes())
        stream.flush()
        rows, columns = struct.unpack("<II", stream.read(8))
        scores = np.frombuffer(stream.read(4 * rows * columns), "<f4").reshape(rows, columns)
        total, count = total + float(scores.sum()), count + scores.size
    stream.write(struct.pack("<II", 0, 0))
    stream.flush()
    return -total / count / math.log(2)


def test_a_run_is_scored_from_what_it_left(any_executor, make_job, run):
    result = run(any_executor, make_job(TRAIN, score=SCORE, scorer=("score.py", lambda s: ask(s, 5))))
    assert result.status is RunStatus.DONE, result.reason
    assert result.bits_per_byte == pytest.approx(2.0)
    assert 0 < result.score_seconds < 20


def test_a_failed_run_is_not_scored(executor, make_job, run):
    def never(sock):
        raise AssertionError("a failed run was scored")

    result = run(executor, make_job("1/0", score=SCORE, scorer=("score.py", never)))
    assert (result.status, result.bits_per_byte) == (RunStatus.CRASHED, None)
    assert result.reason == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        ("def load(folder): raise KeyError('weights')", "scoring: KeyError: 'weights'"),
        ("def load(f): return lambda t: t[0]", "scoring: ValueError: score.py returned shape (9,), expected"),
        ("import os; os._exit(5)", "scoring: exit code 5"),
        ("import sys; sys.exit(3)", "scoring: exit code 3"),
    ],
)
def test_a_broken_score_file_is_the_runs_crash_and_says_why(executor, make_job, run, score, reason):
    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", ask)))
    assert result.status is RunStatus.CRASHED
    assert result.reason.startswith(reason)


def test_a_hanging_score_file_times_out(executor, make_job, run):
    score = "import time\ndef load(folder): time.sleep(60)"
    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", ask), timeout=0.7))
    assert (result.status, result.reason) == (RunStatus.TIMED_OUT, "scoring: still running after 0.7 s")


class NotFinite(Exception):
    diverged = True


def not_finite(sock):
    raise NotFinite("3 of 8 scores are not finite")


@pytest.mark.parametrize(
    ("scorer", "status", "reason"),
    [
        (not_finite, RunStatus.DIVERGED, "scoring: 3 of 8 scores are not finite"),
        (lambda sock: ask(sock) * math.nan, RunStatus.DIVERGED, "scoring: nan bits per byte"),
        (lambda sock: [][ask(sock) > 0], RunStatus.CRASHED, "scoring: IndexError: list index out of range"),
    ],
)
def test_what_the_scorer_raises_becomes_the_status(executor, make_job, run, scorer, status, reason):
    result = run(executor, make_job(TRAIN, score=SCORE, scorer=("score.py", scorer)))
    assert (result.status, result.reason) == (status, reason)


def test_scoring_cannot_change_the_run(executor, needs_namespaces, make_job, run):
    score = "def load(folder): open(folder + '/model', 'w')"
    job = make_job(TRAIN, score=score, scorer=("score.py", ask))
    assert "Read-only file system" in run(executor, job).reason
    assert (job.out / "model").read_text() == "0.25"


def test_a_log_planted_as_a_link_is_not_followed(bare_executor, make_job, run, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    train = f"{TRAIN}\nimport os; os.symlink({str(precious)!r}, sys.argv[1] + '/score.log')"
    job = make_job(train, score=f"print('overwrite')\n{SCORE.strip()}", scorer=("score.py", ask))
    run(bare_executor, job)
    assert precious.read_text() == "keep me"
