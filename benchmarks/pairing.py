"""What pairing is worth: how much noisier a difference would be if its runs did not share a seed.

    python benchmarks/pairing.py [--root .mendel] [--json]

Reads the finished pairs of the latest campaign. For each compared recipe with at least five pairs: the
standard deviation of the paired difference of scored loss, that of an unpaired one (the root of the summed
variances of both arms), and the ratio of variances, which is how many times more runs it would take without
pairing. Pairs survive source edits because every parameter draws its initial values from a stream of its own
name, and the data order depends on the seed alone.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from mendel.store import Store

LEAST_PAIRS = 5


def gains(store: Store) -> list[dict]:
    """One row per idea, pairs of all its blocks together (differences centred within a block)."""
    campaign = store.campaign()
    centred = defaultdict(lambda: ([], [], []))
    freedom: dict[str, int] = defaultdict(int)
    for plan in store.plans(campaign.id):
        rows = []
        for seed in plan.seeds:
            control, treatment = plan.runs(seed, campaign.fingerprint.id)
            found = store.results(campaign.id, [control.id, treatment.id])
            losses = [found[run.id].bits_per_byte for run in (control, treatment) if run.id in found]
            if len(losses) == 2 and None not in losses:
                rows.append(losses)
        if plan.idea and len(rows) >= 2:
            c, t = np.array(rows).T
            for values, block in zip(centred[plan.idea], (c, t, c - t), strict=True):
                values.extend(block - block.mean())
            freedom[plan.idea] += len(rows) - 1
    rows = []
    for idea, (c, t, d) in centred.items():
        if len(d) < LEAST_PAIRS:
            continue
        control, treatment, paired = (float(np.sum(np.square(x))) / freedom[idea] for x in (c, t, d))
        rows.append(
            {
                "idea": idea,
                "pairs": len(d),
                "sd_unpaired": (control + treatment) ** 0.5,
                "sd_paired": paired**0.5,
                "variance_ratio": (control + treatment) / paired if paired else float("inf"),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(".mendel"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with Store(args.root) as store:
        rows = gains(store)
    if args.json:
        print(json.dumps({"schema": 1, "ideas": rows}))
        return
    print(f"{'idea':28} {'pairs':>5} {'sd unpaired':>12} {'sd paired':>10} {'runs saved':>11}")
    for row in rows:
        print(
            f"{row['idea']:28} {row['pairs']:5} {row['sd_unpaired']:12.4f} {row['sd_paired']:10.4f} "
            f"{row['variance_ratio']:10.1f}x"
        )


if __name__ == "__main__":
    main()
