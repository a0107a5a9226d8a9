"""The last look before a claim: is the gain that an idea's pairs show a gain of the idea?

Each run was audited while it was scored; here the evidence of all pairs is put together, and what no single
run can show is tested: what the idea really cost, whether it knows the text that it is scored on, and whether
its gain hangs on a constant that seeds something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from mendel.campaign.audits import audit_patch, new_overrides
from mendel.campaign.lab import Request
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import differences
from mendel.patches import compare_constants, mutate, seed_constants
from mendel.plans.costs import BLIND
from mendel.records import Audit, Plan, Recipe, RunResult, RunStatus, tree_hash
from mendel.yardstick import memorised, pooled

COST_SLACK = 1.2
"""CPU seconds over what was charged that are still a matter of the machine."""
COST_ERROR = 1e-3
"""Chance that an idea is said to cost more than it was charged although it costs as much."""

Results = Sequence[tuple[RunResult, RunResult]]
"""Control and treatment of each pair, in planned order."""


def audit_runs(pairs: Results) -> tuple[Audit, ...]:
    """What the audits of single treatment runs found, one record for each kind of audit."""
    found: dict[str, list[Audit]] = {}
    for _, treatment in pairs:
        for audit in treatment.audits:
            found.setdefault(audit.name, []).append(audit)
    return tuple(_merged(audits) for audits in found.values())


def audit_claim(round: Round, plan: Plan, pairs: Results) -> tuple[Audit, ...]:
    """All audits of an idea that its pairs would call better. Trains more runs where its gain could hang on a
    constant."""
    by_seconds = not round.lab.meter.counts_runs
    epochs = round.lab.corpus.epochs(plan.treatment_tokens)
    audits = [
        *audit_patch(round.lab, plan.control, plan.treatment),
        *audit_runs(pairs),
        audit_cost(pairs, COST_SLACK * (1.0 if by_seconds else BLIND)),
        pooled([audit for _, treatment in pairs for audit in treatment.audits]),
        memorised([(_losses(control), _losses(treatment)) for control, treatment in pairs], epochs),
    ]
    if all(audit.passed for audit in audits):
        audits += _audit_constants(round, plan, pairs)
    return tuple(audits)


def audit_cost(pairs: Results, slack: float) -> Audit:
    """Whether the treatment took more CPU seconds than its control, both at equal charged cost.

    A one-sided t interval of the mean log ratio over the pairs; `slack` is the ratio that is let through.
    """
    logs = [
        math.log(treatment.cpu_seconds / control.cpu_seconds)
        for control, treatment in pairs
        if treatment.status is control.status is RunStatus.DONE
        and treatment.cpu_seconds > 0
        and control.cpu_seconds > 0
    ]
    if len(logs) < 2:
        return Audit(name="compute", passed=True, reason=f"not measured: {len(logs)} pairs have CPU times")
    mean = float(np.mean(logs))
    half = float(stdtrit(len(logs) - 1, 1 - COST_ERROR)) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    ratio, low = math.exp(mean), math.exp(mean - half)
    return Audit(
        name="compute",
        passed=low <= slack,
        reason=f"{ratio:.2f} times the control's CPU seconds at equal charged cost, at least {low:.2f}; "
        f"up to {slack:.2f} is let through",
        evidence={"ratio": ratio, "low": low, "slack": slack, "pairs": len(logs)},
    )


def _audit_constants(round: Round, plan: Plan, pairs: Results) -> list[Audit]:
    """Trains the idea once more on the same seeds, with other constants in what seeds something."""
    lab = round.lab
    before, after = lab.store.recipe(plan.control), lab.store.recipe(plan.treatment)
    old, new = lab.store.load_tree(before.tree), lab.store.load_tree(after.tree)
    overrides = new_overrides(before, after)
    if not seed_constants(old, new, overrides):
        return []
    requests = []
    for number, seed in enumerate(plan.seeds[: len(pairs)]):
        tree, knobs = mutate(old, new, overrides, number)
        changed = Recipe(
            testbed=after.testbed,
            tree=tree_hash(tree),
            base=after.base,
            overrides={**after.overrides, **knobs},
        )
        recipe = lab.recipe(changed, tree, f"{plan.idea} with other constants")
        other = plan.model_copy(update={"treatment": recipe})
        _, spec = other.runs(seed, lab.campaign.fingerprint.id)
        requests.append(Request(spec, plan.kind.value, plan.idea))
    results = lab.complete(requests)
    others = [(control, results[r.spec.id]) for (control, _), r in zip(pairs, requests, strict=True)]
    gains = [at_bound(differences(found), plan.rule) for found in (pairs, others)]
    return [compare_constants(gains[0], gains[1], plan.rule.min_loss_gain)]


def _merged(audits: Sequence[Audit]) -> Audit:
    """One audit of several runs: the first violation, or what the last run showed."""
    worst = next((audit for audit in audits if not audit.passed), audits[-1])
    runs = f"{len(audits)} run{'s' if len(audits) != 1 else ''}"
    return worst.model_copy(update={"reason": f"{runs}: {worst.reason}"})


def _losses(result: RunResult) -> dict[str, float]:
    """Bits per byte by text, "scored" among them; empty for a run that failed."""
    if result.bits_per_byte is None:
        return {}
    return {"scored": result.bits_per_byte, **result.beside}
