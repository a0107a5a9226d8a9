"""Cohorts on the toy testbed that are confirmed together, and what came of them."""

from __future__ import annotations

from toy import idea

from mendel.records import PlanKind

GAINS = {"a": 1.3, "b": 1.25, "c": 1.2, "source": 1.15}
CLEAR = [
    idea("a", {"gain_a": 1.3}),
    idea("b", {"gain_b": 1.25}),
    idea("c", {"gain_c": 1.2}),
    idea("source", edits=[("EFFICIENCY = 1.0", "EFFICIENCY = 1.15")]),
]
IDLE = idea("idle", {"label": "idle"})
"""Changes nothing and composes with the others."""
ALL = {"enter": 0.0}
"""Whatever can be screened enters confirmation."""
BUDGET = "130runs"


def halves(store, campaign, round=0):
    """Plans of halves of a round, in planned order."""
    return sorted(
        (plan for plan in store.plans(campaign, PlanKind.HALVES) if plan.round == round),
        key=lambda plan: plan.seeds,
    )


def verdicts(store, campaign, round=0):
    """Idea -> what confirmation in a round said of it."""
    plans = {p.id: p.idea for p in store.plans(campaign, PlanKind.CONFIRM) if p.round == round}
    return {plans[v.plan]: v for v in store.verdicts(campaign) if v.plan in plans}


def said(store, campaign, start):
    return [event.message for event in store.events(campaign) if event.message.startswith(start)]


def cohort(store, campaign, round=0):
    """Names of what a round confirmed together, in their order."""
    lines = said(store, campaign, f"round {round}:")
    (line,) = [one for one in lines if "confirmed together" in one]
    return line.rpartition(": ")[2].split(", ")


def holds(store, recipe, ideas):
    """Names of the ideas of which a recipe holds what they change."""
    found = store.recipe(recipe)
    source = store.load_tree(found.tree)["train.py"]
    return {
        one.name
        for one in ideas
        if all(found.overrides.get(key) == value for key, value in one.patch.overrides.items())
        and all(edit.replace in source for edit in one.patch.edits)
    }
