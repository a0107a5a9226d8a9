"""A training repository as it is looked at: its files as text and as syntax trees. Nothing of it is imported
or run, nothing in it is written, and whatever lies there, looking never fails."""

from __future__ import annotations

import ast
import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mendel.testbeds.files import FilesError, source_files
from mendel.testbeds.git import GitError, git

MOST_PYTHON = 600
"""Python files that are read; a repository with more is looked at from the top."""
LARGEST = 400_000
"""Characters of a file that is read for what it says."""


@dataclass(frozen=True)
class Machine:
    """What runs would have here."""

    cards: int = 0
    cores: int = 1


@dataclass
class Repository:
    """The folder, and what has been read of it."""

    root: Path
    machine: Machine = field(default_factory=Machine)
    _texts: dict[str, str] = field(default_factory=dict)
    _trees: dict[str, ast.Module | None] = field(default_factory=dict)
    _near: dict[str, list[str]] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[str]:
        """Posix paths of the source files, as a testbed without `files` would have them; of too many, or of a
        folder that cannot be listed, the Python files near the top."""
        try:
            return source_files(self.root, ())
        except (FilesError, OSError):
            return _shallow(self.root)

    @cached_property
    def countable(self) -> bool:
        """Whether a testbed may leave `files` out."""
        try:
            source_files(self.root, ())
        except (FilesError, OSError):
            return False
        return True

    @cached_property
    def python(self) -> list[str]:
        """The Python files, those nearest the top first."""
        found = [path for path in self.files if path.endswith(".py")]
        return sorted(found, key=lambda path: (path.count("/"), path))[:MOST_PYTHON]

    def has(self, *paths: str) -> bool:
        return all(path in self._known for path in paths)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.files)

    def text(self, path: str) -> str:
        """A file's text; empty where it cannot be read."""
        if path not in self._texts:
            try:
                text = (self.root / path).read_bytes().decode("utf-8")
            except (OSError, UnicodeDecodeError, ValueError):
                text = ""
            self._texts[path] = text if len(text) <= LARGEST else ""
        return self._texts[path]

    def tree(self, path: str) -> ast.Module | None:
        """A Python file's syntax tree; None where it has none."""
        if path not in self._trees:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of the user's escapes in strings
                    self._trees[path] = ast.parse(self.text(path))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._trees[path] = None
        return self._trees[path]

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there, known to git or not."""
        try:
            return (self.root / path).exists()
        except (OSError, ValueError):
            return False

    @cached_property
    def ignored(self) -> list[str]:
        """Files and folders that are there and git passes by: data are often among them. Folders end in /."""
        try:
            said = git(
                *["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"],
                folder=self.root,
            )
        except GitError:  # in no repository, or no git here
            return []
        return [one for one in said.split("\0") if one][:500]

    @cached_property
    def readme(self) -> str:
        names = [path for path in self.files if "/" not in path and path.lower().startswith("readme")]
        return "\n".join(self.text(path) for path in names)

    def module_file(self, dotted: str, beside: str = "") -> str:
        """The file of a module of the repository, as a script in folder `beside` would import it; empty for
        one from elsewhere."""
        path = dotted.replace(".", "/")
        folders = [beside, "", "src"] if beside else ["", "src"]
        for folder in folders:
            for end in (".py", "/__init__.py"):
                whole = f"{folder}/{path}{end}".lstrip("/")
                if whole in self._known:
                    return whole
        return ""

    def imported(self, path: str, most: int = 40) -> list[str]:
        """The repository's own files that a file imports, and those that they import; the nearest first."""
        found: dict[str, None] = {}
        queue = [path]
        while queue and len(found) < most:
            here = queue.pop(0)
            if here not in self._near:
                self._near[here] = self._imports(here)
            for one in self._near[here]:
                if one not in found and one != path:
                    found[one] = None
                    queue.append(one)
        return list(found)

    def _imports(self, path: str) -> list[str]:
        tree = self.tree(path)
        folder = path.rpartition("/")[0]
        names: list[tuple[str, str]] = []
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Import):
                names += [(alias.name, folder) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level:
                parts = folder.split("/")[: len(folder.split("/")) - node.level + 1]
                base = "/".join(parts)
                within = [node.module] if node.module else [alias.name for alias in node.names]
                names += [(f"{one}", base) for one in within]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.append((node.module, folder))
                names += [(f"{node.module}.{alias.name}", folder) for alias in node.names]
        found = [self.module_file(name, beside) for name, beside in names]
        return [one for one in dict.fromkeys(found) if one]


def _shallow(root: Path) -> list[str]:
    found: list[str] = []
    for folder, below, names in os.walk(root):
        here = Path(folder).relative_to(root)
        deep = len(here.parts) >= 3 or len(found) > 2 * MOST_PYTHON
        below[:] = [] if deep else sorted(one for one in below if not one.startswith("."))
        found += [(here / name).as_posix() for name in sorted(names) if name.endswith((".py", ".md"))]
    return [path for path in found if _plain(root / path)]


def _plain(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST
    except OSError:
        return False
