"""The figure of `mendel bench decisions`: gain recovered and false discoveries, by regime and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = {"mendel": "#c0392b", "oracle": "#2c3e50", "mendel, no error control": "#e6a09a"}
OTHERS = "#7f8c8d"
MARKERS = "osD^v<>PX*"


def draw_decisions(blocks: list[dict[str, Any]], path: Path) -> None:
    """Draw the regimes of a result below each other. Raises OSError where `path` cannot be written."""
    figure = Figure(figsize=(9, 1.6 + 0.45 * len(blocks)), layout="constrained")
    gains, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names = list(dict.fromkeys(name for block in blocks for name in block["policies"]))
    for place, name in enumerate(names):
        rows = [(y, block["policies"][name]) for y, block in enumerate(blocks) if name in block["policies"]]
        style: dict[str, Any] = {
            "color": COLOURS.get(name, OTHERS),
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": "",
            "markersize": 7 if name in COLOURS else 5,
        }
        at = [y for y, _ in rows]
        gains.plot([row["gain_recovered"] for _, row in rows], at, label=name, **style)
        errors.plot([row["false_discovery_proportion"] for _, row in rows], at, **style)
    gains.set_yticks(range(len(blocks)), [block["name"] for block in blocks])
    gains.invert_yaxis()
    gains.set_xlabel("true gain recovered, share of what was attainable")
    errors.set_xlabel("false discoveries among claims")
    errors.axvline(0.05, color="black", linewidth=0.8, linestyle=":")
    for axes in (gains, errors):
        axes.grid(axis="y", linewidth=0.4)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path)
