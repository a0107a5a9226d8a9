"""What runs are scored on, and the trusted side of the wire to them.

The model is code under test: it runs in a process of its own and may answer anything. This side opens the
validation and held-out text, sends tokens over a stream socket, and accepts numbers only: no pickle, no text,
no shape but the expected one, no time beyond the deadline. `stream` asks for the score and `prefixes` for
whole distributions; `checks` compares.

Frames, little-endian: a header `<III` (kind, B, T), then B * T uint16 tokens. Kind 0 ends the conversation.
Kind 1, targets: the reply is (1, B, T - 1) and float32 natural log-probabilities of tokens[:, 1:], each given
the tokens before it in its row. Kind 2, next: the reply is (2, B, V) and those of every token of the
vocabulary after each row. Tokens are bytes, or what the run's tokenizer makes of them (`tokens`).
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.records import Audit

Tokens = NDArray[np.uint8]
Encode = Callable[[bytes], list[int]]
"""Tokens of a text, the first of them its first byte."""

MAX_VOCAB = 1 << 16
"""Tokens that a frame can tell apart."""
HEADER = struct.Struct("<III")
END, TARGETS, NEXT = range(3)
TOLERANCE = 1e-4
"""Nats above 0 that rounding may give a log-probability."""


class ScoringError(RuntimeError):
    """The scorer gave no usable score. One line, with nothing in it that the scorer wrote."""

    def __init__(self, message: str, diverged: bool = False) -> None:
        super().__init__(message)
        self.diverged = diverged
        """The model's loss is not finite; otherwise the scorer failed, stalled or lied."""


class Violation(ScoringError):
    """An audit failed. `audit` is its name, `audits` are all that were made, with their evidence."""

    def __init__(self, *audits: Audit) -> None:
        failed = next(audit for audit in audits if not audit.passed)
        super().__init__(failed.reason)
        self.audit = failed.name
        self.audits = audits


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


def log_probabilities(channel: socket.socket, tokens: Tokens, timeout: float = 60.0) -> NDArray[np.float32]:
    """What the model behind `channel` says of `tokens` (rows, columns): natural log-probabilities of
    tokens[:, 1:], (rows, columns - 1). The conversation stays open.

    `timeout` is in seconds, for this answer. ScoringError for anything but a good answer.
    """
    return Wire(channel, timeout).targets(tokens, np.full(len(tokens), tokens.shape[1]))


class Wire:
    """Questions and answers over a socket, all before one deadline, `timeout` seconds from now."""

    def __init__(self, channel: socket.socket, timeout: float) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout {timeout} must be above 0")
        self._channel = channel
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def targets(self, tokens: NDArray[Any], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-probabilities of tokens[:, 1:], checked, (rows, columns - 1); NaN from `sizes` on.

        Violation (sums) where one is above 0, ScoringError where one is not finite."""
        rows, columns = tokens.shape
        self._ask(TARGETS, tokens)
        if self._shape(TARGETS, rows) != columns - 1:
            raise ScoringError(f"scorer: a reply has not {columns - 1} columns, one less than was asked")
        log_p = self._numbers(rows, columns - 1)
        log_p[np.arange(1, columns) >= sizes[:, None]] = np.nan
        real = int((sizes - 1).sum())
        above = log_p > TOLERANCE  # False for NaN
        if above.any():
            worst = float(log_p[above].max())
            reason = f"a log-probability of {worst:.3g} is above 0"
            raise Violation(Audit(name="sums", passed=False, reason=reason, evidence={"log_p": f"{worst:g}"}))
        finite = int(np.isfinite(log_p).sum())
        if finite < real:
            raise ScoringError(
                f"scorer: {real - finite} of {real} log-probabilities are not finite", diverged=True
            )
        return log_p

    def following(self, prefixes: NDArray[Any]) -> NDArray[np.float32]:
        """Log-probabilities of every token after each of `prefixes` (rows, columns): (rows, vocabulary).
        Nothing is checked but the shape."""
        rows = len(prefixes)
        self._ask(NEXT, prefixes)
        vocabulary = self._shape(NEXT, rows)
        if not 1 <= vocabulary <= MAX_VOCAB:
            raise ScoringError(f"scorer: a vocabulary of {vocabulary}, 1 to {MAX_VOCAB} expected")
        return self._numbers(rows, vocabulary)

    def end(self) -> None:
        """Says goodbye; a scorer may have left without."""
        with contextlib.suppress(ScoringError):
            self._send(HEADER.pack(END, 0, 0))

    def _ask(self, kind: int, tokens: NDArray[Any]) -> None:
        self._send(HEADER.pack(kind, *tokens.shape) + tokens.astype("<u2").tobytes())

    def _shape(self, kind: int, rows: int) -> int:
        """The columns that a reply says it has."""
        found = HEADER.unpack(self._receive(HEADER.size))
        if found[:2] != (kind, rows):
            raise ScoringError(f"scorer: a reply of kind and rows {found[:2]}, {(kind, rows)} expected")
        return int(found[2])

    def _numbers(self, rows: int, columns: int) -> NDArray[np.float32]:
        reply = self._receive(4 * rows * columns)
        return np.frombuffer(reply, "<f4").reshape(rows, columns).astype(np.float32, copy=False)

    def _send(self, frame: bytes) -> None:
        self._arm()
        try:
            self._channel.sendall(frame)
        except OSError as error:
            raise self._failed(error) from error

    def _receive(self, size: int) -> bytearray:
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
