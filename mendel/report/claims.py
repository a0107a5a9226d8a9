"""The section of the report behind each claim: words, numbers, paired runs, code, and how to repeat it."""

from __future__ import annotations

import math

from mendel.records import Finding, Interval, Plan, PlanKind, Verdict
from mendel.report.climb import climb_block
from mendel.report.curves import Evidence, evidence
from mendel.report.facts import Facts, source_of
from mendel.report.html import Child, Html, commands, diff_block, el, facts, join, table
from mendel.report.knobs import changed_knobs, knob_text
from mendel.report.paired import differences_figure, loss_figure
from mendel.report.repeat import repeat_command
from mendel.report.skills import skills_table
from mendel.report.svg import inline
from mendel.report.text import cm_text, counted, e_value, signed, unified_diff
from mendel.store import StoreError

MOST_FIGURES = 24
"""Findings beyond these have no figure: the page must stay light."""


def claims_section(found: Facts) -> Html:
    """Every finding, adopted ones first."""
    findings = sorted(found.findings, key=lambda f: (not f.adopted, f.round, -f.log2_cm.value))
    if not findings:
        return el(
            "p", "No idea was claimed yet." if found.campaign.state == "running" else "No idea was claimed."
        )
    return join(_claim(found, finding, place) for place, finding in enumerate(findings))


def _claim(found: Facts, finding: Finding, place: int) -> Html:
    idea = finding.idea
    status = "evicted" if finding.evicted else "adopted" if finding.adopted else "claimed"
    confirm, fresh = _plan(found, finding, PlanKind.CONFIRM), _plan(found, finding, PlanKind.ESTIMATE)
    words = {"claimed": "claimed, not adopted", "evicted": "adopted, then evicted"}
    badge = el("span", words.get(status, status), cls=f"badge {status}")
    parts: list[Html | None] = [
        el("h3", f"{idea.name} ", badge, _trust_badge(found), id=f"finding-{idea.name}"),
        el("p", idea.hypothesis),
        el("p", idea.mechanism, cls="muted"),
        _explained(found, idea.name),
        _numbers(found, finding, confirm, fresh),
    ]
    if fresh and place < MOST_FIGURES:
        control = found.campaign.recipe if fresh.control == found.original else "trunk"
        if found.tuned.get((finding.round, idea.name), {}).get("equal"):
            control = "tuned trunk"
        shown = evidence(found, fresh, confirm, (control, idea.name))
        parts.append(paired(shown, f"{idea.name}: paired runs", f"pairs{place}", _caption(shown)))
    if confirm and finding.together:
        parts.append(_halves(found, confirm))
    parts += [
        climb_block(finding, place),
        skills_table(finding.skills, _pairs_of(finding)),
        _code(found, finding),
        _repetition(found, finding, fresh),
    ]
    return el("article", parts, cls="finding")


def _trust_badge(found: Facts) -> Html | None:
    """On every claim that rests on what the runs say of themselves."""
    trust = found.fingerprint.trust
    return el("span", trust.words, cls="badge reported", title=trust.caveat) if trust.caveat else None


def _caption(shown: Evidence) -> str:
    curves = (
        "Left: training loss as the runs printed it, one thin line for each fresh seed, against compute "
        "as charged; for orientation only. "
    )
    if shown.reported:
        judged = f"{'Right: what' if shown.curves else 'What'} is judged, the loss that the runs reported"
        return (
            f"{curves if shown.curves else ''}{judged}, pair by pair. Grey pairs made the claim and flatter "
            "it; the band is the 95 % interval of the others, which were trained after it."
        )
    return (
        f"{curves}Right: what is judged, the scored loss, pair by pair. Grey "
        "pairs, on held-out text, made the claim and flatter it; the band is the 95 % interval of the "
        "others, which were trained after it and are scored on validation text."
    )


def _explained(found: Facts, name: str) -> Html | None:
    """What the analyst wrote; its numbers were held against the evidence."""
    told = found.store.explanations(found.campaign.id).get(name)
    if told is None:
        return None
    words = [el("p", told[key]) for key in ("what_changed", "effect", "where", "refuted_by", "next")]
    by = el(
        "p", f"In the words of {told['by']}, whose numbers were checked against the evidence.", cls="muted"
    )
    return el("div", words, by)


def _pairs_of(finding: Finding) -> str:
    if finding.together:
        return "pairs of halves"
    return "pairs that made the claim" if finding.shrunk else "fresh pairs"


def paired(shown: Evidence, title: str, name: str, caption: str | None = None) -> Html:
    """Loss curves and differences side by side, or below each other where there is no room."""
    curves = None
    if shown.curves or not shown.reported:
        curves = el("div", inline(loss_figure(shown, title), f"{name}-loss", f"{title}: training loss"))
    each = inline(differences_figure(shown), f"{name}-each", f"{title}: difference of each pair")
    told = el("figcaption", caption) if caption else None
    return el("figure", el("div", curves, el("div", each), cls="pair"), told)


def _numbers(found: Facts, finding: Finding, confirm: Plan | None, fresh: Plan | None) -> Html:
    idea, unit = finding.idea, found.fingerprint.unit
    rows: list[tuple[str, Child]] = []
    estimate, claimed = _verdict(found, finding, fresh), _verdict(found, finding, confirm)
    rows.append(("Compute multiplier", join(el("b", cm_text(finding.log2_cm)), f" {finding.measured}")))
    if confirm and (others := found.beside(confirm)):
        rows.append(("Confirmed", f"together with {counted(len(others), 'other')}: {', '.join(others)}"))
    tuned = found.tuned.get((finding.round, idea.name))
    if tuned:
        equal = "; compared with the trunk whose knobs were searched as long" if tuned["equal"] else ""
        rows.append(("Knobs", f"{tuned['words']}{equal}"))
    if estimate and estimate.difference:
        rows.append(
            (
                "Gain in loss",
                f"{_difference(estimate.difference)} {unit} ({estimate.pairs} fresh pairs)",
            )
        )
    if claimed:
        e_t, e_sign = e_value(claimed.log_e_t), e_value(claimed.log_e_sign)
        rows.append(("Evidence", f"e-values {e_t} (t mixture) and {e_sign} (signs) after {_count(claimed)}"))
        if claimed.selected:
            rows.append(
                (
                    "Gain when claimed",
                    f"{_difference(claimed.selected)} {unit}; the interval allows for the selection",
                )
            )
    rows.append((f"Cost per {found.fingerprint.currency.each}", _cost(found, finding, fresh or confirm)))
    rows.append(("Losses", f"{found.fingerprint.trust.words}, in {unit}"))
    rows.append(("Runs behind it", f"{finding.runs} (round {finding.round}, rung {finding.rung})"))
    expected = cm_text(_forecast(finding))
    rows.append(("Forecast", f"CM {expected} by {idea.proposer}"))
    rows.append(("Class", f"{idea.idea_class}, {source_of(idea)}"))
    rows.append(("Source", idea.citation or "none given"))
    rows.append(("At higher rungs", finding.transfer.value))
    rows.append(("Refuted by", finding.refuted_by))
    if finding.evicted:
        rows.append(("No longer in the trunk", finding.evicted))
    return facts(rows)


def _count(verdict: Verdict) -> str:
    failed = f", {counted(verdict.failures, 'failed treatment')}" if verdict.failures else ""
    return f"{verdict.pairs} pairs{' of halves' if verdict.together else ''}{failed}"


def _halves(found: Facts, confirm: Plan) -> Html:
    """The pairs of halves without the idea and with it."""

    def loss(value: float | None, status: str) -> str:
        return status if value is None else f"{value:.4f}"

    rows = [
        [
            str(pair.seed),
            loss(pair.control_loss, pair.control_status),
            loss(pair.treatment_loss, pair.treatment_status),
            "" if pair.difference is None else signed(pair.difference, 4),
        ]
        for pair in found.pairs(confirm)
    ]
    whose = found.fingerprint.trust.words if found.fingerprint.reported else "on held-out text"
    told = (
        f"Losses {whose}. For each seed a coin put each idea into one of two runs, so a difference "
        "holds the others' effects, too; the e-values and the effect are of what a regression leaves."
    )
    head = ("seed", "half without it", "half with it", "difference")
    return join(el("h4", "Pairs of halves"), table(head, rows, numeric=(1, 2, 3)), el("p", told, cls="note"))


def _difference(interval: Interval) -> str:
    return f"{signed(interval.value)} [{signed(interval.low)}, {signed(interval.high)}]"


def _forecast(finding: Finding) -> Interval:
    forecast = finding.idea.forecast
    half = 1.96 * forecast.sd
    return Interval(value=forecast.mean, low=forecast.mean - half, high=forecast.mean + half)


def _cost(found: Facts, finding: Finding, plan: Plan | None) -> str:
    """What it costs by each instrument, and which was charged."""
    clock, currency = found.fingerprint.clock, found.fingerprint.currency
    flops = found.flops_ratio(plan) if plan else None
    parts = [f"FLOPs × {flops:.3f}"] if flops else []
    cpu = finding.cpu_ratio
    if cpu:
        parts.append(f"{clock} × {cpu.value:.3f} [{cpu.low:.3f}, {cpu.high:.3f}]")
    counted_ratio = (flops or math.inf) if found.fingerprint.counts_flops else 1.0
    by_clock = finding.cost_ratio > counted_ratio * (1 + 1e-6)
    parts.append(f"charged × {finding.cost_ratio:.3f}, by {clock if by_clock else currency.words}")
    return "; ".join(parts)


def _code(found: Facts, finding: Finding) -> Html:
    """Overrides and source that differ from the control."""
    try:
        before, after = found.store.recipe(finding.control), found.store.recipe(finding.treatment)
        changed = changed_knobs(found, finding.control, finding.treatment, finding.rung)
        diff = unified_diff(found.store.load_tree(before.tree), found.store.load_tree(after.tree))
    except StoreError as error:
        return el("p", f"The change cannot be shown: {error}", cls="bad")
    parts = []
    if changed:
        rows = [
            [
                el("code", one["key"]),
                *(knob_text(one[arm], one["recipe"]) for arm in ("control", "treatment")),
            ]
            for one in changed
        ]
        parts.append(join(el("h4", "Configuration"), table(("key", "control", "treatment"), rows)))
    if diff:
        parts.append(join(el("h4", "Change of the source"), diff_block(diff)))
    return join(parts)


def _repetition(found: Facts, finding: Finding, plan: Plan | None) -> Html:
    lines = [f"mendel show {finding.idea.name} --campaign {found.campaign.id}"]
    if plan:
        for spec, name in zip(
            plan.runs(plan.seeds[0], found.campaign.fingerprint.id), ("control", "treatment"), strict=True
        ):
            command = repeat_command(found, spec, f"again-{name}")
            if command:
                lines.append(command)
    what = ", and to train the first fresh pair again" if len(lines) > 1 else ""
    return join(el("h4", f"To see all of it{what}"), commands(*lines))


def _plan(found: Facts, finding: Finding, kind: PlanKind) -> Plan | None:
    plans = [p for p in found.plans_of(finding.idea.name, kind) if p.round == finding.round]
    return plans[-1] if plans else None


def _verdict(found: Facts, finding: Finding, plan: Plan | None) -> Verdict | None:
    verdicts = found.verdicts_of(plan.id) if plan else []
    return verdicts[-1] if verdicts else None
