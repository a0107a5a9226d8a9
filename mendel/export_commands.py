"""The command `export`: cli.py gives it its name. Adopted changes go back as commits with their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mendel.recipe_commands import Json, open_store, print_json

PIPED = 140
"""Columns of a table that goes into a pipe."""
TAKE = {
    "fetch": "First",
    "branch": "As a branch, where the campaign began",
    "all": "All, on what is checked out",
    "one": "One alone",
}
"""Commands that take the series, in words."""


def export(
    campaign: str | None = None, /, *, to: Path | None = None, branch: str | None = None,
    patches: bool = False, claimed: bool = False, json: Json = False,
) -> None:  # fmt: skip
    """Give the adopted changes of a campaign back as a git branch or as patches, one commit for each.

    Your repository is only read: commits are made in one of Mendel's own, on the commit that the campaign
    began with.

    Parameters
    ----------
    campaign
        Default: the latest that adopted something.
    to
        A folder for the repository, or for the patches (default: exports/ in the store's folder).
    branch
        Name of the branch (default: mendel/ and the campaign's id).
    patches
        Write files for `git am` instead.
    claimed
        Leave out what the trunk carries without a claim of its own, where the rest builds without it.
    """
    from mendel.campaign.export import Asked
    from mendel.campaign.export import export as make

    with open_store() as store:
        found = make(store, campaign, Asked(to, branch, patches, claimed))
    if json:
        print_json(found)
        return
    console = Console()
    show_export(console if console.is_terminal else Console(width=PIPED), found)


def show_export(console: Console, found: dict[str, Any]) -> None:
    """The commits, what there is to know of them, and how to take them."""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    source = found["source"]
    on = (
        f"commit {found['base'][:12]} of {source['repository']}"
        if source["repository"]
        else "its first commit"
    )
    count = len(found["commits"])
    say(f"Campaign {found['campaign']}: {count} commit{'s' * (count != 1)} on {on}")
    say(f"The whole trunk: {found['trunk']}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("commit", "CM", "", "subject"):
        table.add_column(name, no_wrap=name != "subject")
    for row in found["commits"]:
        cm = f"{row['cm']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if row["claimed"] else "-"
        what = "claimed" if row["claimed"] else "carried" if row["idea"] else ""
        table.add_row(
            row["commit"][:12], cm, f"{what}, empty" if row["empty"] else what, escape(row["subject"])
        )
    console.print(table, highlight=False)
    for note in found["notes"]:
        say(f"Note: {note}")
    if found["left_out"]:
        say(f"Left out, not claimed by itself: {', '.join(found['left_out'])}")
    if found["applies_on_head"] is not None:
        say(f"Applies on what is checked out there now: {'yes' if found['applies_on_head'] else 'no'}")
    if found["patches"]:
        say(f"Patches: {Path(found['patches'][0]).parent}")
    else:
        say(f"Branch {found['branch']} in {found['repository']}")
    for name, words in TAKE.items():
        if name in found["take"]:
            say(f"{words}: {found['take'][name]}")
