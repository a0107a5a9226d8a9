"""Where a trainer says its validation loss: in a file of metrics, or in what it prints. A pattern is tried on
the line as it would be printed before it is proposed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.printed import SAMPLE, Shown, shown_by
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import (
    HOLE,
    assigned,
    constant,
    dotted,
    indent,
    line_once,
    literal,
    parts,
)

VALIDATION = re.compile(
    r"(?<![a-z])(val|valid|validation|eval|evaluation|test|dev|heldout|held.out)(?![a-z])", re.I
)
LOSS = re.compile(r"loss|bpb|bpc|bits.per|ppl|perplexity|nll|cross.?entropy|(?<![a-z])ce(?![a-z])|xent", re.I)
NOT_LOSS = re.compile(
    r"time|step|iter|acc|lr|token|batch|every|mfu|hellaswag|core|norm|second|size|\bmin\b|best|lowest|minimum",
    re.I,
)
NUMBER = r"([-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf)"
UNITS = (
    (r"bpb|bits.per.byte", "bits per byte"),
    (r"bpc|bits.per.char", "bits per character"),
    (r"ppl|perplexity", "perplexity"),
    (r".", "nats per token"),
)


@dataclass(frozen=True)
class Said:
    """A way in which the loss is told."""

    table: dict[str, str]
    """As [metric] has it."""
    why: str
    sure: bool = True
    """Whether it is a validation loss."""
    edit: dict[str, str] = field(default_factory=dict)
    """A change of the source that makes the trainer say it, where it does not."""
    expression: str = ""
    """Source of what is shown."""
    path: str = ""
    line: int = 0


def find_metric(repo: Repository, entry: Entry, has_out: bool) -> Said | None:
    """How to read the validation loss, the best way first; a training loss where nothing else is told."""
    files = [entry.path, *repo.imported(entry.path)]
    shown = [one for path in files for one in shown_by(repo, path)]
    written = next(_written(repo, files), None) if has_out else None
    if written:
        return written
    printed = _best(shown, _is_validation) or _dictionary(repo, files)
    if printed:
        return printed
    added = _added(repo, files)
    if added:
        return added
    training = _best(shown, lambda one: LOSS.search(_label(one)) and not NOT_LOSS.search(_label(one)))
    return training and Said(
        training.table, training.why, False, {}, training.expression, training.path, training.line
    )


def unit(words: str) -> str:
    return next(name for pattern, name in UNITS if re.search(pattern, words, re.I))


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
                why = f"{one.path}, line {one.line}: it prints {one.whole.strip()!r:.90}"
                return Said(
                    {"pattern": pattern, "unit": unit(words)}, why, True, {}, one.value, one.path, one.line
                )
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


def _keys(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Keys of a dictionary that name a validation loss, with their values."""
    if isinstance(node, ast.Dict):
        pairs = [
            (str(constant(key)), value) for key, value in zip(node.keys, node.values, strict=True) if key
        ]
    elif isinstance(node, ast.Call) and dotted(node.func) == "dict":
        pairs = [(one.arg, one.value) for one in node.keywords if one.arg]
    else:
        return
    for key, value in pairs:
        words = re.sub(r"[_/.-]", " ", key)
        if VALIDATION.search(words) and LOSS.search(words) and not NOT_LOSS.search(words):
            yield key, value


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
                    for key, _ in _keys(dumped):
                        pattern = f"[\"']{re.escape(key)}[\"']: {NUMBER}".replace(r"\-", "-")
                        why = f"{path}, line {node.lineno}: it prints a dictionary with {key!r}"
                        return Said({"pattern": pattern, "unit": unit(key)}, why, path=path, line=node.lineno)
    return None


def _written(repo: Repository, files: list[str]) -> Iterator[Said]:
    """A file of JSON in the run's folder that has the loss."""
    for path in files:
        tree = repo.tree(path)
        if tree is None:
            continue
        for function in (tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))):
            names = assigned(function)
            keys = [(key, value) for node in _own(function) for key, value in _keys(node)]
            dumps = [
                node
                for node in _own(function)
                if isinstance(node, ast.Call) and dotted(node.func) in ("json.dump", "json.dumps")
            ]
            if not keys or not dumps:
                continue
            name = _file_name(function, {**assigned(tree), **names})
            if name and any(_dumped(node, names, keys[0][0]) for node in dumps):
                why = f"{path}: it writes {keys[0][0]!r} to {name}"
                yield Said(
                    {"file": name, "key": keys[0][0], "unit": unit(keys[0][0])},
                    why,
                    path=path,
                    line=dumps[0].lineno,
                )


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module or function without those of functions in it."""
    queue = [*ast.iter_child_nodes(function)]
    while queue:
        node = queue.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue += ast.iter_child_nodes(node)


def _dumped(node: ast.Call, names: dict[str, ast.expr], key: str) -> bool:
    """Whether what is dumped is the dictionary with a key."""
    what = node.args[0] if node.args else None
    if isinstance(what, ast.Name):
        what = names.get(what.id, what)
    return what is not None and any(one == key for one, _ in _keys(what))


def _file_name(function: ast.AST, names: dict[str, ast.expr]) -> str:
    """Path below the run's folder of the JSON file that a function opens to write; the folder is unknown, and
    the name is not."""
    for node in _own(function):
        if not isinstance(node, ast.Call) or not dotted(node.func).endswith(("open", "write_text")):
            continue
        target = (
            node.func.value if isinstance(node.func, ast.Attribute) else (node.args[0] if node.args else None)
        )
        path = parts(target, names)
        name = path.rpartition(HOLE)[2].lstrip("/")
        if HOLE in path and name.endswith((".json", ".jsonl")) and path.count(HOLE) == 1:
            return name
    return ""


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
        yield from _keys(one)
    if name.endswith(("add_scalar", "log_scalar")) and len(call.args) > 1:
        words = str(constant(call.args[0]))
        spaced = re.sub(r"[_/.-]", " ", words)
        if VALIDATION.search(spaced) and LOSS.search(spaced):
            yield words, call.args[1]
