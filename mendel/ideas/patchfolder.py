"""A folder of patches, for the red team: ideas files, and unified diffs against a testbed's files.

What lies below a folder named `honest` should pass every audit; everything else should not.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mendel.ideas.userfile import IdeasError, load_ideas
from mendel.records import Edit, Forecast, Idea, Patch

HONEST = "honest"
EXPECTED = "expected.toml"
"""For each cheat, optionally, `[name]` with `audits = [...]`: those that should stop it."""
SUFFIXES = (".toml", ".md", ".patch", ".diff")
MOST_STRIPPED = 6
"""Leading folders of a diff's paths that are tried to be left out."""


@dataclass(frozen=True)
class Suspect:
    """A patch to be judged, and what its author thinks of it."""

    idea: Idea
    honest: bool
    expected: tuple[str, ...] = ()
    """Audits of which one should stop it."""


def load_suspects(folder: Path, tree: Mapping[str, str]) -> tuple[Suspect, ...]:
    """All patches below `folder`; `tree` is the source that diffs are made against.

    Raises IdeasError for a folder without any, a file that cannot be used, or a name that occurs twice.
    """
    if not folder.is_dir():
        raise IdeasError(f"{folder}: there is no such folder; give one with {', '.join(SUFFIXES)} files")
    expected = _expected(folder / EXPECTED)
    suspects: dict[str, Suspect] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix not in SUFFIXES or file.name in (EXPECTED, "README.md") or not file.is_file():
            continue
        honest = HONEST in file.relative_to(folder).parts[:-1]
        for idea in _ideas(file, tree):
            if idea.name in suspects:
                raise IdeasError(f"{file}: name: {idea.name!r} occurs twice below {folder}; names are unique")
            suspects[idea.name] = Suspect(idea, honest, expected.get(idea.name, ()))
    if not suspects:
        raise IdeasError(f"{folder}: no patches below it; allowed are {', '.join(SUFFIXES)} files")
    return tuple(suspects.values())


def _ideas(file: Path, tree: Mapping[str, str]) -> Iterator[Idea]:
    if file.suffix in (".toml", ".md"):
        yield from load_ideas(file)
        return
    words = dict.fromkeys(("hypothesis", "mechanism", "citation"), f"See {file.name}.")
    yield Idea(
        name=re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-")[:60] or "patch",
        idea_class="architecture",
        forecast=Forecast(mean=0.0, sd=0.3),
        patch=Patch(edits=read_diff(file, tree)),
        proposer="user",
        **words,
    )


def read_diff(file: Path, tree: Mapping[str, str]) -> tuple[Edit, ...]:
    """The edits of a unified diff, each of a whole file. IdeasError where it does not apply to `tree`."""
    with tempfile.TemporaryDirectory(prefix="mendel-diff-") as temporary:
        place = Path(temporary)
        for path, text in tree.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text, encoding="utf-8")
        said = ""
        for stripped in range(1, MOST_STRIPPED):
            command = ["git", "apply", f"-p{stripped}", str(file.absolute())]
            try:
                done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                raise IdeasError(f"{file}: reading a diff needs git; or write it as an ideas file") from None
            if done.returncode == 0:
                break
            said = said or done.stderr.strip().replace("\n", "; ")
        else:
            raise IdeasError(f"{file}: does not apply to the testbed's files: {said[:300]}")
        after = {path: (place / path).read_text(encoding="utf-8") for path in tree}
        known = {place / path for path in tree}
        new = [p for p in place.rglob("*") if p.is_file() and p not in known]
    if new:
        raise IdeasError(f"{file}: adds {new[0].name}; a patch changes files that are there")
    changed = [path for path in tree if after[path] != tree[path]]
    if not changed:
        raise IdeasError(f"{file}: changes nothing")
    return tuple(Edit(path=path, search=tree[path], replace=after[path]) for path in changed)


def _expected(file: Path) -> dict[str, tuple[str, ...]]:
    if not file.is_file():
        return {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        return {name: tuple(entry["audits"]) for name, entry in table.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise IdeasError(
            f'{file}: {error}; write [name] tables with audits = ["future", ...] for each cheat'
        ) from None
