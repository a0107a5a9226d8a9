"""Train one small GPT on bytes: `python train.py --rung 0 --seed 1 --data train.bin --out DIR`.

Writes to DIR: `config.json`, `metrics.jsonl` (one line per step) and `model.pt`. The same recipe, rung, seed
and corpus give the same losses to the last bit on one machine. Exit code 3 means the loss was not finite.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from config import RECIPES, RUNGS, Config, to_dict, with_overrides
from data import Reader
from model import GPT
from optim import make_optimizers
from schedule import learning_rate
from torch.nn import functional as F

TOKENS = (125_000, 290_000, 750_000, 2_000_000)
"""Tokens per rung when --tokens is not given."""
DIVERGED = 3


def train(config: Config, tokens: int, seed: int, data: Path, out: Path) -> bool:
    """Train for `tokens` tokens, rounded down to whole steps. False when a loss was not finite."""
    model = GPT(config)
    model.initialise(seed)
    optimizers = make_optimizers(model, config)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    reader = Reader(data, config.context, config.batch, seed)
    steps = max(1, tokens // (config.batch * config.context))
    flops_per_token = config.flops_per_token()
    start = time.perf_counter()
    with (out / "metrics.jsonl").open("w") as metrics:
        for step in range(steps):
            scale = learning_rate(step, steps, config)
            for optimizer, lrs in zip(optimizers, peaks, strict=True):
                for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                    group["lr"] = lr * scale
            x_BT, y_BT = reader()
            loss = F.cross_entropy(model(x_BT).flatten(0, 1), y_BT.flatten())
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip or math.inf)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            line = {
                "step": step,
                "tokens": reader.tokens,
                "flops": reader.tokens * flops_per_token,
                "seconds": round(time.perf_counter() - start, 4),
                "lr": config.lr * scale,
                "loss": loss.item(),
                "gradient_norm": norm.item(),
            }
            metrics.write(json.dumps(line) + "\n")
            if not math.isfinite(line["loss"]):
                return False
    torch.save(model.state_dict(), out / "model.pt")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="gpt2")
    parser.add_argument("--rung", type=int, choices=range(RUNGS), default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, help="training tokens (default: the rung's)")
    parser.add_argument("--data", type=Path, required=True, help="training text, as raw bytes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a knob")
    args = parser.parse_args()
    try:
        config = with_overrides(RECIPES[args.recipe], args.set).at_rung(args.rung)
    except ValueError as error:
        parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(to_dict(config), indent=1))
    finite = train(config, args.tokens or TOKENS[args.rung], args.seed, args.data, args.out)
    return 0 if finite else DIVERGED


if __name__ == "__main__":
    sys.exit(main())
