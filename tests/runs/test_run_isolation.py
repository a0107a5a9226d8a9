"""What a run sees of the machine, from inside."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mendel.runs.isolation
from mendel.records import RunStatus
from mendel.runs.isolation import probe
from mendel.runs.local import LocalExecutor


def check(executor, make_job, run, code, **fields):
    """Runs `code`; returns its reason, empty when all of its own assertions held."""
    result = run(executor, make_job("import os, sys\nfrom pathlib import Path\n" + code, **fields))
    assert result.status is RunStatus.DONE or result.reason
    return result.reason


def test_the_probe_agrees_with_the_executor(executor):
    assert probe() == executor.isolation
    assert executor.isolation.warning == ""


def test_namespaces_are_used_wherever_the_system_has_them(executor):
    """Without this, walls with a hole would only show as skipped tests."""
    command = ["unshare", "--user", "--map-current-user", "--mount", "--pid", "--net", "--fork", "true"]
    if shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0:
        assert executor.isolation.level == "namespaces", executor.isolation.reason


def test_switching_isolation_off_is_recorded_with_a_warning(bare_executor):
    assert bare_executor.isolation.level == "none"
    assert "not isolated (switched off)" in bare_executor.isolation.warning


@pytest.mark.usefixtures("needs_namespaces")
def test_a_run_cannot_reach_the_network(executor, make_job, run):
    code = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=2)"
    assert "Network is unreachable" in check(executor, make_job, run, code)
    code = "import socket\ns = socket.socket(socket.AF_UNIX); s.connect('\\0/tmp/.X11-unix/X0')"
    assert "Connection refused" in check(executor, make_job, run, code)


@pytest.mark.usefixtures("needs_namespaces")
def test_a_run_sees_neither_siblings_nor_the_home_folder_nor_the_checkout(executor, make_job, run, tmp_path):
    sibling = make_job("pass", "sibling")
    (sibling.out / "checkpoint").write_text("weights")
    checkout = Path(__file__).parents[2]
    code = f"""
assert not Path({str(sibling.out)!r}).exists()
assert sorted(os.listdir({str(tmp_path)!r})) == ["run"]
assert os.listdir(Path.home()) == [] and Path.home() == Path("/tmp/home")
assert not Path({str(checkout / "pyproject.toml")!r}).exists()
assert not Path("/etc/shadow").exists() and not Path("/sys/kernel").exists()
assert not Path("/var").exists() and not Path("/root/.ssh").exists() and not Path("/run").exists()
"""
    assert check(executor, make_job, run, code) == ""


@pytest.mark.usefixtures("needs_namespaces")
def test_only_the_output_folder_is_written(executor, make_job, run, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "train.bin").write_bytes(b"abc")
    code = f"""
def refused(path):
    try:
        Path(path).write_text("changed")
    except OSError as error:
        return error.errno in (1, 13, 30)
assert Path({str(tokens / "train.bin")!r}).read_bytes() == b"abc"
for path in ({str(tokens / "train.bin")!r}, "train.py", "new.py", "/usr/new", "/new", sys.prefix + "/new",
             "/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory"):
    assert refused(path), path
Path(sys.argv[1], "result").write_text("mine")
Path("/tmp/scratch").write_text("private")
"""
    assert check(executor, make_job, run, code, readable=(tokens,)) == ""
    assert (tmp_path / "run/out/result").read_text() == "mine"
    assert not Path("/tmp/scratch").exists()


@pytest.mark.usefixtures("needs_namespaces")
def test_hidden_paths_are_empty_below_a_readable_folder(make_job, run, tmp_path):
    library = tmp_path / "library"
    for name in ("train", "validation"):
        (library / name).mkdir(parents=True)
        (library / name / "module.py").write_text("text = 'to learn'")
    (library / "one.py").write_text("secret")
    executor = LocalExecutor(workers=1, hidden=(library / "validation", library / "one.py", library / "none"))
    code = f"""
library = Path({str(library)!r})
assert (library / "train/module.py").read_text()
assert os.listdir(library / "validation") == []
assert (library / "one.py").read_bytes() == b""
"""
    assert check(executor, make_job, run, code, readable=(library,)) == ""
    executor.close()


@pytest.mark.usefixtures("needs_namespaces")
def test_a_run_sees_only_its_own_processes_and_cannot_touch_its_guardian(executor, make_job, run):
    code = """
import signal
assert sorted(int(n) for n in os.listdir("/proc") if n.isdigit()) == [1, os.getpid()]
os.kill(1, signal.SIGKILL)  # process 1 is deaf to its own namespace
os.kill(1, signal.SIGSTOP)
try:
    open("/proc/1/mem", "rb")
except OSError:
    pass
else:
    raise AssertionError("the guardian's memory can be opened")
"""
    assert check(executor, make_job, run, code) == ""


@pytest.mark.usefixtures("needs_namespaces")
def test_a_run_has_no_capabilities_and_gets_no_new_namespaces(executor, make_job, run):
    code = """
import ctypes
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
assert all(int(status[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapBnd", "CapInh")), status
assert status["NoNewPrivs"] == "1"
assert ctypes.CDLL(None).unshare(0x10000000) == -1
"""
    assert check(executor, make_job, run, code) == ""


def test_the_interpreter_works_inside(executor, make_job, run):
    code = f"""
import ctypes, json, sqlite3, ssl, subprocess, multiprocessing, pwd
assert sys.executable == {sys.executable!r}
done = subprocess.run([sys.executable, "-c", "import numpy; print(numpy.ones(2).sum())"], capture_output=True)
assert done.stdout == b"2.0\\n", done
multiprocessing.Lock()
assert os.urandom(4) and pwd.getpwuid(os.getuid()) and open("/dev/stdout", "w")
"""
    assert check(executor, make_job, run, code) == ""


def test_folders_reached_through_links_keep_their_names(executor, make_job, run, tmp_path):
    (tmp_path / "disk" / "tokens").mkdir(parents=True)
    (tmp_path / "disk" / "tokens" / "train.bin").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    linked = tmp_path / "link" / "tokens"
    code = f"assert Path({str(linked)!r}, 'train.bin').read_bytes() == b'abc'"
    assert check(executor, make_job, run, code, readable=(linked,)) == ""


def test_without_namespaces_a_run_still_runs_and_the_level_says_so(bare_executor, make_job, run):
    assert run(bare_executor, make_job("import os; os.setpgid")).status is RunStatus.DONE


@pytest.mark.usefixtures("needs_namespaces")
def test_where_namespaces_are_refused_the_probe_says_why(executor, make_job, run):
    """Inside a run they are refused, as in many containers."""
    job = make_job("import isolation; print(isolation.probe())")
    copy = Path(mendel.runs.isolation.__file__).read_text()
    (job.source / "isolation.py").write_text(copy)
    assert run(executor, job).reason == ""
    report = (job.out / "train.log").read_text()
    assert "level='none'" in report and "refuses new namespaces: limit" in report
