"""The real trainer with a patch, run inside the test's own process: importing torch per idea would take
minutes. Each use gets fresh modules from a folder of its own."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from functools import cache
from importlib import import_module, invalidate_caches
from pathlib import Path

import torch

from mendel.patches import apply_patch, read_tree, write_tree
from mendel.records import Patch, Testbed
from mendel.testbeds import load_testbed


@cache
def gpt() -> tuple[Testbed, dict[str, str]]:
    testbed = load_testbed("gpt")
    return testbed, read_tree(testbed)


def patched_tree(*patches: Patch) -> dict[str, str]:
    testbed, tree = gpt()
    for patch in patches:
        if patch.edits:
            tree = apply_patch(tree, patch, testbed.editable)
    return tree


@contextmanager
def trainer(folder: Path, patch: Patch | None):
    """A function `module(name)` that imports the patched testbed's modules."""
    write_tree(patched_tree(patch) if patch else gpt()[1], folder)
    names = [path.removesuffix(".py") for path in gpt()[1]]
    torch.set_num_threads(1)
    for name in names:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    dont_write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    invalidate_caches()
    try:
        yield import_module
    finally:
        sys.dont_write_bytecode = dont_write
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)


def make_config(module, patch: Patch | None, **changes):
    pairs = [f"{key}={value}" for key, value in ((patch.overrides if patch else {}) | changes).items()]
    return module("config").with_overrides(module("config").RECIPES["gpt2"], pairs).at_rung(0)


def train(folder: Path, patch: Patch | None, corpus: Path, tokens: int, seed: int = 1):
    """Train on rung 0. Returns the losses of all steps, in nats per byte, and the folder of the results."""
    out = folder / "out"
    out.mkdir(parents=True)
    with trainer(folder / "source", patch) as module:
        config = make_config(module, patch)
        (out / "config.json").write_text(json.dumps(module("config").to_dict(config)))
        module("loop").train(config, tokens, seed, module("run").Run(corpus, out))
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines], out


def score(folder: Path, patch: Patch | None, checkpoint: Path, text: bytes) -> float:
    """Mean loss of `text` in nats per byte, through the testbed's own score.py."""
    with trainer(folder, patch) as module:
        tokens_BT = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()[None]
        return -float(module("score").load(checkpoint)(tokens_BT).mean())
