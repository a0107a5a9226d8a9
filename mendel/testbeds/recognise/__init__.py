"""Recognising a training repository that knows nothing of Mendel, and proposing its testbed.toml.

Its source is read as text and syntax trees; nothing of it is imported or run, and nothing in it is written.
The strategies are asked in order, the most specific first.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.ready import READY, filled
from mendel.testbeds.recognise.repository import Machine, Repository

STRATEGIES = {
    "nanogpt": "mendel.testbeds.recognise.nanogpt:NanoGPT",
    "nanochat": "mendel.testbeds.recognise.nanochat:Nanochat",
    "autoresearch": "mendel.testbeds.recognise.autoresearch:Autoresearch",
    "torchtitan": "mendel.testbeds.recognise.torchtitan:Torchtitan",
    "huggingface": "mendel.testbeds.recognise.huggingface:HuggingFace",
    "lightning": "mendel.testbeds.recognise.lightning:Lightning",
    "configured": "mendel.testbeds.recognise.configured:Configured",
    "script": "mendel.testbeds.recognise.script:Script",
}


class Strategy(Protocol):
    """One kind of trainer."""

    def recognise(self, repo: Repository) -> Proposal | None:
        """A proposal, where the repository is of this kind; None where it is not."""
        ...


class UnknownTrainer(ValueError):
    """Nothing in a folder looks like a trainer: the message says what was looked for."""


def propose(repo: Repository, ready: str = "") -> Proposal:
    """What the first strategy that knows the repository proposes, or a ready-made file by its name.

    UnknownTrainer for a folder without Python, or without anything that trains; ValueError for an unknown
    ready-made file."""
    if ready:
        if ready not in READY:
            raise ValueError(f"--as: {ready!r} is unknown; allowed are {', '.join(READY)}")
        try:
            return filled(repo, ready, f"--as {ready}")
        except RecursionError:
            raise UnknownTrainer(f"{repo.root}: its source is nested too deeply to be read") from None
    if not repo.python:
        raise UnknownTrainer(
            f"{repo.root}: there is no Python file in it; give the folder of a training repository"
        )
    for target in STRATEGIES.values():
        module, _, kind = target.partition(":")
        strategy: Strategy = getattr(import_module(module), kind)()
        try:
            found = strategy.recognise(repo)
        except RecursionError:  # source that is nested deeper than anybody writes
            continue
        if found:
            return found
    raise UnknownTrainer(
        f"{repo.root}: no file in it looks like one that trains (train.py, pretrain.py, main.py, a script or "
        "module with a training loop); write a testbed.toml by hand: docs/testbed.md"
    )


__all__ = [
    "READY",
    "STRATEGIES",
    "Machine",
    "Proposal",
    "Repository",
    "Strategy",
    "UnknownTrainer",
    "propose",
]
