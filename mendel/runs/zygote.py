"""The idle parent of all runs: it has imported the heavy modules and forks one guardian for each request.

Importing torch takes longer than a short run's share of it is worth, so it is done once, here. The
zygote never executes code of a run: its child, the guardian, builds the run's sandbox around itself and
watches the run, which is its own child.

    executor -- zygote -- guardian -- run
                          '- sandbox ---'

Everything ends when the executor does: the guardian sees the reply socket close, and each process in the
chain dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from . import sandbox, wire
from .child import preload
from .guardian import Guardian
from .logs import Log
from .sandbox import Backend, linux

_HEARTBEAT = 1.0
"""Seconds between two looks at whether the executor still lives."""
_HUGE = 2 << 20
_MADV_COLLAPSE = 25


def serve(fd: int) -> None:
    """Serves the executor at the other end of `fd`. First message in: {"preload", "sandbox": names, "image"};
    first out: {"sandbox": name, "refused": {name: reason}} or {"error"}; the name is empty where none of
    them works. Then requests; each brings its own reply socket."""
    control = socket.socket(fileno=fd)
    parent = os.getppid()
    opening = wire.receive(control)
    if opening is None:
        return
    setup = opening[0]
    name, refused = sandbox.choose(tuple(setup["sandbox"]), setup["image"])
    if not name:
        wire.send(control, {"sandbox": "", "refused": refused})
        return
    backend = sandbox.load(name, setup["image"])
    error = "" if backend.cold else _preload(setup["preload"])
    if error:
        wire.send(control, {"error": error})
        return
    # Collecting would touch, and so copy, every page that the runs share.
    gc.collect()
    gc.freeze()
    _use_huge_pages()
    wire.send(control, {"sandbox": name, "refused": refused})
    guardians: dict[int, socket.socket] = {}
    while os.getppid() == parent:
        if select.select([control], [], [], _HEARTBEAT)[0]:
            message = wire.receive(control, max_fds=2)
            if message is None:
                break
            message[0]["preload"] = setup["preload"]
            _fork_guardian(control, guardians, backend, *message)
        _reap(guardians)
    for guardian in guardians:
        os.kill(guardian, signal.SIGKILL)


def _preload(modules: list[str]) -> str:
    """Imports the modules; returns what is wrong, or an empty text."""
    for name in modules:
        try:
            preload([name])
        except Exception as error:  # the process edge: any module may fail in any way while it is imported
            return f"cannot import {name!r} with {sys.executable}: {type(error).__name__}: {error}"
    return ""


def _use_huge_pages() -> None:
    """Moves this process's own memory into huge pages: with torch imported, a fork then copies hundreds of
    page-table entries instead of tens of thousands, and takes a fifth of the time. Best effort: kernels
    before 6.1 refuse."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    with open("/proc/self/maps") as file:  # noqa: PTH123
        areas = [line.split() for line in file]
    for addresses, access, _, _, inode, *_ in areas:
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if access == "rw-p" and inode == "0" and end - begin >= _HUGE:
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_COLLAPSE)


def _fork_guardian(
    control: socket.socket,
    guardians: dict[int, socket.socket],
    backend: Backend,
    request: dict[str, Any],
    fds: list[int],
) -> None:
    reply, score = socket.socket(fileno=fds[0]), fds[1] if len(fds) > 1 else None
    try:
        pid = backend.fork()
    except OSError as error:
        _tell(reply, {"ended": "setup", "error": str(error)})
        reply.close()
        pid = -1
    if pid == 0:
        for sock in (control, *guardians.values()):
            sock.close()
        _guard(request, backend, reply, score)
    if score is not None:
        os.close(score)
    if pid > 0:
        guardians[pid] = reply


def _reap(guardians: dict[int, socket.socket]) -> None:
    """Forgets guardians that ended, and reports those that did not end by themselves."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            with guardians.pop(ended[0]) as reply:
                if ended[1] != 0:
                    code = os.waitstatus_to_exitcode(ended[1])
                    _tell(reply, {"ended": "lost", "error": f"its supervisor ended with code {code}"})


def _tell(reply: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody waits for it any more
        wire.send(reply, message)


def _guard(request: dict[str, Any], backend: Backend, reply: socket.socket, score: int | None) -> NoReturn:
    """The guardian's life."""
    code = 1
    try:
        linux.die_with_parent()
        try:
            backend.admit()
            with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
                file.write("500")  # a machine out of memory takes a run rather than the campaign
            log = Log(request["log"])
            backend.enclose(request)
            linux.protect_memory()
            guardian = Guardian(request, backend, reply, log, score)
        except OSError as error:
            _tell(reply, {"ended": "setup", "error": str(error)})
        else:
            guardian.watch()
        code = 0
    except Exception:  # the process edge: the zygote reports it as lost
        traceback.print_exc()
    finally:
        os._exit(code)
