"""Score a checkpoint of the toy trainer: each letter of the toy texts has the probability that the model's
loss says, all other bytes share the rest."""

import json
import math
from pathlib import Path

import numpy as np

LETTERS = np.frombuffer(b"ab\0", np.uint8)
"""Three, so a loss of at least log2 3 bits per byte leaves a distribution."""


class Scores:
    def __init__(self, folder):
        bits_per_byte = json.loads((Path(folder) / "model.json").read_text())["bits_per_byte"]
        rest = max(1e-9, 1 - len(LETTERS) * 2**-bits_per_byte) / (256 - len(LETTERS))
        self.log_p_V = np.full(256, math.log(rest), np.float32)
        self.log_p_V[LETTERS] = -bits_per_byte * math.log(2)

    def __call__(self, tokens_BT):
        """Natural-log probabilities of tokens_BT[:, 1:], (B, T - 1)."""
        return self.log_p_V[tokens_BT[:, 1:]]

    def next_token(self, tokens_BT):
        """Those of every byte after each row, (B, V)."""
        return np.tile(self.log_p_V, (len(tokens_BT), 1))


load = Scores
