"""The trunk as the campaign runs it, and ideas made ready to be compared with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mendel.campaign.audits import audit_patch, failed, full
from mendel.campaign.jobs import Request, StopCheck
from mendel.campaign.lab import Lab, LabError
from mendel.campaign.planting import grant
from mendel.patches import PatchError, Stale, Tree, adopt, apply_patch, build
from mendel.plans.costs import Charge
from mendel.records import (
    Idea,
    Patch,
    Plan,
    PlanKind,
    Recipe,
    RunResult,
    RunSpec,
    RunStatus,
    Shard,
    Trunk,
)


@dataclass(frozen=True)
class Line:
    """A recipe the campaign compares others with: the original, or the trunk of a round."""

    trunk: Trunk
    recipe: str
    """Recipe id."""
    excess: float = 1.0
    """CPU seconds charged beyond its FLOPs, relative to the original."""
    fixed: float = 0.0
    """Share of a run's compute that goes into what it does once, as charged."""
    ahead: float = 0.0
    """log2 CM over the original, as measured when it became the trunk."""
    grant: float = 1.0
    """Times the compute of others that the lab lets it spend: above 1 for a positive control alone."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(idea.name for idea in self.trunk.adopted)


@dataclass(frozen=True)
class Candidate:
    """An idea on top of a trunk, ready to run."""

    idea: Idea
    line: Line
    flops_ratio: float
    """Its FLOPs per token over its control's."""
    control: Line
    """What it is compared with: the trunk, or the trunk with the same knobs as well tuned."""


@dataclass(frozen=True)
class Share:
    """An adopted change: what it was claimed on, and what it has in a trunk's charge."""

    round: int
    control: Line
    line: Line
    """The control with this change alone."""
    excess: float
    """Factor of its CPU seconds per token beyond FLOPs."""
    fixed: float
    """Share of a run that it spends once."""


@dataclass
class Shelf:
    """The base source tree and everything built from it."""

    lab: Lab
    tree: Tree
    base: Recipe
    shares: dict[str, Share] = field(default_factory=dict)
    """By name of an adopted change."""
    surplus: list[tuple[frozenset[str], float]] = field(default_factory=list)
    """Changes that together take so many times what they are charged one by one."""

    def line(self, trunk: Trunk, excess: float, label: str) -> Line:
        """Build and store a trunk. Raises Stale or PatchError where it does not build."""
        built = build(trunk, self.tree, self.lab.testbed.editable)
        recipe = self.lab.recipe(built.recipe, built.tree, label)
        return Line(trunk, recipe, excess)

    def stack(self, line: Line, ideas: Sequence[Idea], charges: dict[str, Charge], label: str) -> Line:
        """`line` with as many of `ideas` as compose, first come first served; one idea of each slot. What is
        nothing but tuned values comes last: code that tuned the same has these already."""
        best = line
        for idea in sorted(ideas, key=lambda one: _within(one.patch, one.patch)):
            joined = [held for held in best.trunk.adopted if held in ideas]
            if any(_alternatives(held.patch, idea.patch) for held in joined):
                continue
            charge = charges[idea.name]
            left = 1 - best.fixed - charge.fixed
            if left <= 0:
                continue
            # Per token the ratios multiply, but what is done once adds up and leaves less room for tokens.
            excess = best.excess * charge.excess(line.fixed) * (1 - best.fixed) / left
            with contextlib.suppress(Stale, PatchError):
                built = self.line(adopt(best.trunk, idea), excess, label)
                best = replace(built, fixed=best.fixed + charge.fixed)
        return best

    def adopted(
        self,
        round: int,
        controls: Mapping[str, Line],
        lines: Mapping[str, Line],
        charges: Mapping[str, Charge],
    ) -> None:
        """Remember what changes were compared with and charged when they joined the trunk: to be able to
        leave one out, and to measure it at another rung."""
        for name, line in lines.items():
            charge, control = charges[name], controls[name]
            excess = charge.excess(control.fixed)
            self.shares[name] = Share(round, control, line, excess, charge.fixed)

    def without(self, line: Line, names: Collection[str], label: str) -> Line:
        """`line` without these changes, and without those that do not fit any more then; charged less by
        what they were charged."""
        kept = Trunk(base=line.trunk.base)
        for idea in line.trunk.adopted:
            if idea.name not in names:
                with contextlib.suppress(Stale, PatchError):
                    longer = adopt(kept, idea)
                    build(longer, self.tree, self.lab.testbed.editable)
                    kept = longer
        gone = [self.shares[idea.name] for idea in line.trunk.adopted if idea not in kept.adopted]
        fixed = line.fixed - sum(share.fixed for share in gone)
        left = {idea.name for idea in kept.adopted}
        # What only all of them together cost goes with the first of them.
        beyond = [ratio for held, ratio in self.surplus if held <= {*line.names} and not held <= left]
        charged = math.prod(share.excess for share in gone) * math.prod(beyond)
        per_token = line.excess * (1 - line.fixed) / charged
        return replace(self.line(kept, per_token / (1 - fixed), label), fixed=fixed)

    def flaw(self, idea: Idea) -> str:
        """Why an idea fits not even the base, or an empty text: then only the trunk has left it behind."""
        try:
            apply_patch(self.tree, idea.patch, self.lab.testbed.editable)
        except PatchError as error:
            return f"idea {idea.name!r}: {error.summary}"
        return ""


def _alternatives(held: Patch, other: Patch) -> bool:
    """Whether two patches for one trunk exclude each other: they share a slot, or one would leave nothing of
    the other."""
    same_slot = held.slot is not None and held.slot == other.slot
    return same_slot or _within(held, other) or _within(other, held)


def _within(patch: Patch, other: Patch) -> bool:
    """Whether a patch is nothing but values of knobs that the other one has tuned."""
    return not patch.edits and patch.overrides.keys() <= {*other.tuned}


def tokens_at(lab: Lab, line: Line, rung: int, multiple: float = 1.0) -> int:
    """Training tokens with which a recipe spends `multiple` of a rung's compute, as charged.

    Raises Refused for a shape that cannot meet the budget.
    """
    per_token = lab.flops_per_token(line.recipe, rung) * line.excess
    lab.rung_tokens[line.recipe, rung] = int(lab.testbed.rungs[rung].compute / per_token)
    tokens = int(multiple * line.grant * lab.testbed.rungs[rung].compute / per_token)
    least = lab.smoke_budget(rung)
    if tokens < least:
        currency, parts = lab.testbed.budget.words, lab.testbed.budget.parts
        raise Refused(
            f"{per_token:.3g} {currency} per token: rung {rung} has compute for only {tokens} tokens, "
            f"{least} are the least"
            if lab.testbed.count_flops
            else f"rung {rung} has only {tokens / parts:g} {currency} for it, {least / parts:g} are the least"
        )
    return tokens


def validation_spec(lab: Lab, line: Line, rung: int, seed: int, tokens: int) -> RunSpec:
    """A run of a recipe by itself, scored on the validation shard."""
    return RunSpec(
        recipe=line.recipe,
        rung=rung,
        seed=seed,
        tokens=tokens,
        shard=Shard.VALIDATION,
        fingerprint=lab.campaign.fingerprint.id,
    )


def must_run(lab: Lab, line: Line, rung: int) -> None:
    """Smoke-test the campaign's own recipe. LabError where it does not run."""
    smoke = lab.smoke([(line.recipe, rung, None)])[line.recipe, rung]
    if smoke.status is not RunStatus.DONE:
        raise LabError(
            f"recipe {lab.campaign.recipe} does not run at rung {rung}: {smoke.status}, {smoke.reason}; "
            "mend what is wrong and begin again with --fresh"
        )


def runs_alone(lab: Lab, line: Line, rung: int, seeds: Iterable[int]) -> list[RunSpec]:
    """Runs of a recipe that no campaign judges, one per seed, each with a rung's whole compute.

    LabError where the recipe does not run there, or its shape cannot meet the budget.
    """
    must_run(lab, line, rung)
    try:
        tokens = tokens_at(lab, line, rung)
    except Refused as error:
        raise LabError(f"recipe {lab.campaign.recipe}: {error}") from None
    return [validation_spec(lab, line, rung, seed, tokens) for seed in seeds]


def affords(lab: Lab, line: Line, rung: int) -> bool:
    """Whether a recipe, as charged, can meet a rung's compute budget."""
    try:
        tokens_at(lab, line, rung)
    except Refused:
        return False
    return True


class Refused(ValueError):
    """A shape that cannot meet a rung's compute budget."""


def prepare(
    lab: Lab, shelf: Shelf, control: Line, ideas: Sequence[Idea], rung: int
) -> tuple[list[Candidate], dict[str, tuple[str, str]]]:
    """Put each idea on the trunk, audit its patch and smoke-test it.

    Returns what can run, and for the others (state, reason): "stale", "failed" or "rejected".
    """
    lost: dict[str, tuple[str, str]] = {}
    lines: dict[str, Line] = {}
    for idea in ideas:
        try:
            trunk = adopt(control.trunk, idea)
            line = shelf.line(trunk, control.excess, f"{idea.name} on {control.recipe}")
            violation = failed(audit_patch(lab, control.recipe, line.recipe))
            if violation is not None:
                lost[idea.name] = ("rejected", full(violation))
            else:
                lines[idea.name] = replace(line, grant=control.grant * grant(lab, idea.name))
        except Stale as error:
            flaw = shelf.flaw(idea)
            lost[idea.name] = ("failed", flaw) if flaw else ("stale", str(error))
        except PatchError as error:
            lost[idea.name] = ("failed", error.summary)
    wanted = [(line.recipe, rung, name) for name, line in lines.items()]
    smoked = lab.smoke([(control.recipe, rung, None), *wanted])
    ready: list[Candidate] = []
    for idea in ideas:
        if idea.name not in lines:
            continue
        line = lines[idea.name]
        result = smoked[line.recipe, rung]
        if result.status is RunStatus.REJECTED:
            lost[idea.name] = ("rejected", f"audit {result.reason}")
            continue
        if result.status is not RunStatus.DONE:
            lost[idea.name] = ("failed", f"smoke run {result.status}: {result.reason}")
            continue
        ratio = lab.flops_per_token(line.recipe, rung) / lab.flops_per_token(control.recipe, rung)
        try:
            tokens_at(lab, line, rung)
        except Refused as error:
            lost[idea.name] = ("failed", str(error))
            continue
        ready.append(Candidate(idea, line, ratio, control))
    return ready, lost


Pairs = dict[str, list[tuple[RunResult, RunResult]]]
"""Idea or arm -> results of its pairs in planned order."""


def run_pairs(
    lab: Lab,
    plans: Sequence[Plan],
    first: int,
    last: int,
    watch: Callable[[Plan, RunSpec, RunSpec], StopCheck | None] | None = None,
) -> Pairs:
    """Complete the pairs of all `plans` for their planned seeds number `first` to `last` (excluded).

    `watch` says for the control and the treatment of a pair how the treatment may be stopped early. Controls
    are then finished first: what they showed on their way is what treatments are compared with.
    """
    fingerprint = lab.campaign.fingerprint.id
    both = [
        (plan, plan.runs(plan.seeds[place], fingerprint)) for place in range(first, last) for plan in plans
    ]
    if watch is not None:
        lab.complete([Request(control, plan.kind.value) for plan, (control, _) in both])
    requests = [
        (
            Request(control, plan.kind.value),
            Request(
                treatment,
                plan.kind.value,
                plan.idea or "trunk",
                None if watch is None else watch(plan, control, treatment),
            ),
        )
        for plan, (control, treatment) in both
    ]
    pairs: Pairs = {plan.id: [] for plan in plans}
    for (plan, _), results in zip(both, lab.pairs(requests), strict=True):
        pairs[plan.id].append(results)
    return pairs


def differences(pairs: Sequence[tuple[RunResult, RunResult]]) -> list[float | None]:
    """Control loss minus treatment loss of each pair in bits per byte; None where the treatment failed, what
    was expected where it was stopped early.

    A control that diverged does so every time it is trained: its pair shows nothing, a difference of zero.
    """
    found: list[float | None] = []
    for control, treatment in pairs:
        if treatment.stopped is not None and control.bits_per_byte is not None:
            found.append(control.bits_per_byte - treatment.stopped.expected)
        elif treatment.bits_per_byte is None:
            found.append(None)
        elif control.bits_per_byte is None:
            found.append(0.0)
        else:
            found.append(control.bits_per_byte - treatment.bits_per_byte)
    return found


def by_window(pairs: Sequence[tuple[RunResult, RunResult]]) -> list[list[float]] | None:
    """`differences` window by window of the text; None unless all runs were scored on the same windows."""
    counts = {len(result.windows) for pair in pairs for result in pair}
    if len(counts) != 1 or 0 in counts:
        return None
    return [
        [c - t for c, t in zip(control.windows, treatment.windows, strict=True)]
        for control, treatment in pairs
    ]


def curve_requests(
    lab: Lab, line: Line, rung: int, multiples: Sequence[float], seeds: Sequence[int]
) -> list[tuple[float, Request]]:
    """Fully decayed runs of a recipe at multiples of a rung's compute: (FLOPs, request), longest first."""
    requests = []
    for multiple in sorted(multiples, reverse=True):
        tokens = tokens_at(lab, line, rung, multiple)
        for seed in seeds:
            spec = validation_spec(lab, line, rung, seed, tokens)
            requests.append((multiple * lab.testbed.rungs[rung].compute, Request(spec, PlanKind.CURVE.value)))
    return requests
