"""What goes onto the pages of `mendel laws`, `compare` and `rejudge`, from their JSON objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mendel.report import law_figures, scale_figures, table_figures
from mendel.report.evidence_page import Numbers, Picture, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = Mapping[str, Any]


def _drawn(about: str, draw: Callable[[Found, bool], Figure], found: Found, caption: str = "") -> Picture:
    return Picture(about, partial(draw, found), caption)


# --- laws -------------------------------------------------------------------------------------------------


def law_sections(found: Sequence[Found]) -> list[Section]:
    """A section for each law that was fitted."""
    return [_law(one) for one in found]


def _law(found: Found) -> Section:
    by = ", ".join(f"{key} {value}" for key, value in found.get("by", {}).items())
    title = by or f"The law: {found['form']}"
    if "error" in found:
        return Section(title, found["words"])
    return Section(title, found["words"], _law_pictures(found), _law_tables(found))


def _law_pictures(found: Found) -> list[Picture]:
    if found["form"] == "isoflop":
        return [
            _drawn("Losses at equal compute against size", law_figures.isoflop_figure, found),
            _drawn("Best size against compute", law_figures.growth_figure, found),
        ]
    if found["form"] == "optimum":
        return [
            _drawn("Best value of each cell and the law", scale_figures.optimum_figure, found),
            _drawn("Sweeps of the cells", scale_figures.sweeps_figure, found, "Small: not fitted."),
        ]
    if found["form"] == "multiplier":
        told = "Triangles are bounds. The line is solid where a trend is shown, and dashed where none is."
        return [
            _drawn("Compute multipliers against compute", scale_figures.multiplier_figure, found, told),
            _drawn("Loss against compute", scale_figures.curves_figure, found),
        ]
    band = "The band holds 95 % of the fits to resampled runs: it is of the law, not of single runs."
    off = "What lies on one side at an end of the axis says that the law bends there."
    pictures = [
        _drawn("Loss of the runs and the fitted law", law_figures.law_figure, found, band),
        _drawn("How far runs lie from the law", law_figures.off_figure, found, off),
    ]
    if "errors" in found:
        pictures.append(_drawn("Errors against loss", law_figures.errors_figure, found))
    return pictures


def _law_tables(found: Found) -> list[Numbers]:
    tables = [_parameters(found["parameters"])]
    if found["form"] in ("optimum", "multiplier"):
        return [*tables, *(_optimum_tables(found) if found["form"] == "optimum" else _cell_tables(found))]
    ahead = found.get("predicted")
    if ahead:
        each = zip(ahead["rows"], ahead["predicted"], ahead["measured"], strict=True)
        rows = [[str(row), f"{p:.5g}", f"{m:.5g}", f"{p / m - 1:+.2%}"] for row, p, m in each]
        head = ("row", "predicted", "measured", "off by")
        tables.append(Numbers(head, rows, "Predicted runs, which the fit did not see", (0, 1, 2, 3)))
    if found.get("dropped"):
        rows = [
            [str(one["row"]), f"{one['loss']:.5g}", f"{one['predicted_off_by']:+.1%}"]
            for one in found["dropped"]
        ]
        tables.append(
            Numbers(("row", "loss", "the law is off by"), rows, "Runs that are left out", (0, 1, 2))
        )
    if found.get("sensitivity"):
        names = list(found["sensitivity"][0]["parameters"])
        rows = [
            [one["what"], *(f"{one['parameters'][name]:.4g}" for name in names)]
            for one in found["sensitivity"]
        ]
        tables.append(Numbers(("", *names), rows, "By other choices", range(1, len(names) + 1)))
    if found.get("minima"):
        rows = [
            [
                f"{m['c']:.3g}",
                f"{m['n']:.4g}",
                f"{m['loss']:.5g}",
                str(m["sizes"]),
                "" if m["inside"] else "no",
            ]
            for m in found["minima"]
        ]
        names = ["compute", "best size", "loss there", "sizes tried", "used"]
        tables.append(Numbers(names, rows, "Minima", (0, 1, 2, 3)))
    return tables


def _optimum_tables(found: Found) -> list[Numbers]:
    names = [name for name in ("n", "d", "c") if name in found["minima"][0]]
    rows = [
        [*(f"{one[name]:.4g}" for name in names), f"{one['best']:.4g}", _ends(one), f"{one['law']:.4g}",
         str(one["values"]), one["why"]]
        for one in found["minima"]
    ]  # fmt: skip
    head = (*names, "best", "95 % interval", "by the law", "values", "not used because")
    tables = [Numbers(head, rows, "Cells", range(len(head) - 1))]
    if rows := [
        [*(f"{one[name]:.4g}" for name in names), f"{one['predicted']:.4g}", _ends(one),
         f"{one['measured']:.4g}", f"{one['costs']:.3%}"]
        for one in (found["predicted"] or {"cells": ()})["cells"]
    ]:  # fmt: skip
        ahead = (*names, "predicted", "95 % interval", "measured", "costs of the loss")
        tables.append(Numbers(ahead, rows, "The largest cells, from the others", range(len(ahead))))
    return tables


def _cell_tables(found: Found) -> list[Numbers]:
    sizes = any("n" in cell for one in found["recipes"] for cell in one["cells"])
    head = ("recipe", *(("size",) if sizes else ()), "compute", "loss", "runs", "CM", "95 % interval")
    rows = []
    for one in found["recipes"]:
        for cell in one["cells"]:
            low = "0" if cell["low"] is None else f"{2 ** cell['low']:.3f}"
            high = "∞" if cell["high"] is None else f"{2 ** cell['high']:.3f}"
            size = [f"{cell['n']:.4g}"] if sizes else []
            cm = f"{cell['bound']} {cell['cm']:.3f}".strip()
            rows.append(
                [one["recipe"], *size, f"{cell['c']:.4g}", f"{cell['loss']:.5g}", str(cell["runs"]), cm,
                 f"{low} to {high}"]
            )  # fmt: skip
    return [Numbers(head, rows, "Cells", range(1, len(head)))]


def _parameters(parameters: Mapping[str, Found]) -> Numbers:
    rows = []
    for name, one in parameters.items():
        ends = f"{one['low']:.4g} to {one['high']:.4g}" if "low" in one else ""
        why = "" if one.get("identified", True) else f"no: {one.get('why', 'wide')}"
        rows.append([name, f"{one['value']:.5g}", f"{one['se']:.3g}" if "se" in one else "", ends, why])
    return Numbers(("", "value", "se", "95 % interval", "identified"), rows, "Parameters", (1, 2, 3))


# --- comparisons ------------------------------------------------------------------------------------------


def compare_sections(found: Found) -> list[Section]:
    """The groups, and their differences."""
    said = [f"{row['group']}: {one}" if row["group"] else one
            for row in found["groups"] for one in row["warnings"]]  # fmt: skip
    said += [f"{row['group']}: {one}" for row in found["differences"] for one in row.get("warnings", ())]
    said += [one for one in found["warnings"] if one not in said]
    tested = found["target"] is not None
    head = ("group", "runs", "mean", "sd", "95 % interval", *(("p", "Holm", "flips") if tested else ()))
    rows = []
    for row in found["groups"]:
        cells = [row["group"] or "all", str(row["n"]), _number(row["mean"]), _number(row["sd"]), _ends(row)]
        cells += [_number(row.get(key), 2) for key in ("p", "p_holm", "p_sign_flip")] if tested else []
        rows.append(cells)
    pictures = []
    if any(row["n"] for row in found["groups"]):
        more = len(found["groups"]) - table_figures.MOST
        caption = f"{more} groups more are in the table." if more > 0 else ""
        pictures.append(_drawn("Runs of each group", table_figures.groups_figure, found, caption))
    numbers = Numbers(head, rows, "Groups", range(1, len(head)))
    sections = [Section("Groups", found["words"], pictures, [numbers])]
    if any(row["low"] is not None for row in found["differences"]):
        sections.append(_differences(found))
    if said:
        sections.append(Section("What speaks against it", said))
    return sections


def _differences(found: Found) -> Section:
    head = ("group", "against", "gain", "95 % interval", "p", "Holm", "permutations")
    rows = [
        [row["group"], row["against"], _number(row["difference"]), _ends(row),
         *(_number(row.get(key), 2) for key in ("p", "p_holm", "p_permutation"))]
        for row in found["differences"]
    ]  # fmt: skip
    picture = _drawn("Differences from the baseline", table_figures.differences_figure, found)
    return Section("Differences", (), [picture], [Numbers(head, rows, "", range(2, 7))])


# --- greedy logs ------------------------------------------------------------------------------------------


def rejudge_sections(found: Found) -> list[Section]:
    """The log, and its keeps."""
    head = ("row", "gain", "corrected", "chance of nothing", "kept")
    rows = [
        [str(row["row"]), f"{row['gain']:.4g}", f"{row['corrected_gain']:.4g}",
         f"{row['chance_of_nothing']:.2f}", row["description"]]
        for row in found["keeps"]
    ]  # fmt: skip
    pictures = [_drawn("The log of the loop", table_figures.log_figure, found)]
    if found["keeps"]:
        pictures.append(_drawn("Gains as logged and corrected", table_figures.keeps_figure, found))
    return [Section("The log", found["words"], pictures, [Numbers(head, rows, "Keeps", (0, 1, 2, 3))])]


def _number(value: float | None, digits: int = 5) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _ends(row: Found) -> str:
    return "" if row["low"] is None else f"{row['low']:.5g} to {row['high']:.5g}"
