"""`mendel show`: one idea, run, plan, recipe, verdict or finding, found by its name or the beginning of "
"its id.

`describe` returns plain values for JSON, `render` prints them for a person.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mendel.records import Audit, Finding, Interval, Plan, Range, Verdict, known_gain
from mendel.report.curves import read_text
from mendel.report.facts import Facts, gather
from mendel.report.knobs import changed_knobs, knob_text
from mendel.report.repeat import repeat_command
from mendel.report.text import clean, cm_text, counted, duration, e_value, signed, unified_diff
from mendel.report.transcript import asked_about, said_by_researchers
from mendel.store import Campaign, IdeaEntry, Store, StoreError

LOG_LINES = 40
LOG_WIDTH = 400


def describe(store: Store, campaign: Campaign, id: str) -> dict[str, Any]:
    """Everything about what `id` names; its "type" is idea, run, plan, recipe, verdict or finding.

    An idea is found by its name, anything else by the beginning of its id. Raises StoreError with near names
    where nothing is found, and with the candidates where the beginning is that of several.
    """
    facts = gather(store, campaign)
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
    return {"type": kind, "id": known, "campaign": campaign.id, **_READERS[kind](facts, known)}


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
        "finding": _told(findings[-1]) if findings else None,
        "asked": asked_about(facts.store, facts.campaign, idea.name),
        "explanation": facts.store.explanations(facts.campaign.id).get(idea.name),
        "forecasts": [
            {"forecaster": one.forecaster, **one.forecast.model_dump(), "reason": one.reason}
            for one in facts.store.forecasts(facts.campaign.id, idea.name)
        ],
        "tuned": [one for (_, name), one in sorted(facts.tuned.items()) if name == idea.name],
        "change": _change(facts, plans[-1].control, plans[-1].treatment, plans[-1].rung) if plans else None,
    }


def _told(finding: Finding) -> dict[str, Any]:
    return {**finding.model_dump(mode="json", exclude={"idea"}), "measured": finding.measured}


def _plan_with_pairs(facts: Facts, plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "plan": plan.model_dump(mode="json"),
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
        "finding": _told(finding),
    }


def _recipe(facts: Facts, id: str) -> dict[str, Any]:
    original = facts.original
    used = [plan.id for plan in facts.plans.values() if id in (plan.control, plan.treatment)]
    rungs = facts.campaign.config.get("rungs", [0])
    costs = {rung: facts.flops_per_token(id, rung) for rung in rungs}
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
        "spec": run.spec.model_dump(mode="json"),
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


_READERS = {"plan": _plan, "verdict": _verdict, "finding": _finding, "recipe": _recipe, "run": _run}


# --- for a person -----------------------------------------------------------------------------------------


def render(console: Console, found: Mapping[str, Any]) -> None:
    """Print what `describe` found."""
    kind = found["type"]
    console.print(Text.assemble((clean(found["id"]), "bold"), f"  {kind} of campaign {found['campaign']}"))
    if kind in ("idea", "finding"):
        _render_idea(console, found)
    elif kind == "run":
        _render_run(console, found)
    elif kind == "recipe":
        _render_recipe(console, found)
    elif kind == "plan":
        _render_plan(console, found)
    else:
        if found["idea"]:
            _say(console, "idea", found["idea"])
        for plan in found["plans"]:
            _render_plan(console, plan)
    _render_change(console, found.get("change"))


def _render_idea(console: Console, found: Mapping[str, Any]) -> None:
    idea, finding = found["idea"], found["finding"]
    note = str(found["note"])
    state = note if note.startswith(found["state"]) else f"{found['state']}{': ' if note else ''}{note}"
    forecast = idea["forecast"]
    rows = [("state", state), ("class", idea["idea_class"]), ("hypothesis", idea["hypothesis"])]
    rows += [("mechanism", idea["mechanism"]), ("source", idea["citation"])]
    by = "pooled from those below" if found["forecasts"] else f"by {idea['proposer']}"
    rows += [("forecast", f"log2 CM {forecast['mean']:+.2f} ± {forecast['sd']:.2f} {by}")]
    for one in found["tuned"]:
        equal = "; compared with the trunk whose knobs were searched as long" if one["equal"] else ""
        rows.append(("knobs", f"{one['words']}{equal}"))
    if found["blank"]:
        gain = known_gain(found["blank"])
        rows.append(("planted", f"known gain: log2 CM {gain:+.2f}" if gain else f"a blank: {found['blank']}"))
    if finding:
        size = cm_text(Interval.model_validate(finding["log2_cm"]))
        rows.append(("finding", f"CM {size} {finding['measured']}"))
        rows.append(("at higher rungs", finding["transfer_words"] or finding["transfer"]))
        rows.append(("refuted by", finding["refuted_by"]))
        if finding["evicted"]:
            rows.append(("left the trunk", finding["evicted"]))
    rows += said_by_researchers(found)
    for name, value in rows:
        _say(console, name, value)
    if found["change"] is None:  # it never came as far as a run: all there is to see is its patch
        for key, value in idea["patch"]["overrides"].items():
            _say(console, "sets", f"{key} = {value!r}")
        for key, range in idea["patch"].get("tune", {}).items():
            _say(console, "tunes", f"{key} {Range.model_validate(range)}")
        for edit in idea["patch"]["edits"]:
            _say(console, "edits", edit["path"])
            lines = [f"-{line}" for line in edit["search"].splitlines()]
            lines += [f"+{line}" for line in edit["replace"].splitlines()]
            console.print(Text(clean("\n".join(lines), 8000)))
    for plan in found["plans"]:
        _render_plan(console, plan)


def _render_plan(console: Console, found: Mapping[str, Any]) -> None:
    plan, cost = found["plan"], found["cost"]
    flops = f"{cost['flops_ratio']:.3f} by FLOPs, " if cost["flops_ratio"] else ""
    console.print()
    title = f"{plan['kind']} in round {plan['round']}, rung {plan['rung']}, {plan['shard']} shard"
    console.print(Text.assemble((title, "bold"), f"  plan {found['id']}"))
    _say(console, "arms", f"control {plan['control']}, treatment {plan['treatment']}")
    for arm, names in found["held"].items():
        _say(console, f"{arm} holds", ", ".join(names) or "nothing")
    arms = ("control", "treatment")
    if found["together"]:
        arms = ("without it", "with it")
        told = f"confirmed together with {len(found['together'])} others: {', '.join(found['together'])}"
        _say(console, "together", f"{told}; the pairs are random halves of them all, with their effects, too")
    charged = cost["charged_ratio"]
    told = "the charge is told when the campaign has ended" if charged is None else f"{charged:.3f} charged"
    _say(console, "cost per token", f"{flops}{told}")
    for verdict in found["verdicts"]:
        said = {key: value for key, value in verdict.items() if key not in ("id", "audits")}
        _say(console, "verdict", _verdict_line(Verdict.model_validate(said)))
        for audit in map(Audit.model_validate, verdict["audits"]):
            _say(
                console, f"audit {audit.name}", f"{'passed' if audit.passed else 'VIOLATION'}: {audit.reason}"
            )
    if found["pairs"]:
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        for name in ("seed", *arms, "difference", *(f"run {arm}" for arm in arms)):
            table.add_column(name, justify="right" if name in (*arms, "difference") else "left")
        for pair in found["pairs"]:
            mark = "expected " if pair["expected"] else ""
            table.add_row(
                str(pair["seed"]),
                _loss(pair["control_loss"], pair["control_status"]),
                mark + _loss(pair["treatment_loss"], pair["treatment_status"]),
                "" if pair["difference"] is None else mark + signed(pair["difference"], 4),
                pair["control"],
                pair["treatment"],
            )
        console.print(table)


def _verdict_line(verdict: Verdict) -> str:
    of = " of halves" if verdict.together else ""
    parts = [f"{verdict.kind.value} after {verdict.pairs} pair{'s'[: verdict.pairs != 1]}{of}"]
    if verdict.failures:
        parts.append(f"{verdict.failures} failed")
    if verdict.stopped:
        parts.append(f"{verdict.stopped} stopped early, so what follows is expected and not measured")
    if verdict.log2_cm:
        parts.append(f"CM {cm_text(verdict.log2_cm)}")
    if verdict.difference:
        parts.append(f"{signed(verdict.difference.value, 4)} bits per byte")
    if verdict.log_e_t or verdict.log_e_sign:
        parts.append(f"e-values {e_value(verdict.log_e_t)} and {e_value(verdict.log_e_sign)}")
    return "; ".join([*parts, verdict.reason])


def _loss(loss: float | None, status: str) -> str:
    return status or "not run" if loss is None else f"{loss:.4f}"


def _render_run(console: Console, found: Mapping[str, Any]) -> None:
    spec, result = found["spec"], found["result"]
    _say(console, "for", f"{found['stage']}, {found['idea'] or 'control'}")
    what = f"recipe {spec['recipe']}, rung {spec['rung']}, seed {spec['seed']}, {spec['tokens']:,} tokens"
    scored = "" if result and result["stopped"] else f", scored on the {spec['shard']} shard"
    _say(console, "trains", f"{what}{scored}")
    lost = f", {found['attempts']} attempts lost" if found["attempts"] else ""
    _say(console, "state", f"{found['state']}{lost}")
    if result:
        loss = result["bits_per_byte"]
        score = f"{loss:.6f} bits per byte" if loss is not None else result["reason"]
        _say(console, "result", f"{result['status']}: {score}")
        times = (("training", "train_seconds"), ("CPU", "cpu_seconds"), ("scoring", "score_seconds"))
        _say(console, "time", ", ".join(f"{duration(result[key])} {name}" for name, key in times))
    _say(console, "folder", found["folder"] or "not here")
    if found["repeat"]:
        _say(console, "to repeat", found["repeat"])
    for line in found["log"]:
        console.print(Text(f"  | {line}", style="dim"), soft_wrap=True)


def _render_recipe(console: Console, found: Mapping[str, Any]) -> None:
    recipe = found["recipe"]
    _say(console, "label", found["label"])
    _say(console, "base", f"{recipe['base']} of testbed {recipe['testbed']}")
    for key, value in recipe["overrides"].items():
        _say(console, "override", f"{key} = {value!r}")
    for rung, cost in found["flops_per_token"].items():
        _say(console, "cost", f"{cost:,.0f} FLOPs per token at rung {rung}")
    _say(console, "source", found["source"])
    _say(console, "used by", f"{counted(len(found['plans']), 'plan')}, {counted(len(found['runs']), 'run')}")


def _render_change(console: Console, change: Mapping[str, Any] | None) -> None:
    if not change:
        return
    console.print()
    console.print(Text.assemble(("change", "bold"), f"  from {change['control']} to {change['treatment']}"))
    for row in change["overrides"]:
        old, new = (knob_text(row[arm], row["recipe"]) for arm in ("control", "treatment"))
        _say(console, clean(row["key"]), f"{old} -> {new}")
    if change["error"]:
        _say(console, "source", change["error"])
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in clean(change["diff"]).split("\n") if change["diff"] else ():
        console.print(Text(line, style=styles.get(line[:1], "")), soft_wrap=True)


def _say(console: Console, name: str, value: object) -> None:
    console.print(Text.assemble((f"{name:<15} ", "dim"), clean(value, 2000)), soft_wrap=True)
