"""From paired differences to decisions: claim, stop or continue, after every round.

`judge` looks at one idea, `judge_round` at all ideas that ever entered confirmation, because a claim depends
on how many others there are. Both are pure functions of the differences in planned order, so the order in
which runs happen to finish cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from mendel.records import Interval, Rule, VerdictKind
from mendel.verdicts.effects import paired_interval
from mendel.verdicts.evalues import log_sign_flip, log_t_final
from mendel.verdicts.fdr import closed_e_bh, log_threshold
from mendel.verdicts.noise import UNKNOWN, Noise, noise_of

SIGN_FLIP_LEVEL = 20.0
"""The sign-flip e-value that a claim needs besides the t mixture's."""

FUTILITY_PAIRS = 3
"""No idea is given up before this many pairs."""

FUTILITY_LEVEL = 0.975
"""One-sided level of the bounds that futility goes by."""

HOPE = 0.1
"""An idea is given up when its chance to be claimed at `max_pairs` is below this, going by its pairs."""


@dataclass(frozen=True)
class Judgement:
    """What one idea's pairs say so far; losses in bits per byte, e-values as natural logarithms."""

    kind: VerdictKind
    """`better` only where `log_e` reached the threshold that was asked for."""
    pairs: int
    failures: int
    difference: Interval | None
    """Mean clipped difference control - treatment; None below two pairs. Not corrected for stopping."""
    log_e_t: float
    log_e_sign: float
    log_e: float
    """The e-value that counts: the t mixture's; -inf below `min_pairs` or a sign-flip e-value of 20."""
    log_e_worse: float
    """The same, mirrored, against "the difference is at least zero"."""
    futile: bool
    reason: str


class Action(StrEnum):
    CLAIM = "claim"
    STOP = "stop"
    CONTINUE = "continue"


@dataclass(frozen=True)
class Decision:
    """What becomes of one idea after a round."""

    action: Action
    judgement: Judgement


@dataclass(frozen=True)
class Round:
    """Decisions after a round, and the state that the next round needs."""

    decisions: dict[str, Decision]
    """By idea, for those that had not stopped before."""
    claimed: frozenset[str]
    """All claims of the campaign so far."""
    frozen: dict[str, float]
    """Log e-value of every claim, -inf for every other idea that has stopped. Hand it to the next round."""


def judge(rule: Rule, differences: Sequence[float | None], log_threshold: float | None = None) -> Judgement:
    """Judge the paired differences (control - treatment, bits per byte) of one idea, in planned order.

    None or a value that is not finite stands for a failed treatment and scores `-rule.bound`. `log_threshold`
    is the log e-value that a claim needs; without it, `planned / alpha`, as for a campaign's first claim.
    Raises ValueError without any difference.
    """
    if not differences:
        raise ValueError("there is no pair to judge")
    x, failed = clipped(rule, differences)
    n, y = len(x), x - rule.min_loss_gain
    if log_threshold is None:
        log_threshold = math.log(rule.planned / rule.alpha)
    said = judge_scores(rule, y, -x, failed, paired_interval(x) if n > 1 else None, log_threshold)
    open_still = said.kind is VerdictKind.NO_DIFFERENCE_SHOWN and FUTILITY_PAIRS <= n < rule.max_pairs
    if open_still and (reason := _futility(y, rule, log_threshold)):
        return replace(said, futile=True, reason=reason)
    return said


def judge_scores(
    rule: Rule,
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    failed: NDArray[np.bool_],
    difference: Interval | None,
    log_threshold: float,
) -> Judgement:
    """Judge an idea by what each of its pairs says against "the gain is at most `rule.min_loss_gain`"
    (`above`) and against "it is at least zero" (`below`), both (pairs,) in bits per byte and positive where
    the pair speaks against it."""
    log_e_t, log_e_sign, log_e = _evidence(above, rule)
    _, _, log_e_worse = _evidence(below, rule)
    kind, reason = _kind(rule, failed, difference, log_e - log_threshold, log_e_worse)
    return Judgement(
        kind=kind,
        pairs=len(above),
        failures=int(failed.sum()),
        difference=difference,
        log_e_t=log_e_t,
        log_e_sign=log_e_sign,
        log_e=log_e,
        log_e_worse=log_e_worse,
        futile=False,
        reason=reason,
    )


def clipped(rule: Rule, differences: Sequence[float | None]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The differences as they are judged, within +-`rule.bound`, and which treatments failed: they score
    -`rule.bound`."""
    raw = np.array([math.nan if d is None else d for d in differences], dtype=float)
    failed = ~np.isfinite(raw)
    return np.clip(np.where(failed, -rule.bound, raw), -rule.bound, rule.bound), failed


def _evidence(y: NDArray[np.float64], rule: Rule) -> tuple[float, float, float]:
    """Log e-values against `mean <= 0`: t mixture, sign-flip, and the one that counts."""
    log_e_t, log_e_sign = log_t_final(y, noise_of(rule)), float(log_sign_flip(y)[-1])
    enough = len(y) >= rule.min_pairs and log_e_sign >= math.log(SIGN_FLIP_LEVEL)
    return log_e_t, log_e_sign, log_e_t if enough else -math.inf


def _kind(
    rule: Rule,
    failed: NDArray[np.bool_],
    interval: Interval | None,
    excess: float,
    log_e_worse: float,
) -> tuple[VerdictKind, str]:
    """The verdict and its reason. Only `better` is held to the campaign's error rate."""
    n = len(failed)
    if excess >= 0:
        return VerdictKind.BETTER, f"gain above {rule.min_loss_gain:.4g} {rule.unit} shown"
    if failed.all() and n >= min(FUTILITY_PAIRS, rule.max_pairs):
        return VerdictKind.FAILED, f"all {n} treatment runs failed"
    if log_e_worse >= math.log(1 / rule.alpha):
        return VerdictKind.WORSE, "loss shown"
    band = rule.min_loss_gain
    if interval is not None and n >= rule.min_pairs and -band <= interval.low and interval.high <= band:
        return VerdictKind.EQUIVALENT, f"interval inside +-{band:.4g} {rule.unit}"
    return VerdictKind.NO_DIFFERENCE_SHOWN, ""


def _futility(y: NDArray[np.float64], rule: Rule, log_threshold: float) -> str:
    """Why `better` is out of reach, or an empty string. `y` are differences less the smallest gain."""
    n, mean = len(y), float(y.mean())
    spread = float(y.std(ddof=1))
    error = spread / math.sqrt(n)
    if mean + float(stdtrit(n - 1, FUTILITY_LEVEL)) * error < 0:
        return f"upper bound of the gain below {rule.min_loss_gain:.4g} {rule.unit}"
    if n < rule.min_pairs or spread == 0:
        return ""
    noise = Noise(round(rule.noise / spread, 2), rule.noise_pairs) if rule.noise_pairs else UNKNOWN
    needed = _needed_effect(rule.max_pairs, round(log_threshold, 3), noise) * spread
    # Chance that the true mean is large enough to be claimed at `max_pairs`, with a flat prior.
    if float(stdtr(n - 1, (mean - needed) / error)) < HOPE:
        return f"a claim within {rule.max_pairs} pairs is out of reach"
    return ""


@lru_cache(maxsize=256)
def _needed_effect(pairs: int, log_e: float, noise: Noise) -> float:
    """The mean, in standard deviations, at which `pairs` typical differences are worth `log_e`."""
    low, high = 0.0, 16.0
    pattern = np.linspace(-1, 1, pairs)
    pattern = pattern / pattern.std(ddof=1)
    for _ in range(14):
        middle = (low + high) / 2
        reached = log_t_final(pattern + middle, noise) >= log_e
        low, high = (low, middle) if reached else (middle, high)
    return high


def judge_round(
    rule: Rule,
    entered: Sequence[str],
    differences: Mapping[str, Sequence[float | None]],
    frozen: Mapping[str, float],
) -> Round:
    """Decide on every running idea after a round, by paired differences of its own (`judge`).

    `differences` are the paired differences so far of the ideas that run; `decide` has the rest.
    """
    return decide(rule, entered, by_pairs(rule, differences), frozen)


JudgedAt = Callable[[float], Judgement]
"""What an idea's runs say where a claim takes a log e-value of so much."""


def by_pairs(rule: Rule, differences: Mapping[str, Sequence[float | None]]) -> dict[str, JudgedAt]:
    """Ideas judged by paired differences of their own."""
    return {name: partial(judge, rule, found) for name, found in differences.items()}


def decide(
    rule: Rule, entered: Sequence[str], running: Mapping[str, JudgedAt], frozen: Mapping[str, float]
) -> Round:
    """Decide on all that is `running`, however it was measured.

    `entered` names all ideas that ever entered confirmation, in that order, this cohort's included: each is
    charged its weight, whatever became of it. `frozen` are the log e-values of those that stopped
    (`Round.frozen` of the round before). Every idea that entered must be in exactly one of the two.

    A claim freezes its e-value; an idea that stops without one freezes at an e-value of zero and can no
    longer be claimed. What a campaign claims is therefore settled when an idea stops, and a stop that looks
    at the size of the differences, which the t mixture does not cover, can only lose claims.
    """
    _check_names(entered, running, frozen)
    before = closed_e_bh([frozen.get(name, -math.inf) for name in entered], rule.planned, rule.alpha)
    places = {position for position, name in enumerate(entered) if name in running}
    in_sight = places | set(before.tolist())  # the claims there will be if all that run succeed
    judgements = {
        entered[place]: running[entered[place]](
            log_threshold(place, in_sight - {place}, rule.planned, rule.alpha)
        )
        for place in sorted(places)
    }
    log_e = [judgements[name].log_e if name in judgements else frozen[name] for name in entered]
    found = closed_e_bh(log_e, rule.planned, rule.alpha, before)
    claimed = frozenset(entered[i] for i in found)
    decisions = {name: _decide(rule, one, name in claimed) for name, one in judgements.items()}
    state = dict(frozen)
    for name, decision in decisions.items():
        if decision.action is not Action.CONTINUE:
            state[name] = decision.judgement.log_e if decision.action is Action.CLAIM else -math.inf
    return Round(decisions=decisions, claimed=claimed, frozen=state)


def judge_unaided(
    rule: Rule,
    entered: Sequence[str],
    running: Mapping[str, JudgedAt],
    frozen: Mapping[str, float],
    barred: Callable[[Mapping[str, Judgement]], Collection[str]],
) -> Round:
    """`decide`, again and again until no claim is carried by one that does not count.

    `barred` gets what would be claimed, and names those of it that do not count, such as what an audit
    rejects. They are frozen at an e-value of zero and the others are decided on without their help, until
    it names none. The ideas so barred have no decision.
    """
    out: dict[str, float] = {}
    while True:
        left = {name: found for name, found in running.items() if name not in out}
        looked = decide(rule, entered, left, {**frozen, **out})
        claims = {n: one.judgement for n, one in looked.decisions.items() if one.action is Action.CLAIM}
        named = barred(claims)
        if not named:
            return looked
        out |= dict.fromkeys(named, -math.inf)


def strongest_first(claims: Mapping[str, Judgement]) -> list[str]:
    """Names of claims by their e-values: who is asked first whether it counts is helped by those after it."""
    return sorted(claims, key=lambda name: (-claims[name].log_e, name))


def _decide(rule: Rule, judgement: Judgement, claimed: bool) -> Decision:
    """Turn a judgement at the easiest bar in sight into one at the bar that the round arrived at."""
    if claimed:
        reason = f"gain above {rule.min_loss_gain:.4g} {rule.unit} shown"
        better = replace(judgement, kind=VerdictKind.BETTER, futile=False, reason=reason)
        return Decision(Action.CLAIM, better)
    if judgement.kind is VerdictKind.BETTER:
        reason = "enough only if more ideas are claimed with it"
        judgement = replace(judgement, kind=VerdictKind.NO_DIFFERENCE_SHOWN, reason=reason)
    settled = judgement.futile or judgement.kind is not VerdictKind.NO_DIFFERENCE_SHOWN
    stop = settled or judgement.pairs >= rule.max_pairs
    return Decision(Action.STOP if stop else Action.CONTINUE, judgement)


def _check_names(
    entered: Sequence[str],
    running: Mapping[str, object],
    frozen: Mapping[str, float],
) -> None:
    """Every idea that entered is accounted for exactly once: a forgotten one would be tested for free."""
    for name in entered:
        if (name in running) == (name in frozen):
            where = "both" if name in frozen else "neither"
            raise ValueError(f"idea {name!r} entered; it is in {where} of the running and the frozen ideas")
    strangers = (running.keys() | frozen.keys()) - set(entered)
    if strangers or len(set(entered)) != len(entered):
        raise ValueError(f"ideas that never entered, or entered twice: {sorted(strangers) or list(entered)}")
