"""What a person sees: a live view on a terminal, plain lines in a pipe, tables for the other commands."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from mendel.campaign.progress import Progress
from mendel.records import Currency, Trust

BAR = 40
"""Characters of the budget bar."""


class View:
    """The live view below the log: what runs now, progress and time left, budget used, trunk."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.start = time.monotonic()

    def __rich__(self) -> RenderableType:
        p = self.progress
        elapsed = time.monotonic() - self.start
        head = Table.grid(padding=(0, 2))
        head.add_row("stage", f"{p.stage}  {p.batch_done}/{p.batch} runs of this batch")
        bar = "━" * round(BAR * p.used) + "─" * (BAR - round(BAR * p.used))
        left = f", about {_clock(elapsed / p.used - elapsed)} left" if p.used > 0.1 else ""
        head.add_row("budget", f"{bar} {p.used:.0%} used, {_clock(elapsed)} so far{left}")
        trunk = " + ".join(p.trunk) or "the original recipe"
        if p.trunk_cm is not None:
            cm = p.trunk_cm
            trunk += f"   CM {2**cm.value:.2f} [{2**cm.low:.2f}, {2**cm.high:.2f}]"
        head.add_row("trunk", escape(trunk))
        now = time.monotonic()
        for running in list(p.running.values()):
            seconds = now - running.started
            what = escape(running.idea or "control")
            head.add_row("running", f"{running.stage} rung {running.rung}  {what}  {seconds:.0f} s")
        return Group(Text(), head)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def watching(progress: Progress, console: Console, quiet: bool) -> Iterator[None]:
    """Show a campaign while it runs: live on a terminal, line by line elsewhere, not at all when quiet."""
    if quiet:
        yield
    elif console.is_terminal:
        with Live(View(progress), console=console, refresh_per_second=4, transient=True):
            progress.listener = lambda line: console.print(line, markup=False, highlight=False)
            yield
    else:
        progress.listener = lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        yield


def where_measured(adopted: Sequence[Mapping[str, Any]]) -> str:
    """Where the multipliers of adopted changes come from, in a sentence."""
    together = [row["id"] for row in adopted if row["together"]]
    halves = (
        "with and without it beside random halves of the others, shrunk: alone it may be worth more or less"
    )
    how = "on fresh seeds" if len(together) < len(adopted) else halves
    apart = f"; {' and '.join(together)} {halves}" if 0 < len(together) < len(adopted) else ""
    return f"Each over the trunk it joined, {how}{apart}."


def _show_adopted(console: Console, adopted: list[dict[str, Any]]) -> None:
    if adopted and not console.is_terminal:
        for row in adopted:
            line = f"Adopted {row['id']}: CM {row['cm']:.2f} ({_interval(row)}){_said_by(row, ', losses ')}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    elif adopted:
        table = Table(title="Adopted changes", title_justify="left")
        table.add_column("change")
        table.add_column("compute multiplier", justify="right")
        table.add_column("95 % interval", justify="right")
        for row in adopted:
            table.add_row(row["id"] + _said_by(row, "\n"), f"{row['cm']:.2f}", _interval(row))
        console.print(table)
    else:
        console.print("No change was adopted.")
    if adopted:
        console.print(where_measured(adopted), markup=False, highlight=False)


def _said_by(row: Mapping[str, Any], before: str) -> str:
    """That a claim rests on what runs say of themselves; nothing where Mendel scored them."""
    trust = Trust(row["trust"])
    return f"{before}{trust.words}" if trust.caveat else ""


def show_summary(console: Console, summary: dict[str, Any]) -> None:
    """The result of a campaign in a few lines."""
    _show_adopted(console, summary["adopted"])
    trust = Trust(summary["trust"])
    told = f"Losses: {trust.words}, in {summary['unit']}. {trust.caveat}"
    console.print(told.strip(), markup=False, highlight=False, soft_wrap=True)
    if names := ", ".join(summary["carried"]):
        said = f"Carried, proved with the trunk and not apart: {names}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    for rung, cm in summary["trunk_by_rung"].items():
        bound = ">= " if cm["bounded"] else ""
        console.print(
            f"Trunk over {summary['recipe']} at rung {rung}: CM {bound}{cm['cm']:.2f} ({_interval(cm)})",
            highlight=False,
        )
    for row in summary["rejected"]:
        console.print(f"Rejected {row['id']}: {row['reason']}", markup=False, highlight=False, soft_wrap=True)
    if summary["sandbox"] and summary["sandbox"]["name"] == "none":
        scores = " and its own scores" if summary["trust"] == Trust.SCORED else ""
        console.print(f"[bold red]No sandbox: patch code could reach this machine{scores}.[/]")
    console.print(
        f"Blanks: {summary['blanks_claimed']} claimed of {summary['blanks_judged']} judged, "
        f"{summary['blanks_confirmed']} of them in confirmation ({summary['blanks_planted']} planted). "
        f"Runs: {summary['runs']}.",
        highlight=False,
        soft_wrap=True,
    )
    for told in ("false_claims", "controls"):
        console.print(summary["blanks"][told]["words"], highlight=False, soft_wrap=True)
    _show_researchers(console, summary["researchers"])
    stops = summary["early_stops"]
    if stops["pooled"]["stopped"] or stops["pooled"]["spared"]:
        earlier = stops["pooled"]["campaigns"] - 1
        pooled = f" With {earlier} earlier: {_stops(stops['pooled'])}." if earlier else ""
        console.print(
            f"Stopped early in this campaign: {_stops(stops['campaign'])}.{pooled}",
            highlight=False,
            soft_wrap=True,
        )
    if summary["ended"]:
        text = summary["ended"]
        console.print(f"{text[0].upper()}{text[1:]}.", markup=False, highlight=False, soft_wrap=True)
    if summary["loop_seconds"] is not None:
        console.print(
            f"Loop: {summary['loop_seconds']:.0f} s; {summary['overhead_fraction']:.1%} of the workers' time "
            f"was {'not training' if trust is Trust.REPORTED else 'neither training nor scoring'}.",
            highlight=False,
            soft_wrap=True,
        )


def _show_researchers(console: Console, models: Mapping[str, Any]) -> None:
    """What language models were asked, where any was."""
    if not models["calls"]:
        return
    cached = models["cached_tokens"] / max(models["input_tokens"], 1)
    each = models["usd_per_judged_idea"]
    price = f", {each:.2f} for each of {models['judged_ideas']} judged ideas" if each is not None else ""
    console.print(
        f"Researchers: {models['calls']} calls, {models['input_tokens']:,} tokens read "
        f"({cached:.0%} cached), {models['output_tokens']:,} written, "
        f"{models['dollars']:.2f} dollars{price}.",
        highlight=False,
        soft_wrap=True,
    )


def _stops(counts: Mapping[str, Any]) -> str:
    """Screening runs that were stopped early, and those that were spared, in words."""
    return (
        f"{counts['stopped']} of {counts['runs']} screening runs, which saved {counts['saved']:.1f}; "
        f"{counts['spared']} more were finished all the same, of these {counts['spared_gains']} gained"
    )


def show_forecasts(console: Console, found: dict[str, Any]) -> None:
    """How forecasts fared, by proposer and by class."""
    if not found["all"]["tried"]:
        return
    others = found["campaigns"] - 1
    more = f", {others} earlier campaign{'s' if others != 1 else ''} included" if others else ""
    console.print(f"Forecasts, triage's selection weighted out{more}:", highlight=False)
    for row in (*found["proposers"], *found["forecasters"]):
        console.print(f"  {row['words']}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "outcomes", "bias", "in 50 %", "in 90 %", "log score", "skill", "ran", "said"):
        table.add_column(name, justify="right" if name else "left")
    for row in (*found["proposers"], *found["classes"]):
        numbers = [_mean(row[key], 2, "+") for key in ("bias", "log_score", "skill")]
        shares = [_mean(row[key], 0, "%") for key in ("within_50", "within_90", "runs", "said_runs")]
        cells = (str(row["outcomes"]), numbers[0], *shares[:2], *numbers[1:], *shares[2:])
        table.add_row(escape(row["name"]), *cells)
    console.print(table)
    console.print(
        "bias: outcome less forecast, log2 CM; log score: ln density of what was measured; skill: the same "
        "less that of one who only knows the other outcomes; ran, said: share that ran, and forecast.",
        highlight=False,
    )


def show_climbs(console: Console, found: dict[str, Any]) -> None:
    """Changes that were measured at higher rungs, and how that was forecast."""
    for one in found["ideas"]:
        console.print(f"  {one['transfer_words']}", highlight=False, markup=False)
    if found["forecasts"]["outcomes"]:
        console.print(found["words"], highlight=False, markup=False)


def _mean(mean: dict[str, Any] | None, digits: int, kind: str) -> str:
    if mean is None:
        return "-"
    return f"{mean['value']:.{digits}%}" if kind == "%" else f"{mean['value']:+.{digits}f}"


def show_skills(console: Console, found: dict[str, Any]) -> None:
    """What `mendel probe` measured."""
    head = f"{found['recipe']}, rung {found['rung']}: {found['tokens']:,} tokens, {found['seeds']} seeds"
    failed = f"; {found['failed']} more failed" if found["failed"] else ""
    console.print(f"{head}{failed}, {found['bits_per_byte']:.3f} bits per byte", highlight=False)
    table = Table()
    for name in ("skill / span in bytes", "accuracy", "sd over seeds", "advantage, bits", "sd over seeds"):
        table.add_column(name, justify="left" if not table.columns else "right")
    beyond = [skill for skill, row in found["skills"].items() if row is None]
    for skill, row in found["skills"].items():
        if row is not None:
            accuracy = (f"{row['accuracy']:.1%}", f"{row['accuracy_sd']:.1%}")
            table.add_row(skill, *accuracy, f"{row['advantage']:+.4f}", f"{row['advantage_sd']:.4f}")
    if len(beyond) < len(found["skills"]):
        console.print(table)
        console.print(f"By chance: accuracy {found['chance']:.0%}, advantage 0.", highlight=False)
    if beyond:
        spans = " and ".join(dict.fromkeys(skill.rpartition("/")[2] for skill in beyond))
        console.print(f"Beyond the model's context: spans of {spans} bytes.", highlight=False)
    if not found["skills"]:
        console.print("No probe was answered: they need a model of bytes.", highlight=False)


def _interval(cm: dict[str, Any]) -> str:
    """Both ends of a multiplier's interval, and whether the curve goes so far."""
    beyond = ", extrapolated beyond the longest run of its control" if cm["extrapolated"] else ""
    return f"{cm['cm_low']:.2f} to {'> ' if cm['high_bounded'] else ''}{cm['cm_high']:.2f}{beyond}"


def show_ladder(console: Console, found: dict[str, Any]) -> None:
    """What each rung showed, the curve through them, and how the prediction fared."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    told_otherwise = (Currency.STEPS.words, Currency.SECONDS.words)
    counted = [] if found["currency"] in told_otherwise else ["tokens"]
    for name in ("rung", found["currency"], *counted, "runs", found["unit"], "sd", "seconds each"):
        table.add_column(name, justify="right")
    for row in (*found["rungs"], *([found["top"]] if found["top"] else [])):
        runs = f"{row['runs']} ({row['failed']} failed)" if row["failed"] else str(row["runs"])
        sd = "-" if row["sd"] is None else f"{row['sd']:.4f}"
        tokens = [f"{row['tokens']:,}"] if counted else []
        cells = (f"{row['flops']:.3g}", *tokens, runs, f"{row['mean']:.4f}", sd)
        table.add_row(str(row["rung"]), *cells, f"{row['seconds']:.1f}")
    console.print(table)
    fit = found["fit"]
    named = [f"{key} {_within(fit[key], 3)}" for key in ("E", "A", "alpha")]
    predicted = {end: found[f"predicted{key}"] for end, key in _ENDS.items()}
    lines = [
        f"L(C) = E + A (C / {fit['reference']:.3g})^-alpha:  {',  '.join(named)}",
        f"Rung {found['predict']}: predicted {_within(predicted, 4)} {found['unit']}",
    ]
    if found["top"]:
        error = found["relative_error"]
        runs = f"mean of {found['top']['runs']} runs" if found["top"]["runs"] > 1 else "one run"
        lines[-1] += f", measured {found['measured']:.4f} ({runs}): "
        lines[-1] += f"the prediction is {abs(error):.2%} too {'high' if error > 0 else 'low'}"
    for line in (*lines, "In brackets: 95 % intervals."):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _within(interval: dict[str, float], digits: int) -> str:
    value, low, high = (f"{interval[end]:.{digits}f}" for end in _ENDS)
    return f"{value} [{low}, {high}]"


def print_stream(pieces: Iterator[str]) -> None:
    """Text as it comes, until whoever reads it has enough (`| head`)."""
    try:
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds for the pipe goes nowhere, or it would complain at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


REDTEAM = {
    "stopped_without_gain_only": "only because they show no gain at their price",
    "did_not_run": "only because they do not run, which says nothing of the audits",
    "refused": "too dear for short runs, and not judged",
}
"""What is told apart on each side."""


def show_redteam(console: Console, found: dict[str, Any]) -> None:
    """What `mendel redteam` saw: every cheat with what stopped it, and honest patches that were stopped."""
    table = Table()
    for name in ("cheat", "stopped by", "what was seen"):
        table.add_column(name)
    for row in found["cheats"]["patches"]:
        by = row["stopped_by"] or Text("NOT STOPPED", style="bold red")
        table.add_row(row["name"], by, escape((row["reason"] or row["seen"])[:160]))
    if table.rows:
        console.print(table)
    for row in found["honest"]["patches"]:
        if row["stopped_by"]:
            console.print(
                f"Honest but stopped: {row['name']} ({row['stopped_by']}): {row['reason']}", markup=False
            )
    for side, name in (("cheats", "Cheats"), ("honest", "Honest patches")):
        counts = found[side]
        meant = counts["stopped_as_intended"]
        parts = [f"{meant} by what was meant to"] if meant else []
        parts += [f"{number} {what}" for key, what in REDTEAM.items() if (number := counts[key])]
        by = f" ({', '.join(parts)})" if parts else ""
        console.print(f"{name}: {counts['stopped']} stopped of {counts['tried']}{by}.", highlight=False)
    if found["audit_seconds_per_candidate"] is not None:
        seconds = found["audit_seconds_per_candidate"]
        console.print(
            f"Auditing took {seconds:.1f} s per candidate; sandbox: {found['sandbox']}.", highlight=False
        )
