"""What a few runs show of a testbed's noise: over seeds, between repeats, and what pairs can save."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from mendel.campaign import testbed_hints as hints
from mendel.campaign.noise import fields, within
from mendel.campaign.testbed_seen import Point, Seen, good, weak, wrong
from mendel.plans.power import seeds_needed
from mendel.records import Currency, Interval
from mendel.verdicts.effects import paired_interval, sd_interval, variance_ratio

GAINS = (0.1, 0.03)
"""log2 CM that pairs are reckoned for."""
LEAST_PAIRS = 5
"""Of any claim."""
ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Spread:
    """The noise as far as these runs tell it."""

    seeds: Interval | None
    """Sd of a run over seeds, what differs between repeats of a seed included."""
    repeat: Interval | None
    """Sd of a run within its seed; zero without width where repeats are identical."""
    difference: Interval | None
    """The recipe with itself, seed by seed: the mean difference."""
    pairing: Interval | None
    """How many times fewer runs pairs take at most; None without repeats, or where these are identical."""

    @property
    def noise(self) -> float:
        """Sd of a run, zero where nothing is known."""
        return max((one.value for one in (self.seeds, self.repeat) if one), default=0.0)


def spread_of(seen: Seen) -> Spread:
    losses, repeats = seen.losses, seen.repeats
    seeds = sd_interval(stdev(losses), len(losses) - 1) if len(losses) > 1 else None
    repeat = difference = pairing = None
    if repeats:
        apart = [one - two for one, two in repeats]
        repeat = sd_interval(math.sqrt(sum(d * d for d in apart) / 2 / len(apart)), len(apart))
        if len(apart) > 1 or seen.deterministic:
            difference = paired_interval(apart * (1 if len(apart) > 1 else 2))
        if seeds and repeat.value > 0:
            pairing = variance_ratio(seeds.value, len(losses) - 1, repeat.value, len(apart))
    return Spread(seeds, repeat, difference, pairing)


def noise_points(seen: Seen, spread: Spread, slope: float | None) -> list[Point]:
    """Seeds, repeats, noise and pairs, each as far as it was measured."""
    found = [_seeds(seen), _repeats(seen, spread)]
    if spread.seeds and not seen.ignores_seed:
        found += [_noise(seen, spread.seeds, slope), _pairing(seen, spread, slope)]
    return [point for point in found if point]


def _seeds(seen: Seen) -> Point | None:
    losses = seen.losses
    if len(losses) < 2:
        return None
    listed, numbers = (
        ", ".join(f"{loss:.6g}" for loss in losses),
        {"losses": losses, "seeds": list(seen.finished)},
    )
    if not seen.ignores_seed:
        return good("seeds", f"{len(losses)} seeds end at {listed} {seen.unit}", **numbers)
    digits = hints.decimals(seen.testbed.metric, next(seen.outs[1.0, seed] for seed in seen.finished))
    coarse = (
        f", or its loss is printed with too few digits ({digits})"
        if digits is not None and digits < 4
        else ""
    )
    places = hints.seed_lines(seen.testbed)
    change = (
        f"{{seed}} is passed by {hints.where_said(seen.testbed, 'seed')}, and changes nothing{coarse}: "
        "initial values and the order of the data must follow from it"
    )
    change += (
        f"; if there is no argument for it, an entry of `edits` can set it here: {places}" if places else ""
    )
    said = f"the run ignores its seed: {len(losses)} seeds end at the same loss, {losses[0]:.6g}"
    return wrong("seeds", said, change, **numbers)


def _repeats(seen: Seen, spread: Spread) -> Point | None:
    repeats = seen.repeats
    if not repeats or not spread.repeat:
        return None
    numbers = {"losses": repeats, "deterministic": seen.deterministic}
    if seen.deterministic:
        exact = "to the last bit" if not seen.testbed.metric else "to the last digit that it reports"
        return good("repeats", f"deterministic: the same seed twice gives the same loss {exact}", **numbers)
    apart = max(abs(one - two) for one, two in repeats)
    said = f"not deterministic: the same seed twice differs by up to {apart:.3g} {seen.unit}"
    if seen.testbed.budget is Currency.SECONDS:
        change = (
            "a budget in seconds never repeats: other work on the machine costs steps. Runs at the same time "
            'share it: workers = 1 where the noise is too large; with budget = "steps" runs can repeat'
        )
    elif seen.testbed.gpus:
        change = (
            "cards add in another order each time: torch.use_deterministic_algorithms(True), if not too slow"
        )
    else:
        change = (
            "seed everything that draws: random, numpy, torch, the order of the data and of files; or use "
            f"one thread (cpus = {seen.testbed.cpus} here)"
        )
    if spread.seeds and spread.repeat.value > 0.7 * spread.seeds.value:
        said += ", about as much as other seeds"
        told = hints.where_said(seen.testbed, "seed")
        change = f"the seed hardly matters: {told} may reach only a part of what is random; {change}"
    return weak("repeats", said, change, **numbers)


def _noise(seen: Seen, sd: Interval, slope: float | None) -> Point:
    known = f"from {len(seen.losses)} seeds, so between {sd.low:.2g} and {sd.high:.2g}"
    said = f"sd {sd.value:.2g} {seen.unit} over seeds ({known})"
    numbers: dict[str, Any] = {"sd_seed": fields(sd)}
    if slope is None:
        return good("noise", said, **numbers)
    in_compute = sd.value / slope
    said += f", as much as {2**in_compute - 1:.0%} more compute"
    if in_compute > 1:
        change = "it is worth more than a doubling of compute: longer runs, or evaluation on more data, help"
        return weak("noise", said, change, **numbers)
    return good("noise", said, **numbers)


def _pairing(seen: Seen, spread: Spread, slope: float | None) -> Point | None:
    if spread.repeat is None:
        return None
    numbers = {"difference": spread.difference and fields(spread.difference)}
    numbers |= {"pairing": spread.pairing and fields(spread.pairing), "pairs_for": pairs_for(spread, slope)}
    aa = ""
    if spread.difference:
        d = spread.difference
        aa = f"A/A, seed by seed: {d.value:.2g} [{d.low:.2g}, {d.high:.2g}] {seen.unit}; "
    needs = _needs(pairs_for(spread, slope))
    if spread.pairing is None:
        said = (
            f"{aa}pairs are perfect for changes that keep the random stream; for others nothing is known "
            f"before the first screening pairs{needs}"
        )
        return good("pairs", said, **numbers)
    said = f"{aa}pairs take at most {within(fields(spread.pairing))} times fewer runs{needs}"
    if spread.pairing.value < 1.5:
        return weak(
            "pairs", said, "pairs save nothing here as long as repeats differ as much as seeds do", **numbers
        )
    return good("pairs", said, **numbers)


def _needs(pairs: dict[str, Any] | None) -> str:
    if pairs is None:
        return ""
    each = [
        f"of {gain} log2 CM takes {_count(row['unpaired'])} pairs "
        f"[{_count(row['low'])}, {_count(row['high'])}]"
        for gain, row in pairs.items()
    ]
    return f"; if they save nothing, a gain {', '.join(each)}"


def _count(number: int | None) -> str:
    return "over 1,000" if number is None else f"{number}"


def pairs_for(spread: Spread, slope: float | None) -> dict[str, Any] | None:
    """log2 CM -> pairs that show it (two-sided t test at 5 %, power 80 %, five at least): if pairs save
    nothing, with both ends of the interval of the noise, and if they save all they can. None: over 1,000."""
    if spread.seeds is None or not slope or slope <= 0:
        return None
    found = {}
    for gain in GAINS:
        ends = {"unpaired": spread.seeds.value, "low": spread.seeds.low, "high": spread.seeds.high}
        ends["paired"] = spread.repeat.value if spread.repeat else spread.seeds.value
        found[f"{gain:g}"] = {name: _pairs(gain * slope, sd) for name, sd in ends.items()}
    return found


def _pairs(effect: float, sd: float) -> int | None:
    if sd <= 0:
        return LEAST_PAIRS
    needed = seeds_needed(effect, math.sqrt(2) * sd, ALPHA, POWER)
    return None if needed is None else max(LEAST_PAIRS, needed)


def noise_fields(spread: Spread, slope: float | None, seen: Seen) -> dict[str, Any]:
    """The noise as one JSON object; `low` and `high` are of `sd_seed`."""
    seeds = spread.seeds
    return {
        "sd_seed": seeds and seeds.value,
        "low": seeds and seeds.low,
        "high": seeds and seeds.high,
        "seeds": len(seen.losses),
        "sd_repeat": spread.repeat and spread.repeat.value,
        "repeats": len(seen.repeats),
        "difference": spread.difference and fields(spread.difference),
        "pairing": spread.pairing and fields(spread.pairing),
        "slope": slope,
        "pairs_for": pairs_for(spread, slope),
    }
