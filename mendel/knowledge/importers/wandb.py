"""Weights & Biases: the files that offline (and online) runs leave, `wandb/offline-run-*/run-*.wandb`.

Read here and not by its package, which no longer has a reader in Python (0.31). A file is a log as LevelDB
has them: blocks of 32 KiB, in them pieces of records, each with a checksum.

    file   = ":W&B", magic (2 bytes), version (1); then pieces until the end
    piece  = CRC-32 of what follows (4), size (2), kind: 1 whole, 2 first, 3 middle, 4 last; bytes
    Record = history 2, summary 3, config 5, run 17, exit 18, environment 26
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mendel.knowledge.importers import wire
from mendel.knowledge.importers.run import Points, SourceRun, Unread, flat, moment
from mendel.knowledge.importers.wandb_export import exports, read_exports

BLOCK = 32768
START = b":W&B"
HEADER = 7
PIECE = struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4
PRIVATE = "_"
"""What W&B adds of its own begins with it: _step, _runtime, _timestamp, _wandb."""
JSON = b"\x82\x01"
"""Tag of an item's value, after its key."""
STEP = b"\x12\x05_step"
OWN = (STEP, b"\x12\x0a_timestamp", b"\x12\x08_runtime")
"""How items begin that every step has and nobody asks for."""


class Run:
    """What the log of a run tells."""

    def __init__(self) -> None:
        self.points = Points()
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.facts: dict[str, str] = {}
        self.started: datetime | None = None
        self.exit: int | None = None
        self.note = ""
        self._step = 0
        self._raw: dict[bytes, tuple[int, bytes]] = {}

    @property
    def status(self) -> str:
        if self.exit is None:
            return "running"
        return "failed" if self.exit else "finished"

    def read(self, file: Path) -> None:
        """Add what the log tells; what comes after damage is left out, and noted."""
        data = file.read_bytes()
        if not data.startswith(START) or len(data) < HEADER:
            raise wire.Damaged("it does not begin as a log of W&B does")
        for at, record in records(data):
            if record is None:
                self.note = f"{file.name} ends or is damaged at byte {at}; what comes before is kept"
                return
            try:
                self._record(record)
            except (ValueError, OverflowError, RecursionError) as error:
                self.note = f"{file.name} is damaged at byte {at} ({error}); what comes before it is kept"
                return

    def _record(self, data: bytes) -> None:
        for number, value in wire.fields(data):
            if number == 2:
                self._history(wire.message(value))
            elif number == 3:
                self._summary(wire.message(value))
            elif number == 5:
                _update(self.config, wire.message(value))
            elif number == 17:
                self._run(wire.message(value))
            elif number == 18:
                told = dict(wire.fields(wire.message(value)))
                self.exit = wire.signed(told.get(1, 0))
            elif number == 26:
                self._environment(wire.message(value))

    def _history(self, data: bytes) -> None:
        row: list[tuple[str, Any]] = []
        step: int | None = None
        for number, value in wire.fields(data):
            if number == 1:
                item = wire.message(value)
                if not item.startswith(OWN):
                    row.append(_item(item))
                elif step is None and item.startswith(STEP):
                    logged = _item(item)[1]
                    step = logged if isinstance(logged, int) else None
            elif number == 2:
                told = dict(wire.fields(wire.message(value)))
                step = wire.signed(told.get(1, 0))
        self._step = (self._step if step is None else step) + 1
        for name, found in row:
            if not name.startswith(PRIVATE):
                self._point(name, self._step - 1, found)

    def _summary(self, data: bytes) -> None:
        """Keep the items as they are: each step writes all of them again, and only the last ones count."""
        for number, value in wire.fields(data):
            item = wire.message(value) if number in (1, 2) else b""
            if item and not item.startswith(OWN):
                self._raw[item.partition(JSON)[0]] = (number, item)

    def _point(self, name: str, step: float, value: Any) -> None:
        if isinstance(value, dict) and "_type" not in value:
            for key, inner in value.items():
                self._point(f"{name}.{key}", step, inner)
        elif isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity"):
            self.points.add(name, step, float(value))

    def _run(self, data: bytes) -> None:
        names = {1: "id", 2: "entity", 3: "project", 8: "name", 13: "host"}
        for number, value in wire.fields(data):
            if number in names:
                self.facts[names[number]] = wire.text(value)
            elif number == 4:
                _update(self.config, wire.message(value))
            elif number == 5:
                _update(self.summary, wire.message(value))
            elif number == 17:
                told = dict(wire.fields(wire.message(value)))
                self.started = moment(wire.signed(told.get(1, 0)))
            elif number == 21:
                self._git(wire.message(value))

    def _environment(self, data: bytes) -> None:
        for number, value in wire.fields(data):
            if number == 17:
                self.facts["user"] = wire.text(value)
            elif number == 9:
                self._git(wire.message(value))

    def _git(self, data: bytes) -> None:
        for number, value in wire.fields(data):
            if number == 2:
                self.facts["commit"] = wire.text(value)

    def finish(self) -> None:
        """Give what only the summary has a point at the last step."""
        for number, item in self._raw.values():
            try:
                name, found = _item(item)
            except (ValueError, RecursionError):
                continue
            self.summary.pop(name, None)
            if number == 1:
                self.summary[name] = found
        last = self.points.last
        for name, value in self.summary.items():
            if not name.startswith(PRIVATE) and name not in self.points:
                self._point(name, last, value)


def records(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """The records of a log with the byte where each begins; None in place of one that was cut or damaged."""
    at, end, whole, began = HEADER, len(data), b"", HEADER
    while at < end:
        left = BLOCK - at % BLOCK
        if left < PIECE.size:
            at += left
            continue
        if at + PIECE.size > end:
            yield at, None
            return
        checksum, size, kind = PIECE.unpack_from(data, at)
        if not checksum and not size and not kind:  # a file that was made larger before it was written
            return
        stop = at + PIECE.size + size
        if stop > end or zlib.crc32(data[at + 6 : stop]) != checksum:
            yield at, None
            return
        if kind in (WHOLE, FIRST):
            whole, began = b"", at
        whole += data[at + PIECE.size : stop]
        if kind in (WHOLE, LAST):
            yield began, whole
            whole = b""
        at = stop
    if whole:
        yield began, None


def _item(item: bytes) -> tuple[str, Any]:
    """A key, which may be nested, and its value, as JSON or (since 2026) by its type."""
    key: list[str] = []
    found: Any = None
    for number, value in wire.fields(item):
        if number in (8, 16):
            found = _json(wire.message(value))
        elif number in (1, 2):
            key.append(wire.text(value))
        elif number == 4:
            found = bool(value)
        elif number == 5:
            zigzag = wire.signed(value) & (1 << 64) - 1
            found = (zigzag >> 1) ^ -(zigzag & 1)
        elif number == 6:
            found = wire.double(value)
        elif number == 7:
            found = wire.text(value)
    return ".".join(key), found


def _json(data: bytes) -> Any:
    if data[:1].isdigit() and b"." in data:  # most are, and this is quicker
        return float(data)
    return json.loads(data)


def _update(table: dict[str, Any], data: bytes) -> None:
    """Take over a ConfigRecord or a SummaryRecord: what is set (1) and what is gone (2)."""
    for number, value in wire.fields(data):
        if number not in (1, 2):
            continue
        name, found = _item(wire.message(value))
        if number == 2:
            table.pop(name, None)
        elif name:
            table[name] = found


class WandB:
    """A wandb/ folder, the folder above it, the folder of one run, its .wandb file; or exported tables."""

    def recognises(self, source: Path) -> bool:
        return bool(_files(source) or exports(source))

    def read(self, source: Path, columns: object = None) -> Iterator[SourceRun | Unread]:
        files = _files(source)
        if not files:
            yield from read_exports(source)
        # A run that was resumed has a folder each time, and its file there the same name.
        resumed: dict[str, list[Path]] = {}
        for file in files:
            resumed.setdefault(file.name, []).append(file)
        for file, *later in resumed.values():
            run = Run()
            name = file.stem.removeprefix("run-")
            try:
                for one in (file, *later):
                    run.read(one)
            except wire.Damaged as error:
                yield Unread(file.name, str(error))
                continue
            except OSError as error:
                yield Unread(file.name, error.strerror or str(error))
                continue
            run.finish()
            curves, facts = run.points.curves(), run.facts
            if not facts and not curves:
                yield Unread(file.name, run.note or "there is no run in it yet")
                continue
            id = facts.get("id", name)
            group = "/".join(one for one in (facts.get("entity"), facts.get("project")) if one)
            config = {key: value for key, value in run.config.items() if not key.startswith("_wandb")}
            yield SourceRun(
                id=id,
                name=facts.get("name") or id,
                status=run.status,
                config=flat(config),
                curves=curves,
                started=run.started,
                group=group,
                file=file.relative_to(source if source.is_dir() else source.parent).as_posix(),
                commit=facts.get("commit", ""),
                user=facts.get("user", ""),
                host=facts.get("host", ""),
                note=run.note,
            )


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix == ".wandb" else []
    for pattern in ("run-*.wandb", "*run-*/run-*.wandb", "wandb/*run-*/run-*.wandb"):
        # `latest-run` is a link to one of the others.
        found = [file for file in sorted(source.glob(pattern)) if not file.parent.is_symlink()]
        if found:
            return found
    return []
