"""How good are the ladder's predictions? Simulates ladders of known truth; no training.

    python benchmarks/prediction.py [--ladders 300] [--noise 0.006] [--json]

Rungs 0 to 2 (16, 8 and 4 seeds, each rung four times the compute of the one below) predict the mean of two
runs at rung 3, for curves that are power laws over a floor, and for curves that are not. Prints the root mean
square and the median of the relative error, how often it is below 1 %, and how often the 95 % interval holds;
beside it a power law without a floor.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mendel.verdicts.prediction import fit_ladder

Floats = NDArray[np.float64]
FLOPS = 2e11 * 4.0 ** np.arange(4)
SEEDS = (16, 8, 4)
TOP_SEEDS = 2
BEND = 0.01
"""How much steeper (or flatter) the local exponent gets with each factor of e in compute."""


def draw_law(rng: np.random.Generator, x: Floats, bend: float = 0.0) -> Floats:
    """Loss at ln(compute) `x` above rung 0: floor below 60 % of the loss there, exponent about 0.2."""
    alpha, first = np.exp(rng.normal(np.log(0.2), 0.4)), rng.uniform(2.2, 3.6)
    floor = rng.uniform(0.0, 0.6) * first
    return np.asarray(floor + (first - floor) * np.exp(-alpha * x - bend * x**2 / 2))


def draw_mixture(rng: np.random.Generator, x: Floats) -> Floats:
    """Two power laws, as where model size and data limit the loss by turns."""
    share = rng.uniform(0.3, 0.7)
    slow, fast = np.exp(rng.normal(np.log(0.2), 0.4)), rng.uniform(1.5, 3.0)
    first, floor = rng.uniform(2.2, 3.6), rng.uniform(0.2, 1.2)
    return np.asarray(
        floor + (first - floor) * (share * np.exp(-slow * x) + (1 - share) * np.exp(-slow * fast * x))
    )


CURVES: dict[str, Callable[[np.random.Generator, Floats], Floats]] = {
    "power law over a floor": draw_law,
    "the same, rungs 0.4 % off it": lambda rng, x: draw_law(rng, x) * (1 + rng.normal(0, 0.004, len(x))),
    "mixture of two power laws": draw_mixture,
    "ever steeper": lambda rng, x: draw_law(rng, x, BEND),
    "ever flatter": lambda rng, x: draw_law(rng, x, -BEND),
}


def simulate(draw: Callable[[np.random.Generator, Floats], Floats], ladders: int, noise: float) -> dict:
    """Relative errors of each way to predict, and the share of intervals that hold."""
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"mendel": [], "power law": []}
    held, widths = 0, []
    for _ in range(ladders):
        truth = draw(rng, np.log(FLOPS / FLOPS[0]))
        flops = np.repeat(FLOPS[:3], SEEDS)
        loss = np.repeat(truth[:3], SEEDS) * (1 + rng.normal(0, noise, len(flops)))
        measured = truth[3] * (1 + rng.normal(0, noise / TOP_SEEDS**0.5))
        predicted = fit_ladder(flops, loss).predict(FLOPS[3], TOP_SEEDS)
        held += predicted.low <= measured <= predicted.high
        widths.append((predicted.high - predicted.low) / 2 / measured)
        log_fit = np.polyfit(np.log(flops), np.log(loss), 1)
        ways = {
            "mendel": predicted.value,
            "power law": float(np.exp(np.polyval(log_fit, np.log(FLOPS[3])))),
        }
        for way, value in ways.items():
            errors[way].append(value / measured - 1)
    found = {}
    for way, values in errors.items():
        e = np.abs(values)
        rms, below = float(np.sqrt((e**2).mean())), float((e < 0.01).mean())
        found[way] = {"rms": rms, "median": float(np.median(e)), "below_1_percent": below}
    return found | {"interval_holds": held / ladders, "half_width": float(np.mean(widths))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ladders", type=int, default=300)
    parser.add_argument("--noise", type=float, default=0.006, help="relative sd of a run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {name: simulate(draw, args.ladders, args.noise) for name, draw in CURVES.items()}
    if args.json:
        print(json.dumps({"schema": 1, "noise": args.noise, "ladders": args.ladders, "curves": found}))
        return
    for name, row in found.items():
        holds, half = row.pop("interval_holds"), row.pop("half_width")
        print(f"{name}: the 95 % interval (+- {half:.1%}) holds in {holds:.1%}")
        for way, e in row.items():
            print(
                f"  {way:10s} error: rms {e['rms']:.2%}, median {e['median']:.2%}, "
                f"below 1 % in {e['below_1_percent']:.0%}"
            )


if __name__ == "__main__":
    main()
