"""A small campaign in a real store, written through its own methods: no training, all numbers known."""

from __future__ import annotations

import json
from pathlib import Path

from mendel.campaign.config import CampaignConfig
from mendel.knowledge.findings import make_finding
from mendel.records import (
    Audit,
    Edit,
    Fingerprint,
    Forecast,
    Idea,
    Interval,
    Patch,
    Plan,
    PlanKind,
    Recipe,
    Rule,
    RunResult,
    RunSpec,
    RunStatus,
    Shard,
    Verdict,
    VerdictKind,
)
from mendel.store import Campaign, CampaignState, IdeaState, Store

HOSTILE = '<script>alert("x")</script> & \x1b[31mred\x1b[0m \u202eevil'
PER_TOKEN = 1e5
TOKENS = 200_000
CONTROL, GAIN = 3.5, 0.25
FINGERPRINT = Fingerprint(
    device="cpu", instruction_set="test", threads=1, precision="float32", libraries={"torch": "2"},
    corpus="c0ffee",
)  # fmt: skip


def idea(name: str, words: str = "It helps.", forecast: float = 0.1) -> Idea:
    return Idea(
        name=name,
        idea_class="attention",
        hypothesis=words,
        mechanism="It works.",
        citation="Somebody 2020",
        forecast=Forecast(mean=forecast, sd=0.1),
        patch=Patch(edits=(Edit(path="model.py", search="a", replace="b"),), overrides={"lr": 0.1}),
    )


class Builder:
    """Fills a store as a campaign would."""

    def __init__(self, root: Path, **config: object) -> None:
        self.store = Store(root)
        settings = CampaignConfig.model_validate({"budget": "20m", **config}).model_dump(mode="json")
        self.campaign = self.store.create_campaign("abc", 1, "gpt", "gpt2", settings, FINGERPRINT)
        self.id = self.campaign.id
        self.original = self.recipe("x = 1\n", {}, "gpt2")

    def now(self) -> Campaign:
        return self.store.campaign(self.id)

    def recipe(self, source: str, overrides: dict[str, object], label: str) -> str:
        tree = self.store.save_tree({"model.py": source, "train.py": "print(1)\n"})
        made = self.store.put_recipe(
            Recipe(testbed="gpt", tree=tree, base="gpt2", overrides=overrides), label
        )
        done = RunResult(status=RunStatus.DONE, bits_per_byte=5.0, tokens=4096, flops=4096 * PER_TOKEN)
        self.store.put_cost(self.id, made, 0, PER_TOKEN, done)
        return made

    def run(self, spec: RunSpec, stage: str, name: str | None, result: RunResult, steps: int = 0) -> None:
        if not self.store.enqueue(self.id, [spec], stage, name):
            return
        self.store.claim(self.id, spec.id)
        self.store.finish(self.id, spec.id, result)
        if steps:
            tree = self.store.recipe(spec.recipe).tree
            folder = self.store.new_run_folder(self.id, spec.id, {}, tree)
            lines = [json.dumps({"tokens": 1000 * (i + 1), "loss": 5 - 0.02 * i}) for i in range(steps)]
            (folder.out / "metrics.jsonl").write_text("\n".join([*lines, HOSTILE, '{"tokens": 1e400}', "[]"]))
            (folder.out / "train.log").write_text(f"first\n{HOSTILE}\nlast\n")

    def curve(self, rung: int = 0) -> None:
        tokens = TOKENS * 2**rung
        for multiple in (0.5, 1.0, 2.0, 4.0):
            for seed in (1, 2):
                spec = RunSpec(
                    recipe=self.original,
                    rung=rung,
                    seed=seed,
                    tokens=int(multiple * tokens),
                    shard=Shard.VALIDATION,
                    fingerprint=FINGERPRINT.id,
                )
                self.run(spec, "curve", None, done(2.0 + 1.5 * multiple**-0.3 + 0.001 * seed))

    def plan(self, kind: PlanKind, name: str | None, treatment: str, seeds: tuple[int, ...]) -> Plan:
        plan = Plan(
            kind=kind,
            round=0,
            idea=name,
            control=self.original,
            treatment=treatment,
            rung=0,
            seeds=seeds,
            control_tokens=TOKENS,
            treatment_tokens=TOKENS,
            cost_ratio=1.0,
            shard=Shard.HELD_OUT if kind is PlanKind.CONFIRM else Shard.VALIDATION,
            rule=Rule(bound=0.5),
        )
        self.store.put_plan(self.id, plan)
        return plan

    def pairs(
        self,
        plan: Plan,
        gains: list[float | None],
        log2_cm: float,
        kind: VerdictKind,
        audits: tuple[Audit, ...] = (),
    ) -> Verdict:
        """Runs for the first seeds of `plan`, a gain for each (None: the treatment diverged)."""
        for seed, gain in zip(plan.seeds, gains, strict=False):
            control, treatment = plan.runs(seed, FINGERPRINT.id)
            self.run(control, plan.kind.value, None, done(CONTROL), steps=50)
            lost = RunResult(status=RunStatus.DIVERGED, reason=HOSTILE, tokens=10)
            result = lost if gain is None else done(CONTROL - gain)
            self.run(treatment, plan.kind.value, plan.idea or "trunk", result, steps=50)
        values = [-plan.rule.bound if gain is None else gain for gain in gains]
        mean = sum(values) / len(values)
        verdict = Verdict(
            plan=plan.id,
            kind=kind,
            pairs=len(gains),
            failures=sum(gain is None for gain in gains),
            difference=Interval(value=mean, low=mean - 0.05, high=mean + 0.05),
            log2_cm=Interval(value=log2_cm, low=log2_cm - 0.2, high=log2_cm + 0.3),
            log_e_t=7.0,
            log_e_sign=3.3,
            reason="as planned",
        )
        self.store.put_verdict(self.id, verdict)
        kept = [audit.model_dump(mode="json") for audit in audits]
        self.store.decide(self.id, f"audits/{verdict.id}", kept)
        return verdict


PEEKS = f"12 of 12 answers {HOSTILE}"


def done(loss: float) -> RunResult:
    return RunResult(
        status=RunStatus.DONE,
        bits_per_byte=loss,
        tokens=TOKENS,
        train_seconds=3.0,
        cpu_seconds=2.5,
        score_seconds=0.5,
    )


def whole_campaign(root: Path) -> Builder:
    """One adopted, one dropped, one rejected, one screened, one failed, one stale and one untried idea; two
    blanks, one of them judged."""
    b = Builder(root)
    names = ["good", "dropped", "peeking", "screened", "failing", "old", "waiting"]
    names += ["quiet-blank", "hidden-blank"]
    b.store.add_ideas(b.id, [idea(name, words=HOSTILE) for name in names])
    b.store.add_blanks(b.id, {"quiet-blank": "batch order", "hidden-blank": "initial stream"})
    b.store.decide(b.id, "0/ideas", list(names))
    b.curve()
    good = b.recipe("x = 2  # <b>bold</b>\n", {"lr": 0.1, "note": "<i>"}, "good")
    other = b.recipe("x = 3\n", {}, "other")
    blank = b.recipe("x = 1 + 0\n", {}, "blank")
    nothing = VerdictKind.NO_DIFFERENCE_SHOWN
    for name, recipe, gain in (("good", good, GAIN), ("dropped", other, 0.1), ("screened", other, 0.01)):
        b.pairs(b.plan(PlanKind.SCREEN, name, recipe, (1, 2, 3)), [gain, gain], 4 * gain, nothing)
    b.pairs(b.plan(PlanKind.SCREEN, "quiet-blank", blank, (1, 2, 3)), [0.0, 0.001], 0.0, nothing)
    b.pairs(
        b.plan(PlanKind.CONFIRM, "dropped", other, (11, 12, 13)), [0.02, None, 0.01], -0.4, VerdictKind.WORSE
    )
    claimed = b.pairs(
        b.plan(PlanKind.CONFIRM, "good", good, (11, 12, 13)),
        [0.3, 0.26, 0.25],
        1.2,
        VerdictKind.BETTER,
        tuple(Audit(name=name, passed=True, reason=HOSTILE) for name in ("code", "future")),
    )
    b.pairs(
        b.plan(PlanKind.CONFIRM, "peeking", other, (11, 12, 13)),
        [0.9, 0.8, 0.85],
        2.9,
        VerdictKind.REJECTED,
        (Audit(name="future", passed=False, reason=PEEKS),),
    )
    fresh = b.pairs(
        b.plan(PlanKind.ESTIMATE, "good", good, (21, 22, 23)), [0.25, 0.24, 0.26], 1.0, VerdictKind.BETTER
    )
    assert fresh.log2_cm is not None
    b.store.put_finding(
        b.id,
        make_finding(
            idea("good", words=HOSTILE),
            round=0,
            control=b.original,
            treatment=good,
            rung=0,
            cost_ratio=1.0,
            cpu_ratio=Interval(value=1.01, low=0.98, high=1.04),
            log2_cm=fresh.log2_cm,
            verdicts=(claimed, fresh),
            runs=12,
            adopted=True,
        ),
    )
    check = b.pairs(b.plan(PlanKind.VERIFY, None, good, (31, 32, 33)), [0.25] * 3, 1.1, VerdictKind.BETTER)
    assert check.log2_cm is not None
    point = {
        "round": 0,
        "rung": 0,
        "recipe": good,
        "adopted": ["good"],
        "log2_cm": check.log2_cm.model_dump(),
        "checked": True,
    }
    b.store.decide(b.id, "trunk/0/0", {**point, "runs": 40, "worker_seconds": 130.0})
    b.store.set_idea_state(b.id, "good", IdeaState.ADOPTED, "adopted")
    b.store.set_idea_state(b.id, "dropped", IdeaState.DROPPED, "confirmation: worse")
    b.store.set_idea_state(b.id, "peeking", IdeaState.REJECTED, f"audit future: {PEEKS}")
    b.store.set_idea_state(b.id, "screened", IdeaState.SCREENED, "screened")
    b.store.set_idea_state(b.id, "quiet-blank", IdeaState.SCREENED, "screened")
    b.store.set_idea_state(b.id, "failing", IdeaState.FAILED, f"smoke run crashed: {HOSTILE}")
    b.store.set_idea_state(b.id, "old", IdeaState.STALE, "does not apply any more")
    b.store.unblind(b.id, "quiet-blank")
    loop = {"seconds": 100.0, "overhead_fraction": 0.02, "sandbox": {"name": "none", "reason": HOSTILE}}
    b.store.decide(b.id, "loop", loop)
    b.store.set_state(b.id, CampaignState.FINISHED)
    return b
