"""Bits per byte of a trained model, as the trusted side of a wire measures them.

The model is code under test: it runs in a process of its own and may answer anything. This side opens
the validation and held-out text, sends tokens over a stream socket, and accepts numbers only: no pickle,
no text, no shape but the expected one, no time beyond the deadline.

A model that sees the text it predicts would win every campaign, so each score ends with a prefix probe: a few
windows are asked again as they are and with other text after a secret cut, and what is predicted before
the cut must not move. Code that tells the probe from the score is not caught by it.

Frames, little-endian. Request: `<II` (B, T), then B * T uint16 tokens; B = 0 ends the conversation. Reply:
`<II` (B, T - 1), then B * (T - 1) float32 natural log-probabilities of tokens[:, 1:], each given the tokens
before it in its row. Tokens are bytes, or what the run's tokenizer makes of them (`tokens`).
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.records import Shard
from mendel.yardstick.corpus import Corpus

Tokens = NDArray[np.uint8]
Rows = NDArray[np.unsignedinteger[Any]]
Encode = Callable[[bytes], list[int]]
"""Tokens of a window, the first of them its first byte."""

MAX_VOCAB = 1 << 16
"""Tokens that a frame can tell apart."""
HEADER = struct.Struct("<II")
TOLERANCE = 1e-4
"""Nats above 0 that rounding may give a log-probability."""
PROBE_WINDOWS = 8
PROBE_TOLERANCE = 1e-3
"""Nats that a log-probability may move when the text after it changes: rounding, never sight."""


class ScoringError(RuntimeError):
    """The scorer gave no usable score. One line, with nothing in it that the scorer wrote."""

    def __init__(self, message: str, diverged: bool = False) -> None:
        super().__init__(message)
        self.diverged = diverged
        """The model's loss is not finite; otherwise the scorer failed, stalled or lied."""


class Shards:
    """Opens the validation and held-out text of a corpus, and has each opening of held-out recorded."""

    def __init__(self, corpus: Corpus, on_held_out: Callable[[], None]) -> None:
        """`on_held_out` is called before each opening of the held-out shard; if it raises, nothing is
        opened."""
        self._corpus = corpus
        self._on_held_out = on_held_out
        self.held_out_openings = 0

    def open(self, shard: Shard) -> Tokens:
        """The tokens of `shard`, memory-mapped and read-only, (bytes,)."""
        if shard is Shard.HELD_OUT:
            self._on_held_out()
            self.held_out_openings += 1
        return np.memmap(self._corpus.shard_file(shard), np.uint8, mode="r")


def windows(shard_tokens: Tokens, count: int, length: int, seed: int) -> Tokens:
    """`count` evenly spaced windows of `shard_tokens`, (count, length + 1): `length` predictions each.

    `seed` shifts all of them by one fraction of their spacing. They overlap when count * length exceeds
    the shard. ValueError when the shard is shorter than one window.
    """
    if count < 1 or length < 1:
        raise ValueError(f"windows: count {count} and length {length} must be at least 1")
    places = len(shard_tokens) - length
    if places < 1:
        raise ValueError(
            f"windows: the shard has {len(shard_tokens)} tokens; length {length} needs at least {length + 1}"
        )
    digest = hashlib.sha256(f"windows {seed}".encode()).digest()
    shift = int.from_bytes(digest[:8], "little") * places >> 64
    starts = [(i * places + shift) // count for i in range(count)]
    return np.stack([np.asarray(shard_tokens[start : start + length + 1]) for start in starts])


def score(
    channel: socket.socket,
    windows: Tokens,
    batch: int = 32,
    timeout: float = 60.0,
    encode: Encode | None = None,
) -> float:
    """Bits per byte of the model behind `channel` on `windows` (count, length + 1):
    -sum(log p) / (ln 2 * count * length). The first byte of each window is given, all others are predicted.

    The model is asked in bytes, or in the tokens that `encode` makes of a window (`tokens.read_tokenizer`).

    A prefix probe follows the windows: see `_probe`. It catches a model that looks ahead by mistake or
    without disguise, such as attention without its mask. It does not catch code that recognises the probe,
    nor a look ahead that ends before every cut.

    `timeout` is in seconds, for the whole conversation. ScoringError for anything but a good answer.
    """
    if windows.dtype != np.uint8 or windows.ndim != 2 or windows.shape[0] < 1 or windows.shape[1] < 2:
        raise ValueError(
            f"score: windows {windows.dtype} {windows.shape}; uint8 (count >= 1, length + 1) needed"
        )
    if batch < 1 or timeout <= 0:
        raise ValueError(f"score: batch {batch} must be at least 1 and timeout {timeout} above 0")
    rows, sizes = _encoded(windows, encode)
    wire = _Wire(channel, timeout)
    total = 0.0
    for start in range(0, len(rows), batch):
        part = sizes[start : start + batch]
        total += float(_ask(wire, rows[start : start + batch, : part.max()], part).sum(dtype=np.float64))
    _probe(wire, rows, sizes, min(batch, PROBE_WINDOWS))
    with contextlib.suppress(ScoringError):  # all answers are here; a scorer may leave without a goodbye
        wire.send(HEADER.pack(0, 0))
    return -total / (math.log(2) * windows[:, 1:].size)


def _encoded(windows: Tokens, encode: Encode | None) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of tokens, (count, longest), and how many tokens of each are real; NUL fills the rest."""
    if encode is None:
        return windows, np.full(len(windows), windows.shape[1])
    encoded = [encode(window.tobytes()) for window in windows]
    sizes = np.array([len(tokens) for tokens in encoded])
    rows = np.zeros((len(encoded), sizes.max()), np.uint16)
    for row, tokens in zip(rows, encoded, strict=True):
        row[: len(tokens)] = tokens
    return rows, sizes


def log_probabilities(channel: socket.socket, tokens: Tokens, timeout: float = 60.0) -> NDArray[np.float32]:
    """What the model behind `channel` says of `tokens` (rows, columns): natural log-probabilities of
    tokens[:, 1:], (rows, columns - 1). The conversation stays open: ask on, or `score`.

    `timeout` is in seconds, for this answer. ScoringError for anything but a good answer.
    """
    return _ask(_Wire(channel, timeout), tokens, np.full(len(tokens), tokens.shape[1])).reshape(
        len(tokens), tokens.shape[1] - 1
    )


def _probe(wire: _Wire, windows: Rows, sizes: NDArray[np.int64], most: int) -> None:
    """ScoringError if a prediction depends on text after it, on at most `most` windows.

    Each window has its own cut in its middle half, so that a model that starts afresh every few tokens is
    also cut where it could look ahead. What follows a cut is the same stretch of another window: real text,
    not to be told from a score by its looks. Both versions are asked in one shape, so that rounding is alike.
    """
    rows = secrets.SystemRandom().sample(range(len(windows)), min(most, len(windows)))
    sizes = sizes[rows]
    columns = int(sizes.max())
    plain = np.asarray(windows[rows, :columns])
    cuts = np.array([[_cut(int(size))] for size in sizes])
    if len(rows) > 1:
        other = np.roll(plain, 1, axis=0)
    else:  # random bytes, each another token than the one it replaces
        noise = np.frombuffer(secrets.token_bytes(columns), np.uint8)
        other = np.where(noise == plain, noise ^ 1, noise)
    places = np.arange(columns)
    before = _exchange(wire, plain)
    after = _exchange(wire, np.where(places < cuts, plain, other))
    with np.errstate(invalid="ignore"):
        steady = np.abs(after - before) <= PROBE_TOLERANCE  # False for NaN
    if not steady[places[1:] < cuts].all():
        raise ScoringError("scorer: a prediction depends on text after it")


def _cut(size: int) -> int:
    """A secret place in the middle half of a row of `size` tokens."""
    first, last = max(2, size // 4), max(2, 3 * size // 4)
    return first + secrets.randbelow(last - first + 1)


def _ask(wire: _Wire, tokens: Rows, sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log-probabilities of the real ones of tokens[:, 1:], row after row, checked: (sum of sizes - 1,)."""
    real = np.arange(1, tokens.shape[1]) < sizes[:, None]
    log_p = _exchange(wire, tokens)[real]
    above = log_p > TOLERANCE  # False for NaN
    if above.any():
        raise ScoringError(f"scorer: log-probability {float(log_p[above][0]):g} is above 0")
    if not np.isfinite(log_p).all():
        bad = int((~np.isfinite(log_p)).sum())
        raise ScoringError(f"scorer: {bad} of {log_p.size} log-probabilities are not finite", diverged=True)
    return log_p


def _exchange(wire: _Wire, tokens: Rows) -> NDArray[np.float32]:
    """One request and its reply: numbers of the right shape, nothing else checked."""
    rows, columns = tokens.shape
    wire.send(HEADER.pack(rows, columns) + tokens.astype("<u2").tobytes())
    expected = (rows, columns - 1)
    shape = HEADER.unpack(wire.receive(HEADER.size))
    if shape != expected:
        raise ScoringError(f"scorer: reply has shape {shape}, {expected} expected")
    reply = wire.receive(4 * rows * (columns - 1))
    return np.frombuffer(reply, "<f4").reshape(expected).astype(np.float32, copy=False)


class _Wire:
    """Whole frames over a socket, all before one deadline."""

    def __init__(self, channel: socket.socket, timeout: float) -> None:
        self._channel = channel
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def send(self, frame: bytes) -> None:
        self._arm()
        try:
            self._channel.sendall(frame)
        except OSError as error:
            raise self._failed(error) from error

    def receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        filled = 0
        while filled < size:
            self._arm()
            try:
                got = self._channel.recv_into(view[filled:])
            except OSError as error:
                raise self._failed(error) from error
            if got == 0:
                raise ScoringError(f"scorer: closed the connection after {filled} of {size} bytes")
            filled += got
        return data

    def _arm(self) -> None:
        """Give the next call what is left of the time: a slow drip must not win more."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._failed(TimeoutError())
        self._channel.settimeout(left)

    def _failed(self, error: OSError) -> ScoringError:
        if isinstance(error, TimeoutError):
            return ScoringError(f"scorer: no full answer within {self._timeout:g} s")
        return ScoringError(f"scorer: connection lost ({error.strerror or type(error).__name__})")
