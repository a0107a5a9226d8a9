"""Ideas confirmed together in the bench: random halves of whatever runs, by the judge that the lab uses.

The lab confirms a cohort, moves its trunk and screens again (`mendel.campaign.together`). In a simulated
campaign nothing moves, so no idea has to wait for the end of a cohort: ideas join as others leave or make way
for better ones, and keep what their own runs have shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds
from mendel.records import Rule, VerdictKind
from mendel.verdicts.halves import Contrasts, Gains, difference, draw_signs, learned, score, surprise
from mendel.verdicts.judge import Action, JudgedAt, Judgement, decide, judge_scores

Floats = NDArray[np.float64]

SEEDS = 4
"""Of one look: few, because each teaches which ideas the next should have."""

TRUST = 4.0
"""Contrasts that what was expected of them counts for, in how far off they are: what screening of one pair
lets one expect of an idea is seldom right."""
LEAST_WORTH = 1e-9
"""Pairs; less is the rounding of arithmetic."""
KEPT = 0.8
"""Weight of earlier looks beside the next, in how well halves are as expected: what a first look corrects is
not expected again."""


@dataclass
class Joint:
    """Ideas in joint confirmation. `entered` and `frozen` are the campaign's, as `decide` takes them."""

    lab: Lab
    rule: Rule
    entered: list[str]
    frozen: dict[str, float]
    known: Floats
    """(ideas, 2): what halves have shown of each idea: a gain, in paired sd, and the pairs it is worth."""
    running: list[int] = field(default_factory=list)
    gains: Gains = field(default_factory=lambda: Gains(np.zeros(0), np.zeros((0, 0))))
    """Of those that run, in their order, bits per byte."""
    scores: dict[int, Floats] = field(default_factory=dict)
    """Of all that entered together: positive where a pair speaks for the idea."""
    judged: dict[int, Judgement] = field(default_factory=dict)
    """Of those that have not stopped."""
    members: int = 0
    """Ideas in all halves that were trained, and failures of these halves."""
    failures: int = 0
    excess: float = 0.0
    """Squared distance of contrasts from what was expected of them, the latest for most: one for each, if all
    is as expected."""
    contrasts: float = 0.0

    @property
    def wider(self) -> float:
        """How many times noisier halves are than pairs, by what they have shown: effects that do not add up
        are noise here."""
        known = self.rule.noise_pairs
        return float(max(1.0, (known + self.excess) / (known + self.contrasts)) ** 0.5)

    def choose(self, ideas: Sequence[int], mean: Floats, variance: Floats) -> None:
        """Run these from now on; what joins is expected to gain `mean` (ideas,), in bits per byte."""
        stay = [idea for idea in self.running if idea in ideas]
        join = [idea for idea in ideas if idea not in self.running]
        at = [self.running.index(idea) for idea in stay]
        covariance = np.diag(np.concatenate([np.zeros(len(stay)), variance[join]]))
        covariance[: len(stay), : len(stay)] = self.gains.covariance[np.ix_(at, at)]
        self.gains = Gains(np.concatenate([self.gains.mean[at], mean[join]]), covariance)
        self.running = stay + join

    def look(self, groups: int, seed: int) -> tuple[list[int], list[int], int] | None:
        """Train halves of what runs, in so many groups beside each other; (claims, others that stopped, seeds
        used), or None where the budget had no room."""
        used = 0
        for group in range(groups):
            found = self._train(np.arange(len(self.running)) % groups == group, seed + used)
            if found is None:
                break
            used += len(found.difference)
            self._learn(found)
        return (*self._decide(), used) if used else None

    def leave(self, ideas: Iterable[int]) -> None:
        """These run no longer, and will not again."""
        gone = set(ideas)
        self.choose([idea for idea in self.running if idea not in gone], np.zeros(0), np.zeros(0))
        for idea in gone:
            self.judged.pop(idea, None)

    def _train(self, group: NDArray[np.bool_], seed: int) -> Contrasts | None:
        signs = draw_signs((11, seed), SEEDS, group)
        losses: list[tuple[float | None, float | None]] = []
        ideas = np.array(self.running)
        try:
            for number, coins in enumerate(signs):
                first, second = (self.lab.run(ideas[coins == side], seed + number) for side in (1, -1))
                losses.append((_or_none(first), _or_none(second)))
        except (OutOfBudget, OutOfSeeds):
            pass
        if not losses:
            return None
        signs = signs[: len(losses)]
        self.members += int(np.abs(signs).sum())
        self.failures += sum(loss is None for both in losses for loss in both)
        return Contrasts(signs, np.array([difference(*both) for both in losses]))

    def _learn(self, found: Contrasts) -> None:
        """Score the halves by what was known before, and learn from them."""
        rule, before, wider = self.rule, self.gains, self.wider  # as seen before: the scores must not choose
        self.excess = KEPT * self.excess + surprise(found, before, rule.noise)
        self.contrasts = KEPT * self.contrasts + int(np.isfinite(found.difference).sum())
        self.gains = learned(found, before, rule.noise * self.wider)
        for place in np.flatnonzero(found.signs.any(axis=0)).tolist():
            idea = self.running[place]
            if idea not in self.scores:
                self.entered.append(str(idea))
            noise, bound = rule.noise * wider, rule.bound * wider
            new = score(found, before, place, rule.min_loss_gain, noise, bound, TRUST) / wider
            self.scores[idea] = x = np.concatenate([self.scores.get(idea, new[:0]), new])
            failed = np.zeros(len(x), dtype=bool)
            # What is shown to gain less than the smallest gain of interest stops, harm or not.
            self.judged[idea] = judge_scores(rule, x, -x, failed, None, math.inf)
            self._note(idea, before, place)

    def _note(self, idea: int, before: Gains, place: int) -> None:
        """Add what these halves have shown of an idea to what was known of it."""
        sd = self.rule.noise
        old, new = (float(one.covariance[place, place]) / sd**2 for one in (before, self.gains))
        pairs = 1 / new - 1 / old
        if pairs <= LEAST_WORTH:
            return
        shown = (self.gains.mean[place] / new - before.mean[place] / old) / pairs / sd
        mean, worth = self.known[idea]
        self.known[idea] = (mean * worth + shown * pairs) / (worth + pairs), worth + pairs

    def _decide(self) -> tuple[list[int], list[int]]:
        live = {str(idea): idea for idea in self.judged}
        at = {name: self._at(idea) for name, idea in live.items()}
        after = decide(self.rule, self.entered, at, self.frozen)
        claims: list[int] = []
        stopped: list[int] = []
        for name, decision in after.decisions.items():
            if decision.action is not Action.CONTINUE:
                self.frozen[name] = after.frozen[name]
                (claims if decision.action is Action.CLAIM else stopped).append(live[name])
        self.leave(claims + stopped)
        self.lab.adopt(claims)
        return claims, stopped

    def _at(self, idea: int) -> JudgedAt:
        """An idea's judgement where a claim takes a log e-value of so much."""

        def judged(log_threshold: float) -> Judgement:
            found = self.judged[idea]
            enough = found.log_e >= log_threshold
            return replace(found, kind=VerdictKind.BETTER) if enough else found

        return judged


def _or_none(loss: float) -> float | None:
    return None if math.isnan(loss) else loss
