"""Elements of a page. Text is escaped unless it is already an element: forgetting it is not possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

from mendel.report.text import clean


class Html(str):
    """Text that is markup already."""


Child: TypeAlias = "str | None | Iterable[Child]"


def el(tag: str, /, *children: Child, **attributes: str | None) -> Html:
    """An element. `cls` is its class; an attribute of None is left out. Strings that are not Html are text:
    cleaned and escaped."""
    head = "".join(
        f' {"class" if key == "cls" else key.replace("_", "-")}="{escape(clean(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in ("br", "meta", "col"):
        return Html(f"<{tag}{head}>")
    return Html(f"<{tag}{head}>{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """The children one after the other."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(clean(child), quote=False))
        elif child is not None:
            parts.append(join(*child))
    return Html("".join(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], numeric: Sequence[int] = ()) -> Html:
    """A table; the columns in `numeric` are set as numbers. Wide ones scroll by themselves on a phone."""

    def cell(kind: str, column: int, content: Child) -> Html:
        return el(kind, content, cls="n" if column in numeric else None)

    header = el("tr", [cell("th", i, text) for i, text in enumerate(head)])
    body = [el("tr", [cell("td", i, content) for i, content in enumerate(row)]) for row in rows]
    return el(
        "div",
        el("table", el("thead", header), el("tbody", body), cls="many" if len(head) > 4 else None),
        cls="wide",
    )


def facts(rows: Iterable[tuple[str, Child]]) -> Html:
    """A list of names and values."""
    return el("dl", [join(el("dt", name), el("dd", value)) for name, value in rows])


def commands(*lines: str) -> Html:
    """Commands to copy."""
    return el("pre", "\n".join(lines), cls="command")


def diff_block(text: str, most: int = 1200) -> Html:
    """A unified diff with its lines coloured, at most `most` of them."""
    lines = text.split("\n")
    shown = [el("span", line + "\n", cls=_line_class(line)) for line in lines[:most]]
    if len(lines) > most:
        shown.append(el("span", f"… {len(lines) - most} more lines\n", cls="hunk"))
    return el("pre", shown, cls="diff")


def _line_class(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")
