"""After a round: verdicts in plain words, and the lab's memory.

The analyst gets no numbers in its question: it looks them up by tools that return numbers of the store, none
of them a held-out score of a run. What it writes is held against all that the tools returned, and returned to
it where a number is not among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mendel.campaign.audits import terse
from mendel.campaign.briefing import MOST_MEMORY, memory_text, outcome, patch_text, standing_context
from mendel.campaign.config import CampaignConfig
from mendel.campaign.lab import Lab
from mendel.campaign.summary import MEMORY, rechecks, trunk_points
from mendel.campaign.trunk import Line
from mendel.records import BITS_PER_BYTE, Finding, Interval, PlanKind
from mendel.researchers.answers import LESSONS, Explanation, Memory
from mendel.researchers.book import NoAnswer
from mendel.researchers.desk import Desk
from mendel.researchers.numbers import intervals_in, numbers_in, swapped, unsupported
from mendel.researchers.seats import ANALYST, LIBRARIAN
from mendel.researchers.settings import EXTERNAL
from mendel.researchers.untrusted import untrusted
from mendel.store import EXPLAINED, IdeaState, Trial

MOST_LESSONS = 12
"""Of each kind in the lab's memory."""
MOST_NEWS = 40
"""Outcomes of one round that the librarian reads."""


@dataclass
class Explainer:
    """The analyst and the librarian of one campaign."""

    lab: Lab
    config: CampaignConfig
    desk: Desk

    def after_round(self, number: int, trunk: Line, names: Iterable[str]) -> None:
        """Explain what the round said of ideas `names` that were claimed or that researchers proposed, and
        bring the memory up to date."""
        lab = self.lab
        trials = {trial.idea.name: trial for trial in lab.store.trials([lab.campaign.id])}
        findings = {finding.idea.name: finding for finding in lab.store.findings(lab.campaign.id)}
        judged = [trials[name] for name in names if name in trials and trials[name].measured]
        if self.desk.takes(ANALYST):
            context = standing_context(lab, self.config.goal, trunk)
            for trial in judged:
                own = bool(lab.store.forecasts(lab.campaign.id, trial.idea.name))
                if own or trial.idea.name in findings:
                    self._explain(number, context, trial, findings.get(trial.idea.name))
        if self.desk.takes(LIBRARIAN) and judged:
            self._remember(number, judged, findings, set(trials))

    def _explain(self, number: int, context: tuple[str, str], trial: Trial, finding: Finding | None) -> None:
        name, lab = trial.idea.name, self.lab
        key = f"{number}/{name}{EXPLAINED}"
        if lab.store.decision(lab.campaign.id, key) is not None:
            return
        shown = Shown(lab, trial, finding)
        words = untrusted(name, f"{trial.idea.hypothesis} {trial.idea.mechanism}", 2_000)
        question = f"# Explain the verdict on {name}\n\n{words}\n\n{patch_text(trial.idea)}"
        written = [*numbers_in(question)]  # numbers of the patch say what changed, and not what that came to
        outside = self.desk.settings.model("analyst") == EXTERNAL
        others = [one.idea.name for one in lab.store.ideas(lab.campaign.id)]

        def check(answer: Explanation) -> None:
            wrong = unsupported(answer.what_changed, [*shown.numbers, *written], others)
            wrong += unsupported(answer.judgement, shown.numbers, others)
            if wrong:
                listed = ", ".join(wrong)
                raise ValueError(f"not in what the tools returned, nor a rounding of it: {listed}")
            turned = swapped(answer.text, shown.intervals)
            if turned:
                raise ValueError(f"the ends are swapped: {', '.join(turned)}")

        try:
            answer = self.desk.ask(
                ANALYST,
                f"{number}/explain/{name}",
                context=context[0],
                question=context[1] + question + shown.beforehand(outside),
                idea=name,
                check=check,
                tools=shown.tools(),
            )
        except NoAnswer as error:
            lab.say(f"{number}/unexplained/{name}", "research", f"{name}: not explained, {error}", name)
            return
        made = {"by": self.desk.settings.model("analyst"), "prompt": ANALYST.prompt.version}
        lab.once(key, lambda: {**answer.model_dump(), **made})
        lab.say(f"{number}/explained/{name}", "research", f"{name}: {answer.effect}", name)

    def _remember(
        self,
        number: int,
        judged: Sequence[Trial],
        findings: dict[str, Finding],
        known: set[str],
    ) -> None:
        lab = self.lab
        key = f"{number}{MEMORY}"
        if lab.store.decision(lab.campaign.id, key) is not None:
            return
        before = [lab.store.decision(lab.campaign.id, f"{n}{MEMORY}") for n in range(number - 1, -1, -1)]
        old = memory_text(next((one for one in before if one), {})) or "empty"
        news = "\n".join(f"- {outcome(one, findings.get(one.idea.name))}" for one in judged[:MOST_NEWS])

        def check(memory: Memory) -> None:
            for kind in LESSONS:
                lessons = getattr(memory, kind)
                if len(lessons) > MOST_LESSONS:
                    raise ValueError(f"{kind}: {len(lessons)} lessons; at most {MOST_LESSONS}")
                for lesson in lessons:
                    strangers = [name for name in lesson.evidence if name not in known]
                    if strangers or not lesson.evidence:
                        found = f"{kind}: {lesson.words!r:.80}: the evidence is {lesson.evidence}"
                        raise ValueError(f"{found}; it must be names of ideas, at least one")
            if len(memory_text(memory.model_dump())) > MOST_MEMORY:
                raise ValueError(f"the memory is longer than {MOST_MEMORY} characters")

        kept = untrusted("memory", old, MOST_MEMORY)
        question = f"# The memory as it is\n\n{kept}\n\n# What round {number} found\n\n{news}"
        try:
            memory = self.desk.ask(
                LIBRARIAN, f"{number}/remember", context="", question=question, check=check
            )
        except NoAnswer as error:
            lab.say(f"{number}/unremembered", "research", f"the memory stays as it is: {error}")
            return
        made = {"by": self.desk.settings.model("librarian"), "prompt": LIBRARIAN.prompt.version}
        lab.once(key, lambda: {**memory.model_dump(), **made})


@dataclass
class Shown:
    """What the analyst may look at of one idea, and all the numbers that it has been shown."""

    lab: Lab
    trial: Trial
    finding: Finding | None
    numbers: list[float] = field(default_factory=list)
    intervals: list[tuple[float, float]] = field(default_factory=list)

    def tools(self) -> list[Callable[..., Any]]:
        async def verdicts() -> str:
            """Every verdict on the idea: its kind, pairs, difference in bits per byte (positive is better),
            log2 compute multiplier and multiplier, each with its interval; and its cost."""
            return self._show(self.verdicts())

        async def skills() -> str:
            """By kind of question and distance: accuracy of control and treatment, and the gain in bits."""
            return self._show(self.skills())

        async def scale() -> str:
            """What it gains at each rung that measured it, and where the trend leads."""
            return self._show(self.scale())

        async def trunk() -> str:
            """Where the trunk stands, what it holds, and what its last recheck says that each change adds."""
            return self._show(self.trunk())

        losses = self.lab.campaign.fingerprint
        verdicts.__doc__ = (verdicts.__doc__ or "").replace(BITS_PER_BYTE, losses.unit)
        return [verdicts, scale, trunk] if losses.reported else [verdicts, skills, scale, trunk]

    def beforehand(self, outside: bool) -> str:
        """What the tools would return, for whoever answers from outside and has none of them."""
        if not outside:
            return ""
        found: dict[str, Any] = {
            "verdicts": self.verdicts(),
            "skills": self.skills(),
            "scale": self.scale(),
            "trunk": self.trunk(),
        }
        if self.lab.campaign.fingerprint.reported:
            found.pop("skills")
        return f"\n\n# The evidence\n\n{self._show(found)}"

    def verdicts(self) -> dict[str, Any]:
        """Numbers of the idea's verdicts. Those of a confirmation, which are held-out ones, are told by their
        kind and pairs alone; the claim's effect is the finding's."""
        rows = []
        for kind, verdict in self.trial.measured:
            said = "a screen claims nothing" if kind is PlanKind.SCREEN else verdict.kind.value
            row: dict[str, Any] = {"stage": kind.value, "kind": said, "pairs": verdict.pairs}
            row["failures"] = verdict.failures
            if kind is not PlanKind.CONFIRM:
                row |= {"difference": _told(verdict.difference), **_multiplier(verdict.log2_cm)}
            rows.append(row)
        found: dict[str, Any] = {
            "idea": self.trial.idea.name,
            "state": self.trial.state.value,
            "verdicts": rows,
        }
        if self.trial.state is IdeaState.REJECTED:
            found["state"] = terse("")
        if self.finding is not None:
            own, trust = self.finding, self.lab.campaign.fingerprint.trust
            found["claim"] = {
                **_multiplier(own.log2_cm),
                "measured": own.measured,
                **({"losses": trust.words, "caveat": trust.caveat} if trust.caveat else {}),
                "rung": own.rung,
                "runs": own.runs,
                "adopted": own.adopted,
                "cost_ratio": own.cost_ratio,
                "cpu_ratio": _told(own.cpu_ratio),
                "refuted_by": own.refuted_by,
            }
        return found

    def skills(self) -> list[dict[str, Any]]:
        return [one.model_dump(mode="json") for one in (self.finding.skills if self.finding else ())]

    def scale(self) -> dict[str, Any]:
        if self.finding is None:
            return {"by_rung": [], "transfer": "not measured"}
        keys = {"transfer", "by_rung", "extrapolation", "transfer_words"}
        return self.finding.model_dump(mode="json", include=keys)

    def trunk(self) -> dict[str, Any]:
        points = trunk_points(self.lab.store, self.lab.campaign)
        found: dict[str, Any] = {"recheck": rechecks(self.lab.store, self.lab.campaign)[-1:], "stands": None}
        if points:
            log2_cm = _multiplier(Interval.model_validate(points[-1]["log2_cm"]))
            found["stands"] = {"holds": points[-1]["adopted"], **log2_cm}
        return found

    def _show(self, found: Any) -> str:
        """As JSON, its numbers noted: as they are, and as they are printed."""
        text = json.dumps(found, indent=1)
        self.numbers += [*numbers_in(found), *numbers_in(json.loads(text))]
        self.intervals += intervals_in(found)
        return text


def _told(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": interval.value, "low": interval.low, "high": interval.high, "level": interval.level}


def _multiplier(log2_cm: Interval | None) -> dict[str, Any]:
    if log2_cm is None:
        return {"log2_cm": None, "cm": None}
    ends = {"value": log2_cm.value, "low": log2_cm.low, "high": log2_cm.high}
    return {"log2_cm": _told(log2_cm), "cm": {name: 2**end for name, end in ends.items()}}
