"""What changes gain beside others, from the joint confirmations of finished campaigns.

    python benchmarks/beside.py STORE [STORE ...]

Reads stores (folders such as .mendel) and trains nothing. For each round that was confirmed in random halves:
what each idea gained alone, by its screening pairs, and beside random halves of the others, by least squares;
and how much pairs of halves scatter about these sums. Below, over all rounds: the mean share of its gain that
an idea kept and its standard deviation (`BESIDE` and `APART` of mendel.verdicts.together; ideas that gained
three paired sd or more alone), and the scatter beyond the noise of a pair, over the root of the summed
squares of the gains beside others (`TANGLE`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mendel.records import PlanKind
from mendel.store import HALVES, Store

CLEAR = 3.0
"""Gain alone, in paired sd, from which the share that is kept means something."""


def rounds(store: Store) -> Iterator[tuple[str, dict[str, float], float, np.ndarray, np.ndarray, list[str]]]:
    """(what it is, gain alone by idea, paired sd, signs (seeds, ideas), differences (seeds,), ideas) of every
    joint confirmation."""
    for campaign in store.campaigns():
        losses = {run.id: run.result for run in store.runs(campaign.id, stage=PlanKind.HALVES.value)}
        plans = {plan.id: plan for plan in store.plans(campaign.id, PlanKind.HALVES)}
        held: dict[str, list[list[str]]] = {}
        for found in store.decisions([campaign.id], HALVES).get(campaign.id, {}).values():
            held |= found
        screened = {plan.id: plan for plan in store.plans(campaign.id, PlanKind.SCREEN)}
        alone = {
            (screened[v.plan].round, screened[v.plan].idea or ""): v.difference.value
            for v in store.verdicts(campaign.id)
            if v.plan in screened and v.difference is not None
        }
        for number in sorted({plan.round for plan in plans.values()}):
            mine = [plan for plan in plans.values() if plan.round == number and plan.id in held]
            names = sorted({name for plan in mine for side in held[plan.id] for name in side})
            signs, differences = [], []
            for plan in mine:
                second, first = (
                    losses[spec.id] for spec in plan.runs(plan.seeds[0], campaign.fingerprint.id)
                )
                if first is None or second is None or None in (first.bits_per_byte, second.bits_per_byte):
                    continue
                signs.append([(name in held[plan.id][0]) * 1 - (name in held[plan.id][1]) for name in names])
                differences.append((second.bits_per_byte or 0.0) - (first.bits_per_byte or 0.0))
            if len(signs) > len(names):
                gains = {name: alone[number, name] for name in names}
                what = f"{campaign.id} round {number}"
                yield what, gains, mine[0].rule.noise, np.array(signs), np.array(differences), names


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stores", nargs="+", type=Path)
    kept, tangled = [], []
    for root in parser.parse_args().stores:
        with Store(root) as store:
            for what, alone, sd, signs, differences, names in rounds(store):
                beside, *_ = np.linalg.lstsq(signs.astype(float), differences, rcond=None)
                left = differences - signs @ beside
                spare = len(differences) - np.linalg.matrix_rank(signs)
                scatter = float(left @ left / spare) ** 0.5
                size = float((beside**2).sum()) ** 0.5
                tangled.append((max(scatter**2 - sd**2, 0.0) / size**2, spare))
                kept += [
                    gain / alone[name]
                    for name, gain in zip(names, beside, strict=True)
                    if alone[name] > CLEAR * sd
                ]
                print(
                    f"{what}: {len(differences)} pairs of halves of {len(names)} ideas; paired sd {sd:.4f}, "
                )
                print(f"  scatter {scatter:.4f} with {spare} to spare; gains alone and beside others:")
                for name, gain in zip(names, beside, strict=True):
                    print(f"  {name:24} {alone[name]:+.4f} {gain:+.4f}")
    if kept:
        weight = np.array([spare for _, spare in tangled], dtype=float)
        tangle = float((np.array([one for one, _ in tangled]) * weight).sum() / weight.sum()) ** 0.5
        share = f"kept {np.mean(kept):.2f}, sd {np.std(kept, ddof=1):.2f} ({len(kept)} ideas)"
        print(f"{share}; tangle {tangle:.2f}")


if __name__ == "__main__":
    main()
