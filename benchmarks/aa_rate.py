"""How often the judge claims something of nothing, on real differences between equal recipes.

    mendel run --ideas blanks --budget 900runs
    python benchmarks/aa_rate.py [--root .mendel] [--blanks 1000] [--json]

Takes the paired differences of all live blanks of an A/A campaign as one pool, and builds further blanks from
it: each draws pairs with replacement and flips the sign of each by itself (control and treatment of a blank
are exchangeable), so that their mean is zero whatever was drawn, and goes through the judge in cohorts as a
campaign of `planned` ideas would. A pair with a failed run counts as -bound, as in the judge.

Prints the claim rate of the live and of the resampled blanks with Clopper-Pearson 95 % intervals. Resampled
blanks share the real pairs: their interval is that of the resampling alone, and says nothing of how the rate
would vary with another pool.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import beta

from mendel.records import PlanKind, Rule, VerdictKind
from mendel.store import Store
from mendel.verdicts.judge import Action, judge_round

STEP = 2


def clopper_pearson(claimed: int, count: int) -> tuple[float, float]:
    """Exact two-sided 95 % interval of a proportion."""
    low = float(beta.ppf(0.025, claimed, count - claimed + 1)) if claimed else 0.0
    high = float(beta.ppf(0.975, claimed + 1, count - claimed)) if claimed < count else 1.0
    return low, high


def live_blanks(store: Store) -> tuple[np.ndarray, Rule, int, int]:
    """Differences of all blanks' confirmation pairs, bits per byte, (pairs,); the rule; how many blanks were
    claimed, and judged."""
    campaign = store.campaign()
    names = {blank.name for blank in store.blanks(campaign.id)}
    verdicts = {verdict.plan: verdict for verdict in store.verdicts(campaign.id)}
    pool, claimed, judged, rule = [], 0, 0, Rule()
    for plan in store.plans(campaign.id, PlanKind.CONFIRM):
        if plan.idea not in names or plan.id not in verdicts:
            continue
        rule, judged = plan.rule, judged + 1
        claimed += verdicts[plan.id].kind is VerdictKind.BETTER
        for seed in plan.seeds:
            pair = [spec.id for spec in plan.runs(seed, campaign.fingerprint.id)]
            found = store.results(campaign.id, pair)
            if len(found) == 2:
                control, treatment = (found[run].bits_per_byte for run in pair)
                failed = control is None or treatment is None
                pool.append(-rule.bound if failed else control - treatment)
    return np.array(pool), rule, claimed, judged


def resampled_claims(pool: np.ndarray, rule: Rule, blanks: int, seed: int) -> int:
    """Claims among `blanks` resampled blanks, judged in campaigns of `rule.planned`."""
    rng, claims = np.random.default_rng(seed), 0
    for start in range(0, blanks, rule.planned):
        names = [f"blank-{i}" for i in range(start, min(blanks, start + rule.planned))]
        paths = {}
        for name in names:
            signs = rng.choice((-1.0, 1.0), size=rule.max_pairs)
            paths[name] = list(signs * rng.choice(pool, size=rule.max_pairs))
        live, frozen, claimed, pairs = set(names), {}, frozenset(), rule.min_pairs
        while live:
            looked = judge_round(rule, names, {name: paths[name][:pairs] for name in live}, frozen)
            frozen, claimed = looked.frozen, looked.claimed
            live = {name for name in live if looked.decisions[name].action is Action.CONTINUE}
            pairs = min(pairs + STEP, rule.max_pairs)
        claims += len(claimed)
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(".mendel"))
    parser.add_argument("--blanks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with Store(args.root) as store:
        pool, rule, claimed, judged = live_blanks(store)
    if not len(pool):
        parser.error(
            f"{args.root}: the latest campaign confirmed no blank; mendel run --ideas blanks makes one"
        )
    resampled = resampled_claims(pool, rule, args.blanks, args.seed)
    result = {
        "schema": 1,
        "live": {"claimed": claimed, "judged": judged, "interval": clopper_pearson(claimed, judged)},
        "resampled": {
            "claimed": resampled,
            "judged": args.blanks,
            "interval": clopper_pearson(resampled, args.blanks),
        },
    }
    if args.json:
        print(json.dumps(result))
        return
    for kind in ("live", "resampled"):
        row = result[kind]
        low, high = row["interval"]
        print(
            f"{kind} blanks: {row['claimed']} of {row['judged']} claimed, "
            f"95 % interval {low:.2%} to {high:.2%}"
        )


if __name__ == "__main__":
    main()
