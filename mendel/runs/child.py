"""What a forked child does once it stands in its sandbox: execute the script, or serve its scores.

From here on everything belongs to the code under test: nothing that this process says is believed, but
the count of FLOPs (docs/runs.md). Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as the request spells them.
# ruff: noqa: PTH103, PTH120, PTH211, PTH112, PTH113, PTH118, PTH123, PTH202, PTH208
from __future__ import annotations

import atexit
import importlib
import io
import logging
import os
import resource
import runpy
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from types import TracebackType
from typing import Any

from . import serve
from .sandbox import Backend, linux, load

_OPEN_FILES = 1024

READY = struct.Struct("<d")
"""Written to the status pipe right before the first line of the run's own code: the CPU seconds until then,
which are not the run's."""

FLOPS = struct.Struct("<d")
"""What follows it in the end, where FLOPs are counted."""


def become(request: dict[str, Any], backend: Backend, log: int, status: int, score: int | None) -> None:
    """Turns a fresh fork into the run and ends the process. Never returns."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        if backend.cold and score is not None:
            _attach(score, score, log, [])  # an engine hands on no more than these three
        else:
            _attach(null, log, log, [fd for fd in (status, score) if fd is not None])
        if backend.cold:
            backend.execute(request)
        # What the preloaded modules registered belongs to the zygote, and torch's handlers touch so much
        # memory that they cost more than the fork.
        atexit._clear()
        atexit.register(logging.shutdown)
        _settle(request, backend)
        code = _execute(request, status, None if score is None else socket.socket(fileno=score))
    except OSError as error:
        print(f"the sandbox cannot be entered: {error}", file=sys.stderr, flush=True)
    finally:
        # The parent's call stack lies above: leave without unwinding it.
        os._exit(code)


def start(request: dict[str, Any]) -> None:
    """The run in an interpreter of its own, behind walls that an engine built. Never returns, and raises
    whatever the modules to load first raise."""
    status = os.open(request["status"], os.O_WRONLY)
    score = _Wire() if request["score"] else None
    preload(request["preload"])
    _check_hidden(request)
    _settle(request, load(request["sandbox"]))
    os._exit(_execute(request, status, score))


def preload(modules: list[str]) -> None:
    """Imports what runs need; raises ImportError, or whatever else a module raises meanwhile.

    Variables that modules set meanwhile are taken back: torch's name a folder of compiled code that all
    runs would share, before a run has the temporary folder of its own."""
    before = dict(os.environ)
    for name in modules:
        importlib.import_module(name)
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


class _Wire:
    """Standard input and output as the socket of a scoring session; prints go to the log instead."""

    def __init__(self) -> None:
        self._files = io.FileIO(os.dup(0), "rb"), io.FileIO(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)

    def makefile(self, _: str) -> io.BufferedRWPair:
        return io.BufferedRWPair(*self._files)


def _attach(stdin: int, stdout: int, stderr: int, keep: list[int]) -> None:
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in any Python
    signal.set_wakeup_fd(-1)
    os.setsid()
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)
    linux.be_traceable()
    linux.forbid_new_privileges()
    linux.die_with_parent()


def _settle(request: dict[str, Any], backend: Backend) -> None:
    _limit(request)
    os.environ.update(HOME=request["home"], TMPDIR=request["temporary"])
    os.environ.update(request["env"])
    for relative, target in request["at_home"]:
        place = os.path.join(request["home"], relative)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(target, place)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    for name in [name for name in os.environ if name.endswith("_NUM_THREADS")]:
        os.environ[name] = str(request["threads"])  # of processes that it starts
    tempfile.tempdir = None  # a preloaded module may have asked for it elsewhere
    os.chdir(request["source"])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    linux.forbid_new_privileges()
    backend.confine(request)


def _limit(request: dict[str, Any]) -> None:
    """One huge allocation fails at once, as MemoryError or torch's own; the sum of the small ones, which
    is what `memory` means, is watched from outside. The same goes for files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(request["disk"]),) * 2)
    files = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            inherited = int(file.read().split()[5]) * resource.getpagesize()
        limit = int(inherited + 2 * request["memory"])
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _execute(request: dict[str, Any], status: int, score: socket.socket | _Wire | None) -> int:
    source, name = request["source"], request["argv"][0]
    script = os.path.join(source, name)
    # As an interpreter has it: the script's own folder, or for a module the one it is started in.
    sys.path.insert(0, source if name == "-m" else os.path.dirname(script))
    own = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [os.path.join(source, folder) for folder in own if folder]
    try:
        try:
            if score is not None:
                _ready(status)
                os.close(status)
                serve.serve(script, request["out"], score)  # type: ignore[arg-type]
            else:
                _train(script, request, status)
            code = 0
        except SystemExit as error:
            code = _exit_code(error)
        except BaseException as error:  # the process edge: whatever a script raises ends its process
            _print_traceback(error, source)
            code = 1
        # What an interpreter does at its end, without taking all loaded libraries apart.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _ready(status: int) -> None:
    os.write(status, READY.pack(time.process_time()))


def _train(script: str, request: dict[str, Any], status: int) -> None:
    sys.argv = [script, *request["argv"][1:]]
    if not request["count_flops"]:
        _ready(status)
        os.close(status)
        _run(script, request["argv"])
        return
    counter = _flop_counter()
    _ready(status)
    try:
        with counter:
            _run(script, request["argv"])
    finally:
        os.write(status, FLOPS.pack(float(counter.get_total_flops())))


def _run(script: str, argv: list[str]) -> None:
    if argv[0] == "-m":
        sys.argv = [script, *argv[2:]]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(script, run_name="__main__")


def _flop_counter() -> Any:
    """Torch's operator counter. It knows no formula for the CPU kernel of attention and would count it as
    free (torch 2.11 to 2.13), so the formulas of the equal GPU kernel are lent to it."""
    import torch
    from torch.utils import flop_counter

    lent = {
        "_scaled_dot_product_flash_attention_for_cpu": _attention_flops,
        "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward_flops,
    }
    operators = {getattr(torch.ops.aten, name): formula for name, formula in lent.items()}
    known = flop_counter.flop_registry
    missing = {operator: formula for operator, formula in operators.items() if operator not in known}
    return flop_counter.FlopCounterMode(display=False, custom_mapping=missing)


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    from torch.utils.flop_counter import sdpa_flop_count

    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward_flops(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    from torch.utils.flop_counter import sdpa_backward_flop_count

    flops = sdpa_backward_flop_count(gradient, query, key, value)  # type: ignore[no-untyped-call]
    return int(flops)


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _check_hidden(request: dict[str, Any]) -> None:
    """Text that runs are scored on must not come along with an image. ImportError: it does."""
    for path in request["hidden"]:
        packages, _, inside = path.replace("dist-packages/", "site-packages/").rpartition("site-packages/")
        for folder in sys.path if packages else ():
            found = os.path.join(folder, inside)
            if os.path.isfile(found) and os.path.getsize(found) or os.path.isdir(found) and os.listdir(found):
                raise ImportError(f"{found} is in the sandbox, and runs are scored on it")


def _print_traceback(error: BaseException, source: str) -> None:
    """Without the frames of this file and `runpy`, which would only distract whoever repairs the run."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(source + os.sep):
        trace = trace.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, trace)
