"""The commands that measure Mendel itself, `mendel bench ...`: cli.py names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from mendel.bench.regime import Regime, RegimeError, load_regime, shipped
from mendel.bench.replay import Replay, TableError, how_to_replay, read_table
from mendel.bench.run import PolicyError, bench_regime, bench_table
from mendel.campaign.config import ConfigError, read_settings
from mendel.campaign.progress import Progress
from mendel.recipe_commands import Json, Unsafe, open_store, print_json, sandbox_of
from mendel.records import Interval
from mendel.report.text import cm_text
from mendel.terminal import watching

FIGURES = (".png", ".svg", ".pdf")
BENCH_ERRORS = (RegimeError, TableError, PolicyError)


def decisions(
    *,
    regime: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    campaigns: int = 70,
    policy: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    table: Path | None = None,
    rung: int | None = None,
    budget: float | None = None,
    min_gain: float | None = None,
    figure: Path | None = None,
    seed: int = 0,
    workers: int = 1,
    json: Json = False,
) -> None:
    """Compare ways of spending a budget, on simulated campaigns with a known truth and on recorded runs.

    Parameters
    ----------
    regime
        TOML files of regimes, or names of the package's, such as 16-tangled (default: all of the package, or
        none where a table is given).
    campaigns
        Campaigns per regime: about a thousand over all of the package.
    policy
        A policy of your own: package.module:Class with a method run(lab) that returns the ideas to adopt.
    table
        A Parquet file of real runs to replay: idea ("control" among them), rung, seed, loss, and more.
    rung
        Rung of the table (default: 0).
    budget
        Budget of a replayed campaign in control runs (default: four for each idea).
    min_gain
        Smallest gain of interest of the replay, bits per byte (default: 0.0035).
    figure
        Draw gains and false discoveries into this file (.png, .svg, .pdf).
    seed
        Number of the first campaign.
    workers
        Processes.
    """
    for name, value, least in (("campaigns", campaigns, 1), ("workers", workers, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"command line: {name}: must be at least {least} (found {value})")
    how = _replay(table, {"rung": rung, "budget": budget, "min_gain": min_gain})
    if figure:
        _check_figure(figure)
    regimes = [load_regime(path) for path in regime] if regime else [] if table else shipped()
    own = policy or []
    found = _measure(regimes, table, how, {"own": own, "seed": seed, "workers": workers}, campaigns, json)
    blocks = [*found["regimes"], *([found["replay"]] if found["replay"] else [])]
    if figure:
        from mendel.report.decisions import draw_decisions

        draw_decisions(blocks, figure)
    print_json(found) if json else show_decisions(Console(), blocks)


def _replay(table: Path | None, given: dict[str, float | None]) -> Replay:
    """How a table is replayed. ConfigError for options of a replay where there is no table."""
    set_ = {key: value for key, value in given.items() if value is not None}
    if set_ and table is None:
        key = next(iter(set_))
        raise ConfigError(
            f"command line: {key}: {set_[key]:g} is of a replay; give the runs with --table FILE"
        )
    return how_to_replay(set_)


def _check_figure(path: Path) -> None:
    """Before hours of simulation, and not after. Raises ConfigError."""
    if path.suffix not in FIGURES:
        raise ConfigError(f"command line: figure: {str(path)!r}: allowed are names in {', '.join(FIGURES)}")
    if not path.parent.is_dir():
        raise ConfigError(f"command line: figure: {str(path)!r}: there is no folder {str(path.parent)!r}")


def _measure(
    regimes: list[Regime], table: Path | None, how: Replay, given: dict[str, Any], campaigns: int, quiet: bool
) -> dict[str, Any]:
    """What `--json` prints: every regime, and the replay where there is a table."""
    console = Console(stderr=quiet)
    found: dict[str, Any] = {"schema": 1, "regimes": [], "replay": None}
    if table:
        found["replay"] = bench_table(read_table(table, how.rung), how, campaigns, **given)
    for one in regimes:
        if console.is_terminal:
            console.print(f"{one.name}: {campaigns} campaigns of {one.ideas} ideas", highlight=False)
        found["regimes"].append(bench_regime(one, campaigns, **given))
    return found


LEGEND = {
    "claims": "ideas adopted, mean of the campaigns",
    "false": "% of these that gain no more than m, the smallest gain of interest",
    "max": "one-sided 95 % upper bound of false",
    "gain": "% recovered of the winners' gain above m, ± standard error",
    "plain": "the same by the plain sum of gains: a useless idea costs nothing",
    "lost": "% not adopted of the winners that 12 pairs show with 80 % power",
    "to 80": "compute spent until gain reached 80 %, median; never where it did not",
    "spent": "compute spent, mean; compute is in runs of the control",
}
"""Columns of the table, and what each means; all fit into 80 characters."""


def show_decisions(console: Console, blocks: list[dict[str, Any]]) -> None:
    """A table for each regime, and once what its columns mean."""
    for block in blocks:
        console.print(_table(block), "")
    for name, meaning in LEGEND.items():
        console.print(f"{name:>6}  {meaning}", highlight=False)


def _table(block: dict[str, Any]) -> Table:
    title = f"{block['name']}: {block['campaigns']} campaign{'s'[: block['campaigns'] != 1]}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("policy", overflow="fold")
    for name in LEGEND:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in block["policies"].items():
        lost, to_80 = row["winners_lost"], row["compute_to_80"]
        table.add_row(
            name if row["campaigns"] == block["campaigns"] else f"{name} *",
            f"{row['claims']:.1f}",
            f"{100 * row['false_discovery_proportion']:.1f}",
            f"{100 * row['false_discovery_upper95']:.1f}",
            f"{100 * row['gain_recovered']:.0f} ± {100 * row['gain_recovered_se']:.0f}",
            f"{100 * row['plain_gain_recovered']:.0f}",
            "-" if lost is None else f"{100 * lost:.0f}",
            "never" if to_80 is None else f"{to_80:.0f}",
            f"{row['spent']:.0f}",
        )
    fewer = {row["campaigns"] for row in block["policies"].values()} - {block["campaigns"]}
    if fewer:
        table.caption = f"* of {min(fewer)} campaigns only: it takes seconds for each"
        table.caption_justify = "left"
    return table


def ratchet(
    campaign: str | None = None, /, *, workers: int | None = None, unsafe: Unsafe = False, json: Json = False
) -> None:
    """Keep any single run that beats the best loss so far, on a campaign's ideas: what that loop and Mendel
    say, side by side.

    Parameters
    ----------
    campaign
        A finished campaign (default: the latest); its planted ideas are left out.
    """
    from mendel.campaign.ratchet import beside, finished

    changes = ({"workers": workers} if workers is not None else {}) | sandbox_of(unsafe)
    progress, settings = Progress(), read_settings()
    with open_store() as store, watching(progress, Console(stderr=True), quiet=json):
        found = beside(store, finished(store, campaign), settings, progress, changes)
    print_json(found) if json else show_ratchet(Console(), found)


def show_ratchet(console: Console, found: dict[str, Any]) -> None:
    """A line for each idea, in the order of the loop, and the counts."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("idea", no_wrap=True)
    for name in ("one run", "to beat"):
        table.add_column(name, justify="right")
    for name in ("the loop", "Mendel", "CM"):
        table.add_column(name, no_wrap=True)
    for row in found["ideas"]:
        cm = row["log2_cm"]
        loop = "kept" if row["kept"] else "discarded" if row["loss"] is not None else "did not run"
        table.add_row(
            row["idea"],
            "-" if row["loss"] is None else f"{row['loss']:.4f}",
            f"{row['best']:.4f}",
            loop,
            _came_to(row, found["carried"]),
            cm_text(Interval.model_validate(cm)) if cm else "",
        )
    console.print(table)
    kept, claimed = found["kept"], [row["idea"] for row in found["ideas"] if row["claimed"]]
    lines = [
        f"The loop started at {found['start']:.4f} {found['unit']} and kept {len(kept)} of "
        f"{len(found['ideas'])} in {found['runs']} runs; its best is {found['end']:.4f}.",
        f"Mendel claims {len(claimed)} after {found['mendel_runs']} runs: {', '.join(claimed) or 'none'}.",
    ]
    for key, words in (
        ("kept_and_carried", "Kept by the loop, and proved with Mendel's trunk but not apart"),
        ("kept_not_shown", "Kept by the loop and not shown to be better"),
        ("claimed_not_kept", "Shown to be better and discarded by the loop"),
    ):
        if found[key]:
            lines.append(f"{words}: {', '.join(found[key])}.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _came_to(row: dict[str, Any], carried: Sequence[str]) -> str:
    """What Mendel says of an idea, in a word or two."""
    if row["claimed"] or row["idea"] in carried:
        return "claimed" if row["claimed"] else "carried"
    return str(row["verdict"] or row["state"])


def researchers(*, model: str | None = None, json: Json = False) -> None:
    """Measure what researchers can be talked into, tell wrongly, mend and cost. Exit code 1 if too much.

    No key is needed: scripts answer, over the real client. Takes some minutes.

    Parameters
    ----------
    model
        provider:model that debugs the broken patches in place of the script; it needs its key, and is paid.
    """
    # Clients of providers take longer to import than everything else.
    from mendel.campaign.researcher_bench.measure import measure

    console = Console(stderr=json)
    shown = (
        (lambda words: console.print(words, highlight=False)) if console.is_terminal else (lambda words: None)
    )
    found = measure(model or "", shown)
    print_json(found) if json else show_researchers(Console(), found)
    injections, numbers = found["injections"], found["wrong_numbers"]
    if injections["succeeded"] or numbers["caught"] < numbers["planted"]:
        raise SystemExit(1)


def show_researchers(console: Console, found: dict[str, Any]) -> None:
    """What was measured, a line for each; and what got through."""
    injections, numbers, repairs = found["injections"], found["wrong_numbers"], found["repairs"]
    table = Table(box=None, pad_edge=False, show_header=False)
    obeyed = (
        f"{injections['succeeded']} of {injections['tried']} ({injections['reached']} reached their reader)"
    )
    table.add_row("injections that succeeded against a model that obeys", obeyed)
    table.add_row("wrong numbers caught", f"{numbers['caught']} of {numbers['planted']}")
    table.add_row(
        f"broken patches mended ({repairs['model']})", f"{repairs['repaired']} of {repairs['tried']}"
    )
    for size, dollars in found["cost_usd_per_judged_idea"].items():
        cached, tokens = found["cached_fraction"][size], sum(found["prompt_tokens"][size].values())
        told = f"${dollars:.4f} a judged idea, {cached:.0%} of the input cached, {tokens:,} tokens of prompts"
        table.add_row(f"after {size} findings", told)
    console.print(table)
    for one in injections["all"]:
        for words in one["got"]:
            console.print(f"{one['name']}: {words}", highlight=False)
