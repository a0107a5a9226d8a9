"""What became of gains at higher rungs, over the campaigns of a store: what the next climb is judged by, and
how the forecasts of climbs came true."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

from mendel.campaign.forecasts import EARLIER
from mendel.ideas.forecast_scores import P_LEAST, overall, weighted_mean
from mendel.ideas.track_record import Past
from mendel.records import Finding, Forecast, Interval, Record, RungEffect
from mendel.store import Campaign, Store
from mendel.verdicts.transfer import Climbed, Effect, Retention, effect_of, learn

STEP_KEY = "/climb"
"""Decisions under keys that end so are `Step`s, or say why there is none."""
RUNG_DOUBLINGS = 2.0
"""The step of most ladders, and the one that retention is told for: four times the compute."""
FIELDS = {"outcomes", "bias", "spread", "log_score", "within_50", "within_90", "pit"}
"""What is told of the forecasts of gains."""


class Step(Record):
    """An idea's next rung and what is expected of it there: kept before a run of it exists."""

    idea: str
    idea_class: str
    round: int
    """Of its finding."""
    rung: int
    mean: float
    """Of the true gain at this rung, log2 CM."""
    sd: float
    probability: float
    """P(transfer): that the true gain at this rung is above `least`."""
    least: float
    target_flops: float
    target_mean: float
    target_probability: float
    """The same at the target scale."""
    value: float
    """E[gain at the target; it is above `least`], log2 CM."""
    worth: float
    """Expected value of what measuring it says, log2 CM at the target."""
    price: float
    """Runs of the lowest rung."""


def effects_of(by_rung: Sequence[RungEffect]) -> tuple[Effect, ...]:
    """Rungs whose gain is known, lowest first; none where that of the lowest is only a bound."""
    if not by_rung or by_rung[0].log2_cm.bounded:
        return ()
    lowest = by_rung[0].flops
    return tuple(
        effect_of(math.log2(one.flops / lowest), one.log2_cm) for one in by_rung if not one.log2_cm.bounded
    )


def past_climbs(store: Store, campaign: Campaign, without: str = "") -> list[Climbed]:
    """Ideas measured at several rungs, in the campaigns that this one learns from and in itself. An idea that
    several of them measured counts once; `without` names one that is not to be learned from."""
    found: dict[str, Finding] = {}
    for findings in store.findings_of(_known(store, campaign)).values():
        found |= {finding.idea.id: finding for finding in findings if finding.by_rung}
    climbs = [
        Climbed(finding.idea.idea_class, effects_of(finding.by_rung))
        for finding in found.values()
        if finding.idea.name != without
    ]
    return [climb for climb in climbs if len(climb.effects) > 1]


def transfer_summary(store: Store, campaign: Campaign) -> dict[str, Any]:
    """As JSON: `retention` learned so far (of `all` and by class), scores of `forecasts`, both in `words`,
    and the `ideas` that climbed; gains in log2 CM."""
    climbs = past_climbs(store, campaign)
    classes = sorted({climb.idea_class for climb in climbs})
    retention, scores = _retention(learn(climbs)), transfer_scores(store, campaign)
    return {
        "retention": {
            "all": retention,
            "classes": {name: _retention(learn(climbs, name)) for name in classes},
        },
        "forecasts": scores,
        "words": in_words(retention, scores),
        "ideas": [climbed(finding) for finding in store.findings(campaign.id) if finding.by_rung],
    }


def in_words(retention: dict[str, Any], scores: dict[str, Any]) -> str:
    """Such as: Climbs: of 3 steps 67 % were measured to gain enough at the next rung, 81 % by forecast."""
    kept, sd = 100 * retention["per_rung"], 100 * retention["per_rung_sd"]
    learned = f"four times the compute is expected to leave {kept:.0f} +- {sd:.0f} % of a gain"
    if not scores["outcomes"]:
        return f"Climbs: none was measured; {learned}."
    shown, said = (100 * scores[key]["value"] for key in ("transferred", "said"))
    return (
        f"Climbs: of {scores['outcomes']} steps {shown:.0f} % were measured to gain enough at the next rung, "
        f"{said:.0f} % by their forecasts (Brier score {scores['brier']['value']:.2f}); {learned}."
    )


def climbed(finding: Finding) -> dict[str, Any]:
    """One climbed idea as JSON."""
    keys = {"transfer", "by_rung", "extrapolation", "transfer_words"}
    return {"id": finding.idea.name, "round": finding.round, **finding.model_dump(mode="json", include=keys)}


def _retention(found: Retention) -> dict[str, Any]:
    """The share of a gain that four times the compute leaves of it."""
    return {
        "ideas": found.ideas,
        "per_rung": 1 + RUNG_DOUBLINGS * found.mean,
        "per_rung_sd": RUNG_DOUBLINGS * found.sd,
        "per_doubling": 1 + found.mean,
        "per_doubling_sd": found.sd,
    }


def transfer_scores(store: Store, campaign: Campaign) -> dict[str, Any]:
    """How forecasts of climbs came true: those of the gain as `mendel.ideas.forecast_scores.Scores` tells it,
    and P(transfer) by Brier score and log score. The lab's noise is allowed for in both: what is scored is
    the probability of a *measured* gain above the least one."""
    outcomes = [(step, effect_of(0.0, found)) for step, found in _outcomes(store, _known(store, campaign))]
    pasts = [
        Past(
            proposer="climb",
            idea_class=step.idea_class,
            forecast=Forecast(mean=step.mean, sd=step.sd),
            log2_cm=effect.log2_cm,
            se=effect.se,
        )
        for step, effect in outcomes
    ]
    said = [
        1 - NormalDist(step.mean, math.hypot(step.sd, effect.se)).cdf(step.least) for step, effect in outcomes
    ]
    shown = [float(effect.log2_cm > step.least) for step, effect in outcomes]
    given = [max(p if s else 1 - p, P_LEAST) for p, s in zip(said, shown, strict=True)]
    scores = {
        "said": said,
        "transferred": shown,
        "brier": [(p - s) ** 2 for p, s in zip(said, shown, strict=True)],
        "p_log_score": [math.log(p) for p in given],
    }
    return {
        **overall(pasts).model_dump(mode="json", include=FIELDS),
        **{key: _mean(values) for key, values in scores.items()},
    }


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    mean = weighted_mean(values, [1.0] * len(values))
    return mean.model_dump(mode="json") if mean else None


def _known(store: Store, campaign: Campaign) -> list[str]:
    """The campaigns that this one learns from, and itself."""
    return [*(store.decision(campaign.id, EARLIER) or []), campaign.id]


def _outcomes(store: Store, campaigns: Sequence[str]) -> Iterable[tuple[Step, Interval]]:
    """Forecasts whose outcome is known, with what was measured."""
    measured = {
        (campaign, finding.idea.name, finding.round, one.rung): one.log2_cm
        for campaign, findings in store.findings_of(campaigns).items()
        for finding in findings
        for one in finding.by_rung
    }
    for campaign, decided in store.decisions(campaigns, STEP_KEY).items():
        for kept in decided.values():
            if "idea" not in kept:
                continue
            step = Step.model_validate(kept)
            found = measured.get((campaign, step.idea, step.round, step.rung))
            if found is not None and not found.bounded:
                yield step, found
