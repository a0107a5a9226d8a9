"""The training loop, flat and in the order it happens: what an idea edits.

What is not learning stands behind `run` (run.py): devices, ranks, micro-batches, checkpoints, the log. So
these lines are the same on a laptop core and on many GPUs.
"""

from __future__ import annotations

import math

import torch
from model import GPT
from optim import make_optimizers
from schedule import learning_rate
from torch.nn import functional as F


def loss_of(model, x_BT, y_BT):
    """What a step descends: mean cross-entropy of the next token, in nats."""
    logits_BTV = model(x_BT)
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten())
    return loss  # noqa: RET504  a line of its own, before which ideas add their terms


def train(config, tokens, seed, run):
    """Train for `tokens` tokens, rounded down to whole steps, and leave the result in the run's folder.

    A run that ends early raises what run.py says: Diverged, Stopped, or OSError when the disk is full.
    """
    model = GPT(config)
    model.initialise(seed)
    model = run.place(model)
    torch.manual_seed(seed)  # here, so that what a step draws does not depend on what the model drew
    optimizers = make_optimizers(model, config)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    reader = run.reader(config, seed, tokens)
    steps = max(1, tokens // (config.batch * config.context))
    flops_per_token = config.flops_per_token()
    for step in run.steps(steps, model, optimizers, reader):
        scale = learning_rate(step, steps, config)
        for optimizer, lrs in zip(optimizers, peaks, strict=True):
            for group, lr in zip(optimizer.param_groups, lrs, strict=True):
                group["lr"] = lr * scale
        loss = 0.0
        for x_BT, y_BT in run.micro_batches(reader()):
            with run.autocast():
                micro_loss = loss_of(model, x_BT, y_BT)
            loss += run.backward(micro_loss)
        norm = run.clip(model.parameters(), config.clip or math.inf)
        with run.autocast():  # for the matrix products of an optimiser
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        run.log(step, reader.tokens, reader.tokens * flops_per_token, config.lr * scale, loss, norm)
    run.save(model)
