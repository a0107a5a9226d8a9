"""Everything around the training loop: where it computes, its share of each batch, its log, its checkpoints.

The loop (loop.py) calls the public methods of `Run` in the order in which they stand here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import sys
import time
from pathlib import Path

import checkpoint
import torch
from config import to_dict
from data import Reader
from device import Device, choose_device, recompute_activations
from distributed import Ranks, load_optimizer, load_weights, share, whole

RECORD = "run.json"


class Refused(Exception):
    """The run cannot be done as it was asked for; the message says what to change."""


class Diverged(Exception):
    """A loss or a weight is not finite."""


class Finished(Exception):
    """The result of the very run that is asked for is there already."""


class Stopped(Exception):
    """The run was told to stop, and has saved what it needs to go on."""


class Run:
    """One training run in the folder `out`."""

    def __init__(
        self, data: Path, out: Path, device: Device | None = None, ranks: Ranks | None = None, accumulate=1,
        recompute=False, checkpoint_every=0, resume=False,
    ):  # fmt: skip
        """`accumulate`: micro-batches per step and rank. `recompute`: save memory by computing activations
        twice. `checkpoint_every`: steps between checkpoints, 0 for none. `resume`: go on after the last
        checkpoint, if there is one."""
        self.data, self.out = data, out
        self.device = device or choose_device()
        self.ranks = ranks or Ranks()
        self.accumulate, self.recompute = accumulate, recompute
        self.checkpoint_every, self.resume = checkpoint_every, resume
        self.told_to_stop = False
        self.stopping = False
        """Some rank was told to stop before this step's line was written: all of them know."""
        self.kept: list[torch.Tensor] = []
        self.metrics = None
        self.seconds = 0.0
        """Spent on the steps before a resume."""
        self.share = 1.0

    def place(self, model):
        """Move `model` to where it computes, and make ready to compute there."""
        model = model.to(self.device.kind)
        if self.recompute:
            recompute_activations(model)
        if self.device.compile:
            for part in model.blocks if self.ranks.mode == "fsdp" else [model]:
                part.compile(dynamic=False)
        return self.ranks.place(model)

    def keep(self, tensors):
        """Tensors that an idea changes from step to step: checkpoints hold them too."""
        self.kept += tensors
        return tensors

    def reader(self, config, seed, tokens):
        """What reads this rank's share of every step's batch."""
        least = self.accumulate * self.ranks.count
        if config.batch < least:
            raise Refused(
                f"batch is {config.batch} sequences; --accumulate {self.accumulate} on {self.ranks.count} "
                f"ranks needs at least {least}"
            )
        self.config = to_dict(config)
        with self.data.open("rb") as text:
            beginning = hashlib.sha256(text.read(2**20)).hexdigest()[:12]
        self.knobs = self.config | {
            "seed": seed,
            "text": f"{self.data.stat().st_size} bytes, the first of them {beginning}",
        }
        try:
            self._reader = Reader(self.data, config, seed, self.ranks.rank, self.ranks.count, tokens)
        except ValueError as error:
            raise Refused(str(error)) from None
        return self._reader

    def steps(self, steps, model, optimizers, reader):
        """The steps that are left to do, after restoring all that was given here to where they begin."""
        self.model, self.optimizers = model, optimizers
        self.knobs["steps"] = steps
        self.ranks.gather_for(optimizers)
        first = self._restore()
        if self.ranks.rank == 0:
            checkpoint.write_atomically(
                self.out / checkpoint.CONFIG, json.dumps(self.config, indent=1).encode()
            )
            checkpoint.write_atomically(self.out / RECORD, json.dumps(self.record(), indent=1).encode())
        self.start = time.perf_counter() - self.seconds
        for step in range(first, steps):
            yield step
            if step + 1 < steps:
                self._pause(step + 1)
        self.close()

    def micro_batches(self, batch):
        """This rank's part of a step's batch in `accumulate` pieces, each on the device. A gradient is
        exchanged between ranks after the last."""
        x_BT, y_BT = batch
        pieces = zip(x_BT.tensor_split(self.accumulate), y_BT.tensor_split(self.accumulate), strict=True)
        for number, (x_MT, y_MT) in enumerate(pieces, 1):
            # Ranks average their gradients, so a piece counts for what it holds of the whole batch.
            self.share = len(x_MT) * self.ranks.count / self._reader.batch
            self.ranks.exchange_gradients(self.model, now=number == self.accumulate)
            yield self.device.move(x_MT), self.device.move(y_MT)

    def autocast(self):
        """The context of a forward pass: in it, matrix products have the run's precision."""
        return self.device.autocast()

    def backward(self, loss):
        """Add the gradient of one micro-batch. Returns what its loss adds to that of the step."""
        if self.share != 1.0:
            loss = loss * self.share
        loss.backward()
        return loss.detach()

    def clip(self, parameters, largest):
        """Scale the gradient, of all ranks together, to a norm of at most `largest`. Returns its norm."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, largest)
        return whole(norm)

    def log(self, step, tokens, flops, lr, loss, norm):
        """Write the line of a step; raises Diverged for a loss that is not finite."""
        loss, told = self.ranks.mean(loss, self.told_to_stop)
        self.stopping = told > 0
        line = {
            "step": step,
            "tokens": tokens,
            "flops": flops,
            "seconds": round(time.perf_counter() - self.start, 4),
            "lr": lr,
            "loss": loss,
            "gradient_norm": norm.item(),
        }
        if self.ranks.rank == 0:
            self.metrics.write(json.dumps(line).encode() + b"\n")
            if step % 20 == 0 and sys.stdout.isatty():
                print(f"step {step}: loss {loss:.4f} nats per token, {line['seconds']:.1f} s", flush=True)
        if not math.isfinite(loss):
            self.close()
            raise Diverged(f"the loss of step {step} is {loss}")

    def save(self, model):
        """Leave the weights as the run's result, and nothing that only a further step would need."""
        weights = self._finite_weights(model)
        if self.ranks.rank == 0:
            self._reader.save(self.out)
            checkpoint.write_weights(self.out, weights)
            checkpoint.remove_checkpoints(self.out)

    # --- not for the loop ------------------------------------------------------------------------------

    def stop(self, *_) -> None:
        """A signal handler: save after the step that is under way, and end."""
        self.told_to_stop = True

    def close(self) -> None:
        """Put the log on the disk. OSError: the disk is full."""
        if self.metrics is not None:
            self.metrics.close()

    def record(self) -> dict:
        """What the result should say of how it was made."""
        return self.device.record() | {
            "asked": self.knobs,
            "ranks": self.ranks.count,
            "parallel": self.ranks.mode,
            "accumulate": self.accumulate,
            "activation_checkpointing": self.recompute,
        }

    def _pause(self, done):
        """Between two steps, after `done` of them: save when it is time, and stop when told to."""
        if self.stopping or (self.checkpoint_every and done % self.checkpoint_every == 0):
            self._checkpoint(done)
        if self.stopping:
            self.close()
            raise Stopped(f"saved after {done} of {self.knobs['steps']} steps; --resume goes on from there")

    def _checkpoint(self, done):
        weights = self._finite_weights(self.model)
        state = {
            "done": done,
            "knobs": self.knobs,
            "optimizers": whole([optimizer.state_dict() for optimizer in self.optimizers]),
            "reader": self._reader.state_dict(),
            "random": self.ranks.gather(random_state()),
            "kept": whole(self.kept),
            "seconds": time.perf_counter() - self.start,
        }
        if self.ranks.rank == 0:
            os.fsync(self.metrics.fileno())
            state["metrics"] = self.metrics.tell()
            with checkpoint.new_checkpoint(self.out, done) as folder:
                checkpoint.write_json(folder / checkpoint.CONFIG, self.config)
                self._reader.save(folder)
                checkpoint.write_weights(folder, weights)
                checkpoint.write_state(folder, state)

    def _finite_weights(self, model) -> dict:
        """A checkpoint of weights that cannot be trained further would replace one of weights that can."""
        weights = whole(checkpoint.weights_of(model))
        for name, value in weights.items():
            if not value.isfinite().all():
                raise Diverged(f"{name} is not finite")
        return weights

    def _restore(self) -> int:
        """Begin, or go on after the last checkpoint. Returns the steps that are done."""
        folder, result = checkpoint.last_checkpoint(self.out), self.out / checkpoint.WEIGHTS
        if folder is None:
            if self.resume and result.is_file():
                self._check_same(json.loads((self.out / RECORD).read_text())["asked"], self.out / RECORD)
                raise Finished(f"{self.out}: finished already")
            if self.ranks.rank == 0:
                result.unlink(missing_ok=True)  # of another run: a kill must not leave it as this one's
            self._open_log(0)
            return 0
        if not self.resume:
            raise Refused(f"{folder}: a run that was stopped lies here; --resume goes on, or delete it")
        state = checkpoint.read_state(folder)
        self._check_same(state["knobs"], folder / checkpoint.STATE)
        load_weights(self.model, checkpoint.read_weights(folder, self.model))
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            load_optimizer(optimizer, saved)
        self._reader.load_state_dict(state["reader"])
        restore_random(state["random"][self.ranks.rank % len(state["random"])])
        with torch.no_grad():
            for tensor, saved in zip(self.kept, state["kept"], strict=True):
                tensor.copy_(share(saved, tensor))
        self.seconds = state["seconds"]
        self._open_log(state["metrics"])
        return state["done"]

    def _check_same(self, knobs: dict, where: Path):
        for knob, value in self.knobs.items():
            if knobs.get(knob) != value:
                raise Refused(f"{where}: {knob} is {value!r}, and was {knobs.get(knob)!r} when the run began")

    def _open_log(self, length: int):
        """Lines after the first `length` bytes are of steps that will be done again."""
        if self.ranks.rank != 0:
            return
        path = self.out / "metrics.jsonl"
        if length and path.stat().st_size < length:
            raise Refused(f"{path}: it holds fewer than the {length} bytes it had at the last checkpoint")
        # Unbuffered: the line of a step is there whatever ends the run after it.
        self.metrics = path.open("r+b" if length else "wb", buffering=0)
        self.metrics.truncate(length)
        self.metrics.seek(length)


def random_state() -> dict:
    """Where the generators of torch and Python stand, on every device."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": random.getstate()}


def restore_random(state: dict) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
