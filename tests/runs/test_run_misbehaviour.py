"""A run that forks, fills memory or disk, ignores signals, floods or paints the terminal, behind every kind
of wall: it ends with the true cause, nothing of it is left, and the next run is a good one."""

import shutil
import time
from pathlib import Path

import pytest

from mendel.records import RunStatus

FORKS = """
    import os, time
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
    """
FAST_FORKS = """
    import os, sys
    while True:  # always a new process, each in a session of its own, and never many
        if os.fork() == 0: os.setsid()
        else: os._exit(0)
    """
MEMORY = "keep = []\nwhile True: keep.append(b'x' * (1 << 22))"
DISK = """
    import sys, time
    for number in range(200):
        open(f"{sys.argv[1]}/part{number}", "wb").write(b"x" * (1 << 20))
    time.sleep(60)
    """
ONE_FILE = "import sys\nfile = open(sys.argv[1] + '/big', 'wb')\nwhile True: file.write(bytes(1 << 20))"
TEMPORARY = """
    import tempfile, time
    for _ in range(200):
        tempfile.NamedTemporaryFile(delete=False).write(b"x" * (1 << 20))
    time.sleep(60)
    """
NAMELESS = """
    import os, sys, time
    keep = []
    for number in range(100):
        keep.append(open(f"{sys.argv[1]}/part", "wb"))
        os.unlink(f"{sys.argv[1]}/part")
        keep[-1].write(b"x" * (1 << 20)); keep[-1].flush()
    time.sleep(10)
    """
FILES = "import sys\nfor number in range(12_000): open(f'{sys.argv[1]}/{number}', 'w').close()"
DEEP = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(3000): os.mkdir('d' * 200); os.chdir('d' * 200)"
CLOSED = """
    import os, sys
    for name in ("a", "a/b", "a/b/c"): os.mkdir(f"{sys.argv[1]}/{name}")
    for name in ("a/b/c", "a/b", "a"): os.chmod(f"{sys.argv[1]}/{name}", 0)
    for number in range(30): open(f"{sys.argv[1]}/{number}", "wb").write(b"x" * (1 << 21))
    """
DEAF = """
    import signal, time
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
    while True: time.sleep(1)
    """
CPU = """
    import os, time
    if os.fork(): time.sleep(60)  # the helper works
    while True: pass
    """
ENDS = {
    "forks": (FORKS, {"memory": 1e11}, RunStatus.CRASHED, "started too many processes"),
    "forks fast": (FAST_FORKS, {"timeout": 1.0}, RunStatus.DONE, ""),
    "memory": (MEMORY, {"memory": 2e8}, RunStatus.OUT_OF_MEMORY, "used more than 200 MB"),
    "disk": (DISK, {"disk": 5e7}, RunStatus.CRASHED, "wrote more than 50 MB"),
    "one file": (ONE_FILE, {"disk": 5e7}, RunStatus.CRASHED, "wrote more than 50 MB"),
    "temporary": (TEMPORARY, {"disk": 5e7}, RunStatus.CRASHED, "wrote more than 50 MB"),
    "nameless": (NAMELESS, {"disk": 5e7}, RunStatus.CRASHED, "wrote more than 50 MB"),
    "files": (FILES, {"timeout": 60.0}, RunStatus.CRASHED, "wrote more than 10000 files"),
    "deep": (DEEP, {}, RunStatus.CRASHED, "put folders too deep into one another"),
    "closed": (CLOSED, {"disk": 5e7}, RunStatus.CRASHED, "wrote more than 50 MB"),
    "deaf": (DEAF, {"timeout": 0.5}, RunStatus.TIMED_OUT, "still running after 0.5 s"),
    "cpu": (CPU, {"cpu_share": 0.03}, RunStatus.TIMED_OUT, "used more than 0.6 s of CPU time"),
}


def left_behind(job):
    """Processes of this machine that work in the run's source folder."""
    found = []
    for name in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
        try:
            if Path(f"/proc/{name}/cwd").readlink() == job.source:
                found.append(name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ENDS)
def test_the_true_cause_is_named_and_nothing_is_left(any_executor, make_job, run, name):
    code, limits, status, reason = ENDS[name]
    job = make_job(code, **limits)
    start = time.monotonic()
    result = run(any_executor, job)
    assert time.monotonic() - start < 60
    assert (result.status, result.reason.replace("a file of ", "")) == (status, reason)
    assert left_behind(job) == []
    written = sum(path.stat().st_size for path in job.out.rglob("*") if path.is_file())
    assert written < 6e7 or name == "one file"
    assert not (job.out / ".scratch").exists()
    shutil.rmtree(job.source.parent)
    assert run(any_executor, make_job("print('next')", "next")).status is RunStatus.DONE


def test_a_run_that_prints_a_gigabyte_is_ended_and_little_of_it_is_kept(any_executor, make_job, run):
    code = """
        import sys
        block = "line\\n" * (1 << 18)
        for _ in range(800): sys.stdout.write(block)
        """
    job = make_job(code, timeout=60.0)
    result = run(any_executor, job)
    assert (result.status, result.reason) == (RunStatus.CRASHED, "printed more than 100 MB")
    log = (job.out / "train.log").read_text()
    assert len(log) < 1_010_000 and "bytes of output left out" in log


def test_long_output_keeps_its_beginning_and_its_end(any_executor, make_job, run):
    code = """
        print("the beginning")
        for _ in range(50): print("line\\n" * (1 << 18))
        raise ValueError("the end")
        """
    job = make_job(code, timeout=60.0)
    result = run(any_executor, job)
    assert (result.status, result.reason) == (RunStatus.CRASHED, "ValueError: the end")
    log = (job.out / "train.log").read_text()
    assert log.startswith("the beginning\n") and log.endswith("ValueError: the end\n")
    assert len(log) < 1_010_000 and "bytes of output left out" in log


def test_no_terminal_escape_is_kept(any_executor, make_job, run):
    code = r"""
        import sys
        for text in ("\x1b[2J\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b2J", "bell\x07", "over\rwritten",
                     "\u202eturned", "half \x1b"):
            print(text)
        sys.stdout.buffer.write(b"\xc2"); sys.stdout.flush(); sys.stdout.buffer.write(b"\x9b31m\n")
        raise ValueError("\x1b[31mred\x1b[0m \x1b]0;title\x07\x9bdone\u202e")
        """
    job = make_job(code)
    result = run(any_executor, job)
    assert result.reason == "ValueError: red done"
    log = (job.out / "train.log").read_text()
    assert all(character.isprintable() or character in "\n\t" for character in log), repr(log)
    assert log.startswith("red\n\n2J\nbell\nover\nwritten\nturned\nhalf \n")


def test_a_run_that_writes_its_own_log_is_overruled(any_executor, make_job, run):
    for number, change in enumerate(("open(log, 'w').write('\\x1b[2J')", "os.unlink(log); os.mkdir(log)")):
        code = f"import os, sys\nlog = sys.argv[1] + '/train.log'\nprint('true')\n{change}"
        job = make_job(code, f"run{number}")
        assert run(any_executor, job).status is RunStatus.DONE
        assert (job.out / "train.log").read_text() == "true\n"
