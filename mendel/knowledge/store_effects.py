"""The effects that stores hold of each idea, for a meta-analysis: claims and the failures beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mendel.knowledge.memory import BY_SCREEN, Known
from mendel.knowledge.meta import error_of
from mendel.knowledge.meta_report import Effect


def effects_of(found: Sequence[Known]) -> tuple[list[Effect], list[str]]:
    """One effect for each campaign on an idea, by its patch: a study is a testbed with its fingerprint, so
    that campaigns on one machine and text are one. Screens are left out, because they pick the lucky ones;
    and so are bounds, whose error nobody knows."""
    names: dict[str, str] = {}
    effects = []
    bounds = screens = 0
    for one in found:
        interval = one.log2_cm
        if interval is None:
            continue
        if one.measured == BY_SCREEN:
            screens += 1
            continue
        if interval.bounded or interval.high_bounded or not math.isfinite(interval.high - interval.low):
            bounds += 1
            continue
        name = names.setdefault(one.patch, _free(one.idea.name, names))
        study = f"{one.testbed} on {one.fingerprint}"
        se = error_of(interval.low, interval.high, interval.level)
        where = f"campaign {one.campaign}: {one.grade.value}"
        if se > 0:
            effects.append(Effect(name, study, interval.value, se, where))
    said = []
    if screens:
        said.append(f"{screens} effects are of screens alone, which pick the lucky ones: left out.")
    if bounds:
        said.append(f"{bounds} effects are bounds: left out.")
    return effects, said


def _free(name: str, names: dict[str, str]) -> str:
    """A name of its own for each patch: two ideas may have one name."""
    taken = {*names.values()}
    if name not in taken:
        return name
    return next(f"{name} ({n})" for n in range(2, 10_000) if f"{name} ({n})" not in taken)
