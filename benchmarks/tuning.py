"""How often code that does nothing is claimed because the knobs it brings along were tuned.

    python benchmarks/tuning.py [--ideas 1000] [--json]

Simulated ideas whose code changes no more than another seed would. The loss of a recipe is a parabola in the
octaves of each knob around its best value, plus the noise of a run; all in standard deviations of a pair.
The knobs are searched by `mendel.plans.tuner` within four octaves, the ends at random distances from the
best value; the idea is then judged on fresh pairs by the campaign's judge, with twenty ideas planned, against
the recipe as it was, and against the recipe with the same knobs as well tuned: the last trial of both being
the other's best point, as in a campaign, or not. docs/decisions.md explains the rows.
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np

from mendel.plans.tuner import Search, best_of
from mendel.records import Range, Rule
from mendel.verdicts.judge import Action, judge_round

CASES = (
    # knobs, loss of an octave (paired sd), octaves that the recipe is off, trials, sampler
    (1, 4.0, 1.0, 8, "tpe"),
    (1, 4.0, 0.0, 8, "tpe"),
    (1, 1.0, 1.0, 8, "tpe"),
    (1, 16.0, 1.0, 8, "tpe"),
    (1, 4.0, 1.0, 16, "tpe"),
    (2, 4.0, 1.0, 8, "tpe"),
    (2, 4.0, 1.0, 32, "tpe"),
    (2, 4.0, 1.0, 32, "cma-es"),
)
OCTAVES = 4.0
M = 0.1
"""The smallest gain that counts, in paired sd."""
RULE = Rule(planned=20, min_loss_gain=M, bound=100.0)
SCREEN = 2
"""Pairs; an idea goes on where their mean is above zero."""


@dataclass
class World:
    """Knobs with their best values at zero octaves, and a recipe that is off by some."""

    ranges: dict[str, Range]
    start: dict[str, float]
    loss_of_octave: float
    draw: np.random.Generator

    def loss(self, point):
        """Without noise, in paired sd."""
        return self.loss_of_octave * sum(np.log2(value) ** 2 for value in {**self.start, **point}.values())

    def run(self, point):
        """With the noise of a run: a pair has twice its variance."""
        return self.loss(point) + self.draw.normal(0, 0.5**0.5)

    def tuned(self, trials, sampler, seed, exchange):
        """What the searches of two arms find on one seed."""
        arms = [Search(self.ranges, trials - exchange, sampler, seed, self.start) for _ in range(2)]
        for search in arms:
            while asked := search.ask():
                search.tell([self.run(point) for point in asked])
        told, other = [search.told for search in arms], [search.best for search in reversed(arms)]
        if exchange and other[0] != other[1]:
            told = [[*mine, (point, self.run(point))] for mine, point in zip(told, other, strict=True)]
        return [self.loss(best_of(mine)) for mine in told]


def make_world(knobs, loss_of_octave, off, draw):
    ranges, start = {}, {}
    for number in range(knobs):
        below = draw.uniform(1, OCTAVES - 1)
        ranges[f"knob{number}"] = Range(low=2**-below, high=2 ** (OCTAVES - below), log=True)
        start[f"knob{number}"] = 2 ** (off * draw.choice([-1, 1]))
    return World(ranges, start, loss_of_octave, draw)


def claimed(gain, draw):
    """Whether an idea whose recipe gains so much, in paired sd, is claimed."""
    if draw.normal(gain, 1, SCREEN).mean() <= 0:
        return False
    pairs = list(draw.normal(gain, 1, RULE.max_pairs))
    for count in range(RULE.min_pairs, RULE.max_pairs + 1):
        decision = judge_round(RULE, ["idea"], {"idea": pairs[:count]}, {}).decisions["idea"]
        if decision.action is not Action.CONTINUE:
            return decision.action is Action.CLAIM
    return False


def measure(ideas, case):
    knobs, loss_of_octave, off, trials, sampler = case
    claims = dict.fromkeys(("untuned", "alone", "exchanged"), 0)
    gains, luck = [], []
    for number in range(ideas):
        draw = np.random.default_rng([number, *map(ord, sampler), knobs, trials])
        world = make_world(knobs, loss_of_octave, off, draw)
        control, treatment = world.tuned(trials, sampler, number, exchange=False)
        claims["alone"] += claimed(control - treatment, draw)
        control, treatment = world.tuned(trials, sampler, number, exchange=True)
        gains.append(world.loss({}) - treatment)
        luck.append(control - treatment)
        claims["untuned"] += claimed(gains[-1], draw)
        claims["exchanged"] += claimed(luck[-1], draw)
    return {
        "knobs": knobs,
        "loss_of_octave": loss_of_octave,
        "off": off,
        "trials": trials,
        "sampler": sampler,
        "gain": float(np.mean(gains)),
        "luck_sd": float(np.std(luck)),
        "claimed": {name: count / ideas for name, count in claims.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ideas", type=int, default=1000, help="ideas per row")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    rows = []
    if not arguments.json:
        print("knobs  octave   off  trials  sampler   gain  luck sd   untuned  tuned alone  exchanged")
    for case in CASES:
        row = measure(arguments.ideas, case)
        rows.append(row)
        if not arguments.json:
            settings = "{knobs:5}  {loss_of_octave:6g}  {off:4g}  {trials:6}  {sampler:7}".format(**row)
            shares = "{untuned:8.1%}  {alone:11.1%}  {exchanged:9.1%}".format(**row["claimed"])
            print(f"{settings}  {row['gain']:5.2f}  {row['luck_sd']:7.2f}  {shares}", flush=True)
    if arguments.json:
        print(json.dumps({"schema": 1, "command": vars(arguments), "rows": rows}))


if __name__ == "__main__":
    main()
