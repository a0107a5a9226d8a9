"""The built-in library: ideas from the literature as patches of the `gpt` testbed, one TOML file per class.

Data rather than code, so that an idea can be read, diffed and hashed, and adding one is adding a table.
Forecasts are what the cited work and common experience suggest at small scale over the plain `gpt2` recipe.
None was fitted to runs of this lab: a forecaster who has seen the answer cannot be scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mendel.ideas.userfile import IdeasError, load_ideas, untried
from mendel.records import IDEA_CLASSES, Finding, Idea

FOLDER = Path(__file__).with_name("catalog")
TESTBED = "gpt"
"""The testbed whose source the edits and knobs are written for."""


class Catalog:
    """Proposes the ideas of the library that no finding speaks of yet."""

    def propose(self, findings: Sequence[Finding], count: int) -> tuple[Idea, ...]:
        return untried(load_catalog(), findings)[:count]


@cache
def load_catalog() -> tuple[Idea, ...]:
    """All ideas of the library, by class in the order of `IDEA_CLASSES`."""
    return tuple(
        idea for name in IDEA_CLASSES for idea in load_ideas(FOLDER / f"{name}.toml", proposer="catalog")
    )


def find(name: str) -> Idea:
    """The idea called `name`. IdeasError, with all names, if there is none."""
    for idea in load_catalog():
        if idea.name == name:
            return idea
    names = ", ".join(sorted(idea.name for idea in load_catalog()))
    raise IdeasError(f"idea {name!r} is not in the catalog; allowed are {names}")
