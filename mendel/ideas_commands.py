"""The commands about ideas: `mendel ideas list`, `show` and `add`. cli.py names them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from mendel.campaign.config import ConfigError
from mendel.recipe_commands import Json, open_store, print_json, print_result


def ideas_list(*, file: Path | None = None, json: Json = False) -> None:
    """List the ideas of the catalog, or of a file."""
    from mendel.ideas.catalog import load_catalog
    from mendel.ideas.userfile import load_ideas

    ideas = load_ideas(file) if file else load_catalog()
    if json:
        print_json({"ideas": [idea.model_dump(mode="json") for idea in ideas]})
        return
    table = Table()
    for name in ("idea", "class", "patch", "forecast log2 CM", "mechanism"):
        table.add_column(name)
    for idea in ideas:
        patch = "source" if idea.patch.edits else "knobs"
        patch += ", tuned" if idea.patch.tune else ""
        forecast = f"{idea.forecast.mean:+.2f} ± {idea.forecast.sd:.2f}"
        table.add_row(idea.name, idea.idea_class, patch, forecast, idea.mechanism)
    Console().print(table)


def ideas_show(name: str, /, *, json: Json = False) -> None:
    """Show one idea of the catalog with its patch."""
    from mendel.ideas.catalog import find

    try:
        idea = find(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if json:
        print_json(idea.model_dump(mode="json"))
        return
    console = Console()
    console.print(f"[bold]{idea.name}[/bold]  ({idea.idea_class})", highlight=False)
    for text in (idea.hypothesis, idea.mechanism, f"Source: {idea.citation or 'none given'}"):
        console.print(text, markup=False, highlight=False)
    for key, value in idea.patch.overrides.items():
        console.print(f"  {key} = {value!r}", markup=False)
    for key, one in idea.patch.tune.items():
        console.print(f"  {key} tuned {one}", markup=False)
    for edit in idea.patch.edits:
        console.print(f"--- {edit.path}", markup=False)
        for sign, text in (("-", edit.search), ("+", edit.replace)):
            console.print("\n".join(sign + line for line in text.splitlines()), markup=False, highlight=False)


def ideas_add(file: Path, /, *, campaign: str | None = None, json: Json = False) -> None:
    """Queue the ideas of a TOML or Markdown file in a campaign that is not finished."""
    from mendel.campaign.intake import check_added
    from mendel.ideas.userfile import load_ideas

    ideas = load_ideas(file)
    with open_store() as store:
        found = store.campaign(campaign)
        if found.state.value == "finished":
            raise ConfigError(f"campaign {found.id} is finished; start one with: mendel run --ideas {file}")
        check_added(store, found, file, ideas)
        names = store.add_ideas(found.id, ideas)
    print_result(
        json,
        {"campaign": found.id, "added": names},
        f"Added to {found.id}: {', '.join(names) or 'nothing new'}",
    )
