"""Draws the pictures of README and docs from real results. No browser needed.

python docs/make_pictures.py report STORE_ROOT [CAMPAIGN]   # docs/report.png, from a campaign
python docs/make_pictures.py transfer RESULT                # docs/transfer.png, from benchmarks/transfer.py
python docs/make_pictures.py ladder RESULT...               # docs/ladder.png, from mendel ladder --json
python docs/make_pictures.py ablate RESULT                  # docs/ablate.png, from mendel ablate --json
python docs/make_pictures.py patterns FOLDER TARGET         # docs/patterns.png, from what mendel import wrote
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from mendel.campaign.summary import trunk_points
from mendel.knowledge.patterns.report import patterns
from mendel.knowledge.table import read_table
from mendel.report.ablation_figures import effects_figure, interaction_figure, shapley_figure
from mendel.report.drawing import (
    BLUE,
    FAINT,
    MUTED,
    RUST,
    SLATE,
    TEAL,
    WIDTH,
    plain,
    put_legend,
    put_title,
)
from mendel.report.facts import gather
from mendel.report.figures import forest_figure, scaling_figure
from mendel.report.pattern_figures import effect_figure, importance_figure
from mendel.store import Store

DPI = 160
FOLDER = Path(__file__).parent
COLOURS = (TEAL, BLUE, RUST, SLATE)


def draw_report(root: Path, campaign_id: str | None, target: Path) -> None:
    """A campaign's trunk and what its multiplier means, and every judged idea (default: the latest)."""
    with Store(root) as store:
        campaign = store.campaign(campaign_id)
        facts = gather(store, campaign)
        panel = facts.panels(trunk_points(store, campaign))[0]
        figures = (scaling_figure(panel, campaign.recipe), forest_figure(facts.judged()))
    save_stacked(figures, target)


def save_stacked(figures: tuple[Figure, ...], target: Path) -> None:
    """Figures of one width below each other, as one PNG."""
    parts = []
    for place, figure in enumerate(figures):
        part = target.with_name(f".{place}.{target.name}")
        figure.savefig(part, dpi=DPI)
        parts.append(imread(part))
        part.unlink()
    height, width = sum(part.shape[0] for part in parts), parts[0].shape[1]
    whole = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    bottom = height
    for part in parts:
        bottom -= part.shape[0]
        whole.figimage(part, 0, bottom)
    whole.savefig(target, dpi=DPI)


def draw_transfer(result: Mapping[str, Any], target: Path) -> None:
    """Loss against learning rate: a panel for each recipe, a line for each rung, its best point marked."""
    recipes = result["recipes"]
    figure = Figure(figsize=(WIDTH, 3.9), facecolor="white")
    for place, (recipe, found) in enumerate(recipes.items(), 1):
        axes = figure.add_subplot(1, len(recipes), place)
        plain(axes)
        axes.grid(True, color=FAINT, lw=0.9)
        for row, colour in zip(found["rungs"], COLOURS, strict=False):
            _sweep_line(axes, row, colour)
        knobs = found["rungs"][0]["knobs"]
        factors = sorted({point["factor"] for row in found["rungs"] for point in row["sweep"]})
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator([knobs["lr"] * factor for factor in factors]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(f"peak learning rate (the recipe's {' and '.join(knobs)})")
        axes.set_ylabel("validation loss (bits per byte)" if place == 1 else "")
        put_title(axes, f"{recipe}: best learning rate by rung")
        axes.plot([], [], "*", ms=11, color=MUTED, label="best of the rung")
        axes.margins(y=0.25)
        put_legend(axes, loc="upper center", ncols=2)
    figure.tight_layout()
    figure.savefig(target, dpi=DPI)


def _sweep_line(axes: Axes, row: Mapping[str, Any], colour: str) -> None:
    points = [point for point in row["sweep"] if point["bits_per_byte"] is not None]
    x = [row["knobs"]["lr"] * point["factor"] for point in points]
    y = [point["bits_per_byte"] for point in points]
    se = [point["se"] or 0.0 for point in points]
    label = f"rung {row['rung']} ({compute(row['flops'])} FLOPs)"
    axes.errorbar(x, y, se, color=colour, lw=1.6, marker="o", ms=3.5, capsize=2, label=label)
    for rate, point in zip(x, points, strict=True):
        if point["factor"] == row["best_factor"]:
            axes.plot([rate], [point["bits_per_byte"]], "*", ms=15, color=colour, mec="white", zorder=5)


def compute(value: float) -> str:
    """FLOPs to two digits: 3.2e12."""
    return f"{value:.1e}".replace("e+", "e").replace(".0e", "e")


def draw_ladder(results: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Loss against compute: runs, curve with 95 % band, prediction and measurement, a colour per recipe."""
    figure = Figure(figsize=(WIDTH, 4.4), facecolor="white")
    axes = figure.add_subplot()
    plain(axes)
    axes.grid(True, color=FAINT, lw=0.9)
    axes.set_xscale("log")
    for found, colour in zip(results, COLOURS, strict=False):
        curve, top = found["curve"], found["top"]
        flops = [point["flops"] for point in curve]
        axes.plot(
            flops, [point["value"] for point in curve], color=colour, lw=1.6, label=_ladder_label(found)
        )
        low, high = ([point[end] for point in curve] for end in ("low", "high"))
        axes.fill_between(flops, low, high, color=colour, alpha=0.15, lw=0)
        for row in (*found["rungs"], *([top] if top else [])):
            axes.plot([row["flops"]] * row["runs"], row["bits_per_byte"], ".", ms=4, color=colour, alpha=0.6)
        ends = ([found["predicted"] - found["predicted_low"]], [found["predicted_high"] - found["predicted"]])
        axes.errorbar(
            [flops[-1]], [found["predicted"]], ends, color=colour, marker="o", mfc="white", capsize=4
        )
        if top:
            axes.plot([top["flops"]], [top["mean"]], "*", ms=13, color=colour, mec="white", zorder=5)
    axes.plot([], [], "o", color=MUTED, mfc="white", label="predicted from the rungs below, 95 % interval")
    axes.plot([], [], "*", ms=11, color=MUTED, label="measured")
    budgets = [row["flops"] for row in results[0]["rungs"]] + [results[0]["curve"][-1]["flops"]]
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compute(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"compute of a run ({results[0]['currency']}, log scale)")
    axes.set_ylabel("validation loss (bits per byte)")
    put_title(axes, f"Rung {results[0]['predict']} predicted from the rungs below")
    put_legend(axes, loc="upper right")
    figure.tight_layout()
    figure.savefig(target, dpi=DPI)


def _ladder_label(found: Mapping[str, Any]) -> str:
    if found["relative_error"] is None:
        return str(found["recipe"])
    return f"{found['recipe']}: the prediction is off by {abs(found['relative_error']):.1%}"


def draw_ablation(found: Mapping[str, Any], target: Path) -> None:
    """Effects, and interactions and Shapley shares where the design tells them."""
    figures = [effects_figure(found)]
    figures += [interaction_figure(found)] if found["interactions"] else []
    figures += [shapley_figure(found)] if found["shapley"]["parts"] else []
    save_stacked(tuple(figures), target)


def draw_patterns(folder: str, goal: str, target: Path) -> None:
    """The clearest effect of one knob and of two together, and how much each knob matters."""
    found = patterns(read_table(folder), goal, points=True)
    first = {one["kind"] == "main": one for one in reversed(found["patterns"]) if "points" in one}
    figures = [effect_figure(found, first[alone]) for alone in (True, False) if alone in first]
    save_stacked((*figures, importance_figure(found)), target)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("picture", choices=("report", "transfer", "ladder", "ablate", "patterns"))
    parser.add_argument("source", nargs="+", help="root and campaign; folder and target; or result files")
    parser.add_argument("--out", type=Path, help="default: docs/PICTURE.png")
    args = parser.parse_args(arguments)
    target = args.out or FOLDER / f"{args.picture}.png"
    if args.picture == "report":
        draw_report(Path(args.source[0]), args.source[1] if len(args.source) > 1 else None, target)
    elif args.picture == "patterns":
        draw_patterns(args.source[0], args.source[1], target)
    else:
        results = [json.loads(Path(file).read_text()) for file in args.source]
        if args.picture == "transfer":
            draw_transfer(results[0], target)
        elif args.picture == "ablate":
            draw_ablation(results[0], target)
        else:
            draw_ladder(results, target)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
