"""Configuration files, a package, and `python -m package.train`. Evidence: the entry is a module, or reads a
configuration file."""

from __future__ import annotations

from mendel.testbeds.recognise.compose import compose, study
from mendel.testbeds.recognise.entry import find_entry
from mendel.testbeds.recognise.knobs import find_knobs
from mendel.testbeds.recognise.proposal import Proposal
from mendel.testbeds.recognise.repository import Repository


class Configured:
    """Knobs are the keys of the configuration, as arguments where these are read, else by edits."""

    def recognise(self, repo: Repository) -> Proposal | None:
        entry = find_entry(repo)
        if entry is None:
            return None
        module = entry.command[0] == "-m"
        configured = any("its configuration" in one for one in find_knobs(repo, entry).evidence)
        if not module and not configured:
            return None
        kind = "a package run with -m" if module else "a script"
        return compose(study(repo, entry), f"{kind}{' and configuration files' if configured else ''}", [])
