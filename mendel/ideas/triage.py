"""Triage: which idea to try next, by expected gain per unit cost. A pure function of records.

Forecasts are taken seriously and corrected: who was too hopeful before is expected to be so again, and who
was too sure is believed to be less sure than said.

Bias and dispersion of a forecaster come from its record (`mendel.ideas.track_record`); the class's bias is
taken from the errors that are left. With m and s the forecast so corrected,

    m = forecast mean + bias of the forecaster + bias of the class
    s^2 = dispersion * forecast sd^2 + the variances of both biases
    gain  = E[max(log2 CM, 0)] = s phi(m / s) + m Phi(m / s)
    score = (p_runs * gain + BONUS / (1 + spent on the class)) / cost

where the expected-improvement formula is that of Jones, Schonlau & Welch 1998, equation 15. p_runs is
shrunk to the forecaster's record like a beta prior worth RUNS_WEIGHT ideas.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mendel.ideas.track_record import Bias, Habit, Past, as_evidence, habit, misses
from mendel.records import Idea, Patch, content_hash

RUNS_WEIGHT = 10.0
BONUS = 0.02
"""Worth, in log2 CM, of learning about a class that nothing was spent on."""
CLASS_SHARE = 1 / 3
"""Most of a round's places that go to one class while others wait."""


class Triage(NamedTuple):
    """An idea's place in the queue: higher scores first."""

    name: str
    score: float
    """Expected log2 CM per unit cost, exploration bonus included."""
    reason: str


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
    proposers = {
        name: habit(misses(past for past in track_record if past.proposer == name))
        for name in {idea.proposer for idea in candidates} | {past.proposer for past in track_record}
    }
    classes = {
        name: _class_bias(track_record, name, proposers) for name in {idea.idea_class for idea in candidates}
    }
    runs = {name: _runs(track_record, name) for name in {idea.proposer for idea in candidates}}
    ranked = []
    for idea in candidates:
        cost = (costs or {}).get(idea.name, 1.0)
        believed = _corrected(idea, proposers[idea.proposer], classes[idea.idea_class])
        ran, known = runs[idea.proposer]
        p_runs = (RUNS_WEIGHT * idea.forecast.p_runs + ran) / (RUNS_WEIGHT + known)
        ranked.append(_judge(idea, believed, p_runs, spent.get(idea.idea_class, 0.0), cost))
    return sorted(ranked, key=lambda triage: (-triage.score, triage.name))


def balanced(ranked: Sequence[Triage], classes: Mapping[str, str], count: int) -> list[str]:
    """Names in the order of `ranked`, but no class takes more than CLASS_SHARE of the first `count` places
    while ideas of another class wait: however well knobs are forecast, they cannot eat the budget.

    `classes`: idea class by name.
    """
    most = math.ceil(CLASS_SHARE * count)
    taken: Counter[str] = Counter()
    first: list[str] = []
    for one in ranked:
        own = classes[one.name]
        if len(first) < count and taken[own] < most:
            taken[own] += 1
            first.append(one.name)
    chosen = set(first)
    return first + [one.name for one in ranked if one.name not in chosen]


def expected_gain(mean: float, sd: float) -> float:
    """E[max(x, 0)] for x ~ N(mean, sd^2), sd > 0."""
    z = mean / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    # erfc keeps its precision far in the tail; rounding may leave a tiny negative difference there.
    return max(0.0, sd * density + mean * math.erfc(-z / math.sqrt(2)) / 2)


def duplicates(ideas: Sequence[Idea]) -> list[tuple[str, str]]:
    """Pairs (name, name of the earlier idea with the same patch).

    The same patch: equal overrides (2 and 2.0 are equal, True and 1 are not), equal edits up to their order
    between files and white space at line ends, and the same knobs tuned within the same ranges. Slots and
    words do not count.
    """
    first: dict[str, str] = {}
    pairs = []
    for idea in ideas:
        earlier = first.setdefault(_patch_key(idea.patch), idea.name)
        if earlier != idea.name:
            pairs.append((idea.name, earlier))
    return pairs


# --- parts of the score -------------------------------------------------------------------------------


def _judge(idea: Idea, believed: tuple[float, float], p_runs: float, spent: float, cost: float) -> Triage:
    if cost <= 0 or spent < 0:
        raise ValueError(f"idea {idea.name!r}: cost {cost} must be above 0 and spent {spent} not below 0")
    mean, sd = believed
    gain = expected_gain(mean, sd)
    bonus = BONUS / (1 + spent)
    reason = (
        f"forecast {idea.forecast.mean:+.2f} +- {idea.forecast.sd:.2f}, corrected by the record to "
        f"{mean:+.2f} +- {sd:.2f}: expected gain {gain:.3f} x P(runs) {p_runs:.2f}, "
        f"+ {bonus:.3f} for learning about {idea.idea_class}, at cost {cost:.2f}"
    )
    return Triage(idea.name, (p_runs * gain + bonus) / cost, reason)


def _corrected(idea: Idea, proposer: Habit, idea_class: Bias) -> tuple[float, float]:
    """Mean and sd of log2 CM."""
    mean = idea.forecast.mean + proposer.bias.mean + idea_class.mean
    variance = proposer.dispersion * idea.forecast.sd**2 + proposer.bias.variance + idea_class.variance
    return mean, math.sqrt(variance)


def _class_bias(track_record: Sequence[Past], idea_class: str, proposers: Mapping[str, Habit]) -> Bias:
    """From what the habits of the proposers leave unexplained."""
    same = [past for past in track_record if past.idea_class == idea_class and past.log2_cm is not None]
    left = []
    for past, miss in zip(same, misses(same), strict=True):
        own = proposers[past.proposer]
        sd = math.sqrt(own.dispersion) * miss.sd
        left.append(miss._replace(value=miss.value - own.bias.mean, sd=sd))
    return habit(left).bias


def _runs(track_record: Sequence[Past], proposer: str) -> tuple[float, float]:
    """How many of a proposer's ideas ran, and of how many that is known; weighted as evidence."""
    own = [past for past in track_record if past.proposer == proposer]
    weights = as_evidence([past.weight for past in own])
    ran = sum(weight for past, weight in zip(own, weights, strict=True) if past.log2_cm is not None)
    return ran, sum(weights)


def _patch_key(patch: Patch) -> str:
    overrides = {
        key: ["bool", value] if isinstance(value, bool) else float(value) if isinstance(value, int) else value
        for key, value in patch.overrides.items()
    }
    edits: dict[str, list[list[str]]] = {}
    for edit in patch.edits:
        edits.setdefault(edit.path, []).append([_trimmed(edit.search), _trimmed(edit.replace)])
    tune = {key: one.model_dump() for key, one in patch.tune.items()}
    return content_hash([overrides, edits, tune])


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))
