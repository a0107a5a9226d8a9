"""Whether validation or held-out text is where it must not be: in a patch, in what a run left, in a model.

Text is found by its pieces (`grams`), also behind the usual encodings (`unpack`). A piece counts that the
training text does not hold: license headers, imports and the like are common property.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mendel.records import Audit, Scalar, Shard
from mendel.yardstick.corpus import Corpus, load_corpus
from mendel.yardstick.grams import SIZE, Known, hashes
from mendel.yardstick.unpack import comments, readings, strings

PIECE = 2 * SIZE
"""Bytes of a sealed piece that nobody writes by chance: 173 MB of other people's Python share none above 103
with the default corpus (docs/data.md)."""
PLACES = 4 * SIZE
"""Places of shorter pieces, all together, that nobody writes by chance."""
VARIED = 10
"""Different bytes in a piece: rows of dashes are nobody's."""
OPAQUE = 1500
"""Characters without visible sense that a trainer has no use for."""
WORD, LONG = 32, 128
"""Characters of a word, in literals and comments, that no language has; and that no code has either."""
MOST_BYTES = 1 << 26
MOST_SPANS = 1000
"""Of text in one file that are looked up one by one; where there are more, all of it is."""
MOST_FILES = 1000
"""Of a run's output, the smallest first; the rest is not searched, and the audit says so."""

_NUMBER = r"-?(?:0x[0-9a-f]{1,32}|\d{1,32}(?:\.\d{0,32})?(?:e[+-]?\d{1,3})?)"
_TABLE = re.compile(rf"(?<![\w.]){_NUMBER}(?:\s*,\s*{_NUMBER}){{63,}}", re.I)
_NAME = re.compile(r"\w{80,}")


class Overlap(NamedTuple):
    """Sealed text that was found in other data."""

    longest: int
    """Bytes of the longest piece."""
    places: int
    """Places in the data at which a sealed run of `grams.SIZE` bytes begins that the training text lacks."""
    shard: Shard
    offset: int
    """Of the longest piece, in the shard."""
    how: str
    """What it was read as, such as "strings, base64"; empty for plain text."""
    canary: bool = False
    """It is a canary: the file itself was read."""

    @property
    def leak(self) -> bool:
        """More than chance."""
        return self.canary or self.longest >= PIECE or self.places >= PLACES


class SealedText:
    """The sealed text of a corpus, ready to be looked up."""

    def __init__(self, corpus: Corpus) -> None:
        self.texts = {shard: corpus.shard_text(shard).tobytes() for shard in Shard}
        self.canaries = [(shard, string) for shard in Shard for string in corpus.canaries(shard)]
        found = [hashes(np.frombuffer(text, np.uint8)) for text in self.texts.values()]
        sealed = Known(np.concatenate(found))
        train, step = corpus.train_text(), 1 << 22
        parts = (hashes(train[start : start + step + SIZE - 1]) for start in range(0, len(train), step))
        self.known = sealed.without(parts)
        """Hashes of all runs of the sealed text that the training text lacks."""
        self._letters = np.isin(np.arange(256), np.frombuffer(b"".join(self.texts.values()), np.uint8))

    def find(self, data: bytes) -> Overlap | None:
        """The longest sealed piece in `data`, whatever it can be read as; a canary before any other."""
        best: Overlap | None = None
        for how, reading in readings(data):
            found = self._find(reading, how)
            if found and (best is None or (found.canary, found.longest) > (best.canary, best.longest)):
                best = found
                if found.canary:
                    break
        return best

    def _find(self, data: bytes, how: str) -> Overlap | None:
        for shard, canary in self.canaries:
            if canary in data:
                return Overlap(len(canary), 1, shard, len(self.texts[shard]), how, canary=True)
        at = self._places(np.frombuffer(data, np.uint8))
        if not len(at):
            return None
        runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
        for run in sorted(runs, key=len, reverse=True)[:100]:
            piece = data[run[0] : run[-1] + SIZE]
            shard, offset, length = max((self._match(piece, shard) for shard in Shard), key=lambda m: m[2])
            if length >= SIZE and len(set(piece[:length])) >= VARIED:
                return Overlap(length, len(at), shard, offset, how)
        return None

    def _places(self, data: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Where known runs begin, ascending. Weights hardly have a run of bytes that occur in text at all."""
        others = np.flatnonzero(~self._letters[data])
        ends = np.concatenate([[-1], others, [len(data)]])
        long = np.flatnonzero(np.diff(ends) > SIZE)
        if len(long) > MOST_SPANS:
            return self.known.has(hashes(data))
        spans = [(ends[i] + 1, ends[i + 1]) for i in long]
        found = [self.known.has(hashes(data[start:end])) + start for start, end in spans]
        return np.concatenate([np.empty(0, np.int64), *found])

    def _match(self, piece: bytes, shard: Shard) -> tuple[Shard, int, int]:
        """Where the longest beginning of `piece` stands in `shard`, and its length."""
        text, low, high = self.texts[shard], 0, len(piece)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if piece[:middle] in text else (low, middle - 1)
        return shard, text.find(piece[:low]), low


def sealed_text(corpus: Corpus) -> SealedText:
    """The lookup of a corpus, made once and kept for the life of the process."""
    return _sealed_text(corpus.folder)


@functools.lru_cache(maxsize=2)
def _sealed_text(folder: Path) -> SealedText:
    return SealedText(load_corpus(folder))


def find_overlap(data: bytes, corpus: Corpus) -> Overlap | None:
    """The longest piece of sealed text of `corpus` in `data` (`SealedText.find`)."""
    return sealed_text(corpus).find(data)


def audit_text(text: str, corpus: Corpus) -> Audit:
    """Searches the new text of a patch for sealed text, and for literals whose sense cannot be seen."""
    found = find_overlap(text.encode(), corpus)
    if found is not None and found.leak:
        return Audit(name="leak", passed=False, reason=_told("the patch", found), evidence=_evidence(found))
    size = opaque(text)
    longest = found.longest if found else 0
    return Audit(
        name="leak",
        passed=size <= OPAQUE,
        reason=f"{size} characters of literals without visible sense, up to {OPAQUE} are let through"
        if size > OPAQUE
        else f"the patch shares at most {longest} bytes with sealed text, {PIECE} are none by chance",
        evidence={"longest": longest, "opaque": size},
    )


def opaque(text: str) -> int:
    """Characters of Python source, or of lines of it, that say nothing to a reader: long words in literals
    and comments, longer names and numbers, and lists of 64 and more numbers. Text hidden in common words, or
    in many short literals that stand apart, is not counted."""
    literals = sum(max(_senseless(one.value), _senseless(one.source)) for one in strings(text))
    rest = sum(map(_senseless, comments(text)))
    tables = [found[0] for pattern in (_TABLE, _NAME) for found in pattern.finditer(text)]
    return literals + rest + sum(len(found) for found in tables if len(set(found)) >= VARIED)


def _senseless(text: str) -> int:
    """Characters in words of LONG, and in those of WORD that hold no sign that parts names and paths."""
    words = [word for word in text.split() if len(word) >= WORD]
    parts = [[word] if len(word) >= LONG else re.split(r"[._,:/\[\]]", word) for word in words]
    return sum(
        len(part) for split in parts for part in split if len(part) >= WORD and len(set(part)) >= VARIED
    )


def scan_output(out: Path, corpus: Corpus) -> Audit:
    """Searches the files that a run left for sealed text and canaries. Links are not followed."""
    sizes = sorted(_plain_files(out))
    left = len(sizes)
    searched = 0
    longest = 0
    for size, path in sizes[:MOST_FILES]:
        if searched + size > MOST_BYTES:
            break
        searched, left = searched + size, left - 1
        found = find_overlap(_content(path, size), corpus)
        longest = max(longest, found.longest if found else 0)
        if found is not None and found.leak:
            name = path.relative_to(out).as_posix()
            clean = "".join(letter if letter.isprintable() else "?" for letter in name)[:80]
            return Audit(
                name="leak",
                passed=False,
                reason=_told(clean, found),
                evidence=_evidence(found) | {"file": clean},
            )
    return Audit(
        name="leak",
        passed=True,
        reason=f"{len(sizes) - left} files share at most {longest} bytes with sealed text; "
        f"{left} were not searched",
        evidence={"longest": longest, "bytes": searched, "not_searched": left},
    )


def _plain_files(folder: Path) -> Iterator[tuple[int, Path]]:
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            with contextlib.suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield status.st_size, path


def _content(path: Path, size: int) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
            return file.read(size)
    except OSError:
        return b""


def _told(where: str, found: Overlap) -> str:
    how = f" (read as {found.how})" if found.how else ""
    if found.canary:
        return f"{where} holds a canary of {found.shard.value}{how}: its file was read"
    return f"{where} holds {found.longest} bytes in a row of {found.shard.value} at {found.offset}{how}"


def _evidence(found: Overlap) -> dict[str, Scalar]:
    return found._asdict() | {"shard": found.shard.value}
