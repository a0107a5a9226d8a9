"""A team of researchers for campaigns on the toy testbed."""

from mendel.testing.scripted import scripted_model
from mendel.testing.team import Team as Script
from mendel.testing.team import change, edit, proposal, repair

__all__ = ["GOOD", "Team", "change", "edit", "proposal", "repair"]

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
