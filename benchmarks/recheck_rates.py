"""How often a recheck evicts a change that still earns its place, and one that does not.

    python benchmarks/recheck_rates.py [--trials 10000] [--json]

Simulated trunks of three changes, of which one adds what the row says and the others four paired standard
deviations; Gaussian noise, all compared with the same runs of the trunk, the rule of the campaign itself.
docs/decisions.md explains the rows.
"""

from trials import run

from mendel.verdicts.recheck import eviction_rates

CASES = ((0.5, 12), (0.25, 12), (0.25, 24))
"""(m in paired standard deviations, most pairs)."""
EFFECTS = {"harm": lambda m: -1.0, "useless": lambda m: 0.0, "m": lambda m: m, "2 m": lambda m: 2 * m,
           "1 sd": lambda m: 1.0, "2 sd": lambda m: 2.0}  # fmt: skip
SURE = 4.0


def measure(trials):
    rows = []
    for least, most in CASES:
        for name, effect in EFFECTS.items():
            rates, pairs = eviction_rates((effect(least), SURE, SURE), least, 6, most, trials)
            others = sum(rates[1:])
            rows.append(
                {
                    "least": least,
                    "most": most,
                    "adds": name,
                    "evicted": rates[0],
                    "others": others,
                    "pairs": pairs,
                }
            )
    return rows


HEADER = f"{'m (sd)':>7} {'at most':>8}  {'it adds':8} {'evicted':>8} {'another is':>10} {'pairs each':>10}"


def line(row):
    rates = f"{row['evicted']:8.4f} {row['others']:10.4f} {row['pairs']:10.1f}"
    return f"{row['least']:7g} {row['most']:8d}  {row['adds']:8} {rates}"


if __name__ == "__main__":
    run(__doc__, 10_000, "trunks", measure, HEADER, line)
