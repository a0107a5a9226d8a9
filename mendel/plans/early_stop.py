"""Early stop inside a screening run: when what a run has shown so far says how it will end.

Each treatment is compared, part way, with the control of its own seed by their training loss. From pairs that
went to the end one learns, for each idea class, how the difference at the end follows from the early one: a
line with Student's t around it, drawn towards that of all classes while the class has shown little (conjugate
linear regression: Bishop 2006, section 3.3; Gelman et al. 2013, section 14.2). A run is stopped where the
chance that its pair would still have ended above m is hardly any. One in `1 / SPARED` of those that would
be stopped goes on regardless, drawn at random: from these the regret is known.

Some classes compare at the horizon only: a schedule earns its gain at the end, and what another text, a
penalty or another objective logs on its way is not what it is scored by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from mendel.records import Record

Floats = NDArray[np.float64]

CHECKS = (1 / 3, 1 / 2, 2 / 3)
"""Shares of a run after which it is looked at."""
HORIZON_ONLY = ("schedule", "data", "regularisation", "loss")
"""Idea classes that are never stopped early."""
SPARED = 0.05
"""Share of those that is finished all the same."""
LEAST_PAIRS = 6
"""Finished pairs of a class without which none of it is stopped."""
_DRAWN = 6.0
"""Pairs that the line of all classes counts for in each."""
_SPREAD = 4.0
"""Degrees of freedom that the spread around it counts for."""


class Course(Record):
    """A pair that went to the end: control minus treatment in bits per byte, training loss at each of CHECKS
    and score at the end."""

    idea_class: str
    early: tuple[float, ...]
    final: float


class Line(Record):
    """What one check says of the end: final = at + by * early, with Student's t."""

    at: float
    by: float
    freedom: float
    scale: float
    """Of the residuals, bits per byte."""
    precision: tuple[float, float, float]
    """Of (at, by) in units of the scale, as a symmetric matrix: (0, 0), (0, 1), (1, 1)."""

    def expected(self, early: float) -> float:
        """Difference at the end, bits per byte."""
        return self.at + self.by * early

    def chance(self, early: float, above: float) -> float:
        """Probability that the difference at the end is larger than `above`."""
        matrix = np.array([self.precision[:2], self.precision[1:]])
        x = np.array([1.0, early])
        spread = self.scale * float(1 + x @ np.linalg.solve(matrix, x)) ** 0.5
        return float(stdtr(self.freedom, (self.expected(early) - above) / spread))


class StopRule(Record):
    """Lines by idea class, one for each of CHECKS. Classes that are not among them run to the end."""

    lines: dict[str, tuple[Line, ...]] = {}

    def hopeless(
        self, idea_class: str, early: Sequence[float], min_gain: float, hope: float
    ) -> tuple[float, float] | None:
        """The first check, of those in `early` so far, at which the chance of a gain above `min_gain` is
        below `hope`: its share of the run, and the difference in bits per byte that it would end with."""
        for place, (line, seen) in enumerate(zip(self.lines.get(idea_class, ()), early, strict=False)):
            # What is not behind its control is never stopped, nor where those behind end well: both are
            # what logs that were made up could teach.
            if seen < 0 < line.by and line.chance(seen, min_gain) < hope:
                return CHECKS[place], line.expected(seen)
        return None


def learn(courses: Iterable[Course]) -> StopRule:
    """The rule that finished pairs teach."""
    by_class: dict[str, list[Course]] = {}
    for course in courses:
        if course.idea_class not in HORIZON_ONLY:
            by_class.setdefault(course.idea_class, []).append(course)
    everyone = [course for group in by_class.values() for course in group]
    if len(everyone) < LEAST_PAIRS:
        return StopRule()
    final = np.array([course.final for course in everyone])
    lines: dict[str, list[Line]] = {kind: [] for kind, group in by_class.items() if len(group) >= LEAST_PAIRS}
    for place in range(len(CHECKS)):
        common = _common(np.array([course.early[place] for course in everyone]), final)
        for kind, found in lines.items():
            early = np.array([course.early[place] for course in by_class[kind]])
            found.append(_drawn_to(common, early, np.array([course.final for course in by_class[kind]])))
    return StopRule(lines={kind: tuple(found) for kind, found in lines.items()})


@dataclass(frozen=True)
class _Fit:
    """Conjugate posterior of a line and its spread."""

    mean: Floats
    """(at, by), (2,)."""
    precision: Floats
    """(2, 2), in units of the spread."""
    freedom: float
    squares: float
    """Degrees of freedom times the squared spread."""


def _common(early: Floats, final: Floats) -> _Fit:
    """The line of all classes, from the idea that a difference stays as it is, worth one pair."""
    tiny = float((early**2).mean()) + 1e-12
    known = _Fit(np.array([0.0, 1.0]), np.diag([1.0, tiny]), 0.0, 0.0)
    fit = _updated(known, early, final)
    share = 1 / len(early)
    return _Fit(fit.mean, fit.precision * _DRAWN * share, _SPREAD, _SPREAD * fit.squares * share)


def _drawn_to(common: _Fit, early: Floats, final: Floats) -> Line:
    fit = _updated(common, early, final)
    return Line(
        at=float(fit.mean[0]),
        by=float(fit.mean[1]),
        freedom=fit.freedom,
        scale=(fit.squares / fit.freedom) ** 0.5,
        precision=(float(fit.precision[0, 0]), float(fit.precision[0, 1]), float(fit.precision[1, 1])),
    )


def _updated(prior: _Fit, early: Floats, final: Floats) -> _Fit:
    """The posterior after pairs, (pairs,) each."""
    x = np.stack([np.ones_like(early), early], axis=1)
    precision = prior.precision + x.T @ x
    mean = np.linalg.solve(precision, prior.precision @ prior.mean + x.T @ final)
    from_line, from_prior = final - x @ mean, mean - prior.mean
    squares = prior.squares + from_line @ from_line + from_prior @ prior.precision @ from_prior
    return _Fit(mean, precision, prior.freedom + len(early), float(squares))
