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
from sources import Mixture, arrange, one_document, plain_text, read_documents

KNOBS = (
    *("tokenizer", "mixture", "mixture_end", "packing", "deduplicate"),
    *("min_bytes", "max_bytes", "max_non_text", "max_repetition"),
)
RECORD = "data.json"


class Shuffle:
    """Windows in a fresh random order each epoch, for ever."""

    def __init__(self, start_N, *stream: int):
        self.start_N, self.stream = start_N, stream
        self.seek(0)

    def seek(self, taken: int):
        """Stand where `taken` windows have been handed out."""
        random = np.random.default_rng(self.stream)
        for _ in range(taken // len(self.start_N) + 1):
            self.order = random.permutation(len(self.start_N))
        self.random, self.taken, self.next = random, taken, taken % len(self.start_N)

    def take(self, count: int):
        while self.next + count > len(self.order):
            rest = self.order[self.next :]
            self.order = np.concatenate((rest, self.random.permutation(len(self.start_N))))
            self.next = 0
        picked = self.order[self.next : self.next + count]
        self.next += count
        self.taken += count
        return self.start_N[picked]

    def read(self):
        """Where all windows that were handed out begin, each as often as it was."""
        if self.taken == self.next:  # still in the first order
            return self.start_N[self.order[: self.next]]
        epochs, rest = divmod(self.taken, len(self.start_N))
        again = Shuffle(self.start_N, *self.stream)
        again.seek(self.taken)
        return np.concatenate((np.tile(self.start_N, epochs), again.start_N[again.order[:rest]]))


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
        self.path, self.rank, self.ranks = Path(path), rank, ranks
        data = np.memmap(path, dtype=np.uint8, mode="r")
        if all(getattr(config, knob) == getattr(Config, knob) for knob in KNOBS):
            self.text = plain_text(data, self.context)  # its documents are looked for when somebody asks
        else:
            self.text = arrange(data, read_documents(self.path, data), config)
        windows = sum(map(len, self.text.starts.values()))
        if windows < self.batch:
            raise ValueError(
                f"{path}: {len(self.text.tokens)} {config.tokenizer} tokens hold {windows} windows of "
                f"{self.context}, fewer than a batch of {self.batch}"
            )
        self.streams = [
            Shuffle(start_N, seed, 0xDA7A, *name.encode()) for name, start_N in self.text.starts.items()
        ]
        if config.mixture or config.mixture_end:
            self.mixture = Mixture(self.text, config, seed, total and total / self.context)
        self.windows = 0
        self.tokens = 0
        """Tokens handed out so far, to all ranks together."""

    def __call__(self):
        """Inputs and targets of one step, int64, (B, T) each; with several ranks, this one's part of them."""
        start_B = self._take(self.batch)
        self.tokens += self.batch * self.context
        if self.ranks > 1:
            start_B = np.array_split(start_B, self.ranks)[self.rank]
        places_BT = start_B[:, None] + np.arange(self.context + 1)
        window_BT = torch.from_numpy(self.text.tokens[places_BT].astype(np.int64))
        return window_BT[:, :-1], window_BT[:, 1:]

    def _take(self, count: int):
        """Where the next `count` windows of the run begin."""
        first, self.windows = self.windows, self.windows + count
        if len(self.streams) == 1:
            return self.streams[0].take(count)
        stream_N = self.mixture.streams(first, count)
        start_N = np.empty(count, np.int64)
        for place, stream in enumerate(self.streams):
            start_N[stream_N == place] = stream.take(int((stream_N == place).sum()))
        return start_N

    def state_dict(self) -> dict:
        return {"windows": self.windows, "tokens": self.tokens}

    def load_state_dict(self, state: dict) -> None:
        """Go on where a reader of the same text, knobs and seed stood, whatever its ranks were."""
        self.windows, self.tokens = state["windows"], state["tokens"]
        taken_S = [self.windows]
        if len(self.streams) > 1:
            taken_S = np.bincount(self.mixture.streams(0, self.windows), minlength=len(self.streams))
        for stream, taken in zip(self.streams, taken_S, strict=True):
            stream.seek(int(taken))

    def record(self) -> dict:
        """What was read so far: each source's documents, its tokens and bytes in the text, tokens read and
        epochs; and the documents that were left out, by knob."""
        text = self.text
        if text.documents is None:
            text = plain_text(text.tokens, self.context, self._documents())
        documents = text.documents
        read_S = text.count(np.concatenate([stream.read() for stream in self.streams]), self.context)
        byte_D = documents.end_D - documents.start_D + 1
        sources = []
        for place, name in enumerate(documents.names):
            own_D = documents.source_D == place
            tokens = int(text.size_D[own_D].sum())
            about = {"documents": int(own_D.sum()), "bytes": int(byte_D[own_D].sum()), "tokens": tokens}
            read = float(read_S[place])
            sources.append({"name": name, **about, "read": round(read), "epochs": read / max(1, tokens)})
        return {
            "tokenizer": type(text.tokenizer).__name__.lower(),
            "vocab": text.tokenizer.size,
            "tokens": self.tokens,
            "left_out": text.left_out,
            "sources": sources,
        }

    def _documents(self):
        """Of a text that is read as it is: a list of sources that does not fit it must not stop the run."""
        try:
            return read_documents(self.path, self.text.tokens)
        except ValueError:
            return one_document(self.text.tokens)

    def save(self, out: Path) -> None:
        """Leave in `out` what was read (data.json) and, for BPE, the tokenizer that its scores need."""
        (Path(out) / RECORD).write_text(json.dumps(self.record(), indent=1))
        if isinstance(self.text.tokenizer, tokenizer.BPE):
            (Path(out) / tokenizer.FILE).write_text(self.text.tokenizer.described)
