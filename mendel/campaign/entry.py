"""What is expected of ideas that enter confirmation, and whether they are confirmed together."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from mendel.campaign.rounds import Round
from mendel.plans.screening import Prospect
from mendel.verdicts.together import APART, Hopes, beside_others, hopes_of, longest, together


def room_for_halves(round: Round) -> int:
    """Pairs of halves after which the budget still has room to measure the claims."""
    left = round.lab.meter.remaining() - round.reserve - 3 * round.config.policy.estimate_pairs
    return max(0, int(left / 2))


def pays(round: Round, members: Sequence[Prospect]) -> bool:
    """Whether these are better confirmed together than one by one, as far as the budget goes."""
    limit, among = round.config.policy.max_pairs, hopes(round, members)
    most = min(longest(among, limit), room_for_halves(round))
    return together(among, hopes(round, members, alone=True), limit, most)


def hopes(round: Round, members: Sequence[Prospect], alone: bool = False) -> Hopes:
    """What screening lets one expect of ideas that are about to enter together, or else `alone`."""
    first = len(round.errors.entered)
    means, errors = _screened(members) if alone else beside(round, members)
    places = range(first, first + len(members))
    return hopes_of(round.rule(), places, standing(round), means, errors, [0.0] * len(members))


def beside(round: Round, members: Sequence[Prospect]) -> tuple[list[float], list[float]]:
    """Means and standard errors of ideas' gains beside random halves of each other, bits per byte. What was
    measured beside others is expected to be as large there, and not a share of it."""
    means, errors = (found.tolist() for found in beside_others(*_screened(members), round.noise.sd))
    for place, one in enumerate(members):
        if one.beside:
            means[place], errors[place] = one.mean, math.hypot(one.error, APART * one.mean)
    return means, errors


def _screened(members: Sequence[Prospect]) -> tuple[list[float], list[float]]:
    """The same on the control alone."""
    return [one.mean for one in members], [one.error for one in members]


def standing(round: Round) -> Collection[int]:
    """Places of the claims, in the order of entry."""
    errors = round.errors
    return [n for n, name in enumerate(errors.entered) if errors.frozen.get(name, -math.inf) > -math.inf]
