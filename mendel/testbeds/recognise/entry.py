"""Where a repository's training begins: the script or module, and how its instructions start it."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from dataclasses import dataclass, replace

from mendel.testbeds.recognise.repository import Repository
from mendel.testbeds.recognise.source import dotted

LIKELY = re.compile(r"(^|_)(pre)?train(er|ing)?(_|$|\d)|^(main|run|__main__|pretrain\w*)$")
UNLIKELY = re.compile(
    r"test|eval|sampl|generat|infer|chat|sft|rl$|finetun|bench|export|convert|plot|prepar|token|download|data|"
    r"score|setup|conf|util|profil|serve|demo|lora|dpo|distill|analy|visual|quant"
)
NOWHERE = (
    "tests",
    "test",
    "docs",
    "doc",
    "benchmarks",
    "examples_old",
    "archive",
    "records",
    "evals",
    "agent_tooling",
)
LEAST = 3.0
"""Score of the least likely entry."""
NEAR = 1.5
"""Difference of scores below which two files look alike."""
RUNNERS = ("python", "python3", "torchrun", "accelerate", "deepspeed", "uv")


@dataclass(frozen=True)
class Entry:
    """A way to start a training."""

    path: str
    """The file that is run."""
    command: tuple[str, ...]
    """As a testbed gives it: a script, or -m and a module."""
    arguments: tuple[str, ...] = ()
    """What its instructions give besides, such as a configuration file."""
    why: str = ""
    pythonpath: str = ""
    """Folder that modules are found in, where it is not the one that runs start in."""
    others: tuple[str, ...] = ()
    """Files that look as much like an entry."""
    torchrun: bool = False
    """It needs the environment that torchrun makes."""


def find_entry(repo: Repository) -> Entry | None:
    """The most likely way to start a training; None where no file of the repository looks like one."""
    shown = _instructions(repo)
    scripts = _scripts(repo)
    ranked: list[tuple[float, str]] = []
    for path in repo.python:
        said = max((5.0 - 0.1 * place for place, one in enumerate(shown) if one.path == path), default=0.0)
        looks = _score(repo, path)
        score = looks + (max(said, 1.0) if said else 0.0) + (3.0 if path in scripts else 0.0)
        if looks > 0 and score >= LEAST:
            ranked.append((-score, path))
    if not ranked:
        return None
    (best, path), *others = sorted(ranked, key=lambda one: one[0])
    near = tuple(other for score, other in others[:3] if score - best <= NEAR)
    found = next((one for one in shown if one.path == path), None) or as_started(repo, path)
    places = "" if found.command[0] == "-m" else found.path.rpartition("/")[0]
    needs = _needs_torchrun(repo, path)
    return replace(
        found, pythonpath=found.pythonpath or _roots(repo, found, places), torchrun=needs, others=near
    )


def _needs_torchrun(repo: Repository, path: str) -> bool:
    """Whether a script reads what only torchrun sets, without asking whether it is there."""
    text = repo.text(path)
    reads = re.search(r"environ\[['\"](RANK|LOCAL_RANK|WORLD_SIZE)", text)
    return bool(reads) and not re.search(
        r"(environ\.get|getenv)\(['\"](RANK|LOCAL_RANK|WORLD_SIZE)|['\"] in os\.environ|if ddp", text
    )


def _roots(repo: Repository, entry: Entry, folder: str) -> str:
    """Folders besides a script's own in which its modules are found: so that the copy is imported, and no
    installed one."""
    found: dict[str, None] = {}
    tree = repo.tree(entry.path)
    for node in ast.walk(tree) if tree else ():
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            path = repo.module_file(name, folder)
            if path.startswith("src/") and not folder.startswith("src"):
                found["src"] = None
            elif path and folder and not path.startswith(f"{folder}/"):
                found["." if not path.startswith("src/") else "src"] = None
    return ":".join(found)


def as_started(repo: Repository, path: str) -> Entry:
    """How a file is started that no instructions speak of: as a module where it imports its own package."""
    base = path.removeprefix("src/")
    module = base.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    if "/" in base and (path.endswith("__main__.py") or _imports_package(repo, path, base)):
        return Entry(
            path,
            ("-m", module),
            why=f"{path} is part of a package and is run with -m {module}",
            pythonpath="src" if base != path else "",
        )
    return Entry(path, (path,), why=f"{path} trains")


def _imports_package(repo: Repository, path: str, base: str) -> bool:
    """Whether a file imports from the package that it lies in, or from another folder at the top."""
    tree = repo.tree(path)
    tops = {one.removeprefix("src/").split("/")[0] for one in repo.python if "/" in one.removeprefix("src/")}
    beside = {
        one.rpartition("/")[2] for one in repo.python if one.rpartition("/")[0] == path.rpartition("/")[0]
    }
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom) and node.level:
            return True
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            top = (name or "").split(".")[0]
            if f"{top}.py" not in beside and (top in tops or repo.has(f"{top}.py")):
                return True
    return False


def _score(repo: Repository, path: str) -> float:
    """How much a file looks like one that trains when it is run."""
    folders, stem = path.split("/")[:-1], path.rpartition("/")[2].removesuffix(".py").lower()
    if any(one.lower() in NOWHERE or one.startswith(".") for one in folders):
        return 0.0
    text = repo.text(path)
    tree = repo.tree(path)
    if tree is None or not text:
        return 0.0
    name = 3.0 if LIKELY.search(stem) else 0.0
    name += 1.5 if stem in ("train", "pretrain") else 0.0
    name -= 3.0 if UNLIKELY.search(stem) else 0.0
    content = 2.0 if re.search(r"\.backward\(|value_and_grad\(", text) else 0.0
    content += 2.0 if re.search(r"Trainer\(", text) else 0.0
    content += 1.0 if re.search(r"\.fit\(|\.train\(\)|trainer\.run\(", text) else 0.0
    runs = 1.5 if "__main__" in text or stem == "__main__" or _works(tree) else -4.0
    if not content and not name > 0:
        return 0.0
    trains = content or (1.0 if re.search(r"train", text) else 0.0)
    aside = 1.0 if {"extensions", "examples", "contrib", "third_party"} & set(folders) else 0.0
    return name + trains + runs - 0.4 * len(folders) - aside


def _works(tree: ast.Module) -> bool:
    """Whether a module does something when it is run, beyond definitions."""
    return any(isinstance(node, ast.For | ast.While) or _calls_main(node) for node in tree.body)


def _calls_main(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and "main" in dotted(node.value.func)
    )


def _scripts(repo: Repository) -> set[str]:
    """Files that pyproject.toml names as scripts whose names speak of training."""
    try:
        table = tomllib.loads(repo.text("pyproject.toml"))
        scripts = table.get("project", {}).get("scripts", {})
        targets = [str(target) for name, target in scripts.items() if "train" in f"{name} {target}".lower()]
    except (tomllib.TOMLDecodeError, AttributeError, RecursionError):
        return set()
    return {path for one in targets if (path := repo.module_file(one.split(":")[0]))}


def _instructions(repo: Repository) -> list[Entry]:
    """What README and shell scripts say is typed to train, in their order."""
    shells = [path for path in repo.files if path.endswith(".sh") and path.count("/") <= 1][:20]
    makefile = [path for path in ("Makefile", "justfile") if repo.has(path)]
    texts = [("README", repo.readme), *((path, repo.text(path)) for path in (*makefile, *shells))]
    found = []
    for name, text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            entry = _typed(repo, line.strip().strip("`$> "), name)
            found += [entry] if entry else []
    return found[:100]


def _typed(repo: Repository, line: str, where: str) -> Entry | None:
    """The entry that a typed command starts; None for a line that is none."""
    found = re.search(rf"\b({'|'.join(RUNNERS)})\s", line)
    if not found or len(line) > 2000:
        return None
    try:
        words = shlex.split(line[found.start() :].split("`")[0], comments=True)
    except ValueError:
        return None
    for place, word in enumerate(words):
        rest = tuple(_safe(words[place + 1 :]))
        if word == "-m" and place + 1 < len(words):
            module = words[place + 1]
            path = repo.module_file(f"{module}.__main__") or repo.module_file(module)
            if path.endswith(".py") and repo.tree(path):
                source = "src" if path.startswith("src/") else ""
                return Entry(path, ("-m", module), rest[1:], f"{where}: python -m {module}", source)
        if word.endswith(".py") and repo.has(word.removeprefix("./")):
            path = word.removeprefix("./")
            return Entry(path, (path,), rest, f"{where}: python {path}")
    return None


def _safe(words: list[str]) -> list[str]:
    """Arguments up to what a shell does with them, without what must be filled in."""
    kept = []
    for word in words:
        if word in ("|", ">", ">>", "&&", ";", "&", "2>&1") or word.startswith((">", "|")):
            break
        kept.append(word)
    return kept
