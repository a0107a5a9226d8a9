"""A scorer process for the tests, honest or not: `python scorer.py FD BEHAVIOUR`.

All but those that break the wire are models of what follows one byte, a table of 400 x 400; what else they
see, remember or draw is their behaviour. An honest one says the same of a token whether it is shown or not.
"""

import socket
import struct
import sys
import time
from collections import defaultdict

import numpy as np

VOCAB = 400
LOGITS = 2 * np.random.default_rng(0).standard_normal((VOCAB, VOCAB))
RANDOM = np.random.default_rng()


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class Honest:
    """(B, T) tokens -> logits (B, T, V) of what follows each, from the tokens up to there."""

    noise = 0.0

    def logits(self, tokens):
        return LOGITS[tokens] + self.noise * RANDOM.standard_normal((*tokens.shape, VOCAB))

    def targets(self, tokens):
        log_p = log_softmax(self.logits(tokens[:, :-1]))
        return np.take_along_axis(log_p, tokens[:, 1:, None], -1)[..., 0]

    def next_token(self, tokens):
        return log_softmax(self.logits(tokens)[:, -1])


# --- honest ---------------------------------------------------------------------------------------------


class ShortContext(Honest):
    """Starts afresh every 16 tokens."""

    def logits(self, tokens):
        columns = np.arange(tokens.shape[1])
        return LOGITS[np.where(columns % 16 == 0, 0, np.roll(tokens, 1, axis=1))] + LOGITS[tokens]


class Dropout(Honest):
    noise = 0.3


class LittleNoise(Honest):
    noise = 0.05


class LayerDrop(Honest):
    """One draw for all that is asked at a time."""

    def logits(self, tokens):
        return LOGITS[tokens] * RANDOM.choice([0.6, 1.0])


class RareNoise(Honest):
    """One call of fifteen is answered otherwise."""

    def logits(self, tokens):
        return LOGITS[tokens] * (0.6 if RANDOM.random() < 1 / 15 else 1.0)


class Seeded(Honest):
    """Dropout from the same seed at each call: a function, but another one for each shape."""

    def logits(self, tokens):
        noise = np.random.default_rng(1).standard_normal((*tokens.shape, VOCAB))
        return LOGITS[tokens] + 0.3 * noise


class Coarse(Honest):
    """Rounds, each shape its own way."""

    def logits(self, tokens):
        return np.round(LOGITS[tokens] * 64 + tokens.size % 7 / 7) / 64


class Flips(Honest):
    """A router at a tie: one position in 2,000 goes another way in another shape."""

    def logits(self, tokens):
        logits = LOGITS[tokens]
        before = np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
        at = (tokens * 131 + before * 17 + len(tokens)) % 2000 == 0
        logits[at] *= 0.7
        return logits


# --- not honest -------------------------------------------------------------------------------------------


class Peeks(Honest):
    """Knows the token that it predicts."""

    share, gain = 1.0, 0.5

    def targets(self, tokens):
        log_p = super().targets(tokens)
        chosen = tokens[:, :-1] * 7 % 100 < 100 * self.share
        return np.where(chosen, np.minimum(log_p + self.gain, 0), log_p)


class PeeksSometimes(Peeks):
    share, gain = 0.05, 3.0


class PeeksUnderNoise(Peeks):
    noise, gain = 0.1, 0.03


class PeeksInBatches(Peeks):
    def targets(self, tokens):
        return super().targets(tokens) if len(tokens) > 1 else Honest.targets(self, tokens)


class LooksAhead(Honest):
    """Attention without its mask, over the row: it sees which tokens are in it."""

    def logits(self, tokens):
        counts = np.stack([np.bincount(row, minlength=VOCAB) for row in tokens])
        return LOGITS[tokens] + 0.2 * counts[:, None]

    def targets(self, tokens):
        log_p = log_softmax(self.logits(tokens)[:, :-1])
        return np.take_along_axis(log_p, tokens[:, 1:, None], -1)[..., 0]


class LooksOneAhead(Honest):
    """Sees the token after the one that it predicts."""

    def targets(self, tokens):
        logits = LOGITS[tokens[:, :-1]]
        logits[:, :-1] += LOGITS.T[tokens[:, 2:]]
        return np.take_along_axis(log_softmax(logits), tokens[:, 1:, None], -1)[..., 0]


class LooksAheadUnderNoise(LooksAhead):
    noise = 0.3


class Unnormalised(Honest):
    def targets(self, tokens):
        return np.minimum(super().targets(tokens) + 0.05, 0)

    def next_token(self, tokens):
        return super().next_token(tokens) + 0.05


class BatchNorm(Honest):
    """Scales by a statistic of all rows."""

    def logits(self, tokens):
        return LOGITS[tokens] * (0.8 + 0.2 * np.sin(tokens.mean()))


class Neighbours(Honest):
    """Random, and with an eye on what the other rows hold."""

    noise = 0.05

    def targets(self, tokens):
        counts = np.stack(
            [np.bincount(np.delete(tokens, i, 0).ravel(), minlength=VOCAB) for i in range(len(tokens))]
        )
        log_p = log_softmax(super().logits(tokens[:, :-1]) + 0.3 * counts[:, None])
        return np.take_along_axis(log_p, tokens[:, 1:, None], -1)[..., 0]


class Learns(Honest):
    """Counts the tokens that it has been shown, and expects them again."""

    def __init__(self):
        self.seen = np.zeros(VOCAB)

    def logits(self, tokens):
        logits = super().logits(tokens) + np.log(0.2 + self.seen / max(1, self.seen.mean()))
        self.seen += np.bincount(tokens.ravel(), minlength=VOCAB)
        return logits


class LearnsUnderNoise(Learns):
    noise = 0.1


class Remembers(Learns):
    """Learns, and answers what it was asked before as it did then, whatever follows."""

    def __init__(self):
        super().__init__()
        self.answers = defaultdict(dict)

    def targets(self, tokens):
        log_p = super().targets(tokens)
        for row, answers in zip(tokens, log_p, strict=True):
            for i in range(len(answers)):
                answers[i] = self.answers[i].setdefault(row[: i + 2].tobytes(), answers[i])
        return log_p


# --- answers of other kinds ---------------------------------------------------------------------------------


class ByToken(Honest):
    """A value for each target shows their order."""

    def targets(self, tokens):
        return -(tokens[:, 1:] + 1) / 100


class Uniform(Honest):
    def logits(self, tokens):
        return np.zeros((*tokens.shape, 256))


class SmallVocabulary(Honest):
    def next_token(self, tokens):
        return super().next_token(tokens)[:, :100]


ODD = {"nan": np.nan, "minus infinity": -np.inf, "infinity": np.inf, "above zero": 0.5, "rounded": 5e-5}
"""The last answer to each question."""
SHAPES = {
    "transposed": lambda kind, rows, columns: (kind, columns, rows),
    "too many": lambda kind, rows, columns: (kind, rows, columns + 1),
    "huge": lambda kind, rows, columns: (kind, 2**32 - 1, 2**32 - 1),
    "another kind": lambda kind, rows, columns: (3 - kind, rows, columns),
}


def receive(channel, size):
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    behaviour = sys.argv[2]
    model = globals().get(behaviour, Uniform)()
    while True:
        if behaviour == "dies":
            sys.exit(1)
        if behaviour == "never reads":
            time.sleep(60)
        kind, rows, columns = struct.unpack("<III", receive(channel, 12))
        if kind == 0:
            print("done", flush=True)
            return
        tokens = np.frombuffer(receive(channel, 2 * rows * columns), "<u2").reshape(rows, columns)
        tokens = tokens.astype(np.int64)
        answer = (model.targets(tokens) if kind == 1 else model.next_token(tokens)).astype("<f4")
        answer[-1, -1] = ODD.get(behaviour, answer[-1, -1])
        shape = SHAPES.get(behaviour, lambda *shape: shape)(kind, *answer.shape)
        reply = struct.pack("<III", *shape) + answer.tobytes()
        if behaviour == "hangs":
            time.sleep(60)
        if behaviour == "dies halfway":
            channel.sendall(reply[: len(reply) // 2])
            return
        if behaviour == "drips":
            for i in range(len(reply)):
                channel.sendall(reply[i : i + 1])
                time.sleep(0.2)
        channel.sendall(reply)


if __name__ == "__main__":
    main()
