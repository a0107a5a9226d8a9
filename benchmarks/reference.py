"""nanoGPT beside the built-in trainer, in one process: what the two speed benchmarks share.

The reference is not part of this project: `--reference PATH` names a checkout of github.com/karpathy/nanoGPT,
whose `model.py` is loaded as it is. Its training step is the one of its `train.py` on a CPU: float32, its own
AdamW, gradients clipped at 1.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

TRAINER = Path(__file__).parent.parent / "mendel" / "testbeds" / "gpt"

Step = Callable[[], float]
"""Trains for one step; returns its loss."""


SCORE = """
import sys
import numpy as np
from score import load
print(-float(load(sys.argv[1])(np.load(sys.argv[2])).mean()))
"""


def load_reference(path: Path) -> Any:
    """nanoGPT's `model.py` as a module. SystemExit when it is not there."""
    file = path / "model.py"
    if not file.is_file():
        raise SystemExit(f"--reference {path}: no model.py there; a checkout of nanoGPT is needed")
    spec = importlib.util.spec_from_file_location("nanogpt_model", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_trainer() -> None:
    """Makes the built-in trainer's modules importable by their bare names, as its own scripts do."""
    sys.path.insert(0, str(TRAINER))


def reference_model(nanogpt: Any, config: Any, seed: int) -> Any:
    """nanoGPT of the shape of `config`."""
    import torch

    torch.manual_seed(seed)
    shape = nanogpt.GPTConfig(
        block_size=config.context,
        vocab_size=config.vocab,
        n_layer=config.depth,
        n_head=config.heads,
        n_embd=config.width,
        dropout=0.0,
        bias=True,
    )
    with redirect_stdout(StringIO()):
        return nanogpt.GPT(shape)


def reference_optimizer(model: Any, lr: float) -> Any:
    """nanoGPT's AdamW with the defaults of its train.py, but for the learning rate."""
    with redirect_stdout(StringIO()):
        return model.configure_optimizers(0.1, lr, (0.9, 0.95), "cpu")


def reference_step(model: Any, optimizer: Any, batches: Callable[[], Any]) -> Step:
    import torch

    def step() -> float:
        x_BT, y_BT = batches()
        _, loss = model(x_BT.contiguous(), y_BT.contiguous())  # it takes views of them
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def own_step(
    config: Any, seed: int, precision: str, batches: Callable[[], Any], compiled: bool = False
) -> Step:
    """One step of the built-in trainer, as its loop takes it."""
    import torch
    from device import choose_device  # type: ignore[import-not-found]
    from loop import loss_of  # type: ignore[import-not-found]
    from model import GPT  # type: ignore[import-not-found]
    from optim import make_optimizers  # type: ignore[import-not-found]

    device = choose_device(precision=precision)
    model = GPT(config)
    model.initialise(seed)
    if compiled:
        model = torch.compile(model)
    optimizers = make_optimizers(model, config)

    def step() -> float:
        x_BT, y_BT = batches()
        with device.autocast():
            loss = loss_of(model, x_BT, y_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        with device.autocast():
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return float(loss.item())

    return step


def own_loss(data: Path, text: Path, **options: Any) -> float:
    """Validation bits per byte of the built-in trainer, run as a script with `options`, on one thread.
    `text` is an .npy of windows of bytes (count, length + 1)."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with tempfile.TemporaryDirectory() as folder:
        train = ["train.py", *arguments, "--data", str(data), "--out", folder]
        for script in (train, ["-c", SCORE, folder, str(text)]):
            done = subprocess.run(
                [sys.executable, *script], cwd=TRAINER, env=env, capture_output=True, text=True
            )
            if done.returncode:
                raise SystemExit(f"{' '.join(script)}: exit code {done.returncode}\n{done.stderr}")
    return float(done.stdout) / math.log(2)
