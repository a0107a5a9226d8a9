"""How often the extrapolated interval of a gain holds the truth, and how wide it is.

    python benchmarks/climb_coverage.py [--trials 1000] [--json]

Simulated campaigns with planted slopes: gains of 0.05 to 0.5 log2 CM that keep 1 + k x of themselves over x
doublings of compute, k ~ N(mean, scatter^2); six pairs a rung, each with a noise of 0.04 log2 CM. Each
campaign learns from so many past climbs and extrapolates another one. docs/decisions.md explains the rows.
"""

from trials import run

from mendel.verdicts.transfer import coverage

CASES = (
    # mean and scatter of k, past climbs, rungs and target in doublings of compute
    (-0.05, 0.12, 0, (0.0, 2.0), 4.0),
    (-0.05, 0.12, 10, (0.0, 2.0), 4.0),
    (-0.05, 0.12, 10, (0.0, 2.0, 4.0), 10.0),
    (-0.15, 0.05, 0, (0.0, 2.0), 4.0),
    (-0.15, 0.05, 10, (0.0, 2.0), 4.0),
    (0.05, 0.05, 10, (0.0, 2.0), 6.0),
    (-0.10, 0.25, 0, (0.0, 2.0), 6.0),
    (-0.10, 0.25, 10, (0.0, 2.0), 6.0),
)


def measure(trials):
    names = ("mean", "scatter", "past", "rungs", "target")
    rows = []
    for mean, scatter, past, rungs, target in CASES:
        share, width = coverage(mean, scatter, past, target, rungs, trials)
        found = dict(zip(names, (mean, scatter, past, rungs, target), strict=True))
        rows.append({**found, "covered": share, "width": width})
    return rows


HEADER = f"{'mean':>6} {'scatter':>8} {'past':>5}  {'rungs':10} {'target':>6} {'covered':>8} {'width':>6}"


def line(row):
    rungs = ", ".join(f"{x:g}" for x in row["rungs"])
    planted = f"{row['mean']:6.2f} {row['scatter']:8.2f} {row['past']:5d}  {rungs:10} {row['target']:6g}"
    return f"{planted} {row['covered']:8.3f} {row['width']:6.3f}"


if __name__ == "__main__":
    run(__doc__, 1000, "campaigns", measure, HEADER, line)
