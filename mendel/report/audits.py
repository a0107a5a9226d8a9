"""The report's part about trust: what runs were kept in, what audits rejected and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mendel.records import Audit, Fingerprint, PlanKind, VerdictKind
from mendel.report.facts import Facts
from mendel.report.html import Child, Html, el, join, table
from mendel.report.text import clean
from mendel.store import IdeaState


def audits_section(found: Facts, summary: Mapping[str, Any]) -> Html:
    """Ideas that an audit rejected; what every claim was audited for; what that cost."""
    rejected = [entry for entry in found.ideas if entry.state is IdeaState.REJECTED]
    parts: list[Child] = []
    if rejected:
        rows = [[entry.idea.name, clean(entry.note, 600)] for entry in rejected]
        parts.append(table(("rejected idea", "why"), rows))
    else:
        parts.append(el("p", "No audit rejected an idea."))
    claims = [(name, audits) for name, audits in _audited(found).items() if audits]
    if claims:
        parts.append(el("h3", "What the claims were audited for"))
        parts += [_claim(name, audits) for name, audits in claims]
    if found.fingerprint.reported:
        told = (
            "Not audited: what models answer and what text they know, because the runs report their own "
            "loss. Patches, costs and constants were."
        )
        parts.append(el("p", told, cls="note"))
    share = summary.get("audit_fraction")
    if share is not None:
        reads, runs = summary.get("held_out_reads", 0), summary.get("confirmation_runs", 0)
        parts.append(
            el(
                "p",
                f"Audits of scores took {100 * share:.1f} % of the time of training and scoring. The "
                f"held-out shard was opened {reads:,} times, for {runs:,} runs of confirmation.",
                cls="note",
            )
        )
    return join(parts)


def losses_row(fingerprint: Fingerprint) -> Html:
    """Who says what the losses are, in which unit; why that is weak, where it is."""
    said = el("div", f"{fingerprint.trust.words}, in {fingerprint.unit}")
    caveat = fingerprint.trust.caveat
    return join(said, el("div", caveat, cls="note") if caveat else None)


def unsafe_banner(sandbox: Any, fingerprint: Fingerprint) -> Html | None:
    """In red, where patch code could reach the machine."""
    if not isinstance(sandbox, Mapping) or sandbox.get("name") != "none":
        return None
    scored = "" if fingerprint.reported else "the text it is scored on, "
    return el(
        "p",
        f"No sandbox: this campaign was run with --unsafe-no-sandbox. Patch code could read {scored}other "
        "runs and this machine's files, and reach the network.",
        cls="bad banner",
        role="alert",
    )


def sandbox_row(sandbox: Any) -> Html:
    """One line for the page's head."""
    if not isinstance(sandbox, Mapping):
        return el("span", "not recorded yet", cls="muted")
    name, reason = clean(str(sandbox.get("name", "none")), 40), clean(str(sandbox.get("reason") or ""), 300)
    return el("span", f"{name}{': ' if reason else ''}{reason}", cls="bad" if name == "none" else None)


def _audited(found: Facts) -> dict[str, Sequence[Audit]]:
    """The audits of everything that its numbers would have called better, by idea."""
    audited: dict[str, Sequence[Audit]] = {}
    for plan in found.plans.values():
        for verdict in found.verdicts_of(plan.id) if plan.kind is PlanKind.CONFIRM else ():
            if plan.idea and verdict.kind in (VerdictKind.BETTER, VerdictKind.REJECTED):
                audited[plan.idea] = found.audits_of(verdict)
    return audited


def _claim(name: str, audits: Sequence[Audit]) -> Html:
    outcome = {True: el("span", "passed"), False: el("span", "violation", cls="bad")}
    rows = [[audit.name, outcome[audit.passed], clean(audit.reason, 400)] for audit in audits]
    bad = sum(not audit.passed for audit in audits)
    counted = f"{len(audits)} audit{'s' if len(audits) != 1 else ''}"
    title = f"{name}: {counted}, {f'{bad} failed' if bad else 'all passed'}"
    return el("details", el("summary", title), table(("audit", "outcome", "what was seen"), rows))
