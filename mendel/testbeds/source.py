"""Where the source of a testbed lay when a campaign began: repository, commit, and what was not committed.

Patches are changes of the files as they were read. To hand them back as commits one must know of which commit
these files were, and that is known on the day only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mendel.records import Record, RunEdit, Scalar, Span, Testbed, tree_hash
from mendel.testbeds.git import GitError, ask, git

LINK = "120000"
"""Mode of a symbolic link in a git tree: its content is where it points to."""


class Source(Record):
    """The source of a testbed as a campaign found it."""

    folder: str
    """Absolute path of the folder that the files are relative to."""
    tree: str
    """Content hash of the files."""
    editable: tuple[str, ...]
    """The files a patch may touch."""
    command: tuple[str, ...]
    """What a run is started with."""
    override: tuple[str, ...] = ()
    """Arguments that set a knob; empty, as what follows, in stores that are older than these fields."""
    set: dict[str, Scalar] = {}
    """Knobs that all runs are given."""
    rung_sets: tuple[dict[str, Scalar], ...] = ()
    """Knobs that those of a rung are given."""
    protected: tuple[Span, ...] = ()
    """Lines of editable files that no patch may touch."""
    protected_files: tuple[str, ...] | None = None
    """Files that none may, beside those that are just not editable; None: not known."""
    edits: tuple[RunEdit, ...] = ()
    """What is changed in the source of every run."""
    repository: str | None = None
    """Top level of the git repository; None where the files are in none."""
    commit: str | None = None
    """The commit that was checked out there."""
    prefix: str = ""
    """From the top level to the folder, with a slash at its end; empty where they are the same."""
    dirty: tuple[str, ...] = ()
    """Files that differ from that commit, or are not in it."""
    reason: str = ""
    """Why there is no repository."""


def describe(testbed: Testbed, tree: Mapping[str, str]) -> Source:
    """Where the files `tree` of a testbed lie. Reads the repository and writes nothing to it."""
    folder = Path(testbed.root)
    found = without_repository(testbed, tree_hash(tree), "")
    try:
        top = git("rev-parse", "--show-toplevel", folder=folder).removesuffix("\n")
        commit = ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}", folder=folder)
        if commit is None:
            return _because(found, f"the git repository {top} has no commit yet")
        prefix = ask("rev-parse", "--show-prefix", folder=folder) or ""
        listed = git(*listing(commit, [prefix + path for path in tree]), folder=Path(top))
    except GitError as error:  # none there, or one that git does not trust: a campaign runs all the same
        return _because(found, f"{folder}: {error}")
    blobs = plain_files(listed)
    if not blobs:  # an installed package below somebody's project, say
        return _because(found, f"none of its files is in the git repository {top}")
    here = {path: text for path, text in tree.items() if (folder / path).is_file()}  # no score file beside it
    dirty = [
        path for path, text in here.items() if blobs.get(prefix + path, ("", ""))[1] != _blob(text, commit)
    ]
    return found.model_copy(
        update={"repository": top, "commit": commit, "prefix": prefix, "dirty": tuple(dirty)}
    )


def without_repository(testbed: Testbed, tree: str, reason: str) -> Source:
    """The source of this content hash, wherever its files lay."""
    return Source(
        folder=testbed.root,
        tree=tree,
        editable=testbed.editable,
        command=testbed.command,
        override=testbed.override,
        set=testbed.set,
        rung_sets=tuple(rung.set for rung in testbed.rungs),
        protected=testbed.protected,
        protected_files=testbed.protected_files,
        edits=testbed.edits,
        reason=reason,
    )


def listing(commit: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Arguments of the git command whose output `plain_files` reads."""
    return ("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)


def plain_files(listed: str) -> dict[str, tuple[str, str]]:
    """Path -> (mode, id) of the files that a commit holds; links and other repositories are none."""
    rows = [row.split("\t", 1) for row in listed.split("\0") if row]
    known = {path: facts.split() for facts, path in rows}
    return {path: (mode, id) for path, (mode, kind, id) in known.items() if kind == "blob" and mode != LINK}


def _because(source: Source, reason: str) -> Source:
    return source.model_copy(update={"reason": reason})


def _blob(text: str, like: str) -> str:
    """The id git gives to a file of this text, byte for byte, in a repository with ids such as `like`."""
    data = text.encode("utf-8")
    kind = "sha256" if len(like) == 64 else "sha1"
    return hashlib.new(kind, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
