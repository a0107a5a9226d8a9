"""One look at ideas in confirmation: audits, unblinding, and the judge's decision on all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from mendel.campaign.audits import failed, full
from mendel.campaign.claim_audits import any_rejected, audit_claim, audit_runs
from mendel.campaign.rounds import Round
from mendel.campaign.trunk import differences
from mendel.records import Audit, Plan, Rule, RunResult, VerdictKind
from mendel.verdicts.halves import Halves
from mendel.verdicts.judge import JudgedAt, Judgement, judge, judge_unaided, strongest_first
from mendel.verdicts.judge import Round as Looked


@dataclass
class Entry:
    """An idea in confirmation."""

    plan: Plan
    pairs: list[tuple[RunResult, RunResult]] = field(default_factory=list)
    """Without it and with it: the control and the idea, or the halves of its cohort."""
    granted: list[tuple[float, float]] = field(default_factory=list)
    """Of each pair of halves, how many times the compute of others the lab let its runs spend."""
    halves: Halves | None = None
    """The cohort that it is confirmed with, where it has no pairs of its own."""
    place: int = 0
    """In that cohort."""
    judgement: Judgement | None = None
    audits: tuple[Audit, ...] = ()
    audited: bool = False
    """As a whole, for a claim."""

    def leave(self) -> None:
        """Go on without the cohort, as if it had never been measured."""
        self.pairs, self.granted, self.halves, self.judgement = [], [], None, None

    @property
    def rule(self) -> Rule:
        return self.plan.rule if self.halves is None else self.halves.rule

    @property
    def losses(self) -> list[float | None]:
        return differences(self.pairs)

    @property
    def judged(self) -> JudgedAt:
        if self.halves is not None:
            return partial(self.halves.judged, self.place)
        return partial(judge, self.plan.rule, self.losses)


def look(round: Round, live: Mapping[str, Entry]) -> Looked:
    """Decide on all running ideas, and keep what is decided. What would be claimed is audited and unblinded;
    where one does not count, the others are decided on again, because a claim depends on how many there
    are."""
    errors = round.errors
    for entry in live.values():
        entry.audited = False  # there are more runs now
    rejected = {name for name, entry in live.items() if _reject(entry, _of_runs(entry))}
    running = {name: entry.judged for name, entry in live.items() if name not in rejected}
    frozen = errors.frozen | dict.fromkeys(rejected, -math.inf)
    rule = next(iter(live.values())).rule
    looked = judge_unaided(rule, errors.entered, running, frozen, lambda claims: _barred(round, live, claims))
    errors.frozen = looked.frozen
    for name, decision in looked.decisions.items():
        live[name].judgement = decision.judgement
    return looked


def _barred(round: Round, live: Mapping[str, Entry], claims: Mapping[str, Judgement]) -> Collection[str]:
    """Of what would be claimed: all that audits reject, else the strongest that was planted. Planted ideas
    are taken out one at a time, so that none of them is called claimed for the help of a stronger one."""
    rejected = []
    for name in claims:
        entry = live[name]
        if not entry.audited:
            entry.audited = True
            if _reject(entry, audit_claim(round, entry.plan, entry.pairs, entry.granted)):
                rejected.append(name)
    if rejected:
        return rejected
    for name in strongest_first(claims):
        entry = live[name]
        if round.lab.store.unblind(round.campaign, entry.plan.idea or ""):
            entry.judgement = claims[name]
            return [name]
    return []


def _of_runs(entry: Entry) -> tuple[Audit, ...]:
    """Audits of runs whose scores were rejected, if there are any."""
    return audit_runs(entry.pairs) if any_rejected(entry.pairs) else ()


def _reject(entry: Entry, audits: tuple[Audit, ...]) -> bool:
    """Keep what audits found; True if one found a violation."""
    entry.audits = audits
    violation = failed(audits)
    if violation is None:
        return False
    entry.judgement = replace(
        entry.judged(math.inf), kind=VerdictKind.REJECTED, futile=False, reason=full(violation)
    )
    return True
