"""Mendel's policy in the bench: the index that plans the campaign and the judge that decides it, not copies.

Screening buys pairs where another pair is worth its price (`mendel.plans.index`); what is worth confirming
enters as one cohort on fresh seeds, in random halves where that pays (`mendel.verdicts.together`) or one
by one, and `mendel.verdicts.judge` decides. The variant without error control adopts by the posterior of the
same measurements; the oracle knows the truth and confirms the winners alone, one by one, by the same judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mendel.bench.joint import TIMID, Joint
from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds
from mendel.plans.index import (
    GAINS,
    GRID,
    Evidence,
    Options,
    Running,
    allocate,
    beliefs,
    updated,
    worth_continuing,
)
from mendel.plans.screening import ENTRY_FEE, OVERHEAD
from mendel.records import Rule
from mendel.verdicts.evalues import log_t_final
from mendel.verdicts.judge import Action, clipped, judge_round
from mendel.verdicts.noise import Noise, learn_noise, noise_of
from mendel.verdicts.power import FIRST_LOOK, confirmation, expected_bar
from mendel.verdicts.together import LEAST, Hopes, beside_others, hopes_of, most_together, together

Floats = NDArray[np.float64]

MAX_PAIRS = 120
CHUNK = 24
"""Most ideas that share a screening control: its noise moves all of them."""
PATIENCE = (15, 40, 110)
"""Further pairs, going by what one standard error above its mean would need, beyond which an idea is given
up: the planner takes whichever is worth most."""
LATER = 2.1
"""Log of how much larger an e-value an idea of the second block of entries needs."""
LEAST_LEFT = 6
"""Recorded seeds that screening leaves for a confirmation."""
PLAIN_PAIRS = 12
"""Most pairs of a confirmation one by one, where it is weighed against one of all together."""
LEAST_DOUBT = 0.02
"""Variance of a gain (paired sd) that no screening leaves less of."""
BANK_PAIRS = 12
"""Pairs that the bank's noise counts for beside those of the campaign's own screen."""


@dataclass
class Mendel:
    """The real index and the real judge."""

    max_pairs: int = MAX_PAIRS
    alpha: float | None = None
    """Error rate, where it is not the campaign's; tests break the judge with it."""
    entered: list[str] = field(default_factory=list, init=False)
    frozen: dict[str, float] = field(default_factory=dict, init=False)

    def run(self, lab: Lab) -> Iterable[int]:
        self.entered, self.frozen = [], {}
        self.lab, self.next_seed, self.planned = lab, 0, 0
        self.sd = lab.terms.paired_sd
        self.seen: list[dict[int, float]] = [{} for _ in range(len(lab.ideas))]
        self.known: dict[int, tuple[float, float]] = {}
        claims: list[int] = []
        done = np.zeros(len(lab.ideas), dtype=bool)
        while True:
            options = self._screen(done)
            cohort = self._cohort(options, done)
            if not len(cohort):
                break
            self.planned = self.planned or len(cohort)
            together = self._together(cohort)
            if len(together):
                done[together] = True
                claims += self._confirm_together(together, options.price)
            else:
                done[cohort] = True
                claims += self._confirm(cohort)
            if lab.left < 8:
                break
        return claims

    # --- screening ----------------------------------------------------------------------------------------

    def _screen(self, done: NDArray[np.bool_]) -> Options:
        """Buy screening pairs until none is worth its price."""
        self.price: float | None = None
        self.patience = PATIENCE[0]
        while True:
            options = self._options(done)
            if not options.screens.any():  # before all is settled, look at every patience again
                self.price = None
                options = self._options(done)
            wanted = np.flatnonzero(options.screens)
            if not len(wanted) or self._pairs_left() <= LEAST_LEFT:
                return options
            fresh = np.array([not self.seen[i] for i in wanted])
            if fresh.any():  # learn from some before the rest is priced
                wanted = wanted[fresh]
                most = max(CHUNK, len(done) // 4)
            else:
                most = len(wanted)
            best = wanted[np.argsort(-options.screen[wanted] / self.lab.ideas.cost[wanted], kind="stable")]
            size = CHUNK if self.lab.terms.seeds is None else most  # recorded seeds are too few for more
            bought = sum(self._buy_chunk(chunk) for chunk in chunks(best[:most], size))
            if not bought:
                return self._options(done)

    def _buy_chunk(self, ideas: NDArray[np.intp]) -> int:
        try:
            found = self.lab.pairs(ideas, self.next_seed)
        except (OutOfBudget, OutOfSeeds):
            return 0
        self._keep(ideas, self.next_seed, found)
        self.next_seed += 1
        return len(ideas)

    def _keep(self, ideas: NDArray[np.intp], seed: int, found: Floats) -> None:
        bound = self.lab.terms.bound
        clipped = np.clip(np.where(np.isnan(found), -bound, found), -bound, bound)
        for idea, value in zip(ideas.tolist(), clipped.tolist(), strict=True):
            self.seen[idea][seed] = value

    def _evidence(self, noise: Noise) -> Evidence:
        ideas = self.lab.ideas
        gains = np.full((len(ideas), max(self.next_seed, 1)), np.nan)
        for idea, pairs in enumerate(self.seen):
            for seed, value in pairs.items():
                gains[idea, seed] = value / self.sd
        known = np.zeros((len(ideas), 2))
        for idea, found in self.known.items():  # what screening showed of it is part of this
            gains[idea], known[idea] = np.nan, found
        said = ideas.forecast / self.sd
        return Evidence(gains, ideas.idea_class, ideas.proposer, said, noise.pairs, known)

    def _options(self, done: NDArray[np.bool_]) -> Options:
        noise = self._noise()
        posterior = beliefs(self._evidence(noise))
        posterior[done] = np.eye(len(GRID))[0]  # settled: as if it were the worst of harms
        gain = round(self.lab.terms.min_gain / self.sd, 2)
        log_e = expected_bar(self.alpha or self.lab.terms.alpha)
        if self.planned:  # later blocks have smaller weights
            log_e += LATER
        most = max(self._pairs_left(), 5)

        def planned(patience: int, near: float | None) -> Options:
            power, pairs = confirmation(GAINS, round(log_e, 1), gain, most, patience, noise.pairs)
            fee = pairs + ENTRY_FEE
            return allocate(posterior, power, fee, self.lab.ideas.cost, self.lab.left, OVERHEAD, near)

        if self.price is not None:
            options = planned(self.patience, self.price)
        else:
            plans = {patience: planned(patience, None) for patience in PATIENCE}
            self.patience = max(plans, key=lambda patience: plans[patience].worth(self.lab.left))
            options = plans[self.patience]
        self.price = options.price
        return options

    def _pairs_left(self) -> int:
        seeds = self.lab.terms.seeds
        return self.max_pairs if seeds is None else min(self.max_pairs, seeds - self.next_seed)

    # --- confirmation -------------------------------------------------------------------------------------

    def _cohort(self, options: Options, done: NDArray[np.bool_]) -> NDArray[np.intp]:
        """What enters, the best first."""
        last = self._pairs_left() <= LEAST_LEFT
        names = np.flatnonzero((options.confirm > 0 if last else options.enters) & ~done)
        if self._pairs_left() < 5:
            return names[:0]
        ranked = names[np.argsort(-options.confirm[names] / self.lab.ideas.cost[names], kind="stable")]
        return ranked[: int(self.lab.left / 6)]

    def _rule(self) -> Rule:
        terms, noise = self.lab.terms, self._noise()
        return Rule(
            alpha=self.alpha or terms.alpha,
            planned=self.planned,
            min_loss_gain=terms.min_gain,
            bound=terms.bound,
            noise=noise.sd,
            noise_pairs=noise.pairs,
            max_pairs=max(self._pairs_left(), 5),
        )

    def _noise(self) -> Noise:
        """That of the screen's ideas with two pairs or more, and the bank's."""
        bound = self.lab.terms.bound
        screened = [np.array([one for one in pairs.values() if one > -bound]) for pairs in self.seen]
        return learn_noise([*screened, *self._bank()])

    def _bank(self) -> list[Floats]:
        """Pairs of earlier campaigns, as alike as pairs of their sd can be."""
        pattern = np.linspace(-1, 1, BANK_PAIRS)
        return [pattern / pattern.std(ddof=1) * self.lab.terms.paired_sd]

    def _confirm(self, cohort: NDArray[np.intp]) -> list[int]:
        """Pairs on fresh seeds, round after round, until every idea has stopped."""
        rule = self._rule()
        self.screened = beliefs(self._evidence(noise_of(rule)))
        self.entered += [str(i) for i in cohort]
        data: dict[str, list[float]] = {str(i): [] for i in cohort}
        claims: list[int] = []
        for count in range(1, rule.max_pairs + 1):
            live = np.array([int(name) for name in data], dtype=np.intp)
            live = self._affordable(live, data, count - 1, rule)
            for name in data.keys() - {str(i) for i in live}:
                self.frozen[name] = -math.inf
                del data[name]
            if not data:
                break
            seed = self.next_seed
            found = self.lab.pairs(live, seed)
            self.next_seed += 1
            self._keep(live, seed, found)
            for idea, value in zip(live.tolist(), found.tolist(), strict=True):
                data[str(idea)].append(value)
            if count < FIRST_LOOK:
                continue
            after = judge_round(rule, self.entered, data, self.frozen)
            self.frozen = after.frozen
            for name, decision in after.decisions.items():
                if decision.action is not Action.CONTINUE:
                    del data[name]
                if decision.action is Action.CLAIM:
                    claims.append(int(name))
                    self.lab.adopt([int(name)])
            if not data:
                break
        self.frozen |= dict.fromkeys(data, -math.inf)
        return claims

    def _together(self, cohort: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of a cohort that are better confirmed together, if that is better."""
        bound = self.lab.terms.bound
        pairs = [value <= -bound for found in self.seen for value in found.values()]
        most = most_together(float(np.mean(pairs)) if pairs else 0.0)
        slots = self.lab.ideas.slot[cohort]
        chosen = cohort[np.sort(np.unique(slots, return_index=True)[1])][:most]
        if len(chosen) < LEAST:
            return cohort[:0]
        self.expected = self._expect()
        left = min(self._pairs_left(), int(self.lab.left / (2 * TIMID)))
        alone = self._hopes(chosen, alone=True)
        pays = together(self._hopes(chosen), alone, min(PLAIN_PAIRS, self._pairs_left()), left)
        return chosen if pays else cohort[:0]

    def _expect(self) -> tuple[Floats, Floats]:
        """Mean and standard error of every idea's gain by what screening has shown, in paired sd."""
        posterior = beliefs(self._evidence(self._noise()))
        mean = posterior @ GRID
        return mean, np.maximum(posterior @ GRID**2 - mean**2, LEAST_DOUBT) ** 0.5

    def _hopes(self, cohort: NDArray[np.intp], alone: bool = False) -> Hopes:
        """What that lets one expect of ideas that are about to enter together, or else `alone`."""
        mean, error = (of_all[cohort] for of_all in self.expected)
        if not alone:
            mean, error = beside_others(mean, error, 1.0)
        places = range(len(self.entered), len(self.entered) + len(cohort))
        standing = [n for n, name in enumerate(self.entered) if self.frozen[name] > -math.inf]
        none = np.zeros(len(cohort))
        return hopes_of(self._rule(), places, standing, mean * self.sd, error * self.sd, none)

    def _confirm_together(self, cohort: NDArray[np.intp], price: float) -> list[int]:
        """Random halves of the cohort against each other, on fresh seeds."""
        hopes, rule = self._hopes(cohort), self._rule()
        self.entered += [str(i) for i in cohort]
        confirmation = Joint(self.lab, rule, self.entered, self.frozen, cohort, self.next_seed, price)
        claims = confirmation.run(hopes)
        self.frozen, self.next_seed = confirmation.frozen, confirmation.seed
        gains, sd = confirmation.halves.gains, self.sd
        measured = zip(cohort.tolist(), gains.mean / sd, (sd / gains.error) ** 2, strict=True)
        self.known |= {idea: (mean, pairs) for idea, mean, pairs in measured}
        return claims

    def _affordable(
        self, live: NDArray[np.intp], data: dict[str, list[float]], count: int, rule: Rule
    ) -> NDArray[np.intp]:
        """The ideas that deserve another pair and that the budget can bring to a claim, the best first."""
        if count >= FIRST_LOOK:
            x = np.array([clipped(rule, data[str(i)])[0] for i in live])
            y = x - rule.min_loss_gain
            posterior = updated(self.screened[live], x.mean(axis=1) / self.sd, count)
            log_e = np.array([log_t_final(row, noise_of(rule)) for row in y])
            running = Running(posterior, log_e, count, self.lab.ideas.cost[live])
            bar = expected_bar(rule.alpha)
            gain = rule.min_loss_gain / rule.noise
            go = worth_continuing(running, bar, gain, rule.max_pairs, rule.min_pairs, self.lab.left)
            live = live[go]
        size = len(live)
        while size and self.lab.price(live[:size], self.next_seed) > self.lab.left:
            size -= 1
        return live[:size]

    # --- the price of the guarantee -----------------------------------------------------------------------

    def without_control(self) -> list[int]:
        """What the campaign just played would adopt by its posterior alone: all whose expected gain is above
        the smallest of interest."""
        posterior = beliefs(self._evidence(self._noise()))
        mean = posterior @ GRID
        known = np.array([bool(pairs) for pairs in self.seen])
        return np.flatnonzero(known & (mean * self.sd > self.lab.terms.min_gain)).tolist()


def chunks(ideas: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    """Parts of about equal size, at most `size`, that share a control each."""
    parts = max(1, math.ceil(len(ideas) / size))
    return [np.asarray(part) for part in np.array_split(ideas, parts)]


class Oracle(Mendel):
    """Knows the truth and confirms the winners alone, the best per pair first, by the same judge.

    What a campaign of the same budget and the same burden of proof could find if it guessed right every time.
    The bench hands it the truth; no other policy gets it.
    """

    def __init__(self, gain: Floats, winner: NDArray[np.bool_]) -> None:
        super().__init__()
        self.gain, self.winner = gain, winner

    def _screen(self, done: NDArray[np.bool_]) -> Options:
        worth = np.where(self.winner & ~done, self.gain / self.sd, -1.0)
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

    def _together(self, cohort: NDArray[np.intp]) -> NDArray[np.intp]:
        return cohort[:0]
