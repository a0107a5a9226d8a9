"""Where a trainer says its validation loss: in a file of metrics, or in what it prints. A pattern is tried on
the line as it would be printed before it is proposed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.printed import SAMPLE, Shown, shown_by
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.said import LOSS, NOT_LOSS, NUMBER, VALIDATION, Said, keys_of, unit
from mendel.testbeds.recognise.source import HOLE, constant, dotted, indent, line_once, literal
from mendel.testbeds.recognise.written import written_losses


def find_metric(repo: Repository, entry: Entry, has_out: bool) -> Said | None:
    """How to read the validation loss, the best way first; a training loss where nothing else is told."""
    files = [entry.path, *repo.imported(entry.path)]
    shown = [one for path in files for one in shown_by(repo, path)]
    written = written_losses(repo, files) if has_out else []
    best = next((one for one in written if "perplexity" not in one.table["unit"]), None)
    if best:  # the last row counts, wherever it is written
        same = [place for one in written if one.table == best.table for place in one.places]
        best = replace(best, places=tuple(dict.fromkeys(same)))
    found = best or _best(shown, _is_validation) or _dictionary(repo, files)
    found = found or next(iter(written), None) or _added(repo, files)
    if found:
        return found
    training = _best(shown, lambda one: LOSS.search(_label(one)) and not NOT_LOSS.search(_label(one)))
    return training and Said(
        training.table, training.why, False, {}, training.expression, training.path, training.line
    )


# --- what is printed ------------------------------------------------------------------------------------


def _label(one: Shown) -> str:
    """The words that stand directly before a value."""
    return one.before.rpartition(HOLE)[2]


def _is_validation(one: Shown) -> bool:
    words = f"{_label(one)} {one.value}"
    both = VALIDATION.search(words.replace("_", " ")) and LOSS.search(
        f"{one.before} {one.value} {one.after[:12]}"
    )
    return (
        bool(both)
        and not NOT_LOSS.search(_label(one).replace("_", " "))
        and bool(LOSS.search(words) or not _label(one).strip())
    )


def _best(shown: list[Shown], wanted: object) -> Said | None:
    """The pattern of the first wanted value that no other value answers to as well."""
    assert callable(wanted)
    fitting = [one for one in shown if wanted(one) and "\n" not in one.whole]
    fitting.sort(key=lambda one: (not one.before.replace(HOLE, "").strip(), "test" in one.before.lower()))
    for one in fitting:
        place = (one.path, one.line)
        others = [other for other in shown if (other.path, other.line) != place and other.value != one.value]
        for pattern in _patterns(one):
            found = re.findall(pattern, one.whole, re.MULTILINE)
            if found == [SAMPLE] and not any(
                re.search(pattern, other.whole, re.MULTILINE) for other in others
            ):
                words = f"{one.before}{one.value}"
                twins = [other for other in shown if re.search(pattern, other.whole, re.MULTILINE)]
                places = tuple(dict.fromkeys((other.path, other.line, other.line) for other in twins))
                why = f"{one.path}, line {one.line}: it prints {one.whole.strip()!r:.90}"
                table = {"pattern": pattern, "unit": unit(words)}
                return Said(table, why, True, {}, one.value, one.path, one.line, places)
    return None


def _patterns(one: Shown) -> Iterator[str]:
    """Patterns from the shortest to the longest: with the words before the value, and with what is before
    these."""
    pieces = one.before.split(HOLE)
    for count in range(1, min(len(pieces), 5) + 1):
        kept = pieces[-count:]
        if count == 1:
            kept = [kept[0].lstrip(" ,;:|([-")]
        text = r"\S+".join(_escaped(piece) for piece in kept)
        if re.search(r"[A-Za-z]{2}", "".join(kept)):
            yield text + NUMBER
    after = _escaped(one.after.split(HOLE)[0])
    if re.search(r"[A-Za-z]{3}", after):
        yield NUMBER + after.rstrip()
    yield "^" + r"\S*".join(_escaped(piece) for piece in pieces) + NUMBER


def _escaped(text: str) -> str:
    """For a regular expression, spaces left plain and runs of them of any length."""
    return re.sub(
        r" {2,}", r"\\s+", re.escape(text).replace(r"\ ", " ").replace(r"\-", "-").replace(r"\=", "=")
    )


# --- dictionaries that are printed, written or sent away -------------------------------------------------


def _dictionary(repo: Repository, files: list[str]) -> Said | None:
    """A dictionary that is printed as it is."""
    for path in files:
        tree = repo.tree(path)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in (
                "print",
                "info",
                "print0",
            ):
                for one in node.args:
                    dumped = (
                        one.args[0]
                        if isinstance(one, ast.Call) and dotted(one.func).endswith("dumps") and one.args
                        else one
                    )
                    for key, _ in keys_of(dumped):
                        pattern = f"[\"']{re.escape(key)}[\"']: {NUMBER}".replace(r"\-", "-")
                        why = f"{path}, line {node.lineno}: it prints a dictionary with {key!r}"
                        return Said({"pattern": pattern, "unit": unit(key)}, why, path=path, line=node.lineno)
    return None


def _added(repo: Repository, files: list[str]) -> Said | None:
    """A print that is added before a loss is sent to a service and nowhere else."""
    for path in files:
        tree, text = repo.tree(path), repo.text(path)
        for node in ast.walk(tree) if tree else ():
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
                continue
            name = dotted(node.value.func)
            for key, value in _logged(node.value, name):
                search = line_once(text, node.lineno)
                if not search:
                    continue
                said = f'print("mendel {key}:", float({ast.unparse(value)}), flush=True)'
                replace = f"{literal(said)}\n{indent(text, node.lineno)}{literal(search)}"
                why = f"{path}, line {node.lineno}: {name} is given {key!r}, which is printed by an edit"
                pattern = f"mendel {re.escape(key)}: {NUMBER}".replace(r"\-", "-")
                edit = {"path": path, "search": search, "replace": replace}
                return Said(
                    {"pattern": pattern, "unit": unit(key)}, why, True, edit, path=path, line=node.lineno
                )
    return None


def _logged(call: ast.Call, name: str) -> Iterator[tuple[str, ast.expr]]:
    if not name.endswith((".log", ".add_scalar", ".log_metrics", ".track", ".log_scalar")):
        return
    for one in call.args:
        yield from keys_of(one)
    if name.endswith(("add_scalar", "log_scalar")) and len(call.args) > 1:
        words = str(constant(call.args[0]))
        spaced = re.sub(r"[_/.-]", " ", words)
        if VALIDATION.search(spaced) and LOSS.search(spaced):
            yield words, call.args[1]
