"""Hugging Face datasets by name: streamed into a folder of text until there is enough of it.

`hf:NAME` becomes a folder of `.jsonl` files, each written whole or not at all, and the position in the stream
after the last of them. A download that was killed, or that lost the network, goes on from there; one that is
complete needs no network again. A corpus is then built from the folder, like from anyone's.

The library `datasets` is the extra `[data]`; it is imported only here, and only when it is needed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mendel.records import content_hash
from mendel.yardstick.sources import CorpusError

PREFIX = "hf:"
GRAMMAR = "hf:NAME[#CONFIG][:SPLIT[:COLUMN]][@SIZE], SIZE in MB or GB"
SIZE = 100_000_000
"""Bytes of text where the user names no size."""
PART = 8_000_000
"""Bytes of text in a file; what a killed download does again at most."""
POSITION = "position.json"


class Dataset(NamedTuple):
    """What to stream."""

    name: str
    """On the hub, or a folder of the same layout."""
    config: str | None
    split: str
    column: str
    size: int
    """Bytes of text after which to stop."""


def parse(spec: str) -> Dataset:
    """Read `hf:NAME[#CONFIG][:SPLIT[:COLUMN]][@SIZE]`, such as `hf:roneneldan/TinyStories:train:text@200MB`.
    CorpusError says what is allowed."""
    found = re.fullmatch(
        r"hf:(?P<name>[^:@#]+)(#(?P<config>[^:@#]+))?(:(?P<split>[^:@#]+)(:(?P<column>[^:@#]+))?)?"
        r"(@(?P<size>\d+(\.\d+)?)(?P<unit>MB|GB))?",
        spec,
    )
    if found is None:
        raise CorpusError(f"data {spec!r}: not understood; allowed is {GRAMMAR}")
    size = SIZE
    if found["size"]:
        size = int(float(found["size"]) * {"MB": 1e6, "GB": 1e9}[found["unit"]])
    return Dataset(found["name"], found["config"], found["split"] or "train", found["column"] or "text", size)


def download(spec: str, folder: Path) -> Path:
    """The folder below `folder` with the text of the dataset `spec`, streamed as far as it is not there yet.

    CorpusError for a dataset that cannot be read; if it was the network, the same call goes on.
    """
    target = _target(parse(spec), folder)
    if _position(target)["complete"]:
        return target
    if importlib.util.find_spec("datasets") is None:
        raise CorpusError(f"data {spec!r}: reading it needs the extra: pip install 'mendel[data]'")
    # In a process of its own: readers of Parquet leave threads behind that can abort the interpreter's end.
    command = [sys.executable, "-c", _CHILD, spec, str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if not _position(target)["complete"]:
        reason = ended.stdout.strip() or f"data {spec!r}: the download ended with code {ended.returncode}"
        raise CorpusError(reason)
    return target


_CHILD = """
import os, sys
from pathlib import Path
from mendel.yardstick.hub import stream
from mendel.yardstick.sources import CorpusError
try:
    stream(sys.argv[1], Path(sys.argv[2]))
except CorpusError as error:
    print(error)
sys.stdout.flush()
os._exit(0)
"""


def stream(spec: str, folder: Path) -> None:
    """Download the rest of `spec` in this process."""
    wanted = parse(spec)
    target = _target(wanted, folder)
    position = _position(target)
    source = _open(spec, wanted, position["stream"])
    try:
        _fill(spec, wanted, source, target, position)
    except _failures() as error:
        reached = _position(target)
        raise CorpusError(
            f"data {spec!r}: the download stopped at {reached['bytes']:,} of {wanted.size:,} bytes "
            f"({_first_line(error)}); the same command goes on from there"
        ) from error


def _target(wanted: Dataset, folder: Path) -> Path:
    return folder / content_hash(list(wanted))


def _fill(spec: str, wanted: Dataset, stream: Any, target: Path, position: dict[str, Any]) -> None:
    """Write what is left of `stream` as files, and after each the position in the stream."""
    files = target / re.sub(r"[^\w.-]", "_", wanted.name.strip("/").rpartition("/")[2])
    files.mkdir(parents=True, exist_ok=True)  # its name is that of the source
    texts = _texts(spec, wanted, stream)
    while not position["complete"]:
        lines: list[str] = []
        size, ended = position["bytes"], True
        for text in texts:
            lines.append(json.dumps({"text": text}) + "\n")
            size += len(text.encode(errors="replace"))
            if size >= min(position["bytes"] + PART, wanted.size):
                ended = False
                break
        if size == 0:
            raise CorpusError(f"data {spec!r}: split {wanted.split!r} has no text")
        _replace(files / f"part-{position['parts']:05}.jsonl", "".join(lines))
        position = {
            "dataset": spec,
            "parts": position["parts"] + 1,
            "bytes": size,
            "complete": ended or size >= wanted.size,
            "stream": stream.state_dict(),
        }
        _replace(target / POSITION, json.dumps(position))


def _texts(spec: str, wanted: Dataset, stream: Any) -> Iterator[str]:
    for row in stream:
        if wanted.column not in row:
            columns = ", ".join(map(str, row))
            raise CorpusError(f"data {spec!r}: no column {wanted.column!r}; it has {columns}")
        text = row[wanted.column]
        if not isinstance(text, str):
            kind = type(text).__name__
            raise CorpusError(f"data {spec!r}: column {wanted.column!r} holds {kind}; text is needed")
        # NUL separates the documents of a corpus.
        yield text.replace("\0", " ")


def _open(spec: str, wanted: Dataset, position: Any) -> Any:
    """The dataset as a stream, at `position` where there is one."""
    import datasets

    try:
        stream = datasets.load_dataset(wanted.name, wanted.config, split=wanted.split, streaming=True)
    except _failures() as error:
        raise CorpusError(f"data {spec!r}: cannot be opened ({_first_line(error)})") from error
    except ValueError as error:  # an unknown split or configuration
        raise CorpusError(f"data {spec!r}: {_first_line(error)}") from error
    if position is not None:
        stream.load_state_dict(position)
    return stream


def _failures() -> tuple[type[Exception], ...]:
    """What is raised when the network, the hub or a file of the dataset fails."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    return DatasetsError, HfHubHTTPError, OfflineModeIsEnabled, OSError


def _position(target: Path) -> dict[str, Any]:
    """Where a download stands; at its beginning if nothing of it is there."""
    path = target / POSITION
    if not path.exists():
        return {"parts": 0, "bytes": 0, "complete": False, "stream": None}
    try:
        position: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        raise CorpusError(f"{path}: it is not JSON; delete {target} to have it downloaded again") from None
    return position


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.replace(path)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
