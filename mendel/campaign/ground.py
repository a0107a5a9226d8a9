"""What the runs of a testbed stand on besides its source: text, prepared files, an interpreter.

The user's folder is only read. What `prepare` makes is made in a copy below the store, once for each content
of source and inputs; runs find it, and the inputs, as links in their own source folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendel.campaign.config import CampaignConfig
from mendel.patches import read_tree, write_tree
from mendel.records import Recipe, RunEdit, Testbed, content_hash, tree_hash
from mendel.testbeds import TestbedError
from mendel.testbeds.command import run_command, run_env, run_values
from mendel.testbeds.environment import interpreter
from mendel.testbeds.files import matches
from mendel.yardstick import Corpus, build_corpus

WHOLE = 1 << 28
"""Bytes up to which a file is known by its whole content; of larger ones by size, beginning and end."""
_ENDS = 1 << 24


@dataclass(frozen=True)
class Ground:
    """A testbed with everything that its runs need."""

    testbed: Testbed
    corpus: Corpus | None = None
    """Text that Mendel holds: it scores the runs, or they ask for {data}."""
    links: tuple[tuple[str, Path], ...] = ()
    """Path in a run's source, and the file or folder that is to be found there."""
    readable: tuple[Path, ...] = ()
    """What runs may read besides their source."""
    home: str = ""
    """The user's home, where runs read below it."""
    hash: str = ""
    """Of the content of all that."""
    device: str = "cpu"

    @property
    def text(self) -> Corpus:
        """The corpus, for what only testbeds with one do."""
        assert self.corpus is not None
        return self.corpus

    def command(self, recipe: Recipe, rung: int, seed: int, budget: int, out: Path) -> tuple[str, ...]:
        """Script and arguments of a run."""
        return run_command(self.testbed, recipe, rung, self.values(recipe, rung, seed, budget, out))

    def values(self, recipe: Recipe, rung: int, seed: int, budget: int, out: Path) -> dict[str, Any]:
        """What the placeholders of a command stand for."""
        data = self.corpus.train_file if self.corpus else ""
        return run_values(self.testbed, recipe, rung, seed, budget, out, data)

    def furnish(self, source: Path, values: Mapping[str, Any]) -> None:
        """Make a run's copy of the source ready: the testbed's edits, and links to what runs read.

        ValueError where a patch took away what an edit searches for."""
        for edit in self.testbed.edits:
            path = source / edit.path
            path.write_bytes(edited(path.read_bytes().decode("utf-8"), edit, values).encode("utf-8"))
        for relative, target in self.links:
            _link(source / relative, target)

    def env(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Environment variables of a run."""
        return {**({"HOME": self.home} if self.home else {}), **run_env(self.testbed, values)}


def edited(text: str, edit: RunEdit, values: Mapping[str, Any]) -> str:
    """A file's text with one edit of the testbed. ValueError unless it fits in exactly one place."""
    count = text.count(edit.search)
    if count != 1:
        raise ValueError(
            f"{edit.path}: {edit.search!r:.80} occurs {count} times; the testbed's edits need it exactly once"
        )
    return text.replace(edit.search, edit.replace.format(**values))


def lay_ground(testbed: Testbed, config: CampaignConfig, root: Path) -> Ground:
    """Everything that runs of a testbed need, made where it is not there yet.

    CorpusError for text that cannot be used; TestbedError for inputs that are not there, an environment that
    cannot be built, a preparation that fails."""
    python = interpreter(testbed, root)
    testbed = testbed.model_copy(update={"python": python})
    corpus = None
    if testbed.score or _asks_for_data(testbed):
        corpus = build_corpus(config.data if config.data == "default" else Path(config.data), root)
        corpus.verify()
    inputs = [_input(testbed, one) for one in testbed.inputs]
    links = [(one, path) for one, path in inputs if not Path(one).is_absolute()]
    links = [(one, path) for one, path in links if not one.startswith("~")]
    readable = [path for _, path in inputs]
    parts: list[Any] = [corpus.hash] if corpus else []
    if inputs:
        parts.append([[one, _content(path)] for one, path in inputs])
    if corpus:
        readable.append(corpus.train_folder)
    if testbed.prepare:
        made = _prepare(testbed, corpus, links, content_hash(parts), root)
        links += [(relative, made / relative) for relative in _made(testbed, made)]
        readable.append(made)
        parts.append([[relative, _content(made / relative)] for relative in _made(testbed, made)])
    return Ground(
        testbed=testbed,
        corpus=corpus,
        links=tuple(links),
        readable=tuple(readable),
        home=str(Path.home()) if any(one.startswith("~") for one in testbed.inputs) else "",
        hash=corpus.hash if corpus and len(parts) == 1 else content_hash(parts),
        device="cuda" if testbed.gpus else "cpu",
    )


def _asks_for_data(testbed: Testbed) -> bool:
    texts = [*testbed.command, *(edit.replace for edit in testbed.edits), *testbed.env.values()]
    return any("{data}" in text for text in (*texts, *(testbed.prepare.command if testbed.prepare else ())))


def _input(testbed: Testbed, one: str) -> tuple[str, Path]:
    path = Path(testbed.root, Path(one).expanduser())
    if not path.exists():
        raise TestbedError(
            f"{testbed.folder}/testbed.toml: inputs: {one!r} does not exist ({path}); make it as the "
            "trainer's own instructions say, or let [prepare] make it"
        )
    return one, path


def _content(path: Path) -> str:
    """Hash of a file's content, or of all files below a folder."""
    if path.is_dir():
        below = sorted(one for one in path.rglob("*") if one.is_file())
        return content_hash([[one.relative_to(path).as_posix(), _content(one)] for one in below])
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            while block := file.read(_ENDS):
                digest.update(block)
        else:
            digest.update(file.read(_ENDS))
            file.seek(size - _ENDS)
            digest.update(file.read())
    return digest.hexdigest()


def _prepare(
    testbed: Testbed, corpus: Corpus | None, links: list[tuple[str, Path]], inputs: str, root: Path
) -> Path:
    """The folder in which the preparation was done; done now if it was not. TestbedError if it fails."""
    preparation = testbed.prepare
    assert preparation is not None
    tree = read_tree(testbed)
    key = content_hash([tree_hash(tree), preparation.model_dump(mode="json"), inputs, testbed.python])
    folder = root / "prepared" / key
    source, done = folder / "source", folder / "made.json"
    if done.exists():
        return source
    shutil.rmtree(folder, ignore_errors=True)
    write_tree(tree, source)
    for relative, target in links:
        _link(source / relative, target)
    values = {"data": corpus.train_file if corpus else "", "out": folder}
    try:
        command = [testbed.python, *(part.format(**values) for part in preparation.command)]
    except (KeyError, IndexError, ValueError) as error:
        raise TestbedError(
            f"{testbed.folder}/testbed.toml: prepare.command: {error}; allowed are {{data}} {{out}}"
        ) from None
    log = folder / "prepare.log"
    where = f"{testbed.folder}/testbed.toml: prepare.command"
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                command, cwd=source, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                timeout=preparation.timeout, env={**os.environ, **testbed.env},
            ).returncode  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TestbedError(f"{where}: {error}") from None
    if code:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        raise TestbedError(f"{where}: exit code {code}: {(lines or ['it said nothing'])[-1]:.200}; see {log}")
    made = _made(testbed, source)
    for pattern in preparation.makes:
        if not any(matches(one, pattern) for one in made):
            raise TestbedError(
                f"{testbed.folder}/testbed.toml: prepare.makes: {pattern!r} was not made; see {log}"
            )
    partial = done.with_suffix(".partial")
    partial.write_text(json.dumps(made))
    partial.rename(done)
    return source


def _made(testbed: Testbed, source: Path) -> list[str]:
    """Files that the preparation made, relative to the source."""
    assert testbed.prepare is not None
    found = []
    for path in sorted(_files(source)):
        relative = path.relative_to(source).as_posix()
        if relative not in testbed.files and any(matches(relative, one) for one in testbed.prepare.makes):
            found.append(relative)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _link(place: Path, target: Path) -> None:
    """Make `target` be found at `place`; what a folder there lacks, one by one. What is there stays."""
    if place.is_symlink() or place.is_file():
        return
    if place.is_dir() and target.is_dir():
        for below in sorted(target.iterdir()):
            _link(place / below.name, below)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
