"""Learning rate over a run, as a multiple of its peak."""

from __future__ import annotations

import math

from config import Config


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Multiplier in [0, 1] for `step` of `steps`: linear warmup, then the recipe's shape.

    "cosine" (Loshchilov & Hutter 2017), "linear", "wsd" (warmup-stable-decay, Hu et al. 2024: flat, then
    linear over the last `decay` of the steps) or "constant". All end at `final_lr`, but "constant".
    """
    progress = (step + 0.5) / steps
    if progress < config.warmup:
        return progress / config.warmup
    if config.schedule == "constant":
        return 1.0
    after_warmup = (progress - config.warmup) / (1 - config.warmup)
    if config.schedule == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * after_warmup))
    elif config.schedule == "linear":
        shape = 1 - after_warmup
    elif config.schedule == "wsd":
        shape = min(1.0, (1 - progress) / config.decay)
    else:
        raise ValueError(f"schedule is {config.schedule!r}; allowed are cosine, linear, wsd, constant")
    return config.final_lr + (1 - config.final_lr) * shape
