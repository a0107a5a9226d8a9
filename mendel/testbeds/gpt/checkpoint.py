"""Checkpoints: complete or not there at all, whatever kills the process.

A checkpoint is a folder `checkpoint-<step>` with `model.safetensors` (weights), `config.json` and `state.pt`
(optimisers, reader, random numbers). It is written under another name, forced to the disk and renamed; the
one before it is deleted only then.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch

WEIGHTS, STATE, CONFIG = "model.safetensors", "state.pt", "config.json"


@contextmanager
def new_checkpoint(out: Path, step: int):
    """A folder to fill with what a run needs to go on after `step` steps. It appears under its name when the
    block ends well, and takes the place of the checkpoints before it."""
    unfinished = out / f".unfinished-{step:08d}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.rename(out / f"checkpoint-{step:08d}")
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)  # on a full disk it would only take room
        raise
    _sync(out)
    remove_checkpoints(out, keep=step)


def write_weights(folder: Path, weights: dict) -> None:
    """OSError: the disk is full."""
    write_atomically(folder / WEIGHTS, safetensors.torch.save(weights))


def write_state(folder: Path, state: dict) -> None:
    """OSError: the disk is full."""
    buffer = io.BytesIO()  # torch, writing to a file, hides a full disk behind an error of its own
    torch.save(state, buffer)
    write_atomically(folder / STATE, buffer.getbuffer())


def write_json(path: Path, content: dict) -> None:
    write_atomically(path, json.dumps(content, indent=1).encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Leave at `path` what was there, or all of `data`."""
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        with unfinished.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def last_checkpoint(out: Path) -> Path | None:
    """The newest complete checkpoint of the run in `out`."""
    return max(out.glob("checkpoint-*"), default=None)


def remove_checkpoints(out: Path, keep: int | None = None) -> None:
    for folder in out.glob("checkpoint-*"):
        if keep is None or folder.name != f"checkpoint-{keep:08d}":
            doomed = out / f".removed-{folder.name}"  # so that none is ever seen half deleted
            shutil.rmtree(doomed, ignore_errors=True)
            folder.rename(doomed)
            shutil.rmtree(doomed)


def read_state(folder: Path) -> dict:
    return torch.load(folder / STATE, weights_only=True)


def weights_of(model) -> dict:
    """Parameters and lasting buffers by name; a tensor with two names (tied weights) only by its first."""
    first = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first.setdefault(id(tensor), (name, tensor.detach()))
    return dict(first.values())


def read_weights(folder: Path, model) -> dict:
    """The weights in `folder` under every name that `model` has for them."""
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    first = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        tied_to = first.setdefault(id(tensor), name)
        if name not in weights and tied_to in weights:
            weights[name] = weights[tied_to]
    return weights


def _sync(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
