"""What a fitted law comes to, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def words_of(report: Mapping[str, Any]) -> list[str]:
    """The result in sentences."""
    words = list(report["warnings"])
    flat = {name: one["why"] for name, one in report["parameters"].items() if not one["identified"]}
    for name, why in flat.items():
        words.append(f"{name} is not identified ({why}).")
    if report["dropped"]:
        count = len(report["dropped"])
        rows = ", ".join(str(one["row"]) for one in report["dropped"][:10])
        words.append(
            f"{count} of {report['runs']} runs are left out, {_why_dropped(report)} (rows {rows}); "
            f"{_moved(report)}"
        )
    if "allocation" in report and not {"alpha", "beta"} & {*flat}:
        a = report["allocation"]
        words.append(
            f"The best model grows as compute to the power {a['value']:.3f} "
            f"[{a['low']:.3f}, {a['high']:.3f}]."
        )
    if "reference" in report:
        one = report["reference"]
        verdict = "rejected" if one["rejected"] else "not rejected"
        words.append(
            f"The published parameters are {verdict}: p {one['p_wald']:.2g} by how far they are from these "
            f"(chi-squared {one['chi_squared']:.1f} on {one['freedom']}), {one['p_likelihood']:.2g} by how "
            "much worse they fit; the larger counts."
        )
    ahead = report["predicted"]
    if ahead:
        words.append(
            f"Fitted to {ahead['fitted_to']} runs, it predicts {ahead['runs']} others within "
            f"{ahead['mean_absolute_error']:.2%} on average ({ahead['mean_error']:+.2%} with sign)."
        )
    if report["starts_at_optimum"] == 1 and report["starts"] > 1:
        words.append(
            f"Only one of {report['starts']} starts came to the optimum: it may not be the global one."
        )
    return words


def _why_dropped(report: Mapping[str, Any]) -> str:
    if report["dropped_by"] == "highest":
        return "the highest losses, as asked"
    largest = report.get("dropped_of_largest", 0)
    bends = (
        f", {largest} of them of the largest tenth by compute: the law may not hold there" if largest else ""
    )
    return f"which no noise like that of the others explains{bends}"


def _moved(report: Mapping[str, Any]) -> str:
    """Which parameter the dropped runs move most, in its standard errors."""
    whole = next(row["parameters"] for row in report["sensitivity"] if row["what"] == "all runs")
    by: dict[str, float] = {}
    for name, one in report["parameters"].items():
        by[name] = abs(whole[name] - one["value"]) / one["se"] if one["se"] else 0.0
    name = max(by, key=lambda key: by[key])
    value = report["parameters"][name]["value"]
    return f"with them {name} is {whole[name]:.4g} and not {value:.4g} ({by[name]:.1f} standard errors)."
