"""The first scoring session: the text, with questions about the answers mixed in.

What is counted and what shows whether it can be believed come in one stream, in frames of one shape and a
secret order (`questions`), so that code cannot tell them apart by looks or place:

- windows of the text; their first answers are the score;
- rows of other groups, such as training text or canaries;
- twins: a window up to a secret place, then other real text;
- windows again, in another frame with other neighbours;
- whole frames again, exactly as they were.

`checks` says what is made of the answers, and what none of them shows.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mendel.yardstick.questions import Row, make_frames, make_rows, with_repeats
from mendel.yardstick.scoring import Encode, Tokens, Wire

MOVED = 1e-3
"""Nats by which an answer differs that is not the same: more than rounding."""
FLIPS = 1024
"""One position of so many may move: a router of experts may flip at a tie."""
SUSPECTS, TIMES = 8, 3
"""Frames that are asked again, so many times, when rows moved and no frame did: rare noise shows there."""

Numbers = NDArray[np.float64]
Frames = list[list[Row]]


@dataclass(frozen=True)
class Pair:
    """One text that was asked twice."""

    kind: str
    """exact: its whole frame; again: among other neighbours; twin: so, and with other text after it."""
    frames: tuple[int, int]
    """Earlier and later."""
    gain: Numbers
    """Later - earlier log-probability, nats, where both were given the same."""

    @property
    def moved(self) -> int:
        """Positions."""
        return int((np.abs(self.gain) > MOVED).sum())


@dataclass(frozen=True)
class Frame:
    """One question and its answer."""

    tokens: NDArray[np.uint16]
    sizes: NDArray[np.int64]
    """Tokens of each row that count."""
    log_p: NDArray[np.float32]
    """Of tokens[:, 1:], NaN where a row has ended."""


@dataclass(frozen=True)
class Group:
    """Rows beside the windows."""

    nats: Numbers
    """-log p of each row after its first byte."""
    bytes: int
    """That each row predicts."""


@dataclass(frozen=True)
class Answers:
    """What a model said of windows (count, length + 1)."""

    log_p: NDArray[np.float32]
    """Natural log-probabilities of all tokens but the first, (count, columns); NaN where a row has ended."""
    frames: NDArray[np.int64]
    """Number of the frame that asked a window first, (count,)."""
    bytes: int
    """count * length."""
    pairs: tuple[Pair, ...]
    groups: Mapping[str, Group]
    asked: tuple[Frame, ...]
    """All frames of the stream, in order."""

    @property
    def bits_per_byte(self) -> float:
        """-sum(log p) / (ln 2 * count * length). The first byte of each window is given."""
        return -float(np.nansum(self.log_p, dtype=np.float64)) / (math.log(2) * self.bytes)

    @property
    def window_bits_per_byte(self) -> Numbers:
        """The same of each window, (count,): their mean is `bits_per_byte`."""
        nats = -np.nansum(self.log_p, axis=1, dtype=np.float64)
        return np.asarray(nats * len(self.log_p) / (math.log(2) * self.bytes))

    def group_bits_per_byte(self, name: str) -> float:
        group = self.groups[name]
        return float(group.nats.mean()) / (math.log(2) * group.bytes)

    @property
    def audit_share(self) -> float:
        """Share of the rows that a score alone would not have asked."""
        return 1 - len(self.frames) / sum(len(frame.tokens) for frame in self.asked)

    @property
    def random(self) -> bool:
        """Whether a frame that was asked again exactly was answered otherwise."""
        return moved(of_kind(self.pairs, "exact"))


def of_kind(pairs: Iterable[Pair], *kinds: str) -> list[Pair]:
    return [pair for pair in pairs if pair.kind in kinds]


def moved(pairs: Sequence[Pair]) -> bool:
    """Whether more positions moved than may."""
    return sum(pair.moved for pair in pairs) > sum(pair.gain.size for pair in pairs) // FLIPS


def ask_stream(
    channel: socket.socket,
    windows: Tokens,
    others: Tokens | None = None,
    encode: Encode | None = None,
    groups: Mapping[str, Tokens] | None = None,
    timeout: float = 60.0,
) -> Answers:
    """Asks the model behind `channel` for `windows` (count, length + 1), and what shows whether it is honest.

    It is asked in bytes, or in the tokens that `encode` makes of a text (`tokens.read_tokenizer`). What
    follows the shared part of a twin, or a short row, is drawn from `others` (rows, columns), or the windows.
    `groups` are rows of at most a window's length; they do not touch the score.

    `timeout` is in seconds, for the whole conversation, which this ends. ScoringError for anything but good
    answers; Violation where one is no probability.
    """
    groups = groups or {}
    others = windows if others is None else others
    _check(windows, others, groups)
    rows = make_rows(windows, groups, others, encode)
    frames, repeats = with_repeats(make_frames(rows, others, encode))
    wire = Wire(channel, timeout)
    asked = [_ask(wire, frame) for frame in frames]
    answers = [frame.log_p for frame in asked]
    places = _places(frames)
    pairs = _pairs(places, answers, {later for _, later in repeats})
    exact = [exact_pair((before, later), answers[before], answers[later]) for before, later in repeats]
    if moved(pairs) and not moved(exact):
        for number in TIMES * _suspects(pairs):
            asked.append(_ask(wire, frames[number]))
            exact.append(exact_pair((number, len(asked) - 1), answers[number], asked[-1].log_p))
    wire.end()
    first = {row: (frame, column) for frame, column, row in reversed(places)}
    where = [first[row] for row in rows[: len(windows)]]
    return Answers(
        log_p=np.stack([answers[frame][column] for frame, column in where]),
        frames=np.array([frame for frame, _ in where]),
        bytes=windows[:, 1:].size,
        pairs=(*exact, *pairs),
        groups={name: _group(name, rows, first, answers, groups[name].shape[1] - 1) for name in groups},
        asked=tuple(asked),
    )


def _check(windows: Tokens, others: Tokens, groups: Mapping[str, Tokens]) -> None:
    if windows.dtype != np.uint8 or windows.ndim != 2 or windows.shape[0] < 1 or windows.shape[1] < 2:
        raise ValueError(f"windows {windows.dtype} {windows.shape}; uint8 (count >= 1, length + 1) needed")
    if others.dtype != np.uint8 or others.size < windows.shape[1]:
        raise ValueError(f"others {others.dtype} {others.shape}; uint8, at least one window, needed")
    for name, rows in groups.items():
        if rows.dtype != np.uint8 or rows.ndim != 2 or not 2 <= rows.shape[1] <= windows.shape[1]:
            raise ValueError(
                f"group {name!r} {rows.dtype} {rows.shape}; uint8 (rows, 2 to {windows.shape[1]})"
            )


def _ask(wire: Wire, frame: list[Row]) -> Frame:
    tokens, sizes = np.stack([row.tokens for row in frame]), np.array([row.size for row in frame])
    return Frame(tokens, sizes, wire.targets(tokens, sizes))


def _places(frames: Frames) -> list[tuple[int, int, Row]]:
    """(frame, column, row) in the order in which they were asked."""
    return [(number, column, row) for number, frame in enumerate(frames) for column, row in enumerate(frame)]


def _pairs(
    places: list[tuple[int, int, Row]], answers: list[NDArray[np.float32]], repeats: set[int]
) -> list[Pair]:
    """Windows that came again, and twins, each with the first answer for its window; not where the frames in
    `repeats` ask them."""
    found = []
    asked = [place for place in places if place[2].window >= 0 and place[0] not in repeats]
    first = {row.window: (frame, column) for frame, column, row in reversed(asked) if not row.cut}
    for frame, column, row in asked:
        if (frame, column) == first[row.window]:
            continue
        (before, earlier), (after, later) = sorted([first[row.window], (frame, column)])
        shared = (row.cut or row.size) - 1
        gain = answers[after][later][:shared].astype(np.float64) - answers[before][earlier][:shared]
        found.append(Pair("twin" if row.cut else "again", (before, after), gain))
    return found


def exact_pair(numbers: tuple[int, int], before: NDArray[np.float32], after: NDArray[np.float32]) -> Pair:
    """A whole frame, asked twice."""
    gain = (after.astype(np.float64) - before)[~np.isnan(before)]
    return Pair("exact", numbers, gain)


def _suspects(pairs: list[Pair]) -> list[int]:
    """Frames of rows that moved."""
    numbers = [number for pair in pairs if pair.moved for number in pair.frames]
    return list(dict.fromkeys(numbers))[:SUSPECTS]


def _group(
    name: str,
    rows: list[Row],
    first: Mapping[Row, tuple[int, int]],
    answers: list[NDArray[np.float32]],
    length: int,
) -> Group:
    where = [first[row] for row in rows if row.group == name]
    nats = [-np.nansum(answers[frame][column], dtype=np.float64) for frame, column in where]
    return Group(np.array(nats), length)
