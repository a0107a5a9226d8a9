"""`mendel laws`, `compare` and `rejudge`: what tables of experiments say, whoever measured them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mendel.campaign.config import read_settings
from mendel.inputs import allowed
from mendel.knowledge.table import IMPORTS, RUNS, Table, TableError, read_table
from mendel.recipe_commands import Json, print_json

if TYPE_CHECKING:  # numpy and scipy take longer to load than most commands take
    from mendel.knowledge.law_report import Choice
    from mendel.report.evidence_page import Section

Data = Annotated[
    Path,
    Parameter(
        name="--data", help="A .csv, .tsv, .jsonl, .json or .parquet file, or the name of imported runs."
    ),
]
Where = Annotated[
    list[str],
    Parameter(
        name="--where",
        help="Rows to use, such as `n<1e9 and split=val or n>1e10`; more than one: all must hold.",
    ),
]
Columns = Annotated[
    list[str],
    Parameter(
        consume_multiple=True,
        help="n=COLUMN d=COLUMN (or c=COLUMN) loss=COLUMN; x=COLUMN for power; knob=COLUMN, a learning rate "
        "or batch size, for optimum; recipe=COLUMN for multiplier.",
    ),
]
Fit = Annotated[list[str], Parameter(help="Rows to fit, as --where; the others are predicted.")]
Predict = Annotated[
    list[str],
    Parameter(help="Rows to predict from the fit to the others (default: the largest tenth by compute)."),
]
FitError = Annotated[
    list[str], Parameter(help="downstream: rows that tell how errors follow the loss (default: of --fit).")
]
Page = Annotated[
    Path | None,
    Parameter(
        name="--page",
        help="Write a page with the words, figures and numbers, too: one HTML file for a browser.",
    ),
]
SHOWN = 60
"""Groups and warnings that a terminal is shown."""
FEW = 10
"""Predicted runs that are listed."""


def laws(
    *,
    data: Data,
    form: str = "chinchilla",
    columns: Columns,
    where: Where = [], fit: Fit = [], predict: Predict = [], fit_error: FitError = [],  # noqa: B006
    by: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    reference: str | None = None, cluster: str | None = None, baseline: str | None = None,
    drop: int = 0, keep_all: bool = False, objective: str = "absolute", noise: float | None = None,
    all_runs: bool = False, page: Page = None, json: Json = False,
) -> None:  # fmt: skip
    """Fit a scaling law to a table of runs: what is known of its parameters, and how far it carries.

    Parameters
    ----------
    form
        chinchilla, over-training, power, saturating-repeat, isoflop, downstream, optimum or multiplier.
    by
        Columns: one fit for each of their values.
    reference
        Published parameters to test, all or some, such as alpha=.34,beta=.28; or hoffmann.
    cluster
        A column: runs with the same value there are one piece of evidence, not many.
    baseline
        multiplier: the recipe that the others are compared with.
    drop
        Leave out so many of the highest losses, instead of what no noise explains.
    keep_all
        Leave out nothing.
    objective
        absolute deviations of log loss, huber (1e-3) of it, or squares of the loss.
    noise
        isoflop, optimum, multiplier: relative noise of a loss from seed to seed (default: measured).
    all_runs
        Take runs that did not end, too.
    """
    from mendel.knowledge.law_report import Choice, needed

    table = table_of(data).where(where)
    how = Choice(
        fit=tuple(fit), predict=tuple(predict), fit_error=tuple(fit_error), reference=reference,
        cluster=cluster, baseline=baseline, drop=drop, keep_all=keep_all, objective=objective, noise=noise,
        all_runs=all_runs,
    )  # fmt: skip
    found = _laws(table, form, _named(columns, needed(form)), how, by)
    _put_law_page(page, f"{form} law of {data.name}", found)
    if json:
        print_json({"groups": found} if by else found[0])
        return
    for one in found:
        show_law(Console(), one)


def _put_law_page(page: Path | None, title: str, found: list[dict[str, Any]]) -> None:
    if page:
        from mendel.report.evidence import law_sections

        put_page(page, title, law_sections(found))


def _laws(
    table: Table, form: str, columns: dict[str, str], how: Choice, by: list[str]
) -> list[dict[str, Any]]:
    from mendel.knowledge.law_report import law_report

    found = []
    for label, some in groups(table, by):
        try:
            one = law_report(some, form, columns, how)
        except TableError:
            raise
        except ValueError as error:  # the rows tell no such law
            if not by:
                raise TableError(f"{table.name}: {error}") from None
            one = {"form": form, "error": str(error), "words": [str(error)]}
        found.append({"by": label, **one} if by else one)
    return found


def put_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write a page with the command that made it; where it lies is said on standard error."""
    from mendel.report.evidence_page import write_evidence

    write_evidence(path, title, sections, shlex.join(["mendel", *sys.argv[1:]]))
    print(f"Page: {path}", file=sys.stderr)


def table_of(data: Path) -> Table:
    """The table of a file, of a folder that `mendel import` wrote, or of the name that it was given."""
    imports = read_settings().root / IMPORTS
    if data.exists() or data.suffix:
        return read_table(data)
    if (imports / data / RUNS).is_file():
        return read_table(imports / data)
    known = sorted(file.parent.name for file in imports.glob(f"*/{RUNS}"))
    among = allowed(str(data), known) if known else "; see `mendel import --help`"
    raise TableError(f"{data}: no such file, and no imported runs of this name{among}")


def groups(table: Table, by: list[str]) -> list[tuple[dict[str, str], Table]]:
    """The rows of each combination of values of columns, in the order in which they come."""
    if not by:
        return [({}, table)]
    values = list(zip(*(table.labels(column) for column in by), strict=True))
    found = []
    for key in dict.fromkeys(values):
        label = dict(zip(by, key, strict=True))
        found.append((label, table.having(label)))
    return found


def _named(columns: list[str], needed: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in columns:
        name, equals, column = one.partition("=")
        if not equals or not column:
            raise TableError(f"--columns {one!r}: write NAME=COLUMN, with the names {', '.join(needed)}")
        found[name] = column
    return found


def show_law(console: Console, found: dict[str, Any]) -> None:
    """A law: words, then its parameters."""
    if by := found.get("by"):
        console.print(", ".join(f"{k} {v}" for k, v in by.items()), style="bold", markup=False)
    for line in found["words"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if "error" in found:
        return
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "value", "se", "95 % interval"):
        grid.add_column(name, justify="right" if name else "left")
    for name, one in found["parameters"].items():
        if "low" not in one:
            grid.add_row(name, f"{one['value']:.5g}", "", "")
            continue
        ends = f"{one['low']:.4g} to {one['high']:.4g}"
        grid.add_row(
            name, f"{one['value']:.5g}", f"{one['se']:.3g}", ends if one["identified"] else f"{ends}, flat"
        )
    console.print(grid)
    ahead = found.get("predicted")
    if ahead and len(ahead.get("rows", ())) <= FEW:
        for row, predicted, measured in zip(
            *(ahead.get(key, ()) for key in ("rows", "predicted", "measured")), strict=True
        ):
            off = predicted / measured - 1
            console.print(f"row {row}: predicted {predicted:.4f}, measured {measured:.4f}, off by {off:+.2%}")
    if rows := found.get("sensitivity"):
        grid = Grid(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), title="By other choices", title_justify="left"
        )
        for name in ("", *rows[0]["parameters"]):
            grid.add_column(name, justify="right" if name else "left")
        for row in rows:
            grid.add_row(row["what"], *(f"{value:.4g}" for value in row["parameters"].values()))
        console.print(grid)


def compare(
    *,
    data: Data,
    value: str,
    group: str | None = None,
    target: float | None = None,
    against: str | None = None,
    pair: str | None = None,
    higher: bool = False,
    all_runs: bool = False,
    where: Where = [],  # noqa: B006
    page: Page = None,
    json: Json = False,
) -> None:
    """Compare groups of runs with a target, or with each other, and say what speaks against it.

    Parameters
    ----------
    value
        The column that is compared, such as a final loss.
    group
        The column that says which group a run belongs to (default: all are one).
    target
        A number that the mean is to be below: one-sided test.
    against
        The group that all others are compared with (default, of two: the one called baseline, or the first).
    pair
        A column, such as a seed, whose values pair the runs of two groups.
    higher
        More is better.
    all_runs
        Take runs that did not end, too.
    """
    from mendel.knowledge.compare import compare as compare_groups

    table = table_of(data).where(where)
    found = compare_groups(
        table, value, group, target=target, against=against, pair=pair, higher=higher, all_runs=all_runs
    )
    if page:
        from mendel.report.evidence import compare_sections

        put_page(page, f"{value} of {data.name}", compare_sections(found))
    print_json(found) if json else show_comparison(Console(), found)


def rejudge(
    file: Path, /, *, value: str | None = None, higher: bool = False, page: Page = None, json: Json = False
) -> None:
    """Judge the log of a greedy loop again: which keeps exceed its own noise, and what they are worth.

    Parameters
    ----------
    file
        A results.tsv of autoresearch, or a table with a value, a status and a description.
    value
        The column of values (default: val_bpb, val_loss, loss, ...).
    higher
        More is better.
    """
    from mendel.knowledge.rejudge import rejudge as judge_again

    found = judge_again(table_of(file), value, higher)
    if page:
        from mendel.report.evidence import rejudge_sections

        put_page(page, f"{file.name}, judged again", rejudge_sections(found))
    if json:
        print_json(found)
        return
    console = Console()
    for line in found["words"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("row", "gain", "corrected", "chance of nothing", "kept"):
        grid.add_column(name, justify="left" if name == "kept" else "right")
    for row in found["keeps"][:SHOWN]:
        cells = (f"{row['gain']:.4g}", f"{row['corrected_gain']:.4g}", f"{row['chance_of_nothing']:.2f}")
        grid.add_row(str(row["row"]), *cells, escape(row["description"]))
    console.print(grid)


def show_comparison(console: Console, found: dict[str, Any]) -> None:
    """Words, the groups, and what speaks against them."""
    for line in found["words"][:SHOWN]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    tested = found["target"] is not None
    for name in ("group", "n", "mean", "sd", "95 % interval", *(("p", "Holm", "flips") if tested else ())):
        first = name == "group"
        grid.add_column(name, justify="left" if first else "right", overflow="fold", no_wrap=not first)
    for row in found["groups"][:SHOWN]:
        ends = "" if row["low"] is None else f"{row['low']:.5g} to {row['high']:.5g}"
        cells = [row["group"] or "all", str(row["n"]), *(_number(row[key]) for key in ("mean", "sd")), ends]
        cells += [_number(row.get(key), 2) for key in ("p", "p_holm", "p_sign_flip")] if tested else []
        grid.add_row(*map(escape, cells))
    console.print(grid)
    if len(found["groups"]) > SHOWN:
        console.print(f"{len(found['groups']) - SHOWN} groups more: --json has all.")
    said = [
        f"{row['group']}: {one}" if row["group"] else one
        for row in found["groups"]
        for one in row["warnings"]
    ]
    said += [f"{row['group']}: {one}" for row in found["differences"] for one in row.get("warnings", ())]
    said += [one for one in found["warnings"] if one not in said]
    for line in said[:SHOWN]:
        console.print(f"! {line}", markup=False, highlight=False, soft_wrap=True)


def _number(value: float | None, digits: int = 5) -> str:
    return "" if value is None else f"{value:.{digits}g}"
