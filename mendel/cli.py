"""The commands. `mendel --help` begins with the six that matter.

Exit codes: 0 done; 1 the lab failed; 2 bad input or settings; 3 something needed is not installed;
130 stopped by the user (the same command continues).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mendel import __version__
from mendel.ablate_commands import ablate
from mendel.agents_commands import mcp
from mendel.bench_commands import BENCH_ERRORS, decisions, ratchet, researchers
from mendel.campaign.config import (
    CampaignConfig,
    ConfigError,
    read_config,
    read_rungs,
    read_settings,
)
from mendel.campaign.lab import Interrupted, LabError, Paused
from mendel.campaign.progress import Progress
from mendel.campaign.session import MissingExtra
from mendel.campaign.session import run as run_session
from mendel.campaign.summary import summarise, trunk_points
from mendel.export_commands import export
from mendel.ideas.userfile import IdeasError
from mendel.ideas_commands import ideas_add, ideas_list, ideas_show
from mendel.import_commands import curves, import_, runs
from mendel.init_commands import init
from mendel.knowledge.table import TableError as DataError
from mendel.knowledge_commands import compare, laws, rejudge
from mendel.memory_commands import findings, meta
from mendel.patterns_commands import patterns
from mendel.recipe_commands import (
    Json,
    Unsafe,
    ladder,
    open_store,
    print_json,
    print_result,
    probe,
    sample,
    sandbox_of,
)
from mendel.research_commands import review
from mendel.runs import ExecutorError
from mendel.store import Campaign, Store, StoreError
from mendel.terminal import show_climbs, show_forecasts, show_summary, watching
from mendel.testbed_commands import check as check_testbed
from mendel.testbed_commands import schema
from mendel.testbeds import TestbedError
from mendel.trust_commands import redteam
from mendel.yardstick import CorpusError

MAIN = Group("The six that matter", sort_key=1)
KNOWN = Group("What many runs say, yours and others'", sort_key=2)
MORE = Group("More", sort_key=3)
OPTIONS = Group("Options", sort_key=4)
EXIT_CODES = "Exit codes: 0 done, 1 lab failure, 2 bad input, 3 missing library, 130 stopped."

app = App(
    name="mendel",
    version=__version__,
    help=f"Proposes, runs and judges controlled pretraining experiments.\n\n{EXIT_CODES}",
    default_parameter=Parameter(negative=()),
    group_commands=OPTIONS,
)
ideas_app = App(
    name="ideas", group=MORE, help="List, show or add ideas.", default_parameter=Parameter(negative=())
)
ideas_app.command(ideas_list, name="list")
ideas_app.command(ideas_show, name="show")
ideas_app.command(ideas_add, name="add")
app.command(ideas_app)
bench_app = App(
    name="bench", group=MORE, help="Measure Mendel itself.", default_parameter=Parameter(negative=())
)
bench_app.command(decisions)
bench_app.command(ratchet)
bench_app.command(researchers)
app.command(bench_app)
testbed_app = App(
    name="testbed", group=MORE, help="Prove a testbed.toml.", default_parameter=Parameter(negative=())
)
testbed_app.command(check_testbed, name="check")
testbed_app.command(schema)
app.command(testbed_app)
for command in (ablate, export, probe, ladder, sample, redteam, review, mcp):
    app.command(command, group=MORE)
app.command(import_, name="import", group=KNOWN)
for asked in (runs, curves, patterns, laws, compare, rejudge, findings, meta):
    app.command(asked, group=KNOWN)

ConfigFile = Annotated[
    Path | None, Parameter(name="--config", help="Settings file (default: ./mendel.toml if there).")
]


# --- the six ---------------------------------------------------------------------------------------------


@app.command(group=MAIN, sort_key=1)
def demo(
    *, seed: int = 1, fresh: bool = False, data: str = "default", unsafe: Unsafe = False, json: Json = False
) -> None:
    """Run a whole small campaign on the CPU, about ten minutes of its time, and write its report.

    Parameters
    ----------
    seed
        Campaign seed; another seed is another campaign.
    fresh
        Begin again although this campaign exists.
    data
        "default", or a folder of .txt, .jsonl or .parquet files.
    """
    given = {"budget": DEMO_BUDGET, "seed": seed, "data": data, "policy": DEMO_POLICY}
    config = read_config(None, given | sandbox_of(unsafe))
    _campaign(config, fresh, json)


DEMO_BUDGET = "150runs"
"""A full round and the last check. In runs and not in time, so that a slow machine takes longer and is not
refused."""
DEMO_POLICY: dict[str, Any] = {"curve_seeds": 2, "verify_pairs": 8}


app.command(init, group=MAIN, sort_key=2)


@app.command(group=MAIN, sort_key=3)
def run(
    *,
    budget: str | None = None,
    max_usd: float | None = None,
    seed: int | None = None,
    ideas: str | None = None,
    rungs: str | None = None,
    testbed: str | None = None,
    recipe: str | None = None,
    data: str | None = None,
    workers: int | None = None,
    researchers: str | None = None, replay: str | None = None,
    fresh: bool = False, unsafe: Unsafe = False, config: ConfigFile = None, json: Json = False,
) -> None:  # fmt: skip
    """Run a campaign, or continue it: the same command finds the same campaign again.

    Parameters
    ----------
    budget
        Time (90s, 20m, 1.5h) or a number of runs (300runs).
    max_usd
        End when the workers have cost this much (needs usd_per_hour in the settings).
    seed
        Campaign seed.
    ideas
        "catalog", "blanks" (an A/A campaign), "none" (those of researchers alone), or a file of ideas.
    rungs
        Rungs to use, such as 0 or 0-2.
    testbed
        Name of a built-in testbed, or a folder with a testbed.toml.
    recipe
        Base recipe of the testbed.
    data
        "default", or a folder of .txt, .jsonl or .parquet files.
    workers
        Runs at a time; default one per core.
    researchers
        Who proposes, writes and explains: "none", "models" (as mendel.toml names them) or "external".
    replay
        Id of a campaign whose transcript answers instead of models: nothing is asked, nothing paid.
    fresh
        Begin again although this campaign exists.
    """
    given = {
        "budget": budget,
        "max_usd": max_usd,
        "seed": seed,
        "ideas": ideas,
        "rungs": None if rungs is None else read_rungs(rungs),
        "testbed": testbed,
        "recipe": recipe,
        "data": data,
        "workers": workers,
    }
    changes = {key: value for key, value in given.items() if value is not None} | sandbox_of(unsafe)
    seats = {"who": researchers or (replay and "models"), "replay": replay}
    changes["researchers"] = {key: value for key, value in seats.items() if value}
    _campaign(_settings(config, changes), fresh, json)


def _settings(config: Path | None, changes: dict[str, Any]) -> CampaignConfig:
    settings = read_config(config, dict(changes))
    if settings.ideas != "blanks":
        return settings
    # An A/A campaign puts every blank through confirmation: a screen would hide most from the judge.
    return read_config(config, {**changes, "policy": settings.policy.model_dump() | AA_POLICY})


AA_POLICY: dict[str, Any] = {
    "screen_ideas": 60, "cohort": 60, "enter": 0.0, "planned": 60, "more_screen_pairs": 0, "blank_share": 0.0,
}  # fmt: skip


@app.command(group=MAIN, sort_key=4)
def status(campaign: str | None = None, /, *, json: Json = False) -> None:
    """Say how a campaign stands (the latest one by default)."""
    with open_store() as store:
        found = store.campaign(campaign)
        summary = summarise(store, found)
        if json:
            print_json(summary)
            return
        console = Console()
        console.print(f"Campaign {found.id} (seed {found.seed}, {found.recipe}): {found.state.value}")
        show_summary(console, summary)
        show_forecasts(console, summary["forecasts"])
        show_climbs(console, summary["climb"])
        states: dict[str, int] = {}
        for entry in store.ideas(found.id):
            states[entry.state.value] = states.get(entry.state.value, 0) + 1
        console.print("Ideas: " + ", ".join(f"{count} {state}" for state, count in states.items()))
        for event in store.events(found.id)[-5:]:
            console.print(f"  {event.time:%H:%M:%S}  {event.message}", highlight=False, markup=False)


@app.command(group=MAIN, sort_key=5)
def show(id: str, /, *, campaign: str | None = None, transcript: bool = False, json: Json = False) -> None:
    """Show everything about an idea, a run, a plan or a recipe: give its name or the beginning of its id.

    Parameters
    ----------
    transcript
        Of an idea, or of a campaign by its id: what researchers were asked and what they answered.
    """
    from mendel.report.lookup import describe, render
    from mendel.report.transcript import render as render_transcript
    from mendel.report.transcript import transcript as calls_behind

    with open_store() as store:
        if transcript:
            calls = calls_behind(store, store.campaign(campaign), id)
            if not calls:
                taken = "--transcript takes the name of an idea, or a campaign's id"
                raise ConfigError(f"show: no model had a part in {id!r}; {taken}")
            print_json({"idea": id, "calls": calls}) if json else render_transcript(Console(), calls)
            return
        found = describe(store, store.campaign(campaign), id)
        if json:
            print_json(found)
        else:
            render(Console(), found)


@app.command(group=MAIN, sort_key=6)
def report(campaign: str | None = None, /, *, out: Path | None = None, json: Json = False) -> None:
    """Write a campaign's report: one self-contained HTML file.

    Parameters
    ----------
    out
        The file to write (default: reports/ in the store's folder).
    """
    with open_store() as store:
        path = _write_report(store, store.campaign(campaign), out)
    print_result(json, {"report": str(path)}, f"Report: {path}")


# --- more ------------------------------------------------------------------------------------------------


@app.command(group=MORE)
def doctor(*, sandbox: str = "", image: str = "", json: Json = False) -> None:
    """Check what this machine offers: the trainer's libraries, cores, the walls around runs, the store.

    Parameters
    ----------
    sandbox
        Consider these only, by commas: namespaces, bubblewrap, landlock, docker, apptainer, none; auto is all
        of them. Default: what mendel.toml says.
    image
        Container image, for docker and apptainer.
    """
    from mendel.campaign.doctor import examine

    config = read_config(None, {})
    configured = config.sandbox if config.sandbox != "auto" else ""
    names = [name.strip() for name in (sandbox or configured).split(",") if name.strip() not in ("", "auto")]
    facts = examine(read_settings(), names, image or config.image)
    if json:
        print_json(facts)
        return
    console = Console()
    table = Table(show_header=False)
    walls = facts["sandbox"]
    for key, value in (facts | {"sandbox": walls["chosen"] or "no usable one"}).items():
        if key != "problems" and value not in (None, ""):
            text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            table.add_row(key, escape(text))
    console.print(table)
    for name, found in walls["backends"].items():
        held = sum(one["passed"] for one in found["checks"].values())
        said = f"{held} of {len(found['checks'])} checks passed" if found["available"] else found["reason"]
        console.print(f"Sandbox {name}: {said}", markup=False, highlight=False)
        for check, one in found["checks"].items():
            if not one["passed"]:
                console.print(f"  open: {check}: {one['detail']}", markup=False, highlight=False)
    console.print(f"Machine-written patches: {walls['machine_written']}", markup=False, highlight=False)
    for title, lines in (("To do", walls["remedies"]), ("Untested", walls["untested"])):
        for line in lines:
            console.print(f"{title}: {line}", markup=False, highlight=False)
    for problem in facts["problems"]:
        console.print(f"Problem: {problem}", markup=False, highlight=False)
    if not facts["problems"]:
        console.print("Nothing stands in the way.")


# --- helpers ---------------------------------------------------------------------------------------------


def _campaign(config: CampaignConfig, fresh: bool, as_json: bool) -> None:
    """Run a campaign to its end, write its report and say what came out."""
    console = Console(stderr=as_json)
    progress = Progress()
    with watching(progress, console, quiet=as_json):
        store, campaign = run_session(config, read_settings(), progress, fresh)
    with store:
        path = _write_report(store, campaign, None)
        summary = {**summarise(store, campaign), "report": str(path)}
    if as_json:
        print_json(summary)
    else:
        show_summary(console, summary)
        console.print(f"Report: {path}", soft_wrap=True, highlight=False)


def _write_report(store: Store, campaign: Campaign, out: Path | None) -> Path:
    from mendel.report import write_report

    path = out or store.root / "reports" / f"{campaign.id}.html"
    write_report(store, campaign, summarise(store, campaign), trunk_points(store, campaign), path)
    return path


USER_ERRORS = (ConfigError, *BENCH_ERRORS, DataError, IdeasError, StoreError, TestbedError, CorpusError)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors become one line and an exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error).strip(), 2)
    except USER_ERRORS as error:
        _fail(str(error), 2)
    except MissingExtra as error:
        _fail(str(error), 3)
    except (LabError, ExecutorError) as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except Paused as error:
        _fail(str(error), 130)
    except (Interrupted, KeyboardInterrupt):
        _fail("stopped; everything is stored. Continue with the same command.", 130)


def _fail(message: str, code: int) -> None:
    print(f"mendel: {message}", file=sys.stderr)
    raise SystemExit(code)
