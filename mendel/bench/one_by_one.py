"""Ideas screened by the index and confirmed one by one, in the bench: the real index and the real judge.

Screening buys pairs where another pair is worth its price (`mendel.plans.index`); what is worth confirming
enters as one cohort on fresh seeds, and `mendel.verdicts.judge` decides. `mendel.bench.mendel_policy` does so
where random halves are not the better way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
LEAST_RUNS = 8
"""Control runs without which nothing further is confirmed."""
BANK_PAIRS = 12
"""Pairs that the bank's noise counts for beside those of the campaign's own screen."""
AGAIN = "/alone"
"""Ends the name of an e-process that follows one with halves, which were given up."""


@dataclass
class OneByOne:
    """The real index and the real judge."""

    max_pairs: int = MAX_PAIRS
    alpha: float | None = None
    """Error rate, where it is not the campaign's; tests break the judge with it."""
    entered: list[str] = field(default_factory=list, init=False)
    """Names of e-processes, in order of entry."""
    frozen: dict[str, float] = field(default_factory=dict, init=False)
    claims: list[int] = field(default_factory=list, init=False)

    def run(self, lab: Lab) -> Iterable[int]:
        self.begin(lab)
        while self.step():
            pass
        return self.claims

    def begin(self, lab: Lab) -> None:
        """Forget what was, and look at a new lab."""
        count = len(lab.ideas)
        self.entered, self.frozen, self.claims = [], {}, []
        self.lab, self.next_seed, self.planned = lab, 0, 0
        self.runs, self.failures = 0, 0  # of single treatments
        self.sd = lab.terms.paired_sd
        self.seen: list[dict[int, float]] = [{} for _ in range(count)]
        self.known = np.zeros((count, 2))
        self.done = np.zeros(count, dtype=bool)

    def step(self) -> bool:
        """Screen until no pair is worth its price, and confirm what is; False where nothing is left to do."""
        options = self._screen()
        cohort = self._cohort(options)
        if not len(cohort):
            return False
        self.planned = self.planned or len(cohort)
        self.done[cohort] = True
        self.claims += self._confirm(cohort)
        return self.lab.left >= LEAST_RUNS

    # --- screening ----------------------------------------------------------------------------------------

    def _screen(self) -> Options:
        """Buy screening pairs until none is worth its price."""
        self.price: float | None = None
        self.patience = PATIENCE[0]
        while True:
            options = self._options()
            if not options.screens.any():  # before all is settled, look at every patience again
                self.price = None
                options = self._options()
            wanted = np.flatnonzero(options.screens)
            if not len(wanted) or self._pairs_left() <= LEAST_LEFT:
                return options
            fresh = np.array([not self.seen[i] for i in wanted])
            if fresh.any():  # learn from some before the rest is priced
                wanted = wanted[fresh]
                most = max(CHUNK, len(self.done) // 4)
            else:
                most = len(wanted)
            best = wanted[np.argsort(-options.screen[wanted] / self.lab.ideas.cost[wanted], kind="stable")]
            size = CHUNK if self.lab.terms.seeds is None else most  # recorded seeds are too few for more
            bought = sum(self._buy_chunk(chunk) for chunk in chunks(best[:most], size))
            if not bought:
                return self._options()

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
        self.runs, self.failures = self.runs + len(found), self.failures + int(np.isnan(found).sum())
        clipped = np.clip(np.where(np.isnan(found), -bound, found), -bound, bound)
        for idea, value in zip(ideas.tolist(), clipped.tolist(), strict=True):
            self.seen[idea][seed] = value

    def _evidence(self, noise: Noise) -> Evidence:
        ideas = self.lab.ideas
        seeds = sorted({seed for pairs in self.seen for seed in pairs})
        column = {seed: place for place, seed in enumerate(seeds)}
        gains = np.full((len(ideas), max(len(seeds), 1)), np.nan)
        for idea, pairs in enumerate(self.seen):
            for seed, value in pairs.items():
                gains[idea, column[seed]] = value / self.sd
        said = ideas.forecast / self.sd
        return Evidence(gains, ideas.idea_class, ideas.proposer, said, noise.pairs, self.known)

    def _options(self) -> Options:
        noise = self._noise()
        posterior = beliefs(self._evidence(noise))
        posterior[self.done] = np.eye(len(GRID))[0]  # settled: as if it were the worst of harms
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

    def _cohort(self, options: Options) -> NDArray[np.intp]:
        """What enters, the best first."""
        last = self._pairs_left() <= LEAST_LEFT
        names = np.flatnonzero((options.confirm > 0 if last else options.enters) & ~self.done)
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
        idea_of = {self._new_name(idea): idea for idea in cohort.tolist()}
        name_of = {idea: name for name, idea in idea_of.items()}
        self.entered += idea_of
        data: dict[str, list[float]] = {name: [] for name in idea_of}
        claims: list[int] = []
        for count in range(1, rule.max_pairs + 1):
            running = np.array([idea_of[name] for name in data], dtype=np.intp)
            pairs = np.array([data[name_of[idea]] for idea in running.tolist()])
            live = self._affordable(running, pairs, rule).tolist()
            for name in data.keys() - {name_of[idea] for idea in live}:
                self.frozen[name] = -math.inf
                del data[name]
            if not data:
                break
            found = self.lab.pairs(live, self.next_seed)
            self._keep(np.array(live), self.next_seed, found)
            self.next_seed += 1
            for idea, value in zip(live, found.tolist(), strict=True):
                data[name_of[idea]].append(value)
            if count < FIRST_LOOK:
                continue
            after = judge_round(rule, self.entered, data, self.frozen)
            self.frozen = after.frozen
            for name, decision in after.decisions.items():
                if decision.action is not Action.CONTINUE:
                    del data[name]
                if decision.action is Action.CLAIM:
                    claims.append(idea_of[name])
                    self.lab.adopt([idea_of[name]])
            if not data:
                break
        self.frozen |= dict.fromkeys(data, -math.inf)
        return claims

    def _new_name(self, idea: int) -> str:
        """Of an e-process: an idea whose halves were given up has a second one."""
        return f"{idea}{AGAIN}" if str(idea) in self.entered else str(idea)

    def _affordable(self, live: NDArray[np.intp], pairs: Floats, rule: Rule) -> NDArray[np.intp]:
        """The ideas that deserve another pair and that the budget can bring to a claim, the best first, by
        their `pairs` (ideas, pairs) so far."""
        count = pairs.shape[1]
        if count >= FIRST_LOOK:
            x = np.array([clipped(rule, own)[0] for own in pairs.tolist()])
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
