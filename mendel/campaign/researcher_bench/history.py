"""A lab that has found much before: ideas of all classes with verdicts, half of them claimed."""

from __future__ import annotations

import random

from mendel.campaign.lab import Lab
from mendel.patches import read_tree
from mendel.records import (
    IDEA_CLASSES,
    Edit,
    Finding,
    Forecast,
    Idea,
    Interval,
    Patch,
    Plan,
    PlanKind,
    Recipe,
    Shard,
    Verdict,
    VerdictKind,
    tree_hash,
)
from mendel.store import IdeaState

PARTS = ("query", "key", "value", "gate", "projection", "embedding", "head", "norm", "residual", "momentum")
DEEDS = ("scale", "share", "delay", "clip", "mix", "split", "tie", "warm", "average", "centre")
PLACES = ("block", "layer", "step")
WHYS = ("gradients", "logits", "updates", "activations", "spectra", "moments", "statistics", "directions")


def put_history(lab: Lab, size: int) -> None:
    """`size` findings in the store of a lab, and as many ideas that were screened and showed nothing."""
    tree = dict(read_tree(lab.testbed))
    base = Recipe(testbed=lab.testbed.name, tree=tree_hash(tree), base=lab.campaign.recipe)
    control = lab.recipe(base, tree, base.base)
    with lab.store.transaction():
        ideas = [_idea(number) for number in range(2 * size)]
        lab.store.add_ideas(lab.campaign.id, ideas)
        for number, idea in enumerate(ideas):
            _judge(lab, control, idea, number, claimed=number % 2 == 0)


def _idea(number: int) -> Idea:
    draw = random.Random(number)
    deed, part, why = draw.choice(DEEDS), draw.choice(PARTS), draw.choice(WHYS)
    words = (
        f"{deed.capitalize()} the {part} by its running {why} in every {draw.choice(PLACES)}, so that the "
        f"{draw.choice(PARTS)} of a shallow model sees {draw.choice(WHYS)} of one size; it helps early."
    )
    line = f"        # {deed} {part} {number}\n"
    edit = Edit(path="model.py", search="        return self.proj(h_BTF)\n",
                replace=f"{line}        return self.proj(h_BTF)\n")  # fmt: skip
    return Idea(
        name=f"past-{number}",
        idea_class=IDEA_CLASSES[number % len(IDEA_CLASSES)],
        hypothesis=words,
        mechanism=f"The {part} is what limits early steps.",
        citation="",
        forecast=Forecast(mean=0.05, sd=0.2),
        patch=Patch(edits=(edit,)),
        proposer="claude-opus-5-5",
    )


def _judge(lab: Lab, control: str, idea: Idea, number: int, claimed: bool) -> None:
    """The plan and the verdict of a screen; of a claim, those of a confirmation and the finding as well."""
    store, campaign, draw = lab.store, lab.campaign.id, random.Random(-number)
    gain = draw.uniform(0.05, 0.4) if claimed else draw.gauss(0.0, 0.03)
    kinds = (PlanKind.SCREEN, PlanKind.CONFIRM) if claimed else (PlanKind.SCREEN,)
    verdicts = []
    for kind in kinds:
        shard = Shard.VALIDATION if kind is PlanKind.SCREEN else Shard.HELD_OUT
        plan = Plan(
            kind=kind, round=0, idea=idea.name, control=control, treatment=f"{number:012x}", rung=0,
            seeds=(number,), control_tokens=80_000, treatment_tokens=80_000, cost_ratio=1.0, shard=shard,
        )  # fmt: skip
        better = kind is PlanKind.CONFIRM
        verdict = Verdict(
            plan=store.put_plan(campaign, plan),
            kind=VerdictKind.BETTER if better else VerdictKind.NO_DIFFERENCE_SHOWN,
            pairs=6 if better else 1,
            difference=_interval(gain / 4),
            log2_cm=_interval(gain),
            probability=None if better else 0.01,
        )
        store.put_verdict(campaign, verdict)
        verdicts.append(verdict.id)
    if claimed:
        finding = Finding(
            idea=idea, round=0, control=control, treatment=f"{number:012x}", rung=0, cost_ratio=1.0,
            log2_cm=_interval(gain), verdicts=tuple(verdicts), runs=14, adopted=False,
            refuted_by="Fresh pairs whose interval lies below.",
        )  # fmt: skip
        store.put_finding(campaign, finding)
    state = IdeaState.CLAIMED if claimed else IdeaState.DROPPED
    store.set_idea_state(campaign, idea.name, state, "of an earlier round")


def _interval(value: float) -> Interval:
    return Interval(value=value, low=value - 0.04, high=value + 0.04)
