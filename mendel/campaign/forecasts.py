"""Forecasts and what became of them, over the campaigns of a store: what triage learns from and reports show.

The outcome of an idea is its best measurement: fresh pairs after a claim before confirmation before
screening, and of equally good ones the newest. An idea that several campaigns measured has made one forecast
and counts once.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from mendel.ideas.forecast_scores import Mean, Scores, overall, score
from mendel.ideas.pool import pool
from mendel.ideas.stream import selection_weights
from mendel.ideas.track_record import Past
from mendel.records import Forecast, Idea, Interval, PlanKind, Verdict, VerdictKind
from mendel.store import Campaign, CampaignState, Foreseen, IdeaState, Store, Trial
from mendel.verdicts.effects import standard_errors

STAGES = {PlanKind.SCREEN: 0, PlanKind.CONFIRM: 1, PlanKind.ESTIMATE: 2}
"""Measurements of an idea; a later one outweighs an earlier one."""
EARLIER = "earlier campaigns"
"""Under this key a campaign keeps from which others it learns."""

Outcome = tuple[int, float | None, float]
"""How good a measurement it is, log2 CM (None: it does not run), and its standard error."""


def earlier_campaigns(store: Store, campaign: Campaign) -> list[str]:
    """Finished campaigns on the same testbed, whose losses were told and counted alike. Their record is
    complete: one that still runs would teach something else at each look, and no campaign could be
    repeated."""
    return [
        other.id
        for other in store.campaigns()
        if other.testbed == campaign.testbed
        and other.fingerprint.losses == campaign.fingerprint.losses
        and other.state is CampaignState.FINISHED
        and other.id != campaign.id
    ]


def track_record(store: Store, campaign: Campaign) -> list[Past]:
    """All forecasts whose outcome is known to a campaign: from those that it learns from, and its own."""
    return [past for _, past in _known(store, campaign)]


def forecaster_records(store: Store, campaign: Campaign) -> dict[str, list[Past]]:
    """The same by forecaster, of ideas that several forecast: what each said, and what came of it."""
    found: defaultdict[str, list[Past]] = defaultdict(list)
    said: dict[str, defaultdict[str, list[Foreseen]]] = {}
    for trial, past in _known(store, campaign):
        if trial.campaign not in said:
            said[trial.campaign] = defaultdict(list)
            for one in store.forecasts(trial.campaign):
                said[trial.campaign][one.idea].append(one)
        for one in said[trial.campaign][trial.idea.name]:
            own = past.model_copy(update={"proposer": one.forecaster, "forecast": one.forecast})
            found[one.forecaster].append(own)
    return dict(found)


def pooled_anew(store: Store, campaign: Campaign, ideas: Sequence[Idea]) -> list[Idea]:
    """The ideas with their forecasts pooled by what is known now: late forecasts, and what became of others.
    Those that nobody forecast but their proposer stay as they are."""
    found: defaultdict[str, dict[str, Forecast]] = defaultdict(dict)
    for one in store.forecasts(campaign.id):
        found[one.idea][one.forecaster] = one.forecast
    records = forecaster_records(store, campaign) if found else {}
    return [
        idea.model_copy(update={"forecast": pool(found[idea.name], records).forecast})
        if idea.name in found
        else idea
        for idea in ideas
    ]


def _known(store: Store, campaign: Campaign) -> list[tuple[Trial, Past]]:
    """Every idea whose outcome is known, once."""
    campaigns = [*(store.decision(campaign.id, EARLIER) or []), campaign.id]
    trials = sorted(store.trials(campaigns), key=lambda trial: campaigns.index(trial.campaign))
    findings = chain.from_iterable(store.findings_of(campaigns).values())
    shrunk = {finding.verdicts[-1]: finding.log2_cm for finding in findings if finding.shrunk}
    weights, outcomes = _weights(store, campaigns), _outcomes(trials, shrunk)
    shares: defaultdict[str, list[float]] = defaultdict(list)
    """By idea: its weight in each campaign in whose queue it stood, zero where it was not run."""
    best: dict[str, tuple[Trial, Outcome]] = {}
    for trial in trials:
        key, chosen = trial.content, weights[trial.campaign]
        found = outcomes.get((trial.campaign, trial.idea.name))
        if chosen or found is not None:  # a campaign that ended before its first round says nothing
            shares[key].append(chosen.get(trial.idea.name, 0.0 if found is None else 1.0))
        if found is not None and (key not in best or found[0] >= best[key][1][0]):
            best[key] = trial, found
    return [
        (
            trial,
            Past(
                proposer=trial.idea.proposer,
                idea_class=trial.idea.idea_class,
                forecast=trial.idea.forecast,
                log2_cm=log2_cm,
                se=se,
                weight=sum(shares[key]) / len(shares[key]),
            ),
        )
        for key, (trial, (_, log2_cm, se)) in best.items()
    ]


def forecast_scores(store: Store, campaign: Campaign) -> dict[str, Any]:
    """The scores as JSON: `all`, and a list for `proposers` and one for `classes`; each with a line in words.
    Units and meanings: `mendel.ideas.forecast_scores.Scores`."""
    pasts = track_record(store, campaign)
    proposers, classes = score(pasts)
    several = forecaster_records(store, campaign)
    return {
        "campaigns": 1 + len(store.decision(campaign.id, EARLIER) or []),
        "all": _row(overall(pasts)),
        "proposers": [_row(one) for one in proposers],
        "forecasters": [_row(overall(several[name], name)) for name in sorted(several)],
        "classes": [_row(one) for one in classes],
    }


def _row(scores: Scores) -> dict[str, Any]:
    return {**scores.model_dump(mode="json"), "words": in_words(scores)}


def in_words(scores: Scores) -> str:
    """Such as: catalog: 31 outcomes, too hopeful by 0.05 +- 0.02 log2 CM; 90 % intervals covered 84 +- 7 %"""
    if scores.bias is None or scores.within_90 is None:
        return f"{scores.name}: no outcome measured yet"
    outcomes = f"{scores.outcomes} outcome{'s' if scores.outcomes != 1 else ''}"
    size, se = abs(scores.bias.value), scores.bias.se
    if se is not None and size > 2 * se:
        how = "hopeful" if scores.bias.value < 0 else "modest"
        bias = f"too {how} by {_with_error(scores.bias, 1, 2)} log2 CM"
    else:
        bias = f"no bias shown ({_with_error(scores.bias, 1, 2, '+')} log2 CM)"
    covered = _with_error(scores.within_90, 100, 0)
    return f"{scores.name}: {outcomes}, {bias}; 90 % intervals covered {covered} %"


def _with_error(mean: Mean, scale: float, digits: int, sign: str = "") -> str:
    value = scale * (mean.value if sign else abs(mean.value))
    error = "" if mean.se is None else f" +- {scale * mean.se:.{digits}f}"
    return f"{value:{sign}.{digits}f}{error}"


def _weights(store: Store, campaigns: Sequence[str]) -> dict[str, dict[str, float]]:
    """Campaign -> idea -> weight of its outcome, from the probabilities with which ideas were run."""
    found = {}
    for campaign, decided in store.decisions(campaigns, "/ideas").items():
        keys = sorted((key for key in decided if re.fullmatch(r"\d+/ideas", key)), key=lambda k: int(k[:-6]))
        found[campaign] = selection_weights([_chances(decided[key]) for key in keys if decided[key]])
    return found


def _chances(chosen: Mapping[str, float] | Sequence[str]) -> Mapping[str, float]:
    """Name -> probability. A list of names is from before there was a random stream: triage chose them."""
    return chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, 1.0)


def _outcomes(trials: Sequence[Trial], shrunk: Mapping[str, Interval]) -> dict[tuple[str, str], Outcome]:
    """(campaign, idea) -> outcome. Nothing is known of ideas that were not tried, went stale or were rejected
    by an audit: a trunk left them behind, or their numbers are not about the idea. `shrunk` are effects by
    the verdict of their claims, which flatter them."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    measured: defaultdict[str, list[tuple[Trial, PlanKind, Verdict]]] = defaultdict(list)
    for trial in trials:
        last = _best(trial)
        if last is not None and _believed(trial, last[1]):
            measured[trial.campaign].append((trial, *last))
        elif trial.state is IdeaState.FAILED:
            outcomes[trial.campaign, trial.idea.name] = -1, None, 0.0
    for campaign, found in measured.items():
        errors = standard_errors([verdict for *_, verdict in found])
        for (trial, kind, verdict), se in zip(found, errors, strict=True):
            found_cm = shrunk.get(verdict.id, verdict.log2_cm)
            assert found_cm is not None
            outcomes[campaign, trial.idea.name] = STAGES[kind], found_cm.value, se
    return outcomes


def _believed(trial: Trial, verdict: Verdict) -> bool:
    """Whether a verdict is about the idea: the gain of a rejected one may not be, but a loss is."""
    shows_loss = verdict.difference is not None and verdict.difference.high <= 0
    return trial.state is not IdeaState.REJECTED or shows_loss


def _best(trial: Trial) -> tuple[PlanKind, Verdict] | None:
    """The weightiest verdict that says something about the gain of an idea that runs."""
    best = None
    for kind, verdict in trial.measured:
        if kind not in STAGES or verdict.kind in (VerdictKind.FAILED, VerdictKind.REJECTED):
            continue
        cm = verdict.log2_cm
        usable = cm is not None and all(map(math.isfinite, (cm.value, cm.low, cm.high)))
        if usable and (best is None or STAGES[kind] >= STAGES[best[0]]):
            best = kind, verdict
    return best
