"""Training batches: windows of one long text, in an order that only the seed decides.

The order is a function of how many windows were handed out, not of steps, workers or ranks: a step's batch is
the same however many processes share it, and a reader can go on from any position.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tokenizer
import torch
from config import Config
from sources import read_text

GOLDEN = (5**0.5 - 1) / 2


class Shuffle:
    """Windows in a fresh random order each epoch, for ever."""

    def __init__(self, start_N, *stream: int):
        self.start_N, self.random = start_N, np.random.default_rng(stream)
        self.order = self.random.permutation(len(start_N))

    def take(self, count: int):
        while len(self.order) < count:
            self.order = np.concatenate((self.order, self.random.permutation(len(self.start_N))))
        picked, self.order = self.order[:count], self.order[count:]
        return self.start_N[picked]


class Reader:
    """Hands out windows of `context + 1` tokens of the text at `path`, one step after the other.

    The order depends on the seed, the window length and the data knobs alone, so runs that share them see
    the same text in the same order whatever else differs. Without a mixture the text is one stream; with
    one, each source is a stream whose own order does not depend on the others. `total` is the number of
    tokens that the whole run will read; only `mixture_end` needs it. ValueError for knobs that this text
    cannot serve.
    """

    def __init__(
        self, path: Path, config: Config, seed: int, rank: int = 0, ranks: int = 1, total: int | None = None
    ):
        self.context, self.batch = config.context, config.batch
        self.rank, self.ranks = rank, ranks
        self.text = read_text(Path(path), config)
        windows = sum(map(len, self.text.starts.values()))
        if windows < self.batch:
            raise ValueError(
                f"{path}: {len(self.text.tokens)} {config.tokenizer} tokens hold {windows} windows of "
                f"{self.context}, fewer than a batch of {self.batch}"
            )
        if config.mixture_end and not total:
            raise ValueError("mixture_end needs to know how many tokens the run will read")
        self.end = (total or self.context) / self.context
        """Windows of the whole run."""
        self.streams = [
            Shuffle(start_N, seed, 0xDA7A, *name.encode()) for name, start_N in self.text.starts.items()
        ]
        self.offset = np.random.default_rng([seed, 0x3113]).random()
        self.windows = 0
        """Handed out so far, to all ranks together."""
        self.handed_out = [np.empty(0, np.int64)]
        """Where they began."""

    @property
    def tokens(self) -> int:
        """Tokens handed out so far, to all ranks together."""
        return self.windows * self.context

    def __call__(self):
        """Inputs and targets of one step, int64, (B, T) each; with several ranks, this one's part of them."""
        start_B = self._take(self.batch)
        if self.ranks > 1:
            start_B = np.array_split(start_B, self.ranks)[self.rank]
        places_BT = start_B[:, None] + np.arange(self.context + 1)
        window_BT = torch.from_numpy(self.text.tokens[places_BT].astype(np.int64))
        return window_BT[:, :-1], window_BT[:, 1:]

    def _take(self, count: int):
        """Where the next `count` windows of the run begin."""
        stream_N = self._streams(np.arange(self.windows, self.windows + count))
        start_N = np.empty(count, np.int64)
        for place, stream in enumerate(self.streams):
            start_N[stream_N == place] = stream.take(int((stream_N == place).sum()))
        self.windows += count
        self.handed_out.append(start_N)
        return start_N

    def _streams(self, number_N):
        """The stream of each of the run's windows `number_N`: weights go linearly from `mixture` to
        `mixture_end`, and a window's place in [0, 1) goes forward by the golden ratio (Weyl's sequence): at
        any moment each source has had its share, to about one window."""
        if len(self.streams) == 1:
            return np.zeros_like(number_N)
        begin_S, end_S = self.text.weight_KS
        progress_N1 = np.minimum(1, number_N / self.end)[:, None]
        weight_NS = (1 - progress_N1) * begin_S + progress_N1 * end_S
        place_N = (self.offset + number_N * GOLDEN) % 1
        return (place_N[:, None] >= weight_NS.cumsum(1)[:, :-1]).sum(1)

    def state_dict(self) -> dict:
        return {"windows": self.windows}

    def load_state_dict(self, state: dict) -> None:
        """Make a fresh reader go on where one of the same text, knobs and seed stood, whatever its ranks."""
        self._take(state["windows"])

    def record(self) -> dict:
        """What was read so far: each source's documents, its tokens and bytes in the text, tokens read and
        epochs; and the documents that were left out, by knob."""
        text, read_D = self.text, self._read()
        sources = []
        for place, name in enumerate(text.names):
            own_D = text.source_D == place
            about = {"documents": own_D, "bytes": text.byte_D, "tokens": text.size_D, "read": read_D}
            about = {key: int(count_D[own_D].sum()) for key, count_D in about.items()}
            sources.append({"name": name, **about, "epochs": about["read"] / max(1, about["tokens"])})
        return {
            "tokenizer": type(text.tokenizer).__name__.lower(),
            "vocab": text.tokenizer.size,
            "tokens": self.tokens,
            "left_out": text.left_out,
            "sources": sources,
        }

    def _read(self):
        """Tokens of each document that were handed out as inputs: what windows took before its end, less
        what they took before its start."""
        start_N = np.sort(np.concatenate(self.handed_out))
        sum_N = np.append(0, np.cumsum(start_N))
        edge_D = np.append(0, np.cumsum(self.text.size_D))
        whole_D, begun_D = np.searchsorted(start_N, edge_D - self.context), np.searchsorted(start_N, edge_D)
        partly_D = (begun_D - whole_D) * edge_D - (sum_N[begun_D] - sum_N[whole_D])
        return np.diff(whole_D * self.context + partly_D)

    def save(self, out: Path) -> None:
        """Leave in `out` what was read (data.json) and, for BPE, the tokenizer that its scores need."""
        (Path(out) / "data.json").write_text(json.dumps(self.record(), indent=1))
        if isinstance(self.text.tokenizer, tokenizer.BPE):
            (Path(out) / tokenizer.FILE).write_text(self.text.tokenizer.described)
