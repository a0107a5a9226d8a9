"""Where a run computes and in which numbers: decided once, recorded with the run, never seen by the model."""

from __future__ import annotations

import atexit
import functools
import os
import platform
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")
COMPILE = ("auto", "on", "off")
COMPILE_PAYS = {"cpu": 3e13, "cuda": 3e14}
"""FLOPs of training beyond which compiling saves more than it takes. On a CPU it takes about 15 s and
pays after one and a half to four minutes (benchmarks/trainer_speed.py --compile): this is two and a half
at 200 GFLOP/s. The GPU's number is a guess. Decided by FLOPs, not by a clock: the same run must always
get the same bits."""


def has_bfloat16(kind: str) -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware: without it they are emulated, and
    slower than float32."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text().split("flags", 2)[1].split("\n", 1)[0].split()
    except (OSError, IndexError):
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@dataclass(frozen=True)
class Device:
    """What a run computes on. `precision` is that of matrix products; parameters, norms, the residual
    stream, the loss and the optimiser stay float32."""

    kind: str
    """"cpu" or "cuda"."""
    precision: str
    """"float32" or "bfloat16"."""
    compile: bool = False
    compile_reason: str = ""
    """Why it is compiled or not."""

    def autocast(self):
        """The context of a forward pass."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.kind, dtype=torch.bfloat16)

    def move(self, tensor):
        """A batch's tensor to the device, without waiting until it is there."""
        return tensor if self.kind == "cpu" else tensor.pin_memory().to(self.kind, non_blocking=True)

    def record(self) -> dict:
        """What a result should say of how it was made."""
        return {
            "device": self.kind if self.kind == "cpu" else torch.cuda.get_device_name(),
            "precision": self.precision,
            "compile": self.compile,
            "compile_reason": self.compile_reason,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }


def choose_device(
    kind: str = "auto", precision: str = "auto", compile: str = "off", flops: float = 0.0
) -> Device:
    """The best this machine has for a run of `flops` FLOPs. ValueError for what it does not have."""
    for option, value, allowed in (
        ("device", kind, DEVICES),
        ("precision", precision, PRECISIONS),
        ("compile", compile, COMPILE),
    ):
        if value not in allowed:
            raise ValueError(f"--{option} {value}: allowed are {', '.join(allowed)}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU; allowed are auto, cpu")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(kind) else "float32"
    return Device(kind, precision, *choose_compile(compile, kind, flops))


def choose_compile(mode: str, kind: str, flops: float) -> tuple[bool, str]:
    """Whether to compile, and why."""
    if mode == "off":
        return False, "off"
    if mode == "auto" and flops < COMPILE_PAYS[kind]:
        return False, f"{flops:.1e} FLOPs are fewer than the {COMPILE_PAYS[kind]:.0e} from which it pays"
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        # A folder that runs share would let the code of one plant compiled code for another.
        cache = os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="gpt-compiled-")
        atexit.register(shutil.rmtree, cache, ignore_errors=True)
    try:
        torch.compile(torch.nn.functional.gelu)(torch.ones(8, device=kind))
    except RuntimeError as error:  # no C++ compiler, or one that cannot be used
        return False, f"cannot compile: {str(error).strip().splitlines()[0]}"
    return True, mode


def recompute_activations(model) -> None:
    """Make each block keep its input only and compute the rest again when the backward pass needs it."""
    for block in model.blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
