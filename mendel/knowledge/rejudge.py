"""A greedy log judged again: which of its keeps exceed the noise that the log itself shows.

Such a loop keeps any single run that beats the best so far, so the best was lucky: what does nothing comes
out below it by that luck. Noise and luck are read off what the log tells of them, best first: repeats of
the same thing, changes of the seed, and else the narrowest half of all differences, where most changes do
next to nothing (the shorth; Andrews et al. 1972), which makes the noise too large rather than too small.
What changes are worth is then a mixture of nothing and of something, fitted to all differences; each keep
has its chance under it (the local false-discovery rate; Efron 2008) and its shrunken gain. What the keeps
add up to is the first value less the last, where all luck but that of the last has cancelled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from mendel.knowledge.fits import Floats
from mendel.knowledge.table import Table, TableError

KEPT = ("keep", "kept", "accept", "accepted", "adopt", "adopted", "advance")
BROKEN = ("crash", "crashed", "fail", "failed", "error", "timeout", "oom")
VALUES = ("val_bpb", "val_loss", "loss", "bpb", "value", "metric")
REPEAT = re.compile(
    r"\b(repeat|re-?run|replicat\w*|again|same (config|code|settings)|no.?op|noise (check|test))\b", re.I
)
SEED = re.compile(r"\bseed\b", re.I)
LEAST = 2
"""Differences that tell a noise at least."""
LEAST_TRIES = 6
HALF = 0.6745
"""Half the width of the middle half of a standard normal distribution."""
BEST = 1.12
"""Spread of a run beside the best of some, over that of the run: a best's luck varies half as much."""
SURE = 1.96
ROUNDS = 200


@dataclass(frozen=True)
class Try:
    """One experiment that ran: its value, the best before it, and what became of it."""

    row: int
    value: float
    best: float
    kept: bool
    words: str

    @property
    def gain(self) -> float:
        return self.best - self.value


@dataclass(frozen=True)
class Noise:
    """What a change that does nothing shows: it comes out below the best by `luck`, give or take `spread`."""

    spread: float
    luck: float
    source: str
    differences: int

    @property
    def sd(self) -> float:
        """Of a single run."""
        return self.spread / BEST


def rejudge(table: Table, value: str | None = None, higher: bool = False) -> dict[str, Any]:
    """Everything about a log, as one JSON object. TableError for what is no such log."""
    tries, crashed = read_log(table, value, higher)
    noise = noise_of(tries)
    kept = [one for one in tries if one.kept]
    likely = mixture(np.array([one.gain + noise.luck for one in tries]), noise.spread)
    rows = [_judged(one, noise, *likely) for one in kept]
    within = sum(row["within_noise"] for row in rows)
    total = sum(one.gain for one in kept)
    sign = -1.0 if higher else 1.0
    found: dict[str, Any] = {
        "experiments": len(tries) + crashed + 1,
        "crashed": crashed,
        "kept": len(kept),
        "noise": {"sd": noise.sd, "luck": noise.luck, "from": noise.source, "differences": noise.differences},
        "keeps_within_noise": within,
        "expected_false_keeps": sum(row["chance_of_nothing"] for row in rows),
        "do_nothing": likely[0],
        "total": total,
        "corrected_total": total - noise.luck if kept else 0.0,
        "keeps": rows,
        "better": "higher" if higher else "lower",
        "within": SURE * 2**0.5 * noise.sd,
        "log": [
            {"row": one.row, "value": sign * one.value, "best": sign * one.best, "kept": one.kept}
            for one in tries
        ],
        "repeat_first": [
            row["row"]
            for row in sorted(rows, key=lambda row: -row["worth_repeating"])
            if row["worth_repeating"] > 0
        ][:5],
    }
    return {**found, "words": _words(found)}


def read_log(table: Table, value: str | None, higher: bool) -> tuple[list[Try], int]:
    """The experiments after the baseline, and how many crashed."""
    lower = table.lower()
    column = value or next((lower[name] for name in VALUES if name in lower), None)
    status = next((lower[name] for name in ("status", "state", "decision", "kept") if name in lower), None)
    if column is None or status is None:
        missing = f"a column of values ({', '.join(VALUES)}; or --value)" if column is None else "status"
        raise TableError(
            f"{table.name}: no log of a loop: it needs {missing}; there are {', '.join(table.columns)}"
        )
    words = next((lower[name] for name in ("description", "idea", "name", "change") if name in lower), None)
    values, states = table.numbers(column), [one.strip().lower() for one in table.labels(status)]
    texts = table.labels(words) if words else [""] * len(table)
    sign = -1.0 if higher else 1.0
    tries: list[Try] = []
    best, crashed = math.inf, 0
    for row, number, state, text in zip(table.rows, values, states, texts, strict=True):
        broken = state in BROKEN or not math.isfinite(number) or (number == 0 and state not in KEPT)
        if broken:
            crashed += 1
            continue
        loss = sign * float(number)
        kept = state in (*KEPT, "true", "yes", "1")
        if math.isinf(best):
            best = loss  # the first is the baseline, whatever its status
            continue
        tries.append(Try(int(row), loss, best, kept, text))
        best = loss if kept else best
    if not any(state in (*KEPT, "true", "yes", "1") for state in states):
        raise TableError(f"{table.name}: no log of a loop: no {status} is one of {', '.join(KEPT)}")
    if not tries:
        raise TableError(f"{table.name}: no experiment after the baseline ran")
    return tries, crashed


def noise_of(tries: Sequence[Try]) -> Noise:
    """The noise as the log shows it. TableError where it shows none."""
    gains = np.sort([one.gain for one in tries])
    enough = len(gains) >= LEAST_TRIES
    middle = narrowest_half(gains)
    luck = max(0.0, -float(np.median(middle))) if enough else 0.0
    for pattern, source in ((REPEAT, "repeats"), (SEED, "changes of the seed")):
        same = np.array([one.gain for one in tries if pattern.search(one.words)])
        if len(same) >= LEAST:
            off = max(0.0, -float(same.mean()))
            spread = float(np.sqrt(((same + off) ** 2).sum() / (len(same) - (off > 0))))
            return Noise(spread, luck if enough else off, source, len(same))
    if not enough:
        raise TableError(f"{len(gains)} experiments and no repeat among them: the log shows no noise")
    spread = float(middle[-1] - middle[0]) / 2 / HALF
    return Noise(spread, luck, "the narrowest half of all differences", len(middle))


def narrowest_half(ordered: Floats) -> Floats:
    """Of ordered values, the half that lie closest together."""
    half = math.ceil(len(ordered) / 2)
    first = int(np.argmin(ordered[half - 1 :] - ordered[: len(ordered) - half + 1]))
    return ordered[first : first + half]


def mixture(gains: Floats, spread: float) -> tuple[float, float, float]:
    """Share of changes that do nothing, and mean and sd of what the others do: maximum likelihood of
    pi N(0, spread^2) + (1 - pi) N(mean, sd^2 + spread^2), by expectation and maximisation."""
    share, mean, sd = 0.5, float(gains.mean()), max(float(gains.std()), spread)
    spread = max(spread, 1e-12)
    for _ in range(ROUNDS):
        null = share * norm.pdf(gains, 0, spread)
        other = (1 - share) * norm.pdf(gains, mean, math.hypot(sd, spread))
        nothing = null / np.maximum(null + other, 1e-300)
        share = float(np.clip(nothing.mean(), 0.01, 0.99))
        weight = 1 - nothing
        mean = float((weight * gains).sum() / max(weight.sum(), 1e-9))
        total = float((weight * (gains - mean) ** 2).sum() / max(weight.sum(), 1e-9))
        sd = math.sqrt(max(total - spread**2, (0.1 * spread) ** 2))
    return share, mean, sd


def _judged(one: Try, noise: Noise, share: float, mean: float, sd: float) -> dict[str, Any]:
    spread, gain = max(noise.spread, 1e-12), one.gain + noise.luck
    null = share * float(norm.pdf(gain, 0, spread))
    other = (1 - share) * float(norm.pdf(gain, mean, math.hypot(sd, spread)))
    nothing = null / (null + other) if null + other > 0 else 0.0
    trust = sd**2 / (sd**2 + spread**2)
    centre, error = mean + trust * (gain - mean), sd * (1 - trust) ** 0.5
    harm = float(norm.cdf(-centre / error)) if error > 0 else float(centre <= 0)
    bad = nothing + (1 - nothing) * harm
    shrunk = (1 - nothing) * centre
    return {
        "row": one.row,
        "description": one.words,
        "gain": one.gain,
        "within_noise": bool(one.gain < SURE * 2**0.5 * noise.sd),
        "chance_of_nothing": bad,
        "corrected_gain": shrunk,
        # What is at stake where it is least known which way it goes.
        "worth_repeating": min(bad, 1 - bad) * abs(one.gain),
    }


def _words(found: dict[str, Any]) -> list[str]:
    noise = found["noise"]
    words = [
        f"{found['kept']} of {found['experiments']} experiments were kept; {found['keeps_within_noise']} of "
        f"these gained less than {SURE:g} times the noise of a difference, "
        f"{SURE * 2**0.5 * noise['sd']:.3g} (a run: sd {noise['sd']:.3g}, by {noise['from']}).",
        f"Expected to do nothing or harm: {found['expected_false_keeps']:.1f} of {found['kept']}.",
        f"The keeps add up to {found['total']:.4g}, without the luck of the last best to "
        f"{found['corrected_total']:.4g}.",
    ]
    if found["repeat_first"]:
        rows = ", ".join(str(row) for row in found["repeat_first"])
        words.append(f"Repeat first: rows {rows}.")
    return words
