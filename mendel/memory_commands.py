"""`mendel findings` and `mendel meta`: what the campaigns of some labs know, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from mendel.campaign.config import ConfigError, read_settings
from mendel.knowledge.table import TableError
from mendel.knowledge_commands import Page, Where, put_page, table_of
from mendel.recipe_commands import Json, open_store, print_json
from mendel.store import Store

if TYPE_CHECKING:  # numpy and scipy take longer to load than most commands take
    from mendel.knowledge.memory import Known
    from mendel.records import Idea

Stores = Annotated[
    list[Path],
    Parameter(
        name="--store",
        help="Folder of a lab (.mendel); may be given again for more of them (default: that of this folder).",
    ),
]
SHOWN = 40
"""Findings that a terminal is shown."""


def findings(
    *text: str, patch: Path | None = None, idea: str | None = None, store: Stores = [],  # noqa: B006
    digest: int | None = None, json: Json = False,
) -> None:  # fmt: skip
    """Say what campaigns have found out: what holds, what was taken back, and what did nothing.

    Parameters
    ----------
    text
        Words to look for; without them everything is listed, what holds first.
    patch
        A file with an idea (.toml or .md): what is known of changes like it.
    idea
        The name of an idea that was tried: what is known of it and of changes like it.
    digest
        Print no more than so many characters, what matters most for the next decision first. It holds nothing
        that whoever proposes ideas must not see.
    """
    from mendel.knowledge import recall

    with _opened(store) as stores:
        found = _known(stores)
    if sum((bool(text), patch is not None, idea is not None)) > 1:
        raise ConfigError("findings: give words, --patch or --idea, and one of them only")
    why: dict[int, str] = {}
    if patch is not None or idea is not None:
        wanted = _from_file(patch) if patch is not None else _named(idea or "", found)
        pairs = recall.related(wanted, found)
        found, why = [one for one, _ in pairs], {id(one): words for one, words in pairs}
    elif text:
        found = recall.search(" ".join(text), found)
    else:
        found = recall.weightiest(found)
    if digest is not None:
        if digest < recall.LEAST_DIGEST:
            raise ConfigError(f"--digest {digest}: at least {recall.LEAST_DIGEST} characters")
        from mendel.report.text import clean

        told = recall.digest(found, digest, shown=lambda _, words: clean(words))
        print_json({"digest": told}) if json else print(told)
        return
    if json:
        print_json({"findings": [_as_json(one, why.get(id(one), "")) for one in found]})
        return
    _show_findings(Console(), found, why)


def meta(
    *, data: Annotated[Path | None, Parameter(help="A table of effects; without it, labs are read.")] = None,
    effect: str | None = None, se: str | None = None, low: str | None = None, high: str | None = None,
    by: str | None = None, study: str | None = None, ratio: bool = False, where: Where = [],  # noqa: B006
    store: Stores = [], idea: str | None = None,  # noqa: B006
    least: float = 0.0, page: Page = None, json: Json = False,
) -> None:  # fmt: skip
    """Put together what several studies say of one idea: its mean effect, and what a new testbed would show.

    Parameters
    ----------
    effect
        Column of effects, such as log2 compute multipliers.
    se
        Column of their standard errors; or give low and high.
    low
        Column of the lower ends of their 95 % intervals.
    high
        Column of the upper ends.
    by
        Column that says which idea an effect is of.
    study
        Column that says where it was measured: several effects of one study count as one.
    ratio
        The columns are plain multipliers: their log2 is taken.
    idea
        This idea alone.
    least
        Smallest effect that counts, log2: its probability on a new testbed is told.
    """
    from mendel.knowledge.meta_report import meta_report, read_effects
    from mendel.knowledge.store_effects import effects_of

    if data is not None:
        if store:
            raise TableError("meta: give --data or --store, not both")
        if effect is None:
            raise TableError("meta: --effect COLUMN is missing")
        effects, said = read_effects(table_of(data).where(where), effect, se, low, high, by, study, ratio)
    else:
        with _opened(store) as stores:
            effects, said = effects_of(_known(stores))
    if idea is not None:
        effects = [one for one in effects if one.idea == idea] or _no_such(
            idea, [one.idea for one in effects]
        )
    if not effects:
        raise ConfigError("meta: no campaign here has confirmed or refuted anything yet")
    found = meta_report(effects, least, "effect" if data is not None and not ratio else "log2 CM")
    if page:
        from mendel.report.meta_page import meta_sections

        put_page(page, "Effects of several studies together", meta_sections(found))
    if json:
        print_json({"ideas": found, "warnings": said})
        return
    _show_meta(Console(), found, said)


# --- helpers ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(folders: Sequence[Path]) -> Iterator[list[Store]]:
    """The labs of these folders, or that of this one. ConfigError for a folder that holds none."""
    with ExitStack() as stack:
        if not folders:
            yield [stack.enter_context(open_store())]
            return
        stores = []
        for folder in folders:
            root = folder if (folder / "mendel.db").is_file() else folder / ".mendel"
            if not (root / "mendel.db").is_file():
                raise ConfigError(f"--store {folder}: no lab there (a folder with a mendel.db)")
            stores.append(stack.enter_context(Store(root, None, read_settings().database_timeout)))
        yield stores


def _known(stores: Sequence[Store]) -> list[Known]:
    from mendel.campaign.earlier import points
    from mendel.knowledge.memory import remember

    return remember(stores, points)


def _from_file(file: Path) -> Idea:
    from mendel.ideas.userfile import load_ideas

    ideas = load_ideas(file)
    if len(ideas) != 1:
        raise ConfigError(f"--patch {file}: it holds {len(ideas)} ideas; give a file with one")
    return ideas[0]


def _named(name: str, found: Sequence[Known]) -> Idea:
    mine = [one.idea for one in found if one.idea.name == name]
    return mine[-1] if mine else _no_such(name, [one.idea.name for one in found])


def _no_such(name: str, names: Sequence[str]) -> Any:
    from mendel.inputs import nearest

    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else "`mendel findings` lists all"
    raise ConfigError(f"--idea {name!r}: no campaign here has tried one of this name; {hint}")


def _as_json(one: Known, why: str) -> dict[str, Any]:
    interval = one.log2_cm.model_dump() if one.log2_cm else None
    return {
        "idea": one.idea.name,
        "class": one.idea.idea_class,
        "hypothesis": one.idea.hypothesis,
        "grade": one.grade.value,
        "log2_cm": interval,
        "measured": one.measured,
        "pairs": one.pairs,
        "scope": {
            "store": one.store, "campaign": one.campaign, "when": one.when.isoformat(),
            "testbed": one.testbed, "rung": one.rung, "round": one.round,
            "fingerprint": one.fingerprint, "unit": one.unit, "trust": one.trust,
        },
        "by_rung": [{"rung": rung, "log2_cm": value.model_dump()} for rung, value in one.by_rung],
        "adopted": one.adopted,
        "note": one.note,
        "refuted_by": one.refuted_by,
        "trunk": list(one.trunk),
        "links": [vars(link) for link in one.links],
        "patch": one.patch,
        **({"alike": why} if why else {}),
    }  # fmt: skip


def _show_findings(console: Console, found: Sequence[Known], why: dict[int, str]) -> None:
    if not found:
        console.print("Nothing is known of that.")
        return
    grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("idea", "what is known", "compute multiplier", "where", "and since"):
        grid.add_column(name, overflow="fold")
    for one in found[:SHOWN]:
        rung = "" if one.rung is None else f", rung {one.rung}"
        since = [
            f"{link.kind} {link.idea}" if link.idea != one.idea.name else link.kind for link in one.links
        ]
        since += [why[id(one)]] if id(one) in why else []
        cells = (one.idea.name, one.grade.value, one.told.removeprefix("CM "),
                 f"{one.testbed}{rung}, {one.campaign}", "; ".join(dict.fromkeys(since)))  # fmt: skip
        grid.add_row(*map(escape, cells))
    console.print(grid)
    if len(found) > SHOWN:
        console.print(f"{len(found) - SHOWN} more: give words to look for, or --json has all.")


def _show_meta(console: Console, found: Sequence[dict[str, Any]], said: Sequence[str]) -> None:
    for one in found[:SHOWN]:
        for place, line in enumerate(one["words"]):
            console.print("  " * bool(place) + line, markup=False, highlight=False, soft_wrap=True)
    if len(found) > SHOWN:
        console.print(f"{len(found) - SHOWN} ideas more: --idea NAME, or --json has all.")
    for line in said:
        console.print(f"! {line}", markup=False, highlight=False, soft_wrap=True)
