"""The run's own score file, asked from outside through frames of tokens."""

import math
import struct
import time

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
    total, count = 0.0, 0
    with sock.makefile("rwb") as stream:
        for batch in range(1, batches + 1):
            tokens = np.random.default_rng(batch).integers(0, 256, (batch, 9), dtype=np.uint8)
            scores = exchange(stream, 1, tokens)
            total, count = total + float(scores.sum()), count + scores.size
        stream.write(struct.pack("<III", 0, 0, 0))
    return -total / count / math.log(2)


def exchange(stream, kind, tokens):
    """One question and its answer."""
    stream.write(struct.pack("<III", kind, *tokens.shape) + tokens.astype("<u2").tobytes())
    stream.flush()
    found, rows, columns = struct.unpack("<III", stream.read(12))
    assert found == kind
    return np.frombuffer(stream.read(4 * rows * columns), "<f4").reshape(rows, columns)


def test_a_run_is_scored_from_what_it_left(any_executor, make_job, run):
    result = run(any_executor, make_job(TRAIN, score=SCORE, scorer=("score.py", (lambda s: ask(s, 5),))))
    assert result.status is RunStatus.DONE, result.reason
    assert result.bits_per_byte == pytest.approx(2.0)
    assert 0 < result.score_seconds < 20


def test_a_failed_run_is_not_scored(executor, make_job, run):
    def never(sock):
        raise AssertionError("a failed run was scored")

    result = run(executor, make_job("1/0", score=SCORE, scorer=("score.py", (never,))))
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
    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", (ask,))))
    assert result.status is RunStatus.CRASHED
    assert result.reason.startswith(reason)


def test_a_hanging_score_file_times_out(executor, make_job, run):
    score = "import time\ndef load(folder): time.sleep(60)"
    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", (ask,)), timeout=0.7))
    assert (result.status, result.reason) == (RunStatus.TIMED_OUT, "scoring: still running after 0.7 s")


# --- sessions -----------------------------------------------------------------------------------------------


COUNTS = """
    import math, os, numpy as np
    def load(folder):
        log, asked = folder + "/score.log", []
        told = os.path.exists(log) and "asked" in open(log).read()
        def model(tokens):
            asked.append(1)
            print("asked", len(asked))
            p = 1.0 if told else 0.5 ** len(asked)
            return np.full((tokens.shape[0], tokens.shape[1] - 1), math.log(p))
        return model
    """
"""Half as probable at each question, and certain where a log tells what another process was asked."""


def test_each_session_has_a_process_of_its_own_and_the_first_gives_the_score(any_executor, make_job, run):
    said = []

    def session(batches):
        return lambda sock: said.append(ask(sock, batches)) or said[-1]

    job = make_job(TRAIN, score=COUNTS, scorer=("score.py", (session(2), session(1), session(1))))
    result = run(any_executor, job)
    assert result.status is RunStatus.DONE, result.reason
    assert said == pytest.approx([(8 * 1 + 16 * 2) / 24, 1.0, 1.0])
    assert result.bits_per_byte == said[0]


def test_a_session_that_fails_ends_the_scoring_and_all_that_ran_are_counted(executor, make_job, run):
    def never(sock):
        raise AssertionError("a third session")

    def slow(sock):
        time.sleep(0.5)
        return ask(sock)

    job = make_job(TRAIN, score=SCORE, scorer=("score.py", (slow, not_finite, never)))
    result = run(executor, job)
    assert (result.status, result.bits_per_byte) == (RunStatus.DIVERGED, None)
    assert result.score_seconds > 0.5


# --- what comes next ----------------------------------------------------------------------------------------


NEXT = """
    import numpy as np
    class Model:
        def __call__(self, tokens): return -tokens[:, 1:] / 100
        def next_token(self, tokens):
            assert tokens.dtype == np.int64
            return -np.arange(300) / 100 - tokens[:, -1:]
    load = lambda folder: Model()
    """
WITHOUT = "def load(folder): return lambda tokens: -(tokens[:, 1:] + tokens[:, :-1] / 2) / 100"


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (NEXT, lambda prefixes: -np.arange(300) / 100 - prefixes[:, -1:]),
        (WITHOUT, lambda prefixes: -(np.arange(256) + prefixes[:, -1:] / 2) / 100),
    ],
)
def test_distributions_come_from_next_token_or_from_asking_every_byte(
    executor, make_job, run, score, expected
):
    prefixes = np.random.default_rng(0).integers(0, 256, (3, 7))
    found = []

    def session(sock):
        with sock.makefile("rwb") as stream:
            found.append(exchange(stream, 2, prefixes))
        return ask(sock)

    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", (session,))))
    assert result.status is RunStatus.DONE, result.reason
    assert found[0] == pytest.approx(expected(prefixes.astype(float)), rel=1e-5)


def test_a_distribution_of_another_shape_is_the_runs_crash(executor, make_job, run):
    def session(sock):
        with sock.makefile("rwb") as stream:
            exchange(stream, 2, np.zeros((3, 7), np.uint16))

    score = NEXT.replace("- tokens[:, -1:]", "")
    result = run(executor, make_job(TRAIN, score=score, scorer=("score.py", (session,))))
    said = "scoring: ValueError: score.py: next_token returned shape (300,), expected (3, 1 to 65536)"
    assert (result.status, result.reason) == (RunStatus.CRASHED, said)


# --- what a scorer raises -----------------------------------------------------------------------------------


class NotFinite(Exception):
    diverged = True


def not_finite(sock):
    raise NotFinite("3 of 8 scores are not finite")


class Caught(Exception):
    audit = "future"


def caught(sock):
    raise Caught("a prediction depends\n on text after it")


@pytest.mark.parametrize(
    ("scorer", "status", "reason"),
    [
        (caught, RunStatus.REJECTED, "future: on text after it"),
        (not_finite, RunStatus.DIVERGED, "scoring: 3 of 8 scores are not finite"),
        (lambda sock: ask(sock) * math.nan, RunStatus.DIVERGED, "scoring: nan bits per byte"),
        (lambda sock: [][ask(sock) > 0], RunStatus.CRASHED, "scoring: IndexError: list index out of range"),
    ],
)
def test_what_the_scorer_raises_becomes_the_status(executor, make_job, run, scorer, status, reason):
    result = run(executor, make_job(TRAIN, score=SCORE, scorer=("score.py", (scorer,))))
    assert (result.status, result.reason) == (status, reason)


def test_scoring_cannot_change_the_run(executor, needs_namespaces, make_job, run):
    score = "def load(folder): open(folder + '/model', 'w')"
    job = make_job(TRAIN, score=score, scorer=("score.py", (ask,)))
    assert "Read-only file system" in run(executor, job).reason
    assert (job.out / "model").read_text() == "0.25"


def test_a_log_planted_as_a_link_is_not_followed(bare_executor, make_job, run, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    train = f"{TRAIN}\nimport os; os.symlink({str(precious)!r}, sys.argv[1] + '/score.log')"
    job = make_job(train, score=f"print('overwrite')\n{SCORE.strip()}", scorer=("score.py", (ask,)))
    run(bare_executor, job)
    assert precious.read_text() == "keep me"
