"""A cohort confirmed together in random halves, in the bench: the planner and the judge that the lab uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mendel.bench.lab import Lab, OutOfBudget, OutOfSeeds
from mendel.records import Rule
from mendel.verdicts.halves import Gains, Halves, draw_signs
from mendel.verdicts.judge import Action, Judgement, decide
from mendel.verdicts.together import HOPE, Hopes, hopes_of, next_look

Floats = NDArray[np.float64]

HORIZON = 120
"""Most seeds that a look plans ahead."""
TIMID = 1.3
"""A run of half a cohort may cost this many times a usual one."""


@dataclass
class Joint:
    """One such confirmation. `entered` and `frozen` are the campaign's, as `decide` takes them."""

    lab: Lab
    rule: Rule
    entered: Sequence[str]
    frozen: dict[str, float]
    cohort: NDArray[np.intp]
    """Ideas, all of them in `entered`."""
    seed: int
    """The next fresh one."""
    price: float
    """What a control run's compute must bring, in paired sd."""
    halves: Halves = field(init=False)

    def run(self, hopes: Hopes) -> list[int]:
        """Look after look until no idea is left that is worth another; returns the claims."""
        sd = self.rule.noise
        self.halves = Halves(self.rule, Gains.apart(hopes.mean * sd, hopes.doubt**0.5 * sd))
        running, said = np.ones(len(self.cohort), dtype=bool), dict[int, Judgement]()
        claims: list[int] = []
        while running.any():
            now = self._hopes(np.flatnonzero(running), said)
            cost = float(np.mean(self.lab.ideas.cost[self.cohort[running]]))
            most = min(HORIZON, self._seeds_left(), int(self.lab.left / (2 * cost * TIMID)))
            look = next_look(now, self.halves.seeds, most, self.rule.min_pairs, self.price * cost)
            if not look.seeds:
                break
            running[np.flatnonzero(running)[look.chance < HOPE]] = False
            # After the first, smaller looks than planned: what they teach makes the next ones clearer.
            seeds = look.seeds if not self.halves.seeds else min(look.seeds, max(int(running.sum()), 3))
            if not running.any() or not self._train(draw_signs((11, self.seed), seeds, running)):
                break
            claims += self._decide(running, said)
        self._stop(np.ones(len(self.cohort), dtype=bool))
        return claims

    def _seeds_left(self) -> int:
        seeds = self.lab.terms.seeds
        return HORIZON if seeds is None else seeds - self.seed

    def _hopes(self, running: NDArray[np.intp], said: dict[int, Judgement]) -> Hopes:
        places = [self.entered.index(str(idea)) for idea in self.cohort[running]]
        standing = [n for n, name in enumerate(self.entered) if self.frozen.get(name, -math.inf) > -math.inf]
        log_e = np.array([said[i].log_e_t if i in said else 0.0 for i in running.tolist()])
        gains = self.halves.gains
        return hopes_of(self.rule, places, standing, gains.mean[running], gains.error[running], log_e)

    def _train(self, signs: NDArray[np.int8]) -> bool:
        """Buy the halves; False where there was no room for any."""
        losses: list[tuple[float | None, float | None]] = []
        try:
            for coins in signs:
                first, second = (self.lab.run(self.cohort[coins == side], self.seed) for side in (1, -1))
                self.seed += 1
                losses.append((_or_none(first), _or_none(second)))
        except (OutOfBudget, OutOfSeeds):
            pass
        if losses:
            self.halves.add(signs[: len(losses)], losses)
        return bool(losses)

    def _decide(self, running: NDArray[np.bool_], said: dict[int, Judgement]) -> list[int]:
        self._stop(~running)
        places = {str(self.cohort[i]): i for i in np.flatnonzero(running).tolist()}
        judged = {name: partial(self.halves.judged, i) for name, i in places.items()}
        after = decide(self.rule, self.entered, judged, self.frozen)
        self.frozen = after.frozen
        claims = []
        for name, decision in after.decisions.items():
            said[places[name]] = decision.judgement
            running[places[name]] = decision.action is Action.CONTINUE
            if decision.action is Action.CLAIM:
                claims.append(int(name))
        self.lab.adopt(claims)
        return claims

    def _stop(self, which: NDArray[np.bool_]) -> None:
        """Freeze those of `which` that have no e-value yet at zero."""
        names = [str(idea) for idea in self.cohort[which]]
        self.frozen = dict.fromkeys(names, -math.inf) | self.frozen


def _or_none(loss: float) -> float | None:
    return None if math.isnan(loss) else loss
