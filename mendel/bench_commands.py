"""The commands that measure Mendel itself: `mendel bench decisions`. cli.py names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from mendel.bench.regime import Regime, RegimeError, load_regime, shipped
from mendel.bench.replay import MIN_GAIN, Replay, TableError, read_table
from mendel.bench.run import PolicyError, bench_regime, bench_table
from mendel.campaign.config import ConfigError
from mendel.recipe_commands import Json, print_json

BENCH_ERRORS = (RegimeError, TableError, PolicyError)


def decisions(
    *,
    regime: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    campaigns: int = 70,
    policy: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    table: Path | None = None,
    rung: int = 0,
    budget: float | None = None,
    min_gain: float = MIN_GAIN,
    figure: Path | None = None,
    seed: int = 0,
    workers: int = 1,
    json: Json = False,
) -> None:
    """Compare ways of spending a budget, on simulated campaigns with a known truth and on recorded runs.

    Parameters
    ----------
    regime
        TOML files of regimes (default: those of the package, or none where a table is given).
    campaigns
        Campaigns per regime: about a thousand over the regimes of the package.
    policy
        A policy of your own: package.module:Class with a method run(lab) that returns the ideas to adopt.
    table
        A Parquet file of real runs to replay: idea ("control" among them), rung, seed, loss, and more.
    rung
        Rung of the table.
    budget
        Budget of a replayed campaign in control runs (default: four for each idea).
    min_gain
        Smallest gain of interest of the replay, bits per byte.
    figure
        Draw gains and false discoveries into this file (.png, .svg, .pdf).
    seed
        Number of the first campaign.
    workers
        Processes.
    """
    if campaigns < 1 or workers < 1:
        raise ConfigError(f"command line: campaigns {campaigns} and workers {workers} must be at least 1")
    regimes = [load_regime(path) for path in regime] if regime else [] if table else shipped()
    own = policy or []
    how = Replay(rung=rung, budget=budget, min_gain=min_gain)
    found = _measure(regimes, table, how, {"own": own, "seed": seed, "workers": workers}, campaigns, json)
    blocks = [*found["regimes"], *([found["replay"]] if found["replay"] else [])]
    if figure:
        from mendel.report.decisions import draw_decisions

        draw_decisions(blocks, figure)
    if json:
        print_json(found)
        return
    for block in blocks:
        Console().print(_table(block))


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


def _table(block: dict[str, Any]) -> Table:
    table = Table(title=f"{block['name']}: {block['campaigns']} campaigns", title_justify="left")
    table.add_column("policy")
    for name in (
        "claims",
        "false",
        "<=",
        "by gain",
        "gain recovered",
        "plain",
        "winners lost",
        "to 80 %",
        "spent",
    ):
        table.add_column(name, justify="right")
    for name, row in block["policies"].items():
        lost, to_80 = row["winners_lost"], row["compute_to_80"]
        table.add_row(
            name if row["campaigns"] == block["campaigns"] else f"{name} ({row['campaigns']} campaigns)",
            f"{row['claims']:.1f}",
            f"{row['false_discovery_proportion']:.1%}",
            f"{row['false_discovery_upper95']:.1%}",
            f"{row['false_discovery_by_gain']:.1%}",
            f"{row['gain_recovered']:.1%} ± {row['gain_recovered_se']:.1%}",
            f"{row['plain_gain_recovered']:.1%}",
            "-" if lost is None else f"{lost:.1%}",
            "never" if to_80 is None else f"{to_80:.0f}",
            f"{row['spent']:.0f}",
        )
    return table
