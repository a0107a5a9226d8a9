"""Draws the README's picture from a real campaign: `python docs/make_pictures.py STORE_ROOT [CAMPAIGN]`.

Writes docs/report.png: what the trunk's compute multiplier means, and every judged idea. No browser needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from mendel.campaign.summary import trunk_points
from mendel.report.facts import gather
from mendel.report.figures import forest_figure, scaling_figure
from mendel.store import Store

DPI = 160
TARGET = Path(__file__).parent / "report.png"


def main(root: Path, campaign_id: str | None = None, target: Path = TARGET) -> None:
    """Write `target` from the campaign (the latest by default) of the store at `root`."""
    with Store(root) as store:
        campaign = store.campaign(campaign_id)
        facts = gather(store, campaign)
        panel = facts.panels(trunk_points(store, campaign))[0]
        figures = (scaling_figure(panel, campaign.recipe), forest_figure(facts.judged()))
    save_stacked(figures, target)
    print(f"wrote {target} from campaign {campaign.id}")


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


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
