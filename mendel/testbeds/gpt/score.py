"""Score a checkpoint: what the yardstick calls, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from sample import load_model


class Scores:
    """Natural-log probabilities, float32. A model whose context is shorter than a row starts afresh at each
    multiple of its context."""

    def __init__(self, folder: str | Path):
        self.model = load_model(Path(folder))
        self.context = self.model.config.context

    @torch.no_grad()
    def __call__(self, tokens_BT):
        """Of each of tokens_BT[:, 1:] after the tokens before it: shape (B, T - 1)."""
        tokens_BT = torch.as_tensor(tokens_BT, dtype=torch.long)
        chunks = []
        for start in range(0, tokens_BT.shape[1] - 1, self.context):
            window_BT = tokens_BT[:, start : start + self.context + 1]
            logp_BTV = self.model(window_BT[:, :-1]).log_softmax(-1)
            chunks.append(logp_BTV.gather(2, window_BT[:, 1:, None])[..., 0])
        return torch.cat(chunks, dim=1).numpy()

    @torch.no_grad()
    def next_token(self, tokens_BT):
        """Of every token after tokens_BT: shape (B, V)."""
        start = (tokens_BT.shape[1] - 1) // self.context * self.context
        tokens_BT = torch.as_tensor(tokens_BT[:, start:], dtype=torch.long)
        return self.model(tokens_BT)[:, -1].log_softmax(-1).numpy()


load = Scores
