"""Claims whose effects are known without fresh pairs: shrunk, because what chose them is in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mendel.campaign.confirm import FEW, Claim, in_halves
from mendel.campaign.rounds import Round, at_bound
from mendel.campaign.skills import skill_effects
from mendel.records import Interval, SkillEffect, Verdict
from mendel.verdicts.effects import shrunken
from mendel.verdicts.halves import as_pairs
from mendel.verdicts.noise import noise_of


@dataclass(frozen=True)
class Effect:
    """What is published of a claim."""

    log2_cm: Interval
    skills: tuple[SkillEffect, ...]
    verdict: Verdict | None
    """Of its fresh pairs, where it had any."""

    @property
    def runs(self) -> int:
        return 0 if self.verdict is None else 2 * self.verdict.pairs


def is_known(round: Round, claim: Claim, claims: int) -> bool:
    """Whether a claim needs no fresh pairs of its own: it was confirmed with others, or is one of many."""
    if claim.entry.halves is not None:
        return True
    return claims > FEW and claim.candidate.control.recipe == round.control.recipe


def gain_of(round: Round, claim: Claim) -> Interval:
    """What such a claim gains, bits per byte: by its screening and its confirmation, shrunk towards what was
    expected of it, as both had a part in choosing it."""
    entry, rule = claim.entry, claim.entry.rule
    if entry.halves is not None:
        return entry.halves.expected(entry.place)
    # It was screened as charged by its FLOPs; what the clock has added to that is taken off.
    dearer = round.slope() * math.log2(claim.charge.ratio / claim.charge.flops_ratio)
    expected = claim.prospect
    return shrunken(at_bound(entry.losses, rule), expected.mean - dearer, expected.error, noise_of(rule))


def effect_of(round: Round, claim: Claim) -> Effect:
    """The same as it is published."""
    entry, gain = claim.entry, gain_of(round, claim)
    if entry.halves is not None:
        log2_cm = in_halves(round, entry, gain, entry.halves.learnt(entry.place))
    else:
        log2_cm = round.in_compute(as_pairs(gain, len(entry.pairs) + entry.rule.noise_pairs))
    return Effect(log2_cm, skill_effects(entry.pairs), None)


def room_for(round: Round, arms: int, key: str) -> bool:
    """Whether the budget has room to measure so many arms more; the answer is kept under `key`."""
    meter, price = round.lab.meter, arms * round.config.policy.estimate_pairs + round.reserve
    return round.lab.once(f"{round.number}/{key}", lambda: meter.remaining() > price)
