"""Early stops of screening runs: the rule of a round, what it watches, and the account of what that did.

A round's rule is learned from the pairs that earlier rounds, and finished campaigns on the same testbed and
rung, trained to their end (`mendel.plans.early_stop`). It is kept, as is what each pair of the round showed
on its way: from that the next rounds learn, and the saving and the regret are told by idea class.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.forecasts import EARLIER
from mendel.campaign.jobs import StopCheck
from mendel.campaign.rounds import Round
from mendel.campaign.scoring import has_own_objective
from mendel.campaign.trunk import Pairs, differences
from mendel.plans.early_stop import CHECKS, SPARED, Course, StopRule, learn
from mendel.records import Currency, Plan, Record, RunResult, RunSpec, RunStatus, Stopped, content_hash
from mendel.runs.outcome import tokens_read
from mendel.store import Campaign, Store, smoke_name
from mendel.yardstick import early_losses
from mendel.yardstick.tokens import FILE as TOKENIZER

KEY = "/courses"
"""How keys end under which a round's courses are kept."""


class Seen(Record):
    """One screening pair as the account needs it; gains in bits per byte."""

    idea_class: str
    tokenizer: str = ""
    """Hash of the control's; empty for bytes. Early losses are per token."""
    early: tuple[float, ...] = ()
    """Differences of training loss at CHECKS, bits per token; empty where they say nothing."""
    final: float | None = None
    """None where it was stopped."""
    stopped: float | None = None
    """Share of the run at which it was stopped, or would have been if it had not been spared."""
    spared: bool = False


class EarlyStop:
    """What one round may stop."""

    def __init__(self, round: Round, classes: Mapping[str, str]) -> None:
        """`classes`: of the round's ideas, by name."""
        self._round, self._classes = round, classes
        self._tokenizers: dict[str, str] = {}
        tokenizer = self._tokenizer(round.control.recipe)
        kept = round.lab.once(
            f"{round.number}/stop rule", lambda: learn(_courses(round, tokenizer)).model_dump()
        )
        self.rule = StopRule.model_validate(kept)

    def watch(self, plan: Plan, control: RunSpec, treatment: RunSpec) -> StopCheck | None:
        """How a treatment may be stopped; None where it goes to its end."""
        found = self._case(plan, control, treatment)
        return None if found is None or self._spared(treatment) else found

    def record(self, plans: Sequence[Plan], pairs: Pairs) -> None:
        """Keep what the round's pairs showed."""
        lab = self._round.lab
        key = f"{self._round.number}{KEY}"
        lab.once(
            key,
            lambda: {
                "rung": self._round.rung,
                "min_gain": self._round.rule().min_loss_gain,
                "pairs": [
                    self._seen(plan, seed, pair).model_dump()
                    for plan in plans
                    for seed, pair in zip(plan.seeds, pairs[plan.id], strict=False)
                ],
            },
        )

    def _case(self, plan: Plan, control: RunSpec, treatment: RunSpec) -> _Case | None:
        lab, hope = self._round.lab, self._round.config.policy.early_stop
        result = lab.store.results(lab.campaign.id, [control.id]).get(control.id)
        if not hope or result is None or result.bits_per_byte is None:
            return None
        if lab.testbed.budget.told != Currency.TOKENS:  # how far a run is, its log says in tokens
            return None
        if not self._comparable(control.recipe, treatment.recipe):
            return None
        losses = early_losses(lab.out(control.id), control.tokens, CHECKS)
        return _Case(
            rule=self.rule,
            idea_class=self._classes[plan.idea or ""],
            control=losses,
            loss=result.bits_per_byte,
            tokens=treatment.tokens,
            min_gain=plan.rule.min_loss_gain,
            bound=plan.rule.bound,
            hope=hope,
        )

    def _comparable(self, control: str, treatment: str) -> bool:
        """Whether both log the loss of the same thing: of equal tokens, by the same objective."""
        store = self._round.lab.store
        here, there = (store.load_tree(store.recipe(one).tree) for one in (control, treatment))
        if has_own_objective(there, here) or has_own_objective(here, there):
            return False
        return self._tokenizer(control) == self._tokenizer(treatment)

    def _tokenizer(self, recipe: str) -> str:
        if recipe not in self._tokenizers:
            file = self._round.lab.out(smoke_name(recipe, self._round.rung)) / TOKENIZER
            self._tokenizers[recipe] = (
                content_hash(file.read_text("utf-8", "replace")) if file.is_file() else ""
            )
        return self._tokenizers[recipe]

    def _spared(self, treatment: RunSpec) -> bool:
        """Drawn at random, the same each time it is asked."""
        return random.Random(f"spared/{self._round.config.seed}/{treatment.id}").random() < SPARED

    def _seen(self, plan: Plan, seed: int, pair: tuple[RunResult, RunResult]) -> Seen:
        control, treatment = plan.runs(seed, self._round.lab.campaign.fingerprint.id)
        idea_class, result = self._classes[plan.idea or ""], pair[1]
        if result.stopped is not None:
            return Seen(idea_class=idea_class, stopped=result.stopped.at)
        (difference,) = differences([pair])
        bound = plan.rule.bound
        final = -bound if difference is None else max(-bound, min(bound, difference))
        case = self._case(plan, control, treatment)
        if case is None or result.status is not RunStatus.DONE:
            return Seen(idea_class=idea_class, final=final)
        early = case.early(self._round.lab.out(treatment.id))
        would = case.stops(early)
        at = None if would is None else would.at
        # What is not whole teaches nothing.
        return Seen(
            idea_class=idea_class,
            tokenizer=self._tokenizer(control.recipe),
            early=early if len(early) == len(CHECKS) else (),
            final=final,
            stopped=at,
            spared=at is not None and self._spared(treatment),
        )


@dataclass
class _Case:
    """A treatment that may be stopped, beside its control."""

    rule: StopRule
    idea_class: str
    control: tuple[float, ...]
    """Its training losses at CHECKS, nats per token."""
    loss: float
    """Of the control, bits per byte."""
    tokens: int
    min_gain: float
    bound: float
    hope: float
    _passed: int = 0
    """Checks that said to go on; a long log is read anew only for the next one."""

    def __call__(self, out: Path) -> Stopped | None:
        reached = sum(tokens_read(out) >= share * self.tokens for share in CHECKS)
        if reached <= self._passed:
            return None
        found = self.stops(self.early(out))
        if found is None:
            self._passed = reached
        return found

    def early(self, out: Path) -> tuple[float, ...]:
        """Differences of training loss at the checks that a run has reached, bits per token."""
        losses = early_losses(out, self.tokens, CHECKS)
        gains = [(c - t) / math.log(2) for c, t in zip(self.control, losses, strict=False)]
        return tuple(max(-self.bound, min(self.bound, gain)) for gain in gains)

    def stops(self, early: Sequence[float]) -> Stopped | None:
        found = self.rule.hopeless(self.idea_class, early, self.min_gain, self.hope)
        return None if found is None else Stopped(at=found[0], expected=self.loss - found[1])


def _courses(round: Round, tokenizer: str) -> list[Course]:
    """Pairs that were trained to their end, of this campaign so far and of those that it learns from, on the
    same rung and the same tokens."""
    store, campaign = round.lab.store, round.lab.campaign
    campaigns = [*(store.decision(campaign.id, EARLIER) or []), campaign.id]
    return [
        Course(idea_class=one.idea_class, early=one.early, final=one.final)
        for kept in _kept(store, campaigns)
        if kept["rung"] == round.rung
        for one in map(Seen.model_validate, kept["pairs"])
        if one.early and one.final is not None and one.tokenizer == tokenizer
    ]


def early_stop_account(store: Store, campaign: Campaign) -> dict[str, Any]:
    """What stopping early saved and what it may have cost, in this `campaign` and `pooled` with those that it
    learns from; the same by class in `classes`. Runs are screening runs of treatments. `saved` is in whole
    runs. `regret` is the mean gain above m, bits per byte, of the spared runs: what each stop has thrown
    away; None where none was spared."""
    earlier: list[str] = store.decision(campaign.id, EARLIER) or []
    own = _by_class(_kept(store, [campaign.id]))
    pooled = _by_class(_kept(store, [*earlier, campaign.id]))
    rows = [
        {"class": name, "campaign": _counts(own.get(name, [])), "pooled": _counts(pooled[name])}
        for name in sorted(pooled)
    ]
    return {
        "campaign": _counts([one for group in own.values() for one in group]),
        "pooled": {
            "campaigns": 1 + len(earlier),
            **_counts([one for group in pooled.values() for one in group]),
        },
        "classes": rows,
    }


def _by_class(rounds: Sequence[dict[str, Any]]) -> dict[str, list[tuple[Seen, float]]]:
    """The pairs of rounds by idea class, each with m in bits per byte."""
    seen: dict[str, list[tuple[Seen, float]]] = {}
    for kept in rounds:
        for one in map(Seen.model_validate, kept["pairs"]):
            seen.setdefault(one.idea_class, []).append((one, kept["min_gain"]))
    return seen


def _counts(seen: Sequence[tuple[Seen, float]]) -> dict[str, Any]:
    spared = [max(0.0, (one.final or 0.0) - m) for one, m in seen if one.spared]
    saved = [1 - one.stopped for one, _ in seen if one.stopped is not None and not one.spared]
    return {
        "runs": len(seen),
        "stopped": len(saved),
        "saved": sum(saved),
        "spared": len(spared),
        "spared_gains": sum(gain > 0 for gain in spared),
        "regret": sum(spared) / len(spared) if spared else None,
    }


def _kept(store: Store, campaigns: Sequence[str]) -> list[dict[str, Any]]:
    """What rounds kept, in their order."""
    found = store.decisions(campaigns, KEY)
    return [
        found[campaign][key]
        for campaign in campaigns
        for key in sorted(found[campaign], key=lambda key: int(key.removesuffix(KEY)))
    ]
