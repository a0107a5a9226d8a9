"""A cohort confirmed in random halves and one idea at a time: claims, errors and runs, by simulation.

    python benchmarks/halves.py [--cohorts 200] [--json]

Each cohort has been screened with two pairs an idea; a third of its ideas are worth exactly the smallest gain
of interest (0.3 paired sd: the hardest null), the others exponentially more, `gain` paired sd on average. The
real judge decides: one by one after five seeds, in halves after as many as there are ideas and three more,
then after every second. Halves stop where `mendel.verdicts.together`
sees no look worth its runs or after as much evidence as twelve pairs; one by one by futility or at twelve.
Noise and failures are of single runs, so that a pair of halves has the noise of a pair. Columns: false claims
among claims, mean over cohorts; share of the gain above the null that is claimed; runs, controls among them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mendel.records import Rule
from mendel.verdicts.halves import Gains, Halves, draw_signs
from mendel.verdicts.judge import Action, decide, judge_round
from mendel.verdicts.together import HOPE, beside_others, hopes_of, longest, next_look

Floats = NDArray[np.float64]
NULL, SCREEN, MAX_PAIRS = 0.3, 2, 12
SIZES = (4, 8, 16)
GAINS = (1.0, 3.0, 10.0)
NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape) / 2**0.5,
    "heavy tails (t3)": lambda rng, shape: rng.standard_t(3, shape) / 6**0.5,
    "one in ten is worse": lambda rng, shape: np.where(rng.random(shape) < 0.9, 1 / 3, -3.0) / 2**0.5,
    "one in a hundred fails": lambda rng, shape: np.where(
        rng.random(shape) < 0.01, np.nan, rng.standard_normal(shape) / 2**0.5
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    if not arguments.json:
        print(f"{'':24}{'':>7}{'':>6}{'halves':>24}{'one by one':>24}")
        print(f"{'noise':24}{'ideas':>7}{'gain':>6}" + f"{'false':>8}{'gained':>8}{'runs':>8}" * 2)
    for noise in NOISES:
        for size in SIZES:
            for gain in GAINS:
                rows.append(row(noise, size, gain, arguments.cohorts))
                if not arguments.json:
                    print(line(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps({"schema": 1, "cohorts": arguments.cohorts, "rows": rows}))


def line(one: dict[str, Any]) -> str:
    parts = [
        f"{one[how]['false']:8.1%}{one[how]['gained']:8.0%}{one[how]['runs']:8.0f}"
        for how in ("halves", "one_by_one")
    ]
    return f"{one['noise']:24}{one['ideas']:7}{one['gain']:6.0f}" + "".join(parts)


def row(noise: str, size: int, gain: float, cohorts: int) -> dict[str, Any]:
    told: dict[str, Any] = {"noise": noise, "ideas": size, "gain": gain}
    for name, play in (("halves", in_halves), ("one_by_one", one_by_one)):
        rng = np.random.default_rng((size, int(10 * gain)))
        false, gained, there, runs = [], 0.0, 0.0, 0
        for _ in range(cohorts):
            nulls = np.arange(size) < size // 3
            truth = np.where(nulls, NULL, NULL + rng.exponential(gain, size))
            screened = truth + rng.standard_normal(size) / SCREEN**0.5
            claims, spent = play(rng, NOISES[noise], truth, screened)
            false.append(float(np.mean(nulls[claims])) if claims else 0.0)
            gained += float((truth[claims] - NULL).sum())
            there, runs = there + float((truth - NULL).sum()), runs + spent
        told[name] = {"false": float(np.mean(false)), "gained": gained / there, "runs": runs / cohorts}
    return told


def rule_of(size: int, max_pairs: int) -> Rule:
    return Rule(planned=size, min_loss_gain=NULL, bound=20.0, noise=1.0, noise_pairs=8, max_pairs=max_pairs)


Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def in_halves(rng: np.random.Generator, draw: Draw, truth: Floats, screened: Floats) -> tuple[list[int], int]:
    size = len(truth)
    means, errors = beside_others(screened, np.full(size, SCREEN**-0.5), 1.0)
    places, rule = range(size), rule_of(size, MAX_PAIRS)
    limit = longest(hopes_of(rule, places, [], means, errors, np.zeros(size)), MAX_PAIRS)
    halves = Halves(rule_of(size, limit), Gains.apart(means, errors))
    names, frozen = [str(idea) for idea in range(size)], dict[str, float]()
    log_e, running, claims = np.zeros(size), np.ones(size, dtype=bool), list[int]()
    while running.any():
        live = np.flatnonzero(running)
        known = halves.gains
        standing = [i for i in range(size) if frozen.get(names[i], -math.inf) > -math.inf]
        hopes = hopes_of(
            halves.rule, live.tolist(), standing, known.mean[live], known.error[live], log_e[live]
        )
        look = next_look(hopes, halves.seeds, limit - halves.seeds)
        if not look.seeds:
            break
        seeds = look.seeds if not halves.seeds else min(look.seeds, 2)
        if halves.seeds:
            running[live[look.chance < HOPE]] = False
            frozen |= {names[i]: -math.inf for i in np.flatnonzero(~running) if names[i] not in frozen}
        signs = draw_signs(rng.integers(0, 2**31, 2).tolist(), seeds, running)
        halves.add(signs, train(rng, draw, signs, truth))
        after = decide(
            halves.rule,
            names,
            {names[i]: partial(halves.judged, int(i)) for i in np.flatnonzero(running)},
            frozen,
        )
        frozen = after.frozen
        for name, decision in after.decisions.items():
            log_e[int(name)] = decision.judgement.log_e_t
            running[int(name)] = decision.action is Action.CONTINUE
            claims += [int(name)] * (decision.action is Action.CLAIM)
    return claims, 2 * halves.seeds


def train(
    rng: np.random.Generator, draw: Draw, signs: NDArray[np.int8], truth: Floats
) -> list[tuple[float | None, float | None]]:
    noise = draw(rng, (len(signs), 2))
    losses = np.stack([noise[:, 0] - (signs > 0) @ truth, noise[:, 1] - (signs < 0) @ truth], axis=1)
    return [(None if math.isnan(a) else a, None if math.isnan(b) else b) for a, b in losses.tolist()]


def one_by_one(
    rng: np.random.Generator, draw: Draw, truth: Floats, screened: Floats
) -> tuple[list[int], int]:
    del screened  # it has chosen them; futility goes by their own pairs
    size, runs, claims = len(truth), 0, list[int]()
    rule, names = rule_of(size, MAX_PAIRS), [str(idea) for idea in range(size)]
    frozen: dict[str, float] = {}
    pairs: dict[str, list[float | None]] = {name: [] for name in names}
    while pairs:
        for _ in range(5 if not any(pairs.values()) else min(2, MAX_PAIRS - len(next(iter(pairs.values()))))):
            runs += len(pairs) + 1
            control = draw(rng, (1,))[0]
            for name, own in zip(pairs, draw(rng, (len(pairs),)), strict=True):
                difference = control - own + truth[int(name)]
                pairs[name].append(None if math.isnan(own) else 0.0 if math.isnan(control) else difference)
        after = judge_round(rule, names, pairs, frozen)
        frozen = after.frozen
        claims += [int(n) for n, one in after.decisions.items() if one.action is Action.CLAIM]
        pairs = {n: pairs[n] for n, one in after.decisions.items() if one.action is Action.CONTINUE}
    return claims, runs


if __name__ == "__main__":
    main()
