"""Scaling laws: L = E + sum of A_k x_k^-alpha_k, fitted to runs, and what is and is not known of them.

Forms: `chinchilla`, x = (n, d), parameters and tokens (Hoffmann et al. 2022, approach 3), with tied exponents
`over-training` (Gadre et al. 2024); `power`, one x; `saturating-repeat`, where tokens beyond the unique ones
are worth less and less (Muennighoff et al. 2023). Fits are of log loss, so errors are relative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import logsumexp
from scipy.stats import chi2

from mendel.knowledge.fits import Fit, Floats, Ints, Problem, absolute, descend, fit, without_outliers

EXPONENTS = (0.1, 0.3, 0.6, 1.2)
"""Where fits start; the coefficients that go with them are linear."""
REPEATS = (2.0, 15.0)
DRAWS = 1000
"""Resamples behind an interval."""
LEAST_DRAWS, WORK = 50, 2_000_000
"""Of tables so large that all resamples together have more runs than WORK, fewer, but so many."""
MANY = 2000
"""Runs of a table from which on starts are tried on some of them."""
SKETCH = 1000
"""Runs of a table of more than MANY on which starts are tried."""
STEPS = 40
"""Of a refit to a resample, which begins at the optimum of all."""
HIGHEST = 10
"""How many of the highest losses are left out, one more each time, to see what hangs on them."""
WIDE = 100.0
"""Ratio of the ends of an interval from which on a coefficient is not identified."""
WIDE_EXPONENT = 4.0
TALL = 100.0
"""log loss at which predictions are cut on the way to a fit of squares, so that these stay finite."""
TOGETHER = 0.975
"""Correlation of the logs of two columns from which on their terms are not told apart."""
STEEPEST = 3.0
"""An exponent beyond it, or of nothing, is that of no law."""
LEAST_CLUSTERS = 6
HARDLY = 1e-6
"""Relative spread of losses below which nothing varies."""
LEAST_SPAN = 2.0
"""Ratio that a column must span to tell an exponent."""

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "hoffmann": {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28},
    "besiroglu": {"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658},
}
"""Parameter sets of `chinchilla` that a fit can be compared with by name."""


@dataclass(frozen=True)
class Law:
    """A form. Parameters inside are logarithms of coefficients, of E, then exponents, then log R*."""

    name: str
    columns: tuple[str, ...]
    coefficients: tuple[str, ...]
    exponents: tuple[str, ...]
    """One for each coefficient, or one for all."""
    repeats: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*self.coefficients, "E", *self.exponents, *(("R",) if self.repeats else ()))

    def natural(self, inside: Floats) -> Floats:
        """Parameters as they are written, from the last axis of those inside."""
        count = len(self.coefficients) + 1
        plain = np.array(inside, dtype=float)
        plain[..., :count] = np.exp(np.clip(plain[..., :count], -TALL, TALL))
        if self.repeats:
            plain[..., -1] = np.exp(np.clip(plain[..., -1], -TALL, TALL))
        return plain

    def inside(self, plain: Mapping[str, float]) -> Floats:
        logs = {*self.coefficients, "E", "R"}
        return np.array([math.log(plain[k]) if k in logs else plain[k] for k in self.parameters])

    def terms(self, inside: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Log of each term (runs, terms) with E last, log of each x, and its slope in log R*."""
        count = len(self.coefficients)
        logs, bend = self._logs(inside, x)
        powers = np.broadcast_to(inside[count + 1 : count + 1 + len(self.exponents)], (count,))
        terms = inside[:count] - powers * logs
        return np.hstack([terms, np.full((len(x), 1), inside[count])]), logs, bend * powers[-1]

    def log_loss(self, inside: Floats, x: Floats) -> Floats:
        """Natural log of the loss (runs,) at x (runs, columns)."""
        return np.asarray(logsumexp(self.terms(inside, x)[0], axis=1))

    def slope(self, inside: Floats, x: Floats) -> Floats:
        """Derivative of `log_loss` in the parameters, (runs, parameters)."""
        count = len(self.coefficients)
        terms, logs, bend = self.terms(inside, x)
        weight = np.exp(terms - logsumexp(terms, axis=1, keepdims=True))
        powers = -logs * weight[:, :count]
        if len(self.exponents) < count:
            powers = powers.sum(axis=1, keepdims=True)
        parts = [weight, powers]
        if self.repeats:
            parts.append(-(bend * weight[:, count - 1])[:, None])
        return np.hstack(parts)

    def problem(self, x: Floats, loss: Floats, objective: str) -> Problem:
        """What is to be fitted to runs x (runs, columns) and their losses."""
        if objective == "squares":  # of the loss itself, as `curve_fit` does

            def predicted(p: Floats) -> Floats:
                return np.exp(np.clip(self.log_loss(p, x), -TALL, TALL))

            return Problem(
                lambda p: predicted(p) - loss,
                lambda p: self.slope(p, x) * predicted(p)[:, None],
                objective,
            )
        log_loss = np.log(loss)
        return Problem(lambda p: self.log_loss(p, x) - log_loss, lambda p: self.slope(p, x), objective)

    def starts(self, x: Floats, loss: Floats) -> Iterator[Floats]:
        """Exponents of a grid with the coefficients of least relative squares."""
        log_loss = np.log(loss)
        repeats = [(math.log(one),) for one in REPEATS] if self.repeats else [()]
        for powers in itertools.product(EXPONENTS, repeat=len(self.exponents)):
            for more in repeats:
                guess = np.array([*[0.0] * len(self.coefficients), 0.0, *powers, *more])
                logs = self.terms(guess, x)[0]
                shift = logs.mean(axis=0)
                basis = np.exp(np.clip(logs - shift - log_loss[:, None], -500, 500))
                size = nnls(basis, np.ones(len(x)))[0]
                level = math.exp(float(log_loss.mean()))
                guess[: len(shift)] = np.log(np.maximum(size, 1e-3 * level)) - shift
                yield guess

    def _logs(self, inside: Floats, x: Floats) -> tuple[Floats, Floats]:
        if not self.repeats:
            return np.log(x[:, : len(self.coefficients)]), np.zeros(len(x))
        n, d, unique = x.T
        unique = np.minimum(unique, d)
        again = d / unique - 1

        def worth(log_r: float) -> Floats:
            r = math.exp(min(max(log_r, -TALL), TALL))
            return np.asarray(np.log(unique) + np.log1p(r * -np.expm1(-again / r)))

        h = 1e-5
        bend = (worth(inside[-1] + h) - worth(inside[-1] - h)) / (2 * h)
        return np.stack([np.log(n), worth(inside[-1])], axis=1), bend


LAWS: Mapping[str, Law] = {
    law.name: law
    for law in (
        Law("chinchilla", ("n", "d"), ("A", "B"), ("alpha", "beta")),
        Law("over-training", ("n", "d"), ("A", "B"), ("alpha",)),
        Law("power", ("x",), ("A",), ("alpha",)),
        Law("saturating-repeat", ("n", "d", "unique"), ("A", "B"), ("alpha", "beta"), repeats=True),
    )
}


@dataclass(frozen=True)
class Runs:
    """What a law is fitted to: x (runs, columns), losses, the row of each run in its file, and which runs are
    no evidence of their own (the same number: one cluster)."""

    x: Floats
    loss: Floats
    rows: NDArray[np.int64]
    clusters: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Runs:
        return Runs(self.x[chosen], self.loss[chosen], self.rows[chosen], self.clusters[chosen])


def check(law: Law, runs: Runs) -> None:
    """ValueError for runs that cannot tell a law's parameters."""
    need = len(law.parameters) + 1
    if len(runs) < need:
        raise ValueError(f"{law.name} has {need - 1} parameters: {need} runs at least, found {len(runs)}")
    for name, values in (*zip(law.columns, runs.x.T, strict=True), ("loss", runs.loss)):
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            raise ValueError(
                f"{name}: must be a number above 0 (row {runs.rows[bad][0]}: {values[bad][0]:g}); "
                f"{int(bad.sum())} of {len(runs)} rows are not"
            )
        if name != "loss" and values.max() < LEAST_SPAN * values.min():
            span = f"{values.min():.3g} to {values.max():.3g}"
            raise ValueError(f"{name} spans {span}, less than a factor of {LEAST_SPAN:g}: no exponent shows")
    if runs.loss.max() < (1 + HARDLY) * runs.loss.min():
        raise ValueError(f"loss is {runs.loss[0]:.6g} in all runs: there is nothing to fit")
    groups = len(np.unique(runs.clusters))
    if groups < min(LEAST_CLUSTERS, need):
        raise ValueError(f"{groups} clusters: intervals need {LEAST_CLUSTERS} at least")


def fitted(
    law: Law, runs: Runs, keep_all: bool = False, drop: int = 0, objective: str = "absolute"
) -> tuple[Fit, Ints]:
    """The fit and the places of the runs that it is of. `drop` leaves out so many of the highest losses,
    instead of what is no noise; `keep_all` nothing. ValueError as `check`, and where nothing fits."""
    check(law, runs)

    def of(places: Ints) -> Fit:
        some = runs.take(places)
        problem = law.problem(some.x, some.loss, objective)
        if len(some) <= MANY:
            return fit(problem, law.starts(some.x, some.loss))
        few = some.take(np.random.default_rng(0).permutation(len(some))[:SKETCH])
        return fit(problem, law.starts(few.x, few.loss), law.problem(few.x, few.loss, objective))

    if not 0 <= drop < len(runs):
        raise ValueError(f"--drop {drop}: there are {len(runs)} runs")
    if keep_all or drop:
        kept = np.sort(np.argsort(runs.loss, kind="stable")[: len(runs) - drop])
        check(law, runs.take(kept))
        return of(kept), kept
    return without_outliers(len(runs), of, lambda p: law.log_loss(p, runs.x) - np.log(runs.loss))


def resampled(
    law: Law, runs: Runs, optimum: Floats, seed: int, draws: int, objective: str = "absolute"
) -> Floats:
    """Parameters (draws, p) of runs drawn with replacement, by clusters: refits by Huber's loss, which moves
    smoothly with the runs where the absolute deviations jump."""
    rng = np.random.default_rng(seed)
    names, places = np.unique(runs.clusters, return_inverse=True)
    members = [np.flatnonzero(places == number) for number in range(len(names))]
    found = []
    for _ in range(draws):
        chosen = np.concatenate([members[one] for one in rng.integers(0, len(names), len(names))])
        problem = law.problem(runs.x[chosen], runs.loss[chosen], objective)
        try:
            found.append(descend(problem, optimum, steps=STEPS))
        except (ValueError, np.linalg.LinAlgError):
            continue
    return np.array(found)


def identified(law: Law, name: str, low: float, high: float, least_loss: float) -> str:
    """Why a parameter is not told by the runs, given its interval; empty if it is."""
    if low == high:
        return "it does not move from one resample to the next"
    if name in law.exponents and (low <= 0 or high > STEEPEST):
        return f"{low:.3g} to {high:.3g}: no exponent of a law"
    if name == "E":
        return "" if low > 0.01 * least_loss else "flat: any floor down to 0 fits as well"
    limit = WIDE_EXPONENT if name in law.exponents else WIDE
    if low <= 0 or high > limit * low:
        return f"flat: {low:.3g} to {high:.3g} by resamples"
    return ""


def moves_together(law: Law, runs: Runs) -> str:
    """Why the terms of two columns cannot be told apart; empty if they can."""
    if len(law.coefficients) < 2:
        return ""
    apart = float(np.corrcoef(np.log(runs.x[:, 0]), np.log(runs.x[:, 1]))[0, 1])
    if abs(apart) < TOGETHER:
        return ""
    both = " and ".join(law.columns[:2])
    return f"{both} move together (correlation {apart:.3f}): their terms are not told apart"


def likelihood_ratio(value: float, other: float, runs: int, freedom: int) -> float:
    """p of the gain of a fit over a worse one, from sums of absolute deviations: Laplace noise of unknown
    scale, -2 log of the ratio is 2 runs log(other / value)."""
    if other <= value:
        return 1.0
    return float(chi2.sf(2 * runs * math.log(other / max(value, 1e-300)), freedom))


def against(law: Law, optimum: Floats, drawn: Floats, other: Mapping[str, float]) -> tuple[float, float]:
    """Wald's chi-squared of published parameters, all or some, and its p: how far they are from the fit in
    the covariance of the resamples, in the coordinates in which these are closest to normal."""
    places = [law.parameters.index(name) for name in other]
    apart = (optimum - law.inside({**named(law, law.natural(optimum)), **other}))[places]
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(drawn[:, places].T)))
    statistic = float(apart @ inverse @ apart)
    return statistic, float(chi2.sf(statistic, len(apart)))


def held_to(law: Law, runs: Runs, optimum: Floats, other: Mapping[str, float]) -> Floats:
    """The least absolute deviations where some parameters are given and the others free."""
    fixed = law.inside({**named(law, law.natural(optimum)), **other})
    free = [place for place, name in enumerate(law.parameters) if name not in other]
    if not free:
        return fixed
    whole = law.problem(runs.x, runs.loss, "absolute")

    def full(part: Floats) -> Floats:
        at = fixed.copy()
        at[free] = part
        return at

    some = Problem(lambda p: whole.residual(full(p)), lambda p: whole.slope(full(p))[:, free])
    return full(absolute(some, descend(some, optimum[free]))[0])


def paths(law: Law, runs: Runs, objective: str = "absolute", most: int = HIGHEST) -> list[tuple[int, Floats]]:
    """The fit without the highest loss, without the two highest, and so on: (left out, parameters)."""
    found = []
    order = np.argsort(runs.loss, kind="stable")
    for count in range(min(most, max(0, len(runs) - 4 * len(law.parameters))) + 1):
        some = runs.take(np.sort(order[: len(runs) - count]))
        try:
            optimum, _ = fitted(law, some, keep_all=True, objective=objective)
        except ValueError:
            break
        found.append((count, optimum.parameters))
    return found


def held_out(
    law: Law, runs: Runs, far: NDArray[np.bool_], objective: str = "absolute", keep_all: bool = False
) -> dict[str, Any] | None:
    """How a fit to the other runs predicts those that are `far`, outliers among them; None where too few are
    left to fit."""
    try:
        near, _ = fitted(law, runs.take(~far), keep_all, objective=objective)
    except ValueError:
        return None
    return {"fitted_to": int((~far).sum()), **predictions(law, near.parameters, runs.take(far))}


def predictions(law: Law, parameters: Floats, runs: Runs) -> dict[str, Any]:
    """What a law says of runs, beside what they measured; errors are relative."""
    predicted = np.exp(law.log_loss(parameters, runs.x))
    error = predicted / runs.loss - 1
    return {
        "runs": len(runs),
        "mean_absolute_error": float(np.abs(error).mean()),
        "mean_error": float(error.mean()),
        "largest_error": float(error[np.argmax(np.abs(error))]),
        "rows": runs.rows.tolist(),
        "predicted": predicted.tolist(),
        "measured": runs.loss.tolist(),
    }


def farthest(compute: Floats, share: float = 0.1) -> NDArray[np.bool_]:
    """The runs of the largest compute: a tenth of them, with all that are as large."""
    count = max(1, round(share * len(compute)))
    return np.asarray(compute >= np.sort(compute)[-count] * (1 - 1e-9), dtype=bool)


def named(law: Law, values: Sequence[float] | Floats) -> dict[str, float]:
    return dict(zip(law.parameters, map(float, values), strict=True))
