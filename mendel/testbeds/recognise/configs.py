"""Configuration files in YAML, TOML, JSON and Python: which one a trainer is started with, and its keys."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mendel.records import Scalar
from mendel.testbeds.recognise.assigning import find_assigning
from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.knob import Knob, Knobs
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import assigned, constant

CONFIGS = (".yaml", ".yml", ".toml", ".json")


def read_config_file(repo: Repository, entry: Entry, files: list[str], found: Knobs) -> None:
    """A configuration file that the trainer reads: its keys are knobs, by dotted arguments where these are
    read, and otherwise by changes of the file."""
    path, given = _chosen_config(repo, entry, files, found)
    found.given += given
    if not path:
        return
    text = repo.text(path)
    found.evidence.append(f"{path}: its configuration")
    all_text = "\n".join(repo.text(one) for one in files)
    lines = {} if path.endswith((".toml", ".json")) else {key: line for key, _, line in _yaml(text)}
    values = (
        list(_flat(_parsed(path, text), "")) if not lines else [(key, value) for key, value, _ in _yaml(text)]
    )
    if re.search(r"@hydra\.main|OmegaConf\.from_cli|from_dotlist", all_text):
        found.override = found.override or ("{key}={value}",)
        found.arguments += [Knob(key, value) for key, value in values]
        return
    way = find_assigning(repo, entry, files)
    if way:
        found.override, found.opening = way.override, way.opening
        found.evidence.append(way.why)
        own = [replace(one, own=("--{key}={value}",)) for one in found.arguments]
        known = {knob.name for knob in own}
        found.arguments = [*own, *(Knob(key, value) for key, value in values if Knob(key).name not in known)]
        return
    if found.override and _merges(all_text, found):
        known = {knob.name for knob in found.arguments}
        found.arguments += [Knob(key, value) for key, value in values if Knob(key).name not in known]
        return
    for key, value in values:
        search, shown = _config_line(path, text, key, lines.get(key, 0))
        if search:
            found.constants.append(Knob(key, value, path, search, shown))


def read_python_config(repo: Repository, found: Knobs) -> None:
    """Defaults that a configuration file in Python sets anew."""
    tree = next((tree for one in found.given if one.endswith(".py") and (tree := repo.tree(one))), None)
    values = {name: constant(node) for name, node in assigned(tree).items()} if tree else {}
    found.arguments = [
        replace(one, default=values[one.key]) if values.get(one.key) is not None else one
        for one in found.arguments
    ]


def _merges(text: str, found: Knobs) -> bool:
    """Whether unknown arguments are laid over a configuration file."""
    return bool(re.search(r"parse_known_args|merge_from_list|merge_from_args|unknown", text)) and bool(
        found.override
    )


def _chosen_config(repo: Repository, entry: Entry, files: list[str], found: Knobs) -> tuple[str, list[str]]:
    """The configuration file of the instructions, the default of the option, or the smallest there is; and
    the arguments that name it."""
    for place, word in enumerate(entry.arguments):
        name = word.rpartition("=")[2]
        if name.endswith((*CONFIGS, ".py")) and repo.has(name.removeprefix("./")):
            before = (
                [entry.arguments[place - 1]] if place and entry.arguments[place - 1].startswith("-") else []
            )
            return ("" if name.endswith(".py") else name.removeprefix("./")), [*before, word]
    for knob in found.arguments:
        if "config" in knob.name and str(knob.default).endswith(CONFIGS) and repo.has(str(knob.default)):
            return str(knob.default), []
    all_text = "\n".join(repo.text(one) for one in files)
    hydra = re.search(r"@hydra\.main\((.*?)\)", all_text, re.S)
    candidates = [path for path in repo.files if path.endswith(CONFIGS) and _is_config(path)]
    if hydra:
        said = re.search(r"config_name\s*=\s*['\"]([\w/.-]+)", hydra[1])
        wanted = [one for one in candidates if said and one.rpartition("/")[2].split(".")[0] == said[1]]
        return (wanted[0] if wanted else ""), []
    literal = [one for one in candidates if f'"{one}"' in all_text or f"'{one}'" in all_text]
    if literal and not any("config" in knob.name for knob in found.arguments):
        return literal[0], []
    option = next(
        (knob for knob in found.arguments if knob.name in ("config", "config_file", "config_path", "cfg")),
        None,
    )
    positional = re.search(
        r"add_argument\(\s*['\"](config\w*|cfg)['\"]|sys\.argv\[1\]|click\.argument\(['\"]config", all_text
    )
    if (option or positional) and candidates:
        small = ("debug", "tiny", "small", "nano", "mini", "char", "cpu", "test", "base", "default")
        best = min(
            candidates, key=lambda one: (not any(word in one.lower() for word in small), len(one), one)
        )
        return best, [f"--{option.key}={best}"] if option else [best]
    return "", []


def _is_config(path: str) -> bool:
    folders, name = path.split("/")[:-1], path.rpartition("/")[2]
    if name in ("pyproject.toml", "package.json") or name.startswith("."):
        return False
    return any("conf" in one or one in ("experiments", "recipes") for one in folders) or bool(
        re.match(r"(train|config|conf|default|base|params|hparams|settings)", name)
    )


def _parsed(path: str, text: str) -> Any:
    """The content of a configuration file in TOML or JSON; nothing where it cannot be read."""
    try:
        return tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _yaml(text: str) -> Iterator[tuple[str, Scalar | None, int]]:
    """Dotted keys of YAML with plain values and their lines. Enough to find knobs; not a parser of YAML."""
    above: list[tuple[int, str]] = [(-1, "")]
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"( *)(- )?([\w.-]+)\s*:(?:\s+(.*?))?\s*(?:#.*)?$", line)
        if not found or line.lstrip().startswith("#"):
            continue
        depth, key, value = len(found[1]) + len(found[2] or ""), found[3], found[4]
        while above[-1][0] >= depth:
            above.pop()
        if value:
            yield f"{above[-1][1]}{key}", _scalar(value), number
        else:
            above.append((depth, f"{above[-1][1]}{key}."))


def _scalar(text: str) -> Any:
    if text in ("true", "True", "false", "False"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?(\d[\d_]*)", text):
        return int(text.replace("_", ""))
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return float(text)
    if text in ("null", "~", "None") or text.startswith(("[", "{", "&", "*", "|", ">", "!")):
        return None
    return text.strip("\"'")


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Scalar | None]]:
    if isinstance(value, dict):
        for key, below in value.items():
            if isinstance(below, dict):
                yield from _flat(below, f"{prefix}{key}.")
            elif below is None or isinstance(below, bool | int | float | str):
                yield f"{prefix}{key}", below


def _config_line(path: str, text: str, key: str, line: int) -> tuple[str, str]:
    """The text that sets a key, where it occurs once, and the value at its end. `line`: where it stands, if
    that is known; then with lines before it that make it occur once."""
    name = re.escape(key.rpartition(".")[2])
    quoted = rf'"{name}"' if path.endswith(".json") else rf"[\"']?{name}[\"']?"
    sign = "=" if path.endswith(".toml") else ":"
    form = rf"((?<![\w.-]){quoted}[ \t]*{sign}[ \t]*([^\s,#}}]+))"
    found = re.findall(rf"(?m){form}", text)
    if len(found) == 1 and text.count(found[0][0]) == 1:
        return str(found[0][0]), str(found[0][1])
    rows = text.splitlines()
    here = re.search(form, rows[line - 1]) if 0 < line <= len(rows) else None
    for above in range(1, 5) if here else ():
        piece = "\n".join(
            [*rows[max(0, line - 1 - above) : line - 1], rows[line - 1][: here.end()] if here else ""]
        )
        if here and text.count(piece) == 1:
            return piece, here[2]
    return "", ""
