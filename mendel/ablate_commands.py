"""The command `ablate`: cli.py gives it its name. Which changes carry the gain, and which interact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from mendel.campaign.config import CampaignConfig, ConfigError, read_config, read_settings
from mendel.campaign.progress import Progress
from mendel.recipe_commands import Json, Unsafe, open_store, print_json, sandbox_of
from mendel.store import Campaign
from mendel.terminal import watching

PIPED = 140
"""Columns of a table that goes into a pipe."""
Set = Annotated[list[str] | None, Parameter(name="--set", negative=())]


def ablate(
    campaign: str | None = None, /, *, ideas: str | None = None, names: str = "", set: Set = None,
    design: str = "auto", cells: int | None = None, rung: int | None = None, seeds: int = 5,
    effect: float = 0.1, plan: bool = False, no_curve: bool = False, testbed: str | None = None,
    recipe: str | None = None, data: str | None = None, workers: int | None = None, out: Path | None = None,
    unsafe: Unsafe = False, json: Json = False,
) -> None:  # fmt: skip
    """Train designed sets of changes and say what each carries: effects, interactions, shares, a report.

    Parameters
    ----------
    campaign
        Ablate the changes that its trunk adopted; without --ideas and --set the last finished one.
    ideas
        A file of ideas, or "catalog", instead.
    names
        Which ideas or adopted changes, by commas; default all.
    set
        A knob with two values, as in lr=0.002,0.004; may be given again.
    design
        loo, add, full, fraction, pb (Plackett-Burman), or auto: full up to 4 factors, a fraction up to 11.
    cells
        Size of a fraction or a Plackett-Burman design.
    rung
        Default: the campaign's lowest, or 0.
    seeds
        Runs of each cell; all cells have the same seeds.
    effect
        log2 CM that you care about: the plan says how many seeds show it.
    plan
        Print the plan (runs, seconds, FLOPs, power) and train nothing.
    no_curve
        Do not measure the reference's scaling curve: effects are then in the unit of the loss only.
    out
        The report to write (default: reports/ in the store's folder).
    """
    from mendel.campaign.ablate import Question
    from mendel.campaign.ablate import ablate as measure

    given = {"testbed": testbed, "recipe": recipe, "data": data, "workers": workers}
    changes = {key: value for key, value in given.items() if value is not None} | sandbox_of(unsafe)
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    config, factors, source = _asked(campaign, ideas, chosen, set or [], changes)
    lowest = source.config["rungs"][0] if source else 0
    question = Question(
        tuple(factors), design, cells, lowest if rung is None else rung, seeds, effect, not no_curve
    )
    progress, console = Progress(), Console(stderr=not plan)
    with watching(progress, console, quiet=json):
        found = measure(config, question, read_settings(), progress, plan, source)
    if not plan:
        found["report"] = str(_report(found, out))
    if json:
        print_json(found)
    elif not plan:
        console = Console()
        show_ablation(console if console.is_terminal else Console(width=PIPED), found)


def _asked(
    campaign: str | None, ideas: str | None, names: list[str], knobs: list[str], changes: dict[str, Any]
) -> tuple[CampaignConfig, list[Any], Campaign | None]:
    """Settings, factors, and the campaign that they come from."""
    from mendel.campaign.factors import finished_campaign, of_campaign, of_ideas, of_knob

    own = [of_knob(text) for text in knobs]
    if campaign is not None and ideas is not None:
        raise ConfigError("command line: give a campaign or --ideas, not both")
    if campaign is None and (ideas is not None or own):
        if ideas is None and names:
            raise ConfigError("command line: names: say where they are from, with --ideas FILE or a campaign")
        return read_config(None, changes), [*(of_ideas(ideas, names) if ideas else []), *own], None
    refused = [key for key in ("testbed", "recipe", "data") if key in changes]
    if refused:
        raise ConfigError(f"command line: {refused[0]}: a campaign has its own; leave it out")
    with open_store() as store:
        found = finished_campaign(store, campaign)
        # That a campaign ran without a sandbox is no word for today.
        sandbox = {"sandbox": "auto"} if found.config["sandbox"] == "none" else {}
        config = CampaignConfig.model_validate({**found.config, **sandbox, **changes})
        return config, [*of_campaign(store, found, names), *own], found


def _report(found: dict[str, Any], out: Path | None) -> Path:
    from mendel.campaign.ablation_report import write

    return write(found, read_settings(), out)


def show_ablation(console: Console, found: dict[str, Any]) -> None:
    """Effects with their intervals, shares, and the result in sentences."""
    scale = found["scale"]
    unit = "log2 CM" if scale == "log2_cm" else found["unit"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("effect", unit, "95 % interval", "simultaneous", "p (Holm)", found["unit"]):
        table.add_column(name, justify="left" if not table.columns else "right")
    for row in (*found["main"], *found["interactions"]):
        effect, mark = row[scale], " *" if row["uses_failures"] else ""
        name = (" x " if row["kind"] == "interaction" else "").join(row["factors"]) + mark
        table.add_row(
            name,
            f"{effect['value']:+.3f}",
            f"{effect['low']:+.3f} to {effect['high']:+.3f}",
            f"{effect['all_low']:+.3f} to {effect['all_high']:+.3f}",
            f"{effect['p_holm']:.2g}",
            f"{row['bits_per_byte']['value']:+.4f}",
        )
    console.print(table)
    if any(row["uses_failures"] for row in (*found["main"], *found["interactions"])):
        console.print("* uses runs that failed and stand at the bound", highlight=False)
    for part in found["shapley"]["parts"]:
        if part["share_low"] is not None:
            ends = f"[{part['share_low']:.0%}, {part['share_high']:.0%}]"
            text = f"{part['factor']}: {part['share']:.0%} {ends} of the whole gain (Shapley)"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    for line in found["summary"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"Report: {found['report']}", soft_wrap=True, highlight=False, markup=False)
