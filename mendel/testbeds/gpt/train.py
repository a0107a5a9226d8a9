"""Train one small GPT: `python train.py --rung 0 --seed 1 --data train.bin --out DIR`.

Writes to DIR: `config.json`, `run.json` (how it was computed), `metrics.jsonl` (one line per step) and
`model.safetensors`. The same recipe, rung, seed and corpus give the same losses to the last bit on one CPU.
On many GPUs: `torchrun --nproc_per_node 8 train.py --parallel fsdp ...`.

Exit codes: 0 done; 2 wrong arguments; 3 a loss was not finite; 4 stopped by SIGTERM and saved, the same
command with --resume goes on; 5 the disk is full, the last checkpoint is still good.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from pathlib import Path

from config import RECIPES, RUNGS, with_overrides
from device import COMPILE, DEVICES, PRECISIONS, choose_device
from distributed import MODES, Ranks
from loop import train
from run import Diverged, Finished, Refused, Run, Stopped

TOKENS = (250_000, 670_000, 1_900_000, 5_600_000)
"""Tokens per rung when --tokens is not given: about its FLOPs (testbed.toml)."""
WRONG, DIVERGED, STOPPED, DISK_FULL = 2, 3, 4, 5
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--recipe", choices=RECIPES, default="gpt2")
    add("--rung", type=int, choices=range(RUNGS), default=0)
    add("--seed", type=int, default=1)
    add("--tokens", type=int, help="training tokens (default: the rung's)")
    add("--data", type=Path, required=True, help="training text, as raw bytes")
    add("--out", type=Path, required=True, help="folder for the results")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a knob")
    add("--device", choices=DEVICES, default="auto")
    add("--precision", choices=PRECISIONS, default="auto", help="of matrix products")
    add("--compile", choices=COMPILE, default="auto", help="auto: when the run is long enough to gain by it")
    add("--parallel", choices=MODES, default="none", help="over the processes that torchrun starts")
    add("--accumulate", type=int, default=1, metavar="N", help="compute each step in N micro-batches")
    add("--activation-checkpointing", action="store_true", help="less memory for a third more compute")
    add("--checkpoint-every", type=int, default=0, metavar="N", help="steps between checkpoints; 0 for none")
    add("--resume", action="store_true", help="go on after the last checkpoint in --out, if there is one")
    args = parser.parse_args(arguments)
    for name, least in (("tokens", 1), ("accumulate", 1), ("checkpoint_every", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)}: at least {least}")
    return args


def start(args: argparse.Namespace) -> None:
    """Build the run that `args` ask for, and train."""
    try:
        config = with_overrides(RECIPES[args.recipe], args.set).at_rung(args.rung)
        tokens = args.tokens or TOKENS[args.rung]
        device = choose_device(args.device, args.precision, args.compile, config.flops_per_token() * tokens)
        ranks = Ranks(args.parallel, device.kind)
    except ValueError as error:
        raise Refused(str(error)) from None
    args.out.mkdir(parents=True, exist_ok=True)
    more = (args.accumulate, args.activation_checkpointing, args.checkpoint_every, args.resume)
    run = Run(args.data, args.out, device, ranks, *more)
    signal.signal(signal.SIGTERM, run.stop)
    try:
        train(config, tokens, args.seed, run)
    except Finished as error:
        print(error)
    finally:
        ranks.leave()


def main() -> int:
    args = parse_arguments()
    try:
        start(args)
    except Refused as error:
        return fail(str(error), WRONG)
    except Diverged as error:
        return fail(f"diverged: {error}", DIVERGED)
    except Stopped as error:
        return fail(f"stopped: {error}", STOPPED)
    except OSError as error:
        if error.errno in FULL:
            return fail(f"{args.out}: {error.strerror}; make room, and --resume goes on", DISK_FULL)
        if error.filename is not None:
            return fail(f"{error.filename}: {error.strerror}", WRONG)
        raise
    return 0


def fail(message: str, code: int) -> int:
    print(f"train.py: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    code = main()
    if "RANK" in os.environ:
        # A thread of the process group that lets go of a Python object while the interpreter ends aborts it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
