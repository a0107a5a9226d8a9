"""What the report and `mendel show` need of a campaign, read from the store once and put in relation.

The store keeps plans, runs and verdicts side by side; here a plan gets its pairs, an idea its verdicts, a
recipe its scaling curve. No number is computed anew but differences of two stored losses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mendel.records import (
    BITS_PER_BYTE,
    Audit,
    Currency,
    Finding,
    Fingerprint,
    Idea,
    Interval,
    Plan,
    PlanKind,
    RunStatus,
    Verdict,
    VerdictKind,
    known_gain,
)
from mendel.store import (
    HALVES,
    TUNED,
    Blank,
    Campaign,
    CampaignState,
    IdeaEntry,
    IdeaState,
    RunEntry,
    RunState,
    Store,
)

STAGES = {PlanKind.SCREEN: 0, PlanKind.CONFIRM: 1, PlanKind.ESTIMATE: 2}
"""Stages in which an idea is measured; a later one outweighs an earlier one."""


@dataclass(frozen=True)
class Pair:
    """Control and treatment of one seed. A run that is not finished has no status, a failed one no loss."""

    seed: int
    control: str
    treatment: str
    """Run ids."""
    control_loss: float | None
    treatment_loss: float | None
    control_status: str
    treatment_status: str

    @property
    def difference(self) -> float | None:
        """Control loss minus treatment loss: positive, the treatment is better."""
        if self.control_loss is None or self.treatment_loss is None:
            return None
        return self.control_loss - self.treatment_loss

    def turned(self) -> Pair:
        """Control and treatment in each other's place."""
        return Pair(
            seed=self.seed,
            control=self.treatment,
            treatment=self.control,
            control_loss=self.treatment_loss,
            treatment_loss=self.control_loss,
            control_status=self.treatment_status,
            treatment_status=self.control_status,
        )

    @property
    def expected(self) -> bool:
        """The treatment was stopped early: its loss, and the difference, are those that were expected."""
        return self.treatment_status == RunStatus.STOPPED

    @property
    def failed(self) -> bool:
        """The treatment ended without a score: it counts as the bound."""
        return self.treatment_loss is None and self.treatment_status not in ("", RunState.RUNNING)


@dataclass(frozen=True)
class Judged:
    """The weightiest measurement of one idea."""

    name: str
    group: str
    """adopted, claimed, not claimed, worse or screened."""
    stage: PlanKind
    pairs: int
    failures: int
    log2_cm: Interval
    blank: str | None
    """Kind of blank, once unblinded."""


@dataclass(frozen=True)
class ScalingPanel:
    """The original recipe's curve at one rung, and where the trunk stands on it."""

    rung: int
    points: tuple[tuple[float, float], ...]
    """(compute, loss) of single runs, in the campaign's currency and unit."""
    flops: float | None = None
    """Compute at which the trunk was compared."""
    difference: Interval | None = None
    """Loss of the original minus loss of the trunk there."""
    log2_cm: Interval | None = None
    currency: str = Currency.FLOPS.words
    unit: str = BITS_PER_BYTE


@dataclass
class Facts:
    """One campaign, read once."""

    store: Store
    campaign: Campaign
    ideas: list[IdeaEntry]
    plans: dict[str, Plan]
    """By id, in the order in which they were fixed."""
    verdicts: list[Verdict]
    findings: list[Finding]
    runs: dict[str, RunEntry]
    blanks: dict[str, Blank]
    """Only those that are unblinded: the others are still in play."""
    per_token: dict[tuple[str, int], float | None] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # what is read beside the store

    @property
    def fingerprint(self) -> Fingerprint:
        """What losses and budgets of this campaign are counted in, among the rest."""
        return self.campaign.fingerprint

    @property
    def finished(self) -> list[RunEntry]:
        return [run for run in self.runs.values() if run.state is RunState.FINISHED]

    @cached_property
    def worker_seconds(self) -> float:
        """Training and scoring of all finished runs; smoke runs are not among them."""
        results = [run.result for run in self.finished if run.result]
        return sum(result.train_seconds + result.score_seconds for result in results)

    @cached_property
    def compute(self) -> float:
        """Of all finished runs, in the currency: counted FLOPs, or else what they were told to spend."""
        total, counts = 0.0, self.fingerprint.counts_flops
        for run in self.finished:
            if run.result and (per_token := self.flops_per_token(run.spec.recipe, run.spec.rung)):
                share = run.result.stopped.at if run.result.stopped else 1.0
                total += per_token * (run.result.tokens if counts else share * run.spec.tokens)
        return total

    @cached_property
    def original(self) -> str | None:
        """Recipe id of what the campaign started from: the first one trained at all."""
        curves = [run for run in self.runs.values() if run.stage == PlanKind.CURVE.value]
        if curves:
            return curves[0].spec.recipe
        return next((plan.control for plan in self.plans.values()), None)

    @cached_property
    def held(self) -> dict[str, tuple[list[str], list[str]]]:
        """Plan of halves -> names of the ideas in its treatment, and in its control."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        for kept in self.store.decisions([self.campaign.id], HALVES)[self.campaign.id].values():
            found |= {plan: (first, second) for plan, (first, second) in kept.items()}
        return found

    def halves(self, plan: Plan) -> list[tuple[Plan, bool]]:
        """The pairs of halves that stand for a confirmation without pairs of its own, in planned order, and
        whether the treatment of each holds the idea, and not the control."""
        if plan.kind is not PlanKind.CONFIRM or self._own_pairs(plan):
            return []
        found = []
        for one in self.plans.values():
            first, second = self.held.get(one.id, ([], []))
            if one.round == plan.round and plan.idea in (*first, *second):
                found.append((one, plan.idea in first))
        return found

    def beside(self, plan: Plan) -> list[str]:
        """The ideas that were confirmed together with the idea of a plan."""
        names = {name for one, _ in self.halves(plan) for both in self.held[one.id] for name in both}
        return sorted(names - {plan.idea})

    @cached_property
    def tuned(self) -> dict[tuple[int, str], dict[str, Any]]:
        """(round, idea) -> what the search for its knobs came to in `words`, and its `control`; `equal`:
        that is not the trunk, but the trunk with the same knobs as well tuned."""
        found = {}
        for key, kept in self.store.decisions([self.campaign.id], TUNED)[self.campaign.id].items():
            for name, one in kept["ideas"].items():
                equal = one["control"] != kept["on"]
                found[int(key.partition("/")[0]), name] = {**one, "equal": equal}
        return found

    def flops_per_token(self, recipe: str, rung: int) -> float | None:
        """As counted, None where it was not; of another currency each costs one."""
        if not self.fingerprint.counts_flops:
            return 1 / self.fingerprint.currency.parts
        if (recipe, rung) not in self.per_token:
            cost = self.store.cost(self.campaign.id, recipe, rung)
            self.per_token[recipe, rung] = cost.flops_per_token if cost else None
        return self.per_token[recipe, rung]

    def flops_ratio(self, plan: Plan) -> float | None:
        """Counted FLOPs per token of the treatment over the control's; None where they are not counted."""
        if not self.fingerprint.counts_flops:
            return None
        above = self.flops_per_token(plan.treatment, plan.rung)
        below = self.flops_per_token(plan.control, plan.rung)
        return above / below if above and below else None

    def pairs(self, plan: Plan) -> list[Pair]:
        """The pairs of a plan of which a run exists, in planned order; of a joint confirmation those of
        halves without the idea (as `control`) and with it."""
        found = []
        for one, with_it in self.halves(plan):
            found += [pair if with_it else pair.turned() for pair in self._own_pairs(one)]
        return found or self._own_pairs(plan)

    def _own_pairs(self, plan: Plan) -> list[Pair]:
        found = []
        for seed in plan.seeds:
            specs = plan.runs(seed, self.campaign.fingerprint.id)
            control, treatment = (self.runs.get(spec.id) for spec in specs)
            if treatment is None:
                continue
            found.append(
                Pair(
                    seed=seed,
                    control=specs[0].id,
                    treatment=specs[1].id,
                    control_loss=_loss(control),
                    treatment_loss=_loss(treatment),
                    control_status=_status(control),
                    treatment_status=_status(treatment),
                )
            )
        return found

    def settled(self, idea: str | None) -> bool:
        """Whether it is out whether an idea was planted: numbers that would tell are kept back before."""
        over = self.campaign.state is CampaignState.FINISHED
        return over or idea in self.blanks or any(one.idea.name == idea for one in self.findings)

    def marked(self, idea: str) -> str:
        """An idea's name, and that it was planted once that is known."""
        return f"{idea} ({planted_as(self.blanks[idea].kind)})" if idea in self.blanks else idea

    def verdicts_of(self, plan: str) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.plan == plan]

    def audits_of(self, verdict: Verdict) -> list[Audit]:
        """What a verdict was audited for before it was written."""
        kept = self.store.decision(self.campaign.id, f"audits/{verdict.id}") or []
        return [Audit.model_validate(audit) for audit in kept]

    def plans_of(self, idea: str, kind: PlanKind | None = None) -> list[Plan]:
        return [p for p in self.plans.values() if p.idea == idea and kind in (None, p.kind)]

    def judged(self) -> list[Judged]:
        """Every idea with a measured interval: adopted first, screened only last, each by its effect."""
        order = {"adopted": 0, "claimed": 1, "carried": 2, "not claimed": 3, "worse": 3, "screened": 4}
        rows = [row for entry in self.ideas if (row := self._judged(entry)) is not None]
        return sorted(rows, key=lambda row: (order[row.group], -row.log2_cm.value, row.name))

    def panels(self, points: Sequence[Mapping[str, Any]]) -> list[ScalingPanel]:
        """The original's curve at each rung, with the last of the trunk `points` of that rung on it."""
        original = self.original
        measured: dict[int, list[tuple[float, float]]] = {}
        for run in self.finished:
            per_token = self.flops_per_token(run.spec.recipe, run.spec.rung)
            loss = _loss(run)
            if run.stage == PlanKind.CURVE.value and run.spec.recipe == original and per_token and loss:
                measured.setdefault(run.spec.rung, []).append((run.spec.tokens * per_token, loss))
        last = {point["rung"]: point for point in points}
        panels = []
        for rung, found in sorted(measured.items()):
            checks = [p for p in self.plans.values() if p.kind is PlanKind.VERIFY and p.control == original]
            plan = next((p for p in reversed(checks) if p.rung == rung and self.verdicts_of(p.id)), None)
            any_plan = plan or next(
                (p for p in self.plans.values() if (p.control, p.rung) == (original, rung)), None
            )
            per_token = self.flops_per_token(original or "", rung)
            panels.append(
                ScalingPanel(
                    rung=rung,
                    points=tuple(sorted(found)),
                    flops=any_plan.control_tokens * per_token if any_plan and per_token else None,
                    difference=self.verdicts_of(plan.id)[-1].difference if plan else None,
                    log2_cm=Interval.model_validate(last[rung]["log2_cm"]) if rung in last else None,
                    currency=self.fingerprint.currency.words,
                    unit=self.fingerprint.unit,
                )
            )
        return panels

    def _judged(self, entry: IdeaEntry) -> Judged | None:
        best: tuple[int, Verdict, Plan] | None = None
        for verdict in self.verdicts:
            plan = self.plans.get(verdict.plan)
            if plan is None or plan.idea != entry.idea.name or plan.kind not in STAGES:
                continue
            usable = verdict.log2_cm is not None and math.isfinite(verdict.log2_cm.value)
            if usable and (best is None or STAGES[plan.kind] >= best[0]):
                best = (STAGES[plan.kind], verdict, plan)
        if best is None:
            return None
        _, verdict, plan = best
        claims = [one for one in self.findings if verdict.id == one.verdicts[-1] and one.shrunk]
        log2_cm = claims[-1].log2_cm if claims else verdict.log2_cm
        assert log2_cm is not None
        blank = self.blanks.get(entry.idea.name)
        return Judged(
            name=entry.idea.name,
            group=_group(entry.state, plan.kind, verdict.kind),
            stage=plan.kind,
            pairs=verdict.pairs,
            failures=verdict.failures,
            log2_cm=log2_cm,
            blank=blank.kind if blank else None,
        )


def gather(store: Store, campaign: Campaign) -> Facts:
    """Read a campaign. Blanks that are not unblinded are left out: the report must not give them away."""
    return Facts(
        store=store,
        campaign=campaign,
        ideas=store.ideas(campaign.id),
        plans={plan.id: plan for plan in store.plans(campaign.id)},
        verdicts=store.verdicts(campaign.id),
        findings=store.findings(campaign.id),
        runs={run.id: run for run in store.runs(campaign.id)},
        blanks={blank.name: blank for blank in store.blanks(campaign.id) if blank.unblinded is not None},
    )


def overrides_between(
    before: Mapping[str, object], after: Mapping[str, object]
) -> list[tuple[str, object, object]]:
    """Configuration keys that differ: (key, value before, value after), None where it is not set."""
    keys = sorted({*before, *after})
    return [(k, before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)]


def planted_as(kind: str) -> str:
    """What stands behind the name of an idea that was planted."""
    return "known gain" if known_gain(kind) else "blank"


def kind_text(kind: str) -> str:
    """A kind of planted ideas, with the unit of its gain."""
    return f"{kind} log2 CM" if known_gain(kind) else kind


def source_of(idea: Idea) -> str:
    """How an idea is expressed: code, configuration, or both."""
    kinds = [("source code", idea.patch.edits), ("configuration", idea.patch.overrides)]
    return " and ".join(name for name, present in kinds if present)


def _group(state: IdeaState, stage: PlanKind, kind: VerdictKind) -> str:
    if state is IdeaState.ADOPTED:
        return "adopted"
    if state is IdeaState.CARRIED:
        return "carried"
    if stage is PlanKind.SCREEN:
        return "screened"
    if kind is VerdictKind.BETTER:
        return "claimed"
    return "worse" if kind is VerdictKind.WORSE else "not claimed"


def _loss(run: RunEntry | None) -> float | None:
    """What a run scored, or was expected to where it was stopped early."""
    if run is None or run.result is None:
        return None
    return run.result.stopped.expected if run.result.stopped else run.result.bits_per_byte


def _status(run: RunEntry | None) -> str:
    if run is None:
        return ""
    if run.result:
        return run.result.status.value
    return "" if run.state is RunState.QUEUED else run.state.value
