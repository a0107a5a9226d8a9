"""Writes what campaigns would into a real store: claims, failures, trunks; no training, all numbers known."""

from pathlib import Path

from mendel.knowledge.memory import remember
from mendel.records import Finding, Interval, Patch, Plan, PlanKind, Shard, Verdict, VerdictKind
from mendel.store import IdeaState, Store
from tests.store.samples import FINGERPRINT, an_idea


def interval(value, half=0.1, **more):
    return Interval(value=value, low=value - half, high=value + half, **more)


def idea(name, words="It helps.", **patch):
    given = {"overrides": {name.replace("-", "_"): 1}} | patch
    return an_idea(name, hypothesis=words, mechanism="It works.", patch=Patch(**given))


class Lab:
    """Writes what campaigns would."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.trunks: dict[str, list[dict]] = {}

    def campaign(self, testbed="gpt", fingerprint=FINGERPRINT) -> str:
        made = self.store.create_campaign("c", 7, testbed, "gpt2", {"rungs": [0, 1]}, fingerprint).id
        self.trunks[made] = []
        return made

    def judged(
        self, campaign, one, kind, value, *, plan=PlanKind.CONFIRM, control="base", half=0.1
    ) -> Verdict:
        self.store.add_ideas(campaign, [one])
        made = Plan(
            kind=plan, round=0, idea=one.name, control=control, treatment=f"{one.name}+", rung=0,
            seeds=(1, 2), control_tokens=10, treatment_tokens=10, cost_ratio=1.0,
            shard=Shard.HELD_OUT if plan is PlanKind.CONFIRM else Shard.VALIDATION,
        )  # fmt: skip
        self.store.put_plan(campaign, made)
        verdict = Verdict(plan=made.id, kind=kind, pairs=6, log2_cm=interval(value, half))
        self.store.put_verdict(campaign, verdict)
        self.store.set_idea_state(campaign, one.name, IdeaState.DROPPED, f"confirmation: {kind.value}")
        return verdict

    def claimed(self, campaign, one, value, *, round=0, control="base", half=0.1, adopted=True, **more):
        verdict = self.judged(campaign, one, VerdictKind.BETTER, value, control=control)
        given = {
            "idea": one, "round": round, "control": control, "treatment": f"{one.name}+", "rung": 0,
            "cost_ratio": 1.0, "log2_cm": interval(value, half), "verdicts": (verdict.id,), "runs": 12,
            "adopted": adopted, "refuted_by": "fresh pairs",
        }  # fmt: skip
        self.store.put_finding(campaign, Finding(**given | more))
        self.store.set_idea_state(campaign, one.name, IdeaState.ADOPTED if adopted else IdeaState.CLAIMED, "")

    def joined(self, campaign, recipe, *names, round=0):
        self.trunks[campaign].append({"round": round, "recipe": recipe, "adopted": list(names)})

    def known(self, *others):
        stores = [self.store, *(one.store for one in others)]
        trunks = {key: rows for one in (self, *others) for key, rows in one.trunks.items()}
        return remember(stores, lambda _, campaign: trunks[campaign.id])
