"""The second scoring session: what comes next, asked of a fresh process that never sees the target.

The first session shows a model the very token that it predicts, and nothing there tells a model that peeks at
it from one that predicts it. Here it gets the beginnings of windows, each alone in its frame and cut at a
secret place, and names the whole distribution of what follows. The answers for the real tokens are compared
with those of the first session, whose process cannot have told this one anything.

Before that a few of the stream's last frames are asked again, whose windows are then left out: this process
has not seen what came before them, so a model that learned from it, and remembered what it had said, shows.
The other windows come in the reverse of the order in which the stream first asked for them: a model that
learns on the way has learned most where it is compared with one that has learned least.
"""

from __future__ import annotations

import random
import socket
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mendel.yardstick.questions import encoded
from mendel.yardstick.scoring import Encode, ScoringError, Tokens, Wire
from mendel.yardstick.stream import MOVED, SUSPECTS, Answers, Numbers, Pair, exact_pair, moved

POSITIONS, MOST = 256, 4096
"""Positions asked of a model whose answers are the same as in the stream; of one that is random or whose
answers are not."""
REPLAYS = 3
"""Frames of the stream that are asked first; fewer where they hold more than half of the windows."""

_RANDOM = random.SystemRandom()


@dataclass(frozen=True)
class Prefixes:
    """What a model said of the tokens after prefixes: one number per position, in the order asked."""

    gain: Numbers
    """Log-probability of the real token in the stream - that after the prefix alone, nats."""
    frames: NDArray[np.int64]
    """Number of the frame in the stream that first asked for the window."""
    log_sums: Numbers
    """Natural logarithm of the sum of all probabilities."""
    replays: tuple[Pair, ...]
    """Frames of the stream, asked here first: answers here - answers there."""
    random: bool
    """Whether a question that is repeated within a process is answered otherwise."""
    function: bool
    """Whether frames of the stream are answered here as there."""

    @property
    def moved(self) -> int:
        """Positions."""
        return int((np.abs(self.gain) > MOVED).sum())


def ask_prefixes(
    channel: socket.socket,
    windows: Tokens,
    answers: Answers,
    encode: Encode | None = None,
    positions: int = POSITIONS,
    most: int = MOST,
    timeout: float = 120.0,
) -> Prefixes:
    """Asks the model behind `channel` for distributions at secret places of `windows`, for which another
    process gave `answers`. `encode` as there.

    `positions` are asked and, where the model is random or any of them moved, up to `most`: a gain must show
    above the noise. `timeout` is in seconds, for the whole conversation, which this ends. ScoringError for
    anything but good answers.
    """
    if not 1 <= positions <= most:
        raise ValueError(f"positions {positions} must be 1 to most = {most}")
    rows = [encoded(row.tobytes(), encode) for row in windows]
    session = _Session(Wire(channel, timeout), answers, rows, most)
    session.replay()
    session.ask(positions)
    if session.random or session.moved():
        session.ask(most - positions)
        session.look_again()
    session.wire.end()
    return Prefixes(
        gain=np.array([one.gain for one in session.asked]),
        frames=np.array([one.frame for one in session.asked]),
        log_sums=np.array([one.log_sum for one in session.asked]),
        replays=tuple(session.replays),
        random=session.random,
        function=not (session.random or moved(session.replays) or moved(session.checked)),
    )


@dataclass(frozen=True)
class _Place:
    window: int
    cut: int
    frame: int
    gain: float
    log_sum: float


class _Session:
    def __init__(self, wire: Wire, answers: Answers, rows: list[list[int]], most: int) -> None:
        self.wire, self.answers, self.random = wire, answers, answers.random
        self.rows = [np.array(row) for row in rows]
        self.asked: list[_Place] = []
        self.replays: list[Pair] = []
        self.checked: list[Pair] = []
        last = np.unique(answers.frames)[::-1][:REPLAYS].tolist()
        while len(last) > 1 and 2 * np.isin(answers.frames, last).sum() > len(rows):
            last.pop()
        self.last = last if len(np.unique(answers.frames)) > 1 else []
        order = np.argsort(-answers.frames, kind="stable").tolist()
        self.order = [window for window in order if answers.frames[window] not in self.last]
        share = most // len(self.order) + 2  # a window's part of two helpings, each rounded up
        self.left = [_RANDOM.sample(range(1, len(row)), min(share, len(row) - 1)) for row in self.rows]

    def replay(self) -> None:
        """The stream's last frames, and once more where they are answered otherwise."""
        for number in self.last:
            pair = self._frame(number)
            self.replays.append(pair)
            if moved([pair]):
                again = self._frame(number)
                self.random |= moved([replace(pair, gain=again.gain - pair.gain)])

    def ask(self, count: int) -> None:
        """`count` more places, evenly over the windows; fewer where none are left."""
        share, more = divmod(count, len(self.order))
        for number, window in enumerate(self.order):
            take = share + (number < more)
            self.asked += [self._place(window, cut) for cut in self.left[window][:take]]
            del self.left[window][:take]

    def moved(self) -> list[int]:
        return [number for number, one in enumerate(self.asked) if abs(one.gain) > MOVED]

    def look_again(self) -> None:
        """Asks again where few places moved: rare noise, here or in the stream, does not come twice."""
        places = self.moved()
        if 2 * len(places) < len(self.asked):
            for number in places:
                before = self.asked[number]
                self.asked[number] = self._place(before.window, before.cut)
        frames = Counter(self.asked[number].frame for number in self.moved())
        self.checked = [self._frame(number) for number, _ in frames.most_common(SUSPECTS)]

    def _place(self, window: int, cut: int) -> _Place:
        log_p = self.wire.following(self.rows[window][None, :cut])[0].astype(np.float64)
        target = int(self.rows[window][cut])
        if target >= len(log_p):
            raise ScoringError(f"scorer: its vocabulary of {len(log_p)} lacks token {target} of the text")
        log_sum = float(logsumexp(log_p))
        if not (np.isfinite(log_p[target]) and np.isfinite(log_sum)):
            raise ScoringError("scorer: a distribution is not finite", diverged=True)
        gain = float(self.answers.log_p[window, cut - 1] - log_p[target])
        return _Place(window, cut, int(self.answers.frames[window]), gain, log_sum)

    def _frame(self, number: int) -> Pair:
        frame = self.answers.asked[number]
        return exact_pair((number, number), frame.log_p, self.wire.targets(frame.tokens, frame.sizes))
