"""A page for what tables say: words first, then figures, then the numbers, and the command that made it.

    sections = [Section("The fit", words, [Picture("Loss against compute", draw)], [Numbers(head, rows)])]
    write_evidence(Path("laws.html"), "A scaling law", sections, "mendel laws --data runs.csv ...")

One self-contained file in the look of a campaign's report: no scripts, nothing external, all text escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from mendel import __version__
from mendel.report import write_page
from mendel.report.html import Child, Html, commands, el, join, table
from mendel.report.svg import inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 400
"""Rows of a table on a page; --json has all."""
FEW = 12
"""Rows up to which a table is shown without a click."""


@dataclass(frozen=True)
class Picture:
    """A figure: `draw` takes whether it is for a narrow screen."""

    about: str
    """For those who do not see it."""
    draw: Callable[[bool], Figure]
    caption: str = ""


@dataclass(frozen=True)
class Numbers:
    """A table of numbers that are text already."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numeric: Sequence[int] = ()
    """Columns that are set as numbers."""


@dataclass(frozen=True)
class Section:
    """What is said of one thing."""

    title: str
    words: Sequence[str]
    pictures: Sequence[Picture] = field(default_factory=tuple)
    tables: Sequence[Numbers] = field(default_factory=tuple)


def write_evidence(path: Path, title: str, sections: Sequence[Section], command: str) -> None:
    """Write the page whole or not at all. OSError where `path` cannot be written."""
    write_page(evidence_page(title, sections, command), path)


def evidence_page(title: str, sections: Sequence[Section], command: str) -> str:
    """The page as HTML. The first words of the first section lead it."""
    style = resources.files("mendel.report").joinpath("style.css").read_text(encoding="utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"Mendel: {title}"),
        el("style", Html(style)),
    )
    lead = sections[0].words[:1] if sections else ()
    links = [el("li", el("a", one.title, href=f"#s{n}")) for n, one in enumerate(sections)]
    nav = el("nav", el("ol", links), aria_label="Contents") if len(sections) > 1 else None
    bodies = [_section(one, n, skip=len(lead) if n == 0 else 0) for n, one in enumerate(sections)]
    made = el("section", el("h2", "How it was made"), commands(command))
    body = el(
        "body",
        el("header", el("p", "Mendel", cls="eyebrow"), el("h1", title), [_lead(one) for one in lead], nav),
        el("main", bodies, made),
        el("footer", f"Written by mendel {__version__}, {datetime.now(UTC):%d %B %Y, %H:%M} UTC."),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en")


def _lead(words: str) -> Html:
    return el("p", words, cls="lead")


def _section(section: Section, number: int, skip: int) -> Html:
    parts: list[Child] = [el("p", words) for words in section.words[skip:]]
    parts += [_figure(one, f"f{number}-{place}") for place, one in enumerate(section.pictures)]
    parts += [_numbers(one) for one in section.tables if one.rows]
    return el("section", el("h2", section.title), parts, id=f"s{number}")


def _figure(picture: Picture, name: str) -> Html:
    wide = el("div", inline(picture.draw(False), name, picture.about), cls="on-wide")
    narrow = el("div", inline(picture.draw(True), f"{name}-narrow", picture.about), cls="on-narrow")
    caption = el("figcaption", picture.caption) if picture.caption else None
    return el("figure", wide, narrow, caption)


def _numbers(numbers: Numbers) -> Html:
    shown = table(numbers.head, numbers.rows[:MOST_ROWS], numeric=numbers.numeric)
    more = len(numbers.rows) - MOST_ROWS
    note = el("p", f"{more} rows more: --json has all.", cls="note") if more > 0 else None
    if len(numbers.rows) <= FEW:
        return join(el("h4", numbers.title) if numbers.title else None, shown)
    title = numbers.title or "As a table"
    return el("details", el("summary", f"{title} ({len(numbers.rows)} rows)"), shown, note)
