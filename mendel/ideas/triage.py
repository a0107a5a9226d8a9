"""Triage: which idea to try next, by expected gain per unit cost. A pure function of records.

Forecasts are taken seriously and corrected: who was too hopeful before is expected to be so again.

For a forecaster or class with past outcomes y_i and forecasts (m_i, s_i), the bias b of its forecasts has
the prior N(0, BIAS_SD^2) and each error y_i - m_i the law N(b, s_i^2 + NOISE_SD^2), hence the posterior

    precision = 1 / BIAS_SD^2 + sum_i w_i,   w_i = 1 / (s_i^2 + NOISE_SD^2)
    bias      = sum_i w_i (y_i - m_i) / precision,   variance = 1 / precision

(Gelman et al., Bayesian Data Analysis, section 2.5). The forecaster's bias comes first; the class's bias is
taken from the errors that are left. With m and s the forecast so corrected,

    gain  = E[max(log2 CM, 0)] = s phi(m / s) + m Phi(m / s)
    score = (p_runs * gain + BONUS / (1 + spent on the class)) / cost

where the expected-improvement formula is that of Jones, Schonlau & Welch 1998, equation 15. p_runs is
shrunk to the forecaster's record like a beta prior worth RUNS_WEIGHT ideas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mendel.records import Forecast, Idea, Patch, Record, content_hash

BIAS_SD = 0.15
"""Prior standard deviation of a forecaster's or a class's bias, in log2 CM."""
NOISE_SD = 0.05
"""Standard deviation of a measured log2 CM around the true one."""
RUNS_WEIGHT = 10.0
BONUS = 0.02
"""Worth, in log2 CM, of learning about a class that nothing was spent on."""


class Past(Record):
    """One idea whose outcome is known. `log2_cm` is None when it did not run."""

    proposer: str
    idea_class: str
    forecast: Forecast
    log2_cm: float | None


class Triage(NamedTuple):
    """An idea's place in the queue: higher scores first."""

    name: str
    score: float
    """Expected log2 CM per unit cost, exploration bonus included."""
    reason: str


class Bias(NamedTuple):
    """Posterior of the mean error of a group's forecasts, in log2 CM."""

    mean: float
    variance: float


def rank(
    candidates: Sequence[Idea],
    track_record: Sequence[Past],
    spent: Mapping[str, float],
    costs: Mapping[str, float] | None = None,
) -> list[Triage]:
    """The candidates, best first; equal scores by name.

    `spent`: cost already spent by class, in units of one idea's screening. `costs`: cost by idea name, in the
    same unit; one where it is not given.
    """
    by_class = {idea.idea_class for idea in candidates}
    by_proposer = {idea.proposer for idea in candidates}
    proposers = {name: _proposer_bias(track_record, name) for name in by_proposer}
    classes = {name: _class_bias(track_record, name) for name in by_class}
    ranked = []
    for idea in candidates:
        bias = _sum(proposers[idea.proposer], classes[idea.idea_class])
        cost = (costs or {}).get(idea.name, 1.0)
        ranked.append(_judge(idea, bias, _p_runs(idea, track_record), spent.get(idea.idea_class, 0.0), cost))
    return sorted(ranked, key=lambda triage: (-triage.score, triage.name))


def expected_gain(mean: float, sd: float) -> float:
    """E[max(x, 0)] for x ~ N(mean, sd^2), sd > 0."""
    z = mean / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    # erfc keeps its precision far in the tail; rounding may leave a tiny negative difference there.
    return max(0.0, sd * density + mean * math.erfc(-z / math.sqrt(2)) / 2)


def posterior_bias(errors: Iterable[tuple[float, float]]) -> Bias:
    """Posterior of a bias from pairs (outcome - forecast mean, forecast sd). See the module's formula."""
    precision, weighted = 1 / BIAS_SD**2, 0.0
    for error, sd in errors:
        weight = 1 / (sd**2 + NOISE_SD**2)
        precision += weight
        weighted += weight * error
    return Bias(weighted / precision, 1 / precision)


def duplicates(ideas: Sequence[Idea]) -> list[tuple[str, str]]:
    """Pairs (name, name of the earlier idea with the same patch).

    The same patch: equal overrides (2 and 2.0 are equal, True and 1 are not) and equal edits up to their
    order between files and white space at line ends. Slots and words do not count.
    """
    first: dict[str, str] = {}
    pairs = []
    for idea in ideas:
        earlier = first.setdefault(_patch_key(idea.patch), idea.name)
        if earlier != idea.name:
            pairs.append((idea.name, earlier))
    return pairs


# --- parts of the score -------------------------------------------------------------------------------


def _judge(idea: Idea, bias: Bias, p_runs: float, spent: float, cost: float) -> Triage:
    if cost <= 0 or spent < 0:
        raise ValueError(f"idea {idea.name!r}: cost {cost} must be above 0 and spent {spent} not below 0")
    mean = idea.forecast.mean + bias.mean
    sd = math.sqrt(idea.forecast.sd**2 + bias.variance)
    gain = expected_gain(mean, sd)
    bonus = BONUS / (1 + spent)
    reason = (
        f"forecast {idea.forecast.mean:+.2f} +- {idea.forecast.sd:.2f}, corrected by the record to "
        f"{mean:+.2f} +- {sd:.2f}: expected gain {gain:.3f} x P(runs) {p_runs:.2f}, "
        f"+ {bonus:.3f} for learning about {idea.idea_class}, at cost {cost:.2f}"
    )
    return Triage(idea.name, (p_runs * gain + bonus) / cost, reason)


def _proposer_bias(track_record: Sequence[Past], proposer: str) -> Bias:
    return posterior_bias(_errors(past for past in track_record if past.proposer == proposer))


def _class_bias(track_record: Sequence[Past], idea_class: str) -> Bias:
    """From what the biases of the proposers leave unexplained."""
    biases = {name: _proposer_bias(track_record, name).mean for name in {p.proposer for p in track_record}}
    same = [past for past in track_record if past.idea_class == idea_class]
    shifts = [biases[past.proposer] for past in same if past.log2_cm is not None]
    return posterior_bias(
        (error - shift, sd) for (error, sd), shift in zip(_errors(same), shifts, strict=True)
    )


def _errors(pasts: Iterable[Past]) -> list[tuple[float, float]]:
    return [(p.log2_cm - p.forecast.mean, p.forecast.sd) for p in pasts if p.log2_cm is not None]


def _sum(a: Bias, b: Bias) -> Bias:
    return Bias(a.mean + b.mean, a.variance + b.variance)


def _p_runs(idea: Idea, track_record: Sequence[Past]) -> float:
    outcomes = [past.log2_cm is not None for past in track_record if past.proposer == idea.proposer]
    return (RUNS_WEIGHT * idea.forecast.p_runs + sum(outcomes)) / (RUNS_WEIGHT + len(outcomes))


def _patch_key(patch: Patch) -> str:
    overrides = {
        key: ["bool", value] if isinstance(value, bool) else float(value) if isinstance(value, int) else value
        for key, value in patch.overrides.items()
    }
    edits: dict[str, list[list[str]]] = {}
    for edit in patch.edits:
        edits.setdefault(edit.path, []).append([_trimmed(edit.search), _trimmed(edit.replace)])
    return content_hash([overrides, edits])


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))
