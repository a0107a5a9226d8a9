"""What runs read besides the source: data that git passes by, caches below the home, what is prepared."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from mendel.testbeds.recognise.entry import Entry
from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import HOLE, assigned, constant, dotted, parts

PREPARES = re.compile(
    r"^(prepare|preprocess|tokenize|make|build|download|get|create)(_?(data\w*|dataset\w*|corpus|tokens))?\.py$"
)
LOOKS_LIKE_DATA = re.compile(
    r"(^|/)(data|datasets?|corpus|tokens?|cache|shards?|tokenizer\w*)(/|$|[\w.-]*\.)|\.(bin|npy|npz|pkl|pt|txt|parquet|arrow|jsonl|h5|zst|gz)$"
)
NO_DATA = re.compile(
    r"(^|/)(\.|__pycache__|out|outputs?|runs?|results|checkpoints?|ckpts?|wandb|logs?|venv|env|build|dist)|\.(pyc|log|egg-info)$|egg-info"
)
WRITERS = (
    "open",
    "tofile",
    "save",
    "savez",
    "dump",
    "write_text",
    "write_bytes",
    "memmap",
    "to_parquet",
    "save_to_disk",
)


@dataclass
class Data:
    """Inputs and preparation."""

    inputs: list[str] = field(default_factory=list)
    prepare: dict[str, object] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    """Inputs that runs need and that are not there yet."""
    why: list[str] = field(default_factory=list)
    by_hand: str = ""
    """A script that the user runs once."""


def find_data(repo: Repository, entry: Entry) -> Data:
    """What must be there before a run."""
    found = Data()
    read = [entry.path, *repo.imported(entry.path)]
    prepare = _preparing(repo, entry)
    for path in dict.fromkeys((*read, *([prepare] if prepare else []))):
        for place in _home_paths(repo, path):
            if place not in found.inputs:
                found.inputs.append(place)
                found.why.append(f"{path}: {place}")
    outside = bool(found.inputs)
    for place in repo.ignored:
        whole = place.rstrip("/")
        if LOOKS_LIKE_DATA.search(whole) and not NO_DATA.search(whole):
            found.inputs.append(whole)
            found.why.append(f"{whole}, which git ignores")
    if prepare and outside:
        found.by_hand = prepare
    elif prepare:
        makes = [one for one in _made(repo, prepare) if one not in repo.files]
        there = [one for one in makes if any(_below(one, place) for place in found.inputs)]
        if makes and not there:
            found.prepare = {"command": [prepare], "makes": makes}
            found.why.append(f"{prepare} makes {', '.join(makes)}")
    found.absent = [one for one in found.inputs if one.startswith("~") and not _home_exists(one)]
    return found


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _home_exists(place: str) -> bool:
    try:
        return Path(place).expanduser().exists()
    except (OSError, RuntimeError):
        return False


def _home_paths(repo: Repository, path: str) -> list[str]:
    """Folders below ~/.cache that a file's expressions make."""
    tree = repo.tree(path)
    if tree is None or ".cache" not in repo.text(path):
        return []
    names = assigned(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {**assigned(node), **names}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.BinOp | ast.Constant) and not isinstance(
            getattr(node, "value", ""), bytes
        ):
            text = parts(node, names) if not isinstance(node, ast.Constant) else str(node.value)
            place = re.match(r"~/\.cache/([\w.-]+)", text)
            if place and place[1] not in ("huggingface", "torch", "pip", "triton") and len(text) < 200:
                found.add(f"~/.cache/{place[1]}")
    return sorted(found)


def _preparing(repo: Repository, entry: Entry) -> str:
    """The script that prepares the data: of the data set that the trainer names, or the only one."""
    scripts = [path for path in repo.python if PREPARES.match(path.rpartition("/")[2]) and path != entry.path]
    if len(scripts) <= 1:
        return scripts[0] if scripts else ""
    for words in _named(repo, entry):
        for path in scripts:
            folder = path.rpartition("/")[0].rpartition("/")[2]
            if folder and folder in words:
                return path
    top = [path for path in scripts if path.count("/") == min(one.count("/") for one in scripts)]
    return top[0] if len(top) == 1 else ""


def _named(repo: Repository, entry: Entry) -> list[set[str]]:
    """Words that may name a data set: of a configuration file in Python, then of the entry itself."""
    files = [one for one in entry.arguments if one.endswith(".py") and repo.has(one)]
    found = []
    for path in (*files, entry.path):
        tree = repo.tree(path)
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)] if tree else []
        found.append(
            {str(node.value) for node in nodes if isinstance(node.value, str) and len(node.value) < 80}
        )
    return found


def _made(repo: Repository, path: str) -> list[str]:
    """Patterns of the files that a script writes below its source."""
    tree = repo.tree(path)
    if tree is None:
        return []
    names = assigned(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {**assigned(node), **names}
    names = {**_defaults(tree), **names}
    here = path.rpartition("/")[0]
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (target := _target(node)) is not None:
            text = parts(target, names)
            text = text.replace("__here__", here).lstrip("/") if "__here__" in text else text
            pattern = re.sub(f"{HOLE}+", "*", text).removeprefix("./")
            if re.search(r"\w\.\w{1,8}$|\*\.\w+$", pattern) and not pattern.startswith(("/", "~", "*", "..")):
                found[pattern] = None
    return list(found)[:6]


def _defaults(tree: ast.AST) -> dict[str, ast.expr]:
    """Names of options with their defaults, which loops and functions often call their parameters too."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            both = node.args.args
            for one, what in zip(
                both[len(both) - len(node.args.defaults) :], node.args.defaults, strict=True
            ):
                found[one.arg] = what
    return found


def _target(node: ast.Call) -> ast.expr | None:
    """What a call writes to; None where it writes no file."""
    name = dotted(node.func).rpartition(".")[2] or (
        node.func.attr if isinstance(node.func, ast.Attribute) else ""
    )
    if name not in WRITERS:
        return None
    arguments = [*node.args, *(one.value for one in node.keywords)]
    modes = [str(constant(one)) for one in arguments]
    if name == "open" or name == "memmap":
        if not any(re.fullmatch(r"[wax]b?\+?t?|wb\+?|w\+", mode) for mode in modes):
            return None
        if isinstance(node.func, ast.Attribute) and dotted(node.func.value) not in (
            "io",
            "gzip",
            "np",
            "numpy",
            "lzma",
        ):
            return node.func.value
    if name in ("write_text", "write_bytes") and isinstance(node.func, ast.Attribute):
        return node.func.value
    if name in ("save", "dump") and len(node.args) > 1 and dotted(node.func).startswith(("torch", "joblib")):
        return node.args[1]
    return node.args[0] if node.args else None
