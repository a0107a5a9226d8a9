"""The report: what a campaign found, for a person to read and check.

`write_report` makes one self-contained HTML file; `figures` draws its pictures, which others may save;
`lookup` finds a single idea, run, plan, recipe, verdict or finding again. Nothing here decides anything: it
reads the store and what the campaign room hands in. Whatever an idea or a run wrote is untrusted text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mendel.store import Campaign, Store


def write_report(
    store: Store, campaign: Campaign, summary: dict[str, Any], trunk_points: list[dict[str, Any]], path: Path
) -> None:
    """Write the campaign's report to `path`, whole or not at all.

    `summary` and `trunk_points` are what `mendel.campaign.summary` makes of the campaign. Works for one that
    is running, was stopped, or found nothing. Raises StoreError, and OSError where `path` cannot be written.
    """
    # Here and not above: matplotlib takes a second to import, which `mendel show` would pay too.
    from mendel.report.page import make_page

    text = make_page(store, campaign, summary, trunk_points)
    write_page(text, path)


def write_page(text: str, path: Path) -> None:
    """Write a page whole or not at all. OSError where `path` cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
