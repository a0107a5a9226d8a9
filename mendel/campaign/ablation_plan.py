"""What an ablation will cost and what it can show, said before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from mendel.campaign.config import ConfigError
from mendel.plans.designs import KINDS, Contrast, Design
from mendel.plans.power import contrast_sd, detectable, power, seeds_needed
from mendel.records import PlanKind, RunResult, RunSpec, Testbed
from mendel.store import Campaign, RunState, Store
from mendel.verdicts.effects import pooled_sd

DEFAULT_SD = 0.015 / math.sqrt(2)
"""Bits per byte, of a run within its seed: the paired sd of the design's own measurement, over sqrt 2."""
DEFAULT_SLOPE = 0.35
"""Bits per byte per doubling of compute, of the same measurement."""
PAIRED = (PlanKind.SCREEN, PlanKind.ESTIMATE, PlanKind.VERIFY)
"""Plans whose pairs tell the noise. Confirmations are left alone: they are scored on the held-out shard."""
LEAST_FREEDOM = 6
"""Degrees of freedom from which on a measured sd is taken before the default."""
CURVE_MULTIPLES = (0.5, 2.0)
"""Budgets of the reference's curve beside the rung's own, whose runs the design has already."""
CURVE_SEEDS = 2
MOST_RUNS = 4096
ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Noise:
    """What is known of the noise before the first run."""

    sd: float
    """Bits per byte: of a run, after what its seed and its recipe do was taken out."""
    slope: float
    """Bits per byte per doubling of compute."""
    seconds: float | None
    """Training and scoring of one run; None where none was made."""
    source: str
    slope_source: str


@dataclass(frozen=True)
class Kept:
    """Runs that are there: of one store and entry, at one rung."""

    store: Store
    campaign: Campaign
    rung: int

    def losses(self) -> dict[tuple[str, int], dict[int, float]]:
        """(Recipe, tokens) -> seed -> bits per byte."""
        found: dict[tuple[str, int], dict[int, float]] = {}
        for spec, result in self.finished():
            if result.bits_per_byte is not None:
                found.setdefault((spec.recipe, spec.tokens), {})[spec.seed] = result.bits_per_byte
        return found

    def finished(self) -> list[tuple[RunSpec, RunResult]]:
        """Runs with the rung's own budget."""
        runs = self.store.runs(self.campaign.id, RunState.FINISHED)
        own = [run for run in runs if run.spec.rung == self.rung and run.stage != PlanKind.CURVE]
        return [(run.spec, run.result) for run in own if run.result]


def noise_of(own: Kept, campaign: Kept | None) -> Noise:
    """From earlier ablations of the recipe, else from the pairs of a campaign, else a stated default."""
    found: list[list[float]] = _blocks(own.losses())
    source = "earlier ablations of this recipe"
    if _freedom(found) < LEAST_FREEDOM and campaign is not None:
        found, source = _pairs(campaign), f"the pairs of campaign {campaign.campaign.id}"
    if _freedom(found) < LEAST_FREEDOM:
        sd, source = DEFAULT_SD, "a default, measured on another small model"
    else:
        sd = pooled_sd(found) / math.sqrt(2)
    slope, slope_source = _slope(own, campaign)
    kept = [own] if campaign is None else [own, campaign]
    seconds = [r.train_seconds + r.score_seconds for one in kept for _, r in one.finished()]
    return Noise(sd, slope, fmean(seconds) if seconds else None, source, slope_source)


def _freedom(blocks: Sequence[Sequence[float]]) -> int:
    return sum(len(block) - 1 for block in blocks if block)


def _blocks(losses: Mapping[tuple[str, int], Mapping[int, float]]) -> list[list[float]]:
    """Differences of each recipe from the one with most seeds, on the seeds that they share."""
    if len(losses) < 2:
        return []
    first = max(sorted(losses), key=lambda key: len(losses[key]))
    return [
        [loss - losses[first][seed] for seed, loss in own.items() if seed in losses[first]]
        for key, own in losses.items()
        if key != first
    ]


def _pairs(kept: Kept) -> list[list[float]]:
    """Paired differences of a campaign's plans at the rung."""
    fingerprint = kept.campaign.fingerprint.id
    found = []
    for plan in kept.store.plans(kept.campaign.id):
        if plan.rung != kept.rung or plan.kind not in PAIRED:
            continue
        pairs = [plan.runs(seed, fingerprint) for seed in plan.seeds]
        results = kept.store.results(kept.campaign.id, [spec.id for pair in pairs for spec in pair])
        losses = {run: result.bits_per_byte for run, result in results.items()}
        both = [(losses.get(control.id), losses.get(treatment.id)) for control, treatment in pairs]
        found.append([c - t for c, t in both if c is not None and t is not None])
    return found


def slope_key(rung: int) -> str:
    """Under this key an ablation keeps the slope of the curve that it measured."""
    return f"slope/{rung}"


def _slope(own: Kept, campaign: Kept | None) -> tuple[float, str]:
    kept = own.store.decision(own.campaign.id, slope_key(own.rung))
    if kept:
        return float(kept), "an earlier ablation of this recipe"
    for plan in campaign.store.plans(campaign.campaign.id) if campaign else ():
        if plan.rung == own.rung and plan.rule.min_gain > 0 and plan.rule.min_loss_gain > 0:
            return plan.rule.min_loss_gain / plan.rule.min_gain, "the campaign's scaling curve"
    return DEFAULT_SLOPE, "a default, measured on another small model"


def plan_fields(
    design: Design,
    testbed: Testbed,
    rung: int,
    seeds: int,
    effect: float,
    noise: Noise,
    curve: bool,
    workers: int,
    finished: int,
) -> dict[str, Any]:
    """The plan as one JSON object: cost in runs, seconds and FLOPs, and what it can show. ConfigError: it is
    larger than any ablation should be.

    `finished` runs of it are there already. Effects and sds are log2 CM.
    """
    cells, sd = len(design.rows), noise.sd / noise.slope
    if cells * seeds > MOST_RUNS:
        raise ConfigError(
            f"command line: seeds: {seeds} x {cells} cells are {cells * seeds} runs; allowed are {MOST_RUNS}"
        )
    beside = len(CURVE_MULTIPLES) * CURVE_SEEDS if curve else 0
    runs = cells * seeds + beside
    flops = testbed.rungs[rung].compute
    full = cells * seeds + (sum(CURVE_MULTIPLES) * CURVE_SEEDS if curve else 0)
    left = max(0, runs - finished)
    seconds = None if noise.seconds is None else noise.seconds * full * left / runs / workers
    return {
        "design": design.kind,
        "design_name": KINDS[design.kind],
        "factors": design.factors,
        "cells": cells,
        "resolution": design.resolution,
        "seeds": seeds,
        "runs": runs,
        "curve_runs": beside,
        "finished_runs": finished,
        "flops": full * flops,
        "currency": testbed.budget.words,
        "unit": testbed.unit,
        "seconds": seconds,
        "workers": workers,
        "residual_sd_bits_per_byte": noise.sd,
        "residual_sd_log2_cm": sd,
        "sd_source": noise.source,
        "slope": noise.slope,
        "slope_source": noise.slope_source,
        "effect": effect,
        "main": _shown(design.main, cells, sd, seeds, effect),
        "interaction": _shown(design.interactions, cells, sd, seeds, effect),
    }


def _shown(
    family: Sequence[Contrast], cells: int, sd: float, seeds: int, effect: float
) -> dict[str, Any] | None:
    """What one family of effects can show: each is tested at ALPHA over their number."""
    if not family:
        return None
    alpha = ALPHA / len(family)
    own = max(contrast_sd(contrast.weights, sd) for contrast in family)
    needed = seeds_needed(effect, own, alpha, POWER)
    return {
        "effects": len(family),
        "alpha": alpha,
        "sd": own,
        "power": power(effect, own, seeds, alpha),
        "detectable": detectable(own, seeds, alpha, POWER),
        "seeds_needed": needed,
        "runs_needed": None if needed is None else needed * cells,
    }


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """The plan for a person."""
    resolution = f", resolution {_roman(plan['resolution'])}" if plan["resolution"] else ""
    curve = f" and {plan['curve_runs']} for the scaling curve" if plan["curve_runs"] else ""
    there = f", {plan['finished_runs']} of them done before" if plan["finished_runs"] else ""
    took = (
        "how long a run takes was not measured yet"
        if plan["seconds"] is None
        else f"about {plan['seconds']:.0f} s on {plan['workers']} workers"
    )
    lines = [
        f"{plan['design_name']}{resolution}: {plan['factors']} factors, {plan['cells']} cells, "
        f"each with the same {plan['seeds']} seeds",
        f"{plan['cells'] * plan['seeds']} runs of cells{curve}{there}; {plan['flops']:.3g} "
        f"{plan['currency']}, {took}; a smoke run of each new cell comes first",
        f"noise of a run within its seed: {plan['residual_sd_bits_per_byte']:.4f} {plan['unit']} "
        f"({plan['sd_source']}); a doubling of compute is worth {plan['slope']:.3f} ({plan['slope_source']})",
    ]
    for name, words in (("main", "main effect"), ("interaction", "interaction")):
        found = plan[name]
        if found is None:
            continue
        needed = found["seeds_needed"]
        takes = (
            "more than 1,000 seeds"
            if needed is None
            else f"{needed} seeds, {found['runs_needed']} runs of cells"
        )
        lines.append(
            f"{words} of {plan['effect']:g} log2 CM: found with probability {found['power']:.0%} (80 % takes "
            f"{takes}); {plan['seeds']} seeds show {found['detectable']:.3f} with 80 %"
        )
    return lines


def _roman(number: int) -> str:
    return {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII", 8: "VIII"}.get(number, str(number))
