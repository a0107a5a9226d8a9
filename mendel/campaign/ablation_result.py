"""From the losses of a design's cells to effects, interactions, shares and sentences. Pure: no store, no
runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mendel.plans.designs import Contrast, Design
from mendel.records import BITS_PER_BYTE
from mendel.verdicts.factorial import (
    ComputeScale,
    Effect,
    estimate,
    gains,
    in_compute,
    shares,
    within_seeds,
)

BITS, CM = "bits_per_byte", "log2_cm"
EXACT = "exact: every order of adding the factors was trained"
IF_NO_THREES = "exact if no three factors interact: then a Shapley value is the main effect"
ALIASED = IF_NO_THREES + ", which here is mixed with interactions of pairs"
NOT_FOR_LOO = (
    "leave-one-out says what each factor gains when it joins last, not its share of the whole: where factors "
    "overlap these gains add up to less than the whole, where they need each other to more"
)
NOT_FOR_ADD = (
    "add-one-in says what each factor gains when it joins first, not its share of the whole: where factors "
    "overlap these gains add up to more than the whole, where they need each other to less"
)


@dataclass(frozen=True)
class Cells:
    """What was measured."""

    design: Design
    names: tuple[str, ...]
    """Of the factors."""
    losses: Sequence[Sequence[float | None]]
    """(seeds, cells) bits per byte; None where a run failed."""
    bound: float
    """Bits per byte by which a failed run is counted worse than the reference."""
    curve: Sequence[tuple[float, float]]
    """(FLOPs, bits per byte) of the reference's runs; empty where no curve was measured."""
    flops: float
    """Of the rung."""
    unit: str = BITS_PER_BYTE
    """What losses are counted in."""


def analyse(cells: Cells) -> dict[str, Any]:
    """Effects by family on both scales, Shapley shares, and how much the whole differs from the sum."""
    design = cells.design
    table, cut = gains(cells.losses, design.reference, cells.bound)
    scale, notes = _scale(cells, table)
    found = _Analysis(cells, table, scale, frozenset(cell for _, cell in cut))
    main = found.family(design.main)
    interactions = found.family(design.interactions)
    result = {
        "scale": BITS if scale is None else CM,
        "unit": cells.unit,
        "main": main,
        "interactions": interactions,
        "whole": found.single(design.whole),
        "beyond": found.single(design.beyond),
        "shapley": found.shapley(),
        "at_bound": len(cut),
        "bound": cells.bound,
        "cells_log2_cm": None if scale is None else [float(v) for v in scale.cells.mean(axis=0)],
    }
    if scale is not None and scale.bounded:
        notes.append(
            f"{len(scale.bounded)} cells lie beyond what the scaling curve can be read to; their log2 CM, "
            "and effects that use it, are bounds"
        )
    return {**result, "notes": notes}


def _scale(cells: Cells, table: Any) -> tuple[ComputeScale | None, list[str]]:
    if not cells.curve:
        return None, [f"no scaling curve was measured: effects are in {cells.unit} only"]
    try:
        return in_compute(cells.curve, cells.flops, table, cells.design.reference), []
    except ValueError as error:
        return None, [f"no effect is told as compute: {error}"]


@dataclass(frozen=True)
class _Analysis:
    cells: Cells
    table: Any
    scale: ComputeScale | None
    cut: frozenset[int]
    """Cells with a run at the bound."""

    def family(self, contrasts: Sequence[Contrast]) -> list[dict[str, Any]]:
        """One family of effects, corrected together on each scale."""
        if not contrasts:
            return []
        weights = [contrast.weights for contrast in contrasts]
        bits = estimate(within_seeds(self.table, weights))
        compute = None if self.scale is None else self.scale.estimate(weights)
        return [
            self.row(contrast, bits[place], None if compute is None else compute[place])
            for place, contrast in enumerate(contrasts)
        ]

    def single(self, contrast: Contrast | None) -> dict[str, Any] | None:
        return None if contrast is None else self.family([contrast])[0]

    def row(self, contrast: Contrast, bits: Effect, compute: Effect | None) -> dict[str, Any]:
        names = self.cells.names
        used = {cell for cell, weight in enumerate(contrast.weights) if weight}
        return {
            "kind": contrast.kind,
            "factors": [names[place] for place in contrast.factors],
            BITS: asdict(bits),
            CM: None if compute is None else asdict(compute),
            "aliases": [
                {"factors": [names[place] for place in other], "share": share}
                for other, share in contrast.aliases
            ],
            "uses_failures": bool(used & self.cut),
        }

    def shapley(self) -> dict[str, Any]:
        """Shares of the whole gain over seeds, where the design can tell them."""
        design = self.cells.design
        if not design.shapley:
            note = NOT_FOR_LOO if design.kind == "loo" else NOT_FOR_ADD
            return {"basis": None, "note": note, "parts": []}
        weights = [contrast.weights for contrast in design.shapley]
        table = self.table if self.scale is None else self.scale.cells
        parts = within_seeds(table, weights)
        values = estimate(parts) if self.scale is None else self.scale.estimate(weights)
        fractions = shares(parts, parts.sum(axis=1))
        note = EXACT if design.kind == "full" else ALIASED if design.resolution == 3 else IF_NO_THREES
        return {
            "basis": "exact" if design.kind == "full" else "no interactions of three",
            "note": note,
            "parts": [
                {
                    "factor": self.cells.names[contrast.factors[0]],
                    "value": value.value,
                    "low": value.low,
                    "high": value.high,
                    "share": share.value,
                    "share_low": share.low,
                    "share_high": share.high,
                }
                for contrast, value, share in zip(design.shapley, values, fractions, strict=True)
            ],
        }
