"""Whether a patch of initialisation would change the order of a testbed's data, as far as its source shows
it."""

from __future__ import annotations

from pathlib import Path

from mendel.campaign.testbed_seen import Point, weak
from mendel.patches import read_tree
from mendel.records import Currency, Testbed
from mendel.testbeds.recognise import Repository
from mendel.testbeds.recognise.order import follows_initialisation, seeded_again
from mendel.testbeds.recognise.proposal import toml


def order_point(testbed: Testbed) -> Point | None:
    """A weak point where it would; None where it would not, or where the source does not tell."""
    sources = read_tree(testbed)
    if testbed.budget is Currency.SECONDS:  # such runs are in no pairs
        return None
    texts = dict(sources)
    for edit in testbed.edits:  # a placeholder parses as it stands
        texts[edit.path] = texts[edit.path].replace(edit.search, edit.replace)
    repo = Repository(Path(testbed.root), _texts=texts)
    entry = _entry(testbed, repo)
    drawing = follows_initialisation(repo, entry) if entry else ""
    if not drawing:
        return None
    said = (
        f"batches are drawn ({drawing}) from the generator that has just initialised the model: a patch that "
        "draws one number more there trains on other text than its control, and pairs save little"
    )
    change = "edits: seed again right before the first batch"
    again = seeded_again(repo, [entry, *repo.imported(entry)])
    if again and sources[again["path"]].count(again["search"]) == 1:
        change += f", such as {toml(again)}"
    return weak("order", said, change, path=drawing)


def _entry(testbed: Testbed, repo: Repository) -> str:
    """The file that the command runs; empty where it is none of the source."""
    for place, word in enumerate(testbed.command):
        if word.endswith(".py") and word in testbed.files:
            return word
        if word == "-m" and place + 1 < len(testbed.command):
            module = testbed.command[place + 1]
            found = repo.module_file(f"{module}.__main__") or repo.module_file(module)
            if found:
                return found
    return ""
