"""Adopted changes go back to where the source came from: a branch or patches, one commit for each change.

The user's repository is only read. Commits are made in a repository of Mendel's own below the store, on the
commit that the campaign began with; what was not committed then is the first of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mendel.campaign.config import ConfigError
from mendel.campaign.export_changes import Change, Held, chosen_campaign, held_by, only_claimed, series
from mendel.campaign.export_repository import (
    AT,
    NOW,
    Picked,
    Repository,
    check_empty,
    head_of,
    identity,
)
from mendel.campaign.export_words import (
    as_argument,
    first_commit,
    message,
    overrides_of,
    subject,
    whole_trunk,
)
from mendel.campaign.summary import cm_fields
from mendel.patches import Tree
from mendel.store import Store
from mendel.testbeds.git import GitError, NoGit, git
from mendel.testbeds.source import Source

FOLDER = "exports"
"""Below the store's root."""


class Asked(NamedTuple):
    """What the command line asks for."""

    to: Path | None = None
    """Folder of the repository, or of the patches; below the store's root by default."""
    branch: str | None = None
    patches: bool = False
    claimed: bool = False
    """Leave out what is carried, where the rest builds without it."""


@dataclass
class _Made:
    """One commit of the series."""

    commit: str
    subject: str
    change: Change | None
    """None: what was not committed when the campaign began."""
    empty: bool
    picked: Picked | None = None


@dataclass
class _Series:
    base: str
    commits: list[_Made] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def end(self) -> str:
        return self.commits[-1].commit if self.commits else self.base


def export(store: Store, campaign: str | None, asked: Asked) -> dict[str, Any]:
    """Make the series; what was made, as one JSON object (docs/export.md).

    ConfigError where there is nothing to export, or nowhere to; it names what is allowed.
    """
    try:
        return _export(store, held_by(store, chosen_campaign(store, campaign)), asked)
    except NoGit as error:
        raise ConfigError(f"export: {error}; it makes commits with git") from None
    except GitError as error:
        raise ConfigError(f"export: {error}") from None


def _export(store: Store, held: Held, asked: Asked) -> dict[str, Any]:
    git("--version")  # before anything is written
    name = _branch_name(held, asked)
    ideas, notes, stay, gone = held.trunk.adopted, list(held.notes), dict[str, str](), list[str]()
    if asked.claimed:
        ideas, stay, gone = only_claimed(held)
        notes += [f"{one} is carried and could not be left out: {why}" for one, why in stay.items()]
        if gone:
            notes.append("without what is left out the series was not measured as a whole")
    own = store.root / FOLDER / held.campaign.id
    patches = (asked.to or own / "patches") if asked.patches else None
    if patches is not None and asked.to is not None:
        check_empty(patches)
    head = head_of(held.source) if held.source.repository else None
    place = own / "repository" if asked.patches or asked.to is None else asked.to
    repository = Repository(place, held.campaign.id, held.source.commit, identity(held.source))
    if held.source.repository and held.source.commit:
        now = {NOW: head} if head else {}
        repository.take(Path(held.source.repository), {AT: held.source.commit, **now})
    made = _commits(store, held, repository, series(held, ideas))
    repository.branch(name, made.end)
    applies = _applies(held, repository, made, head, notes)
    files = _patches(repository, made, patches, own) if patches is not None else []
    notes += made.notes + _settings_left(held.source, made, asked.patches)
    return _told(held, repository, name, made, files, applies, gone, notes)


def _branch_name(held: Held, asked: Asked) -> str:
    name = asked.branch or f"mendel/{held.campaign.id}{'-claimed' if asked.claimed else ''}"
    try:
        git("check-ref-format", f"refs/heads/{name}")
    except NoGit:
        raise
    except GitError:
        raise ConfigError(
            f"command line: branch: {name!r} is no name of a branch; allowed are words with dashes and "
            "slashes, as in mendel/adopted"
        ) from None
    if name.startswith("-"):
        raise ConfigError(f"command line: branch: {name!r} may not begin with a dash")
    return name


# --- commits ------------------------------------------------------------------------------------------


def _commits(store: Store, held: Held, repository: Repository, changes: Sequence[Change]) -> _Series:
    source, date = held.source, held.campaign.created
    dates = _dates(store, held)
    if source.repository is None or source.commit is None:
        root, _ = repository.commit(None, held.base, first_commit(held, ()), date)
        made = _Series(root)
    else:
        made = _Series(source.commit)
        if source.dirty:
            files = {source.prefix + path: held.base[path] for path in source.dirty}
            text = first_commit(held, [source.prefix + path for path in source.dirty])
            commit, changed = repository.commit(made.end, files, text, date)
            made.commits.append(_Made(commit, text.split("\n")[0], None, not changed))
            made.notes.append(
                f"the series begins with what was not committed when the campaign began "
                f"({', '.join(source.dirty)}); where it still is not, commit or stash it first"
            )
    before = held.base
    for change in changes:
        files = _differing(before, change.tree, source.prefix)
        text = message(store, held, change, empty=not files)
        date = max(date, dates.get(change.idea.name, date))
        commit, _ = repository.commit(made.end, files, text, date)
        made.commits.append(_Made(commit, subject(change), change, not files))
        before = change.tree
    return made


def _differing(before: Tree, after: Tree, prefix: str) -> dict[str, str]:
    return {prefix + path: text for path, text in after.items() if before[path] != text}


def _dates(store: Store, held: Held) -> dict[str, datetime]:
    """When each change was adopted, as the campaign's log has it: the same commits come out each time."""
    log = store.events(held.campaign.id)
    return {event.idea: event.time for event in log if event.stage == "adopt" and event.idea}


# --- where they go ------------------------------------------------------------------------------------


def _patches(repository: Repository, made: _Series, folder: Path, own: Path) -> list[Path]:
    if folder == own / "patches":  # Mendel's own place: an earlier export gives way
        for old in folder.glob("*.patch"):
            old.unlink()
    return repository.patches([one.commit for one in made.commits if not one.empty], folder)


def _applies(
    held: Held, repository: Repository, made: _Series, head: str | None, notes: list[str]
) -> bool | None:
    """Whether the series applies on what is checked out today; None where there is no such thing."""
    if head is None:
        return None
    if head == held.source.commit:
        return True
    picked = repository.pick(head, [one.commit for one in made.commits])
    for one, found in zip(made.commits, picked, strict=True):
        one.picked = found
    notes.append(
        f"{held.source.repository} has moved on: the series is on {made.base[:12]}, where the campaign "
        f"began; now {head[:12]} is checked out"
    )
    for one in made.commits:
        if one.picked and one.picked.conflicts:
            notes.append(f"'{one.subject}' conflicts there in {', '.join(one.picked.conflicts)}")
        elif one.picked and one.picked.there and not one.empty:
            notes.append(f"'{one.subject}' is there already: leave it out")
    return not any(found.conflicts for found in picked)


def _settings_left(source: Source, made: _Series, patches: bool) -> list[str]:
    """What no commit does by itself."""
    notes = []
    for one in made.commits:
        left = overrides_of(one.change, one.empty) if one.change else {}
        if one.change and left:
            shown = ", ".join(as_argument(source, key, value) for key, value in left.items())
            words = "; its commit is empty" + (" and has no patch" if patches else "") if one.empty else ""
            notes.append(f"{one.change.idea.name} needs {shown} on the command line{words}")
    return notes


def _told(
    held: Held, repository: Repository, name: str, made: _Series, files: list[Path],
    applies: bool | None, gone: list[str], notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    source = held.source
    return {
        "campaign": held.campaign.id,
        "source": {
            "folder": source.folder,
            "repository": source.repository,
            "commit": source.commit,
            "prefix": source.prefix,
            "dirty": list(source.dirty),
            "reason": source.reason,
        },
        "repository": str(repository.folder),
        "branch": name,
        "base": made.base,
        "commits": [_row(one) for one in made.commits],
        "patches": [str(path) for path in files],
        "trunk": whole_trunk(held),
        "left_out": gone,
        "applies_on_head": applies,
        "take": _take(held, repository, name, made, files),
        "notes": notes,
    }


def _row(one: _Made) -> dict[str, Any]:
    finding = one.change.finding if one.change else None
    numbers = cm_fields(finding.log2_cm) if finding else {}
    return {
        "idea": one.change.idea.name if one.change else None,
        "subject": one.subject,
        "commit": one.commit,
        "cm": numbers.get("cm"),
        "low": numbers.get("cm_low"),
        "high": numbers.get("cm_high"),
        "claimed": finding is not None,
        "override": dict(overrides_of(one.change, one.empty)) if one.change else {},
        "empty": one.empty,
        "conflicts": list(one.picked.conflicts) if one.picked else [],
    }


def _take(
    held: Held, repository: Repository, name: str, made: _Series, files: Sequence[Path]
) -> dict[str, str]:
    """The commands that take the series over: all of it, and one change of it."""
    source, branch = held.source, shlex.quote(name)
    place = shlex.quote(str(repository.folder))
    into = f"git -C {shlex.quote(source.repository or source.folder)}"
    if files:
        folder, last = shlex.quote(str(files[0].parent)), shlex.quote(str(files[-1]))
        if source.repository is None:
            into = f"patch -p1 -d {shlex.quote(source.folder)}"
            return {"all": f"cat {folder}/*.patch | {into}", "one": f"{into} < {last}"}
        windows = any(one.change and "\r\n" in "".join(one.change.tree.values()) for one in made.commits)
        options = " --keep-cr" if windows else ""
        return {"all": f"{into} am{options} {folder}/*.patch", "one": f"{into} am{options} --3way {last}"}
    if source.repository is None:
        return {"all": f"git clone --branch {branch} {place} FOLDER"}
    pick = f"{into} cherry-pick{' --allow-empty' if any(one.empty for one in made.commits) else ''}"
    return {
        "fetch": f"{into} fetch {place} {branch}",
        "branch": f"{into} branch {branch} FETCH_HEAD",
        "all": f"{pick} {made.base}..FETCH_HEAD",
        "one": f"{pick} {made.end}",
    }
