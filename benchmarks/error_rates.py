"""How often the judge errs: simulated campaigns with a known truth, decisions after every pair.

    python benchmarks/error_rates.py [--campaigns 2000] [--max-pairs 12] [--screen-pairs 2] [--controls 0]
                                       [--json]

Prints one table of false claims and power (campaigns of 20 ideas, 9 of them exactly at the smallest gain of
interest, 3 that do nothing, 3 harms, 5 gains; and campaigns of 20 ideas exactly at it), and two of the
coverage of the intervals. docs/decisions.md explains the rows.
"""

import argparse
import json
import multiprocessing
from dataclasses import asdict

from mendel.verdicts.simulate import GAINS, NOISES, multiplier_coverage, paired_coverage, simulate

PAIRS = (5, 8, 12, 30)
CURVES = ((2, 3, 8), (3, 2, 4), (3, 3, 8), (4, 2, 8), (4, 3, 12), (5, 4, 12))


def _errors(job):
    name, settings = job
    return asdict(simulate(NOISES[name], **settings))


def _paired(job):
    name, trials = job
    return {"noise": name, **{str(n): paired_coverage(NOISES[name], n, trials) for n in PAIRS}}


def _multiplier(job):
    budgets, seeds, pairs, trials = job
    coverage = multiplier_coverage(budgets, seeds, pairs, trials)
    return {"budgets": budgets, "seeds": seeds, "pairs": pairs, "coverage": coverage}


def measure(campaigns, jobs, **settings):
    with multiprocessing.Pool(jobs) as pool:
        common = {"campaigns": campaigns, **settings}
        kinds = [(name, common | {"all_null": null}) for name in NOISES for null in (False, True)]
        errors = pool.map(_errors, kinds, chunksize=1)
        paired = pool.map(_paired, [(name, 10 * campaigns) for name in NOISES])
        multiplier = pool.map(_multiplier, [(*curve, campaigns) for curve in CURVES], chunksize=1)
    return {"errors": errors, "paired_coverage": paired, "multiplier_coverage": multiplier}


def print_tables(result):
    sizes = " ".join(f"{g:>4g}sd" for g in GAINS)
    print(f"{'noise':36} {'ideas':6} claims false trained    FDR    <=    any    <=  power {sizes}", end="")
    print("  pairs cover flatter worse! equiv!")
    for r in result["errors"]:
        ideas = "null" if r["all_null"] else "mixed"
        power = " ".join(f"{v:6.2f}" for v in r["power"].values())
        print(
            f"{r['noise']:36} {ideas:6} {r['claims']:6d} {r['false_claims']:5d} {r['false_where_trained']:7d}"
            f"  {r['fdr']:.4f} {r['fdr_upper']:.4f} {r['any_false']:.4f} {r['any_false_upper']:.4f}"
            f"     {power} {r['pairs_per_idea']:6.1f} {r['claims_covered']:5.2f} {r['flattery']:7.2f}"
            f" {r['false_worse']:6d} {r['false_equivalent']:6d}"
        )
    print("\ncoverage of the 95 % t interval of the mean difference, by number of pairs")
    for r in result["paired_coverage"]:
        print(f"{r['noise']:36}", "  ".join(f"{n}: {r[str(n)]:.3f}" for n in PAIRS))
    print("\ncoverage of the 95 % interval of log2 CM (Gaussian noise)")
    for r in result["multiplier_coverage"]:
        print(f"{r['budgets']} budgets x {r['seeds']} runs, {r['pairs']:2d} pairs: {r['coverage']:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=2000, help="campaigns per row")
    parser.add_argument("--max-pairs", type=int, default=12, help="pairs after which an idea stops")
    parser.add_argument(
        "--screen-pairs", type=int, default=2, help="pairs per idea that teach the noise first; 0: unknown"
    )
    parser.add_argument(
        "--controls", type=int, default=0, help="ideas of each campaign that are positive controls instead"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    arguments = parser.parse_args()
    result = measure(**{key: value for key, value in vars(arguments).items() if key != "json"})
    if arguments.json:
        print(json.dumps({"schema": 1, "command": vars(arguments), **result}))
    else:
        print_tables(result)


if __name__ == "__main__":
    main()
