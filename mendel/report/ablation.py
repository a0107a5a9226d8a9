"""The report of an ablation: one self-contained page with the answer, the pictures and every number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from mendel import __version__
from mendel.records import Currency, Trust
from mendel.report.ablation_figures import (
    effects_figure,
    in_cm,
    interaction_figure,
    name_of,
    ranked,
    shapley_figure,
    share_text,
    unit_of,
)
from mendel.report.html import Child, Html, commands, el, facts, join, table
from mendel.report.svg import two_widths
from mendel.report.text import duration, quantity, signed

Found = Mapping[str, Any]

NAMES = {
    "loo": "leave one out",
    "add": "add one in",
    "full": "full factorial",
    "fraction": "fractional factorial",
    "pb": "Plackett-Burman",
}
MOST_ALIASES = 12
"""Named in one cell of the table."""


def make_ablation_page(found: Found) -> str:
    """The page as HTML: no scripts, no external references, all text escaped. `found` is what the command
    made."""
    sections = {
        "effects": ("Effects", _effects(found)),
        "interactions": ("Interactions", _interactions(found)),
        "shares": ("Shares of the whole", _shares(found)),
        "cells": ("Cells", _cells(found)),
        "design": ("Design and power", _design(found)),
        "reading": ("How to read this", _reading(found)),
        "provenance": ("Provenance", _provenance(found)),
    }
    style = resources.files("mendel.report").joinpath("style.css").read_text(encoding="utf-8")
    names = [factor["name"] for factor in found["factors"]]
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"Mendel: ablation of {', '.join(names)}"),
        el("style", Html(style)),
    )
    links = [el("li", el("a", title, href=f"#{key}")) for key, (title, _) in sections.items()]
    body = el(
        "body",
        el(
            "header",
            el("p", f"Mendel ablation · {found['recipe']}, rung {found['rung']}", cls="eyebrow"),
            el("h1", f"What {len(names)} changes do together" if len(names) > 1 else f"What {names[0]} does"),
            el("p", found["summary"][0] if found["summary"] else "", cls="lead"),
            el("ul", [el("li", line) for line in found["summary"][1:]], cls="reading"),
            el("nav", el("ol", links), aria_label="Contents"),
        ),
        el(
            "main",
            [el("section", el("h2", title), content, id=key) for key, (title, content) in sections.items()],
        ),
        el("footer", f"Written by mendel {__version__}, {datetime.now(UTC):%d %B %Y, %H:%M} UTC."),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en")


# --- sections ---------------------------------------------------------------------------------------------


def _effects(found: Found) -> Html:
    told = (
        "Thick: the 95 % interval of each effect by itself. Thin: intervals that hold for all effects of a "
        "kind at once with 95 % (Bonferroni); an effect is called shown where its thin one leaves out "
        "nothing-at-all."
    )
    if in_cm(found):
        told += (
            " On this scale changes that do not interact multiply: 1.10 is the same loss for a tenth less "
            "compute, and a pair at 0.97 does 3 % less together than the product of what each does."
        )
    drawn = two_widths("effects", "Effects with their intervals", effects_figure, found)
    rows = [_effect_row(row, found) for row in _ordered(found)]
    head = (
        "effect",
        unit_of(found),
        "95 % interval",
        "simultaneous",
        "p",
        "p (Holm)",
        found["unit"],
        "also mixed in",
    )
    numbers = table(head, rows, numeric=(1, 2, 3, 4, 5, 6))
    return join(el("figure", drawn, el("figcaption", told)), el("details", el("summary", "Numbers"), numbers))


def _ordered(found: Found) -> list[Found]:
    singles = [found[key] for key in ("whole", "beyond") if found[key] is not None]
    return [*ranked(found["main"], found["scale"]), *ranked(found["interactions"], found["scale"]), *singles]


def _effect_row(row: Found, found: Found) -> list[Child]:
    effect, bits = row[found["scale"]], row["bits_per_byte"]
    label = {"whole": "all together", "beyond": "all together, beyond the sum of the main effects"}
    name = label.get(row["kind"]) or name_of(row)
    aliases = [f"{' × '.join(a['factors'])} ({a['share']:+.2g})" for a in row["aliases"]]
    more = f", and {len(aliases) - MOST_ALIASES} more" if len(aliases) > MOST_ALIASES else ""
    return [
        name + (" *" if row["uses_failures"] else ""),
        signed(effect["value"]),
        f"{signed(effect['low'])} to {signed(effect['high'])}",
        f"{signed(effect['all_low'])} to {signed(effect['all_high'])}",
        f"{effect['p']:.2g}",
        f"{effect['p_holm']:.2g}",
        signed(bits["value"], 4),
        ", ".join(aliases[:MOST_ALIASES]) + more or "nothing",
    ]


def _interactions(found: Found) -> Html:
    if not found["interactions"]:
        return el("p", _no_interactions(found))
    told = (
        "Blue: the two gain more together than the sum of what each gains; rust: less, they overlap. Bold: "
        "shown by its simultaneous 95 % interval. ≡: the design cannot tell this pair from another one; "
        "hatched: it cannot tell the pair from a main effect."
    )
    drawn = two_widths("map", "Map of the interactions of pairs", interaction_figure, found)
    return el("figure", drawn, el("figcaption", told))


def _no_interactions(found: Found) -> str:
    kind = found["design"]["kind"]
    if len(found["factors"]) < 2:
        return "One change alone has nothing to interact with."
    if kind in ("loo", "add"):
        return (
            f"A design that changes one thing at a time ({NAMES[kind]}) does not see pairs. It sees "
            "whether the whole differs from the sum: the last row of the table of numbers."
        )
    return (
        "Interactions of pairs are mixed into the main effects of this design and cannot be told from "
        "them. A larger design (--design full, or a fraction with more --cells) separates them."
    )


def _shares(found: Found) -> Html:
    shapley = found["shapley"]
    note = el("p", f"{shapley['note'][0].upper()}{shapley['note'][1:]}.")
    if not shapley["parts"]:
        return note
    drawn = two_widths("shares", "Shapley shares of the whole gain", shapley_figure, found)
    told = (
        "A Shapley value is what a change gains when it joins those before it, averaged over all orders; "
        "the values add up to the gain of all together. Right: each one's fraction of their sum, with "
        "Fieller's 95 % interval over seeds, the curve taken as known."
    )
    rows = [[part["factor"], signed(part["value"]), share_text(part)] for part in shapley["parts"]]
    numbers = table(("change", unit_of(found), "share"), rows, numeric=(1, 2))
    return join(
        el("figure", drawn, el("figcaption", told)), note, el("details", el("summary", "Numbers"), numbers)
    )


def _cells(found: Found) -> Html:
    compute = found["cells_log2_cm"]
    told = "tokens" if found["currency"] == Currency.FLOPS.words else found["currency"]
    rows: list[Sequence[Child]] = []
    for place, cell in enumerate(found["cells"]):
        reference = " (reference)" if cell["name"] == found["design"]["reference"] else ""
        losses = " ".join("failed" if loss is None else f"{loss:.4f}" for loss in cell["bits_per_byte"])
        rows.append(
            [
                cell["name"] + reference,
                "–" if cell["mean"] is None else f"{cell['mean']:.4f}",
                "–" if compute is None else signed(compute[place]),
                quantity(cell["tokens"] if told == "tokens" else cell["tokens"] * cell["flops_per_token"]),
                f"{cell['seconds']:.1f}",
                join(losses, el("br"), el("span", cell["failure"], cls="bad")) if cell["failed"] else losses,
            ]
        )
    head = ("cell", found["unit"], "log2 CM over the reference", told, "seconds", "each seed")
    loss = "the loss is what it reported" if _reported(found) else "and scored on the validation shard"
    words = (
        f"Every cell was trained with the same {len(found['seeds'])} seeds, each run with "
        f"{quantity(found['flops'])} {found['currency']} as charged, {loss}."
    )
    return join(el("p", words), table(head, rows, numeric=(1, 2, 3, 4)))


def _design(found: Found) -> Html:
    design, plan = found["design"], found["plan"]
    words = ["·".join(word) for word in design["words"]]
    rows: list[tuple[str, Child]] = [
        ("Design", f"{NAMES[design['kind']]}, {len(design['rows'])} cells, {len(found['seeds'])} seeds each"),
        ("Resolution", str(design["resolution"]) if design["resolution"] else "nothing is confounded"),
        ("Confounded with the mean", ", ".join(words[:MOST_ALIASES]) or "nothing"),
        ("Runs", f"{plan['runs']:,}, {plan['flops']:.3g} {plan['currency']}"),
        ("Noise expected", f"{plan['residual_sd_bits_per_byte']:.4f} {found['unit']} ({plan['sd_source']})"),
    ]
    if plan["seconds"]:
        rows.append(("Time expected", f"{duration(plan['seconds'])} on {plan['workers']} workers"))
    for key, name in (("main", "A main effect"), ("interaction", "An interaction")):
        shown = plan[key]
        if shown:
            needed = shown["seeds_needed"] or "over 1,000"
            text = (
                f"of {plan['effect']:g} log2 CM was planned to be found with probability "
                f"{shown['power']:.0%}; 80 % takes {needed} seeds; these seeds show "
                f"{shown['detectable']:.3f} log2 CM with 80 %"
            )
            rows.append((name, text))
    levels = [[f["name"], str(f["off"]), str(f["on"])] for f in found["factors"]]
    return join(facts(rows), table(("factor", "off", "on"), levels))


def _reported(found: Found) -> bool:
    """Whether the runs say their own loss."""
    return bool(found["trust"] == Trust.REPORTED)


def _reading(found: Found) -> Html:
    where = "The text is the validation shard"
    if _reported(found):
        where = f"The loss is {Trust.REPORTED.words}"
    lines = [
        "A contrast of cells is computed within each seed, where what the seed does to all cells cancels, "
        "and its values over seeds give Student's t interval.",
        "Main effects are one family and interactions another. p (Holm) keeps the chance of any false "
        "rejection in a family at 5 %; simultaneous intervals hold for a whole family at once with 95 % "
        "(Bonferroni).",
        f"A run that failed counts as {found['bound']:.2f} {found['unit']} worse than the reference of its "
        f"seed ({found['at_bound']} did here), and no run counts as worse than that; * marks effects that "
        "use one.",
        f"The seeds are none that a campaign chooses by. {where}, and no effect "
        "here is a claim under a campaign's false-discovery rate.",
    ]
    if in_cm(found):
        lines.append(
            "log2 CM of a cell is read off the reference's own scaling curve; intervals carry the curve's "
            f"noise. Interactions in {found['unit']} also hold that a curve gets flatter; on this scale they "
            "do not."
        )
    return el("ol", [el("li", line) for line in lines], cls="reading")


def _provenance(found: Found) -> Html:
    made = found["made"]
    rows: list[tuple[str, Child]] = [
        ("Version", f"mendel {made['mendel']}, Python {made['python']}"),
        ("Source of the testbed", made["source"]),
        ("Runs are kept in", made["kept"]),
        ("Seeds", f"{found['seeds'][0]} to {found['seeds'][-1]}"),
    ]
    return join(facts(rows), commands(json.dumps(made["fingerprint"], indent=1)))
