"""What the campaign says about itself: its blanks, its ledger, its failures and what it never tried."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mendel.records import Currency, Fingerprint, PlanKind, RunStatus, VerdictKind
from mendel.report.facts import Facts, Judged, kind_text, planted_as
from mendel.report.html import Child, Html, el, join, table
from mendel.report.text import clean, cm_text, counted, duration, quantity
from mendel.researchers.answers import LESSONS
from mendel.store import Blank, CampaignState, IdeaState, LedgerRow

MOST_SHOWN = 15
"""Ideas listed openly in the ledger; the rest is folded away."""


def blanks_section(found: Facts, summary: Mapping[str, Any], judged: Sequence[Judged]) -> Html:
    """Everything planted and unblinded: what it was, how far it went, whether it was claimed; the rates."""
    planted, seen = summary.get("blanks_planted", 0), summary.get("blanks_judged", 0)
    confirmed = summary.get("blanks_confirmed", 0)
    said = "No blanks were planted, so this campaign does not measure its own error."
    if planted:
        said = (
            f"{counted(planted, 'blank')} stood in the queue; {seen} {'was' if seen == 1 else 'were'} "
            f"judged, {confirmed} of them in confirmation. The judge could not tell them from ideas. Only "
            "what enters confirmation can be claimed at all."
        )
    if forward := summary.get("forward"):
        said += (
            f" Of {forward['planted_tried']} planted ideas that were tried on top of what a round had kept, "
            f"{forward['planted_kept']} were kept, among {forward['kept']} changes in all; they were taken "
            "out before these were proved together."
        )
    parts: list[Child] = [el("p", said), _rates(summary)]
    intervals = {row.name: row for row in judged}
    rows = []
    for name, blank in sorted(found.blanks.items(), key=lambda item: (item[1].kind, item[0])):
        row = intervals.get(name)
        claim = _claimed(found, blank)
        rows.append(
            [
                kind_text(blank.kind),
                name,
                _how_far(found, name),
                str(row.pairs) if row else "–",
                cm_text(row.log2_cm) if row else "–",
                _claim_words(blank) if claim else "no",
            ]
        )
    if rows:
        head = ("kind", "name", "went as far as", "pairs", "CM, 95 % interval", "claimed")
        parts.append(table(head, rows, numeric=(3, 4)))
    return join(parts)


def _rates(summary: Mapping[str, Any]) -> Html | None:
    """Claim rates here and pooled, and what they say of the real claims."""
    account = summary.get("blanks")
    if not account:
        return None
    own, pooled = account["campaign"], account["pooled"]
    bad = "bad" if own["claimed"] else None
    lines = [el("p", el("b", f"Claimed here: {rate_text(own)}.", cls=bad))]
    if pooled["campaigns"] > 1:
        where = f"In {pooled['campaigns']} campaigns of this store with the same judge"
        lines.append(el("p", f"{where}: {rate_text(pooled)}."))
    lines += [el("p", account[told]["words"]) for told in ("false_claims", "controls")]
    kinds = account["kinds"]
    if len(kinds) > 1:
        rows = [[kind, str(one["confirmed"]), str(one["claimed"])] for kind, one in kinds.items()]
        head = ("blanks by kind, all those campaigns", "in confirmation", "claimed")
        lines.append(table(head, rows, numeric=(1, 2)))
    return join(lines)


def rate_text(rate: Mapping[str, Any]) -> str:
    """Such as: 0 of 7 blanks in confirmation; Clopper-Pearson 95 %: 0 to 41 %."""
    told = f"{rate['claimed']} of {counted(rate['confirmed'], 'blank')} in confirmation"
    if rate["rate"] is None:
        return f"{told}, so no rate is known"
    return f"{told}; Clopper-Pearson 95 %: {100 * rate['low']:.0f} to {100 * rate['high']:.0f}\u00a0%"


def _claimed(found: Facts, blank: Blank) -> bool:
    plans = found.plans_of(blank.name, PlanKind.CONFIRM)
    # Its numbers claimed a blank, an audit or not; a gain that an audit stops is lost.
    claims = (VerdictKind.BETTER,) if blank.gain else (VerdictKind.BETTER, VerdictKind.REJECTED)
    return any(v.kind in claims for plan in plans for v in found.verdicts_of(plan.id))


def _claim_words(blank: Blank) -> Html:
    return el("span", "yes: found") if blank.gain else el("span", "claimed", cls="bad")


def _how_far(found: Facts, name: str) -> str:
    for kind, text in ((PlanKind.CONFIRM, "confirmation"), (PlanKind.SCREEN, "screening")):
        if found.plans_of(name, kind):
            return text
    return "smoke test"


# --- ledger -----------------------------------------------------------------------------------------------


def ledger_section(found: Facts, summary: Mapping[str, Any]) -> Html:
    """What was spent, by stage and by idea."""
    price = float(found.campaign.config.get("usd_per_hour") or 0.0)
    rows = found.store.ledger(found.campaign.id, price)
    if not rows:
        return el("p", "Nothing was spent yet.")
    marked = [replace(row, idea=found.marked(row.idea)) if row.idea else row for row in rows]
    stages, ideas = _sum(rows, "stage"), _sum(marked, "idea")
    order = sorted(ideas, key=lambda row: -_seconds(row))
    columns = _columns(found, rows, price)
    tables = [
        el("h3", "By stage"),
        _ledger_table("stage", stages, columns, total=True),
        el("h3", "By idea"),
        _ledger_table("idea", order[:MOST_SHOWN], columns),
    ]
    if len(order) > MOST_SHOWN:
        rest = order[MOST_SHOWN:]
        tables.append(el("details", el("summary", f"{len(rest)} more"), _ledger_table("idea", rest, columns)))
    notes = (
        "Controls and scaling curves are shared by all ideas. Smoke runs measure cost and are not counted as "
        "runs elsewhere."
    )
    tables.append(el("p", notes, cls="note"))
    overhead = summary.get("overhead_fraction")
    idle = "not training" if found.fingerprint.reported else "neither training nor scoring"
    if overhead is not None and summary.get("loop_seconds") is not None:
        text = (
            f"The loop took {duration(summary['loop_seconds'])}; "
            f"{100 * overhead:.1f} % of its workers' time was {idle}."
        )
        tables.append(el("p", text))
    hope = (found.campaign.config.get("policy") or {}).get("early_stop")
    return join(tables, _models(summary), _early_stops(summary, hope, found.fingerprint))


def _models(summary: Mapping[str, Any]) -> Html | None:
    """What language models took, by seat."""
    found = summary.get("researchers")
    if not found or not found["calls"]:
        return None
    head = ["seat", "calls", "tokens read", "of these cached", "tokens written", "dollars", "waited"]
    rows: list[list[Child]] = [
        [
            name,
            f"{seat['calls']:,}",
            f"{seat['input_tokens']:,}",
            f"{seat['cached_tokens']:,}",
            f"{seat['output_tokens']:,}",
            f"{seat['dollars']:.3f}",
            duration(seat["seconds"]),
        ]
        for name, seat in [*found["seats"].items(), ("all", found)]
    ]
    rows[-1] = [el("b", str(cell)) for cell in rows[-1]]
    each = found["usd_per_judged_idea"]
    words = "" if each is None else f"{each:.3f} dollars for each of {found['judged_ideas']} judged ideas."
    parts = [el("h3", "Language models, by seat"), table(head, rows, numeric=range(1, len(head)))]
    return join(parts, el("p", words) if words else None, _memory(found.get("memory") or {}))


def _memory(memory: Mapping[str, Any]) -> Html | None:
    """What the librarian holds after the last round, with the ideas that say so."""
    parts = []
    for key, title in LESSONS.items():
        if lessons := memory.get(key):
            rows = [el("li", f"{one['words']} ({', '.join(one['evidence'])})") for one in lessons]
            parts.append(join(el("h4", title), el("ul", rows)))
    return el("div", el("h3", "The lab's memory"), parts) if parts else None


def _early_stops(summary: Mapping[str, Any], hope: float | None, fingerprint: Fingerprint) -> Html | None:
    """What stopping screening runs early saved, and what it may have cost, by idea class."""
    found = summary.get("early_stops")
    if not found or not found["pooled"]["runs"]:
        return None
    if fingerprint.currency.told != Currency.TOKENS:
        why = f"how far a run is cannot be told where budgets are in {fingerprint.currency.words}"
        return el("p", f"No screening run was stopped early: {why}.")
    whole = found["pooled"]
    if not (whole["stopped"] or whole["spared"]):
        why = f"none of {counted(whole['runs'], 'run')} was shown to be hopeless"
        off = "that was switched off (early_stop = 0)"
        return el("p", f"No screening run was stopped early: {why if hope else off}.")
    earlier = found["pooled"]["campaigns"] - 1
    where = {"campaign": "this campaign"}
    if earlier:
        where["pooled"] = f"with {earlier} earlier"
    rows = []
    for key, words in where.items():
        classes = [one for one in found["classes"] if one[key]["runs"]]
        rows += [[words, one["class"], *_stop_cells(one[key])] for one in classes]
        if len(classes) != 1:
            rows.append([words, "all", *_stop_cells(found[key])])
    head = ("where", "class", "screened", "stopped", "runs saved", "spared", "of these gained", "regret")
    learned = " and of the earlier campaigns that it learns from" if earlier else ""
    notes = (
        f"Of the treatments that this campaign has screened{learned}. A "
        "run is stopped once its training loss says that a gain is hardly possible; one in twenty of those "
        "is finished all the same. Regret: what these gained beyond the least of interest, on average and in "
        f"{fingerprint.unit}; so much each stop can be reckoned to have thrown away."
    )
    return join(
        el("h3", "Screening runs stopped early"),
        table(head, rows, numeric=range(2, len(head))),
        el("p", notes, cls="note"),
    )


def _stop_cells(one: Mapping[str, Any]) -> list[str]:
    regret = "not known" if one["regret"] is None else f"{one['regret']:.4f}"
    counts = [f"{one[key]:,}" for key in ("spared", "spared_gains")]
    return [f"{one['runs']:,}", f"{one['stopped']:,}", f"{one['saved']:.1f}", *counts, regret]


def _sum(rows: Sequence[LedgerRow], key: str) -> list[LedgerRow]:
    """Rows added up over everything but `key`."""
    groups: dict[str | None, list[LedgerRow]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, key)].append(row)
    return [
        LedgerRow(
            idea=name if key == "idea" else None,
            stage=str(name) if key == "stage" else "",
            runs=sum(row.runs for row in group),
            tokens=sum(row.tokens for row in group),
            train_seconds=sum(row.train_seconds for row in group),
            cpu_seconds=sum(row.cpu_seconds for row in group),
            score_seconds=sum(row.score_seconds for row in group),
            dollars=sum(row.dollars for row in group),
        )
        for name, group in groups.items()
    ]


def _seconds(row: LedgerRow) -> float:
    return row.train_seconds + row.score_seconds


COLUMNS: dict[str, Callable[[LedgerRow], str]] = {
    "runs": lambda row: f"{row.runs:,}",
    "tokens": lambda row: quantity(row.tokens),
    "training": lambda row: duration(row.train_seconds),
    "scoring": lambda row: duration(row.score_seconds),
    "CPU": lambda row: duration(row.cpu_seconds),
    "dollars": lambda row: f"{row.dollars:.2f}",
}


def _columns(found: Facts, rows: Sequence[LedgerRow], price: float) -> list[str]:
    """What there is to tell: runs that report their own loss are not scored, and may count no tokens."""
    idle = set() if price else {"dollars"}
    if found.fingerprint.reported:
        idle |= {"scoring"} if any(row.tokens for row in rows) else {"scoring", "tokens"}
    return [name for name in COLUMNS if name not in idle]


def _ledger_table(key: str, rows: Sequence[LedgerRow], columns: Sequence[str], total: bool = False) -> Html:
    head = [key, *columns]
    body = [_ledger_row(getattr(row, key) or "shared (controls, curves)", row, columns) for row in rows]
    if total:
        everything = sum(_seconds(row) for row in rows) or 1.0
        head.append("share of time")
        for cells, row in zip(body, rows, strict=True):
            share = 100 * _seconds(row) / everything
            cells.append(join(f"{share:.1f} %", el("span", cls="bar", style=f"width:{share:.1f}%")))
        body.append([el("b", str(cell)) for cell in _ledger_row("all", _total(rows), columns)] + ["100 %"])
    return table(head, body, numeric=range(1, len(head)))


def _total(rows: Sequence[LedgerRow]) -> LedgerRow:
    anonymous = [LedgerRow(None, "all", *list(vars(row).values())[2:]) for row in rows]
    return _sum(anonymous, "stage")[0]


def _ledger_row(name: str, row: LedgerRow, columns: Sequence[str]) -> list[Child]:
    return [name, *(COLUMNS[column](row) for column in columns)]


# --- failures ---------------------------------------------------------------------------------------------


def failures_section(found: Facts) -> Html:
    """Ideas that did not apply or run, runs that failed, ideas that were never tried."""
    lost = [entry for entry in found.ideas if entry.state in (IdeaState.FAILED, IdeaState.STALE)]
    parts: list[Child] = []
    if lost:
        rows = [[found.marked(entry.idea.name), entry.state.value, clean(entry.note, 600)] for entry in lost]
        parts.append(table(("idea", "state", "reason"), rows))
    else:
        parts.append(el("p", "Every idea that was tried applied and ran."))
    parts.append(_failed_runs(found))
    waiting = [entry.idea.name for entry in found.ideas if entry.state is IdeaState.QUEUED]
    if waiting:
        # Nothing is judged any more once the campaign has ended.
        over = found.campaign.state is CampaignState.FINISHED
        kinds = {blank.name: blank.kind for blank in found.store.blanks(found.campaign.id)} if over else {}
        names = [f"{name} ({planted_as(kinds[name])})" if name in kinds else name for name in waiting]
        parts.append(el("h3", f"{counted(len(waiting), 'idea')} not tried"))
        parts.append(el("p", ", ".join(names), cls="muted"))
    return join(parts)


def _failed_runs(found: Facts) -> Html | None:
    ended = (RunStatus.DONE, RunStatus.STOPPED)
    failed = [run for run in found.finished if run.result and run.result.status not in ended]
    if not failed:
        return None
    counts = Counter((run.idea or "control", run.result.status.value) for run in failed if run.result)
    first = {(run.idea or "control", run.result.status.value): run for run in reversed(failed) if run.result}
    rows = []
    for key, count in counts.most_common(60):
        run = first[key]
        reason = run.result.reason if run.result else ""
        rows.append([found.marked(key[0]), key[1], str(count), el("code", run.id), clean(reason, 400)])
    head = ("idea", "status", "runs", "first run", "its reason")
    return join(el("h3", f"{counted(len(failed), 'run')} failed"), table(head, rows, numeric=(2,)))
