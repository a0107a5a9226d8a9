"""The search for knobs' values: which points to train next, by optuna.

It knows ranges and losses, nothing of recipes or runs. What it asks follows from what it was told alone, in
batches of one size whatever the number of workers, so a campaign that is killed and run again asks the same.

The first point of every search is empty: the recipe as it stands. So with the noise of a run aside, no search
ends with something worse than it began with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from mendel.records import Range

if TYPE_CHECKING:  # it takes a second to import
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

Number = int | float
Point = dict[str, Number]
"""Values by knob; empty: as the recipe stands."""
Told = tuple[Point, float | None]
"""A point with its loss, bits per byte; None where the run failed."""
Sampler = Literal["tpe", "cma-es"]

BATCH = 4
"""Points asked for before the next are told of their losses."""
DIGITS = 4
"""Significant digits of a value: more are noise to whoever reads them."""
FAILED = 1e6
"""What the sampler is told of a run without a loss, bits per byte: worse than any."""


class Search:
    """One search of `trials` points. Losses are told in the order in which points were asked for."""

    def __init__(
        self,
        ranges: Mapping[str, Range],
        trials: int,
        sampler: Sampler = "tpe",
        seed: int = 0,
        start: Mapping[str, Number] | None = None,
    ) -> None:
        """`start`: values of the recipe as it stands, as far as they are known. Where one is missing or out
        of its range, the first point is trained all the same but teaches the sampler nothing."""
        self.ranges, self.trials = dict(ranges), trials
        self.told: list[Told] = []
        self._start = _known(self.ranges, start or {})
        self._study = _study(self.ranges, sampler, trials, seed)
        self._asked: list[tuple[Point, Trial | None]] = []

    def ask(self) -> list[Point]:
        """The next points to train; none when the search is over."""
        assert not self._asked, "what was asked for is told first"
        count = min(BATCH, self.trials - len(self.told))
        for place in range(count):
            trial = None if not self.told and place == 0 else self._study.ask(_distributions(self.ranges))
            self._asked.append(({} if trial is None else self._rounded(trial.params), trial))
        return [point for point, _ in self._asked]

    def tell(self, losses: Sequence[float | None]) -> None:
        """The losses of the points that were asked for last."""
        for (point, trial), loss in zip(self._asked, losses, strict=True):
            value = FAILED if loss is None or not math.isfinite(loss) else loss
            if trial is not None:
                self._study.tell(trial, value)
            elif self._start is not None:
                self._add(self._start, value)
            self.told.append((point, loss if value < FAILED else None))
        self._asked = []

    @property
    def best(self) -> Point:
        return best_of(self.told)

    def _rounded(self, params: Mapping[str, Any]) -> Point:
        return {key: rounded(value, self.ranges[key]) for key, value in params.items()}

    def _add(self, start: Point, value: float) -> None:
        from optuna.trial import create_trial

        self._study.add_trial(
            create_trial(params=start, distributions=_distributions(self.ranges), value=value)
        )


def best_of(told: Sequence[Told]) -> Point:
    """The point of the lowest loss, of equal ones the first; empty where nothing trained."""
    done = [(loss, place) for place, (_, loss) in enumerate(told) if loss is not None]
    return told[min(done)[1]][0] if done else {}


def rounded(value: Number, range: Range) -> Number:
    """A value within its range, in as many digits as a person reads."""
    if range.integer:
        return int(value)
    return min(max(float(f"{value:.{DIGITS}g}"), range.low), range.high)


def _known(ranges: Mapping[str, Range], start: Mapping[str, Number]) -> Point | None:
    if all(key in start and one.low <= start[key] <= one.high for key, one in ranges.items()):
        return {key: int(start[key]) if one.integer else float(start[key]) for key, one in ranges.items()}
    return None


def _distributions(ranges: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        key: IntDistribution(int(one.low), int(one.high), log=one.log)
        if one.integer
        else FloatDistribution(one.low, one.high, log=one.log)
        for key, one in ranges.items()
    }


def _study(ranges: Mapping[str, Range], sampler: Sampler, trials: int, seed: int) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    method = _sampler(ranges, sampler, trials, seed % 2**32)  # NumPy's generators take no more
    return optuna.create_study(study_name="tune", direction="minimize", sampler=method)


def _sampler(ranges: Mapping[str, Range], sampler: Sampler, trials: int, seed: int) -> BaseSampler:
    """CMA-ES where it is asked for and has two dimensions to correlate, else TPE. Half of a short search is
    drawn at random: TPE by itself would draw ten points so."""
    from optuna.samplers import CmaEsSampler, TPESampler

    if sampler == "cma-es" and sum(not one.integer for one in ranges.values()) >= 2:
        return CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return TPESampler(n_startup_trials=min(10, max(1, trials // 2)), seed=seed)
