"""A matplotlib figure as SVG inside a page: text stays text, identifiers are its own, nothing is external."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from io import StringIO

import matplotlib
from matplotlib.figure import Figure

from mendel.report.html import Html, el, join


def inline(figure: Figure, name: str, description: str) -> Html:
    """`figure` as an <svg> element that scales with the page; `name` is unique within it."""
    out = StringIO()
    # The two settings have no other way in than matplotlib's own; the context puts them back.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    # Several figures share a page: matplotlib names the parts of each alike.
    text = re.sub(r'\sid="([^"]+)"', rf' id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = f'role="img" aria-label="{escape(description, quote=True)}"'
    return Html(re.sub(r"\n\s*", "\n", text).replace("<svg", f"<svg {label}", 1))


def two_widths(name: str, about: str, draw: Callable[..., Figure], *what: object) -> Html:
    """A figure drawn for a desk and again for a telephone; the style sheet shows one of them."""
    wide = el("div", inline(draw(*what), name, about), cls="on-wide")
    return join(wide, el("div", inline(draw(*what, narrow=True), f"{name}-narrow", about), cls="on-narrow"))
