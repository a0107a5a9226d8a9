"""Several runs as one: `python stacked.py --data FILE --out DIR --member seed=1 --member "seed=2 lr=0.01"`

Runs that differ only in seed or in scalar settings have parameters of the same shapes. Stacked, each
operation of a step is one batched operation for all: work for a GPU that one tiny model leaves idle.

Each member runs the loop of loop.py itself, in a thread of its own, so whatever an idea edits there holds.
Threads take turns (lanes.py); where a member needs a loss, a backward pass, a clipped gradient or a step of
an optimiser, it waits until all have come to the same place, and that is done for all at once (stack.py).

Writes DIR/<member>/ as train.py would, and DIR/stacked.json: each member's exit code, and whether the runs
were stacked. What does not stack is trained one run after the other; run.json says why.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import types
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import loop
import torch
from checkpoint import write_atomically
from config import RECIPES, RUNGS, Config, with_overrides
from device import COMPILE, DEVICES, PRECISIONS, Device, choose_device
from lanes import in_step
from optim import make_optimizers
from run import Diverged, Refused, Run
from stack import NotStackable, Stack
from train import DISK_FULL, DIVERGED, FULL, TOKENS, WRONG

MAY_DIFFER = (
    "lr", "muon_lr", "muon_momentum", "beta1", "beta2", "eps", "weight_decay", "clip",
    "schedule", "warmup", "decay", "final_lr", "init", "init_std", "zero_init", "init_stream",
    "mixture", "mixture_end",
)  # fmt: skip
"""Knobs that change neither what a step computes nor the number of steps. All others must be equal."""
TRIAL_STEPS = 3
TOLERANCE = 1e-3
"""Largest relative difference of a loss or a gradient's norm in the trial."""
OFF_WAY, MAY_BE_OFF = 1e-2, 2e-2
"""At most the second share of weights may end further off than the first share of a typical weight's way. Not
none: an optimiser may follow the sign of a gradient that is zero but for rounding."""
FAILS = (NotStackable, RuntimeError, ValueError, TypeError, AttributeError)
"""What code that does not stack raises in a stack; the trial has shown that it runs alone."""


@dataclass(frozen=True)
class Member:
    name: str
    config: Config
    seed: int


# --- one member -----------------------------------------------------------------------------------------


class MemberRun(Run):
    """A run that says in its run.json how it was stacked, or why not."""

    def __init__(self, data, out, device, note: dict):
        super().__init__(data, out, device)
        self.note = note

    def record(self) -> dict:
        return super().record() | {"stacked": self.note}


class Trial(Run):
    """The first steps of a run, kept in memory. Weights start off their initial values: those that begin at
    zero would hide what flows through them."""

    def place(self, model):
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.02 * torch.randn(p.shape, generator=generator))
        self.before = deepcopy(list(model.parameters()))
        self.steps_seen: list[tuple[float, float]] = []
        return super().place(model)

    def steps(self, steps, model, optimizers, reader):
        self.model, self.optimizers = model, optimizers
        yield from range(min(TRIAL_STEPS, steps))

    def log(self, step, tokens, flops, lr, loss, norm):
        self.steps_seen.append((float(loss), float(norm)))

    def save(self, model):
        after = [p.detach().cpu() for p in model.parameters()]
        self.way = torch.cat([(a - b.detach()).flatten() for a, b in zip(after, self.before, strict=True)])

    def differs(self, alone: Trial) -> str:
        """In what this trial went another way than the same member's alone; empty for nothing."""
        for step, (mine, its) in enumerate(zip(self.steps_seen, alone.steps_seen, strict=True)):
            if not its[0] < 2 * alone.steps_seen[0][0]:
                return ""  # it diverges, and nothing is left but rounding
            for what, a, b in zip(("loss", "gradient norm"), mine, its, strict=True):
                if not math.isclose(a, b, rel_tol=TOLERANCE):
                    return f"the {what} of step {step} is {a:.6g} stacked and {b:.6g} alone"
        typical = alone.way.square().mean().sqrt()
        off = float(((self.way - alone.way).abs() > OFF_WAY * typical).float().mean())
        return "" if off <= MAY_BE_OFF else f"{off:.1%} of the weights went elsewhere"


def train_in_stack(stack: Stack, number: int, member: Member, tokens: int, run: Run, meet):
    """Train one member by the loop of loop.py, in whose names `loss_of` and the optimisers are shared. What
    is done for all goes through `meet`. Returns how it diverged, or None."""

    def shared_optimizers(model, config):
        for place, optimizer in enumerate(made := make_optimizers(model, config)):
            optimizer.step = partial(meet, "step", place, optimizer.step)
            optimizer.zero_grad = partial(stack.zeroed.add, number)
        stack.optimizers[number] = made
        return made

    shared = {"loss_of": lambda _, *batch: meet("loss", *batch), "make_optimizers": shared_optimizers}
    train = types.FunctionType(loop.train.__code__, vars(loop) | shared, "train", loop.train.__defaults__)
    place = run.place
    run.place = lambda model: meet("place", place(model))
    run.micro_batches = lambda batch: [batch]
    run.backward = partial(meet, "backward")
    run.clip = lambda _, largest: meet("clip", largest)
    return outcome(train, member, tokens, run)


def outcome(train, member: Member, tokens: int, run: Run) -> str | None:
    """Train a member. Returns None, or how it diverged."""
    try:
        train(member.config, tokens, member.seed, run)
    except Diverged as error:
        return str(error)
    finally:
        run.close()  # a stack that is given up leaves no line behind for the runs that follow
    return None


# --- all members ----------------------------------------------------------------------------------------


def train_stack(members: list[Member], tokens: int, device: Device, merge: bool, runs: list[Run]) -> list:
    """Train stacked. Returns how each member diverged, or None. Raises one of FAILS: they do not stack."""
    stack = Stack([member.config for member in members], device, merge)
    works = [
        partial(train_in_stack, stack, i, member, tokens, run)
        for i, (member, run) in enumerate(zip(members, runs, strict=True))
    ]
    return in_step(works, lambda place, brought: getattr(stack, place)(brought), NotStackable)


def try_stack(members: list[Member], tokens: int, data: Path, device: Device) -> bool:
    """Compare the first steps of the stack with those of members alone: two of each configuration, and in
    float32, where rounding hides little. Returns whether optimisers merge; raises NotStackable."""
    few = [m for _, same in groupby(members, key=lambda m: m.config) for m in list(same)[:2]]
    device = replace(device, precision="float32", compile=False)
    alone = [Trial(data, Path(), device) for _ in few]
    for member, run in zip(few, alone, strict=True):
        outcome(loop.train, member, tokens, run)

    def trial(merge: bool) -> str:
        runs = [Trial(data, Path(), device) for _ in few]
        try:
            train_stack(few, tokens, device, merge, runs)
        except FAILS as error:
            return first_line(error)
        return next(filter(None, map(Trial.differs, runs, alone)), "")

    if not trial(merge=True):
        return True
    if reason := trial(merge=False):
        raise NotStackable(reason)
    return False


def train_all(members: list[Member], tokens: int, data: Path, out: Path, device: Device) -> None:
    """Train every member into `out`/<its name>, stacked if that gives what they give alone."""
    members = sorted(members, key=lambda member: repr(member.config))

    def runs(device: Device, note: dict) -> list[MemberRun]:
        return [MemberRun(data, out / member.name, device, note) for member in members]

    for member in members:
        (out / member.name).mkdir(parents=True, exist_ok=True)
    try:
        merge = try_stack(members, tokens, data, device)
        note = {"members": len(members), "optimizers": "merged" if merge else "each", "reason": None}
        plain = replace(device, compile=False)
        diverged = train_stack(members, tokens, device, merge, runs(plain, note))
    except FAILS as error:
        note = {"members": 1, "optimizers": "each", "reason": first_line(error)}
        alone = zip(members, runs(device, note), strict=True)
        diverged = [outcome(loop.train, member, tokens, run) for member, run in alone]
    codes = {m.name: DIVERGED if said else 0 for m, said in zip(members, diverged, strict=True)}
    write_atomically(out / "stacked.json", json.dumps(note | {"exit_codes": codes}, indent=1).encode())


def first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return text if isinstance(error, NotStackable) else f"{type(error).__name__}: {text}"


# --- the command line -----------------------------------------------------------------------------------


def read_members(args: argparse.Namespace) -> list[Member]:
    """The members that the command line asks for. ValueError: unknown knobs, or members that do not match."""
    members: list[Member] = []
    for text in args.member:
        for pair in text.split():
            if "=" not in pair:
                raise ValueError(f"--member {text}: {pair!r} is not KEY=VALUE")
        settings = dict(pair.split("=", 1) for pair in text.split())
        name = settings.pop("name", "-".join(text.split()))
        seed = settings.pop("seed", "1")
        if not seed.isdecimal():
            raise ValueError(f"member {name!r}: seed is {seed!r}; allowed are integers")
        if not name or Path(name).name != name or name in (member.name for member in members):
            raise ValueError(f"member {name!r}: names must be different, and names of folders")
        pairs = [*args.set, *(f"{key}={value}" for key, value in settings.items())]
        config = with_overrides(RECIPES[args.recipe], pairs).at_rung(args.rung)
        members.append(Member(name, config, int(seed)))
        for knob in (field.name for field in fields(Config) if field.name not in MAY_DIFFER):
            mine, its = getattr(config, knob), getattr(members[0].config, knob)
            if mine != its:
                raise ValueError(
                    f"member {name!r}: {knob} is {mine!r}, and {its!r} in {members[0].name!r}; members may "
                    f"differ in seed, {', '.join(MAY_DIFFER)}"
                )
    return members


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="gpt2")
    add("--rung", type=int, choices=range(RUNGS), default=0)
    add("--tokens", type=int, help="training tokens of each member (default: the rung's)")
    add("--data", type=Path, required=True, help="training text, as raw bytes")
    add("--out", type=Path, required=True, help="folder for the results, one folder in it for each member")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a knob of all members")
    add("--member", action="append", required=True, metavar="'[name=...] [seed=N] KEY=VALUE ...'")
    add("--device", choices=DEVICES, default="auto")
    add("--precision", choices=PRECISIONS, default="auto", help="of matrix products")
    add("--compile", choices=COMPILE, default="off", help="the loss of the stack")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    try:
        members = read_members(args)
        tokens = args.tokens or TOKENS[args.rung]
        flops = sum(member.config.flops_per_token() * tokens for member in members)
        device = choose_device(args.device, args.precision, args.compile, flops)
        train_all(members, tokens, args.data, args.out, device)
    except (ValueError, Refused) as error:
        print(f"stacked.py: {error}", file=sys.stderr)
        return WRONG
    except OSError as error:
        print(f"stacked.py: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
        return DISK_FULL if error.errno in FULL else WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
