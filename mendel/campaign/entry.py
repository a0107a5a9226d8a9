"""Which screened ideas enter confirmation, and what is expected of them there.

An idea enters where its expected gain is worth the pairs that proving it takes. Where that makes a cohort
that can be confirmed together, others join it: in random halves an idea more costs no run, only some of what
the runs tell of the others, so a gain too small to be worth pairs of its own may be worth that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from mendel.campaign.rounds import Round
from mendel.campaign.trunk import Candidate
from mendel.plans.costs import Charge
from mendel.plans.screening import Prospect, entering
from mendel.verdicts.together import (
    LEAST,
    Hopes,
    beside_others,
    hopes_of,
    how_many,
    longest,
    most_together,
    together,
)


def enter(
    round: Round, able: Sequence[Prospect], beside: Sequence[Candidate], price: float, failing: float
) -> list[str]:
    """Names of the ideas that go to confirmation, the best first. `able` may go there, and those of `beside`
    together with others; `price` is what a run must bring, in paired sd, `failing` the share of runs that
    fail."""
    policy = round.config.policy
    alone = entering(able, policy.cohort, everything=policy.enter == 0)
    if not policy.together or not round.noise.pairs or policy.enter == 0:
        return alone
    said = {one.name: one for one in able}
    rest = sorted(said.keys() - set(alone), key=lambda name: (-said[name].mean, name))
    ideas = {candidate.idea.name: candidate for candidate in beside}
    ordered = [ideas[name] for name in [*alone, *rest] if name in ideas and said[name].error > 0]
    fits = _composing(round, ordered)
    first = sum(name in alone for name in fits)
    most = min(policy.cohort - len(alone) + first, most_together(failing), len(fits))
    if first < LEAST or most <= first:
        return alone
    members = [said[name] for name in fits]
    seeds = int((round.lab.meter.remaining() - round.reserve - 3 * policy.estimate_pairs) / 2)
    count = how_many(lambda n: hopes(round, members[:n]), first, most, policy.max_pairs, seeds, price)
    if not pays(round, members[:count]):
        return alone
    return alone + [name for name in fits[:count] if name not in alone]


def pays(round: Round, members: Sequence[Prospect]) -> bool:
    """Whether these are better confirmed together than one by one."""
    limit, beside = round.config.policy.max_pairs, hopes(round, members)
    return together(beside, hopes(round, members, alone=True), limit, longest(beside, limit))


def joins(round: Round, prospect: Prospect) -> bool:
    """Whether an idea has entered for the company, and would not be worth pairs of its own."""
    return round.config.policy.enter > 0 and prospect.confirm <= 0


def _composing(round: Round, ordered: Sequence[Candidate]) -> list[str]:
    """Names of those that stand beside each other in one recipe; of alternatives the first."""
    prices = {c.idea.name: Charge(flops_ratio=c.flops_ratio, ratio=c.flops_ratio) for c in ordered}
    names = round.shelf.stack(round.control, [c.idea for c in ordered], prices, "what is screened").names
    return [candidate.idea.name for candidate in ordered if candidate.idea.name in names]


def hopes(round: Round, members: Sequence[Prospect], alone: bool = False) -> Hopes:
    """What screening lets one expect of ideas that are about to enter together, or else `alone`."""
    first = len(round.errors.entered)
    means, errors = on_control(members) if alone else in_halves(round, members)
    places = range(first, first + len(members))
    return hopes_of(round.rule(), places, standing(round), means, errors, [0.0] * len(members))


def on_control(members: Sequence[Prospect]) -> tuple[list[float], list[float]]:
    """Means and standard errors of ideas' gains by themselves, bits per byte."""
    return [one.mean for one in members], [one.error for one in members]


def in_halves(round: Round, members: Sequence[Prospect]) -> tuple[list[float], list[float]]:
    """The same beside random halves of each other."""
    means, errors = beside_others(*on_control(members), round.noise.sd)
    return means.tolist(), errors.tolist()


def standing(round: Round) -> Collection[int]:
    """Places of the claims, in the order of entry."""
    errors = round.errors
    return [n for n, name in enumerate(errors.entered) if errors.frozen.get(name, -math.inf) > -math.inf]
