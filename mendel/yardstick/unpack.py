"""What bytes can be read as: text hidden in code or files with the usual encodings, read back.

Strings and lists of numbers in source text, reversed text, rot13, base64 and its relatives, hex, the
standard library's compressions, arrays of wider numbers; also one inside another, a few deep. Not found:
ciphers, other alphabets, text in pieces that stand apart, weights that a model learned it by.
"""

from __future__ import annotations

import base64
import bz2
import codecs
import contextlib
import lzma
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

LEAST = 64
"""Bytes; shorter readings are of no interest."""
MANY = 4000
"""Readings of one text."""
DEEP = 4
"""Readings of readings."""
BUDGET = 1 << 27
"""Bytes of all readings of one text together."""
_MOST = 1 << 24
"""Bytes that a compressed part may become."""


class _Decompressor(Protocol):
    def decompress(self, data: bytes, most: int, /) -> bytes: ...


_OPEN = re.compile(r"\"{3}|'{3}|[\"']|#[^\n]*")
_STOPS = {
    quote: re.compile(rf"\\.|{quote}" + (r"|\n" if len(quote) == 1 else ""), re.S)
    for quote in ('"""', "'''", '"', "'")
}
_PREFIX = re.compile(r"(?<!\w)[rbuft]{1,2}$", re.I)
_BETWEEN = re.compile(r"(?:[\s+,\\()\[\]{}]|#[^\n]*\n)*(?:[rbuftRBUFT]{1,2})?")
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|([0-7]{1,3})|(.))",
    re.S,
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_NUMBERS = re.compile(r"(?<!\w)(?:0[xX][0-9a-fA-F]+|\d{1,7})(?:\s*,\s*(?:0[xX][0-9a-fA-F]+|\d{1,7})){63,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-](?:[A-Za-z0-9+/_\r\n-]){86,}={0,2}")
_HEX = re.compile(rb"[0-9a-fA-F](?:[0-9a-fA-F\r\n]){127,}")
_BASE85 = re.compile(rb"[!-~]{80,}")
_PACKED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\x00|\x5d\x00\x00")
_URLSAFE = bytes.maketrans(b"-_", b"+/")


def readings(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(how, bytes) for `data` itself, with an empty `how`, and for all that it can be read as, such as
    ("strings, base64, compressed", ...). Ends early where there are too many."""
    rest: deque[tuple[tuple[str, ...], bytes]] = deque([((), data)])
    seen: set[bytes] = set()
    budget = BUDGET
    while rest and len(seen) < MANY:
        steps, current = rest.popleft()
        if current in seen:
            continue
        seen.add(current)
        budget -= len(current)
        if steps and budget < 0:
            return
        yield ", ".join(steps), current
        if len(steps) == DEEP or "wide" in steps:
            continue
        sample = current[: 1 << 16]
        is_text = len(sample.translate(None, _PRINTABLE)) < 0.2 * len(sample)
        for name, decode in _DECODERS.items():
            again, late = name in _ONCE and name in steps, name in _FIRST and bool(steps)
            if not (again or late or (name in _TEXT and not is_text)):
                rest += (((*steps, name), found) for found in decode(current) if len(found) >= LEAST)


class Literal(NamedTuple):
    """String literals of Python source that only brackets, commas, plus signs and comments part."""

    value: str
    """Joined, escapes read."""
    source: str
    """The same as it is written, without the quotes."""


def strings(text: str) -> list[Literal]:
    """The string literals of Python source, or of lines of it; in order. One that is not closed ends with its
    line, or with the text. Takes time in proportion to the text, whatever it is."""
    found: list[list[tuple[str, str]]] = []
    end = -1
    at = 0
    while opened := _OPEN.search(text, at):
        at = opened.end()
        quote = opened[0]
        if quote.startswith("#"):
            continue
        stops = _STOPS[quote].finditer(text, at)
        close = next((stop for stop in stops if not stop[0].startswith("\\")), None)
        source = text[opened.end() : close.start() if close else len(text)]
        prefix = _PREFIX.search(text, max(0, opened.start() - 2), opened.start())
        value = source if prefix and "r" in prefix[0].lower() else _ESCAPE.sub(_escaped, source)
        if end < 0 or not _BETWEEN.fullmatch(text, end, opened.start()):
            found.append([])
        found[-1].append((value, source))
        at = end = close.end() if close else len(text)
    return [Literal(*map("".join, zip(*parts, strict=True))) for parts in found]


def comments(text: str) -> list[str]:
    """What stands behind the signs for comments, those within strings included."""
    return re.findall(r"#[^\n]*", text)


def numbers(text: str) -> list[list[int]]:
    """Lists of 64 and more whole numbers, decimal or hexadecimal, in source text."""
    runs = (run[0].lower().split(",") for run in _NUMBERS.finditer(text))
    return [[int(number, 16 if "x" in number else 10) for number in run] for run in runs]


def _escaped(escape: re.Match[str]) -> str:
    *numbers, octal, plain = escape.groups()
    number = next((int(digits, 16) for digits in numbers if digits), None)
    if number is not None:
        return chr(number)
    return chr(int(octal, 8)) if octal else _PLAIN.get(plain, plain)


def _strings(data: bytes) -> list[bytes]:
    values = [literal.value for literal in strings(data.decode("utf-8", "replace"))]
    return [_bytes(value) for value in [*values, "".join(values)]]


def _bytes(value: str) -> bytes:
    """As Latin-1 where that can be: a bytes literal holds bytes."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _numbers(data: bytes) -> list[bytes]:
    runs = numbers(data.decode("utf-8", "replace"))
    return [bytes(number & 0xFF for number in run) for run in runs]


def _base64(data: bytes) -> Iterator[bytes]:
    for run in _BASE64.finditer(data):
        letters = re.sub(rb"[\r\n=]", b"", run[0]).translate(_URLSAFE)
        for start in range(4):  # where something else stands before it
            part = letters[start:]
            yield base64.b64decode(part[: -1 if len(part) % 4 == 1 else None] + b"==")


def _hex(data: bytes) -> Iterator[bytes]:
    for run in _HEX.finditer(data):
        digits = re.sub(rb"[\r\n]", b"", run[0])
        for start in range(2):
            yield bytes.fromhex(digits[start : start + (len(digits) - start) // 2 * 2].decode())


def _base85(data: bytes) -> Iterator[bytes]:
    for run in _BASE85.finditer(data):
        for decode in (base64.b85decode, base64.a85decode):
            with contextlib.suppress(ValueError):
                yield decode(run[0])


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Every compressed part, wherever it begins; and all of it as a raw stream."""
    starts = [match.start() for match in _PACKED.finditer(data)][:100]
    for start in starts:
        yield _decompressed(data[start:])
    if data and not starts:
        yield _part(zlib.decompressobj(-15), data)


def _decompressed(data: bytes) -> bytes:
    if data.startswith((b"\x78", b"\x1f")):
        return _part(zlib.decompressobj(47), data)
    if data.startswith(b"BZ"):
        return _part(bz2.BZ2Decompressor(), data)
    return _part(lzma.LZMADecompressor(), data)


def _part(decompressor: _Decompressor, data: bytes) -> bytes:
    try:
        return decompressor.decompress(data, _MOST)
    except (zlib.error, OSError, ValueError, EOFError, lzma.LZMAError):
        return b""


def _rows(data: bytes) -> Iterator[bytes]:
    """Each 2nd, 4th and 8th byte: tokens as wider integers; and float32 that are whole numbers."""
    for width in (2, 4, 8):
        yield from (data[start::width] for start in range(width))
    with np.errstate(invalid="ignore"):
        values = np.frombuffer(data, "<f4", len(data) // 4)
        whole = (values >= 1) & (values < 256) & (values == np.floor(values))
        if whole.any():
            yield np.where(whole, values, 0).astype(np.uint8).tobytes()


_DECODERS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "strings": _strings,
    "numbers": _numbers,
    "reversed": lambda data: [data[::-1]],
    "rot13": lambda data: [codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")],
    "base64": _base64,
    "hex": _hex,
    "base85": _base85,
    "compressed": _unpacked,
    "wide": _rows,
}
_ONCE = ("reversed", "rot13", "wide")
_FIRST = ("strings", "numbers", "wide")
_TEXT = ("strings", "numbers", "rot13", "hex", "base85")
"""Read from text alone, to save the time in weights."""
_PRINTABLE = bytes(range(32, 127)) + b"\t\n\r"
