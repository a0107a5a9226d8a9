"""The last look before a claim: is the gain that an idea's pairs show a gain of the idea?

Each run was audited while it was scored; here the evidence of all pairs is put together, and what no single
run can show is tested: what the idea really cost, whether it knows the text that it is scored on, and whether
its gain hangs on a constant that seeds something.
"""

from __future__ import annotations

from collections.abc import Sequence

from mendel.campaign.audits import audit_patch, new_overrides
from mendel.campaign.lab import Request
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import differences
from mendel.patches import compare_constants, mutate, seed_constants
from mendel.plans.costs import BLIND, COST_SLACK, audit_cost
from mendel.records import Audit, Plan, Recipe, RunResult, RunStatus, tree_hash
from mendel.yardstick import memorised, pooled

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
        audit_cost(_seconds(pairs), COST_SLACK * (1.0 if by_seconds else BLIND)),
        pooled([audit for _, treatment in pairs for audit in treatment.audits]),
        memorised(
            [(_losses(control), _losses(treatment)) for control, treatment in pairs],
            epochs,
            skip=_other_text(round, plan),
        ),
    ]
    if all(audit.passed for audit in audits):
        audits += _audit_constants(round, plan, pairs)
    return tuple(audits)


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


def _other_text(round: Round, plan: Plan) -> str:
    """Why gains on training text say nothing of an idea: it sets knobs of the data. Code of its own could
    claim that too, so an idea with edits is compared all the same."""
    for entry in round.lab.store.ideas(round.campaign):
        if entry.idea.name == plan.idea and entry.idea.idea_class == "data" and not entry.idea.patch.edits:
            return "it trains on other text"
    return ""


def _seconds(pairs: Results) -> list[tuple[float, float]]:
    """CPU seconds of control and treatment, of pairs that ended well."""
    return [
        (control.cpu_seconds, treatment.cpu_seconds)
        for control, treatment in pairs
        if treatment.status is control.status is RunStatus.DONE
    ]


def _losses(result: RunResult) -> dict[str, float]:
    """Bits per byte by text, "scored" among them; empty for a run that failed."""
    if result.bits_per_byte is None:
        return {}
    return {"scored": result.bits_per_byte, **result.beside}
