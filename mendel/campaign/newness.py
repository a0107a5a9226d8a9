"""The gate before any compute: is a proposed idea an earlier one again?

Asked twice of an idea: by its words, before anyone writes it, and by what its patch changes, before it runs.
Only what is alike goes to the judge, side by side; where nobody sits there, or nobody answers, the idea is
taken for new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mendel.campaign.briefing import side_by_side
from mendel.campaign.lab import Lab
from mendel.ideas.novelty import candidates
from mendel.records import Patch
from mendel.researchers.answers import Judged, Novelty
from mendel.researchers.book import NoAnswer
from mendel.researchers.desk import Desk
from mendel.researchers.seats import NOVELTY


class New(NamedTuple):
    """An idea that may be an earlier one."""

    name: str
    words: str
    patch: Patch | None = None
    """Once it is written: then by this alone."""


@dataclass
class Gate:
    """The judge of one campaign."""

    lab: Lab
    desk: Desk

    def known(self, task: str, ideas: Sequence[New]) -> dict[str, Judged]:
        """Those that are earlier ideas again, by name, each with which and why. `task` names the question."""
        if not self.desk.takes(NOVELTY):
            return {}
        by_name = {trial.idea.name: trial for trial in self.lab.store.trials([self.lab.campaign.id])}
        earlier = [trial.idea for trial in by_name.values()]
        shown = {}
        for one in ideas:
            alike = candidates("" if one.patch else f"{one.name} {one.words}", one.patch, earlier)
            if alike:
                shown[one.name] = [by_name[like.name] for like in alike]
        if not shown:
            return {}
        parts = [
            side_by_side(one.name, one.words, shown[one.name], one.patch)
            for one in ideas
            if one.name in shown
        ]

        def check(novelty: Novelty) -> None:
            for judged in novelty.judged:
                if judged.idea not in shown:
                    raise ValueError(f"{judged.idea!r} was not asked about; asked were {', '.join(shown)}")
                names = [trial.idea.name for trial in shown[judged.idea]]
                if judged.same_as and judged.same_as not in names:
                    raise ValueError(f"{judged.idea}: {judged.same_as!r} was not shown beside it; {names}")

        question = "\n\n".join(["# Which of these were tried before?", *parts])
        try:
            found = self.desk.ask(NOVELTY, task, context="", question=question, check=check)
        except NoAnswer as error:
            self.lab.say(f"unanswered/{task}", "research", f"goes on without an answer: {error}")
            return {}
        return {judged.idea: judged for judged in found.judged if judged.same_as}
