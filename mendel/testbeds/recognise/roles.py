"""Which files a patch may touch: those that make the model and train it; and what of them stays as it is:
what evaluates, and what prepares data."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from mendel.testbeds.recognise.configs import CONFIGS
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knobs
from mendel.testbeds.recognise.metric import Said
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import rows as source_rows

JUDGES = re.compile(r"(^|_)(eval\w*|valid\w*|metrics?|score\w*|bench\w*|test\w*)(_|$)")
DATA = re.compile(r"(^|_)(data\w*|prepare|download|preprocess|tokeni[sz]er?\w*|corpus|batch\w*|loader)(_|$)")
SETTINGS = re.compile(
    r"^(configurator|args|arguments|cli|__init__|__main__|setup|conftest|logging|logger|checkpoint\w*)$"
)
CORE = re.compile(
    r"model|gpt|llama|transformer|optim|attention|layer|block|mlp|loss|sched|train|muon|norm|embed|moe|net"
)
BESIDE = re.compile(
    r"util|log|config|serial|helper|parallel|distrib|sanity|monitor|generat|api|param|spec|dcp|base|common"
)
CHECKS = re.compile(r"arg|config|checkpoint|param|input|_start|_end|batch_iter|setting|option")
MOST = 12
"""Editable files that are proposed; a user adds others."""
EVALUATES = re.compile(
    r"^_?(run_|compute_|do_)?(estimate_loss|eval\w*|valid\w*|\w+_eval|\w+_validation|get_val\w*|test_loss|val_loss)"
)


@dataclass
class Roles:
    """What [editable] and [protected] say."""

    editable: list[str] = field(default_factory=list)
    protected: list[str | dict[str, str]] = field(default_factory=list)
    why: str = ""


def find_roles(repo: Repository, entry: Entry, knobs: Knobs, metric: Said | None) -> Roles:
    """The files that a run imports, by their names and by what they hold."""
    found = Roles()
    for path in (entry.path, *repo.imported(entry.path)):
        stem = path.rpartition("/")[2].removesuffix(".py").lower()
        own = path == entry.path
        if own or not (
            _reads_data(repo.text(path)) or JUDGES.search(stem) or DATA.search(stem) or SETTINGS.match(stem)
        ):
            if own or (_makes_model(repo.text(path)) and not (BESIDE.search(stem) and not CORE.search(stem))):
                found.editable.append(path)
        elif stem != "__init__":
            found.protected.append(path)
    if (
        any(path.endswith("configurator.py") for path in repo.files)
        and "configurator.py" not in found.protected
    ):
        found.protected += ["configurator.py"] if repo.has("configurator.py") else []
    found.editable = _nearest(found.editable)
    configs = [one.path for one in knobs.constants if one.path.endswith(CONFIGS)]
    found.editable += list(dict.fromkeys(configs))  # its knobs are changed there
    for path in found.editable:
        found.protected += _evaluations(repo, path, metric)
    found.why = "files of the model and its training may be patched; what evaluates and reads data may not"
    return found


def _nearest(paths: list[str]) -> list[str]:
    """The entry and the files that most surely are of a model or its training; of too many, the first."""
    ranked = sorted(paths[1:], key=lambda path: not CORE.search(path.rpartition("/")[2].lower()))
    kept = {*paths[:1], *ranked[: MOST - 1]}
    return [path for path in paths if path in kept]


def _makes_model(text: str) -> bool:
    """Whether a file has a part of a model, an optimiser, a schedule or a training loop."""
    return bool(
        re.search(
            r"nn\.Module|Optimizer\b|\.backward\(|LambdaLR|get_lr|lr_sched|flax|nnx\.|equinox|nn\.Linear|LightningModule",
            text,
        )
        or re.search(r"\bdef (forward|attention|\w*norm|\w*init\w*weights?|train\w*)\b", text)
    )


def _reads_data(text: str) -> bool:
    """Whether a file makes data sets and no part of a model."""
    makes = re.search(
        r"\((\w+\.)*(Iterable)?Dataset\)|memmap\(|DataLoader\(|load_dataset\(|IterableDataset", text
    )
    return bool(makes) and not re.search(r"nn\.Module|\.backward\(|LightningModule\)", text)


def _evaluations(repo: Repository, path: str, metric: Said | None) -> list[dict[str, str]]:
    """Spans of functions that evaluate, and the lines that say the loss, in a file that may be patched."""
    tree, text = repo.tree(path), repo.text(path)
    rows = source_rows(text)
    found: list[dict[str, str]] = []
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and EVALUATES.match(node.name) and not CHECKS.search(node.name):
            span = _span(rows, path, node.lineno, node.end_lineno or node.lineno)
            found += [span] if span else []
    if (
        metric
        and metric.path == path
        and metric.line
        and not any(_holds(rows, one, metric.line) for one in found)
    ):
        statement = (
            next(
                (one for one in ast.walk(tree) if isinstance(one, ast.Expr) and one.lineno == metric.line),
                None,
            )
            if tree
            else None
        )
        last = (statement.end_lineno or metric.line) if statement else metric.line
        span = _span(rows, path, metric.line, last)
        found += [span] if span else []
    return found


def _span(rows: list[str], path: str, first: int, last: int) -> dict[str, str] | None:
    """Lines as a span: `first` is in that line alone, and `last` in no line between. None where the lines'
    texts cannot say it."""
    begins, ends = rows[first - 1].strip(), rows[last - 1].strip()
    if not begins or not ends or sum(begins in row for row in rows) != 1:
        return None
    if any(ends in row for row in rows[first - 1 : last - 1]):
        return None
    shown = _short(begins, rows)
    return {
        "path": path,
        "first": shown,
        "last": shown if first == last else _short(ends, rows[first - 1 : last]),
    }


def _short(line: str, rows: list[str]) -> str:
    """The beginning of a line that no other of the rows has."""
    for length in range(24, len(line), 8):
        if sum(line[:length].rstrip() in row for row in rows) == 1:
            return line[:length].rstrip()
    return line


def _holds(rows: list[str], span: dict[str, str], number: int) -> bool:
    start = next(place for place, row in enumerate(rows, 1) if span["first"] in row)
    end = next(place for place, row in enumerate(rows, 1) if place >= start and span["last"] in row)
    return start <= number <= end
