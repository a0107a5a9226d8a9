"""Ideas: propose, deduplicate, triage. Findings in, ideas out.

A proposer is anything with a `propose`; the built-in ones are reached by a short name, and their modules are
imported only when asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

from mendel.records import Finding, Idea

PROPOSERS = {
    "catalog": "mendel.ideas.catalog:Catalog",
    "file": "mendel.ideas.userfile:UserFile",
    "blanks": "mendel.ideas.blanks:Blanks",
}


WRITTEN_BY_PEOPLE = ("catalog", "user")
"""Proposers whose patches a person wrote or read: the package's own library, and a user's files."""


def machine_written(idea: Idea) -> bool:
    """Whether nobody vouches for an idea's code: it runs only in a sandbox that passed its self-check."""
    return idea.proposer not in WRITTEN_BY_PEOPLE


class Proposer(Protocol):
    """Where ideas come from."""

    def propose(self, findings: Sequence[Finding], count: int) -> tuple[Idea, ...]:
        """At most `count` ideas that the findings do not speak of yet, best or earliest first."""
        ...


def load_proposer(name: str, *arguments: Any) -> Proposer:
    """Make the proposer called `name`: `load_proposer("file", "my.toml")`. ValueError for an unknown name."""
    if name not in PROPOSERS:
        raise ValueError(f"proposer {name!r} is unknown; allowed are {', '.join(PROPOSERS)}")
    module, _, kind = PROPOSERS[name].partition(":")
    proposer: Proposer = getattr(import_module(module), kind)(*arguments)
    return proposer
