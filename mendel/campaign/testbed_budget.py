"""Whether the loss of a testbed falls with compute; if it does not, whether its runs ignore their budget."""

from __future__ import annotations

import math
from statistics import linear_regression
from typing import NamedTuple

from mendel.campaign import testbed_hints as hints
from mendel.campaign.testbed_noise import Spread
from mendel.campaign.testbed_seen import Point, Seen, good, loss_of, weak, wrong
from mendel.records import Currency, RunResult, RunStatus

GROWS, LEAST_GROWTH = 0.1, 0.05
"""Share of the promised growth by which a run must take longer, as a start hides the rest; and seconds."""
SURE = 2.0
"""Standard deviations of a difference beyond which it is believed."""
START = 0.2
"""Share of a run's time beside its training from which on it is called a waste."""
NOISY = 0.1
"""log2 CM that repeats may differ by before runs at the same time are advised against."""


class Ends(NamedTuple):
    """The same seed with the smallest and with the largest budget."""

    budgets: tuple[float, float]
    losses: tuple[float, float]
    seconds: tuple[float, float]

    @property
    def fall(self) -> float:
        return self.losses[0] - self.losses[1]

    @property
    def doublings(self) -> float:
        return math.log2(self.budgets[1] / self.budgets[0])


def ends_of(seen: Seen) -> Ends | None:
    """None unless two budgets were trained with the first seed."""
    seed = seen.seeds[0]
    done = {
        multiple: result
        for (multiple, own), result in seen.runs.items()
        if own == seed and result.status is RunStatus.DONE
    }
    if len(done) < 2:
        return None
    low, high = done[min(done)], done[max(done)]
    return Ends(
        (seen.budgets[min(done)], seen.budgets[max(done)]),
        (loss_of(low), loss_of(high)),
        (_seconds(seen, low), _seconds(seen, high)),
    )


def slope_of(seen: Seen, spread: Spread) -> float | None:
    """Loss per doubling of compute at the rung; None where it was not measured, or may be noise."""
    ends = ends_of(seen)
    return ends.fall / ends.doublings if ends and ends.fall > _doubt(spread) else None


def _doubt(spread: Spread) -> float:
    """How far two runs may be apart by chance."""
    return SURE * math.sqrt(2) * spread.noise


def budget_point(seen: Seen, spread: Spread) -> Point | None:
    """The same seed with less and with more compute."""
    ends = ends_of(seen)
    if ends is None:
        return None
    words, unit = seen.testbed.budget.words, seen.unit
    (less, more), (first, last), (short, long) = ends
    shown = f"{less:,} and {more:,} {words} end at {first:.5g} and {last:.5g} {unit}"
    took = f"took {short:.2g} and {long:.2g} s{'' if seen.testbed.gpus else ' of CPU'}"
    if seen.testbed.budget is Currency.SECONDS:
        took = f"took {short:.3g} and {long:.3g} s"
    numbers = {
        "budgets": ends.budgets,
        "losses": ends.losses,
        "seconds": ends.seconds,
        "slope": slope_of(seen, spread),
    }
    grows, noise = _grows(seen, ends), _doubt(spread)
    if ends.fall > noise and first != last:
        return good("budget", f"{shown}: {ends.fall / ends.doublings:.3g} less for each doubling", **numbers)
    # A loss that stays to the last digit is believed before a clock.
    stays = first == last and long < short * math.sqrt(more / less)
    if stays or (not grows and ends.fall <= noise):
        return wrong("budget", f"the run ignores its budget: {shown}, and {took}", _ignores(seen), **numbers)
    if first == last:
        change = (
            "metric: it finds a number that training does not change; find the loss at the end of the run"
        )
        return wrong("budget", f"{shown}, although they {took}", change, **numbers)
    if ends.fall < -noise:
        change = (
            "metric: a number of which less is better is needed, and this one grows with training: print a "
            "loss, not an accuracy; or the model overfits, and needs more data or a smaller rung"
        )
        return wrong("budget", f"the metric goes the wrong way: {shown}, and {took}", change, **numbers)
    change = (
        f"rungs.{seen.rung}: a larger budget, or less noise: from one seed the fall cannot be told from noise"
    )
    return weak("budget", f"{shown}, within the noise of {spread.noise:.2g}", change, **numbers)


def start_share(seen: Seen) -> float | None:
    """Share of a run's time that does not grow with its budget: the intercept of a line through all runs, the
    smoke run among them. None where it is not known."""
    clock = [(seen.smoke_budget, seen.smoke)] * (not seen.testbed.count_flops)  # counting takes its time
    clock += [(seen.budgets[multiple], result) for (multiple, _), result in seen.runs.items()]
    done = [(budget, _seconds(seen, one)) for budget, one in clock if one.status is RunStatus.DONE]
    if len({budget for budget, _ in done}) < 2:
        return None
    each, start = linear_regression([x for x, _ in done], [y for _, y in done])
    whole = start + each * seen.budgets[1.0]
    return min(1.0, max(0.0, start / whole)) if whole > 0 else None


def _seconds(seen: Seen, result: RunResult) -> float:
    """CPU time is steadier than the clock, which others share; but only a clock tells what a card did."""
    by_clock = seen.testbed.gpus or seen.testbed.budget is Currency.SECONDS
    return result.train_seconds if by_clock else result.cpu_seconds


def _grows(seen: Seen, ends: Ends) -> bool:
    """Whether more budget took more time."""
    (less, more), (short, long) = ends.budgets, ends.seconds
    if seen.testbed.budget is Currency.SECONDS:
        return long - short > (more - less) / 2
    return long - short > max(LEAST_GROWTH, GROWS * (more / less - 1) * short)


def _ignores(seen: Seen) -> str:
    told = hints.where_said(seen.testbed, seen.placeholder.strip("{}"))
    places = hints.length_lines(seen.testbed)
    change = f"{seen.placeholder} is passed by {told}, and the run does not end by it"
    return change + (f"; an entry of `edits` can set it, perhaps here: {places}" if places else "")


def clock_point(seen: Seen, spread: Spread) -> Point | None:
    """Of a testbed whose budget is time: what a start takes, and what sharing the machine means."""
    if seen.testbed.budget is not Currency.SECONDS or not seen.finished:
        return None
    asked = seen.budgets[1.0]
    took = [result.train_seconds for result in seen.finished.values()]
    mean = sum(took) / len(took)
    start = max(0.0, mean - asked) / mean
    said = (
        f"a fixed-time testbed: {asked} s asked, {mean:.3g} s taken ({start:.0%} start-up and evaluation); "
        "what makes a step slower costs steps"
    )
    numbers = {"asked": asked, "taken": took, "start_share": start, "workers": seen.workers}
    changes = []
    if start > START:
        changes.append(
            f"rungs.{seen.rung}.seconds: longer runs waste a smaller share; or `preload` what is imported"
        )
    slope = slope_of(seen, spread)
    repeat = spread.repeat.value if spread.repeat else 0.0
    if seen.workers > 1 and repeat and (slope is None or repeat / slope > NOISY):
        changes.append(
            f"workers = 1 (now {seen.workers}): runs at the same time share the machine, and repeats differ "
            f"by sd {repeat:.2g}"
        )
    if changes:
        return weak("clock", said, "; ".join(changes), **numbers)
    return good("clock", said, **numbers)
