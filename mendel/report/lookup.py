"""`mendel show`: one idea, run, plan, recipe, verdict or finding, found by its name or the beginning of its
id, as plain values for JSON; `showing.render` prints them for a person."""

from __future__ import annotations

import difflib
from typing import Any

from mendel.records import Finding, Plan, RunSpec, Verdict
from mendel.report.curves import read_text
from mendel.report.facts import Facts, gather
from mendel.report.knobs import changed_knobs
from mendel.report.repeat import repeat_command
from mendel.report.showing import render
from mendel.report.text import clean, unified_diff
from mendel.report.transcript import asked_about
from mendel.store import Campaign, IdeaEntry, Store, StoreError

LOG_LINES = 40
LOG_WIDTH = 400


def describe(store: Store, campaign: Campaign, id: str) -> dict[str, Any]:
    """Everything about what `id` names; its "type" is idea, run, plan, recipe, verdict or finding.

    An idea is found by its name, anything else by the beginning of its id. Raises StoreError with near names
    where nothing is found, and with the candidates where the beginning is that of several. `unit`, `trust`
    and `currency` say how its losses and budgets came about.
    """
    facts = gather(store, campaign)
    return {**_described(facts, id), **campaign.fingerprint.losses}


def _described(facts: Facts, id: str) -> dict[str, Any]:
    for entry in facts.ideas:
        if entry.idea.name == id:
            return _idea(facts, entry)
    kinds = _ids(facts)
    hits = [(known, kind) for known, kind in kinds.items() if id and known.startswith(id)]
    exact = [hit for hit in hits if hit[0] == id]
    hits = exact or hits
    if len(hits) > 1:
        listed = ", ".join(f"{known} ({kind})" for known, kind in hits[:8])
        more = f" and {len(hits) - 8} more" if len(hits) > 8 else ""
        raise StoreError(f"{id!r}: the beginning of several ids: {listed}{more}; give more of it")
    if not hits:
        raise StoreError(_not_found(facts, id, list(kinds)))
    known, kind = hits[0]
    return {"type": kind, "id": known, "campaign": facts.campaign.id, **_READERS[kind](facts, known)}


def _ids(facts: Facts) -> dict[str, str]:
    """Id -> kind of everything of the campaign but its ideas."""
    recipes = {plan.control for plan in facts.plans.values()} | {
        plan.treatment for plan in facts.plans.values()
    }
    recipes |= {run.spec.recipe for run in facts.runs.values()}
    kinds = dict.fromkeys(sorted(recipes), "recipe") | dict.fromkeys(facts.runs, "run")
    kinds |= dict.fromkeys(facts.plans, "plan")
    kinds |= {verdict.id: "verdict" for verdict in facts.verdicts}
    return kinds | {finding.id: "finding" for finding in facts.findings}


def _not_found(facts: Facts, id: str, known: list[str]) -> str:
    names = [entry.idea.name for entry in facts.ideas]
    near = [name for name in names if id and name.startswith(id)][:5]
    near += [n for n in difflib.get_close_matches(id, [*names, *known], n=5, cutoff=0.5) if n not in near]
    hint = f"near it: {', '.join(near[:5])}" if near else "`mendel report` names all of them"
    missing = "has no idea of this name and no id that begins so"
    return f"{clean(id, 80)!r}: campaign {facts.campaign.id} {missing}; {hint}"


# --- ideas and what they led to ---------------------------------------------------------------------------


def _idea(facts: Facts, entry: IdeaEntry) -> dict[str, Any]:
    idea = entry.idea
    plans = facts.plans_of(idea.name)
    findings = [finding for finding in facts.findings if finding.idea.name == idea.name]
    blank = facts.blanks.get(idea.name)
    return {
        "type": "idea",
        "id": idea.name,
        "campaign": facts.campaign.id,
        "idea": idea.model_dump(mode="json"),
        "state": entry.state.value,
        "note": entry.note,
        "blank": blank.kind if blank else None,
        "plans": [_plan_with_pairs(facts, plan) for plan in plans],
        "finding": _told(facts, findings[-1]) if findings else None,
        "asked": asked_about(facts.store, facts.campaign, idea.name),
        "explanation": facts.store.explanations(facts.campaign.id).get(idea.name),
        "forecasts": [
            {"forecaster": one.forecaster, **one.forecast.model_dump(), "reason": one.reason}
            for one in facts.store.forecasts(facts.campaign.id, idea.name)
        ],
        "tuned": [one for (_, name), one in sorted(facts.tuned.items()) if name == idea.name],
        "change": _change(facts, plans[-1].control, plans[-1].treatment, plans[-1].rung) if plans else None,
    }


def _told(facts: Facts, finding: Finding) -> dict[str, Any]:
    told = finding.model_dump(mode="json", exclude={"idea"})
    return {**told, "measured": finding.measured, **facts.fingerprint.losses}


def _as_planned(facts: Facts, planned: Plan | RunSpec) -> dict[str, Any]:
    """Without a shard where there is none: all runs that report their loss read the same validation data."""
    told = planned.model_dump(mode="json")
    return {**told, "shard": None} if facts.fingerprint.reported else told


def _plan_with_pairs(facts: Facts, plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "plan": _as_planned(facts, plan),
        "cost": {
            "flops_ratio": facts.flops_ratio(plan),
            # Less than its FLOPs is charged to known gains alone.
            "charged_ratio": plan.cost_ratio if plan.idea is None or facts.settled(plan.idea) else None,
        },
        "together": facts.beside(plan),
        "held": dict(zip(("treatment", "control"), facts.held.get(plan.id, ()), strict=False)),
        "pairs": [
            {**vars(pair), "difference": pair.difference, "expected": pair.expected}
            for pair in facts.pairs(plan)
        ],
        "verdicts": [_with_audits(facts, verdict) for verdict in facts.verdicts_of(plan.id)],
    }


def _with_audits(facts: Facts, verdict: Verdict) -> dict[str, Any]:
    audits = [audit.model_dump(mode="json") for audit in facts.audits_of(verdict)]
    return {"id": verdict.id, **verdict.model_dump(mode="json"), "audits": audits}


def _change(facts: Facts, control: str, treatment: str, rung: int) -> dict[str, Any]:
    """What tells two recipes apart: overrides, with what the recipes have at a rung where they set nothing,
    and a unified diff of the source."""
    before, after = facts.store.recipe(control), facts.store.recipe(treatment)
    diff, missing = "", ""
    try:
        diff = unified_diff(facts.store.load_tree(before.tree), facts.store.load_tree(after.tree))
    except StoreError as error:
        missing = str(error)
    return {
        "control": control,
        "treatment": treatment,
        "overrides": changed_knobs(facts, control, treatment, rung),
        "diff": diff,
        "error": missing,
    }


def _plan(facts: Facts, id: str) -> dict[str, Any]:
    plan = facts.plans[id]
    return {
        **_plan_with_pairs(facts, plan),
        "change": _change(facts, plan.control, plan.treatment, plan.rung),
    }


def _verdict(facts: Facts, id: str) -> dict[str, Any]:
    verdict = next(v for v in facts.verdicts if v.id == id)
    plan = facts.plans.get(verdict.plan)
    return {
        "verdict": verdict.model_dump(mode="json"),
        "idea": plan.idea if plan else None,
        "plans": [_plan_with_pairs(facts, plan)] if plan else [],
    }


def _finding(facts: Facts, id: str) -> dict[str, Any]:
    finding = next(f for f in facts.findings if f.id == id)
    entry = next((e for e in facts.ideas if e.idea.name == finding.idea.name), None)
    about = _idea(facts, entry) if entry else {}
    return {
        **about,
        "type": "finding",
        "id": id,
        "finding": _told(facts, finding),
    }


def _recipe(facts: Facts, id: str) -> dict[str, Any]:
    original = facts.original
    used = [plan.id for plan in facts.plans.values() if id in (plan.control, plan.treatment)]
    rungs = facts.campaign.config.get("rungs", [0])
    counted = rungs if facts.fingerprint.counts_flops else ()
    costs = {rung: facts.flops_per_token(id, rung) for rung in counted}
    return {
        "recipe": facts.store.recipe(id).model_dump(mode="json"),
        "label": facts.store.labels().get(id, ""),
        "source": str(facts.store.tree_folder(facts.store.recipe(id).tree)),
        "flops_per_token": {str(rung): cost for rung, cost in costs.items() if cost},
        "plans": used,
        "runs": [run.id for run in facts.runs.values() if run.spec.recipe == id],
        "change": _change(facts, original, id, rungs[0]) if original and original != id else None,
    }


def _run(facts: Facts, id: str) -> dict[str, Any]:
    run = facts.runs[id]
    folder = facts.store.run_folder(facts.campaign.id, id)
    return {
        "spec": _as_planned(facts, run.spec),
        "stage": run.stage,
        "idea": run.idea,
        "state": run.state.value,
        "result": run.result.model_dump(mode="json") if run.result else None,
        "attempts": run.attempts,
        "started": run.started.isoformat() if run.started else None,
        "finished": run.finished.isoformat() if run.finished else None,
        "folder": str(folder.path) if folder.path.is_dir() else None,
        "log": _log(facts, id),
        "repeat": repeat_command(facts, run.spec),
    }


def _log(facts: Facts, run: str) -> list[str]:
    """The last lines of what a run printed, without control characters; untrusted text."""
    out = facts.store.run_folder(facts.campaign.id, run).out
    if out.is_symlink():
        return []
    text = read_text(out / "train.log", 64_000) or ""
    return [clean(line, LOG_WIDTH) for line in text.replace("\r", "\n").split("\n") if line.strip()][
        -LOG_LINES:
    ]


__all__ = ["describe", "render"]

_READERS = {"plan": _plan, "verdict": _verdict, "finding": _finding, "recipe": _recipe, "run": _run}
