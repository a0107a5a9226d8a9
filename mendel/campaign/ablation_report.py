"""Writes the report of an ablation beside those of the campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mendel.campaign.config import Settings
from mendel.records import content_hash
from mendel.report import write_page


def write(found: Mapping[str, Any], settings: Settings, out: Path | None) -> Path:
    """The report's path: `out`, or one in `reports/` that follows from the question. OSError: not
    writable."""
    from mendel.report.ablation import make_ablation_page  # with matplotlib, which takes a second

    asked = [found[key] for key in ("recipe", "testbed", "factors", "rung", "design")]
    path = out or settings.root / "reports" / f"ablation-{content_hash(asked)}.html"
    write_page(make_ablation_page(found), path)
    return path
