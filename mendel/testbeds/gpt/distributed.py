"""Several processes as one run, under `torchrun`: each computes the gradient of its share of every batch.

`ddp` keeps the whole model on each rank and averages gradients; `fsdp` (FSDP2) also shares out parameters
and optimiser state. A process that runs alone passes through here without doing anything.
"""

from __future__ import annotations

import os

import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

MODES = ("none", "ddp", "fsdp")


class Replicated(DistributedDataParallel):
    """DDP's wrapper under the names of the model it wraps, for optimisers and checkpoints to find."""

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.module, name)

    def named_parameters(self, *args, **kwargs):
        return self.module.named_parameters(*args, **kwargs)

    def state_dict(self, *args, **kwargs):
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args, **kwargs):
        return self.module.load_state_dict(*args, **kwargs)


class Ranks:
    """This process among all of its run."""

    def __init__(self, mode: str = "none", kind: str = "cpu"):
        """Join the others. ValueError: `mode` and the way this process was started do not fit."""
        self.mode = mode
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if mode not in MODES:
            raise ValueError(f"--parallel {mode}: allowed are {', '.join(MODES)}")
        if mode == "none":
            if self.count > 1:
                raise ValueError(f"--parallel none with {self.count} processes; allowed are ddp, fsdp")
            return
        if "RANK" not in os.environ:
            raise ValueError(
                f"--parallel {mode} needs torchrun: torchrun --nproc_per_node 2 train.py --parallel {mode}"
            )
        if kind == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo")

    def leave(self) -> None:
        if self.mode != "none":
            distributed.destroy_process_group()

    def place(self, model):
        """Share `model` among the ranks."""
        if self.mode == "ddp":
            return Replicated(model)
        if self.mode == "fsdp":
            mesh = distributed.init_device_mesh(next(model.parameters()).device.type, (self.count,))
            for block in model.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
        return model

    def gather_for(self, optimizers) -> None:
        """Give whole gradients to optimisers whose step mixes the elements of a matrix, such as Muon's: all
        but Adam's. Each rank computes the whole step, instead of gathering again at every product in it, and
        keeps its share of the result."""

        def gather(optimizer, *_):
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad = p.grad.redistribute(placements=[Replicate()])

        if self.mode == "fsdp":
            for optimizer in optimizers:
                if not isinstance(optimizer, torch.optim.AdamW):
                    optimizer.register_step_pre_hook(gather)

    def exchange_gradients(self, model, now: bool) -> None:
        """Whether the next backward pass averages gradients over ranks, or only adds to them."""
        if self.mode == "ddp":
            model.require_backward_grad_sync = now
        elif self.mode == "fsdp":
            model.set_requires_gradient_sync(now)

    def mean(self, *scalars):
        """Means over ranks of numbers or tensors of one element: floats, equal on every rank."""
        if self.mode == "none":
            return [float(scalar) for scalar in scalars]
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        sums = torch.tensor([float(scalar) for scalar in scalars], dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        return (sums / self.count).tolist()

    def gather(self, value) -> list:
        """`value` of each rank, in their order."""
        values = [value] * self.count
        if self.mode != "none":
            distributed.all_gather_object(values, value)
        return values


def whole(value):
    """`value`, a tensor or a nest of dicts, lists and tuples, with every shared-out tensor put together and
    on the CPU. All ranks must call this together."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(item) for item in value)
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.cpu() if isinstance(value, torch.Tensor) else value


def share(value, like):
    """The whole tensor `value` shared out as `like` is. Of another shape it stays whole on every rank, as
    does the state of an optimiser that needs whole gradients."""
    if not isinstance(like, DTensor) or value.ndim == 0:
        return value
    placements = like.placements if value.shape == like.shape else [Replicate()] * like.device_mesh.ndim
    # Every rank has read the file, so none needs to be told what it holds.
    return distribute_tensor(value.to(like.device), like.device_mesh, placements, src_data_rank=None)


@torch.no_grad()
def load_weights(model, weights: dict) -> None:
    """Whole tensors by name into a model that may be shared out. ValueError names a tensor that does not
    fit."""
    tensors = model.state_dict(keep_vars=True)
    for name in sorted(tensors.keys() | weights.keys()):
        found = tuple(weights[name].shape) if name in weights else None
        expected = tuple(tensors[name].shape) if name in tensors else None
        if found != expected:
            raise ValueError(f"checkpoint: {name} has shape {found}, and the model {expected}")
        tensors[name].copy_(share(weights[name], tensors[name]))


def load_optimizer(optimizer, saved: dict) -> None:
    """The whole `state_dict` of an optimiser into one whose parameters may be shared out."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {
        number: {
            name: share(value, parameters[number]) if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }
        for number, values in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": state})
