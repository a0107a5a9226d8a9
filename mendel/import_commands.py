"""`mendel import`, `mendel runs` and `mendel curves`: take over runs that others tracked, and ask of them."""

from __future__ import annotations

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

if TYPE_CHECKING:  # numpy takes longer to load than most commands take
    from mendel.knowledge.collection import Mean

PIPED = 140
"""Columns of a table that goes into a pipe."""
SHOWN = 20
"""Names, runs and steps that are listed."""
USUAL = ("run", "name", "status", "last_step")
"""Columns of `mendel runs` where nobody names any."""

Source = Annotated[Path, Parameter(help="What to read; it is not changed.")]
StoreFolder = Annotated[
    Path | None, Parameter(name="--store", help="The lab's folder (default: MENDEL_ROOT, else .mendel).")
]
Imported = Annotated[
    str, Parameter(name="--data", help="Name given to `mendel import --into`, or a folder it wrote.")
]
Where = Annotated[
    list[str],
    Parameter(
        name="--where", help="Runs to use, such as `lr<0.01 and status=finished`; all given must hold."
    ),
]


def import_(
    source: Source,
    /,
    *,
    into: str,
    store: StoreFolder = None,
    kind: str | None = None,
    columns: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    preview: bool = False,
    json: Json = False,
) -> None:
    """Take over runs that others tracked: TensorBoard, MLflow, W&B, autoresearch, tables, Mendel's own.

    The same source again adds nothing, a run that has grown is replaced, another source adds.

    Parameters
    ----------
    into
        Name of the collection, for --data of the other commands.
    kind
        mendel, mlflow, wandb, tensorboard, autoresearch or table (default: by what lies there).
    columns
        Of a table: metric=COLUMN, and where there are any run=, name=, status=, started=, step= (each row is
        a point), value= (then metric= is the column with the metrics' names), config= (default: all others).
    preview
        Say what would be written, and write nothing.
    """
    from mendel.knowledge import import_runs
    from mendel.knowledge.importers import read_columns

    folder = import_runs.folder_of(store or read_settings().root, into)
    act = import_runs.preview if preview else import_runs.import_runs
    found = act(source, folder, kind, read_columns(columns))
    print_json(found) if json else show_import(_console(), found)


def show_import(console: Console, found: dict[str, Any]) -> None:
    """What came of a source, in words."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    changes = f"{found['new']} new, {found['grown']} grown, {found['unchanged']} as they were"
    say(f"{found['source']} ({found['kind']}): {found['runs']} runs, {found['points']:,} points; {changes}")
    states = ", ".join(f"{count} {status}" for status, count in found["statuses"].items())
    for title, words in (
        ("Status", states),
        ("Configuration", _listed(found["config"])),
        ("Metrics", _listed(found["metrics"])),
    ):
        if words:
            say(f"{title}: {words}")
    for title, key in (("Not read", "unread"), ("Note", "notes")):
        for one in found[key][:SHOWN]:
            say(f"{title}: {one['name']}: {one['reason']}")
        if len(found[key]) > SHOWN:
            say(f"{title}: {len(found[key]) - SHOWN} more; --json has all.")
    if found["written"]:
        say(f"Written: {found['folder']}")
    else:
        say("Nothing was written." if found["new"] or found["grown"] else "Nothing is new.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def runs(
    *,
    data: Imported,
    metric: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    sort: str | None = None,
    descending: bool = False,
    where: Where = [],  # noqa: B006
    top: int = SHOWN,
    columns: Annotated[list[str], Parameter(consume_multiple=True)] = [],  # noqa: B006
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """List imported runs: their last value of a metric, sorted, the best first.

    Parameters
    ----------
    metric
        Show the last value of these (default: the one that is sorted by).
    sort
        Sort by a column, the least first; a metric's name means its last value. least.METRIC is its best.
    descending
        The largest first.
    top
        How many are listed; 0: all.
    columns
        Show these instead: any column of runs.parquet; config. and final. may be left out.
    """
    from mendel.knowledge.collection import select

    if top < 0:
        raise TableError(f"--top {top}: must be at least 0")
    table = read_table(_folder(data, store)).where(where)
    by = sort or (metric[0] if metric else None)
    shown = list(dict.fromkeys(columns or [*USUAL, *metric, *([by] if by else [])]))
    for name in dict.fromkeys([*shown, *([by] if by else [])]):
        table.labels(name)  # a name that is not there, before anything is shown
    rows = select(table, shown, by, descending, top or None)
    if json:
        print_json({"runs": len(table), "rows": rows})
        return
    console = _console()
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in shown:
        number = any(isinstance(row[name], float | int) for row in rows)
        grid.add_column(escape(name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(escape(_cell(row[name])) for name in shown))
    console.print(grid, highlight=False)
    if len(rows) < len(table):
        console.print(f"{len(rows)} of {len(table):,} runs; --top 0 lists all.", highlight=False)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else " ".join(str(value).split())


def curves(
    *,
    data: Imported,
    metric: str,
    where: Where = [],  # noqa: B006
    by: str | None = None,
    points: int = SHOWN,
    store: StoreFolder = None,
    json: Json = False,
) -> None:
    """Average the curves of imported runs: mean, and the band that holds the middle 80 % of them.

    Parameters
    ----------
    metric
        Which curves.
    by
        A column: one mean curve for each of its values.
    points
        Steps at most.
    """
    from mendel.knowledge.collection import mean_curve
    from mendel.knowledge.collection import points as points_of

    if points < 2:
        raise TableError(f"--points {points}: must be at least 2")
    folder = _folder(data, store)
    table = read_table(folder).where(where)
    found = []
    for label, names in _groups(table, by).items():
        taken = points_of(folder, metric, names if where or by else None)
        found.append((label, len(taken.runs), mean_curve(taken, count=points)))
    if not any(count for _, count, _ in found):
        raise TableError(f"{data}: no run that was chosen has a curve of {metric!r}")
    if json:
        print_json({"metric": metric, "curves": [_told(by, *one) for one in found]})
        return
    console = _console()
    for label, count, mean in found:
        title = f"{by} {label}: " if by else ""
        console.print(f"{title}{metric}, {count} runs", markup=False, highlight=False, soft_wrap=True)
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("step", "mean", "sd", "10 %", "90 %", "runs"):
            grid.add_column(name, justify="right")
        for row in zip(mean.steps, mean.mean, mean.sd, mean.low, mean.high, mean.runs, strict=True):
            grid.add_row(f"{row[0]:,.10g}", *(f"{value:.5g}" for value in row[1:5]), str(row[5]))
        console.print(grid, highlight=False)


def _groups(table: Table, by: str | None) -> dict[str, list[str]]:
    """Runs by the values of a column."""
    found: dict[str, list[str]] = {}
    labels = table.labels(by) if by else [""] * len(table)
    for label, run in zip(labels, table.labels("run"), strict=True):
        found.setdefault(label, []).append(run)
    return found


def _told(by: str | None, label: str, count: int, mean: Mean) -> dict[str, Any]:
    curve = {
        "steps": mean.steps.tolist(),
        "mean": mean.mean.tolist(),
        "sd": [None if value != value else value for value in mean.sd.tolist()],
        "low": mean.low.tolist(),
        "high": mean.high.tolist(),
        "at_step": mean.runs.tolist(),
    }
    return ({"by": {by: label}} if by else {}) | {"runs": count} | curve


def _folder(data: str, store: Path | None) -> Path:
    """The folder of a collection by its name, or a folder. TableError where there is none."""
    imports = (store or read_settings().root) / IMPORTS
    for folder in (Path(data), imports / data):
        if (folder / RUNS).is_file():
            return folder
    known = sorted(file.parent.name for file in imports.glob(f"*/{RUNS}"))
    if not known:
        raise TableError(
            f"--data {data!r}: nothing was imported into {imports.parent}; see `mendel import --help`"
        )
    raise TableError(f"--data {data!r}: no imported runs of this name{allowed(data, known)}")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPED)
