"""From an idea in words to a patch that runs: written, checked, tried, mended; all of it bounded.

What a patch needs to be tried is in its smoke run, in the sandbox that every run is in. An audit's violation
is never mended: whoever wrote it is told its class, and the idea is rejected. A repair is a new attempt with
everything that was tried before in view, until the attempts, the money or the seat's own word end it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mendel.campaign.audits import audit_patch, failed, full
from mendel.campaign.briefing import patch_text
from mendel.campaign.lab import Lab
from mendel.campaign.trunk import Line, Shelf, prepare
from mendel.patches import PatchError, Stale, adopt, apply_patch, diff
from mendel.patches.repairs import repair_by_rule
from mendel.records import Idea, Patch, RunResult, RunStatus
from mendel.report.curves import read_text
from mendel.report.knobs import written_knobs
from mendel.researchers.answers import Change
from mendel.researchers.book import NoAnswer
from mendel.researchers.desk import Desk
from mendel.researchers.reading import reading_tools
from mendel.researchers.seats import DEBUGGER, ENGINEER
from mendel.researchers.untrusted import untrusted
from mendel.runs import LOG
from mendel.store import IdeaState, smoke_name

MOST_LOG = 3_000
"""Characters of a failed run's log that the debugger sees: the end, where the trace is."""
MOST_READ = 64_000
BY_RULE = "by rule: "
MOST_RULES = 2
"""Repairs of one patch by rule before the debugger is asked, where there is one."""


class Written(NamedTuple):
    """What came of writing an idea. `idea` is None where there is no patch at all."""

    idea: Idea | None
    state: IdeaState
    note: str
    down: bool = False
    """There is none because the provider was down: it may be asked for again."""


@dataclass
class Writer:
    """The engineer and the debugger on one trunk. `context` is the lab's, the code of that trunk in it."""

    lab: Lab
    shelf: Shelf
    desk: Desk
    trunk: Line
    rung: int
    context: str

    def write(
        self,
        key: str,
        idea: Callable[[Patch], Idea],
        name: str,
        question: str,
        again: Callable[[Patch], str] = lambda patch: "",
    ) -> Written:
        """The idea with a patch that runs on the trunk. `key` begins the names of its tasks; `again` says of
        which earlier idea the patch is a repetition, if it is one: then it is not tried."""
        try:
            change = self.desk.ask(
                ENGINEER,
                f"{key}/write/{name}",
                context=self.context,
                question=question,
                idea=name,
                check=self._applies,
                tools=self._tools(),
            )
        except NoAnswer as error:
            return Written(None, IdeaState.FAILED, f"no patch: {error}", error.down)
        written = idea(change.patch())
        if same := again(written.patch):
            return Written(written, IdeaState.DROPPED, same)
        if self.desk.settings.review:
            violation = self._violation(written)
            if violation:
                return Written(written, IdeaState.REJECTED, violation)
            return Written(written, IdeaState.REVIEW, "waits for a person: mendel review")
        return self.mend(key, written)

    def rebase(self, key: str, idea: Idea, name: str, engineer: str) -> Written:
        """An idea whose patch does not fit the trunk, written for it under a new `name`, with both sides in
        view: its patch, and what the trunk made of the code that the patch was written for."""
        lab = self.lab
        base = lab.store.load_tree(self.trunk.trunk.base.tree)
        question = (
            "# Write this idea for the trunk as it is\n\nIts patch was written for the code that the trunk "
            "began with, and does not fit any more: what it edits was edited since. Keep what the patch "
            f"does, unless the trunk does it already.\n\n{name} ({idea.idea_class})\n\n{_in_words(idea)}\n\n"
            f"# Its patch\n\n{patch_text(idea, 12_000)}\n\n# What the trunk changed\n\n"
            f"{untrusted('trunk', diff(base, self._tree()), 12_000)}"
        )

        def rebased(patch: Patch) -> Idea:
            patch = patch.model_copy(update={"slot": idea.patch.slot})
            return idea.model_copy(update={"name": name, "patch": patch, "proposer": engineer})

        return self.write(key, rebased, name, question)

    def mend(self, key: str, idea: Idea) -> Written:
        """The idea as it is if it runs, or mended until it does or nothing is left to try."""
        attempts: list[str] = []
        for attempt in range(self.desk.settings.attempts + 1):
            ready, lost = prepare(self.lab, self.shelf, self.trunk, [idea], self.rung)
            if ready:
                tried = f", after {len(attempts)} repair{'s'[: len(attempts) != 1]}" if attempts else ""
                return Written(idea, IdeaState.QUEUED, f"written{tried}")
            state, why = lost[idea.name]
            if state == "rejected":
                return Written(idea, IdeaState.REJECTED, why)
            if attempt == self.desk.settings.attempts:
                break
            words = f"{idea.name}: {why}; to be mended"
            self.lab.say(f"{key}/mend/{idea.name}/{attempt}", "write", words, idea.name)
            mended, words = self._mended(f"{key}/repair/{idea.name}/{attempt}", idea, why, attempts)
            attempts.append(words)
            if mended is None:
                return Written(idea, IdeaState.FAILED, words)
            idea = idea.model_copy(update={"patch": mended})
        return Written(idea, IdeaState.FAILED, f"{why} (after {len(attempts)} repairs)")

    def _mended(self, task: str, idea: Idea, why: str, attempts: list[str]) -> tuple[Patch | None, str]:
        """A repaired patch and what was done, or None and why there is none."""
        recipe = self._recipe(idea)
        run = None if recipe is None else self._smoked(recipe)
        asks = self.desk.takes(DEBUGGER)
        # A rule that did not help is not the cure: half of a rate never mends code that diverges.
        by_rules = sum(words.startswith(BY_RULE) for words in attempts)
        if run is not None and recipe is not None and (by_rules < MOST_RULES or not asks):
            knobs = written_knobs(self.lab.store, self.lab.campaign.id, recipe, self.rung)
            by_rule = repair_by_rule(idea.patch, run.status, run.reason, knobs)
            if by_rule is not None:
                return by_rule.patch, f"{BY_RULE}{by_rule.words}"
        if not asks:
            return None, why
        before = "\n".join(f"{number}. {words}" for number, words in enumerate(attempts, 1))
        question = (
            f"# The idea\n\n{_in_words(idea)}\n\n# The patch\n\n{patch_text(idea, 12_000)}\n\n"
            f"# What went wrong\n\n{untrusted('failure', why)}\n\n{self._log(recipe)}\n\n"
            # Their words quote what runs said of themselves.
            f"# Repairs that were tried before\n\n{untrusted('repairs', before) if before else 'none'}"
        )

        def check(repair: Change) -> None:
            if not getattr(repair, "broken", False):
                self._applies(repair)

        try:
            repair = self.desk.ask(
                DEBUGGER,
                task,
                context=self.context,
                question=question,
                idea=idea.name,
                check=check,
                tools=self._tools(),
            )
        except NoAnswer as error:
            return None, f"{why}; not mended: {error}"
        if repair.broken:
            return None, f"the idea itself is broken: {repair.reason}"
        return repair.patch(), f"{why} -> {repair.reason}"

    def _applies(self, change: Change) -> None:
        """ValueError unless the change is a patch that applies to the trunk, parses and touches only what may
        be edited."""
        apply_patch(self._tree(), change.patch(), self.lab.testbed.editable)

    def _recipe(self, idea: Idea) -> str | None:
        """Id of the trunk with the idea; None where it cannot be built."""
        try:
            return self.shelf.line(adopt(self.trunk.trunk, idea), self.trunk.excess, idea.name).recipe
        except (Stale, PatchError):
            return None

    def _violation(self, idea: Idea) -> str:
        """What an audit of the source has against it, or an empty text."""
        recipe = self._recipe(idea)
        found = None if recipe is None else failed(audit_patch(self.lab, self.trunk.recipe, recipe))
        return full(found) if found else ""

    def _smoked(self, recipe: str) -> RunResult | None:
        cost = self.lab.store.cost(self.lab.campaign.id, recipe, self.rung)
        return None if cost is None or cost.result.status is RunStatus.DONE else cost.result

    def _log(self, recipe: str | None) -> str:
        if recipe is None:
            return ""
        out = self.lab.store.run_folder(self.lab.campaign.id, smoke_name(recipe, self.rung)).out
        text = "" if out.is_symlink() else read_text(out / LOG, MOST_READ) or ""
        return untrusted("the end of its log", text, MOST_LOG) if text else ""

    def _tree(self) -> dict[str, str]:
        return self.lab.store.load_tree(self.lab.store.recipe(self.trunk.recipe).tree)

    def _tools(self) -> list[Callable[..., object]]:
        return reading_tools(self._tree(), self.lab.testbed.editable)


def _in_words(idea: Idea) -> str:
    return untrusted(idea.name, f"{idea.hypothesis}\nWhy: {idea.mechanism}", 2_000)
