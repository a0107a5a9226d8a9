"""Fitting a law to runs: least absolute deviations of the logarithm of the loss, from many starts.

Absolute deviations are what Huber's loss on log loss comes to when its width is small beside the noise, which
it is as used since Hoffmann et al. 2022 (1e-3); with the width told in standard deviations that are fitted
with the law (Besiroglu et al. 2024) the limit is exact. Huber's loss with a falling width brings a start
close to the optimum; linear programs, one for each linearisation of the law, end on it (Osborne & Watson
1971).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WIDTH = 1e-3
"""Of Huber's loss, in nats of log loss: half a per mille of the loss and less counts as noise."""
NARROW = (1e-4, 1e-5)
STEP = 0.05
"""First trust region of a linear program, relative to a parameter or absolute where that is below one."""
GAIN = 1e-9
"""Relative gain of a linear program below which its region shrinks, until the search stops."""
SAME = 1e-4
"""Relative difference of objectives that counts as the same optimum."""
ONE_IN = 500
"""A run is an outlier where Laplace noise of the fit's size would bring one like it in so many data sets."""
LEAST_KEPT = 0.8
"""Share of the runs that no rule for outliers goes below."""


OBJECTIVES = ("absolute", "huber", "squares")


@dataclass(frozen=True)
class Problem:
    """Runs to fit: `residual` of parameters (p,) is prediction minus loss (runs,), of logarithms but for
    squares; `slope` its derivative (runs, p)."""

    residual: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    objective: str = "absolute"

    def value(self, residual: Floats) -> float:
        """The sum that is to be least."""
        if self.objective == "squares":
            return float((residual**2).sum())
        return float((np.abs(residual) if self.objective == "absolute" else huber_loss(residual)).sum())


@dataclass(frozen=True)
class Fit:
    """An optimum."""

    parameters: Floats
    objective: float
    """The sum that is least there."""
    starts: int
    at_optimum: int
    """Starts that came to the same objective, within SAME, before the linear programs."""


def fit(problem: Problem, starts: Iterable[Floats], sketch: Problem | None = None) -> Fit:
    """The best optimum that any start leads to. `sketch`: some of very many runs, on which starts are tried;
    only the best goes on to all. ValueError where none leads anywhere."""
    if sketch is not None:
        tried = fit(
            replace(sketch, objective="huber" if sketch.objective == "absolute" else sketch.objective), starts
        )
        optimum = descend(problem, tried.parameters)
        for width in NARROW if problem.objective == "absolute" else ():
            optimum = descend(problem, optimum, width)
        value = problem.value(problem.residual(optimum))
        return Fit(optimum, value, tried.starts, tried.at_optimum)
    found = []
    for start in starts:
        try:
            parameters = descend(problem, start)
        except ValueError:  # the law overflows from there
            continue
        found.append((_smooth(problem, parameters), parameters))
    if not found:
        raise ValueError("no start leads to a fit: the columns may be swapped, or span no scale")
    best = min(value for value, _ in found)
    close = [parameters for value, parameters in found if value <= best * (1 + SAME) + 1e-12]
    optimum = min(found, key=lambda one: one[0])[1]
    if problem.objective == "absolute":
        optimum, _ = absolute(problem, optimum)
    return Fit(optimum, problem.value(problem.residual(optimum)), len(found), len(close))


def _smooth(problem: Problem, parameters: Floats) -> float:
    """What `descend` makes least."""
    residual = problem.residual(parameters)
    return float((residual**2 if problem.objective == "squares" else huber_loss(residual)).sum())


def huber_loss(residual: Floats, width: float = WIDTH) -> Floats:
    size = np.abs(residual)
    return np.where(size <= width, residual**2 / 2, width * (size - width / 2))


def descend(problem: Problem, start: Floats, width: float = WIDTH, steps: int = 300) -> Floats:
    """The minimum that a start leads to: of squares, or of Huber's loss for the other objectives."""
    found = least_squares(
        problem.residual,
        start,
        problem.slope,
        loss="linear" if problem.objective == "squares" else "huber",
        f_scale=width,
        x_scale="jac",
        max_nfev=steps,
        ftol=1e-10,
        xtol=1e-10,
        gtol=1e-12,
    )
    return np.asarray(found.x)


def absolute(problem: Problem, start: Floats) -> tuple[Floats, float]:
    """The minimum of the absolute deviations near a start, and their sum there."""
    at = start
    for width in NARROW:
        at = descend(problem, at, width)
    value, region = float(np.abs(problem.residual(at)).sum()), STEP
    for _ in range(60):
        step = _linear(problem.residual(at), problem.slope(at), region * np.maximum(1.0, np.abs(at)))
        new = float(np.abs(problem.residual(at + step)).sum())
        if new < value * (1 - GAIN):
            at, value = at + step, new
        elif (region := region / 8) < 1e-8:
            break
    return at, value


def _linear(residual: Floats, slope: Floats, region: Floats) -> Floats:
    """The step within a region that the absolute deviations of the linearised law are least after."""
    runs, parameters = slope.shape
    dense, one = csr_array(slope), eye_array(runs, format="csr")
    found = linprog(
        np.concatenate([np.zeros(parameters), np.ones(runs)]),
        A_ub=vstack([hstack([dense, -one]), hstack([-dense, -one])], format="csr"),
        b_ub=np.concatenate([-residual, residual]),
        bounds=[*((-r, r) for r in region), *[(0, None)] * runs],
        method="highs",
    )
    return np.asarray(found.x[:parameters]) if found.status == 0 else np.zeros(parameters)


def outliers(residual: Floats, kept: Ints) -> Ints:
    """Places of runs that no noise like that of the others would explain; `kept` were fitted.

    Under Laplace noise of mean absolute deviation b, a residual beyond x is one in exp(x / b)."""
    scale = float(np.abs(residual[kept]).mean())
    if scale <= 1e-12:
        return np.array([], dtype=np.int64)
    beyond = np.abs(residual) / scale > math.log(len(residual) * ONE_IN)
    return np.flatnonzero(beyond)


def without_outliers(
    runs: int, fitted: Callable[[Ints], Fit], residual: Callable[[Floats], Floats]
) -> tuple[Fit, Ints]:
    """Fit, leave out what is no noise, and fit again until the same runs are left out; the fit and the runs
    that are kept. Where too many would go, none does: the law is then the wrong one."""
    kept = np.arange(runs)
    whole = found = fitted(kept)
    for _ in range(20):
        gone = outliers(residual(found.parameters), kept)
        left = np.setdiff1d(np.arange(runs), gone)
        if len(left) < LEAST_KEPT * runs:
            return whole, np.arange(runs)
        if np.array_equal(left, kept):
            break
        kept, found = left, fitted(left)
    return found, kept
