"""The text of a campaign: split once into training, validation and held-out bytes, under one hash.

What a run is judged by must not be in what it learns from. So whole documents go to one split, near
duplicates go together, and training bytes lie in a folder of their own, apart from the sealed ones, so
that a sandbox can show a run the first and hide the second. For the default corpus it hides
`sealed.sealed_paths` too: the installed files that the sealed documents come from. Behind the text of each
sealed file stand canaries, which are no part of it (`canaries`).

A corpus lies in `root/corpora/<hash>`: `manifest.json`, `train/train.bin`, `sealed/validation.bin`,
`sealed/held_out.bin` (documents as UTF-8 bytes, one NUL byte between two), `train/sources.json` (the source
of each training document, in order) and `sealed/documents.json` (the path of each document). It is written to
a temporary name and renamed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from mendel.records import Record, Shard, content_hash
from mendel.yardstick.canaries import ROWS, TAIL, decoys, new_tail, read_tail, shuffled
from mendel.yardstick.duplicates import duplicate_groups
from mendel.yardstick.hub import PREFIX, download
from mendel.yardstick.sources import (
    DEFAULT,
    CorpusError,
    Document,
    Source,
    documents,
    read_folder,
    read_packages,
    source_name,
)

SEALED = (
    # No run imports these, and nothing else in the packages does; so they can be hidden from runs.
    # Library code and its tests, from both large packages, in about the mix of the training text.
    "sympy/stats",
    "sympy/crypto",
    "sympy/diffgeom",
    "sympy/holonomic",
    "sympy/liealgebras",
    "sympy/physics/biomechanics",
    "sympy/physics/continuum_mechanics",
    "sympy/physics/optics",
    "networkx/algorithms/centrality/tests",
    "networkx/algorithms/isomorphism/tests",
)
"""Folders of the default corpus whose files go to validation and held-out."""

SHARE = 0.05
"""Share of a folder's bytes for validation, and again for held-out."""
MIN_TRAIN = 200_000
"""Bytes."""
MIN_SHARD = 16_384
"""Bytes of validation and of held-out."""

Group = list[Document]
Splits = dict[str, list[Document]]


class Split(Record):
    """One split on disk."""

    documents: int
    bytes: int
    """Size of its text; a byte is a token. A sealed file is longer by its canaries."""
    sha256: str
    """Of its text."""
    paths: str
    """Content hash of the paths of its documents, in order."""


class Corpus(Record):
    """A built corpus. Its manifest is this record without `folder`."""

    hash: str
    """Over split names, paths and contents: equal text, split equally, has an equal hash."""
    source: str
    """`default` or the folder it was built from."""
    source_hash: str
    """Content hash of the source's files."""
    train: Split
    validation: Split
    held_out: Split
    exact_duplicates: int
    """Documents left out because an equal one is kept."""
    near_duplicate_groups: int
    near_duplicates: int
    """Documents in those groups."""
    libraries: dict[str, str]
    """Versions of the packages the text comes from."""
    folder: Path = Field(exclude=True)

    @property
    def train_folder(self) -> Path:
        """All that a run may see of the corpus."""
        return self.folder / "train"

    @property
    def sealed_folder(self) -> Path:
        """What a run must not see."""
        return self.folder / "sealed"

    @property
    def train_file(self) -> Path:
        return self.train_folder / "train.bin"

    @property
    def sources_file(self) -> Path:
        """{"sources": [names], "documents": [place in names, one for each training document, in order]}."""
        return self.train_folder / "sources.json"

    def shard_file(self, shard: Shard) -> Path:
        """Text and canaries; `shard_text` is the text."""
        return self.sealed_folder / f"{shard.value}.bin"

    def shard_text(self, shard: Shard) -> NDArray[np.uint8]:
        """The text of `shard`, memory-mapped and read-only, (bytes,)."""
        return _map(self.shard_file(shard), getattr(self, shard.value))

    def train_text(self) -> NDArray[np.uint8]:
        """The training text, memory-mapped and read-only, (bytes,)."""
        return _map(self.train_file, self.train)

    def canaries(self, shard: Shard) -> tuple[bytes, ...]:
        """The strings behind the text of `shard`; none where the corpus was built before there were any.
        CorpusError when the file holds something else there."""
        path = self.shard_file(shard)
        with path.open("rb") as file:
            file.seek(getattr(self, shard.value).bytes)
            try:
                return read_tail(file.read())
            except ValueError as error:
                raise _changed(path, str(error)) from error

    def canary_rows(self, shard: Shard) -> dict[str, NDArray[np.uint8]]:
        """`canary` and `decoy`, (rows, bytes) each, to ask a model about: several strings a row, a line each
        in an order drawn at each call. The decoys are fresh, too. Empty where there are no canaries."""
        planted = shuffled(self.canaries(shard))
        groups = {"canary": planted, "decoy": decoys(planted)} if planted else {}
        lines = {name: b"\n".join(found) + b"\n" for name, found in groups.items()}
        return {name: np.frombuffer(text, np.uint8).reshape(ROWS, -1) for name, text in lines.items()}

    def epochs(self, tokens: int) -> float:
        """How often a run of `tokens` tokens goes through the training text."""
        return tokens / self.train.bytes

    def verify(self) -> None:
        """Hash all files again. CorpusError names the one that is not what was built."""
        files = {
            "train": self.train_file,
            "validation": self.shard_file(Shard.VALIDATION),
            "held_out": self.shard_file(Shard.HELD_OUT),
        }
        listed = _load_json(self.sealed_folder / "documents.json")
        for name, path in files.items():
            split: Split = getattr(self, name)
            try:
                digest = hashlib.sha256(_map(path, split).data).hexdigest()
            except (OSError, ValueError) as error:  # ValueError: it is shorter than its text
                raise _changed(path, f"cannot be read ({error})") from error
            if digest != split.sha256:
                raise _changed(path, f"sha256 is {digest[:12]}, it was {split.sha256[:12]}")
            if content_hash(listed.get(name)) != split.paths:
                raise _changed(self.sealed_folder / "documents.json", f"the list '{name}' is another")
        for shard in Shard:
            self.canaries(shard)
        if _load_json(self.sources_file) != _sources(listed["train"], self.source):
            raise _changed(self.sources_file, "it names other sources than the list of documents")
        found = _corpus_hash({name: getattr(self, name) for name in files})
        if found != self.hash:
            raise _changed(self.folder / "manifest.json", f"its splits hash to {found}, not {self.hash}")


def build_corpus(source: str | Path, root: Path, site_packages: Path | None = None) -> Corpus:
    """The corpus of `source` below `root`, built unless it is there already.

    `source` is "default" (source text of the packages, from `site_packages` or this interpreter), a folder of
    `.txt`, `.jsonl` and `.parquet` files, or "hf:NAME", a Hugging Face dataset (`hub.parse`). A source that
    changed gives another hash.
    Raises CorpusError for text that cannot be used.
    """
    name, corpora = str(source), Path(root) / "corpora"
    if name == DEFAULT:
        read = read_packages(site_packages)
    elif name.startswith(PREFIX):
        read = read_folder(download(name, Path(root) / "downloads"))
    else:
        read = read_folder(Path(source))
    source_hash = read.hash
    for manifest in sorted(corpora.glob("[0-9a-f]*/manifest.json")):
        corpus = load_corpus(manifest.parent)
        if corpus.source_hash == source_hash:
            if not corpus.sources_file.exists():  # built before there was one
                listed = _load_json(corpus.sealed_folder / "documents.json")
                _write_sources(corpus.sources_file, listed["train"], corpus.source)
            return corpus
    return _build(read, source_hash, corpora)


def load_corpus(folder: Path) -> Corpus:
    """The corpus in `folder`. CorpusError when its manifest or a file's size is not right; `verify`
    looks at every byte."""
    path = folder / "manifest.json"
    try:
        corpus = Corpus.model_validate(_load_json(path) | {"folder": folder})
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(map(str, detail["loc"]))
        raise _changed(path, f"key '{key}': {detail['msg']}") from error
    files = {corpus.train_file: corpus.train}
    files |= {corpus.shard_file(Shard.VALIDATION): corpus.validation}
    files |= {corpus.shard_file(Shard.HELD_OUT): corpus.held_out}
    for file, split in files.items():
        size = file.stat().st_size if file.is_file() else None
        tail = TAIL if file != corpus.train_file else 0
        if size not in (split.bytes, split.bytes + tail):
            found = "it is missing" if size is None else f"it has {size} bytes"
            raise _changed(file, f"{found}, it had {split.bytes}")
    return corpus


def _build(source: Source, source_hash: str, corpora: Path) -> Corpus:
    default = source.name == DEFAULT
    found = list(documents(source))
    groups, exact = _group(found, _is_sealed if default else lambda path: False)
    if len(groups) < 3:
        raise CorpusError(
            f"data '{source.name}': found {len(groups)} documents that are not near duplicates of each "
            f"other (of {len(found)}); at least 3 are needed, one for each split"
        )
    splits = _split_sealed(groups) if default else _split_by_size(groups)
    near = [len(group) for group in groups if len(group) > 1]
    about = {
        "source": source.name,
        "source_hash": source_hash,
        "exact_duplicates": exact,
        "near_duplicate_groups": len(near),
        "near_duplicates": sum(near),
        "libraries": source.libraries,
    }
    corpora.mkdir(parents=True, exist_ok=True)
    temporary = corpora / f".building-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        written = _write(splits, temporary, source.name)
        _check_sizes(source.name, written)
        corpus = Corpus(hash=_corpus_hash(written), folder=temporary, **written, **about)
        (temporary / "manifest.json").write_text(corpus.model_dump_json(indent=1))
        folder = corpora / corpus.hash
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster, or another source is equal
                raise
        return load_corpus(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _group(found: Iterable[Document], is_sealed: Callable[[str], bool]) -> tuple[list[Group], int]:
    """Groups of near duplicates, in order of their hash, and the number of exact duplicates left out."""
    kept: dict[bytes, Document] = {}
    exact = 0
    # Of equal documents one outside the sealed folders is kept: its text is in a run's sight anyway.
    for document in sorted(found, key=lambda d: (is_sealed(d.path), d.path)):
        exact += kept.setdefault(hashlib.sha256(document.content).digest(), document) is not document
    unique = list(kept.items())
    labels = duplicate_groups([document.content for _, document in unique])
    members: dict[int, list[tuple[bytes, Document]]] = defaultdict(list)
    for label, pair in zip(labels.tolist(), unique, strict=True):
        members[label].append(pair)
    ordered = sorted((sorted(pairs) for pairs in members.values()), key=lambda pairs: pairs[0][0])
    return [[document for _, document in pairs] for pairs in ordered], exact


def _is_sealed(path: str) -> bool:
    return any(path.startswith(f"{folder}/") for folder in SEALED)


def _split_sealed(groups: Iterable[Group]) -> Splits:
    """Groups within the sealed folders, the largest first, to the shard that has less of their folder
    and of their kind (package, tests or not), so that both shards have the same mix; a group that
    reaches outside goes to train."""
    splits: Splits = {"train": [], "validation": [], "held_out": []}
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for group in sorted(groups, key=_size, reverse=True):
        shard = "train"
        if all(_is_sealed(document.path) for document in group):
            folder = group[0].path.rpartition("/")[0]
            kind = f"{folder.split('/')[0]} {folder.endswith('tests')}"
            shard = min(("validation", "held_out"), key=lambda name: sizes[name, folder] + sizes[name, kind])
            sizes[shard, folder] += _size(group)
            sizes[shard, kind] += _size(group)
        splits[shard] += group
    return splits


def _split_by_size(groups: Sequence[Group]) -> Splits:
    """Held-out and validation take groups, in order of their hash, up to their share of the bytes; train
    has the rest. Groups larger than a share come last, so that one of them does not become a shard
    unless nothing else can."""
    target = max(SHARE * sum(map(_size, groups)), MIN_SHARD)
    rest = sorted(groups, key=lambda group: max(_size(group), target))
    splits: Splits = {"train": [], "validation": [], "held_out": []}
    for shard, others in (("held_out", 2), ("validation", 1)):
        while len(rest) > others and _size(splits[shard]) < target:
            splits[shard] += rest.pop(0)
    splits["train"] = [document for group in rest for document in group]
    return splits


def _size(group: Iterable[Document]) -> int:
    return sum(len(document.content) for document in group)


def _write(splits: Splits, folder: Path, source: str) -> dict[str, Split]:
    """Write the files of all splits, documents in order of the hash of their path."""
    written, listed = {}, {}
    for name, members in splits.items():
        ordered = sorted(members, key=lambda d: hashlib.sha256(d.path.encode()).digest())
        data = b"\0".join(document.content for document in ordered)
        file = folder / ("train" if name == "train" else "sealed") / f"{name}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data if name == "train" else data + new_tail())
        listed[name] = [document.path for document in ordered]
        written[name] = Split(
            documents=len(ordered),
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            paths=content_hash(listed[name]),
        )
    (folder / "sealed" / "documents.json").write_text(json.dumps(listed, indent=0))
    _write_sources(folder / "train" / "sources.json", listed["train"], source)
    return written


def _write_sources(file: Path, paths: Any, source: str) -> None:
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    unfinished.write_text(json.dumps(_sources(paths, source)))
    unfinished.replace(file)


def _sources(paths: Sequence[str], source: str) -> dict[str, Any]:
    """The content of sources.json: it follows from the paths alone, so the corpus hash covers it."""
    names = [source_name(path, source == DEFAULT) for path in paths]
    known = sorted(set(names))
    places = {name: place for place, name in enumerate(known)}
    return {"sources": known, "documents": [places[name] for name in names]}


def _check_sizes(source: str, splits: dict[str, Split]) -> None:
    needed = {"train": MIN_TRAIN, "validation": MIN_SHARD, "held_out": MIN_SHARD}
    for name, least in needed.items():
        if splits[name].bytes < least:
            sizes = ", ".join(f"{key} {split.bytes}" for key, split in splits.items())
            raise CorpusError(
                f"data '{source}' is too small: {name} has {splits[name].bytes} bytes, at least {least} "
                f"are needed (found {sizes}); add documents"
            )


def _corpus_hash(splits: dict[str, Split]) -> str:
    return content_hash({name: [split.sha256, split.paths] for name, split in splits.items()})


def _map(file: Path, split: Split) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, mode="r", shape=(split.bytes,))


def _load_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise _changed(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _changed(path, "it is not JSON") from error
    if not isinstance(value, dict):
        raise _changed(path, f"it holds {type(value).__name__}, not an object")
    return value


def _changed(path: Path, what: str) -> CorpusError:
    folder = path.parent if path.name == "manifest.json" else path.parent.parent
    return CorpusError(
        f"{path}: the corpus changed since it was built: {what}; delete {folder} to have it built again"
    )
