"""A finished or running campaign in numbers: what `--json` prints and the terminal and report show first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mendel.campaign.audits import terse
from mendel.campaign.blank_account import blank_account
from mendel.campaign.early_stop import early_stop_account
from mendel.campaign.forecasts import forecast_scores
from mendel.campaign.noise import NOISE
from mendel.campaign.transfers import transfer_summary
from mendel.records import Finding, Interval, PlanKind, Shard, VerdictKind
from mendel.store import CARRIES, Campaign, IdeaState, RunState, Store, Usage

SCHEMA = 1
"""Version of the JSON objects that commands print; it grows when a key changes its meaning."""


MEMORY = "/memory"
"""Keys of decisions that end so hold what the librarian wrote after a round."""
LAST_ROUND, OUT_OF_MONEY = "end/rounds", "end/money"
"""Under these keys a campaign says why it goes no further."""


def summarise(store: Store, campaign: Campaign) -> dict[str, Any]:
    """Adopted changes, the trunk, blanks and spending, as one JSON object.

    `trust`, `unit` and `currency` say who tells the losses, what these are counted in, and what budgets are.
    CMs are plain multipliers (not logarithms). `adopted` holds the estimates, each over the trunk of its
    round, or over that trunk as well tuned, on fresh pairs or else `shrunk`, and perhaps in random halves of
    `together` ideas; `trunk_cm` is the newest measurement of the whole trunk at the lowest rung, null before
    the first, and `trunk_checked` says whether that was the last check, on seeds that had no part in choosing
    it. What the trunk holds beside `adopted` is `carried`: proved with it and not apart, so it has no CM.
    """
    points = trunk_points(store, campaign)
    lowest = [point for point in points if point["rung"] == campaign.config["rungs"][0]]
    trunk = Interval.model_validate(lowest[-1]["log2_cm"]) if lowest else None
    names = lowest[-1]["adopted"] if lowest else []
    findings = {finding.idea.name: finding for finding in store.findings(campaign.id)}
    loop = store.decision(campaign.id, "loop") or {}
    blanks = blank_counts(store, campaign)
    return {
        "schema": SCHEMA,
        "campaign": campaign.id,
        "state": campaign.state.value,
        "ended": why_ended(store, campaign),
        "seed": campaign.seed,
        "recipe": campaign.recipe,
        **campaign.fingerprint.losses,
        "adopted": [_adopted(campaign, findings[name]) for name in names if name in findings],
        "carried": [name for name in names if name not in findings],
        "forward": forward_counts(store, campaign),
        **(
            {"trunk_cm": None, "trunk_cm_low": None, "trunk_cm_high": None}
            if trunk is None
            else trunk_fields(trunk)
        ),
        "trunk_checked": bool(lowest and lowest[-1]["checked"]),
        "trunk_by_rung": {
            str(point["rung"]): cm_fields(Interval.model_validate(point["log2_cm"])) for point in points
        },
        "rechecks": rechecks(store, campaign),
        "climb": transfer_summary(store, campaign),
        **blanks,
        "blanks": blank_account(store, campaign),
        "forecasts": forecast_scores(store, campaign),
        "researchers": model_account(store, campaign),
        "early_stops": early_stop_account(store, campaign),
        "noise": store.decision(campaign.id, NOISE),
        "runs": len(store.runs(campaign.id, RunState.FINISHED)),
        "loop_seconds": loop.get("seconds"),
        "overhead_fraction": loop.get("overhead_fraction"),
        "sandbox": loop.get("sandbox"),
        **audit_counts(store, campaign),
    }


def _adopted(campaign: Campaign, finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.idea.name,
        **campaign.fingerprint.losses,
        "together": finding.together,
        "shrunk": finding.shrunk,
        **cm_fields(finding.log2_cm),
    }


def model_account(store: Store, campaign: Campaign) -> dict[str, Any]:
    """What language models were asked and what it took: in all, by seat, for each judged idea of theirs."""
    spent = store.spent_on_calls(campaign.id)
    seats = {seat: [one for (name, _), one in spent.items() if name == seat] for seat, _ in spent}
    trials = store.trials([campaign.id])
    own = {one.idea for one in store.forecasts(campaign.id)}
    judged = sum(bool(trial.measured) for trial in trials if trial.idea.name in own)
    total = _sum(list(spent.values()))
    return {
        **total,
        "seats": {seat: _sum(rows) for seat, rows in seats.items()},
        "judged_ideas": judged,
        "memory": latest_memory(store, campaign.id),
        "usd_per_judged_idea": total["dollars"] / judged if judged else None,
    }


def latest_memory(store: Store, campaign: str) -> dict[str, Any]:
    """What the librarian wrote last; empty where it wrote nothing."""
    found = store.decisions([campaign], MEMORY)[campaign]
    return dict(found[max(found, key=lambda key: int(key.removesuffix(MEMORY)))]) if found else {}


def _sum(rows: Sequence[tuple[int, Usage]]) -> dict[str, Any]:
    names = [field.name for field in fields(Usage)]
    return {
        "calls": sum(count for count, _ in rows),
        **{name: sum(getattr(usage, name) for _, usage in rows) for name in names},
    }


def why_ended(store: Store, campaign: Campaign) -> str | None:
    """Why there are no further rounds, in words; None while there may be."""
    said = (store.decision(campaign.id, f"said/{key}") for key in (OUT_OF_MONEY, LAST_ROUND))
    return next((words for words in said if words), None)


def trunk_points(store: Store, campaign: Campaign) -> list[dict[str, Any]]:
    """Where the trunk stood against the original after each round, oldest first; the last check is last."""
    points: list[dict[str, Any]] = []
    rungs = campaign.config["rungs"]
    for round in range(1000):
        before = _numbered(store, campaign, f"trunk/{round}/{rungs[0]}/climb")
        before += _numbered(store, campaign, f"trunk/{round}/{rungs[0]}/recheck")
        points += sorted(before, key=lambda point: point["runs"])
        found = [store.decision(campaign.id, f"trunk/{round}/{rung}") for rung in rungs]
        points += [point for point in found if point]
        if store.decision(campaign.id, f"{round}/ideas") is None:
            return points
    return points


def rechecks(store: Store, campaign: Campaign) -> list[dict[str, Any]]:
    """Every time the trunk was rechecked, oldest first: `mendel.records.Recheck` as JSON."""
    found = []
    for round in range(1000):
        found += _numbered(store, campaign, f"recheck/{round}")
        if store.decision(campaign.id, f"{round}/ideas") is None:
            break
    return found


def _numbered(store: Store, campaign: Campaign, key: str) -> list[dict[str, Any]]:
    """What was decided under `key/0`, `key/1` and so on."""
    found: list[dict[str, Any]] = []
    while (one := store.decision(campaign.id, f"{key}/{len(found)}")) is not None:
        found.append(one)
    return found


def blank_counts(store: Store, campaign: Campaign) -> dict[str, int]:
    """Blanks in the queue, those judged and unblinded, those that entered confirmation and were claimed.
    Positive controls are no blanks."""
    blanks = [blank for blank in store.blanks(campaign.id) if not blank.gain]
    names = {blank.name for blank in blanks}
    confirmed = {
        plan.id: plan.idea for plan in store.plans(campaign.id, PlanKind.CONFIRM) if plan.idea in names
    }
    verdicts = [verdict for verdict in store.verdicts(campaign.id) if verdict.plan in confirmed]
    return {
        "blanks_planted": len(blanks),
        "blanks_judged": sum(blank.unblinded is not None for blank in blanks),
        "blanks_confirmed": len({confirmed[verdict.plan] for verdict in verdicts}),  # others wait
        # What the numbers claimed and only an audit stopped is a false claim of the numbers all the same.
        "blanks_claimed": sum(v.kind in (VerdictKind.BETTER, VerdictKind.REJECTED) for v in verdicts),
    }


def forward_counts(store: Store, campaign: Campaign) -> dict[str, int] | None:
    """Ideas that were tried on top of each other, and changes that this kept; how many of either were
    planted: these were taken out before the line was proved. None where ideas were screened each alone."""
    kept = list(store.decisions([campaign.id], CARRIES)[campaign.id].values())
    if not kept:
        return None
    return {
        "tried": sum(one["tried"] for one in kept),
        "kept": sum(len(one["kept"]) for one in kept),
        "planted_tried": sum(one["planted_tried"] for one in kept),
        "planted_kept": sum(len(one["planted"]) for one in kept),
    }


def audit_counts(store: Store, campaign: Campaign) -> dict[str, Any]:
    """Ideas that audits rejected, with all that was seen and what their proposer is told; what auditing took
    of the workers' time; openings of the held-out shard, and confirmation runs that were scored on it: equal,
    unless a kill or a crash cost one. None where runs report their own loss: there is no such shard, and no
    score to audit."""
    rejected = [
        {"id": entry.idea.name, "reason": entry.note, "told": terse(entry.note)}
        for entry in store.ideas(campaign.id, IdeaState.REJECTED)
    ]
    results = [(run, run.result) for run in store.runs(campaign.id, RunState.FINISHED) if run.result]
    busy = sum(result.train_seconds + result.score_seconds for _, result in results)
    audits = sum(result.audit_seconds for _, result in results)
    if campaign.fingerprint.reported:
        nothing = dict.fromkeys(("audit_fraction", "held_out_reads", "confirmation_runs"))
        return {"rejected": rejected, **nothing}
    return {
        "rejected": rejected,
        "audit_fraction": audits / busy if busy else None,
        "held_out_reads": len(store.held_out_openings(campaign.id)),
        "confirmation_runs": sum(
            run.spec.shard is Shard.HELD_OUT and result.score_seconds > 0 for run, result in results
        ),
    }


def cm_fields(log2_cm: Interval) -> dict[str, Any]:
    """An interval of log2 CM as plain multipliers."""
    return {
        "cm": 2**log2_cm.value,
        "cm_low": 2**log2_cm.low,
        "cm_high": 2**log2_cm.high,
        "bounded": log2_cm.bounded,
        "high_bounded": log2_cm.high_bounded,
        "extrapolated": log2_cm.extrapolated,
    }


def trunk_fields(log2_cm: Interval) -> dict[str, Any]:
    return {f"trunk_{key}": value for key, value in cm_fields(log2_cm).items()}
