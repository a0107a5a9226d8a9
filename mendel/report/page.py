"""The page: headline, trunk, ideas, findings, text, blanks, ledger, failures, how to read it, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from mendel import __version__
from mendel.records import NO_FILES, Fingerprint, Interval, PlanKind
from mendel.report.account import blanks_section, failures_section, ledger_section
from mendel.report.audits import audits_section, losses_row, sandbox_row, unsafe_banner
from mendel.report.claims import claims_section, paired
from mendel.report.curves import evidence
from mendel.report.facts import Facts, Judged, ScalingPanel, gather, kind_text
from mendel.report.figures import MEANINGS, forest_figure, scaling_figure, trunk_figure
from mendel.report.forecasts import forecasts_section
from mendel.report.html import Child, Html, commands, el, facts, join, table
from mendel.report.recheck import recheck_section
from mendel.report.repeat import settings_toml
from mendel.report.svg import inline, two_widths
from mendel.report.text import clean, cm_row, cm_text, counted, duration, quantity
from mendel.report.training_text import data_section
from mendel.store import Campaign, CampaignState, Store

SECTIONS = {
    "trunk": "The trunk",
    "recheck": "Trunk rechecked",
    "ideas": "Ideas judged",
    "findings": "Findings",
    "data": "Training text",
    "forecasts": "Forecasts",
    "blanks": "Blanks",
    "audits": "Audits",
    "ledger": "Ledger",
    "failures": "Failures and ideas not tried",
    "reading": "How to read this",
    "provenance": "Provenance",
}


def make_page(
    store: Store, campaign: Campaign, summary: Mapping[str, Any], trunk_points: Sequence[Mapping[str, Any]]
) -> str:
    """The whole report as HTML: no scripts, no external references, all text escaped."""
    found = gather(store, campaign)
    judged = found.judged()
    bodies = {
        "trunk": _trunk(found, trunk_points),
        "recheck": recheck_section(found, summary),
        "ideas": _ideas(judged),
        "findings": claims_section(found),
        "data": None if found.fingerprint.reported else data_section(found),
        "forecasts": forecasts_section(summary),
        "blanks": blanks_section(found, summary, judged),
        "audits": audits_section(found, summary),
        "ledger": ledger_section(found, summary),
        "failures": failures_section(found),
        "reading": _reading(found),
        "provenance": _provenance(found),
    }
    told = {key: body for key, body in bodies.items() if body is not None}
    sections = [el("section", el("h2", SECTIONS[key]), body, id=key) for key, body in told.items()]
    links = [el("li", el("a", SECTIONS[key], href=f"#{key}")) for key in told]
    style = resources.files("mendel.report").joinpath("style.css").read_text(encoding="utf-8")
    title = f"Mendel: {campaign.recipe}, campaign {campaign.id}"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Html(style)),
    )
    body = el(
        "body",
        el("header", _headline(found, summary), el("nav", el("ol", links), aria_label="Contents")),
        el("main", sections),
        el("footer", f"Written by mendel {__version__}, {datetime.now(UTC):%d %B %Y, %H:%M} UTC."),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en")


# --- headline ---------------------------------------------------------------------------------------------


def _headline(found: Facts, summary: Mapping[str, Any]) -> Html:
    campaign = found.campaign
    eyebrow = f"Mendel campaign {campaign.id} · {campaign.created:%d %B %Y} · {_standing(campaign)}"
    return join(
        el("p", eyebrow, cls="eyebrow"),
        el("h1", _title(campaign, summary)),
        unsafe_banner(summary.get("sandbox") or {"name": campaign.config.get("sandbox")}, found.fingerprint),
        _in_words(found, summary),
        _tiles(found, summary),
        facts(_particulars(found, summary)),
    )


def _standing(campaign: Campaign) -> str:
    """A running or stopped campaign must not be read as a finished one."""
    return {
        CampaignState.FINISHED: "finished",
        CampaignState.RUNNING: "still running: everything here may change",
        CampaignState.STOPPED: "stopped before its end",
    }[campaign.state]


def _title(campaign: Campaign, summary: Mapping[str, Any]) -> str:
    low, cm = summary.get("trunk_cm_low"), summary.get("trunk_cm")
    if cm is None or low is None or low <= 1:
        return f"Searching for a better {campaign.recipe}"
    if cm < 1.95 or summary.get("trunk_extrapolated"):
        return f"A better {campaign.recipe}"
    return f"{campaign.recipe}, {cm:.1f} times cheaper to train at rung {campaign.config['rungs'][0]}"


def _in_words(found: Facts, summary: Mapping[str, Any]) -> Html:
    recipe, cm = found.campaign.recipe, summary.get("trunk_cm")
    names = [row["id"] for row in summary.get("adopted", ())]
    if cm is None:
        judged = len({plan.idea for plan in found.plans.values() if plan.idea and found.verdicts_of(plan.id)})
        so_far = " so far" if found.campaign.state is CampaignState.RUNNING else ""
        of = counted(judged, "idea")
        text = f"No change was adopted{so_far}: of {of} judged, none was shown to beat {recipe}."
        return el(
            "p", text if judged else f"No idea has been judged{so_far or ' in this campaign'}.", cls="lead"
        )
    low, interval = summary["trunk_cm_low"], f" (95 % interval {_ends(summary)})"
    changes = counted(len(names), "change")
    carried = len(summary.get("carried", ()))
    held = f"{changes} adopted and {carried} carried" if carried else f"{changes} adopted"
    if low <= 1:
        text = f"The trunk with {held} has CM {cm:.2f}{interval}: no gain over {recipe} is shown."
        return el("p", text, cls="lead")
    return el(
        "p",
        f"With {held}, the trunk reaches a loss for which {recipe} would need ",
        el("b", f"{cm:.2f} times the compute"),
        f"{interval}, measured at rung {found.campaign.config['rungs'][0]} on fresh seeds.",
        _beyond(recipe, summary),
        cls="lead",
    )


def _ends(summary: Mapping[str, Any]) -> str:
    """The interval of the trunk's multiplier; an end that was cut where the curve stops says so."""
    cut = "> " if summary.get("trunk_high_bounded") else ""
    return f"{summary['trunk_cm_low']:.2f} to {cut}{summary['trunk_cm_high']:.2f}"


def _beyond(recipe: str, summary: Mapping[str, Any]) -> str:
    if not summary.get("trunk_extrapolated"):
        return ""
    return f" That is extrapolated: no run of {recipe} was as long, and its curve may bend."


def _tiles(found: Facts, summary: Mapping[str, Any]) -> Html:
    cm = summary.get("trunk_cm")
    blanks = summary["blanks"]["campaign"]
    span = "none entered confirmation"
    if blanks["rate"] is not None:
        low, high = 100 * blanks["low"], 100 * blanks["high"]
        span = f"Clopper-Pearson 95 %: {low:.0f} to {high:.0f}\u00a0%"
    interval = "no check of the trunk yet"
    if cm is not None:
        interval = f"95 %: {_ends(summary)}{', extrapolated' if summary.get('trunk_extrapolated') else ''}"
    tiles = (
        ("Trunk CM", "–" if cm is None else f"{cm:.2f}", interval),
        ("Adopted changes", str(len(summary.get("adopted", ()))), f"of {len(found.findings)} claimed"),
        ("Blanks claimed", f"{blanks['claimed']} of {blanks['confirmed']}", span),
        (
            "Runs",
            f"{summary['runs']:,}",
            f"{duration(found.worker_seconds)} of one worker, {quantity(found.compute)} "
            f"{found.fingerprint.currency.words}",
        ),
    )
    return el("div", [_tile(*tile) for tile in tiles], cls="tiles")


def _tile(name: str, value: str, more: str) -> Html:
    parts = (("name", name), ("value", value), ("more", more))
    return el("div", [el("div", text, cls=kind) for kind, text in parts], cls="tile")


def _particulars(found: Facts, summary: Mapping[str, Any]) -> list[tuple[str, Child]]:
    campaign = found.campaign
    claimed = {finding.idea.name for finding in found.findings}
    rows: list[tuple[str, Child]] = []
    adopted: list[Child] = []
    for row in summary.get("adopted", ()):
        numbers = f" {cm_row(row)}"
        target = f"#finding-{row['id']}" if row["id"] in claimed else None
        adopted.append(el("div", el("a", row["id"], href=target), el("span", numbers, cls="muted")))
    if adopted:
        note = "Each CM is over the trunk that the change joined"
        if any(one["equal"] for one in found.tuned.values()):
            note += "; of code with tuned knobs, over that trunk as well tuned"
        adopted.append(el("div", f"{note}.", cls="note"))
        rows.append(("Adopted", adopted))
    if summary.get("carried"):
        note = el("div", "In the trunk, proved with it and not apart: no claim is made of one.", cls="note")
        rows.append(("Carried", [el("div", ", ".join(summary["carried"])), note]))
    by_rung = summary.get("trunk_by_rung", {})
    if len(by_rung) > 1:
        texts = (f"rung {r}: {cm_row(c)}" for r, c in by_rung.items())
        rows.append(("Trunk by rung", "; ".join(texts)))
    if summary.get("ended"):
        rows.append(("Why it ended", summary["ended"]))
    rows.append(("Goal", str(campaign.config.get("goal", ""))))
    rows.append(("Sandbox of patch code", sandbox_row(summary.get("sandbox"))))
    rows.append(("Losses", losses_row(found.fingerprint)))
    if not found.fingerprint.reported:
        rows.append(("Corpus", el("code", campaign.fingerprint.corpus)))
    elif campaign.fingerprint.corpus != NO_FILES:
        rows.append(("Files that runs read", el("code", campaign.fingerprint.corpus)))
    rows.append(("Fingerprint", join(el("code", campaign.fingerprint.id), f" ({_machine(found)})")))
    return rows


def _machine(found: Facts) -> str:
    p = found.campaign.fingerprint
    libraries = ", ".join(f"{name} {version}" for name, version in p.libraries.items())
    return f"{p.device}, {p.instruction_set}, {p.threads} thread(s), {p.precision}; {libraries}"


# --- trunk and ideas --------------------------------------------------------------------------------------


def _trunk(found: Facts, points: Sequence[Mapping[str, Any]]) -> Html:
    recipe = found.campaign.recipe
    parts: list[Child] = [_meaning(found.panels(points)[-4:], recipe)]
    if not points:
        parts.append(el("p", f"The trunk is still {recipe}: nothing has joined it."))
        return join(parts)
    by_runs = bool((found.campaign.config.get("budget") or {}).get("runs"))
    total = len(found.finished) if by_runs else found.worker_seconds
    growth = two_widths("growth", "Trunk CM against cost", trunk_figure, points, recipe, by_runs, total)
    reach = (
        "Each point is on fresh seeds, but only the last had no part in a choice. "
        "No multiplier is read beyond four times the largest measured budget: "
        "an interval cut there has an upper end marked >."
    )
    parts.append(el("figure", growth, el("figcaption", reach)))
    checks = [p for p in found.plans.values() if p.kind is PlanKind.VERIFY and p.control == found.original]
    for place, plan in enumerate(plan for plan in checks if found.verdicts_of(plan.id)):
        shown = evidence(found, plan, None, (recipe, "trunk"))
        parts.append(paired(shown, f"Last check of the trunk, rung {plan.rung}", f"check{place}"))
    claimed = {finding.idea.name for finding in found.findings}
    rows = [
        [
            str(point["round"]),
            str(point["rung"]),
            cm_text(Interval.model_validate(point["log2_cm"])),
            f"{point['runs']:,}",
            duration(point["worker_seconds"]),
            ", ".join(name if name in claimed else f"{name} (carried)" for name in point["adopted"])
            or "nothing",
        ]
        for point in points
    ]
    head = ("round", "rung", "CM over the original", "runs so far", "worker time so far", "trunk")
    parts.append(table(head, rows, numeric=(0, 1, 2, 3, 4)))
    return join(parts)


def _meaning(panels: Sequence[ScalingPanel], recipe: str) -> Html:
    """The scaling curve of the original at each rung, with the trunk on it."""
    if not panels:
        return el("p", f"The scaling curve of {recipe} has not been measured yet.")
    about = f"Scaling curve of {recipe} and the trunk"
    if len(panels) == 1:
        drawn = two_widths("scaling", about, scaling_figure, panels[0], recipe)
    else:
        each = [inline(scaling_figure(p, recipe, narrow=True), f"scaling{p.rung}", about) for p in panels]
        drawn = el("div", [el("div", svg) for svg in each], cls="halves")
    told = f"Grey: {recipe} trained with more and less compute, single runs and the curve through them."
    if any(panel.log2_cm for panel in panels):
        told += (
            " The trunk got the compute of the open circle and reached the loss of the green point; the "
            f"arrow is the way {recipe} would still have to go, and the shaded band its 95 % interval. "
            "Dashed is beyond what was measured."
        )
    return el("figure", drawn, el("figcaption", told))


def _ideas(judged: Sequence[Judged]) -> Html:
    if not judged:
        return el("p", "No idea has been measured yet.")
    drawn = two_widths("forest", "Compute multipliers of all judged ideas", forest_figure, judged)
    told = (
        "Filled points are measured on fresh pairs after the claim. Open points are not: confirmation "
        "stops when the numbers say so, and screening picks the lucky ones. Intervals of screening are no "
        "claims. A claim that was confirmed together with others, or is one of many, is open, and shrunk "
        "towards what was expected of it."
    )
    rows = [
        [
            row.name,
            MEANINGS[row.group],
            row.stage.value,
            str(row.pairs),
            cm_text(row.log2_cm),
            kind_text(row.blank or ""),
        ]
        for row in judged
    ]
    head = ("idea", "standing", "measured in", "pairs", "CM, 95 % interval", "planted as")
    return join(
        el("figure", drawn, el("figcaption", told)),
        el("details", el("summary", f"All {len(judged)} as a table"), table(head, rows, numeric=(3, 4))),
    )


# --- the end of the page ----------------------------------------------------------------------------------


def _tested(fingerprint: Fingerprint) -> str:
    """What the test of a claim is on."""
    if fingerprint.reported:
        return (
            "The test is on the difference of the losses that they report themselves, in "
            f"{fingerprint.unit}: screening and confirmation read the same validation data, with other "
            f"seeds. {fingerprint.trust.caveat}"
        )
    return (
        f"The test is on the difference of their scored losses on held-out text, in {fingerprint.unit}, "
        "which nothing else opens."
    )


def _reading(found: Facts) -> Html:
    currency = found.fingerprint.currency
    lines = (
        "A compute multiplier (CM) of 1.25 says: the original would need 1.25 times the compute to reach the "
        f"same loss. Treatments are trained at equal cost: one that costs more per {currency.each} gets "
        f"fewer {currency.told}.",
        f"Control and treatment of a pair share seed and data order. {_tested(found.fingerprint)} The CM is "
        "read from later pairs off the control's own scaling curve.",
        "An e-value is a bet against “no gain”: if there were none, it would exceed 100 at most once in a "
        "hundred campaigns, however often one looks. Claims are chosen by e-BH, which bounds the expected "
        "share of false ones.",
        "The pairs that made a claim flatter it, because it was made when they looked good. Effects are "
        "therefore measured once more, on pairs with fresh seeds.",
        "Ideas that were confirmed together have no pairs of their own: for each seed a coin put each of "
        "them into one of two runs, and a regression tells their effects apart. These are shrunk towards "
        "what was expected instead of being measured once more.",
        "Screening intervals are for choosing what to test: the best of many noisy numbers is mostly lucky. "
        "Blanks are planted changes of no effect; the share of them that is claimed measures this lab's own "
        "error. Others are planted with a known gain: how many of these are found says how many gains are "
        "lost. What is planted helps no claim.",
    )
    return el("ol", [el("li", line) for line in lines], cls="reading")


def _provenance(found: Facts) -> Html:
    campaign, settings = found.campaign, settings_toml(found.campaign.config)
    openings = len(found.store.held_out_openings(campaign.id))
    ends = [run.finished for run in found.finished if run.finished]
    rows: list[tuple[str, Child]] = [
        ("Campaign", f"{campaign.id}, settings {campaign.name}, seed {campaign.seed}"),
        (
            "Testbed and recipe",
            f"{campaign.testbed}, {campaign.recipe} ({found.original or 'not trained yet'})",
        ),
        ("Began", f"{campaign.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("Last run ended", f"{max(ends):%Y-%m-%d %H:%M:%S} UTC" if ends else "none yet"),
    ]
    if not found.fingerprint.reported:
        rows.append(("Held-out shard opened", f"{openings:,} times, each for one run of confirmation"))
    rows.append(("Version", f"mendel {__version__}"))
    exact = (campaign.config.get("budget") or {}).get("runs")
    note = (
        "A budget in runs: the same settings on a machine of this fingerprint give the same numbers, "
        "from a store that holds the same finished campaigns."
        if exact
        else "A budget in time: how far a campaign comes depends on the machine; single runs repeat exactly."
    )
    return join(
        facts(rows),
        el("p", "To repeat the campaign, save these settings as campaign.toml and run:"),
        commands("mendel run --config campaign.toml --fresh"),
        el("p", note, cls="note"),
        el("details", el("summary", "Settings"), el("pre", clean(settings))),
    )
