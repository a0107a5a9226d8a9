"""The last look before a claim: is the gain that an idea's pairs show a gain of the idea?

Each run was audited while it was scored; here the evidence of all pairs is put together, and what no single
run can show is tested: what the idea really cost, whether it knows the text that it is scored on, and whether
its gain hangs on a constant that seeds something.
"""

from __future__ import annotations

from collections.abc import Sequence

from mendel.campaign.audits import audit_patch, new_overrides
from mendel.campaign.jobs import Request
from mendel.campaign.planting import grant
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.trunk import differences
from mendel.patches import mutate, seed_constants
from mendel.plans.costs import BLIND, COST_SLACK, audit_cost
from mendel.records import Audit, Plan, Recipe, RunResult, RunStatus, Trust, tree_hash
from mendel.verdicts.constants import compare_constants
from mendel.yardstick import memorised, pooled

SCORE_SLACK = 3.0
"""CPU seconds of scoring over the control's, beyond what a token is charged, that say nothing."""
LEAST_CONSTANTS = 3
"""Pairs."""

Results = Sequence[tuple[RunResult, RunResult]]
"""Control and treatment of each pair, in planned order."""
Grants = Sequence[tuple[float, float]]
"""How many times the compute of others the lab let them spend."""


def audit_runs(pairs: Results) -> tuple[Audit, ...]:
    """What the audits of single treatment runs found, one record for each kind of audit."""
    found: dict[str, list[Audit]] = {}
    for _, treatment in pairs:
        for audit in treatment.audits:
            found.setdefault(audit.name, []).append(audit)
    return tuple(_merged(audits) for audits in found.values())


def audit_claim(round: Round, plan: Plan, pairs: Results, granted: Grants = ()) -> tuple[Audit, ...]:
    """All audits of an idea that its pairs would call better, `granted` as in `audit_costs`. Trains more
    runs where its gain could hang on a constant."""
    audits = [
        *audit_patch(round.lab, plan.control, plan.treatment),
        *audit_runs(pairs),
        *audit_costs(round, plan, pairs, granted),
    ]
    if round.lab.testbed.trust is Trust.SCORED:
        audits += [
            pooled([audit for _, treatment in pairs for audit in treatment.audits]),
            memorised(
                [(_losses(control), _losses(treatment)) for control, treatment in pairs],
                round.lab.ground.text.epochs(plan.treatment_tokens),
                skip=_other_text(round, plan),
            ),
        ]
    if all(audit.passed for audit in audits):
        audits += _audit_constants(round, plan, pairs)
    return tuple(audits)


def hangs_on_constants(round: Round, plan: Plan) -> bool:
    """Whether a claim of this plan's treatment would be tested with other constants."""
    before, after = round.lab.store.recipe(plan.control), round.lab.store.recipe(plan.treatment)
    old, new = round.lab.store.load_tree(before.tree), round.lab.store.load_tree(after.tree)
    return bool(seed_constants(old, new, new_overrides(before, after)))


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
    both = [(pair, results[r.spec.id]) for pair, r in zip(pairs, requests, strict=True)]
    # A constant that cannot be changed is no sign of luck: those runs say nothing.
    both = [(pair, other) for pair, other in both if other.status is RunStatus.DONE]
    if len(both) < LEAST_CONSTANTS:
        reason = f"{len(both)} runs with other constants ended well: not compared"
        return [Audit(name="seed", passed=True, reason=reason)]
    mine, others = [pair for pair, _ in both], [(pair[0], other) for pair, other in both]
    gains = [at_bound(differences(found), plan.rule) for found in (mine, others)]
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


def audit_costs(round: Round, plan: Plan, pairs: Results, granted: Grants = ()) -> tuple[Audit, ...]:
    """What pairs took to train, at equal charged cost; and to answer for their scores, where a model may cost
    what it is charged per token, but has nothing to learn.

    What the lab gave away is not the idea's doing: `granted` says it of each run, and is the idea's own where
    nothing else is in its runs."""
    both = zip(pairs, granted or [(1.0, grant(round.lab, plan.idea))] * len(pairs), strict=True)
    good = [(c, t, shares) for (c, t), shares in both if c.status is t.status is RunStatus.DONE]
    slack = COST_SLACK * (1.0 if round.lab.by_clock else BLIND)
    clock = round.lab.seconds
    train = audit_cost([(clock(c) / mine, clock(t) / its) for c, t, (mine, its) in good], slack)
    if round.lab.testbed.trust is not Trust.SCORED:
        return (train,)
    dearer = SCORE_SLACK * max(1.0, plan.cost_ratio)
    score = audit_cost([(c.score_cpu_seconds, t.score_cpu_seconds) for c, t, _ in good], dearer)
    return train, score.model_copy(update={"reason": f"scoring: {score.reason}"})


def any_rejected(pairs: Results) -> bool:
    """Whether the score of a treatment was rejected."""
    return any(treatment.status is RunStatus.REJECTED for _, treatment in pairs)


def _losses(result: RunResult) -> dict[str, float]:
    """Bits per byte by text, "scored" among them; empty for a run that failed."""
    if result.bits_per_byte is None:
        return {}
    return {"scored": result.bits_per_byte, **result.beside}
