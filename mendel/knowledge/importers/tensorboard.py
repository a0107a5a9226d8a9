"""TensorBoard's event files: scalars, and hyper-parameters of the hparams plugin.

A run is a folder with event files, named by its path below the source, as in TensorBoard. A restart writes
one more file into it; what `add_hparams` puts into a folder of its own, named by the time, belongs to the
run above.

    file   = records of: length (8 bytes), its checksum (4), an Event, its checksum (4)
    Event  = wall_time 1, step 2, summary 5;  Summary = value 1
    Value  = tag 1, simple_value 2, tensor 8, metadata 9

Checksums are left unread: in Python they would take longer than everything else. A record that is damaged
does not parse, and one that ends beyond the file was never finished.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from mendel.knowledge.importers import wire
from mendel.knowledge.importers.run import Points, SourceRun, Unread, moment
from mendel.records import Scalar

EVENTS = re.compile(r".*\.tfevents\..*|.*\.tfevents")
TIME = re.compile(r"\d{9,}(\.\d+)?")
"""A folder of `SummaryWriter.add_hparams`."""
NUMBERS = {1: "f", 2: "d", 3: "i", 9: "q", 4: "B", 6: "b", 5: "h"}
"""TensorFlow's types of tensors -> how one number of it is packed."""
LISTS = {5: "<f", 6: "<d"}
"""Field of a tensor that holds numbers as a list -> how one is packed."""
STATUS = {1: "finished", 2: "failed", 3: "running"}
HEAD = struct.Struct("<Q4x")
PARAMETERS = "hparams"


class Run:
    """What the event files of a run tell."""

    def __init__(self) -> None:
        self.points = Points()
        self.config: dict[str, Scalar | None] = {}
        self.first: float | None = None
        self.status = "unknown"
        self.notes: list[str] = []
        self._tags: dict[bytes, str] = {}
        """A summary but for its number -> its tag: nearly all of a file are repetitions of a few of these."""

    def read(self, file: Path) -> None:
        """Add what a file tells. What comes after damage is left out, and noted."""
        if not file.stat().st_size:
            self.notes.append(f"{file.name} is empty")
            return
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at, end = 0, len(data)
            while at < end:
                if at + HEAD.size > end:
                    break
                stop = at + HEAD.size + HEAD.unpack_from(data, at)[0]
                if stop + 4 > end:
                    break
                try:
                    self._event(data[at + HEAD.size : stop])
                except wire.Damaged as error:
                    self.notes.append(
                        f"{file.name} is damaged at byte {at} ({error}); what comes before it is kept"
                    )
                    return
                at = stop + 4
            if at < end:
                self.notes.append(f"{file.name} ends within a record; what comes before it is kept")

    def _event(self, data: bytes) -> None:
        step, wall, summary = 0, None, None
        for number, value in wire.fields(data):
            if number == 1:
                wall = value
            elif number == 2:
                step = wire.signed(value)
            elif number == 5:
                summary = wire.message(value)
        if self.first is None and wall is not None:
            self.first = wire.double(wall)
        if summary is None:
            return
        tag = self._tags.get(summary[:-4])
        if tag is not None:
            self.points.add(tag, step, wire.single(summary[-4:]))
            return
        for number, value in wire.fields(summary):
            if number == 1:
                self._value(step, wire.message(value), summary)

    def _value(self, step: int, data: bytes, summary: bytes) -> None:
        tag, plugin, content, found = "", "", b"", None
        last = 0
        for number, value in wire.fields(data):
            last = number
            if number == 1:
                tag = wire.text(value)
            elif number == 2:
                found = wire.single(value)
            elif number == 8:
                found = _number(wire.message(value))
            elif number == 9:
                plugin, content = _plugin(wire.message(value))
        if plugin == PARAMETERS:
            self._parameters(content)
        elif found is not None:
            self.points.add(tag, step, found)
            if last == 2 and len(summary) < 2 + len(data) + 3 and summary.endswith(data):
                self._tags[summary[:-4]] = tag  # one value, whose number is its end

    def _parameters(self, content: bytes) -> None:
        for number, value in wire.fields(content):
            if number == 3:
                for inner, one in wire.fields(wire.message(value)):
                    if inner == 1:
                        key, setting = _entry(wire.message(one))
                        self.config[key] = setting
            elif number == 4:
                told = dict(wire.fields(wire.message(value)))
                self.status = STATUS.get(wire.signed(told.get(1, 0)), "unknown")


def _plugin(metadata: bytes) -> tuple[str, bytes]:
    name, content = "", b""
    for number, value in wire.fields(metadata):
        if number == 1:
            for inner, one in wire.fields(wire.message(value)):
                if inner == 1:
                    name = wire.text(one)
                elif inner == 2:
                    content = wire.message(one)
    return name, content


def _entry(data: bytes) -> tuple[str, Scalar | None]:
    """A name and a google.protobuf.Value."""
    key, setting = "", None
    for number, value in wire.fields(data):
        if number == 1:
            key = wire.text(value)
        elif number == 2:
            setting = _setting(wire.message(value))
    return key, setting


def _setting(data: bytes) -> Scalar | None:
    for number, value in wire.fields(data):
        if number == 2:
            return wire.double(value)
        if number == 3:
            return wire.text(value)
        if number == 4:
            return bool(wire.signed(value))
    return None


def _number(tensor: bytes) -> float | None:
    """The number of a tensor that holds one; None for images, histograms and text."""
    told = dict(wire.fields(tensor))
    kind = wire.signed(told.get(1, 0))
    if kind not in NUMBERS:
        return None
    form = f"<{NUMBERS[kind]}"
    packed = told.get(4, b"")
    if isinstance(packed, bytes) and len(packed) == struct.calcsize(form):
        return float(struct.unpack(form, packed)[0])
    for field, listed in LISTS.items():
        value = told.get(field)
        if isinstance(value, bytes) and len(value) == struct.calcsize(listed):
            return float(struct.unpack(listed, value)[0])
    for field in (7, 10):  # whole numbers, packed into bytes of their own or not
        if field in told:
            value = told[field]
            if isinstance(value, int):
                return float(wire.signed(value))
            found, end = wire.varint(value, 0)
            return float(wire.signed(found)) if end == len(value) else None
    return None


class TensorBoard:
    """Folders of event files, or one file."""

    def recognises(self, source: Path) -> bool:
        if source.is_file():
            return EVENTS.fullmatch(source.name) is not None
        return next(source.rglob("*.tfevents*"), None) is not None

    def read(self, source: Path, columns: object = None) -> Iterator[SourceRun | Unread]:
        top = source if source.is_dir() else source.parent
        files = [source] if source.is_file() else sorted(source.rglob("*.tfevents*"))
        folders: dict[Path, list[Path]] = {}
        for file in files:
            if file.is_file():
                folders.setdefault(file.parent, []).append(file)
        for folder in [*folders]:
            if TIME.fullmatch(folder.name) and folder.parent in folders:
                folders[folder.parent] += folders.pop(folder)
        for folder, some in sorted(folders.items()):
            name = folder.relative_to(top).as_posix()
            yield self._run(folder.name if name == "." else name, top, some)

    def _run(self, name: str, top: Path, files: list[Path]) -> SourceRun | Unread:
        run = Run()
        for file in files:
            try:
                run.read(file)
            except OSError as error:
                run.notes.append(f"{file.name}: {error.strerror}")
        curves = run.points.curves()
        if not curves and not run.config:
            return Unread(name, "; ".join(run.notes) or "its event files hold no scalar")
        return SourceRun(
            id=name,
            name=name,
            status=run.status,
            config=run.config,
            curves=curves,
            started=moment(run.first),
            file=files[0].relative_to(top).as_posix(),
            note="; ".join(run.notes),
        )
