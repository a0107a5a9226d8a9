"""Mendel's policy in the bench: the planner, the index and the judge themselves, not copies.

Ideas are screened by a pair each, as many as leave enough to prove what they promise, and confirmed on fresh
seeds in random halves (`mendel.bench.joint`), those that a pair is expected to bring most of
(`mendel.bench.ahead`); where single runs fail or seeds are few, one by one (`mendel.bench.one_by_one`). The
variant without error control adopts by the posterior of the same measurements; the oracle knows the truth and
confirms the winners alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mendel.bench.ahead import Contest, side_by_side
from mendel.bench.joint import Joint
from mendel.bench.lab import Lab
from mendel.bench.one_by_one import CHUNK, OneByOne, chunks
from mendel.plans.index import GAINS, GRID, Options, beliefs
from mendel.verdicts.fdr import PLANNED_SHARE
from mendel.verdicts.power import confirmation, expected_bar
from mendel.verdicts.together import LEAST, LEAST_NEED, MOST, most_together

Floats = NDArray[np.float64]

ENDLESS = 10**6
"""Most pairs of a confirmation in halves: what ends it is the budget, or a better idea for its place."""
STICKY = 1.3
"""A better idea takes the place of one that runs where it is so many times better."""
LARGE = 200
"""Ideas for which one group of halves runs; with more there are more of them beside each other."""
CLAIMED = 0.08
"""Share of the planned ideas that is expected to be claimed: it sets the bar that planning reckons with."""
PLANNED = 40
"""Seeds of halves in which the ideas of one group are settled: as many groups as the budget has room for
one after the other are planned."""
FOR_HALVES, SHARE_FOR_HALVES = 52, 0.45
"""Control runs that first pairs leave for halves, and the share of the budget that they leave at least: about
what it takes to prove what stands out, however many ideas there are."""
LEAST_PAIRS = 5
"""Pairs of a claim, at least."""
LEAST_PLANNED = 8
"""Ideas that are planned at least."""
PER_IDEA = 8
"""Control runs that a planned idea takes, before it is known how many are worth confirming."""


@dataclass
class Mendel(OneByOne):
    """Random halves of the best ideas where that is the better way, and else one by one."""

    joint: Joint | None = field(default=None, init=False)
    alone: bool = field(default=False, init=False)
    """Whether ideas are confirmed one by one from now on."""

    def begin(self, lab: Lab) -> None:
        super().begin(lab)
        self.joint, self.alone = None, False

    def step(self) -> bool:
        if not self.alone and self._in_halves() and (self._first_pairs() or self._look()):
            return True
        if self.joint is not None and not self.alone:  # what ran in halves is given up, and charged anew
            self.frozen |= {str(idea): -math.inf for idea in self.joint.judged}
        self.alone = True
        return super().step()

    def _most(self) -> int:
        """Most ideas side by side: fewer where runs fail."""
        failures, runs = self.failures, self.runs
        if self.joint is not None:  # a half fails by any of its members
            failures, runs = failures + self.joint.failures, runs + self.joint.members
        return most_together(failures / max(runs, 1))

    def _in_halves(self) -> bool:
        """Whether halves are the better way: not where seeds are few, where single runs fail, or where
        effects add up so little that a pair of halves tells less than two runs of single ideas do."""
        noise = self.joint.wider**2 if self.joint is not None else 1.0
        return self.lab.terms.seeds is None and self._most() >= max(LEAST, 2 * noise)

    def _left(self) -> float:
        """Budget, in control runs at the speed of now."""
        fresh = -1 - self.next_seed  # a seed that nobody has a control of
        return self.lab.left / max(self.lab.price([], fresh), 1e-9)

    def _contest(self) -> Contest:
        """What is known of all ideas."""
        posterior = beliefs(self._evidence(self._noise()))
        posterior[self.done] = np.eye(len(GRID))[0]  # settled: as if it were the worst of harms
        planned = self.planned or min(len(self.lab.ideas), max(LEAST_PLANNED, int(self.lab.left / PER_IDEA)))
        claims = len(self.claims) + max(1.0, CLAIMED * planned)
        bar = math.log(planned / (PLANNED_SHARE * (self.alpha or self.lab.terms.alpha) * claims))
        need, pairs = np.full(len(posterior), bar), np.zeros(len(posterior))
        for idea, found in self.joint.judged.items() if self.joint else ():
            need[idea], pairs[idea] = bar - max(found.log_e_t, 0.0), found.pairs
        null = self.lab.terms.min_gain / self.sd
        return Contest(posterior, np.maximum(need, LEAST_NEED), pairs, self.lab.ideas.cost, null)

    def _first_pairs(self) -> bool:
        """Buy a pair of each of the best ideas that were never measured, as long as that leaves enough to
        prove what they promise; they come in parts, because each teaches which of the others are the
        best."""
        unseen = np.array([not pairs for pairs in self.seen]) & ~self.done
        if not unseen.any():
            return False
        room = self._left() - min(FOR_HALVES, SHARE_FOR_HALVES * self.lab.budget)
        new = np.flatnonzero(unseen)
        new = new[np.argsort(-self._contest().rates(LEAST_PAIRS)[new], kind="stable")]
        part = max(CHUNK, len(new) // 4)
        fits = np.cumsum(self.lab.ideas.cost[new[:part]]) + np.arange(part)[: len(new)] // CHUNK + 1 <= room
        bought = [self._buy_chunk(chunk) for chunk in chunks(new[:part][fits], CHUNK) if len(chunk)]
        return any(bought)

    def _known(self) -> NDArray[np.bool_]:
        """(ideas,) what was measured and may be confirmed."""
        return np.array([bool(pairs) for pairs in self.seen])

    def _look(self) -> bool:
        """Another look at the best ideas in random halves."""
        contest = self._contest()
        able = np.flatnonzero(self._known() & ~self.done)
        left = self._left()
        if not len(able) or left < 2:
            return False
        rates = contest.rates(LEAST_PAIRS)
        if self.joint is not None:
            rates[self.joint.running] *= STICKY
        groups = max(1, min(len(able) // LARGE, int(left / (2 * PLANNED))))
        ranked = able[np.argsort(-rates[able], kind="stable")]
        ranked = ranked[rates[ranked] > 0]
        if not len(ranked):
            return False
        most = side_by_side(contest.of(ranked[:MOST]), left / groups, self._most())
        chosen = ranked[: most * groups].tolist()
        if self.joint is None:
            several = max(1.0, left / (2 * PLANNED))
            self.planned = self.planned or min(int((~self.done).sum()), int(min(MOST, len(ranked)) * several))
            rule = self._rule().model_copy(update={"max_pairs": ENDLESS})
            self.joint = Joint(self.lab, rule, self.entered, self.frozen, self.known)
        hopes = contest.hopes
        self.joint.choose(chosen, hopes.mean * self.sd, hopes.doubt * self.sd**2)
        found = self.joint.look(groups, self.next_seed)
        if found is None:
            return False
        claims, stopped, used = found
        self.next_seed += used
        self.claims += claims
        self.done[claims + stopped] = True
        return True


class Oracle(Mendel):
    """Knows the truth and confirms the winners alone, in halves or one by one, by the same judge.

    What a campaign of the same budget and the same burden of proof could find if it guessed right every time.
    The bench hands it the truth; no other policy gets it.
    """

    def __init__(self, gain: Floats, winner: NDArray[np.bool_]) -> None:
        super().__init__()
        self.gain, self.winner = gain, winner

    def begin(self, lab: Lab) -> None:
        super().begin(lab)
        self.done = ~self.winner

    def _first_pairs(self) -> bool:
        return False

    def _known(self) -> NDArray[np.bool_]:
        return self.winner

    def _contest(self) -> Contest:
        """All is known: the posterior is at the truth."""
        contest, places = super()._contest(), np.arange(len(GRID))
        place = np.interp(self.gain / self.sd, GRID, places)
        nearness = np.maximum(1 - np.abs(place[:, None] - places), 0.0)
        return replace(contest, posterior=np.where(self.done[:, None], contest.posterior, nearness))

    def _screen(self) -> Options:
        worth = np.where(self.winner & ~self.done, self.gain / self.sd, -1.0)
        bar = expected_bar(self.alpha or self.lab.terms.alpha, 0.9)
        m = round(self.lab.terms.min_gain / self.sd, 2)
        power, pairs = confirmation(
            GAINS, round(bar, 1), m, max(self._pairs_left(), 5), 40, self._noise().pairs
        )
        chance, need = np.interp(worth, GRID, power), np.interp(worth, GRID, pairs)
        index = np.where(chance > 0.05, chance * worth / need, -1.0)
        order = np.argsort(-index)
        price = np.cumsum((need * self.lab.ideas.cost * (index > 0))[order])
        index[order[price > self.lab.left - need[order] - 6]] = -1.0
        zero = np.zeros(len(worth))
        return Options(index, zero - 1, zero.astype(np.intp), zero, 0.0)
