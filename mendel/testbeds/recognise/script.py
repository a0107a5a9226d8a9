"""A script that trains: train.py, pretrain.py, main.py, or one elsewhere. Evidence: its name, its loop,
how README and shell scripts start it."""

from __future__ import annotations

from mendel.testbeds.recognise.compose import compose, study
from mendel.testbeds.recognise.entry import find_entry
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository


class Script:
    """Whatever has an entry point."""

    def recognise(self, repo: Repository) -> Proposal | None:
        entry = find_entry(repo)
        return compose(study(repo, entry), "a training script", []) if entry else None
