"""What a run sees of the machine, from inside, behind each kind of wall."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mendel.runs.sandbox
from mendel.records import RunStatus
from mendel.runs import SandboxError
from mendel.runs.local import LocalExecutor
from mendel.runs.sandbox import AUTOMATIC, SandboxReport, landlock


def check(executor, make_job, run, code, **fields):
    """Runs `code`; returns its reason, empty when all of its own assertions held."""
    result = run(executor, make_job("import os, sys\nfrom pathlib import Path\n" + code, **fields))
    assert result.status is RunStatus.DONE or result.reason
    return result.reason


REFUSED = """
def refused(path, mode="r"):
    try:
        open(path, mode).close()
    except OSError as error:
        return error.errno in (1, 2, 13, 30)
"""


# --- which one is taken ---------------------------------------------------------------------------------


def test_namespaces_are_used_wherever_the_system_has_them(executor):
    """Without this, walls with a hole would only show as skipped tests."""
    command = ["unshare", "--user", "--map-current-user", "--mount", "--pid", "--net", "--fork", "true"]
    if shutil.which("unshare") and subprocess.run(command, capture_output=True).returncode == 0:
        assert executor.sandbox == SandboxReport("namespaces")
        assert executor.sandbox.warning == ""


def test_the_other_walls_stand_wherever_the_system_has_them():
    try:
        landlock.abi()
    except OSError:
        pass
    else:
        LocalExecutor(workers=1, sandbox="landlock").close()
    if shutil.which("bwrap") and not subprocess.run(["bwrap", "--ro-bind", "/", "/", "true"]).returncode:
        LocalExecutor(workers=1, sandbox="bubblewrap").close()


def test_no_walls_are_taken_only_by_name_and_with_a_warning(bare_executor):
    assert bare_executor.sandbox.name == "none"
    assert "not isolated" in bare_executor.sandbox.warning
    assert "none" not in AUTOMATIC


def test_a_name_that_is_no_sandbox_says_what_there_is():
    with pytest.raises(ValueError, match="sandbox 'jail' is not one of auto, namespaces, bubblewrap"):
        LocalExecutor(sandbox="jail")


@pytest.mark.usefixtures("needs_namespaces")
def test_where_namespaces_are_refused_the_next_wall_is_taken_and_the_reason_is_kept(
    executor, make_job, run, tmp_path
):
    """Inside a run they are refused, as in many containers."""
    job = make_job(
        "import sandbox\nfrom sandbox.remedies import refusal\n"
        "name, refused = sandbox.choose(sandbox.AUTOMATIC[:2])\nprint(repr(name), refusal(refused))"
    )
    shutil.copytree(Path(mendel.runs.sandbox.__file__).parent, job.source / "sandbox")
    assert run(executor, job).reason == ""
    report = (job.out / "train.log").read_text()
    assert report.startswith("'' no sandbox works here (namespaces: the system refuses new namespaces")
    assert "bubblewrap: " in report and "--unsafe-no-sandbox" in report


def test_a_sandbox_asked_for_by_name_that_does_not_work_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no bwrap there
    with pytest.raises(SandboxError, match=r"bubblewrap: bwrap is not installed\)\..*apt install bubblewrap"):
        LocalExecutor(sandbox="bubblewrap")


# --- what a run sees ------------------------------------------------------------------------------------


def test_a_run_cannot_reach_the_network(walled_executor, make_job, run):
    code = """
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.connect(("192.0.2.1", 80))
    except OSError as error:
        assert error.errno in (13, 101), error
    else:
        raise AssertionError("a route leads out")
one, other = socket.socketpair()
one.sendall(b"among its own")
assert other.recv(20) == b"among its own"
"""
    assert check(walled_executor, make_job, run, code) == ""


def test_a_run_reads_neither_siblings_nor_the_checkout(walled_executor, make_job, run, tmp_path):
    sibling = make_job("pass", "sibling")
    (sibling.out / "checkpoint").write_text("weights")
    checkout = Path(__file__).parents[2] / "pyproject.toml"
    closed = [sibling.out / "checkpoint", checkout, "/etc/shadow", "/root/.ssh/id"]
    code = f"""{REFUSED}
for path in {list(map(str, closed))}: assert refused(path), path
assert os.listdir(Path.home()) == []
for folder in ({str(sibling.out)!r}, "/var/log", "/run", "/sys"):
    try: assert os.listdir(folder) == [], folder
    except OSError: pass
"""
    assert check(walled_executor, make_job, run, code) == ""


@pytest.mark.usefixtures("needs_namespaces")
def test_in_namespaces_what_is_closed_cannot_even_be_named(executor, make_job, run, tmp_path):
    make_job("pass", "sibling")
    code = f"""
assert sorted(os.listdir({str(tmp_path)!r})) == ["run"]
assert not Path("/etc/shadow").exists() and not Path("/var").exists() and not Path("/sys/kernel").exists()
assert sorted(int(n) for n in os.listdir("/proc") if n.isdigit()) == [1, os.getpid()]
"""
    assert check(executor, make_job, run, code) == ""


def test_only_the_output_folder_and_its_own_temporary_one_are_written(
    walled_executor, make_job, run, tmp_path
):
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "train.bin").write_bytes(b"abc")
    code = f"""{REFUSED}
import tempfile
assert Path({str(tokens / "train.bin")!r}).read_bytes() == b"abc"
for path in ({str(tokens / "train.bin")!r}, "train.py", "new.py", "/usr/new", "/new", sys.prefix + "/new",
             "/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/dev/new"):
    assert refused(path, "a"), path
Path(sys.argv[1], "result").write_text("mine")
with tempfile.NamedTemporaryFile("w", delete=False) as file: file.write("private")
print(file.name)
(Path.home() / "settings").write_text("private")
"""
    assert check(walled_executor, make_job, run, code, readable=(tokens,)) == ""
    out = tmp_path / "run/out"
    assert (out / "result").read_text() == "mine" and (tokens / "train.bin").read_bytes() == b"abc"
    assert not Path((out / "train.log").read_text().strip()).exists()
    assert sorted(path.name for path in out.iterdir()) == ["result", "train.log"]


@pytest.mark.parametrize("sandbox", AUTOMATIC)
def test_hidden_paths_cannot_be_read_below_a_readable_folder(make_job, run, tmp_path, sandbox):
    library = tmp_path / "library"
    for name in ("lessons", "validation", "deep/er"):
        (library / name).mkdir(parents=True)
        (library / name / "module.py").write_text("text = 'to learn'")
    (library / "one.py").write_text("secret")
    (library / "link").symlink_to(library / "validation")
    hidden = (library / "validation", library / "one.py", library / "deep/er", library / "none")
    try:
        executor = LocalExecutor(workers=1, hidden=hidden, sandbox=sandbox)
    except SandboxError as error:
        pytest.skip(str(error))
    code = f"""
library = Path({str(library)!r})
assert (library / "lessons/module.py").read_text()
assert {{"lessons", "deep"}} <= set(os.listdir(library))
for path in ("validation/module.py", "link/module.py", "one.py", "deep/er/module.py"):
    try: assert (library / path).read_bytes() == b"", path
    except OSError: pass
sys.path.insert(0, str(library))
import lessons.module
try: import validation.module
except (ImportError, PermissionError): pass
else: raise AssertionError
"""
    assert check(executor, make_job, run, code, readable=(library,)) == ""
    executor.close()


def test_a_run_cannot_touch_its_guardian(walled_executor, make_job, run):
    code = f"""{REFUSED}
import signal
for number in (signal.SIGKILL, signal.SIGSTOP):
    try: os.kill(os.getppid(), number)
    except OSError: pass
assert refused(f"/proc/{{os.getppid()}}/mem", "rb") or os.getppid() == 1
assert refused(f"/proc/{{os.getppid()}}/mem", "rb+")
"""
    assert check(walled_executor, make_job, run, code) == ""


def test_a_run_has_no_capabilities_and_what_begins_an_escape_is_refused(walled_executor, make_job, run):
    code = """
import ctypes
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
assert all(int(status[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapBnd", "CapInh")), status
assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
libc = ctypes.CDLL(None, use_errno=True)
def error(*arguments):
    ctypes.set_errno(0)
    assert libc.syscall(*arguments) == -1, arguments
    return ctypes.get_errno()
assert libc.unshare(0x10000000) == -1
if os.uname().machine == "x86_64":
    assert error(56, 0x10000000 | 17, 0, 0, 0, 0) == 1, "clone into a new user namespace"
    assert error(435, 0, 0) == 38, "clone3"
    assert error(425, 1, 0) == 38, "io_uring"
    for number in (101, 155, 165, 246, 250, 298, 304, 321, 323):
        assert error(number, 0, 0, 0, 0, 0) == 1, number
    assert error(0x40000000 | 39) == 38, "the other table of calls"
"""
    assert check(walled_executor, make_job, run, code) == ""


def test_the_interpreter_works_inside(walled_executor, make_job, run):
    code = f"""
import ctypes, json, shutil, sqlite3, ssl, subprocess, threading, pwd
assert sys.executable == {sys.executable!r}
done = subprocess.run([sys.executable, "-c", "import numpy; print(numpy.ones(2).sum())"], capture_output=True)
assert done.stdout == b"2.0\\n", done
thread = threading.Thread(target=print)
thread.start(); thread.join()
assert os.urandom(4) and pwd.getpwuid(os.getuid()) and open("/dev/stdout", "w") and open("/dev/null", "w")
shutil.copy2("train.py", sys.argv[1] + "/copy.py")
subprocess.run(["true"], start_new_session=True, check=True)
"""
    assert check(walled_executor, make_job, run, code) == ""


def test_processes_of_multiprocessing_work_behind_mounts(walled_executor, make_job, run):
    code = """
import multiprocessing
from multiprocessing import shared_memory
if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=64)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
    block.close(); block.unlink()
"""
    reason = check(walled_executor, make_job, run, code)
    assert reason == "" or walled_executor.sandbox.name == "landlock" and "Permission denied" in reason


def test_folders_reached_through_links_keep_their_names(any_executor, make_job, run, tmp_path):
    (tmp_path / "disk" / "tokens").mkdir(parents=True)
    (tmp_path / "disk" / "tokens" / "train.bin").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    linked = tmp_path / "link" / "tokens"
    code = f"assert Path({str(linked)!r}, 'train.bin').read_bytes() == b'abc'"
    assert check(any_executor, make_job, run, code, readable=(linked,)) == ""


# --- Landlock of older kernels --------------------------------------------------------------------------


ESCAPES = """
import os, pathlib, signal, sys
from mendel.runs.sandbox import landlock
from mendel.runs.sandbox.view import View
version, victim, readable, out = int(sys.argv[1]), int(sys.argv[2]), *map(pathlib.Path, sys.argv[3:])
landlock.confine(View((str(readable),), (str(out),)), version)
(out / "mine").write_text("mine")
assert readable.read_text() == "text"
os.kill(os.getpid(), signal.SIGCONT)
attempts = {
    "signal": lambda: os.kill(victim, signal.SIGKILL),
    "open to cut": lambda: os.close(os.open(readable, os.O_RDONLY | os.O_TRUNC)),
    "cut": lambda: os.truncate(readable, 0),
    "remove": lambda: readable.unlink(),
    "link": lambda: os.link(readable, out / "link"),
    "replace": lambda: (out / "mine").rename(readable),
    "make": lambda: (readable.parent / "new").write_text("x"),
}
for name, attempt in attempts.items():
    try: attempt()
    except OSError: continue
    print(name)
"""


@pytest.mark.parametrize("version", range(1, 8))
def test_every_version_of_landlock_stops_the_same(version, tmp_path):
    """What an older kernel's rules do not know, the filter stops."""
    try:
        if landlock.abi() < version:
            pytest.skip(f"this kernel's Landlock is {landlock.abi()}")
    except OSError as error:
        pytest.skip(str(error))
    readable, out = tmp_path / "readable", tmp_path / "out"
    out.mkdir()
    readable.write_text("text")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    command = [sys.executable, "-c", ESCAPES, *map(str, (version, victim.pid, readable, out))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert victim.poll() is None and readable.read_text() == "text"
    victim.kill()
    victim.wait()


FILTER = """
import os
from mendel.runs.sandbox import linux, seccomp
rule = seccomp.Rule(("setpriority",), 5, (seccomp.Where(1, 0), seccomp.Where(2, 7)))
linux.forbid_new_privileges()
seccomp.forbid((rule,))
for which, value in ((0, 7), (0, 8), (os.getpid(), 9)):
    try: print(os.setpriority(os.PRIO_PROCESS, which, value))
    except OSError as error: print(error.errno)
"""


def test_a_filter_tests_all_conditions_of_a_rule():
    done = subprocess.run([sys.executable, "-c", FILTER], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("5\nNone\nNone\n", "")
