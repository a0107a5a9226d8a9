"""Joint confirmation in a campaign: random halves of a cohort against each other, on fresh seeds.

`mendel.verdicts.halves` says why two runs of a seed are evidence on every idea of the cohort. Here the halves
are built, charged, trained and audited like other recipes. Where that cannot be done (a half does not build
or run, or an audit rejects one: whose fault it is, a stack cannot tell), the ideas that are still open are
confirmed one by one, on seeds of another block. What runs of halves have shown of them by then is given up,
and they are charged anew: a second e-value in place of a bad one would be worth too much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mendel.campaign.claim_audits import hangs_on_constants
from mendel.campaign.entry import beside, hopes, pays, room_for_halves, standing
from mendel.campaign.jobs import Request
from mendel.campaign.looks import Entry, look
from mendel.campaign.planting import grant
from mendel.campaign.rounds import Round
from mendel.campaign.screen import Screened, run_price
from mendel.campaign.trunk import Line, Refused
from mendel.patches import PatchError, Stale
from mendel.records import Plan, PlanKind, RunResult, RunStatus, Shard
from mendel.store import HALVES
from mendel.verdicts.halves import Gains, Halves, Signs, draw_signs
from mendel.verdicts.judge import Action
from mendel.verdicts.together import (
    HOPE,
    LEAST,
    Look,
    hopes_of,
    longest,
    most_together,
    next_look,
)

IDEA = "cohort"
"""What runs of halves are accounted to."""
NOT_WORTH = "given up: what further runs could show is not worth them"


class Alone(Exception):
    """The ideas cannot be confirmed together; says why."""


Cohort = dict[str, tuple[Entry, Screened]]
"""By name of the e-process, best first."""


def confirm_together(round: Round, cohort: Cohort) -> tuple[frozenset[str], dict[str, str]]:
    """Confirm those of a cohort together for which that is cheaper.

    Returns the names that have stopped, and those that wait with the reason: alternatives of what was
    confirmed, which may be tried on the next trunk. The others are to be confirmed one by one.
    """
    chosen = _chosen(round, cohort)
    if not chosen:
        return frozenset(), {}
    joint = _Joint(round, chosen)
    try:
        joint.run()
    except Alone as why:
        for name in joint.live:
            joint.entries[name].leave()
        if joint.trained:
            round.errors.frozen |= dict.fromkeys(joint.live, -math.inf)
        round.lab.say(f"{round.number}/halves/alone", "confirm", f"one by one from here on: {why}")
    stopped = frozenset(joint.entries.keys() - joint.live)
    members = [one for _, one in chosen.values()]
    others = {name: one for name, (_, one) in cohort.items() if name not in chosen}
    waiting = {name: _alternative(round, members, one) for name, one in others.items()}
    return stopped, {name: reason for name, reason in waiting.items() if reason}


def _chosen(round: Round, cohort: Cohort) -> Cohort:
    """What is confirmed together: ideas with the round's own control that compose, if that pays."""
    if not round.config.policy.together or not round.noise.pairs:
        return {}
    able = {
        name: (entry, one)
        for name, (entry, one) in cohort.items()
        if one.candidate.control.recipe == round.control.recipe
        and one.prospect.error > 0
        and not hangs_on_constants(round, entry.plan)
    }
    stack = _stack(round, [one for _, one in able.values()])
    fits = [name for name, (_, one) in able.items() if one.candidate.idea.name in stack.names]
    names = fits[: most_together(_failing(round))]
    if len(names) < LEAST:
        return {}
    members = [able[name][1].prospect for name in names]
    chosen = round.lab.once(f"{round.number}/together", lambda: pays(round, members))  # the clock has a say
    return {name: able[name] for name in names} if chosen else {}


def _alternative(round: Round, members: Sequence[Screened], other: Screened) -> str:
    """Why an idea cannot stand beside the members, or an empty text."""
    for one in members:
        if other.candidate.idea.name not in _stack(round, [one, other]).names:
            return f"waits: it does not compose with {one.candidate.idea.name}, which was confirmed"
    return ""


def _stack(round: Round, members: Sequence[Screened]) -> Line:
    """The control with as many of these as compose, charged and granted what all of them are."""
    ideas = [one.candidate.idea for one in members]
    prices = {one.candidate.idea.name: one.charge for one in members}
    stack = round.shelf.stack(round.control, ideas, prices, f"part of the cohort of round {round.number}")
    granted = math.prod(grant(round.lab, idea.name) for idea in ideas)
    return replace(stack, grant=round.control.grant * granted)


def _failing(round: Round) -> float:
    """Share of treatments that failed in the screens of this round and of those before it."""
    screens = round.lab.store.plans(round.campaign, PlanKind.SCREEN)
    plans = {plan.id for plan in screens if plan.round <= round.number}  # a replay finds later ones, too
    verdicts = [one for one in round.lab.store.verdicts(round.campaign) if one.plan in plans]
    # What fails every time is no part of a cohort; what fails now and then may be.
    some = [one for one in verdicts if one.failures < one.pairs]
    return sum(one.failures for one in some) / max(1, sum(one.pairs for one in some))


@dataclass
class _Joint:
    """One joint confirmation."""

    round: Round
    members: Mapping[str, tuple[Entry, Screened]]
    entries: dict[str, Entry] = field(init=False)
    live: set[str] = field(init=False)
    halves: Halves = field(init=False)
    limit: int = field(init=False)
    """Seeds."""
    trained: bool = False
    """Whether there are runs of halves."""

    def __post_init__(self) -> None:
        self.entries = {name: entry for name, (entry, _) in self.members.items()}
        self.live = set(self.entries)
        members = [one.prospect for _, one in self.members.values()]
        self.limit = longest(hopes(self.round, members), self.round.config.policy.max_pairs)
        rule = next(iter(self.entries.values())).plan.rule.model_copy(update={"max_pairs": self.limit})
        before = Gains.apart(*beside(self.round, members))
        self.halves = Halves(rule, before)
        for place, entry in enumerate(self.entries.values()):
            entry.halves, entry.place = self.halves, place

    def run(self) -> None:
        """Look after look until every idea has stopped. Raises Alone."""
        round, errors = self.round, self.round.errors
        errors.entered += self.entries
        seeds = round.seeds(PlanKind.HALVES, self.limit)
        names = ", ".join(one.candidate.idea.name for _, one in self.members.values())
        round.lab.say(
            f"{round.number}/halves",
            "confirm",
            f"round {round.number}: {len(self.entries)} confirmed together, in random halves: {names}",
        )
        while self.live:
            done = self.halves.seeds
            count = self._next()
            if not count and not self.halves.seeds:
                raise Alone("the budget has better uses than halves, or no room for them")
            if not count:
                break
            running = [name in self.live for name in self.entries]
            signs = draw_signs((round.config.seed, round.number, done), count, running)
            self._train(signs, seeds[done : done + count])
            looked = look(round, {name: self.entries[name] for name in self.entries if name in self.live})
            self.live = {n for n, one in looked.decisions.items() if one.action is Action.CONTINUE}
        self._give_up(self.live)
        self.live = set()

    def _next(self) -> int:
        """Seeds of the next look, after giving up what has no prospects; 0 where no look is worth it. It
        depends on the clock and on what waits, so it is kept."""
        round, done = self.round, self.halves.seeds

        def planned() -> dict[str, Any]:
            names = [name for name in self.entries if name in self.live]
            ahead = self._planned(names)
            gone = [name for name, chance in zip(names, ahead.chance, strict=True) if chance < HOPE]
            return {"seeds": ahead.seeds, "gone": gone if done else []}

        kept = round.lab.once(f"{round.number}/halves/{done}", planned)
        gone = set(kept["gone"])
        self._give_up(gone)
        self.live -= gone
        return int(kept["seeds"]) if self.live else 0

    def _planned(self, names: Sequence[str]) -> Look:
        """What the next look is worth to the ideas of these names."""
        round, entered = self.round, self.round.errors.entered
        rule, gains = self.halves.rule, self.halves.gains
        at = [self.entries[name].place for name in names]
        judged = [self.entries[name].judgement for name in names]
        log_e = [0.0 if one is None else one.log_e_t for one in judged]
        places = [entered.index(name) for name in names]
        hoped = hopes_of(rule, places, standing(round), gains.mean[at], gains.error[at], log_e)
        price = run_price(round) * round.slope() / rule.noise
        most = min(self.limit - self.halves.seeds, room_for_halves(round))
        return next_look(hoped, self.halves.seeds, most, rule.min_pairs, price)

    def _train(self, signs: Signs, seeds: Sequence[int]) -> None:
        """Train the halves and hand their losses on. Raises Alone."""
        round = self.round
        try:
            lines = [(self._half(coins, 1), self._half(coins, -1)) for coins in signs.tolist()]
            smoked = round.lab.smoke([(line.recipe, round.rung, None) for both in lines for line in both])
            bad = next((one for one in smoked.values() if one.status is not RunStatus.DONE), None)
            if bad is not None:
                raise Alone(f"a smoke run of half of them {bad.status}: {bad.reason}")
            plans = self._plans(lines, seeds)
            self._say_what_they_hold(plans, signs)
        except (Stale, PatchError, Refused) as error:
            raise Alone(str(error)) from None
        self.trained = True
        pairs = _run(round, plans)
        rejected = next((one for pair in pairs for one in pair if one.status is RunStatus.REJECTED), None)
        if rejected is not None:
            raise Alone(f"an audit rejected a run of half of them, {rejected.reason}")
        self.halves.add(signs, [(first.bits_per_byte, second.bits_per_byte) for first, second in pairs])
        for entry in self.entries.values():
            coins = signs[:, entry.place].tolist()
            for (first, second), (one, other), coin in zip(pairs, lines, coins, strict=True):
                if coin:
                    entry.pairs.append((second, first) if coin > 0 else (first, second))
                    granted = (other.grant, one.grant) if coin > 0 else (one.grant, other.grant)
                    entry.granted.append(granted)

    def _half(self, coins: Sequence[int], side: int) -> Line:
        members = [one for (_, one), coin in zip(self.members.values(), coins, strict=True) if coin == side]
        line = _stack(self.round, members)
        missing = {one.candidate.idea.name for one in members} - set(line.names)
        if missing:
            raise Alone(f"{', '.join(sorted(missing))} does not compose with the others of a half")
        return line

    def _plans(self, lines: Sequence[tuple[Line, Line]], seeds: Sequence[int]) -> list[Plan]:
        round, rule = self.round, self.halves.rule
        plans = []
        with round.lab.store.transaction():
            for (first, second), seed in zip(lines, seeds, strict=True):
                plan = round.plan(PlanKind.HALVES, None, first, (seed,), Shard.HELD_OUT, second)
                plans.append(plan.model_copy(update={"rule": rule}))
                round.lab.store.put_plan(round.campaign, plans[-1])
        return plans

    def _say_what_they_hold(self, plans: Sequence[Plan], signs: Signs) -> None:
        """Keep the coins in words, for those who read what came of a campaign."""
        names = [one.candidate.idea.name for _, one in self.members.values()]

        def held() -> dict[str, list[list[str]]]:
            return {
                plan.id: [
                    [name for name, coin in zip(names, coins, strict=True) if coin == side]
                    for side in (1, -1)
                ]
                for plan, coins in zip(plans, signs.tolist(), strict=True)
            }

        self.round.lab.once(f"{self.round.number}/{self.halves.seeds}{HALVES}", held)

    def _give_up(self, names: set[str]) -> None:
        """Freeze at an e-value of zero."""
        self.round.errors.frozen |= dict.fromkeys(names, -math.inf)
        for name in names:
            entry = self.entries[name]
            said = entry.judgement or entry.judged(math.inf)
            entry.judgement = replace(said, reason=NOT_WORTH)


def _run(round: Round, plans: Sequence[Plan]) -> list[tuple[RunResult, RunResult]]:
    """(first, second) half of each plan. Both are on trial: neither is trained again where it fails."""
    fingerprint = round.lab.campaign.fingerprint.id
    both = [plan.runs(plan.seeds[0], fingerprint) for plan in plans]
    requests = [Request(spec, PlanKind.HALVES.value, IDEA) for pair in both for spec in pair]
    results = round.lab.complete(requests)
    return [(results[first.id], results[second.id]) for second, first in both]
