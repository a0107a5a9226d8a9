"""A team of researchers for campaigns on the toy testbed."""

import toy

from mendel.testing.scripted import scripted_model
from mendel.testing.team import Team as Script
from mendel.testing.team import change, edit, proposal, repair

__all__ = ["GOOD", "Team", "change", "edit", "proposal", "repair", "said", "settings"]

GOOD = change(edit("EFFICIENCY = 1.0", "EFFICIENCY = 1.7"))
BUG = change(edit("EFFICIENCY = 1.0", "EFFICIENCY = 1.7 + undefined_name"))


class Team(Script):
    """Proposes one good idea and one that does nothing; the first patch of the good one has a bug."""

    def __init__(self):
        super().__init__(
            [[proposal("faster", "raise EFFICIENCY"), proposal("renamed", "set label")]],
            {"faster": BUG, "renamed": change(label="x")},
            {"faster": repair(GOOD, "a name that does not exist")},
        )

    def model(self):
        return scripted_model(self)


PRICE = {"input": 3.0, "output": 15.0, "cached": 0.3, "written": 6.0}
NAME = "test:scripted"
MODELS = {
    **dict.fromkeys(("proposer", "engineer", "debugger", "novelty", "analyst", "librarian"), NAME),
    "forecasters": (NAME,),
}


def settings(toy_data, ideas="none", **changes):
    """A campaign with the team in every seat."""
    seats = {"who": "models", "models": MODELS, "prices": {"scripted": PRICE}, "patience": 0.01}
    seats |= changes.pop("researchers", {})
    return toy.config(ideas, toy_data, researchers=seats, **{"budget": "120runs", **changes})


def said(store, campaign):
    """The log of a campaign."""
    return [event.message for event in store.events(campaign)]
