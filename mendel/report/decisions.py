"""The figure of `mendel bench decisions`: gain recovered and false discoveries, by regime and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

COLOURS = {"mendel": "#c0392b", "oracle": "#2c3e50", "mendel, no error control": "#e6a09a"}
OTHERS, OWN = "#7f8c8d", "#2471a3"
MARKERS = "osD^v<>PX*"
ORACLE = {"marker": "|", "markersize": 17, "markeredgewidth": 2}
"""A bar that hides nothing."""
LEVEL = 0.05
"""Error rate that is held."""


def draw_decisions(blocks: list[dict[str, Any]], path: Path) -> None:
    """Draw the regimes of a result below each other. Raises OSError where `path` cannot be written."""
    figure = Figure(figsize=(9, 1.6 + 0.45 * len(blocks)), layout="constrained")
    gains, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names = list(dict.fromkeys(name for block in blocks for name in block["policies"]))
    names.sort(key=lambda name: (name == "mendel", ":" in name, name in COLOURS))  # these are drawn on top
    for place, name in enumerate(names):
        rows = [(y, block["policies"][name]) for y, block in enumerate(blocks) if name in block["policies"]]
        style: dict[str, Any] = {
            "color": COLOURS.get(name, OWN if ":" in name else OTHERS),
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": "",
            "markersize": 7 if name in COLOURS or ":" in name else 5,
        }
        style |= ORACLE if name == "oracle" else {}
        at = [y for y, _ in rows]
        gains.plot([row["gain_recovered"] for _, row in rows], at, label=name, **style)
        errors.plot([row["false_discovery_proportion"] for _, row in rows], at, **style)
    labels = [f"{block['name']} ({block['campaigns']})" for block in blocks]
    gains.set_yticks(range(len(blocks)), labels)
    gains.set_ylabel("regime (campaigns)")
    gains.set_xlabel("true gain recovered, share of what was attainable")
    errors.set_xlabel("false discoveries among claims")
    errors.axvline(LEVEL, color="black", linewidth=0.8, linestyle=":")
    errors.annotate(f" {LEVEL:.0%}", (LEVEL, 1), xycoords=("data", "axes fraction"), va="bottom", fontsize=8)
    errors.xaxis.set_major_formatter(PercentFormatter(1, 0))
    gains.xaxis.set_major_formatter(PercentFormatter(1, 0))
    gains.set_ylim(len(blocks) - 0.4, -0.6)
    for axes in (gains, errors):
        axes.grid(axis="y", linewidth=0.4)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path)
