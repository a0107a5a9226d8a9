"""Ideas that would test patterns, a file for `mendel run --ideas`: each sets knobs to what looked better."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mendel.knowledge.patterns.factors import NONE, RARE
from mendel.knowledge.table import TableError

CLASSES = (
    ("schedule", r"schedule|warm|cool|decay_steps|anneal"),
    ("optimiser", r"(^|_)lr|learning|optim|beta|momentum|weight_decay|(^|_)wd|clip|eps"),
    ("regularisation", r"drop|regular|smooth"),
    ("initialisation", r"init"),
    ("attention", r"attn|attention|head|rope|rotary|qk"),
    ("embedding", r"embed|tie|vocab"),
    ("shape", r"width|depth|layer|dim|d_model|size|hidden"),
    ("data", r"data|batch|seq|token|mix"),
    ("loss", r"loss"),
)
"""Class of an idea -> what the name of the knob that it sets has in it; the first that fits."""
CONFIGURATION = "config."
"""What the columns of taken over runs begin with, where they are settings."""


def write_ideas(path: Path, found: Mapping[str, Any], source: str) -> str:
    """Write the file, and say what is in it; nothing is written where there is nothing. Of single knobs each
    better setting is an idea; what two knobs do together takes four arms, which stand there as comments.
    TableError where it cannot be written."""
    told = [one for one in found["patterns"] if _settable(one)]
    ideas = dict.fromkeys(_idea(one, source, found) for one in told if one["kind"] == "main")
    if not ideas:
        return f"{path} is not written: no pattern says that a setting of one knob is better."
    arms = [f"# {one['statement']}\n# {one['refute']['refuted_by']}" for one in told if one["kind"] != "main"]
    try:
        path.write_text("\n\n".join([*ideas, *arms]) + "\n", encoding="utf-8")
    except OSError as error:
        raise TableError(f"--queue {path}: {error.strerror}") from None
    pairs = f", and experiments of {len(arms)} pairs as comments" if arms else ""
    return f"{path}: {len(ideas)} ideas{pairs}; try them by mendel run --ideas {path}"


def _settable(one: Mapping[str, Any]) -> bool:
    """Whether a pattern has settings that an override can name."""
    return "try" in one and not {RARE, NONE} & {*one["try"].values()}


def _idea(one: Mapping[str, Any], source: str, found: Mapping[str, Any]) -> str:
    settings = {name.removeprefix(CONFIGURATION): value for name, value in one["try"].items()}
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(f"{k} {v}" for k, v in settings.items()).lower()).strip("-")[
        :60
    ]
    tested = f"tested on {found['tested_on']} settings, q {one['q']:.2g}"
    about = f"{one['statement']} ({source}: {tested})"
    lines = [
        "[[idea]]",
        f"name = {json.dumps(name.strip('-'))}",
        f"class = {json.dumps(_class(settings))}",
        f"hypothesis = {json.dumps(about, ensure_ascii=False)}",
        f"mechanism = {json.dumps('A pattern of earlier runs; ' + one['refute']['refuted_by'])}",
        'proposer = "patterns"',
        "overrides = { " + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in settings.items()) + " }",
    ]
    return "\n".join(lines)


def _class(settings: Mapping[str, str]) -> str:
    for kind, has in CLASSES:
        if any(re.search(has, name.lower()) for name in settings):
            return kind
    return "architecture"


def _value(text: str) -> str:
    """A setting as TOML: a number, true or false, or text."""
    if text.lower() in ("true", "false"):
        return text.lower()
    if re.fullmatch(r"[+-]?\d+", text):
        return text
    try:
        number = float(text)
    except ValueError:
        return json.dumps(text, ensure_ascii=False)
    return repr(number)
