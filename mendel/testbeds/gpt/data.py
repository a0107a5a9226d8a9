"""Training batches: windows of one long byte string, in an order that only the seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


class Reader:
    """Cuts the corpus into windows of `context + 1` bytes and visits them in a fresh random order each epoch.

    The order depends on the seed and the window length alone, so runs that share both see the same text
    in the same order whatever else differs.
    """

    def __init__(self, path: Path, context: int, batch: int, seed: int):
        self.bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self.windows = (len(self.bytes) - 1) // context
        if self.windows < batch:
            raise ValueError(f"{path}: {len(self.bytes)} bytes hold fewer than {batch} windows of {context}")
        self.context, self.batch = context, batch
        self.random = np.random.default_rng([seed, 0xDA7A])
        self.order = self.random.permutation(self.windows)
        self.next = 0
        self.tokens = 0
        """Tokens handed out so far."""

    def __call__(self):
        """Inputs and targets, int64, each of shape (B, T)."""
        if self.next + self.batch > len(self.order):
            rest = self.order[self.next :]
            self.order = np.concatenate((rest, self.random.permutation(self.windows)))
            self.next = 0
        starts_B = self.order[self.next : self.next + self.batch] * self.context
        self.next += self.batch
        self.tokens += self.batch * self.context
        window_BT = torch.from_numpy(
            self.bytes[starts_B[:, None] + np.arange(self.context + 1)].astype(np.int64)
        )
        return window_BT[:, :-1], window_BT[:, 1:]
