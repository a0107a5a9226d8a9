"""Several models as one: each operation of a training step is one batched operation for all of them.

Stacked parameters, one loss and one backward pass for all (torch.func's `vmap` around the code of one model),
gradients clipped by member, and optimisers that step all members at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import nullcontext
from copy import deepcopy
from itertools import groupby

import loop
import torch
from config import Config
from device import Device
from optim import make_optimizers
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

ELEMENTWISE = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
"""Optimisers that treat every element of a parameter alike: stacked parameters step as one."""


class NotStackable(Exception):
    """These runs cannot be stacked; the message says why."""


class Objective(torch.nn.Module):
    """`loss_of` as a module, for torch.func to call with one member's parameters."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *batch):
        return loop.loss_of(self.model, *batch)


class Stack:
    """The parameters of all members as one tensor per name; the members' own models hold slices of them.

    The methods up to `step` are the places where members wait. Each gets what members brought, by their
    number, and returns what each gets back. Members that ended bring nothing: their slices are computed on.
    """

    def __init__(self, configs: list[Config], device: Device, merge: bool):
        """`configs`: one per member, equal ones next to each other. `merge`: one optimiser for those."""
        self.configs, self.device, self.merge = configs, device, merge
        self.optimizers: list[list] = [[] for _ in configs]
        self.steppers: dict[int, list[Stepper]] = {}
        self.zeroed: set[int] = set()
        """Members that zeroed their gradient since the last backward pass."""

    def place(self, brought):
        models = self.models = [brought[i][0] for i in range(len(self.configs))]
        self.objective = Objective(deepcopy(models[0]))
        self.values, self.gradients, self.buffers, self.dims = {}, {}, {}, {}
        self.own = dict(by_name(models, "named_parameters"))
        for name, own in self.own.items():
            self.values[name] = torch.stack([p.detach() for p in own]).requires_grad_(own[0].requires_grad)
            for p, value in zip(own, self.values[name].detach(), strict=True):
                p.data = value
        for name, own in by_name(models, "named_buffers"):
            equal = all(torch.equal(b, own[0]) for b in own)
            self.dims["model." + name] = None if equal else 0
            shared = self.buffers["model." + name] = own[0].clone() if equal else torch.stack(own)
            for i, b in enumerate(own):
                b.data = shared if equal else shared[i]
        self.losses_of = vmap(self._loss_of_one, in_dims=(0, self.dims, 0))
        if self.device.compile:
            self.losses_of = torch.compile(self.losses_of, dynamic=False)
        return dict(enumerate(models))

    def loss(self, brought):
        first = next(iter(brought.values()))
        batch = [
            self.device.move(torch.stack(x)) for x in zip(*(brought.get(i, first) for i in self), strict=True)
        ]
        on_cpu = self.device.kind == "cpu"  # its fused attention would run member by member
        with self.device.autocast(), sdpa_kernel(SDPBackend.MATH) if on_cpu else nullcontext():
            self.losses_N = self.losses_of(self.values, self.buffers, batch)
        self.parts = self.losses_N.unbind()
        return {i: self.parts[i] for i in brought}

    def backward(self, brought):
        if self.zeroed >= brought.keys():
            torch._foreach_zero_(list(self.gradients.values()))
        elif self.zeroed & brought.keys():
            raise NotStackable("some members keep a gradient that others drop")
        self.zeroed.clear()
        losses_N = self.losses_N
        if any(loss is not self.parts[i] for i, (loss,) in brought.items()):  # the loop adds to it
            losses_N = torch.stack([brought[i][0] if i in brought else self.parts[i] for i in self])
        losses_N.sum().backward()  # no member's loss depends on another's parameters
        self._add_gradients()
        return dict(zip(self, losses_N.detach().cpu(), strict=True))

    def _add_gradients(self):
        """What no gradient reaches has none, here as in a run alone: optimisers pass over it."""
        fresh = {name: value.grad for name, value in self.values.items() if value.grad is not None}
        for value in self.values.values():
            value.grad = None
        if self.gradients and fresh.keys() != self.gradients.keys():
            raise NotStackable(f"a gradient reaches {min(fresh.keys() ^ self.gradients.keys())} now and then")
        if self.gradients:
            torch._foreach_add_(list(self.gradients.values()), list(fresh.values()))
            return
        self.gradients = fresh
        for name, gradient in fresh.items():
            for p, its in zip(self.own[name], gradient, strict=True):
                if p.grad is not None:  # of what the loop adds to the loss
                    its.add_(p.grad)
                p.grad = its

    def clip(self, brought):
        """As torch's clip_grad_norm_, for each member."""
        largest_N = torch.tensor([brought.get(i, (math.inf,))[0] for i in self], device=self.device.kind)
        norms_N = torch.stack([g.flatten(1).norm(dim=1) for g in self.gradients.values()]).norm(dim=0)
        scale_N = (largest_N / (norms_N + 1e-6)).clamp(max=1.0)
        for g in self.gradients.values():
            g.mul_(scale_N.view(-1, *[1] * (g.ndim - 1)))
        return dict(zip(self, norms_N.cpu(), strict=True))

    def step(self, brought):
        numbers = {number for number, _ in brought.values()}
        if len(numbers) > 1:
            raise NotStackable("members step different optimisers")
        (number,) = numbers
        if not self.merge:
            return {i: own_step() for i, (_, own_step) in brought.items()}
        if number not in self.steppers:
            equal = [list(members) for _, members in groupby(self, key=self.configs.__getitem__)]
            self.steppers[number] = [Stepper(self, number, own[0], own[-1] + 1) for own in equal]
        for stepper in self.steppers[number]:
            stepper.step([self.optimizers[i][number] for i in range(*stepper.ends) if i in brought])
        return dict.fromkeys(brought)

    def __iter__(self):
        return iter(range(len(self.configs)))

    def _loss_of_one(self, values, buffers, batch):
        values = {"model." + name: value for name, value in values.items()}
        return functional_call(self.objective, (values, buffers), tuple(batch))


def by_name(models, kind):
    """Name and tensors, one per model, of everything in `kind` (named_parameters or named_buffers)."""
    found = [dict(getattr(model, kind)()) for model in models]
    shapes = [{name: tensor.shape for name, tensor in one.items()} for one in found]
    if any(one != shapes[0] for one in shapes):
        raise NotStackable("members have parameters of different names or shapes")
    return [(name, [one[name] for one in found]) for name in found[0]]


class Stepper:
    """One optimiser for neighbours with equal settings. It is what make_optimizers makes for the first of
    them, with stacked parameters put in the place of its own."""

    def __init__(self, stack: Stack, number: int, first: int, last: int):
        self.ends = (first, last)
        model = stack.models[first]
        self.optimizer = make_optimizers(model, stack.configs[first])[number]
        self.values = {name: value.detach()[first:last] for name, value in stack.values.items()}
        for name, gradient in stack.gradients.items():
            self.values[name].grad = gradient[first:last]
        name_of = {id(p): name for name, p in model.named_parameters()}
        self.names = [[name_of[id(p)] for p in group["params"]] for group in self.optimizer.param_groups]
        self.elementwise = type(self.optimizer) in ELEMENTWISE
        if self.elementwise:
            self._hold(self.values)
        self.state: dict = {}

    def step(self, own: list) -> None:
        """Step with the settings that the loops gave to the members' own optimisers."""
        settings = [[{**group, "params": None} for group in optimizer.param_groups] for optimizer in own]
        if not own:
            return
        if any(one != settings[0] for one in settings):
            raise NotStackable("members of equal configuration set their optimisers differently")
        for group, new in zip(self.optimizer.param_groups, settings[0], strict=True):
            group.update({key: value for key, value in new.items() if key != "params"})
        if self.elementwise:
            self.optimizer.step()
            return
        used = {name: self.values[name] for names in self.names for name in names}
        gradients = {name: value.grad for name, value in used.items() if value.grad is not None}
        with torch.no_grad():
            self.state = vmap(self._step_one)(used, gradients, self.state)

    def _step_one(self, values, gradients, state):
        """The optimiser's own step on one member's parameters; inside vmap, on all of them."""
        for name, value in values.items():
            value.grad = gradients.get(name)
        self._hold(values)
        self.optimizer.state = defaultdict(dict, {values[name]: held for name, held in state.items()})
        self.optimizer.step()
        return {name: self.optimizer.state[v] for name, v in values.items() if v in self.optimizer.state}

    def _hold(self, values):
        for group, names in zip(self.optimizer.param_groups, self.names, strict=True):
            group["params"] = [values[name] for name in names]
