"""The built-in trainer's score file: what it says of a token does not depend on the question."""

import os
import subprocess
import sys

import numpy as np
import pytest

from mendel.records import RunStatus
from mendel.runs import Job
from mendel.runs.local import LocalExecutor
from mendel.testbeds import BUILT_IN
from mendel.yardstick import ask_prefixes, ask_stream, check_prefixes, check_stream
from yardstick.texts import text

pytest.importorskip("torch")


def test_a_model_whose_context_is_shorter_than_a_window_passes_all_audits(tmp_path):
    (tmp_path / "train.bin").write_bytes("\0".join(text(i) for i in range(8)).encode())
    arguments = ["--data", str(tmp_path / "train.bin"), "--out", str(tmp_path), "--tokens", "4096"]
    done = subprocess.run(
        [sys.executable, str(BUILT_IN["gpt"] / "train.py"), *arguments, "--set", "context=48"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    data = np.frombuffer(text(99).encode(), np.uint8)
    sent = np.stack([data[start : start + 101] for start in range(0, 3200, 200)])
    found = []

    def stream(channel):
        found.append(ask_stream(channel, sent))
        return found[0].bits_per_byte

    def prefixes(channel):
        asked = ask_prefixes(channel, sent, found[0])
        found.append((asked.moved, check_stream(found[0]) + check_prefixes(found[0], asked)))
        return 0.0

    job = Job(
        id="short",
        source=BUILT_IN["gpt"],
        argv=("config.py",),
        out=tmp_path,
        timeout=60,
        memory=4e9,
        scorer=("score.py", (stream, prefixes)),
    )
    executor = LocalExecutor(workers=1)
    try:
        executor.submit(job)
        ((_, result),) = executor.wait(60)
    finally:
        executor.close()
    assert (result.status, result.reason) == (RunStatus.DONE, "")
    assert 2 < result.bits_per_byte < 8
    moved, audits = found[1]
    assert moved == 0 and all(audit.passed for audit in audits)
