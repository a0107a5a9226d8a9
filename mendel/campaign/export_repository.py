"""A git repository of Mendel's own, in which a series of commits is made.

It is bare, and commits are made from blobs and an index of their own: nothing is checked out, so no filter,
hook or setting of anybody has a part in them, and the same series has the same hashes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mendel.campaign.config import ConfigError
from mendel.testbeds.git import ALONE, GitError, NoGit, ask, git
from mendel.testbeds.source import Source, listing, plain_files

NOBODY = ("Mendel", "mendel@localhost")
"""Who commits where git knows no name of the user."""
OWNER = "mendel.campaign"
"""Setting by which a repository is known as Mendel's, and for which campaign."""
AT, NOW = "refs/mendel/source", "refs/mendel/head"
"""The recorded commit, and what is checked out in the user's repository today."""
PLAIN = "100644"


class Picked(NamedTuple):
    """What came of putting one commit onto another commit than its own."""

    conflicts: tuple[str, ...]
    there: bool = False
    """Nothing was left to do."""


class Repository:
    """A repository of Mendel's own at `folder`, made for `campaign` where it is not there yet.

    ConfigError for a folder that holds something else.
    """

    def __init__(self, folder: Path, campaign: str, like: str | None, identity: tuple[str, str]) -> None:
        self.folder = folder.absolute()
        self.identity = identity
        if self._is_own(campaign):
            return
        check_empty(folder)
        kind = ("--object-format=sha256",) if like and len(like) == 64 else ()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=self.folder.parent) as temporary:
            new = Path(temporary) / "repository"
            git("init", "--quiet", "--bare", "--template=", *kind, str(new), environment=ALONE)
            git("--git-dir", str(new), "config", OWNER, campaign, environment=ALONE)
            new.replace(self.folder)  # whole, or not there

    def git(self, *arguments: str, text: str | None = None, environment: Mapping[str, str] = ALONE) -> str:
        """Git in this repository, in the same way for every user unless `environment` says otherwise."""
        return git("--git-dir", str(self.folder), *arguments, text=text, environment=environment)

    def take(self, source: Path, commits: Mapping[str, str]) -> None:
        """Copy commits, with all before them, from a repository that is only read: reference -> commit."""
        wanted = [f"{commit}:{reference}" for reference, commit in commits.items()]
        options = ("--quiet", "--force", "--no-tags", "--no-recurse-submodules", "--update-shallow")
        # With the user's own settings: there stands which repositories of others git may read.
        self.git("fetch", *options, str(source), *wanted, environment={})

    def commit(
        self, parent: str | None, files: Mapping[str, str], message: str, date: datetime
    ) -> tuple[str, bool]:
        """A commit on `parent` with these texts of files; its id, and whether it changes anything."""
        with tempfile.TemporaryDirectory(prefix="index-", dir=self.folder) as temporary:
            index = {**ALONE, "GIT_INDEX_FILE": str(Path(temporary) / "index")}
            modes: dict[str, tuple[str, str]] = {}
            if parent is None:
                self.git("read-tree", "--empty", environment=index)
            else:
                self.git("read-tree", parent, environment=index)
                modes = plain_files(self.git(*listing(parent, list(files)))) if files else {}
            rows = [
                f"{modes.get(path, (PLAIN, ''))[0]} {self._blob(text)}\t{path}\0"
                for path, text in files.items()
            ]
            self.git(
                "update-index",
                "-z",
                "--add",
                "--replace",
                "--index-info",
                text="".join(rows),
                environment=index,
            )
            tree = self.git("write-tree", environment=index).strip()
        before = None if parent is None else self.git("rev-parse", f"{parent}^{{tree}}").strip()
        parents = () if parent is None else ("-p", parent)
        made = self.git("commit-tree", tree, *parents, text=message, environment=ALONE | self._signed(date))
        return made.strip(), tree != before

    def branch(self, name: str, commit: str) -> None:
        """Let a branch be this commit, whatever it was."""
        self.git("update-ref", f"refs/heads/{name}", commit)

    def patches(self, commits: Sequence[str], folder: Path) -> list[Path]:
        """Commits as files for `git am`, numbered from 1. None may be empty: it could not be read."""
        folder.mkdir(parents=True, exist_ok=True)
        common = ("--no-signature", "--full-index", "--no-renames", "-o", str(folder.absolute()), "-1")
        made = ""
        for number, commit in enumerate(commits, 1):
            place = (f"--start-number={number}", f"--subject-prefix=PATCH {number}/{len(commits)}")
            made += self.git("format-patch", *common, *place, commit)
        return [Path(line) for line in made.splitlines()]

    def pick(self, onto: str, commits: Sequence[str]) -> list[Picked]:
        """What `git cherry-pick` says of these commits, one on top of the other, on `onto`. What conflicts is
        left out for the next."""
        found = []
        with self._checkout(onto) as folder:
            for commit in commits:
                before = git("rev-parse", "HEAD^{tree}", folder=folder, environment=ALONE)
                try:
                    options = ("--allow-empty", "--keep-redundant-commits")
                    who = ALONE | self._signed(None)
                    git("cherry-pick", *options, commit, folder=folder, environment=who)
                except GitError:
                    unmerged = ("diff", "--name-only", "--diff-filter=U", "-z")
                    files = git(*unmerged, folder=folder, environment=ALONE).split("\0")
                    git("cherry-pick", "--abort", folder=folder, environment=ALONE)
                    found.append(Picked(tuple(filter(None, files)) or ("the commit",)))
                else:
                    after = git("rev-parse", "HEAD^{tree}", folder=folder, environment=ALONE)
                    found.append(Picked((), after == before))
        return found

    @contextmanager
    def _checkout(self, commit: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="checkout-", dir=self.folder) as temporary:
            folder = Path(temporary) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(folder), commit)
            try:
                yield folder
            finally:
                shutil.rmtree(folder)
                self.git("worktree", "prune", "--expire=now")

    def _is_own(self, campaign: str) -> bool:
        if not (self.folder / "HEAD").is_file():
            return False
        return ask("--git-dir", str(self.folder), "config", "--get", OWNER, folder=self.folder) == campaign

    def _blob(self, text: str) -> str:
        return self.git("hash-object", "-w", "--stdin", "--no-filters", text=text).strip()

    def _signed(self, date: datetime | None) -> dict[str, str]:
        name, email = self.identity
        who = {"NAME": name, "EMAIL": email}
        if date is not None:
            who["DATE"] = f"@{int(date.timestamp())} +0000"
        return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}


def check_empty(folder: Path) -> None:
    """ConfigError unless a folder can be written into without mixing with what is there."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: it is a file; --to takes a folder that is empty or not there yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: it is not empty; --to takes a folder that is empty or not there yet")


def identity(source: Source) -> tuple[str, str]:
    """Name and address of the user, as git has them for the source's folder."""
    folder = Path(source.repository or source.folder)
    if not folder.is_dir():
        folder = Path.home()
    found = [ask("config", "--get", f"user.{key}", folder=folder) for key in ("name", "email")]
    return found[0] or NOBODY[0], found[1] or NOBODY[1]


def head_of(source: Source) -> str | None:
    """What is checked out in the source's repository today, None where that is no commit. ConfigError where
    the repository, or the commit that the campaign began on, is gone."""
    repository = Path(source.repository or "")
    began = f"the campaign began on commit {source.commit} there"
    if not repository.is_dir():
        raise ConfigError(f"{repository}: the repository is gone; {began}: put it back to export its changes")
    try:
        git("rev-parse", "--git-dir", folder=repository)
    except NoGit:
        raise
    except GitError as error:
        raise ConfigError(f"{repository}: {error}; {began}") from None
    if ask("cat-file", "-t", f"{source.commit}", folder=repository) != "commit":
        raise ConfigError(
            f"{repository}: commit {source.commit} is gone from it, and {began}; fetch it back, for instance "
            "from another clone"
        )
    return ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}", folder=repository)
