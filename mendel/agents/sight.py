"""What an agent may see of a campaign.

A language model reads findings, verdicts and code. It must not learn the held-out shard's numbers, which
ideas are planted before that is told, nor of a rejection more than its class: whoever proposes could
otherwise suit the judge. Everything the tools tell of a campaign is made here, from fields that are chosen
one by one.

Whether an idea is planted also shows in its patch, in what its runs were granted and cost, in the campaign's
seed, and in other campaigns of the store, which have the same blanks where they have the same seed and ideas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mendel.agents.desk import line
from mendel.agents.seen import EventSeen, FindingSeen, IdeaSeen, PlanSeen, RunSeen, VerdictSeen
from mendel.campaign.audits import terse
from mendel.records import AUDITS, Finding, Plan, PlanKind, RunStatus, Shard, Verdict, VerdictKind
from mendel.report.facts import Facts, gather, planted_as
from mendel.store import Campaign, CampaignState, Event, IdeaEntry, IdeaState, RunEntry, Store

ADDED = "agents"
"""Stage of the events that this room writes: an idea that one of them names is an agent's own."""
_AUDIT = re.compile(rf"(?:audit |(half of them, ))({'|'.join(AUDITS)}): .*", re.DOTALL)
_PARENT = re.compile(r"descendant of [a-z0-9_-]+")
_BRINGERS = re.compile(r"waits for [^:]*:")
UNSETTLED = (
    "told once the idea has a finding or its campaign has ended: until then the lab may have planted it"
)


@dataclass(frozen=True)
class Sight:
    """One campaign, read once, as an agent may see it."""

    facts: Facts
    own: frozenset[str]
    """Ideas that agents added: they know that nobody planted these."""
    in_play: frozenset[str]
    """Names of ideas in campaigns that go on beside this one."""

    @property
    def id(self) -> str:
        return self.facts.campaign.id

    def settled(self, idea: str | None) -> bool:
        """Whether patch and cost of an idea would tell nothing that is not told already."""
        if idea is None or idea in self.own or idea in self._found:
            return True
        return idea not in self.in_play | self._waiting and self.facts.settled(idea)

    def planted(self, idea: str) -> str | None:
        blank = self.facts.blanks.get(idea)
        return planted_as(blank.kind) if blank and idea not in self.in_play else None

    # --- rows ---------------------------------------------------------------------------------------------

    def ideas(self) -> list[IdeaSeen]:
        return [self.idea(entry) for entry in self.facts.ideas]

    def idea(self, entry: IdeaEntry) -> IdeaSeen:
        idea = entry.idea
        return IdeaSeen(
            campaign=self.id,
            name=idea.name,
            idea_class=idea.idea_class,
            state=entry.state.value,
            note=self._note(entry),
            proposer=idea.proposer,
            hypothesis=line(idea.hypothesis),
            mechanism=line(idea.mechanism),
            citation=line(idea.citation),
            forecast_mean=idea.forecast.mean,
            forecast_sd=idea.forecast.sd,
            planted=self.planted(idea.name),
        )

    def plans(self) -> list[PlanSeen]:
        return [
            PlanSeen(
                campaign=self.id,
                id=plan.id,
                stage=plan.kind.value,
                round=plan.round,
                idea=plan.idea,
                control=plan.control,
                treatment=plan.treatment,
                rung=plan.rung,
                shard=self._shard(plan.shard),
                pairs=len(plan.seeds),
            )
            for plan in self.facts.plans.values()
        ]

    def runs(self) -> list[RunSeen]:
        return [self.run(run) for run in self.facts.runs.values()]

    def run(self, run: RunEntry) -> RunSeen:
        spec, result = run.spec, run.result
        scored = result is not None and spec.shard is Shard.VALIDATION
        # Halves belong to no idea, and are granted what is granted to the ideas in them.
        charged = result is not None and self.settled(run.idea) and run.stage != PlanKind.HALVES.value
        return RunSeen(
            campaign=self.id,
            id=run.id,
            stage=run.stage,
            idea=run.idea,
            recipe=spec.recipe,
            rung=spec.rung,
            seed_number=self._seeds[spec.seed],
            shard=self._shard(spec.shard),
            state=run.state.value,
            status=result.status.value if result else None,
            bits_per_byte=result.bits_per_byte if result and scored else None,
            tokens=result.tokens if result and charged else None,
            train_seconds=result.train_seconds if result and charged else None,
            reason=self._run_reason(run),
        )

    def verdicts(self, idea: str | None = None) -> list[VerdictSeen]:
        """All verdicts, or those on an idea, in the order in which they fell."""
        return [self._verdict(verdict, plan) for verdict, plan in self._judged(idea)]

    def findings(self) -> list[FindingSeen]:
        return [self._finding(finding) for finding in self.facts.findings]

    def events(self, after: int = 0) -> list[EventSeen]:
        """The log, without lines that tell too much."""
        found = self.facts.store.events(self.id, after)
        return [self._event(event) for event in found if not self._hidden(event.idea, event.message)]

    # --- words --------------------------------------------------------------------------------------------

    def words(self, text: str) -> str:
        """One line of the lab's, without what an audit saw, of whom a blank descends, and whose patches bring
        what an idea lacks."""
        told = _AUDIT.sub(lambda found: (found[1] or "") + AUDITS[found[2]], text)
        return line(_BRINGERS.sub("waits:", _PARENT.sub("descendant", told)))

    def _note(self, entry: IdeaEntry) -> str:
        if entry.state is IdeaState.REJECTED:
            return terse(entry.note)
        return "" if self._hidden(entry.idea.name, entry.note) else self.words(entry.note)

    def _hidden(self, idea: str | None, text: str) -> bool:
        """Whether a line says that an idea was planted which is in play elsewhere."""
        return idea in self.in_play and "planted" in text

    # --- helpers ------------------------------------------------------------------------------------------

    def _shard(self, shard: Shard) -> str:
        return "" if self.facts.fingerprint.reported else shard.value

    def _judged(self, idea: str | None) -> Iterator[tuple[Verdict, Plan]]:
        for verdict in self.facts.verdicts:
            plan = self.facts.plans.get(verdict.plan)
            if plan is None or idea not in (None, plan.idea):
                continue
            # That a claim came to nothing tells a planted idea.
            if plan.shard is Shard.VALIDATION or plan.idea not in self.in_play or self.settled(plan.idea):
                yield verdict, plan

    def _verdict(self, verdict: Verdict, plan: Plan) -> VerdictSeen:
        cm = verdict.log2_cm if plan.shard is Shard.VALIDATION else None
        rejected = verdict.kind is VerdictKind.REJECTED
        return VerdictSeen(
            campaign=self.id,
            plan=plan.id,
            stage=plan.kind.value,
            idea=plan.idea,
            round=plan.round,
            rung=plan.rung,
            verdict=verdict.kind.value,
            pairs=verdict.pairs,
            failures=verdict.failures,
            together=verdict.together,
            log2_cm=plain(cm.value) if cm else None,
            log2_cm_low=plain(cm.low) if cm else None,
            log2_cm_high=plain(cm.high) if cm else None,
            probability=verdict.probability,
            reason=terse(verdict.reason) if rejected else self.words(verdict.reason),
        )

    def _finding(self, finding: Finding) -> FindingSeen:
        cm = finding.log2_cm
        return FindingSeen(
            campaign=self.id,
            id=finding.id,
            idea=finding.idea.name,
            idea_class=finding.idea.idea_class,
            hypothesis=line(finding.idea.hypothesis),
            mechanism=line(finding.idea.mechanism),
            round=finding.round,
            rung=finding.rung,
            cm=plain(2**cm.value),
            cm_low=plain(2**cm.low),
            cm_high=plain(2**cm.high),
            measured=finding.measured,
            trust=self.facts.fingerprint.trust.words,
            unit=self.facts.fingerprint.unit,
            cost_ratio=finding.cost_ratio,
            adopted=finding.adopted,
            evicted=self.words(finding.evicted),
            transfer=finding.transfer.value,
            transfer_words=line(finding.transfer_words),
            refuted_by=line(finding.refuted_by),
            runs=finding.runs,
        )

    def _event(self, event: Event) -> EventSeen:
        return EventSeen(
            campaign=self.id,
            id=event.id,
            time=event.time.isoformat(timespec="seconds"),
            stage=event.stage,
            idea=event.idea,
            message=self.words(event.message),
        )

    def _run_reason(self, run: RunEntry) -> str:
        if run.result is None:
            return ""
        if run.result.status is RunStatus.REJECTED:
            return terse(f"audit {run.result.reason}")
        return self.words(run.result.reason)

    @cached_property
    def _found(self) -> set[str]:
        return {finding.idea.name for finding in self.facts.findings}

    @cached_property
    def _waiting(self) -> set[str]:
        """What never had its turn is not unblinded, even where the campaign has ended."""
        return {entry.idea.name for entry in self.facts.ideas if entry.state is IdeaState.QUEUED}

    @cached_property
    def _seeds(self) -> dict[int, int]:
        """Seed -> its number: the seeds themselves follow from the campaign's, which tells the blanks."""
        seeds = dict.fromkeys(run.spec.seed for run in self.facts.runs.values())
        return {seed: number for number, seed in enumerate(seeds)}


def plain(value: float) -> float | None:
    """JSON has no infinity: the end of an interval that has none is None."""
    return value if math.isfinite(value) else None


def look(store: Store, campaign: Campaign) -> Sight:
    """Read a campaign."""
    added = {event.idea for event in store.events(campaign.id) if event.stage == ADDED and event.idea}
    others = [
        other
        for other in store.campaigns()
        if other.id != campaign.id and other.state is not CampaignState.FINISHED
    ]
    in_play = {entry.idea.name for other in others for entry in store.ideas(other.id)}
    return Sight(gather(store, campaign), frozenset(added), frozenset(in_play))
