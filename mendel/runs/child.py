"""What a forked child does once it stands in its sandbox: execute the script, or serve its scores.

From here on everything belongs to the code under test: nothing that this process says is believed, but
the count of FLOPs (docs/runs.md). Standard library only, as everything the zygote loads.
"""

# Paths are strings here, as the request spells them.
# ruff: noqa: PTH118, PTH123
from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import resource
import runpy
import signal
import socket
import struct
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

from . import isolation

READY = b"r"
"""Written to the status pipe right before the first line of the run's own code."""

FLOPS = struct.Struct("<d")
"""What follows it in the end, where FLOPs are counted."""

_PAIR = struct.Struct("<II")
"""Frame header of the scoring protocol: batch and time (docs/runs.md)."""


def become(request: dict[str, Any], log: int, status: int, score: int | None) -> None:
    """Turns a fresh fork into the run and ends the process. Never returns."""
    code = 1
    try:
        _settle(request, log, [fd for fd in (status, score) if fd is not None])
        code = _execute(request, status, score)
    finally:
        # The parent's call stack lies above: leave without unwinding it.
        os._exit(code)


def _settle(request: dict[str, Any], log: int, keep: list[int]) -> None:
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as in any Python
    signal.set_wakeup_fd(-1)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    low = 3
    for fd in sorted(keep):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)
    isolation.be_traceable()
    isolation.forbid_new_privileges()
    isolation.die_with_parent()
    _limit(request["memory"])
    os.environ.update(request["env"])
    os.chdir(request["source"])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # What the preloaded modules registered belongs to the zygote, and torch's handlers touch so much memory
    # that they cost more than the fork.
    atexit._clear()
    atexit.register(logging.shutdown)


def _limit(memory: float) -> None:
    """One huge allocation fails at once, as MemoryError or torch's own; the sum of the small ones, which
    is what `memory` means, is watched from outside."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            inherited = int(file.read().split()[5]) * resource.getpagesize()
        limit = int(inherited + 2 * memory)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _execute(request: dict[str, Any], status: int, score: int | None) -> int:
    script = os.path.join(request["source"], request["argv"][0])
    sys.path.insert(0, request["source"])
    try:
        try:
            if score is not None:
                _serve_scores(script, request["out"], socket.socket(fileno=score), status)
            else:
                _train(script, request, status)
            code = 0
        except SystemExit as error:
            code = _exit_code(error)
        except BaseException as error:  # the process edge: whatever a script raises ends its process
            _print_traceback(error, script)
            code = 1
        # What an interpreter does at its end, without taking all loaded libraries apart.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _train(script: str, request: dict[str, Any], status: int) -> None:
    sys.argv = [script, *request["argv"][1:]]
    if not request["count_flops"]:
        os.write(status, READY)
        os.close(status)
        runpy.run_path(script, run_name="__main__")
        return
    counter = _flop_counter()
    os.write(status, READY)
    try:
        with counter:
            runpy.run_path(script, run_name="__main__")
    finally:
        os.write(status, FLOPS.pack(float(counter.get_total_flops())))


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


def _serve_scores(path: str, out: str, sock: socket.socket, status: int) -> None:
    """Answers frames of tokens with the log-probabilities that the run's own `score.py` gives them."""
    import numpy as np

    os.write(status, READY)
    os.close(status)
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["score"] = module
    spec.loader.exec_module(module)
    model = module.load(out)
    stream = sock.makefile("rwb")
    while True:
        header = stream.read(_PAIR.size)
        batch, time = _PAIR.unpack(header) if header else (0, 0)
        if batch == 0:
            return
        tokens = np.frombuffer(stream.read(2 * batch * time), dtype="<u2").reshape(batch, time)
        scores = model(tokens.astype(np.int64))
        scores = np.asarray(scores.detach() if hasattr(scores, "detach") else scores, dtype="<f4")
        if scores.shape != (batch, time - 1):
            raise ValueError(f"score.py returned shape {scores.shape}, expected {(batch, time - 1)}")
        stream.write(_PAIR.pack(batch, time - 1) + scores.tobytes())
        stream.flush()


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _print_traceback(error: BaseException, script: str) -> None:
    """Without the frames of this file and `runpy`, which would only distract whoever repairs the run."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != script:
        trace = trace.tb_next
    sys.stdout.flush()
    traceback.print_exception(type(error), error, trace)
