"""Tools that read the code being researched, so that an agent can write a patch against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mendel.agents.desk import LINE, CampaignId, Desk, as_data
from mendel.agents.seen import Matches, SourceFile, SourceList, SourceText
from mendel.campaign.config import ConfigError
from mendel.campaign.summary import trunk_points
from mendel.inputs import allowed
from mendel.patches import read_tree
from mendel.records import Recipe, tree_hash
from mendel.report.knobs import written_knobs
from mendel.report.text import clean
from mendel.testbeds import load_testbed

LINES = 400
"""Of a file that one call shows."""
TEXT = 24_000
"""Characters of it."""
MATCHES = 40

Of = Annotated[
    Literal["original", "trunk"],
    Field(description="The recipe that the campaign started from, or its trunk with what was adopted."),
]


@dataclass(frozen=True)
class Source:
    """One recipe's files."""

    campaign: str
    of: str
    recipe: str
    adopted: list[str]
    tree: Mapping[str, str]
    editable: tuple[str, ...]
    knobs: dict[str, str]


def list_source(desk: Desk, of: Of = "original", campaign: CampaignId = "") -> SourceList:
    """List the files of a recipe, which of them a patch may edit, and the knobs that overrides may set.

    Write patches against the original: they are replayed onto the trunk, with a three-way merge where the
    trunk has changed. Prefer a knob to an edit where one does it.
    """
    found = _source(desk, of, campaign)
    files = [
        SourceFile(path=path, lines=len(text.split("\n")), editable=path in found.editable)
        for path, text in found.tree.items()
    ]
    return SourceList(
        campaign=found.campaign,
        of=of,
        recipe=found.recipe,
        adopted=found.adopted,
        files=files,
        knobs=found.knobs,
    )


def read_source(
    desk: Desk,
    path: Annotated[str, Field(description="A file, as `list_source` names it.")],
    first_line: Annotated[int, Field(ge=1)] = 1,
    of: Of = "original",
    campaign: CampaignId = "",
) -> SourceText:
    """Read a file of a recipe, 400 lines at a time. Copy the search text of an edit from here, exactly.

    The text stands between two marks that do not belong to the file.
    """
    found = _source(desk, of, campaign)
    lines = _file(found, path).split("\n")
    if first_line > len(lines):
        raise ConfigError(f"first_line: {first_line} is beyond the end; {path} has {len(lines)} lines")
    shown: list[str] = []
    for text in lines[first_line - 1 : first_line - 1 + LINES]:
        if shown and sum(map(len, shown)) + len(text) > TEXT:
            break
        shown.append(text)
    return SourceText(
        path=path,
        of=of,
        first_line=first_line,
        last_line=first_line + len(shown) - 1,
        lines=len(lines),
        text=as_data("\n".join(shown), f"{path} of the {of}", 2 * TEXT),
    )


def search_source(
    desk: Desk,
    text: Annotated[str, Field(min_length=2, max_length=200, description="Plain text, in any case.")],
    of: Of = "original",
    campaign: CampaignId = "",
) -> Matches:
    """Find lines that hold a text in all files of a recipe; at most 40 are shown."""
    found = _source(desk, of, campaign)
    hits = [
        f"{path}:{number}: {one[:LINE]}"
        for path, whole in found.tree.items()
        for number, one in enumerate(whole.split("\n"), 1)
        if text.lower() in one.lower()
    ]
    shown = as_data("\n".join(hits[:MATCHES]), f"lines of the {of}", TEXT)
    return Matches(of=of, total=len(hits), text=shown)


def _source(desk: Desk, of: str, campaign: str) -> Source:
    found = desk.campaign(campaign)
    testbed = load_testbed(found.config["testbed"])
    tree: Mapping[str, str] = read_tree(testbed)
    recipe = Recipe(testbed=testbed.name, tree=tree_hash(tree), base=found.recipe).id
    rung, adopted = found.config["rungs"][0], list[str]()
    if of == "trunk":
        points = [point for point in trunk_points(desk.store, found) if point["rung"] == rung]
        if points:
            recipe, adopted = points[-1]["recipe"], list(points[-1]["adopted"])
            tree = desk.store.load_tree(desk.store.recipe(recipe).tree)
    knobs = written_knobs(desk.store, found.id, recipe, rung) or {}
    return Source(
        campaign=found.id,
        of=of,
        recipe=recipe,
        adopted=adopted,
        tree=tree,
        editable=testbed.editable,
        knobs={clean(key, 80): clean(repr(value), 120) for key, value in list(knobs.items())[:200]},
    )


def _file(source: Source, path: str) -> str:
    if path not in source.tree:
        raise ConfigError(f"path: there is no file {path!r:.80}{allowed(path, source.tree)}")
    return source.tree[path]
