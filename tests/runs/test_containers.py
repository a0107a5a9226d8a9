"""Docker and Apptainer: their commands, given to a stand-in that executes them with bubblewrap. What a real
engine does with the same commands was not tried."""

import shutil
import sys
from pathlib import Path

import pytest

from mendel.records import RunStatus
from mendel.runs import ExecutorError, SandboxError
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox.selfcheck import check

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="the stand-in needs bubblewrap")


@pytest.fixture(scope="module", params=["docker", "apptainer"])
def engine(request, tmp_path_factory):
    """The name of an engine whose stand-in comes first on the path."""
    folder = tmp_path_factory.mktemp(request.param)
    script = folder / request.param
    script.write_text(f"#!{sys.executable}\n" + (HERE / "engine_stand_in.py").read_text())
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=":")
        yield request.param


@pytest.fixture(scope="module")
def contained(engine):
    local = LocalExecutor(workers=1, sandbox=engine, image="image", preload=("json", "numpy"))
    yield local
    local.close()


def test_a_run_is_measured_like_any_other(contained, make_job, run):
    code = """
        import os, sys, time
        assert "numpy" in sys.modules and os.environ["HOME"] == "/tmp/home"
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        open(sys.argv[1] + "/metrics.jsonl", "w").write('{"tokens": 7}')
        open("/tmp/own", "w").write("x"); open("/dev/shm/own", "w").write("x")
        print("hello")
        """
    job = make_job(code)
    result = run(contained, job)
    assert (result.status, result.reason, result.tokens) == (RunStatus.DONE, "", 7)
    assert 0.15 < result.cpu_seconds < result.train_seconds + 0.1 < 5
    assert (job.out / "train.log").read_text() == "hello\n"
    assert sorted(path.name for path in job.out.iterdir()) == ["metrics.jsonl", "train.log"]


def test_a_run_is_scored_over_standard_input_and_output(contained, make_job, run):
    score = """
        import numpy as np
        print("this is for the log")
        def load(folder):
            return lambda tokens: np.full((tokens.shape[0], tokens.shape[1] - 1), -0.5)
        """

    def scorer(sock):
        import struct

        import numpy as np

        sock.sendall(struct.pack("<III", 1, 2, 3) + np.arange(6, dtype="<u2").tobytes())
        stream = sock.makefile("rb")
        assert struct.unpack("<III", stream.read(12)) == (1, 2, 2)
        scores = np.frombuffer(stream.read(16), dtype="<f4")
        sock.sendall(struct.pack("<III", 0, 0, 0))
        return float(-scores.mean())

    job = make_job("pass", score=score, scorer=("score.py", (scorer,)))
    result = run(contained, job)
    assert (result.status, result.bits_per_byte, result.reason) == (RunStatus.DONE, 0.5, "")
    assert (job.out / "score.log").read_text() == "this is for the log\n"


@pytest.mark.parametrize(
    ("code", "limits", "status", "reason"),
    [
        ("raise KeyError('x')", {}, RunStatus.CRASHED, "KeyError: 'x'"),
        ("import os; os.abort()", {}, RunStatus.CRASHED, "killed by SIGABRT"),
        ("while True: pass", {"timeout": 1.0}, RunStatus.TIMED_OUT, "still running after 1 s"),
        ("x = [bytearray(b'x' * 10**6) for _ in range(10**4)]", {"memory": 2e8}, RunStatus.OUT_OF_MEMORY, ""),
        (
            "import os\nwhile True: os.fork()",
            {"memory": 1e12},
            RunStatus.CRASHED,
            "started too many processes",
        ),
    ],
)
def test_the_true_cause_is_named(contained, make_job, run, code, limits, status, reason):
    result = run(contained, make_job(code, **limits))
    assert (result.status, result.reason if reason else "") == (status, reason)


def test_it_passes_the_self_check(contained):
    assert [(one.name, one.detail) for one in check(contained) if not one.passed] == []


def test_hidden_text_inside_the_image_is_refused(engine, make_job):
    import hypothesis

    hidden = Path(hypothesis.__file__).parent / "version.py"
    executor = LocalExecutor(workers=1, sandbox=engine, image="image", hidden=(hidden,))
    executor.submit(make_job("pass"))
    with pytest.raises(ExecutorError, match="version.py is in the sandbox, and runs are scored on it"):
        executor.wait(60)
    executor.close()


def test_an_image_is_asked_for_and_must_be_there(engine):
    with pytest.raises(SandboxError, match="no image is named"):
        LocalExecutor(sandbox=engine)
    with pytest.raises(SandboxError, match="no such image: other"):
        LocalExecutor(sandbox=engine, image="other")
