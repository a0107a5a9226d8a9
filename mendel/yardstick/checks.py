"""What the answers of the two scoring sessions show: audits `sums`, `future`, `state` and `batch`.

The principle: a model may be random, but it may not be better for having seen more. Dropout at test time,
sampling and rounding pass; a gain from the text to come, from other rows or from earlier questions does not.

From the stream. A model that answers a repeated frame as before is a function of the frame, and any
difference is a dependence: on later text where twins move but windows among other neighbours do not
(`future`), on the neighbours where those move (`batch`). One position in FLIPS may. Of a model that does not,
rows are compared: later answers may not be better than earlier ones (`state`), twins may not differ by more
than windows that came again (`future`), nor those by more than repeated frames (`batch`).

From the prefixes. Their sums must be one (`sums`). The stream's answers may not be better than those after
the prefix alone, in mean over frames or in sign where the model is a function (`future`), nor the more so the
later they were given (`state`). Only these see a peek at the predicted token itself, and code that remembers
what it was asked and answers it as before does not evade them.

Each test has ALPHA false alarms for noise that is independent between frames (benchmarks/scoring_audits.py).

What none of them sees: a gain below the noise, `detectable` in the evidence, which `pooled` makes smaller;
a peek at so few places that none of n prefixes met one (at a share f of them, probability (1 - f)^n); under
noise, what is learned from a few hundred tokens by code that remembers what it said. And noise drawn once per
process makes two models of two processes, which may be stopped for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtrc, stdtrit

from mendel.records import Audit, Scalar
from mendel.yardstick.prefixes import Prefixes
from mendel.yardstick.scoring import Violation
from mendel.yardstick.stream import MOVED, Answers, Numbers, Pair, moved, of_kind

ALPHA = 1e-6
"""False alarms of each test."""
LEAST = 0.002
"""Nats per token: a gain that matters, if it is there at all."""
SUM_ONE, SUM_MEAN = 0.02, 0.003
"""Nats by which the logarithm of one sum, and the mean of all, may differ from 0: half precision."""


def check_stream(answers: Answers) -> tuple[Audit, ...]:
    """What was found in the stream. Violation for the first audit that failed."""
    exact, again, twin = (of_kind(answers.pairs, kind) for kind in ("exact", "again", "twin"))
    return _settled(
        Audit(name="sums", passed=True, reason="no log-probability is above 0"),
        _future(answers.random, twin, again),
        _state(answers),
        _batch(answers.random, again, exact),
    )


def check_prefixes(answers: Answers, prefixes: Prefixes) -> tuple[Audit, ...]:
    """What was found at the prefixes. Violation for the first audit that failed."""
    return _settled(_sums(prefixes), _peek(prefixes), _carried(answers, prefixes))


def _settled(*audits: Audit) -> tuple[Audit, ...]:
    if not all(audit.passed for audit in audits):
        raise Violation(*audits)
    return audits


def pooled(audits: Iterable[Audit]) -> Audit:
    """`future` over several runs of one idea, from the audits of their prefixes: a gain that hides in the
    noise of one run shows in all. Runs without any movement say nothing here."""
    evidence = [audit.evidence for audit in audits if audit.name == "future"]
    found = [one for one in evidence if "gain" in one and one.get("error")]
    if not found:
        return Audit(name="future", passed=True, reason="no answer changed without the text that follows")
    weights = np.array([1 / float(evidence["error"]) ** 2 for evidence in found])
    gains = np.array([float(evidence["gain"]) for evidence in found])
    gain, error = float(weights @ gains / weights.sum()), float(weights.sum() ** -0.5)
    return _gain_audit("future", gain, error, 30 * len(found), "the text that follows", {"runs": len(found)})


# --- the stream -----------------------------------------------------------------------------------------


def _future(random: bool, twin: list[Pair], again: list[Pair]) -> Audit:
    evidence = _seen(twin)
    if not moved(twin):
        return Audit(
            name="future", passed=True, reason="other text after it moves no answer", evidence=evidence
        )
    if not (random or moved(again)):
        reason = "a prediction depends on text after it"
        return Audit(name="future", passed=False, reason=reason, evidence=evidence)
    usual = _profile([pair.gain for pair in again])
    more = _larger(*([_size(pair.gain, usual) for pair in pairs] for pairs in (twin, again)))
    evidence |= {"difference": more.mean, "error": more.error}
    if more.above:
        reason = "predictions change more when the text after them does"
        return Audit(name="future", passed=False, reason=reason, evidence=evidence)
    return Audit(name="future", passed=True, reason="other text after it adds nothing", evidence=evidence)


def _state(answers: Answers) -> Audit:
    exact = of_kind(answers.pairs, "exact")
    evidence = _seen(exact)
    if not answers.random:
        reason = "frames asked again are answered as before"
        return Audit(name="state", passed=True, reason=reason, evidence=evidence)
    gains = np.array([pair.gain.mean() for pair in answers.pairs if pair.gain.size])
    mean, error = _mean(gains)
    return _gain_audit("state", mean, error, len(gains) - 1, "having been asked before", evidence)


def _batch(random: bool, again: list[Pair], exact: list[Pair]) -> Audit:
    evidence = _seen(again)
    if not moved(again):
        return Audit(name="batch", passed=True, reason="other rows move no answer", evidence=evidence)
    if not random:
        reason = "a prediction depends on other sequences of its batch"
        return Audit(name="batch", passed=False, reason=reason, evidence=evidence)
    more = _larger(*([float(np.abs(pair.gain).mean()) for pair in pairs] for pairs in (again, exact)))
    evidence |= {"difference": more.mean, "error": more.error}
    if more.above:
        reason = "predictions change more when the other sequences of their batch do"
        return Audit(name="batch", passed=False, reason=reason, evidence=evidence)
    return Audit(name="batch", passed=True, reason="other rows add nothing", evidence=evidence)


# --- the prefixes -----------------------------------------------------------------------------------------


def _sums(prefixes: Prefixes) -> Audit:
    worst = float(np.abs(prefixes.log_sums).max())
    mean = float(prefixes.log_sums.mean())
    evidence = {"positions": prefixes.log_sums.size, "worst": worst, "mean": mean}
    if worst > SUM_ONE or abs(mean) > SUM_MEAN:
        reason = f"probabilities sum to {math.exp(mean):.4g} in mean, to one off by {worst:.3g} nats at worst"
        return Audit(name="sums", passed=False, reason=reason, evidence=evidence)
    return Audit(name="sums", passed=True, reason="all distributions sum to one", evidence=evidence)


def _peek(prefixes: Prefixes) -> Audit:
    gain, count = prefixes.gain, prefixes.gain.size
    evidence: dict[str, Scalar] = {"positions": count, "moved": prefixes.moved}
    if not prefixes.moved:
        reason = "no answer changed without the text that follows"
        return Audit(name="future", passed=True, reason=reason, evidence=evidence)
    up = int((gain > MOVED).sum())
    evidence["up"] = up
    if prefixes.function and bdtrc(up - 1, prefixes.moved, 0.5) <= ALPHA:
        reason = f"{up} of {prefixes.moved} answers that changed are better with the text that follows"
        return Audit(name="future", passed=False, reason=reason, evidence=evidence)
    # Noise may be shared within a frame: what a frame's answers sum to is one observation.
    sums = _by_frame(prefixes, gain - gain.mean())
    error = math.sqrt(float((sums**2).sum()) * sums.size / max(1, sums.size - 1)) / count
    return _gain_audit("future", float(gain.mean()), error, sums.size - 1, "the text that follows", evidence)


def _carried(answers: Answers, prefixes: Prefixes) -> Audit:
    """Whether the stream's answers gained from what it had asked before: where a process has seen nothing
    yet, or growing from the stream's first frames to its last. A model that learns while it is asked learns
    in both sessions, in opposite orders."""
    lost, count = [-float(pair.gain.mean()) for pair in prefixes.replays], prefixes.gain.size
    mean = sum(lost) / max(1, len(lost))
    evidence: dict[str, Scalar] = {"replays": len(lost), "first": lost[0] if lost else 0.0, "mean": mean}
    if not prefixes.random and all(moved([pair]) for pair in prefixes.replays) and mean > LEAST:
        reason = f"late frames, asked first, are answered worse by {mean:.3g} nats per token"
        return Audit(name="state", passed=False, reason=reason, evidence=evidence)
    # A state that matters moves most answers; noise that comes rarely may happen to meet two frames.
    if prefixes.random and lost and 2 * prefixes.moved > count and _fresh_is_worse(answers, lost[0]):
        reason = "the first frame that a process is asked is answered worse than it is later"
        return Audit(name="state", passed=False, reason=reason, evidence=evidence)
    frames = np.unique(prefixes.frames)
    if not prefixes.moved or frames.size < 3:
        reason = "frames asked first are answered as well"
        return Audit(name="state", passed=True, reason=reason, evidence=evidence)
    place = 2 * (frames - frames.mean()) / np.ptp(frames)  # about -1 to 1
    means = _by_frame(prefixes, prefixes.gain) / _by_frame(prefixes, np.ones(prefixes.gain.size))
    slope = float(place @ means / (place @ place))
    rest = means - means.mean() - slope * place
    error = math.sqrt(float(rest @ rest) / (frames.size - 2) / float(place @ place))
    return _gain_audit("state", slope, error, frames.size - 2, "having been asked before", evidence)


def _fresh_is_worse(answers: Answers, here: float) -> bool:
    """Whether the first question to a process is answered worse than later, there and `here`, both by more
    than answers of the stream's later part differ: two independent events, so each may have sqrt(ALPHA)."""
    late = len(answers.asked) // 4
    usual = np.array(
        [pair.gain.mean() for pair in answers.pairs if pair.frames[0] >= late and pair.gain.size]
    )
    first = [float(pair.gain.mean()) for pair in of_kind(answers.pairs, "exact") if pair.frames[0] == 0]
    if not first or usual.size < 2:
        return False
    spread = float(usual.std(ddof=1)) * math.sqrt(1 + 1 / usual.size)
    least = max(LEAST, float(stdtrit(usual.size - 1, 1 - math.sqrt(ALPHA))) * spread)
    return min(first[0], here) > least


# --- statistics ---------------------------------------------------------------------------------------------


class _More(NamedTuple):
    mean: float
    error: float
    above: bool


def _gain_audit(
    name: str, gain: float, error: float, freedom: int, cause: str, evidence: dict[str, Scalar]
) -> Audit:
    """Fails when `gain`, nats per token, is above LEAST and above what noise gives with probability ALPHA."""
    detectable = max(LEAST, _bound(freedom) * error) if freedom > 0 else math.inf
    evidence = {**evidence, "gain": gain, "error": error, "detectable": detectable}
    if gain > detectable:
        reason = f"answers gain {gain:.3g} nats per token from {cause}"
        return Audit(name=name, passed=False, reason=reason, evidence=evidence)
    reason = f"no gain from {cause} above {detectable:.2g} nats per token"
    return Audit(name=name, passed=True, reason=reason, evidence=evidence)


def _bound(freedom: int) -> float:
    """Student's t that is exceeded with probability ALPHA."""
    return float(stdtrit(freedom, 1 - ALPHA))


def _mean(values: Numbers) -> tuple[float, float]:
    """Mean and its standard error."""
    if values.size < 2:
        return float(values.mean()), math.inf
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)


def _larger(some: list[float], usual: list[float]) -> _More:
    """Whether `some` numbers are larger than the `usual` ones: two-sample t test, pooled variance."""
    freedom = len(some) + len(usual) - 2
    if not some or not usual or freedom < 1:
        return _More(0.0, math.inf, False)
    mean = float(np.mean(some) - np.mean(usual))
    squares = float(np.var(some) * len(some) + np.var(usual) * len(usual))
    error = math.sqrt(squares / freedom * (1 / len(some) + 1 / len(usual)))
    return _More(mean, error, mean > _bound(freedom) * error)


def _profile(gains: list[Numbers]) -> Numbers:
    """Mean |gain| at each place, summed up to it: noise may depend on the place."""
    longest = max((gain.size for gain in gains), default=0)
    sums, counts = np.zeros(longest), np.zeros(longest)
    for gain in gains:
        sums[: gain.size] += np.abs(gain)
        counts[: gain.size] += 1
    return np.cumsum(sums / counts)


def _size(gain: Numbers, usual: Numbers) -> float:
    """Mean |gain| in units of the usual one at these places."""
    return float(np.abs(gain).sum() / max(usual[min(gain.size, usual.size) - 1], MOVED))


def _by_frame(prefixes: Prefixes, values: Numbers) -> Numbers:
    """Sums over the positions of each frame of the stream."""
    _, number = np.unique(prefixes.frames, return_inverse=True)
    return np.bincount(number, weights=values).astype(np.float64)


def _seen(pairs: Sequence[Pair]) -> dict[str, Scalar]:
    """Evidence: how much was compared, and how much of it moved."""
    positions = sum(pair.gain.size for pair in pairs)
    return {"texts": len(pairs), "positions": positions, "moved": sum(pair.moved for pair in pairs)}
