"""Score a checkpoint: the one function the yardstick calls, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from checkpoint import read_weights
from config import Config
from model import GPT


def load(folder: str | Path):
    """Load the checkpoint in `folder`.

    Returns a function of tokens_BT (integers, shape (B, T)) that gives the natural-log probability of each
    of tokens_BT[:, 1:] after the tokens before it, float32 of shape (B, T - 1). A model whose context is
    shorter than T starts afresh at each multiple of its context.
    """
    folder = Path(folder)
    config = Config(**json.loads((folder / "config.json").read_text()))
    model = GPT(config)
    model.load_state_dict(read_weights(folder, model))
    model.eval()

    @torch.no_grad()
    def log_probabilities(tokens_BT):
        tokens_BT = torch.as_tensor(tokens_BT, dtype=torch.long)
        chunks = []
        for start in range(0, tokens_BT.shape[1] - 1, config.context):
            window_BT = tokens_BT[:, start : start + config.context + 1]
            logp_BTV = model(window_BT[:, :-1]).log_softmax(-1)
            chunks.append(logp_BTV.gather(2, window_BT[:, 1:, None])[..., 0])
        return torch.cat(chunks, dim=1).numpy()

    return log_probabilities
