"""How noisy the runs of a campaign are, and what pairs save: said once, as soon as pairs have shown it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mendel.campaign.rounds import Round
from mendel.records import Interval
from mendel.verdicts.effects import pooled_sd, run_noise, sd_interval, variance_ratio

NOISE = "noise"
"""Under this key a campaign keeps it."""


def tell_noise(round: Round, differences: Sequence[Sequence[float | None]]) -> None:
    """Keep and log the noise of a run over seeds and that of a pair, by the control's curve and the paired
    `differences` of ideas. Nothing yet where these do not tell it, or what was measured is not finite."""
    lab = round.lab
    if lab.store.decision(lab.campaign.id, NOISE) is not None:
        return
    found = measured_noise(round, differences)
    if found is not None:
        kept = lab.once(NOISE, lambda: found)
        lab.say(NOISE, "screen", noise_words(kept))


def measured_noise(round: Round, differences: Sequence[Sequence[float | None]]) -> dict[str, Any] | None:
    """The same as one JSON object; None where there are no two seeds of a budget, or no two pairs of an idea
    that differ."""
    pairs = [[one for one in own if one is not None] for own in differences]
    pairs = [own for own in pairs if len(set(own)) > 1]  # what changes nothing says nothing of the others
    # The same seeds at each budget: what a seed does, it may do at all of them.
    freedom = max(Counter(flops for flops, _ in round.points).values(), default=0) - 1
    if not pairs or freedom < 1:
        return None
    run = run_noise(round.points, round.place)
    pair, pair_freedom = pooled_sd(pairs), sum(len(own) - 1 for own in pairs)
    # Two unpaired runs differ by sqrt 2 times what one does.
    worth = variance_ratio(2**0.5 * run, freedom, pair, pair_freedom)
    return {
        "unit": round.lab.testbed.unit,
        "run": fields(sd_interval(run, freedom)),
        "pair": fields(sd_interval(pair, pair_freedom)),
        "pairing": fields(worth),
        "curve_runs": len(round.points),
        "pairs": sum(map(len, pairs)),
    }


def fields(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def noise_words(found: Mapping[str, Any]) -> str:
    """The same in a sentence."""
    run, pair, worth = (within(found[key]) for key in ("run", "pair", "pairing"))
    unit = found["unit"]
    return f"noise: a run {run} {unit} over seeds, a pair {pair}; pairing is worth {worth} times the runs"


def within(interval: Mapping[str, float]) -> str:
    """An estimate with its interval, to two digits that count."""
    value, low, high = (f"{interval[key]:.2g}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
