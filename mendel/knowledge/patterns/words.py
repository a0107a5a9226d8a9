"""Patterns in words: the words first, the numbers next to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mendel.knowledge.patterns.agreement import Agreement
from mendel.knowledge.patterns.best import Never
from mendel.knowledge.patterns.factors import Center, Factor, Roles
from mendel.knowledge.patterns.failures import Failing
from mendel.knowledge.patterns.search import Found
from mendel.knowledge.patterns.shapes import Bend, Levels, Line, Product, Step

BLURRED = 10.0
"""Times the least effect that is found, from which on nothing useful is told of a knob."""
LEAK = 0.99
"""Share of what the others leave from which a knob is suspected to be a result."""

Bounds = tuple[float, float, float]
"""A value and its interval."""


def amount(bounds: Bounds) -> str:
    """The size of an effect, with its interval turned to the same side: `0.12 [0.08, 0.16]`."""
    value, low, high = bounds if bounds[0] >= 0 else (-bounds[0], -bounds[2], -bounds[1])
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def moved(target: str, bounds: Bounds) -> str:
    return f"{target} {'rises' if bounds[0] > 0 else 'falls'} by {amount(bounds)}"


def main_words(one: Found, factor: Factor, target: str, bounds: Bounds) -> str:
    """What a knob does by itself."""
    shape, name = one.shape, factor.label
    if isinstance(shape, Line):
        return f"{moved(target, bounds)} from {name} {_span(factor, shape.at)}"
    if isinstance(shape, Bend):
        top = shape.top(one.estimate)
        if top is None:
            return f"{moved(target, bounds)} from {name} {_span(factor, shape.at)}, not evenly"
        what = "lower" if bounds[0] < 0 else "higher"
        at = shape.at
        return (
            f"{target} is {amount(bounds)} {what} at {name} {factor.setting(top)} than at its ends, "
            f"{factor.setting(at.low)} and {factor.setting(at.high)}"
        )
    if isinstance(shape, Step):
        return f"{moved(target, bounds)} where {name} > {factor.setting(shape.cut)}"
    assert isinstance(shape, Levels)
    what = "lower" if bounds[0] < 0 else "higher"
    if shape.count == 2:
        return (
            f"{target} is {amount(bounds)} {what} with {name}={factor.levels[1]} than with {factor.levels[0]}"
        )
    level = factor.levels[shape.level(one.estimate)]
    return f"{target} is {amount(bounds)} {what} with {name}={level} than with the other {shape.count - 1}"


def _span(factor: Factor, at: Center) -> str:
    return f"{factor.setting(at.low)} to {factor.setting(at.high)}"


def pair_words(
    one: Found, factors: Sequence[Factor], target: str, bounds: Bounds, sides: Sequence[Bounds], regime: bool
) -> str:
    """What a knob does where another is such and such."""
    shape = one.shape
    assert isinstance(shape, Product)
    acting, on = (factors[place] for place in one.knobs)
    ends = shape.ends(one.estimate)
    change = f"{acting.label} {acting.setting(ends.low[0])} to {acting.setting(ends.high[0])}"
    if acting.levels:
        change = f"{acting.label}={acting.setting(ends.high[0])} instead of {acting.setting(ends.low[0])}"
    if isinstance(shape.other, Step):
        cut = on.setting(shape.other.cut)
        places = (f"where {on.label} <= {cut}", f"where {on.label} > {cut}")
    else:
        near, far = (f"at {on.label}={on.setting(end[0])}" for end in (ends.near, ends.far))
        places = (near, far)
    if regime:
        strong = int(abs(sides[1][0]) > abs(sides[0][0]))
        much, little = sides[strong], sides[1 - strong]
        elsewhere = f"{places[1 - strong]} the effect is {little[0]:+.3g} [{little[1]:.3g}, {little[2]:.3g}]"
        does = "raises" if much[0] > 0 else "lowers"
        only = "only " if little[1] <= 0 <= little[2] else "chiefly "
        return f"{change} {does} {target} by {amount(much)} {only}{places[strong]}; {elsewhere}"
    if not sides:
        than = f"{'higher' if bounds[0] > 0 else 'lower'} {places[1]} than {places[0]}"
        return f"the effect of {change} on {target} is {amount(bounds)} {than}"
    told = " and ".join(
        f"{side[0]:+.3g} [{side[1]:.3g}, {side[2]:.3g}] {place}"
        for side, place in zip(sides, places, strict=True)
    )
    return f"the effect of {change} on {target} depends on {on.label}: {told}"


def failure_words(one: Failing, what: str) -> str:
    lost, runs, its_lost, its_runs = one.counts
    return (
        f"runs {what} where {one.rule.words}: {one.inside:.0%} ({lost} of {runs}) there, "
        f"{one.outside:.0%} ({its_lost} of {its_runs}) elsewhere"
    )


def never_words(one: Never) -> str:
    share = "no run" if not one.found else "hardly a run"
    found = f"{one.found} of {one.inside}, {one.expected:.1f} expected"
    return f"{share} with {one.where} is among the best tenth: {found}"


def agreement_words(one: Agreement, low: float, high: float) -> str:
    how = "rank runs alike" if one.tau > 0 else "rank runs the other way round"
    if one.kind == "scales":
        how = "rank settings alike" if one.tau > 0 else "rank settings the other way round"
    tau = f"tau {one.tau:.2f} [{low:.2f}, {high:.2f}] over {one.count}"
    return f"{one.what} {how}: {tau}{one.more}"


# --- the account ------------------------------------------------------------------------------------------


def account_words(
    account: Mapping[str, Any], found: Roles, told: Sequence[Mapping[str, Any]], fewest: int
) -> Iterator[str]:
    """What was looked at, what was found, and what could have been."""
    failed = f", {account['failed']} of them failed" if account["failed"] else ""
    if account["failed"]:
        kinds = ", ".join(f"{count} {why}" for why, count in account["failed_by"].items())
        failed += f" ({kinds})"
    failed += f"; {account['unfinished']} did not end and are left out" if account["unfinished"] else ""
    knobs = f"{len(found.knobs)} knob{'s' * (len(found.knobs) != 1)}"
    what = f"{account['settings']} setting{'s' * (account['settings'] != 1)} of {knobs} with a result"
    yield f"{account['runs']} run{'s' * (account['runs'] != 1)}, {what}{failed}."
    if account["detectable"] is None:
        need = f"Effects need at least {fewest} settings with a result: some to find them, some to test them"
        compare = account["repeats"] >= 2 and account["settings"] > 1
        yield f"{need}{'; mendel compare tests these, with their repeats' if compare else ''}."
    else:
        yield from _tested_words(account, len(told))
    yield from _column_words(found)
    for one in told:
        if one["kind"] == "main" and one["test_score"] > LEAK:
            what = f"{one['columns'][0]} tells the results nearly by itself"
            yield f"{what}: is it a result, too? --knobs names what was set."


def _tested_words(account: Mapping[str, Any], told: int) -> Iterator[str]:
    parts = f"found on {account['found_on']} settings and tested on the other {account['tested_on']}"
    rate = f"with at most {account['rate']:.0%} false ones expected"
    yield f"{told or 'No'} pattern{'s' * (told != 1)} of {account['tried']} that were tried, {parts}, {rate}."
    limits = account["detectable"]["by_knob"]
    easy = min(limits.values())
    told_of = {name: size for name, size in limits.items() if size <= BLURRED * easy}
    yield (
        f"An effect of {easy:.3g} of the knob that is easiest to see, or of {max(told_of.values()):.3g} of "
        f"the one that is hardest, is found with a chance of 90 %; smaller ones often are not."
    )
    if blurred := [name for name in limits if name not in told_of]:
        more = f" and {len(blurred) - 8} more" if len(blurred) > 8 else ""
        why = "they were hardly ever changed, or always with others"
        yield f"Next to nothing can be told of {', '.join(blurred[:8])}{more}: {why}."


def _column_words(found: Roles) -> Iterator[str]:
    yield f"Knobs: {', '.join(one.name for one in found.knobs)}."
    left = "not named as knobs" if found.told else "taken for names of runs, or all different"
    for names, words in (
        (found.measured, "taken for results, not knobs"),
        (found.ignored, left),
        (found.constant, "the same in all runs"),
    ):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            yield f"Columns {words}: {', '.join(names[:8])}{more}."
    for name, others in found.determined.items():
        yield f"{name} follows from {' and '.join(others)}: it has no effect of its own, and is left out."
    for one in found.knobs:
        if one.alike:
            yield f"{' and '.join(one.columns)} change together: their effects cannot be told apart."
