"""`mendel show` for a person: what `lookup.describe` found, printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mendel.records import Audit, Currency, Interval, PlanKind, Range, Trust, Verdict, VerdictKind, known_gain
from mendel.report.knobs import knob_text
from mendel.report.text import clean, cm_text, counted, duration, e_value, signed
from mendel.report.transcript import said_by_researchers


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
        _render_plan(console, found, found)
    else:
        if found["idea"]:
            _say(console, "idea", found["idea"])
        for plan in found["plans"]:
            _render_plan(console, plan, found)
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
        trust = Trust(found["trust"])
        rows.append(("losses", f"{trust.words}, in {found['unit']}. {trust.caveat}".strip()))
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
        _render_plan(console, plan, found)


def _render_plan(console: Console, found: Mapping[str, Any], losses: Mapping[str, Any]) -> None:
    """A plan with its verdicts and pairs; `losses` says what they are counted in."""
    plan, cost = found["plan"], found["cost"]
    flops = f"{cost['flops_ratio']:.3f} by FLOPs, " if cost["flops_ratio"] else ""
    console.print()
    shard = f", {plan['shard']} shard" if plan["shard"] else ""
    title = f"{plan['kind']} in round {plan['round']}, rung {plan['rung']}{shard}"
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
    _say(console, f"cost per {_currency(losses).each}", f"{flops}{told}")
    for verdict in found["verdicts"]:
        said = {key: value for key, value in verdict.items() if key not in ("id", "audits")}
        screened = plan["kind"] == PlanKind.SCREEN
        _say(
            console,
            "screen" if screened else "verdict",
            _verdict_line(Verdict.model_validate(said), losses["unit"], screened),
        )
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


def _currency(losses: Mapping[str, Any]) -> Currency:
    return next(one for one in Currency if one.words == losses["currency"])


def _verdict_line(verdict: Verdict, unit: str, screened: bool) -> str:
    of = " of halves" if verdict.together else ""
    # A screen decides nothing: that no difference is shown would read as if it had.
    undecided = screened and verdict.kind is VerdictKind.NO_DIFFERENCE_SHOWN
    kind = "no verdict" if undecided else verdict.kind.value
    parts = [f"{kind} after {counted(verdict.pairs, 'pair')}{of}"]
    if verdict.failures:
        parts.append(f"{verdict.failures} failed")
    if verdict.stopped:
        parts.append(f"{verdict.stopped} stopped early, so what follows is expected and not measured")
    if verdict.log2_cm:
        parts.append(f"CM {cm_text(verdict.log2_cm)}")
    if verdict.difference:
        parts.append(f"{signed(verdict.difference.value, 4)} {unit}")
    if verdict.log_e_t or verdict.log_e_sign:
        parts.append(f"e-values {e_value(verdict.log_e_t)} and {e_value(verdict.log_e_sign)}")
    return "; ".join([*parts, verdict.reason])


def _loss(loss: float | None, status: str) -> str:
    return status or "not run" if loss is None else f"{loss:.4f}"


def _render_run(console: Console, found: Mapping[str, Any]) -> None:
    spec, result = found["spec"], found["result"]
    _say(console, "for", f"{found['stage']}, {found['idea'] or 'control'}")
    budget = _currency(found).amount(spec["tokens"])
    what = f"recipe {spec['recipe']}, rung {spec['rung']}, seed {spec['seed']}, {budget}"
    shard = f", scored on the {spec['shard']} shard" if spec["shard"] else ", and reports its loss"
    scored = "" if result and result["stopped"] else shard
    _say(console, "trains", f"{what}{scored}")
    lost = f", {found['attempts']} attempts lost" if found["attempts"] else ""
    _say(console, "state", f"{found['state']}{lost}")
    if result:
        loss = result["bits_per_byte"]
        score = f"{loss:.6f} {found['unit']}" if loss is not None else result["reason"]
        _say(console, "result", f"{result['status']}: {score}")
        times = [("training", "train_seconds"), ("CPU", "cpu_seconds")]
        times += [("scoring", "score_seconds")] if spec["shard"] else []
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
