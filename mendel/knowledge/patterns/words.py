"""Patterns in words: the words first, the numbers next to them."""

from __future__ import annotations

from collections.abc import Sequence

from mendel.knowledge.patterns.agreement import Agreement
from mendel.knowledge.patterns.best import Never
from mendel.knowledge.patterns.factors import Center, Factor
from mendel.knowledge.patterns.failures import Failing
from mendel.knowledge.patterns.search import Found
from mendel.knowledge.patterns.shapes import Bend, Levels, Line, Product, Step

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
