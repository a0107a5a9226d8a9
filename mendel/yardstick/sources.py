"""Where text comes from: the pinned packages of the default corpus, or a folder of the user's.

A source is read whole and hashed before it is parsed, so the text that is split is the text whose hash
is recorded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from mendel.records import content_hash

DEFAULT = "default"
PACKAGES = ("sympy", "networkx", "mpmath")
EXTENSIONS = (".txt", ".jsonl", ".parquet")

RULES = 1
"""Raise when reading, grouping or splitting changes: corpora built by older rules are then not reused."""


class CorpusError(ValueError):
    """The text cannot be used, or is not what it was. One line that names the file."""


class Document(NamedTuple):
    path: str
    """Relative to the source, with `#line` or `#row` for a document inside a file."""
    content: bytes
    """UTF-8 without NUL bytes."""


class Source(NamedTuple):
    """The files of a source, unparsed."""

    name: str
    """`default` or the absolute path of the folder."""
    files: dict[str, bytes]
    """Content by relative path, in order of the path."""
    libraries: dict[str, str]
    """Versions of the packages the text comes from."""

    @property
    def hash(self) -> str:
        """Content hash of the files and their relative paths."""
        files = [(path, hashlib.sha256(data).hexdigest()) for path, data in self.files.items()]
        return content_hash([RULES, self.name == DEFAULT, files])


def read_packages(site_packages: Path | None = None) -> Source:
    """The `.py` files of PACKAGES, found without importing them; in `site_packages` where it is given,
    else wherever this interpreter would import them from."""
    files: dict[str, bytes] = {}
    libraries = {}
    for package, folder in package_folders(site_packages).items():
        for path in sorted(folder.rglob("*.py")):
            files[f"{package}/{path.relative_to(folder).as_posix()}"] = _read(path)
        found = metadata.distributions(name=package, path=[str(folder.parent)])
        libraries[package] = next((d.version for d in found), "unknown")
    return Source(DEFAULT, dict(sorted(files.items())), libraries)


def package_folders(site_packages: Path | None = None) -> dict[str, Path]:
    """The folder of each of PACKAGES, by name."""
    folders = {}
    init: Path | None
    for package in PACKAGES:
        if site_packages is not None:
            init = Path(site_packages) / package / "__init__.py"
        else:
            spec = importlib.util.find_spec(package)  # finds a package of the top level without importing it
            init = Path(spec.origin) if spec is not None and spec.origin else None
        if init is None or not init.is_file():
            where = site_packages or "this Python's packages"
            raise CorpusError(
                f"data 'default': the package {package} is not in {where}; it needs {', '.join(PACKAGES)} "
                "(pip install 'mendel[gpt]'), or give a folder of text with --data"
            )
        folders[package] = init.parent
    return folders


def read_folder(folder: Path) -> Source:
    """All files of the known extensions below `folder`; names that begin with a dot are passed over."""
    folder = folder.expanduser().resolve()
    if not folder.exists():
        raise CorpusError(f"data '{folder}': there is no such folder")
    if not folder.is_dir():
        raise CorpusError(f"data '{folder}' is a file; give the folder that holds it")
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file()]
    inner = {p.relative_to(folder): p for p in paths}
    files = {
        relative.as_posix(): _read(inner[relative])
        for relative in sorted(inner, key=Path.as_posix)
        if not any(part.startswith(".") for part in relative.parts)
    }
    if not files:
        raise CorpusError(f"data '{folder}' holds no readable file; allowed are {', '.join(EXTENSIONS)}")
    return Source(str(folder), files, {})


def documents(source: Source) -> Iterator[Document]:
    """The documents of a source; those of white space alone are passed over."""
    base = None if source.name == DEFAULT else Path(source.name)
    for path, data in source.files.items():
        file = path if base is None else str(base / path)
        suffix = Path(path).suffix.lower()
        if suffix == ".jsonl":
            found = _json_lines(file, path, data)
        elif suffix == ".parquet":
            found = _parquet_rows(file, path, data)
        else:
            _decode(file, data)
            found = iter([(file, Document(path, data))])
        for place, document in found:
            nul = document.content.find(0)
            if nul >= 0:
                raise CorpusError(f"{place}: NUL byte at offset {nul}; text has none, it separates documents")
            if document.content.strip():
                yield document


def source_name(path: str, default: bool) -> str:
    """The source that a document at `path` belongs to, as a mixture names it: its package in the default
    corpus; in a folder the first folder below it, else the name of its `.jsonl` or `.parquet` file, else
    "text"."""
    first, slash, _ = path.partition("/")
    if not (default or slash):
        file = first.rpartition("#")[0]
        first = file.rpartition(".")[0] if file else "text"
    return re.sub(r"[^\w.-]", "_", first)


def _json_lines(file: str, path: str, data: bytes) -> Iterator[tuple[str, Document]]:
    for number, line in enumerate(_decode(file, data).removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{place}: not JSON ({error.msg} at column {error.colno})") from error
        except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
            raise CorpusError(f"{place}: JSON that cannot be read ({error})") from error
        if not isinstance(value, dict) or "text" not in value:
            found = f"keys {_names(value)}" if isinstance(value, dict) else type(value).__name__
            raise CorpusError(f"{place}: no key 'text', found {found}; each line is an object with 'text'")
        yield place, Document(f"{path}#{number}", _encode(place, value["text"]))


def _parquet_rows(file: str, path: str, data: bytes) -> Iterator[tuple[str, Document]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
        names = table.schema_arrow.names
        if "text" not in names:
            raise CorpusError(f"{file}: no column 'text', found {_names(names)}")
        row = 0
        for batch in table.iter_batches(columns=["text"]):
            for value in batch.column(0).to_pylist():
                place = f"{file}: row {row}"
                yield place, Document(f"{path}#{row}", _encode(place, value))
                row += 1
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CorpusError(f"{file}: not a readable Parquet file ({reason})") from error


def _names(names: Iterable[str]) -> str:
    shown = [repr(name)[:40] for name in names]
    return ", ".join(shown[:6] + ["..."] * (len(shown) > 6)) or "none"


def _encode(place: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise CorpusError(f"{place}: 'text' is {type(value).__name__}; a string is needed")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"{place}: 'text' has an unpaired surrogate at character {error.start}") from error


def _decode(file: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        value = data[error.start]
        raise CorpusError(
            f"{file}: not UTF-8 at byte offset {error.start} (found 0x{value:02x}); save it as UTF-8"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
