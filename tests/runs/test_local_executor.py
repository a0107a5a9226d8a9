"""What a run may do wrong, and what the lab says of it."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mendel.records import RunStatus
from mendel.runs import ExecutorError, local
from mendel.runs.local import LocalExecutor
from mendel.testing.executor_conformance import drain


def test_a_good_run_writes_its_folder_and_is_measured(any_executor, make_job, run):
    job = make_job("""
        import json, pathlib, sys, time
        out = pathlib.Path(sys.argv[1])
        (out / "checkpoint").write_text("weights")
        (out / "metrics.jsonl").write_text(json.dumps({"tokens": 10}) + "\\n" + json.dumps({"tokens": 512}))
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        time.sleep(0.2)
        print("said", __name__, pathlib.Path.cwd().name, sys.path[0] == str(pathlib.Path.cwd()))
        """)
    result = run(any_executor, job)
    assert result.status is RunStatus.DONE
    assert (job.out / "checkpoint").read_text() == "weights"
    assert result.tokens == 512
    assert 0.2 <= result.cpu_seconds < result.train_seconds
    assert result.train_seconds >= 0.4
    assert (job.out / "train.log").read_text() == "said __main__ source True\n"


def test_a_crash_says_the_last_line_of_its_traceback(any_executor, make_job, run):
    job = make_job("print('step 1')\nraise RuntimeError('shapes \\x1b[31m(2, 3)\\x1b[0m do\\x07 not match')")
    result = run(any_executor, job)
    assert result.status is RunStatus.CRASHED
    assert result.reason == "RuntimeError: shapes (2, 3) do not match"
    log = (job.out / "train.log").read_text()
    assert log.startswith("step 1\nTraceback") and "runpy" not in log and "_mendel" not in log


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("import sys; sys.exit(0)", RunStatus.DONE, ""),
        ("import sys; sys.exit('no data')", RunStatus.CRASHED, "no data"),
        ("import sys; sys.exit(7)", RunStatus.CRASHED, "exit code 7"),
        ("import os; os._exit(9)", RunStatus.CRASHED, "exit code 9"),
        ("def f(:", RunStatus.CRASHED, "SyntaxError: invalid syntax"),
        ("import os; os.abort()", RunStatus.CRASHED, "killed by SIGABRT"),
        ("import sys; print('loss is nan'); sys.exit(3)", RunStatus.DIVERGED, "loss is nan"),
        ("x = bytearray(10**13)", RunStatus.OUT_OF_MEMORY, "MemoryError"),
    ],
)
def test_how_a_run_ends_decides_its_status(executor, make_job, run, code, status, reason):
    result = run(executor, make_job(code))
    assert (result.status, result.reason) == (status, reason)


def test_a_hanging_run_is_ended(any_executor, make_job, run):
    """Nothing else would end it."""
    result = run(any_executor, make_job("while True: pass", timeout=0.5))
    assert result.status is RunStatus.TIMED_OUT
    assert result.reason == "still running after 0.5 s"


def test_a_run_that_ignores_sigterm_is_ended_too(any_executor, make_job, run):
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("not me", flush=True))
        while True: time.sleep(1)
        """
    job = make_job(code, timeout=0.5)
    assert run(any_executor, job).status is RunStatus.TIMED_OUT
    assert "not me" in (job.out / "train.log").read_text()  # it was asked before it was made to


def test_many_small_allocations_end_at_the_memory_limit(any_executor, make_job, run):
    code = "keep = []\nwhile True: keep.append(bytes(1 << 20).replace(b'\\0', b'x'))"
    result = run(any_executor, make_job(code, memory=1.5e8))
    assert result.status is RunStatus.OUT_OF_MEMORY
    assert result.reason == "used more than 150 MB"


def test_memory_of_helper_processes_counts(any_executor, make_job, run):
    code = """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                block = bytearray(b"x" * 60_000_000)
                time.sleep(60)
        time.sleep(60)
        """
    assert run(any_executor, make_job(code, memory=2e8)).status is RunStatus.OUT_OF_MEMORY


def test_a_flood_of_output_is_cut_in_the_middle(any_executor, make_job, run):
    code = "for i in range(400_000): print('line', i)\nraise ValueError('the end')"
    job = make_job(code)
    result = run(any_executor, job)
    assert result.reason == "ValueError: the end"
    log = (job.out / "train.log").read_text()
    assert len(log) < 1_010_000
    assert log.startswith("line 0\n") and log.endswith("ValueError: the end\n") and "left out" in log


def test_nothing_that_a_run_started_outlives_it(any_executor, make_job, run):
    code = """
        import os, sys, time
        for _ in range(3):  # a grandchild in a session of its own, whose parent is gone
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(1.2)
                    open(sys.argv[1] + "/late", "w").close()
                    time.sleep(60)
                os._exit(0)
        """
    job = make_job(code)
    assert run(any_executor, job).status is RunStatus.DONE
    time.sleep(1.5)
    assert not (job.out / "late").exists()


def test_cpu_time_cannot_be_hidden_in_children_that_nobody_waits_for(any_executor, make_job, run):
    code = """
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if os.fork() == 0:
            end = time.process_time() + 0.5
            while time.process_time() < end: pass
            time.sleep(0.3)
            os._exit(0)
        try: os.wait()
        except ChildProcessError: pass
        """
    assert run(any_executor, make_job(code)).cpu_seconds >= 0.4


def test_a_fork_bomb_is_ended(executor, needs_namespaces, make_job, run):
    code = "import os, time\nfor _ in range(400):\n  if os.fork() == 0: time.sleep(60)\ntime.sleep(60)"
    result = run(executor, make_job(code, memory=1e11))
    assert (result.status, result.reason) == (RunStatus.CRASHED, "started too many processes")


def test_runs_see_no_credentials_and_their_own_environment(executor, make_job, run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    with_key = LocalExecutor(workers=1)
    code = """
        import os
        assert "ANTHROPIC_API_KEY" not in os.environ
        assert (os.environ["OMP_NUM_THREADS"], os.environ["DIAL"]) == ("1", "4")
        """
    result = run(with_key, make_job(code, env={"DIAL": "4"}))
    with_key.close()
    assert (result.status, result.reason) == (RunStatus.DONE, "")


def test_runs_inherit_no_open_files_and_no_modules_of_the_lab(any_executor, make_job, run):
    code = """
        import os, sys
        fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
        assert sorted(fds) == [0, 1, 2, 3], fds  # 3 is the listing itself
        assert sys.stdin.read() == ""
        assert not any(path.rstrip("/").endswith("mendel/runs") for path in sys.path), sys.path
        assert "mendel" not in sys.modules
        """
    result = run(any_executor, make_job(code))
    assert result.reason == ""


def test_equal_runs_hash_equally(make_job, run):
    logs = set()
    for name in ("a", "b"):
        executor = LocalExecutor(workers=1)
        job = make_job("print(hash('order'))", name)
        run(executor, job)
        executor.close()
        logs.add((job.out / "train.log").read_text())
    assert len(logs) == 1


def test_a_lost_parent_is_replaced_and_its_runs_are_done_again(make_job):
    executor = LocalExecutor(workers=2)
    code = """
        import os, sys, time
        assert os.listdir(sys.argv[1]) == ["train.log"], "the folder of the first attempt was not cleaned"
        open(sys.argv[1] + "/started", "w").close()
        time.sleep(1)
        """
    jobs = [make_job(code, name) for name in ("a", "b")]
    for job in jobs:
        executor.submit(job)
    wait_until(lambda: all((job.out / "started").exists() for job in jobs))
    os.kill(executor._zygote._process.pid, signal.SIGKILL)
    results = drain(executor, 2)
    executor.close()
    assert [results[name].reason for name in ("a", "b")] == ["", ""]


def test_the_campaign_may_be_killed_and_its_runs_end(make_job, tmp_path):
    job = make_job("import os, sys, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    campaign = os.fork()
    if campaign == 0:
        try:
            executor = LocalExecutor(workers=1)
            (tmp_path / "zygote").write_text(str(executor._zygote._process.pid))
            executor.submit(job)
            time.sleep(60)
        finally:
            os._exit(0)
    wait_until(lambda: (job.out / "train.log").exists() and (job.out / "train.log").read_text())
    zygote = int((tmp_path / "zygote").read_text())
    family = descendants(zygote)
    assert len(family) >= 2  # the guardian and the run
    os.kill(campaign, signal.SIGKILL)
    os.waitpid(campaign, 0)
    wait_until(lambda: not any(alive(pid) for pid in (zygote, *family)), seconds=5)


def test_closing_ends_a_run_and_does_not_wait_for_it(make_job, monkeypatch):
    monkeypatch.setattr(local, "_GOODBYE", 100.0)
    executor = LocalExecutor(workers=1)
    job = make_job("import time\nprint('up', flush=True)\ntime.sleep(200)", timeout=300)
    executor.submit(job)
    wait_until(lambda: (job.out / "train.log").exists() and (job.out / "train.log").read_text())
    family = descendants(executor._zygote._process.pid)
    start = time.monotonic()
    executor.close()
    assert time.monotonic() - start < 50
    wait_until(lambda: not any(alive(pid) for pid in family), seconds=3)


def test_a_module_that_cannot_be_imported_is_named():
    with pytest.raises(ExecutorError, match="cannot import 'no_such_module' with .*: ModuleNotFoundError"):
        LocalExecutor(preload=("json", "no_such_module"))
    with pytest.raises(ExecutorError, match="cannot start the testbed's interpreter '/no/python'"):
        LocalExecutor(python="/no/python")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"argv": ("missing.py",)}, "'missing.py' is not a file"),
        ({"argv": ("../../escape.py",)}, "'../../escape.py' is not a file in"),
        ({"timeout": 0.0}, "timeout = 0.0"),
        ({"scorer": ("score.py", (float,))}, "'score.py' is not a file"),
    ],
)
def test_a_job_without_its_files_is_the_callers_mistake(executor, make_job, change, message):
    with pytest.raises(ValueError, match=message):
        executor.submit(replace(make_job("pass"), **change))


def descendants(pid):
    from mendel.runs.sandbox.none import below

    return below(pid)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def alive(pid):
    """Whether a process of this machine still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_may_be_stopped_by_what_it_wrote(executor, make_job, run):
    job = make_job("""
        import pathlib, sys, time
        out = pathlib.Path(sys.argv[1])
        for step in range(100):
            with (out / "metrics.jsonl").open("a") as log:
                log.write('{"tokens": %d}\\n' % step)
            time.sleep(0.1)
        """)
    log = job.out / "metrics.jsonl"
    job = replace(job, stop=lambda: log.is_file() and len(log.read_text().splitlines()) >= 5)
    result = run(executor, job)
    assert result.status is RunStatus.STOPPED
    assert 4 <= result.tokens < 60
    assert result.train_seconds < 6 and result.cpu_seconds > 0
    assert run(executor, make_job("print('next')")).status is RunStatus.DONE
