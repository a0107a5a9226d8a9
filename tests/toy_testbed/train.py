"""A trainer whose loss is a formula: `python train.py --recipe plain --rung 0 --seed 1 --tokens N ...`.

    loss = FLOOR + SCALE (tokens * multiplier / REFERENCE)^-ALPHA + noise of the seed + noise of its own

`multiplier` is the product of EFFICIENCY (for patches of the source) and the `gain_*` knobs, so the compute
multiplier of a change is known exactly. The seed's noise is shared by all recipes, which makes pairs worth
running; a run's own noise follows from its knobs and its seed, so everything repeats.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

FLOOR, SCALE, ALPHA, REFERENCE = 1.0, 2.0, 0.3, 40_000
SEED_NOISE, OWN_NOISE = 0.02, 0.004
"""Standard deviations in bits per byte."""
LONG = 10_000
"""Tokens from which a `late_` failure happens: smoke runs are shorter."""
EFFICIENCY = 1.0
TEMPERATURE = 1.0
KNOBS = {
    "gain_a": 1.0,
    "gain_b": 1.0,
    "gain_c": 1.0,
    "label": "",  # changes a run's own noise, nothing else
    "init_stream": 0,  # another seed's noise, as another initialisation would give
    "boast": False,  # metrics.jsonl shows a far lower loss than the checkpoint has
    "spin": 0.0,  # CPU seconds to waste
    "fail": "",  # crash, nan, hang, hog, mute, silent or exit; with "late_" before it, in long runs only
}


def noise(sd, *about):
    """A normal number that follows from `about`."""
    digest = hashlib.sha256(json.dumps(about).encode()).digest()
    return random.Random(digest).gauss(0.0, sd)


def loss_of(recipe, knobs, tokens, seed):
    multiplier = EFFICIENCY * knobs["gain_a"] * knobs["gain_b"] * knobs["gain_c"]
    exponent = 0.0 if recipe == "flat" else ALPHA
    clean = FLOOR + SCALE * (tokens * multiplier / REFERENCE) ** -exponent
    own = noise(OWN_NOISE, "own", sorted(knobs.items()), multiplier, tokens, seed)
    return clean + noise(SEED_NOISE, "seed", seed, knobs["init_stream"]) + own


def misbehave(kind, out):
    """What patches do in the field."""
    if kind == "crash":
        raise RuntimeError("shapes (3, 4) and (5, 6) do not match")
    if kind == "exit":
        sys.exit(7)
    if kind == "nan":
        print("loss is nan at step 3")
        return 3
    if kind == "hang":
        while True:
            time.sleep(0.1)
    if kind == "hog":
        keep = []
        while True:
            keep.append(os.urandom(1 << 22))
    (out / "metrics.jsonl").unlink()  # "silent": it trains and says nothing of its tokens
    return 0


def with_overrides(pairs):
    knobs = dict(KNOBS)
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key not in KNOBS:
            sys.exit(f"override {key!r} is not a knob; allowed are {', '.join(KNOBS)}")
        kind = type(KNOBS[key])
        knobs[key] = value == "True" if kind is bool else kind(value)
    return knobs


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", choices=("plain", "flat", "broken"), default="plain")
    for name in ("rung", "seed", "tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args(arguments)
    knobs = with_overrides(args.set)
    if args.recipe == "broken":
        raise RuntimeError("this recipe never trains")
    assert args.data.stat().st_size > 0
    loss = loss_of(args.recipe, knobs, args.tokens, args.seed)
    (args.out / "config.json").write_text(json.dumps(knobs))
    with (args.out / "metrics.jsonl").open("w") as metrics:
        for step in range(1, 5):
            tokens = args.tokens * step // 4
            shown = 0.1 if knobs["boast"] else loss_of(args.recipe, knobs, max(tokens, 1), args.seed)
            metrics.write(json.dumps({"step": step, "tokens": tokens, "loss": shown}) + "\n")
    end = time.process_time() + knobs["spin"]
    while time.process_time() < end:
        pass
    kind = knobs["fail"].removeprefix("late_")
    if kind and (kind == knobs["fail"] or args.tokens >= LONG):
        if kind == "mute":  # no checkpoint
            return 0
        code = misbehave(kind, args.out)
        if code:
            return code
    (args.out / "model.json").write_text(json.dumps({"bits_per_byte": loss * TEMPERATURE}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
