"""What the rungs of a testbed cost on this machine, and what a campaign on it would."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from mendel.campaign.config import Policy
from mendel.campaign.loop import ENTRY_PRICE, PLANNED_SHARE
from mendel.campaign.rounds import CURVE
from mendel.campaign.testbed_budget import start_share
from mendel.campaign.testbed_failures import failure
from mendel.campaign.testbed_noise import Spread
from mendel.campaign.testbed_seen import Above, Point, Seen, counted, good, loss_of, weak, wrong
from mendel.records import Currency, RunResult, RunStatus

IDEAS = 10
"""Of the campaign whose time is estimated."""
LEAST_RATIO, MOST_RATIO = 2.5, 8.0
"""Of the costs of neighbouring rungs: about four is advised."""
MOST_START = 0.4
"""Share of a run that its start may take."""


def seconds_by_rung(seen: Seen) -> dict[str, float]:
    """Seconds of a run, training and scoring, at each rung from the checked one on: measured at two at most,
    beyond by compute."""
    if not seen.finished:
        return {}
    rungs, known = seen.testbed.rungs, fmean(_whole(one) for one in seen.finished.values())
    found, above = {str(seen.rung): known}, seen.above
    for number in range(seen.rung + 1, len(rungs)):
        known *= rungs[number].compute / rungs[number - 1].compute
        if above and above.rung == number:
            result = above.result
            known = (
                _whole(result) if result and result.status is RunStatus.DONE else max(known, above.estimate)
            )
        found[str(number)] = known
    return found


def _whole(result: RunResult) -> float:
    return result.train_seconds + result.score_seconds


def rungs_point(seen: Seen, spread: Spread) -> Point | None:
    """The rung above: it runs, is lower, and costs about four times as much."""
    above = seen.above
    if above is None:
        return None
    if above.smoke.status is not RunStatus.DONE:
        return failure(
            seen, "rungs", f"the smoke run of rung {above.rung}", above.rung, above.smoke, above.out
        )
    if above.refused:
        return wrong("rungs", above.refused, f"rungs.{above.rung}: a larger budget, or a smaller `smoke`")
    if above.result is None:
        said = f"rung {above.rung} starts; a run of about {clock(above.estimate)} was left out"
        return good("rungs", said, estimate=above.estimate)
    if above.result.status is not RunStatus.DONE:
        return failure(seen, "rungs", f"a run of rung {above.rung}", above.rung, above.result, above.out)
    return _compared(seen, above, spread)


def _compared(seen: Seen, above: Above, spread: Spread) -> Point:
    assert above.result is not None
    own, higher = fmean(seen.losses), loss_of(above.result)
    seconds = fmean(_whole(one) for one in seen.finished.values())
    ratio = _whole(above.result) / seconds if seconds else 0.0
    said = (
        f"rung {above.rung} ends at {higher:.5g}, rung {seen.rung} at {own:.5g} {seen.unit}; a run takes "
        f"{ratio:.2g} times as long"
    )
    numbers = {"losses": [own, higher], "ratio": ratio, "seconds": [seconds, _whole(above.result)]}
    if higher >= own - spread.noise:
        change = f"rungs.{above.rung}: its loss is not clearly lower; more budget, or a shape that uses it"
        return weak("rungs", said, change, **numbers)
    if not LEAST_RATIO <= ratio <= MOST_RATIO:
        low, high = (seen.testbed.rungs[number].compute for number in (seen.rung, above.rung))
        change = (
            f"rungs.{above.rung}: about four times the cost of the rung below is advised; its budget is "
            f"{high / low:g} times as large, and what a start takes counts in both"
        )
        return weak("rungs", said, change, **numbers)
    return good("rungs", said, **numbers)


def campaign_runs(policy: Policy) -> float:
    """Runs of the lowest rung in a campaign of IDEAS ideas: the curve, the rounds, the last check."""
    return sum(CURVE) * policy.curve_seeds + PLANNED_SHARE * IDEAS * ENTRY_PRICE + 2 * policy.verify_pairs


def cost_point(seen: Seen) -> Point:
    """Time and disk."""
    seconds, runs = seconds_by_rung(seen), campaign_runs(Policy())
    own = seconds[str(seen.rung)]
    campaign = runs * own / seen.workers
    hour = 3600 * seen.workers / max(own, 1e-3)
    disk = _size(seen.out)
    kept = fmean(_size(seen.outs[1.0, seed].parent) for seed in seen.finished)
    each = ", ".join(f"rung {number}: {clock(value)}" for number, value in seconds.items())
    said = (
        f"a run takes {each}; {hour:,.0f} an hour with {counted(seen.workers, 'worker')}; "
        f"{disk / 1e6:.3g} MB written, {kept / 1e6:.2g} MB kept; {IDEAS} ideas take about {runs:.0f} runs, "
        f"{clock(campaign)}"
    )
    numbers = {
        "per_hour": hour,
        "disk": disk,
        "kept": kept,
        "campaign_runs": runs,
        "campaign_seconds": campaign,
    }
    start = numbers["start_share"] = start_share(seen) or 0.0
    limit = seen.testbed.rungs[seen.rung].timeout
    longest = max(one.train_seconds for one in seen.finished.values())
    changes = []
    if longest > limit / 2:
        changes.append(
            f"rungs.{seen.rung}.timeout = {limit:g}: a busy machine needs more room; about {3 * longest:.0f}"
        )
    if start > MOST_START and seen.testbed.budget is not Currency.SECONDS:  # `clock` says it of these
        preload = seen.testbed.preload
        dear = (
            " (torch._dynamo, which optimisers import)"
            if "torch" in preload and "torch._dynamo" not in preload
            else ""
        )
        changes.append(
            f"about {start:.0%} of a run's time is its start: `preload` more of what is imported{dear}, or a "
            f"larger rung {seen.rung}"
        )
    return weak("cost", said, "; ".join(changes), **numbers) if changes else good("cost", said, **numbers)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def clock(seconds: float) -> str:
    """A time in the unit that one would say it in."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
